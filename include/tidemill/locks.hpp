#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/clock.hpp>
#include <tidemill/store.hpp>

/// Named locks at rest: an optional part of the port. Programs use `NamedLock`, lock.hpp, on top of it.
namespace tidemill {

struct LockInfo {
  std::string name = {};
  std::string owner = {};   ///< Who holds it: a text that no other holder uses.
  std::uint64_t fence = 0;  ///< Never zero.
  TimePoint until{};        ///< It is held before this instant of the store's time, and free from it on.
};

/// Locks with a lease and a fencing number.
///
/// Each time that a lock passes to an owner it gets a new fence: greater than all that the store has given,
/// for whatever name, and not less than the store's time in microseconds since 1970. So fences never go back,
/// whatever has been released, run out, swept or lost with the disk's last moments. What a lock protects
/// keeps the greatest fence that it has seen and refuses a smaller one: that is what stops a holder who
/// doesn't know yet that his time is up.
///
/// Time is `Call::now` alone. A name has 1 to 4096 bytes of any sort, an owner too; a length is more than
/// zero and at most 366 days. All else is an Error{invalid}, and nothing is written. Each call is about one
/// lock: callers on many threads share a commit.
///
/// Thread safety: all members may be called from any thread.
class Locks {
 public:
  virtual ~Locks() = default;

  /// The lock as it is held after the call. By `owner`, until `length` from now: it was free or had run out,
  /// and has a new fence; or it was the owner's already, and keeps its fence, so that a repeated call has the
  /// effect of one. Or else by another, unchanged.
  virtual LockInfo acquire(std::string_view name, std::string_view owner, Duration length,
                           const Call& call) = 0;
  /// The lock runs out `length` from now. False when it isn't held under that owner and fence, any more.
  virtual bool extend(std::string_view name, std::string_view owner, std::uint64_t fence, Duration length,
                      const Call& call) = 0;
  /// The lock is free. False when it isn't held under that owner and fence, any more.
  virtual bool release(std::string_view name, std::string_view owner, std::uint64_t fence,
                       const Call& call) = 0;
  /// Those that are held, by name (byte by byte), after the name `after`; `limit` at most.
  virtual std::vector<LockInfo> list(std::string_view after, std::size_t limit, const Call& call) = 0;
};

}  // namespace tidemill
