#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include <tidemill/store.hpp>

#include "engine/attempt.hpp"
#include "engine/store_clock.hpp"
#include "engine/worker_trouble.hpp"

namespace tidemill::engine {

class WorkerCore;
using AttemptPtr = std::shared_ptr<detail::Attempt>;

/// The one thread that renews: every beat, all leases that are held, with what their handlers have said; at
/// once when an attempt must be marked as started before it runs, or when a signal waits. Brings the signals
/// to those they concern. Never runs user code and never waits for any. Owned by the core.
///
/// Thread safety: all members may be called from any thread, but for start and finish.
class WorkerKeeper {
 public:
  explicit WorkerKeeper(WorkerCore& core);
  void start();
  /// Takes the worker off the list, with its last statistics.
  void finish();

  /// Beat now: a signal may wait.
  void poke();
  /// Marks attempts that have a slot as started, and then lets the pool go on with them.
  void mark(std::span<const AttemptPtr> attempts);

 private:
  /// What one call carries, beat for beat.
  struct Load {
    std::vector<AttemptPtr> attempts;
    std::vector<Beat> beats;
    std::vector<AttemptPtr> unknown = {};  ///< Those that may not have been renewed; no more in `attempts`.
  };

  void loop();
  void mark_all();
  /// Renews what is due; all of it, if a signal waits.
  void beat(bool all);
  void last_beat();
  /// False when the store has not answered at all.
  bool renew(Load& load, bool with_stats);
  void sort_out(Load& load, const Renewed& renewed, Steady sent);
  void deliver(const AttemptPtr& attempt, Signal signal, Steady sent);
  void after_mark(const AttemptPtr& attempt);
  void drop(const AttemptPtr& attempt);

  WorkerCore& core_;
  Lane lane_;
  Trouble trouble_;
  Steady next_beat_{};  // The keeper's own.

  std::mutex mutex_;
  std::condition_variable wakes_;
  std::vector<AttemptPtr> to_mark_;  // Guarded by mutex_.
  bool poked_ = false;               // Guarded by mutex_.
  bool finishing_ = false;           // Guarded by mutex_.
  Steady quiet_until_{};             // After a failure. The keeper's own.
  Steady last_poke_{};               // The keeper's own.
  std::thread thread_;
};

}  // namespace tidemill::engine
