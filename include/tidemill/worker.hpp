#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/client.hpp>
#include <tidemill/groups.hpp>
#include <tidemill/handler.hpp>
#include <tidemill/log.hpp>
#include <tidemill/retry.hpp>
#include <tidemill/router.hpp>
#include <tidemill/store.hpp>

namespace tidemill {

struct QueueWeight {
  std::string name = "default";
  std::int32_t weight = 1;  ///< Share of the claims when several queues have work; 1 or more.
};

/// An attempt that ended with an error, as the callbacks of `WorkerOptions` see it; valid during the call.
struct FailedAttempt {
  const Task& task;  ///< As it was claimed: this attempt is not counted in it.
  std::string_view error;
  std::exception_ptr thrown = {};  ///< What left the handler; null when nothing did.
  StopReason stopped = StopReason::none;
};

/// Makes one task of a group's; its queue is the group's, whatever its options say, and it can't wait in a
/// group itself. If it throws, or the task can't be taken, the tasks go back to their group, which is due
/// again after a pause: a second at first, twice as long each time, a minute at most. It runs at least once
/// for a group, so it should have no other effect.
using Aggregator = std::function<NewTask(std::string_view group, std::span<const Task> tasks)>;

/// How the groups of a queue become single tasks, by whichever worker first finds them due: those that serve
/// one queue should have one rule.
struct Aggregation {
  std::string queue = "default";
  Aggregator aggregate = {};
  /// A group is due when it has so many tasks, and no more are merged at a time; 0: as many as the store
  /// takes in one call, 1000 mostly.
  std::size_t size_max = 0;
  Duration delay_max{};  ///< Or when its first task has waited for so long; zero: no limit.
  Duration grace = std::chrono::minutes{1};  ///< Or when no task has come for so long.
  /// How long the aggregator may take. What ends later is refused, and the tasks are back in their group.
  Duration timeout = std::chrono::seconds{25};
};

/// Unless a member says otherwise, callbacks run on the thread that ended the attempt: the handler's, or that
/// which called the `Completion`. What they throw is logged, and has no effect.
struct WorkerOptions {
  /// What Asynq's server has where nothing is set: a slot for each processor, its delays, and all that runs
  /// given back within some 9 s of `stop`. Its enqueue options are `EnqueueOptions`'s own defaults.
  static WorkerOptions asynq();

  std::vector<QueueWeight> queues = {{}};
  /// Drain the queues in the order given, ignoring weights: a later one waits for the earlier ones.
  bool strict = false;

  /// Slots: attempts at one time. A deferred attempt keeps its slot until its completion is called.
  std::int32_t concurrency = 10;
  /// Threads for handlers; 0: as many as slots. Fewer are enough where handlers defer.
  std::int32_t threads = 0;

  RetryPolicy retry = {};
  /// Asked before a task is tried again, also after its timeout: whether its error counts as a failure. If
  /// not, the task waits as long as by the policy, but uses up no retry, and no failure is counted in the
  /// statistics. Not asked about handlers that ignore their stop token, nor when no retry is left. Should
  /// return soon: the lease is not renewed meanwhile. Empty, and when it throws: yes.
  std::function<bool(const FailedAttempt&)> is_failure = {};
  /// Told of each attempt that ended with an error, or could not start for its deadline or expiry: the task
  /// is tried again or archived, or its lease was lost. Not told of crashes, as their worker is gone. The
  /// slot stays taken meanwhile. Of a handler that ignores its stop token it is told on another thread.
  std::function<void(const FailedAttempt&)> on_error = {};
  /// Snoozes and agains in a row before the task is archived.
  std::int32_t deferrals_max = 1000;

  /// How long the store holds a lease that nobody renews, how often it is renewed, and how much sooner than
  /// the store the holder itself lets go. A dead worker's tasks run again within lease + 2 sweeps.
  Duration lease = std::chrono::seconds{25};
  Duration beat = std::chrono::seconds{8};
  Duration margin = std::chrono::seconds{2};
  /// How often lost leases are looked for; more seldom while a look takes over a fifth of that.
  Duration sweep = std::chrono::seconds{1};
  /// The longest sleep between two looks at the queues; wake-ups come sooner.
  Duration poll = std::chrono::seconds{1};

  /// Queues whose groups this worker merges; it need not serve them besides. None: groups wait for others.
  std::vector<Aggregation> groups = {};

  /// On stop, how long running handlers may go on before their stop tokens fire; what has not ended after
  /// `stuck_after` more is given back.
  Duration shutdown_timeout = std::chrono::seconds{20};
  /// How long after its stop token fired a handler counts as stuck.
  Duration stuck_after = std::chrono::seconds{10};

  Log log = {};
};

/// Claims tasks in batches, runs their handlers, reports the outcomes in batches.
///
/// Threads: a fetcher, a reporter, a keeper that renews leases and brings signals and never runs user code, a
/// sweeper, `threads` for handlers, and one for aggregators if there are any.
///
/// Thread safety: start, stop and run from one thread; the others from any.
class Worker {
 public:
  /// `store` and `router` must outlive the worker. Throws Error{invalid} for options that make no sense,
  /// Error{unsupported} when groups are to be merged and the store can't gather them.
  Worker(Store& store, const Router& router, WorkerOptions options = {});
  /// As `stop`.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Returns at once. Throws Error{invalid} when started already or stopped.
  void start();
  /// Claims no more, waits for running handlers up to `shutdown_timeout`, fires their stop tokens, gives the
  /// rest back. May be called twice. A handler that never returns is left behind on its thread, and logged:
  /// the router and all that the handler uses must outlive it.
  void stop();
  /// start(), wait for SIGINT or SIGTERM, stop(). One at a time in a process.
  void run();

  /// Claims no more, and lets what runs go on; `resume` ends that.
  void quiet();
  void resume();

  /// As it stands in the list of workers.
  WorkerInfo info() const;
  /// When a claim last succeeded, on the steady clock, whether or not it found a task.
  std::chrono::steady_clock::time_point last_claim() const;
  /// For health checks: returns if the worker runs, the store answers now (a round trip), and has taken a
  /// beat within the length of a lease. Throws Error{closed} or {unavailable} that says what is wrong.
  void check_health() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill
