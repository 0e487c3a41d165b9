#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/attempt.hpp"
#include "engine/store_clock.hpp"
#include "engine/worker_crew.hpp"

namespace tidemill::engine {

class WorkerCore;
using AttemptPtr = std::shared_ptr<detail::Attempt>;

/// Looks at the clock: stops attempts whose time-out or deadline has come, or whose lease has run out by our
/// own count, whether or not the store answers; gives up those that ignore it. Owned by the core.
///
/// One thread plans and never runs user code. A stop token runs the callbacks that a handler hung on it,
/// which may block: tokens fire on threads of their own, up to a handful, which may be left behind.
///
/// Nothing is planned for each attempt: the thread looks through the slots and sleeps until the first of them
/// falls due; an attempt that begins wakes it only if it falls due before that.
///
/// Thread safety: all members may be called from any thread, but for start, finish and leave.
class WorkerWatch {
 public:
  explicit WorkerWatch(WorkerCore& core);
  void start();
  void finish();
  /// Waits for tokens under way, and leaves behind what doesn't end.
  std::size_t leave(Steady until);

  /// An attempt has begun, or was told to stop.
  void expect(const detail::Attempt& attempt);
  /// Fires the attempt's stop token on a thread made for that.
  void fire(const AttemptPtr& attempt);
  /// Calls user code on one of these threads. `body` keeps alive what it needs, and doesn't throw.
  void call(std::function<void()> body);

 private:
  /// What the firing threads share; they keep it alive.
  struct Firing {
    std::mutex mutex;
    std::condition_variable more;
    std::deque<std::function<void()>> queue;
    std::size_t idle = 0;
    bool finishing = false;
  };
  static void fire_all(Firing& firing);

  void loop();
  /// Does what is due, and answers when the next falls due.
  Steady look(Steady at);
  Steady check(const AttemptPtr& attempt, Steady at);
  void poke();

  WorkerCore& core_;
  std::atomic<Steady> next_{Steady::max()};
  std::mutex mutex_;
  std::condition_variable wakes_;
  bool poked_ = false;      // Guarded by mutex_.
  bool finishing_ = false;  // Guarded by mutex_.
  std::thread thread_;

  const std::shared_ptr<Firing> firing_ = std::make_shared<Firing>();
  std::mutex crew_mutex_;
  WorkerCrew crew_;  // Guarded by crew_mutex_.
};

}  // namespace tidemill::engine
