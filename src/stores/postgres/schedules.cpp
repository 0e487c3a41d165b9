// Schedules at rest.
#include "stores/postgres/store_impl.hpp"
#include "stores/sql/read.hpp"

namespace tidemill::postgres_store {

namespace {

constexpr Sql get_all{"SELECT id, owner, rule, paused, next, last FROM main.tidemill_schedule ORDER BY id"};
constexpr Sql get_due{
    "SELECT id, owner, rule, paused, next, last FROM main.tidemill_schedule WHERE NOT paused AND next <= $1 "
    "ORDER BY id"};
constexpr Sql put_new{
    "INSERT INTO main.tidemill_schedule (id, owner, rule, paused, next, last) VALUES ($1, $2, $3, $4, $5, "
    "$6) ON CONFLICT (id) DO NOTHING"};
constexpr Sql put_over{
    "UPDATE main.tidemill_schedule SET owner = $2, rule = $3, paused = $4, next = $5, last = $6 "
    "WHERE id = $1 AND next = $7"};
constexpr Sql erase{"DELETE FROM main.tidemill_schedule WHERE id = ANY($1::bytea[])"};

bool put_one(Write& write, const PutSchedule& given) {
  const StoredSchedule& schedule = given.schedule;
  const auto put = [&](const Sql& sql, const auto&... more) {
    return write.run(sql, Blob{schedule.id}, Blob{schedule.owner}, Blob{schedule.rule}, schedule.paused,
                     stored(schedule.next), stored(schedule.last), more...) > 0;
  };
  return given.expected_next ? put(put_over, stored(*given.expected_next)) : put(put_new);
}

}  // namespace

std::vector<StoredSchedule> PostgresStore::schedules(std::optional<TimePoint> due_by, const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    return sql_store::read_schedules(due_by ? scope.ask(get_due, stored(*due_by)) : scope.ask(get_all));
  });
}

std::vector<bool> PostgresStore::put_schedules(std::span<const PutSchedule> puts, const Call& call) {
  if (puts.empty()) return {};
  return rest_.run(call, {.tasks = puts.size()}, [&](Write& write) {
    std::vector<bool> answers;
    for (const PutSchedule& each : puts) answers.push_back(put_one(write, each));
    return answers;
  });
}

std::size_t PostgresStore::erase_schedules(std::span<const std::string> ids, const Call& call) {
  if (ids.empty()) return 0;
  Array<Blob> all;
  for (const std::string& id : ids) all.add(Blob{id});
  return rest_.run(call, {.tasks = ids.size()},
                   [&](Write& write) { return static_cast<std::size_t>(write.run(erase, all)); });
}

}  // namespace tidemill::postgres_store
