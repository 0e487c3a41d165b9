#include "engine/worker_core.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "core/rules.hpp"
#include "core/uuid.hpp"
#include "engine/host.hpp"

namespace tidemill::engine {

namespace {

/// Kinds without a handler that are remembered, so as to warn once of each.
constexpr std::size_t unknown_kinds_max = 1000;
constexpr std::string_view lease_lost = "its lease was lost while it ran";

Steady steady_now() { return std::chrono::steady_clock::now(); }

std::size_t thread_count(const WorkerOptions& options) {
  const std::int32_t threads = options.threads == 0 ? options.concurrency : options.threads;
  return static_cast<std::size_t>(std::min(threads, options.concurrency));
}

StopReason reason_of(Signal signal) { return signal == Signal::hold ? StopReason::hold : StopReason::cancel; }

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

WorkerCore::WorkerCore(Store& s, const Router& r, WorkerOptions o)
    : store(s),
      router(r),
      options(std::move(o)),
      id(to_string(make_uuid())),
      host(host_name()),
      hold(options.lease - options.margin),
      clock(s, options.beat),
      watch(*this),
      reporter(*this),
      keeper(*this),
      pool(*this, static_cast<std::size_t>(options.concurrency), thread_count(options)),
      fetcher(*this),
      sweeper(*this),
      gatherer(*this) {}

// ---- An attempt's way

AttemptPtr WorkerCore::adopt(Lease lease, Steady sent) {
  return std::make_shared<detail::Attempt>(std::move(lease), shared_from_this(), sent, sent + hold);
}

bool WorkerCore::run(const AttemptPtr& attempt) noexcept {
  const Lease& lease = attempt->lease();
  const Steady at = steady_now();
  if (at >= attempt->hold_until()) {
    lost(lease.task, "before it started");
    return true;
  }
  if (stopping.load(std::memory_order_relaxed) || attempt->signal() != Signal::none) {
    reporter.add(attempt, not_started(*attempt));
    return true;
  }
  const TimePoint time = now();
  if (auto refused = rules::refuse(lease, time)) {
    const std::string error = refused->error;
    reporter.add(attempt, std::move(*refused));
    tell_of_error(options, *attempt, error);
    return true;
  }
  const Router::Route* route = router.find(lease.task.kind);
  if (route == nullptr) {
    warn_of_unknown(lease.task.kind);
    reporter.add(attempt, rules::unknown_kind(lease));
    return true;
  }

  Steady due = Steady::max();
  StopReason why = StopReason::none;
  if (lease.task.timeout > Duration::zero()) {
    due = at + lease.task.timeout;
    why = StopReason::timeout;
  }
  if (lease.task.deadline && at + (*lease.task.deadline - time) <= due) {
    due = at + (*lease.task.deadline - time);
    why = StopReason::deadline;
  }
  attempt->begin(time, at, due, why);
  watch.expect(*attempt);
  // The keeper first sets the signal and then looks whether the attempt has begun: one of us sees the other.
  if (const Signal signal = attempt->signal(); signal != Signal::none) stop(attempt, reason_of(signal));
  return attempt->returned(run_handler(route->handler, attempt));
}

void WorkerCore::ended(const AttemptPtr& attempt, Outcome outcome) noexcept {
  if (attempt->stop_reason() == StopReason::lost) {
    lost(attempt->task(), "while it ran; its outcome is dropped");
    tell_of_error(options, *attempt, lease_lost);
    return;
  }
  Report report = conclude(*attempt, outcome, router, options);
  if (!options.on_error || !failed(report)) {
    reporter.add(attempt, std::move(report));
    return;
  }
  // First reported: the lease of an attempt that is over is renewed only while its report waits.
  const std::string error = report.error;
  reporter.add(attempt, std::move(report));
  tell_of_error(options, *attempt, error);
}

bool WorkerCore::must_mark(const Task& task) const {
  if (!rules::must_mark(task)) return false;
  const Router::Route* route = router.find(task.kind);
  return route == nullptr || !route->options.isolated || task.crashes_max <= 1;
}

void WorkerCore::stop(const AttemptPtr& attempt, StopReason reason) {
  if (!attempt->stop(reason, steady_now())) return;
  watch.fire(attempt);
}

void WorkerCore::stop_running(StopReason reason) {
  // All are marked before the first one hears it: what its end would let begin must not begin.
  std::vector<AttemptPtr> told = pool.running();
  const Steady now = steady_now();
  std::erase_if(told, [&](const AttemptPtr& attempt) { return !attempt->stop(reason, now); });
  for (const AttemptPtr& attempt : told) watch.fire(attempt);
}

void WorkerCore::abandon(const AttemptPtr& attempt) {
  if (!attempt->abandon()) return;
  if (!attempt->begun()) {
    reporter.add(attempt, rules::give_back(attempt->lease()));
    return;
  }
  const Task& task = attempt->task();
  options.log.warning("a handler ignores that it was told to stop; its slot stays taken until it returns",
                      {{"queue", task.ref.queue},
                       {"id", task.ref.id},
                       {"kind", task.kind},
                       {"reason", to_string(attempt->stop_reason())}});
  std::string error{lease_lost};
  bool told = true;
  if (attempt->stop_reason() != StopReason::lost) {
    const auto said = Outcome::failure(fmt::format(
        "its handler had not returned {} s after it was told to stop", seconds(options.stuck_after)));
    Report report = conclude(*attempt, said, router, options);
    error = report.error;
    told = failed(report);
    reporter.add(attempt, std::move(report));
  }
  // Those who give attempts up have leases to look after, and can't wait for user code.
  if (told && options.on_error) {
    watch.call([this, attempt, error] { tell_of_error(options, *attempt, error); });
  }
}

/// Back to its place in the line, unless an operator wants it elsewhere: what he said must not be lost with
/// the lease that it was said to.
Report WorkerCore::not_started(const detail::Attempt& attempt) const {
  const Signal signal = attempt.signal();
  return signal == Signal::none ? rules::give_back(attempt.lease())
                                : rules::withdraw(attempt.lease(), signal);
}

void WorkerCore::give_back(std::span<const AttemptPtr> attempts) {
  for (const AttemptPtr& attempt : attempts) {
    if (rules::suspect(attempt->task())) SuspectGate::of_process().leave(*attempt);
    reporter.add(attempt, not_started(*attempt));
  }
}

void WorkerCore::signal(const AttemptPtr& attempt, Signal signal) {
  attempt->set_signal(signal);
  if (attempt->begun()) stop(attempt, reason_of(signal));
}

void WorkerCore::lost(const Task& task, std::string_view when) {
  options.log.warning(fmt::format("a lease was lost {}", when),
                      {{"queue", task.ref.queue}, {"id", task.ref.id}, {"kind", task.kind}});
}

void WorkerCore::warn_of_unknown(const std::string& kind) {
  {
    const std::lock_guard lock{mutex_};
    if (unknown_kinds_.size() >= unknown_kinds_max || !unknown_kinds_.insert(kind).second) return;
  }
  options.log.warning("no handler for this kind; its tasks go back and wait for a worker that has one",
                      {{"kind", kind}});
}

// ---- State

WorkerInfo WorkerCore::info() {
  const WorkerPool::Load load = pool.load();
  if (started_at_.load() == TimePoint{}) {
    if (const TimePoint time = now(); time != TimePoint{}) started_at_.store(time);
  }
  WorkerInfo info{.id = id, .host = host, .state = "running", .pid = getpid(), .slots = options.concurrency};
  if (quiet) info.state = "quiet";
  if (stopping) info.state = "stopping";
  for (const QueueWeight& queue : options.queues) info.queues[queue.name] = queue.weight;
  info.busy = static_cast<std::int32_t>(load.busy);
  info.stuck = static_cast<std::int32_t>(load.stuck);
  info.started_at = started_at_.load();
  return info;
}

void WorkerCore::set_quiet(bool on) {
  if (quiet.exchange(on) == on) return;
  options.log.info(on ? "claims no more tasks until told to resume" : "claims tasks again", {{"worker", id}});
  bell.ring();
}

void WorkerCore::obey(Signal signal) {
  if (signal == Signal::quiet) set_quiet(true);
  if (signal == Signal::resume) set_quiet(false);
  if (signal == Signal::stop && on_stop_signal) on_stop_signal();
}

TimePoint WorkerCore::now() noexcept {
  try {
    return clock.now();
  } catch (...) {
    return {};  // Before the store's first answer; nothing runs then.
  }
}

}  // namespace tidemill::engine
