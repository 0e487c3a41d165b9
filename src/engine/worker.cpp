#include <tidemill/worker.hpp>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/rules.hpp"
#include "engine/worker_core.hpp"
#include "engine/worker_signals.hpp"

namespace tidemill {

namespace {

using namespace std::chrono_literals;
using engine::Steady;

constexpr std::int32_t concurrency_max = 100'000;
/// How long a stop waits, after all handlers have ended or were given up, for threads to end, and for a store
/// that fails to take the last reports.
constexpr auto threads_end_within = 1s;
constexpr auto reports_end_within = 10s;

Steady steady_now() { return std::chrono::steady_clock::now(); }

void require(bool condition, std::string_view what) {
  if (!condition) throw Error{ErrorKind::invalid, fmt::format("worker options: {}", what)};
}

void check(const WorkerOptions& options) {
  require(!options.queues.empty(), "queues must name at least one queue");
  std::set<std::string_view> names;
  for (const QueueWeight& queue : options.queues) {
    rules::check_queue_name(queue.name);
    require(queue.weight >= 1,
            fmt::format("the weight of queue \"{}\" is {}; 1 is the least", queue.name, queue.weight));
    require(names.insert(queue.name).second, fmt::format("queue \"{}\" is named twice", queue.name));
  }
  require(options.concurrency >= 1 && options.concurrency <= concurrency_max,
          fmt::format("concurrency is {}; it may be 1 to {}", options.concurrency, concurrency_max));
  require(options.threads >= 0, "threads must not be negative; 0 is as many as slots");
  require(options.deferrals_max >= 0, "deferrals_max must not be negative");
  require(options.beat > Duration::zero(), "beat must be more than zero");
  require(options.margin >= Duration::zero(), "margin must not be negative");
  require(options.lease >= options.beat + options.margin,
          "lease must be at least beat and margin together; three beats and the margin let it survive a lost "
          "beat");
  require(options.sweep > Duration::zero(), "sweep must be more than zero");
  require(options.poll > Duration::zero(), "poll must be more than zero");
  require(options.shutdown_timeout >= Duration::zero(), "shutdown_timeout must not be negative");
  require(options.stuck_after >= Duration::zero(), "stuck_after must not be negative");
}

void check_groups(const WorkerOptions& options, Store& store) {
  std::set<std::string_view> names;
  const std::size_t most = store.capabilities().batch_max;
  for (const Aggregation& each : options.groups) {
    rules::check_queue_name(each.queue);
    const auto require_of = [&](bool condition, std::string_view what) {
      require(condition, fmt::format("groups of queue \"{}\": {}", each.queue, what));
    };
    require_of(names.insert(each.queue).second, "they have two rules; give them one");
    require_of(static_cast<bool>(each.aggregate), "aggregate is empty; give the function that merges them");
    require_of(each.size_max <= most,
               fmt::format("size_max is {}; this store takes {} tasks in one call", each.size_max, most));
    require_of(each.delay_max >= Duration::zero(), "delay_max must not be negative; 0 is no limit");
    require_of(each.grace >= Duration::zero(), "grace must not be negative");
    require_of(each.timeout > Duration::zero(), "timeout must be more than zero");
  }
  if (options.groups.empty() || store.groups() != nullptr) return;
  rules::require(store.capabilities(), Feature::groups);
  throw Error{ErrorKind::unsupported,
              "this store can't gather groups; run a worker with aggregators on the server's own store"};
}

}  // namespace

struct Worker::Impl {
  enum class Phase { fresh, running, stopping, stopped };

  Impl(Store& store, const Router& router, WorkerOptions options)
      : core(std::make_shared<engine::WorkerCore>(store, router, std::move(options))) {}

  void start();
  /// Begins to stop, or waits until whoever has begun is done.
  void stop();
  /// An operator's signal: begins to stop on a thread of its own, since the keeper, which brings it, must go
  /// on.
  void stop_by_signal();
  void stop_all();

