// Locks: an acquire that finds another's lock, which is what waiting comes to, writes nothing.
#include "stores/sqlite/locks.hpp"

#include "core/named.hpp"
#include "stores/sqlite/layout.hpp"

namespace tidemill::sqlite_store {

namespace {

constexpr sqlite::Sql get{
    "SELECT name, owner, fence, until FROM main.tidemill_lock WHERE name = ?1 AND until > ?2"};
constexpr sqlite::Sql get_held{
    "SELECT name, owner, fence, until FROM main.tidemill_lock WHERE name > ?1 AND +until > ?2 ORDER BY name "
    "LIMIT ?3"};  // The plus: in the order of names, of which most are held.
constexpr sqlite::Sql put{
    "INSERT INTO main.tidemill_lock (name, owner, fence, until) VALUES (?1, ?2, ?3, ?4) "
    "ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, fence = excluded.fence, until = "
    "excluded.until"};
constexpr sqlite::Sql set_until{
    "UPDATE main.tidemill_lock SET until = ?5 WHERE name = ?1 AND owner = ?2 AND fence = ?3 AND until > ?4"};
constexpr sqlite::Sql drop{
    "DELETE FROM main.tidemill_lock WHERE name = ?1 AND owner = ?2 AND fence = ?3 AND until > ?4"};

LockInfo read(const sqlite::Query& row) {
  return {.name = std::string{row.bytes(0)},
          .owner = std::string{row.bytes(1)},
          .fence = static_cast<std::uint64_t>(row.integer(2)),
          .until = time_of(row.integer(3))};
}

std::optional<LockInfo> find(Scope& scope, std::string_view name, TimePoint now) {
  auto row = scope.db.query(get, name, stored(now));
  return row.step() ? std::optional{read(row)} : std::nullopt;
}

LockInfo acquire_one(Write& write, std::string_view name, std::string_view owner, Duration length,
                     TimePoint now) {
  auto lock = find(write, name, now);
  if (lock && lock->owner != owner) return *std::move(lock);
  if (!lock) {
    lock = {.name = std::string{name}, .owner = std::string{owner}};
    lock->fence = static_cast<std::uint64_t>(write.next_number(Counter::fence, now));
  }
  lock->until = now + length;
  write.db.run(put, name, owner, lock->fence, stored(lock->until));
  return *std::move(lock);
}

}  // namespace

LockInfo SqliteLocks::acquire(std::string_view name, std::string_view owner, Duration length,
                              const Call& call) {
  rules::check_lock(name, owner, length);
  LockInfo answer;
  lane_.run({.apply = [&](Write& write) { answer = acquire_one(write, name, owner, length, call.now); },
             .read =
                 [&](Scope& scope) {
                   auto lock = find(scope, name, call.now);
                   if (!lock || lock->owner == owner) return false;
                   answer = std::move(*lock);
                   return true;
                 },
             .deadline = call.deadline});
  return answer;
}

bool SqliteLocks::extend(std::string_view name, std::string_view owner, std::uint64_t fence, Duration length,
                         const Call& call) {
  rules::check_lock(name, owner, length);
  bool held = false;
  // It counts as no task, so that it fits into any transaction: to be late would cost the lock.
  lane_.run({.apply =
                 [&](Write& write) {
                   held = write.db.run(set_until, name, owner, fence, stored(call.now),
                                       stored(call.now + length)) > 0;
                 },
             .tasks = 0,
             .urgent = true,
             .deadline = call.deadline});
  return held;
}

bool SqliteLocks::release(std::string_view name, std::string_view owner, std::uint64_t fence,
                          const Call& call) {
  rules::check_lock(name, owner);
  bool held = false;
  lane_.run(
      {.apply = [&](Write& write) { held = write.db.run(drop, name, owner, fence, stored(call.now)) > 0; },
       .deadline = call.deadline});
  return held;
}

std::vector<LockInfo> SqliteLocks::list(std::string_view after, std::size_t limit, const Call& call) {
  return readers_.read([&](Scope& scope) {
    std::vector<LockInfo> held;
    auto row = scope.db.query(get_held, after, stored(call.now), limit);
    while (row.step()) held.push_back(read(row));
    return held;
  });
}

}  // namespace tidemill::sqlite_store
