#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/attempt.hpp"
#include "engine/worker_crew.hpp"

namespace tidemill::engine {

class WorkerCore;
using AttemptPtr = std::shared_ptr<detail::Attempt>;

/// The slots, the line of attempts that wait for one, and the threads that run handlers. Owned by the core.
///
/// An attempt has a slot from when a thread takes it until it is over; a deferred one keeps its slot without
/// a thread. A thread takes one attempt at a time, so that none waits behind another while a thread is idle.
///
/// Thread safety: all members may be called from any thread, but for start and leave.
class WorkerPool {
 public:
  /// `core` owns the pool.
  WorkerPool(WorkerCore& core, std::size_t slots, std::size_t threads);

  /// Starts the threads; they keep the core alive.
  void start(const std::shared_ptr<WorkerCore>& core);
  /// Waits for the threads to end and leaves behind those that don't.
  std::size_t leave(Steady until) { return crew_.leave(until); }

  // ---- The fetcher's side ----

  struct Room {
    std::size_t count = 0;  ///< Attempts to claim; at zero, the bell rings when there is room again.
    std::size_t bytes = 0;
  };
  Room room();
  /// To the end of the line. False if the pool is closed: they are the caller's to give back.
  [[nodiscard]] bool push(const std::vector<AttemptPtr>& fresh);
  /// Those that have waited for over a second while all slots were taken: another worker may be idle.
  std::vector<AttemptPtr> take_stale();

  // ---- The keeper's side ----

  /// All that has a lease and has not ended.
  std::vector<AttemptPtr> held();
  /// All that has a slot.
  std::vector<AttemptPtr> running();
  /// It is marked as started now, and runs next. False if the pool is closed.
  [[nodiscard]] bool resume(const AttemptPtr& marked);
  /// Gives up the slot of an attempt that is over.
  void release(const AttemptPtr& attempt);
  /// The gate for suspects may be free.
  void admit_suspect();

  // ---- The end ----

  /// Takes in no more, and hands out all that waits. Threads end when they have run what they took.
  std::vector<AttemptPtr> close();
  /// True when no attempt runs but abandoned ones; false at the time-out, or when woken by `hurry`.
  bool wait_idle(Steady until);
  void hurry();

  struct Load {
    std::size_t busy = 0, stuck = 0;
  };
  Load load();

 private:
  void work();
  /// Frees the slot of the attempt that is over, if any, and waits for the next one; null at the end.
  AttemptPtr next(AttemptPtr over);

  // All below need the lock.
  AttemptPtr take();
  bool may_start(const AttemptPtr& attempt);
  void seat(const AttemptPtr& attempt);
  void unseat(const AttemptPtr& attempt);
  void measure(Duration ran);
  bool full() const { return free_.empty(); }
  bool wants_thread();
  bool must_ring();

  WorkerCore& core_;
  const std::size_t slot_count_, thread_count_;
  WorkerCrew crew_;

  std::mutex mutex_;  // Guards all below.
  std::condition_variable work_, idle_;
  std::deque<AttemptPtr> line_;      // Waits for a slot.
  std::deque<AttemptPtr> marked_;    // Has a slot, waits for a thread.
  std::deque<AttemptPtr> suspects_;  // Waits for the gate.
  std::vector<AttemptPtr> to_mark_;  // Has a slot, on its way to the keeper.
  std::vector<AttemptPtr> slots_;
  std::vector<std::size_t> free_;
  std::size_t bytes_ = 0;     // Of payloads in line_.
  std::size_t sleeping_ = 0;  // Threads.
  bool waking_ = false;       // One was woken and hasn't come yet.
  bool hungry_ = false;       // The fetcher waits for room.
  bool closed_ = false, hurried_ = false;
  double run_us_ = 0;      // Moving average of run times; zero: nothing measured.
  std::size_t stock_ = 0;  // How many attempts may wait beyond the free slots.
};

}  // namespace tidemill::engine
