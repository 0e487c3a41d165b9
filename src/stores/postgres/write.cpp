#include "stores/postgres/write.hpp"

#include <algorithm>

#include <tidemill/error.hpp>

namespace tidemill::postgres_store {

namespace {

constexpr Sql add_tasks{
    "INSERT INTO main.tidemill_counter AS c (queue, state, lane, tasks) "
    "SELECT t.queue, t.state, $4, t.tasks FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) "
    "AS t(queue, state, tasks) ON CONFLICT (queue, state, lane) DO UPDATE SET tasks = c.tasks + "
    "excluded.tasks"};
constexpr Sql add_delta{
    "INSERT INTO main.tidemill_delta (queue, state, tasks) "
    "SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])"};
constexpr Sql grow{
    "INSERT INTO main.tidemill_group AS g (queue, name, size, first_at, last_at) "
    "SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[]) "
    "ON CONFLICT (queue, name) DO UPDATE SET size = g.size + excluded.size, "
    "first_at = least(g.first_at, excluded.first_at), last_at = greatest(g.last_at, excluded.last_at)"};
constexpr Sql grow_later{
    "INSERT INTO main.tidemill_joined (queue, name, size, first_at, last_at) "
    "SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[])"};

// For those who look for themselves whether there are signals.
constexpr Sql count_signal{"UPDATE main.tidemill_meta SET value = value + 1 WHERE name = 'signals'"};

constexpr Sql next_fence{
    "UPDATE main.tidemill_meta SET value = greatest(value + 1, $1) WHERE name = 'fence' RETURNING value"};
constexpr Sql next_version{
    "UPDATE main.tidemill_meta SET value = greatest(value + 1, $1) WHERE name = 'version' RETURNING value"};

}  // namespace

std::int64_t Write::next_number(Counter counter, TimePoint now) {
  auto row = ask(counter == Counter::fence ? next_fence : next_version, stored(now));
  if (row.step()) return row.integer(0);
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
  Array<std::int64_t> queues, sizes, firsts, lasts;
  Array<Blob> names;
  for (const auto& [place, entry] : joined_) {
    queues.add(place.first);
    names.add(Blob{place.second});
    sizes.add(entry.tasks);
    firsts.add(stored(entry.first));
    lasts.add(stored(entry.last));
  }
  tell(callers() ? grow_later : grow, queues, names, sizes, firsts, lasts);
  joined_.clear();
}

void Write::finish() {
  tell_joined();
  if (signals()) tell(count_signal);
  Array<std::int64_t> queues, states, tasks;
  for (const Change& change : changes()) {
    queues.add(change.queue);
    states.add(change.state);
    tasks.add(change.tasks);
    died_ -= std::min<std::int64_t>(change.tasks, 0);
  }
  if (queues.empty()) return;
  if (lane_) {
    tell(add_tasks, queues, states, tasks, *lane_);
  } else {
    tell(add_delta, queues, states, tasks);
  }
}

News Write::news() {
  News news;
  for (const auto& [queue, its] : queue_news()) news.queues[queue_name(queue)] = its;
  news.workers = take_workers();
  return news;
}

}  // namespace tidemill::postgres_store
