#include "stores/mysql/write.hpp"

#include <algorithm>

#include <tidemill/error.hpp>

namespace tidemill::mysql_store {

namespace {

constexpr Sql add_tasks{
    "INSERT INTO main.counter (queue, state, lane, tasks) VALUES $1 ON DUPLICATE KEY UPDATE "
    "tasks = tasks + VALUES(tasks)"};
constexpr Sql add_delta{"INSERT INTO main.delta (queue, state, tasks) VALUES $1"};
constexpr Sql grow{
    "INSERT INTO main.group (queue, name, size, first_at, last_at) VALUES $1 ON DUPLICATE KEY UPDATE "
    "size = size + VALUES(size), first_at = LEAST(first_at, VALUES(first_at)), "
    "last_at = GREATEST(last_at, VALUES(last_at))"};
constexpr Sql grow_later{"INSERT INTO main.joined (queue, name, size, first_at, last_at) VALUES $1"};

// For those who look for themselves whether there are signals.
constexpr Sql count_signal{"UPDATE main.meta SET value = value + 1 WHERE name = 'signals'"};

constexpr Sql next_fence{
    "UPDATE main.meta SET value = LAST_INSERT_ID(GREATEST(value + 1, $1)) WHERE name = 'fence'"};
constexpr Sql next_version{
    "UPDATE main.meta SET value = LAST_INSERT_ID(GREATEST(value + 1, $1)) WHERE name = 'version'"};
constexpr Sql last_number{"SELECT CAST(LAST_INSERT_ID() AS SIGNED)"};

}  // namespace

std::int64_t Write::next_number(Counter counter, TimePoint now) {
  Batch batch;
  batch.add(counter == Counter::fence ? next_fence : next_version, stored(now));
  batch.add(last_number);
  auto answers = ask_all(std::move(batch));
  if (answers[0].changes() > 0 && answers[1].step()) return answers[1].integer(0);
  throw Error{ErrorKind::corrupt, "tidemill_meta has lost a counter: restore a backup"};
}

void Write::joined(std::int64_t queue, std::string_view group, TimePoint at) {
  Joined& entry = joined_[{queue, std::string{group}}];
  ++entry.tasks;
  entry.first = std::min(entry.first, at);
  entry.last = std::max(entry.last, at);
}

void Write::tell_joined() {
  if (joined_.empty()) return;
  Rows rows;
  for (const auto& [place, entry] : joined_)
    rows.add(place.first, Blob{place.second}, entry.tasks, stored(entry.first), stored(entry.last));
  tell(callers() ? grow_later : grow, rows);
  joined_.clear();
}

void Write::finish() {
  tell_joined();
  if (signals()) tell(count_signal);
  Rows rows;
  for (const Change& change : changes()) {
    if (lane_) {
      rows.add(change.queue, change.state, *lane_, change.tasks);
    } else {
      rows.add(change.queue, change.state, change.tasks);
    }
  }
  if (!rows.empty()) tell(lane_ ? add_tasks : add_delta, rows);
}

News Write::news() {
  News news;
  for (const auto& [queue, its] : queue_news()) news.queues[queue_name(queue)] = its;
  news.workers = take_workers();
  return news;
}

}  // namespace tidemill::mysql_store