  const std::shared_ptr<engine::WorkerCore> core;
  std::mutex mutex;
  std::condition_variable stopped;
  Phase phase = Phase::fresh;     // Guarded by mutex.
  std::function<void()> on_stop;  // What run() wants to be told. Guarded by mutex.
  std::thread stopper;            // Guarded by mutex.
};

void Worker::Impl::start() {
  {
    // To the end under the lock: a stop that comes with the very first beat has to wait until all parts are
    // there.
    const std::lock_guard lock{mutex};
    if (phase == Phase::running) throw Error{ErrorKind::invalid, "the worker has been started already"};
    if (phase != Phase::fresh) throw Error{ErrorKind::invalid, "the worker was stopped; make a new one"};
    phase = Phase::running;
    core->on_stop_signal = [this] { stop_by_signal(); };
    engine::SuspectGate::of_process().listen(core);
    core->last_claim = steady_now();
    core->last_renewal = steady_now();
    core->watch.start();
    core->reporter.start();
    core->keeper.start();
    core->pool.start(core);
    core->fetcher.start();
    core->sweeper.start();
    core->gatherer.start(core);
  }
  core->options.log.info("worker started",
                         {{"worker", core->id}, {"slots", std::to_string(core->options.concurrency)}});
}

void Worker::Impl::stop() {
  std::thread other;
  {
    std::unique_lock lock{mutex};
    if (phase == Phase::fresh) phase = Phase::stopped;
    if (phase == Phase::running) {
      phase = Phase::stopping;
      lock.unlock();
      stop_all();
      lock.lock();
      phase = Phase::stopped;
      stopped.notify_all();
    }
    stopped.wait(lock, [this] { return phase == Phase::stopped; });
    std::swap(other, stopper);
  }
  if (other.joinable()) other.join();
}

void Worker::Impl::stop_by_signal() {
  const std::lock_guard lock{mutex};
  if (phase != Phase::running) return;
  phase = Phase::stopping;
  core->options.log.info("told to stop by an operator", {{"worker", core->id}});
  stopper = std::thread{[this] {
    stop_all();
    const std::lock_guard done{mutex};
    phase = Phase::stopped;
    stopped.notify_all();
    if (on_stop) on_stop();
  }};
}

void Worker::Impl::stop_all() {
  const WorkerOptions& options = core->options;
  const Steady handlers_end = steady_now() + options.shutdown_timeout;
  core->stopping = true;
  core->bell.ring();
  core->gatherer.stop();
  core->give_back(core->pool.close());

  if (!core->pool.wait_idle(handlers_end)) {
    core->stop_running(StopReason::shutdown);
    // The watch gives up what does not end within `stuck_after`; what it has missed, because it began or was
    // told another reason just now, is given up here.
    core->pool.wait_idle(steady_now() + options.stuck_after + 100ms);
    for (const auto& attempt : core->pool.running()) core->abandon(attempt);
  }
  core->fetcher.join();
  core->sweeper.finish();
  core->gatherer.finish(handlers_end);
  core->reporter.finish(steady_now() + reports_end_within);
  core->keeper.finish();
  core->watch.finish();
  const std::size_t stuck = core->pool.leave(steady_now() + threads_end_within) +
                            core->watch.leave(steady_now() + threads_end_within) +
                            core->gatherer.leave(steady_now() + threads_end_within);
  if (stuck > 0) {
    options.log.error("stopped, but left threads behind that user code does not return from",
                      {{"worker", core->id}, {"threads", std::to_string(stuck)}});
  } else {
    options.log.info("worker stopped", {{"worker", core->id}});
  }
}

WorkerOptions WorkerOptions::asynq() {
  WorkerOptions options;
  options.concurrency = std::max(static_cast<std::int32_t>(std::thread::hardware_concurrency()), 1);
  options.retry = RetryPolicy::asynq();
  options.shutdown_timeout = 8s;
  options.stuck_after = 1s;  // Go gives back at once what still runs, and many supervisors kill after 10 s.
  return options;
}

// ---- Worker

Worker::Worker(Store& store, const Router& router, WorkerOptions options) {
  check(options);
  check_groups(options, store);
  impl_ = std::make_unique<Impl>(store, router, std::move(options));
}

Worker::~Worker() { stop(); }

void Worker::start() { impl_->start(); }

void Worker::stop() { impl_->stop(); }

void Worker::run() {
  engine::ProcessSignals signals;
  {
    const std::lock_guard lock{impl_->mutex};
    impl_->on_stop = [&signals] { signals.poke(); };
  }
  start();
  int seen = signals.wait();
  std::thread stopping{[this] {
    stop();
    const std::lock_guard lock{impl_->mutex};
    if (impl_->on_stop) impl_->on_stop();
  }};
  const auto is_stopped = [this] {
    const std::lock_guard lock{impl_->mutex};
    return impl_->phase == Impl::Phase::stopped;
  };
  while (!is_stopped()) {
    // The second signal is an impatient one.
    if (seen >= 2) impl_->core->pool.hurry();
    seen += signals.wait();
  }
  stopping.join();
  const std::lock_guard lock{impl_->mutex};
  impl_->on_stop = nullptr;
}

void Worker::quiet() { impl_->core->set_quiet(true); }
void Worker::resume() { impl_->core->set_quiet(false); }

WorkerInfo Worker::info() const { return impl_->core->info(); }

std::chrono::steady_clock::time_point Worker::last_claim() const { return impl_->core->last_claim; }

void Worker::check_health() const {
  {
    const std::lock_guard lock{impl_->mutex};
    if (impl_->phase != Impl::Phase::running) throw Error{ErrorKind::closed, "the worker does not run"};
  }
  impl_->core->store.now();
  const Duration lease = impl_->core->options.lease;
  const auto since = steady_now() - impl_->core->last_renewal.load();
  if (since <= lease) return;
  throw Error{ErrorKind::unavailable,
              fmt::format("the store has taken no beat for {:.1f} s, and leases end after {:.1f} s",
                          std::chrono::duration<double>(since).count(),
                          std::chrono::duration<double>(lease).count())};
}

}  // namespace tidemill
