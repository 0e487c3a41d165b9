#pragma once

#include <tidemill/locks.hpp>

#include "core/named.hpp"
#include "stores/sql/columns.hpp"
#include "stores/sql/lane.hpp"
#include "stores/sql/readers.hpp"
#include "stores/sql/statements.hpp"

namespace tidemill::sql_store {

/// An acquire that finds another's lock, which is what waiting comes to, writes nothing.
template <class Database>
class SqlLocks final : public Locks {
 public:
  using Lane = sql_store::Lane<Database>;
  using Readers = sql_store::Readers<Database>;

  /// `renewals` is for what must not be late. All must outlive it.
  SqlLocks(Lane& lane, Lane& renewals, Readers& readers)
      : lane_(lane), renewals_(renewals), readers_(readers) {}

  LockInfo acquire(std::string_view name, std::string_view owner, Duration length, const Call& call) override;
  bool extend(std::string_view name, std::string_view owner, std::uint64_t fence, Duration length,
              const Call& call) override;
  bool release(std::string_view name, std::string_view owner, std::uint64_t fence, const Call& call) override;
  std::vector<LockInfo> list(std::string_view after, std::size_t limit, const Call& call) override;

 private:
  using Scope = sql_store::Scope<Database>;
  using Write = sql_store::Write<Database>;

  static LockInfo read(const typename Database::Query& row) {
    return {.name = std::string{row.bytes(0)},
            .owner = std::string{row.bytes(1)},
            .fence = static_cast<std::uint64_t>(row.integer(2)),
            .until = time_of(row.integer(3))};
  }
  static std::optional<LockInfo> find(Scope& scope, std::string_view name, TimePoint now) {
    auto row = scope.ask(Database::locks.get, Blob{name}, stored(now));
    return row.step() ? std::optional{read(row)} : std::nullopt;
  }
  static LockInfo acquire_one(Write& write, std::string_view name, std::string_view owner, Duration length,
                              TimePoint now);

  Lane& lane_;
  Lane& renewals_;
  Readers& readers_;
};

template <class Database>
LockInfo SqlLocks<Database>::acquire_one(Write& write, std::string_view name, std::string_view owner,
                                         Duration length, TimePoint now) {
  std::int64_t fence = 0;
  for (;;) {
    if (auto lock = find(write, name, now)) {
      if (lock->owner != owner) return *std::move(lock);
      lock->until = now + length;
      if (write.run(Database::locks.set_until, Blob{name}, Blob{owner}, lock->fence, stored(now),
                    stored(lock->until)) > 0)
        return *std::move(lock);
      continue;
    }
    // One fence serves until the lock is had.
    if (fence == 0) fence = write.next_number(Counter::fence, now);
    const TimePoint until = now + length;
    if (Database::put_lock(write, name, owner, fence, until, now))
      return {std::string{name}, std::string{owner}, static_cast<std::uint64_t>(fence), until};
  }
}

template <class Database>
LockInfo SqlLocks<Database>::acquire(std::string_view name, std::string_view owner, Duration length,
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

template <class Database>
bool SqlLocks<Database>::extend(std::string_view name, std::string_view owner, std::uint64_t fence,
                                Duration length, const Call& call) {
  rules::check_lock(name, owner, length);
  // It counts as no task, so that it fits into any transaction: to be late would cost the lock.
  return renewals_.run(call, {.tasks = 0, .urgent = true}, [&](Write& write) {
    return write.run(Database::locks.set_until, Blob{name}, Blob{owner}, fence, stored(call.now),
                     stored(call.now + length)) > 0;
  });
}

template <class Database>
bool SqlLocks<Database>::release(std::string_view name, std::string_view owner, std::uint64_t fence,
                                 const Call& call) {
  rules::check_lock(name, owner);
  return lane_.run(call, {}, [&](Write& write) {
    return write.run(Database::locks.drop, Blob{name}, Blob{owner}, fence, stored(call.now)) > 0;
  });
}

template <class Database>
std::vector<LockInfo> SqlLocks<Database>::list(std::string_view after, std::size_t limit, const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    std::vector<LockInfo> held;
    auto row = scope.ask(Database::locks.get_held, Blob{after}, stored(call.now), limit);
    while (row.step()) held.push_back(read(row));
    return held;
  });
}

}  // namespace tidemill::sql_store
