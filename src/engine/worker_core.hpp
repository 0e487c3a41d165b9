#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/router.hpp>
#include <tidemill/worker.hpp>

#include "engine/attempt.hpp"
#include "engine/store_clock.hpp"
#include "engine/suspects.hpp"
#include "engine/worker_bell.hpp"
#include "engine/worker_fetcher.hpp"
#include "engine/worker_gatherer.hpp"
#include "engine/worker_keeper.hpp"
#include "engine/worker_pool.hpp"
#include "engine/worker_reporter.hpp"
#include "engine/worker_stats.hpp"
#include "engine/worker_sweeper.hpp"
#include "engine/worker_watch.hpp"

namespace tidemill::engine {

/// All parts of one worker, and an attempt's way through them: claimed by the fetcher, started and run by the
/// pool, stopped by the watch, ended into the reporter. Rules decide each end; this class carries it out.
///
/// Owned by the Worker, by the threads that run handlers, and by every attempt: so it outlives a handler that
/// was left behind. Such a handler finds all parts stopped, and touches neither store nor router.
///
/// Thread safety: all members may be called from any thread.
class WorkerCore final : public AttemptOwner,
                         public SuspectGate::Listener,
                         public std::enable_shared_from_this<WorkerCore> {
 public:
  WorkerCore(Store& store, const Router& router, WorkerOptions options);

  // ---- What is fixed ----

  Store& store;
  const Router& router;
  const WorkerOptions options;
  const std::string id;
  const std::string host;
  /// How long a lease is ours, from when its claim or renewal was sent.
  const Duration hold;

  // ---- The parts ----

  StoreClock clock;
  WorkerStats stats;
  WorkerBell bell;
  WorkerWatch watch;
  WorkerReporter reporter;
  WorkerKeeper keeper;
  WorkerPool pool;
  WorkerFetcher fetcher;
  WorkerSweeper sweeper;
  WorkerGatherer gatherer;

  // ---- An attempt's way ----

  /// Takes a lease in; the claim or sweep was sent at `sent`.
  AttemptPtr adopt(Lease lease, Steady sent);
  /// As the rules say, but for suspects whose handlers can't take the process down.
  bool must_mark(const Task& task) const;
  /// Runs an attempt that has a slot, unless something speaks against it. True if it is over with that.
  bool run(const AttemptPtr& attempt) noexcept;
  /// Tells a running attempt to stop, if it hasn't been told.
  void stop(const AttemptPtr& attempt, StopReason reason);
  /// Tells all of them.
  void stop_running(StopReason reason);
  /// An operator's cancel or hold: stops it, or keeps it from starting.
  void signal(const AttemptPtr& attempt, Signal signal);
  /// It was told to stop long ago: reported as what stopped it, whatever the handler still does.
  void abandon(const AttemptPtr& attempt);
  /// Not started: back to where they were in the line.
  void give_back(std::span<const AttemptPtr> attempts);
  /// The lease of an attempt is lost.
  void lost(const Task& task, std::string_view when);

  // ---- State ----

  std::atomic<bool> quiet{false};
  std::atomic<bool> stopping{false};
  std::atomic<Steady> last_claim{Steady{}};
  std::atomic<Steady> last_renewal{Steady{}};  ///< When the last one that succeeded was sent.
  /// What an operator's stop signal sets off; must not block.
  std::function<void()> on_stop_signal;
  WorkerInfo info();
  void set_quiet(bool on);
  /// What the store signalled to the worker.
  void obey(Signal signal);

  // ---- AttemptOwner and Listener ----

  TimePoint now() noexcept override;
  void ended(const AttemptPtr& attempt, Outcome outcome) noexcept override;
  void released(const AttemptPtr& attempt) noexcept override { pool.release(attempt); }
  void gate_is_free() override { pool.admit_suspect(); }

 private:
  Report not_started(const detail::Attempt& attempt) const;
  void warn_of_unknown(const std::string& kind);

  std::atomic<TimePoint> started_at_{TimePoint{}};
  std::mutex mutex_;
  std::set<std::string> unknown_kinds_;  // Warned of. Guarded by mutex_.
};

}  // namespace tidemill::engine
