#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <tidemill/store.hpp>

namespace tidemill::engine {

using Steady = std::chrono::steady_clock::time_point;

/// The store's time, as every call needs it: that of its last quick answer, counted on by the steady clock.
/// So it is late by an answer's way back and never ahead (docs/architecture.md, rule 8).
///
/// Thread safety: all members may be called from any thread.
class StoreClock {
 public:
  /// `store` must outlive the clock. `beat` is how often holders of leases renew them; only who sweeps needs
  /// it.
  explicit StoreClock(Store& store, Duration beat = std::chrono::seconds{8});
  StoreClock(const StoreClock&) = delete;
  StoreClock& operator=(const StoreClock&) = delete;

  /// Counted on; asks the store as long as it has never answered, and throws what that throws.
  TimePoint now();

  /// A call of this thread, under the thread's session; what goes on in other threads has a `Lane`. A
  /// store that tells the time at once is asked, so that it may have a clock of its own; one across a network
  /// is asked when the last answer has become old. Throws as `now`.
  Call call(Duration timeout = std::chrono::seconds{30});

  /// Takes in the `now` of an answer to a call. One that took a second or more is not believed, yet shows
  /// that the store lives.
  void learn(TimePoint store_now, Steady sent, Steady arrived);

  /// Whether leases may be taken over: not for one beat after the start, nor after a stall (no answer for a
  /// beat) or a jump (an answer over a second off the count), since then the holders could not renew either.
  bool may_sweep() const;

 private:
  /// Asks the store for its time. That it can tell the time doesn't show that its calls get through.
  void ask();
  void take(TimePoint store_now, Steady sent, Steady arrived);
  bool must_ask() const;

  Store& store_;
  const Duration beat_;
  /// The store's time less the steady clock's, in microseconds.
  std::atomic<std::int64_t> offset_{0};
  std::atomic<bool> known_{false};
  /// Telling the time costs the store next to nothing.
  std::atomic<bool> instant_{false};

  mutable std::mutex mutex_;
  Steady told_{};                // When the time was last taken in. Guarded by mutex_.
  std::optional<Steady> heard_;  // The last answer to a call. Guarded by mutex_.
  Steady withheld_until_;        // Guarded by mutex_.
};

/// Numbers the calls of one lane: of a thread, or whatever else has one call in flight at most.
///
/// Thread safety: none.
class Lane {
 public:
  /// `clock` must outlive the lane.
  explicit Lane(StoreClock& clock);
  /// A new call; to repeat one, use the same again. Throws as `StoreClock::call`.
  Call next(Duration timeout = std::chrono::seconds{30});

 private:
  StoreClock& clock_;
  std::uint64_t session_;
  std::uint64_t number_ = 0;
};

}  // namespace tidemill::engine
