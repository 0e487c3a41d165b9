// Schedules at rest.
#include "stores/sqlite/layout.hpp"
#include "stores/sqlite/store_impl.hpp"

namespace tidemill::sqlite_store {

namespace {

constexpr sqlite::Sql get_all{
    "SELECT id, owner, rule, paused, next, last FROM main.tidemill_schedule ORDER BY id"};
// The plus keeps SQLite from walking all schedules in their order instead of the few that are due.
constexpr sqlite::Sql get_due{
    "SELECT id, owner, rule, paused, next, last FROM main.tidemill_schedule WHERE paused = 0 AND next <= ?1 "
    "ORDER BY +id"};
constexpr sqlite::Sql get_next{"SELECT next FROM main.tidemill_schedule WHERE id = ?1"};
constexpr sqlite::Sql put{
    "INSERT INTO main.tidemill_schedule (id, owner, rule, paused, next, last) VALUES (?1, ?2, ?3, ?4, ?5, "
    "?6) "
    "ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, rule = excluded.rule, paused = excluded.paused, "
    "next = excluded.next, last = excluded.last"};
constexpr sqlite::Sql erase{"DELETE FROM main.tidemill_schedule WHERE id = ?1"};

bool put_one(Write& write, const PutSchedule& given) {
  const StoredSchedule& schedule = given.schedule;
  std::optional<TimePoint> there;
  {
    auto row = write.db.query(get_next, std::string_view{schedule.id});
    if (row.step()) there = time_of(row.integer(0));
  }
  if (there != given.expected_next) return false;
  write.db.run(put, std::string_view{schedule.id}, std::string_view{schedule.owner},
               std::string_view{schedule.rule}, schedule.paused, stored(schedule.next),
               stored(schedule.last));
  return true;
}

}  // namespace

std::vector<StoredSchedule> SqliteStore::schedules(std::optional<TimePoint> due_by, const Call&) {
  return readers_.read([&](Scope& scope) {
    std::vector<StoredSchedule> schedules;
    auto row = due_by ? scope.db.query(get_due, stored(*due_by)) : scope.db.query(get_all);
    while (row.step()) {
      StoredSchedule schedule;
      schedule.id = row.bytes(0);
      schedule.owner = row.bytes(1);
      schedule.rule = row.bytes(2);
      schedule.paused = row.integer(3) != 0;
      schedule.next = time_of(row.integer(4));
      schedule.last = time_of(row.optional_integer(5));
      schedules.push_back(std::move(schedule));
    }
    return schedules;
  });
}

std::vector<bool> SqliteStore::put_schedules(std::span<const PutSchedule> puts, const Call& call) {
  std::vector<bool> answers;
  if (puts.empty()) return answers;
  lane_.run({.apply =
                 [&](Write& write) {
                   answers.clear();
                   for (const PutSchedule& each : puts) answers.push_back(put_one(write, each));
                 },
             .tasks = puts.size(),
             .deadline = call.deadline});
  return answers;
}

std::size_t SqliteStore::erase_schedules(std::span<const std::string> ids, const Call& call) {
  std::size_t erased = 0;
  if (ids.empty()) return erased;
  lane_.run({.apply =
                 [&](Write& write) {
                   erased = 0;
                   for (const std::string& id : ids) {
                     erased += static_cast<std::size_t>(write.db.run(erase, std::string_view{id}));
                   }
                 },
             .tasks = ids.size(),
             .deadline = call.deadline});
  return erased;
}

}  // namespace tidemill::sqlite_store
