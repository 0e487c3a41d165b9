#include "stores/sql/write_body.hpp"

#include "stores/mysql/database.hpp"

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

constexpr Sql next_fence{
    "UPDATE main.meta SET value = LAST_INSERT_ID(GREATEST(value + 1, $1)) WHERE name = 'fence'"};
constexpr Sql next_version{
    "UPDATE main.meta SET value = LAST_INSERT_ID(GREATEST(value + 1, $1)) WHERE name = 'version'"};
constexpr Sql last_number{"SELECT CAST(LAST_INSERT_ID() AS SIGNED)"};

}  // namespace

const Sql Mysql::count_signal{"UPDATE main.meta SET value = value + 1 WHERE name = 'signals'"};

std::optional<std::int64_t> Mysql::next_number(Write& write, Counter counter, std::int64_t least) {
  Batch batch;
  batch.add(counter == Counter::fence ? next_fence : next_version, least);
  batch.add(last_number);
  auto answers = write.ask_all(std::move(batch));
  if (answers[0].changes() == 0 || !answers[1].step()) return {};
  return answers[1].integer(0);
}

void Mysql::tell_joined(Write& write, const JoinedGroups& joined) {
  Rows rows;
  for (const auto& [place, entry] : joined)
    rows.add(place.first, Blob{place.second}, entry.tasks, stored(entry.first), stored(entry.last));
  write.tell(write.callers() ? grow_later : grow, rows);
}

void Mysql::tell_counts(Write& write, std::span<const Write::Change> changes,
                        std::optional<std::int64_t> lane) {
  Rows rows;
  for (const Write::Change& change : changes) {
    if (lane) {
      rows.add(change.queue, change.state, *lane, change.tasks);
    } else {
      rows.add(change.queue, change.state, change.tasks);
    }
  }
  write.tell(lane ? add_tasks : add_delta, rows);
}

}  // namespace tidemill::mysql_store

template class tidemill::sql_store::Scope<tidemill::mysql_store::Mysql>;
template class tidemill::sql_store::Write<tidemill::mysql_store::Mysql>;
