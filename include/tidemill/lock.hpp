#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include <tidemill/log.hpp>
#include <tidemill/store.hpp>

namespace tidemill {

struct LockOptions {
  /// How long the lock outlives a holder that dies. It is renewed each third of it.
  Duration length = std::chrono::seconds{30};
  /// The holder gives up so much before the store does: for the time that his work takes to stop. A third of
  /// the length at most.
  Duration margin = std::chrono::seconds{2};
  /// The longest pause between two tries of `acquire`.
  Duration poll = std::chrono::milliseconds{500};
  /// Must be like no other; empty: host, process and a random id.
  std::string owner = {};
  Log log = {};
};

/// A lock that one program at a time holds, whichever machine it is on:
///
///   NamedLock lock{store, "nightly-import"};
///   if (!lock.try_acquire()) return;
///   import(lock.fence(), lock.stop_token());
///
/// While it is held, a thread of its own renews it each third of its length. When that has not been
/// confirmed in time, counted on this machine's steady clock from when the call was sent, less the margin,
/// the lock counts as lost: the stop token fires, whether or not the store answers.
///
/// A program that is suspended in the midst of its work notices too late. So hand the fence to whatever the
/// work writes to, and let that refuse fences smaller than the greatest it has seen.
///
/// Thread safety: all members may be called from any thread; all threads that use one object are one holder.
/// What is registered with the stop token runs on a thread of the lock, and must not acquire or release it.
class NamedLock {
 public:
  /// `store` must outlive it. Throws Error{unsupported} when the store has no locks, Error{invalid} for a
  /// name or options that make no sense.
  NamedLock(Store& store, std::string name, LockOptions options = {});
  /// As `release`, but a store that fails is only logged: the lock then runs out.
  ~NamedLock();
  NamedLock(const NamedLock&) = delete;
  NamedLock& operator=(const NamedLock&) = delete;

  /// Whether it is held now, also when it was before. Throws what the store throws.
  bool try_acquire();
  /// Waits for it; false when the time is up or `stop` fires. A store that is away is logged and waited for,
  /// but when the time is up its Error is thrown.
  bool acquire(std::stop_token stop = {}, std::optional<Duration> timeout = {});
  /// False when it was not held, or was lost. Waits for a renewal under way. Throws what the store throws:
  /// then the lock is no longer held here, and runs out.
  bool release();

  bool held() const;
  /// Of the last time that it was acquired, also after it was lost; zero: never.
  std::uint64_t fence() const;
  /// Fires when the lock is lost, but not when it is released. Of the last time that it was acquired.
  std::stop_token stop_token() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill
