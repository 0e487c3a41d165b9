// Locks: an acquire that finds another's lock, which is what waiting comes to, writes nothing.
#include "stores/mysql/locks.hpp"

#include "core/named.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr Sql get{
    "SELECT name, owner, fence, until FROM main.lock WHERE digest = UNHEX(SHA2($1, 256)) AND until > $2"};
constexpr Sql get_held{
    "SELECT name, owner, fence, until FROM main.lock WHERE name > $1 AND until > $2 ORDER BY name LIMIT $3"};
// Whoever comes second waits for the first, and changes nothing. `until` comes last, as what follows an
// assignment sees it.
constexpr Sql put{
    "INSERT INTO main.lock (digest, name, owner, fence, until) VALUES (UNHEX(SHA2($1, 256)), $1, $2, $3, $4) "
    "ON DUPLICATE KEY UPDATE owner = IF(until <= $5, $2, owner), fence = IF(until <= $5, $3, fence), "
    "until = IF(until <= $5, $4, until)"};
constexpr Sql is_held{"SELECT 1 FROM main.lock WHERE digest = UNHEX(SHA2($1, 256)) AND fence = $2"};
constexpr Sql set_until{
    "UPDATE main.lock SET until = $5 WHERE digest = UNHEX(SHA2($1, 256)) AND owner = $2 AND fence = $3 AND "
    "until > $4"};
constexpr Sql drop{
    "DELETE FROM main.lock WHERE digest = UNHEX(SHA2($1, 256)) AND owner = $2 AND fence = $3 AND until > $4"};

LockInfo read(const Query& row) {
  return {.name = std::string{row.bytes(0)},
          .owner = std::string{row.bytes(1)},
          .fence = static_cast<std::uint64_t>(row.integer(2)),
          .until = time_of(row.integer(3))};
}

std::optional<LockInfo> find(Scope& scope, std::string_view name, TimePoint now) {
  auto row = scope.ask(get, Blob{name}, stored(now));
  return row.step() ? std::optional{read(row)} : std::nullopt;
}

LockInfo acquire_one(Write& write, std::string_view name, std::string_view owner, Duration length,
                     TimePoint now) {
  std::int64_t fence = 0;
  for (;;) {
    if (auto lock = find(write, name, now)) {
      if (lock->owner != owner) return *std::move(lock);
      lock->until = now + length;
      if (write.run(set_until, Blob{name}, Blob{owner}, lock->fence, stored(now), stored(lock->until)) > 0)
        return *std::move(lock);
      continue;
    }
    // One fence serves until the lock is had.
    if (fence == 0) fence = write.next_number(Counter::fence, now);
    const TimePoint until = now + length;
    write.tell(put, Blob{name}, Blob{owner}, fence, stored(until), stored(now));
    if (write.any(is_held, Blob{name}, fence))
      return {std::string{name}, std::string{owner}, static_cast<std::uint64_t>(fence), until};
  }
}

}  // namespace

LockInfo MysqlLocks::acquire(std::string_view name, std::string_view owner, Duration length,
                             const Call& call) {
  rules::check_lock(name, owner, length);
  return lane_.run(
      call, {}, [&](Write& write) { return acquire_one(write, name, owner, length, call.now); },
      [&](Scope& scope, LockInfo& answer) {
        auto lock = find(scope, name, call.now);
        if (!lock || lock->owner == owner) return false;
        answer = *std::move(lock);
        return true;
      });
}

bool MysqlLocks::extend(std::string_view name, std::string_view owner, std::uint64_t fence, Duration length,
                        const Call& call) {
  rules::check_lock(name, owner, length);
  // It counts as no task, so that it fits into any transaction: to be late would cost the lock.
  return renewals_.run(call, {.tasks = 0, .urgent = true}, [&](Write& write) {
    return write.run(set_until, Blob{name}, Blob{owner}, fence, stored(call.now), stored(call.now + length)) >
           0;
  });
}

bool MysqlLocks::release(std::string_view name, std::string_view owner, std::uint64_t fence,
                         const Call& call) {
  rules::check_lock(name, owner);
  return lane_.run(call, {}, [&](Write& write) {
    return write.run(drop, Blob{name}, Blob{owner}, fence, stored(call.now)) > 0;
  });
}

std::vector<LockInfo> MysqlLocks::list(std::string_view after, std::size_t limit, const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    std::vector<LockInfo> held;
    auto row = scope.ask(get_held, Blob{after}, stored(call.now), limit);
    while (row.step()) held.push_back(read(row));
    return held;
  });
}

}  // namespace tidemill::mysql_store
