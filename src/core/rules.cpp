#include "core/rules.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>

namespace tidemill {

Action Action::reschedule(TimePoint run_at) {
  Action action{Act::reschedule};
  action.run_at = run_at;
  return action;
}

Action Action::move(std::string queue) {
  Action action{Act::move};
  action.queue = std::move(queue);
  return action;
}

}  // namespace tidemill

namespace tidemill::rules {

namespace {

using namespace std::chrono_literals;

constexpr Duration pause_least = 1s;
constexpr Duration pause_most = 60s;

/// Nothing counted yet: every counter as it was.
Report unchanged(const Lease& lease, State to) {
  Report report;
  report.lease = &lease;
  report.to = to;
  report.attempt = lease.task.attempt;
  report.retries = lease.task.retries;
  report.crashes = lease.task.crashes;
  report.deferrals = lease.task.deferrals;
  return report;
}

/// An attempt that counts.
Report counted(const Ended& ended, State to) {
  Report report = unchanged(ended.lease, to);
  report.attempt += 1;
  report.deferrals = 0;
  report.started_at = ended.started_at;
  return report;
}

Report archived(Report report, std::string reason, std::string error) {
  report.to = State::archived;
  report.release_key = true;
  report.reason = std::move(reason);
  report.error = std::move(error);
  return report;
}

Report success(const Ended& ended) {
  const Task& task = ended.lease.task;
  const bool kept = task.retention > Duration::zero();
  Report report = counted(ended, kept ? State::completed : State::gone);
  report.tally = Tally::success;
  report.release_key = true;
  if (kept) {
    report.keep = task.retention;
    report.record = true;
    report.result = ended.outcome.text();
  }
  return report;
}

Report failure(const Ended& ended, const Policy& policy, const std::string& error) {
  const Task& task = ended.lease.task;
  Report report = counted(ended, State::retry);
  report.tally = Tally::failure;
  report.record = true;
  if (task.retries >= task.retries_max) return archived(std::move(report), "retries", error);
  report.error = error;
  report.delay = ended.outcome.delay() ? std::max(*ended.outcome.delay(), Duration::zero())
                                       : policy.retry.delay(task, task.retries + 1, error, ended.random);
  if (policy.is_failure && !policy.is_failure(error)) {
    report.tally = Tally::none;
  } else {
    report.retries += 1;
  }
  return report;
}

/// Snooze and again: later, without using up a retry, but not without end.
Report deferral(const Ended& ended, const Policy& policy) {
  const Task& task = ended.lease.task;
  const Duration delay = std::max(ended.outcome.delay().value_or(Duration::zero()), Duration::zero());
  Report report = unchanged(ended.lease, delay > Duration::zero() ? State::scheduled : State::pending);
  report.started_at = ended.started_at;
  report.delay = delay;
  report.deferrals += 1;
  if (ended.outcome.kind() == Outcome::Kind::again) report.attempt += 1;
  if (report.deferrals <= policy.deferrals_max) return report;
  report.tally = Tally::failure;
  report.record = true;
  report.attempt = task.attempt + 1;
  return archived(
      std::move(report), "deferrals",
      fmt::format("put off {} times in a row; the limit is {}", task.deferrals, policy.deferrals_max));
}

Report stopped_by_deadline(const Ended& ended, std::string error) {
  Report report = counted(ended, State::archived);
  report.tally = Tally::failure;
  report.record = true;
  return archived(std::move(report), "deadline", std::move(error));
}

Report stopped_by_cancel(const Ended& ended, std::string error) {
  Report report = counted(ended, State::archived);
  report.record = true;
  return archived(std::move(report), "cancelled", std::move(error));
}

/// What the handler said, or why it was stopped when it said nothing of use.
std::string error_of(const Ended& ended, std::string_view otherwise) {
  const bool spoke =
      ended.outcome.kind() == Outcome::Kind::failure || ended.outcome.kind() == Outcome::Kind::archive;
  if (spoke && !ended.outcome.text().empty()) return fmt::format("{}: {}", otherwise, ended.outcome.text());
  return std::string{otherwise};
}

/// A handler that was told to stop and did not succeed: the reason decides, not what it said.
std::optional<Report> by_stop_reason(const Ended& ended, const Policy& policy) {
  const Outcome::Kind said = ended.outcome.kind();
  if (said == Outcome::Kind::success || said == Outcome::Kind::discard) return {};
  const bool deferred = said == Outcome::Kind::snooze || said == Outcome::Kind::again;
  switch (ended.stopped) {
    case StopReason::none:
    case StopReason::lost:
      return {};
    case StopReason::cancel:
      return stopped_by_cancel(ended, error_of(ended, "cancelled while it ran"));
    case StopReason::hold: {
      Report report = unchanged(ended.lease, State::held);
      report.reason = "held";
      return report;
    }
    case StopReason::deadline:
      return stopped_by_deadline(ended, error_of(ended, "the deadline passed while it ran"));
    case StopReason::timeout:
      if (deferred) return {};
      if (said == Outcome::Kind::archive) return {};
      return failure(
          ended, policy,
          error_of(ended, fmt::format("ran for longer than its timeout of {} s",
                                      std::chrono::duration<double>(ended.lease.task.timeout).count())));
    case StopReason::shutdown:
      if (deferred || said == Outcome::Kind::archive) return {};
      return give_back(ended.lease);
  }
  return {};
}

}  // namespace

Report conclude(const Ended& ended, const Policy& policy) {
  if (auto report = by_stop_reason(ended, policy)) return std::move(*report);
  switch (ended.outcome.kind()) {
    case Outcome::Kind::success:
      return success(ended);
    case Outcome::Kind::failure:
      return failure(ended, policy, ended.outcome.text());
    case Outcome::Kind::snooze:
    case Outcome::Kind::again:
      return deferral(ended, policy);
    case Outcome::Kind::discard: {
      Report report = counted(ended, State::gone);
      report.tally = Tally::success;
      report.release_key = true;
      return report;
    }
    case Outcome::Kind::archive: {
      Report report = counted(ended, State::archived);
      report.tally = Tally::failure;
      report.record = true;
      return archived(std::move(report), "handler", ended.outcome.text());
    }
    case Outcome::Kind::deferred:
      break;
  }
  return failure(ended, policy, "the handler said that its outcome would follow, and none did");
}

std::optional<Report> refuse(const Lease& lease, TimePoint now) {
  const Task& task = lease.task;
  const bool late = task.deadline && *task.deadline <= now;
  const bool expired = task.expires_at && *task.expires_at <= now && task.attempt == 0;
  if (!late && !expired) return {};
  Report report = unchanged(lease, State::archived);
  report.tally = Tally::failure;
  if (late) return archived(std::move(report), "deadline", "its deadline passed before it could start");
  return archived(std::move(report), "expired", "it expired before it could start");
}

Report give_back(const Lease& lease) {
  Report report = unchanged(lease, State::pending);
  report.front = true;
  return report;
}

Report unknown_kind(const Lease& lease) {
  Report report = unchanged(lease, State::scheduled);
  const int doublings = std::min(lease.task.deferrals, 6);
  report.delay = std::min(pause_least * (1 << doublings), pause_most);
  report.deferrals += 1;
  report.reason = "no handler";
  return report;
}

Task merge(NewTask merged, const TaskSet& set, const Capabilities& capabilities) {
  if (!merged.options.group.empty()) {
    throw Error{ErrorKind::invalid,
                fmt::format("the task made of group \"{}\" can't wait in a group itself", set.group)};
  }
  merged.options.queue = set.queue;
  return admit(merged.kind, std::move(merged.payload), merged.options, capabilities);
}

Duration group_pause(int failures) noexcept {
  return std::min(pause_least * (1 << std::clamp(failures - 1, 0, 6)), pause_most);
}

Report withdraw(const Lease& lease, Signal signal) {
  if (signal == Signal::hold) {
    Report report = unchanged(lease, State::held);
    report.reason = "held";
    return report;
  }
  return archived(unchanged(lease, State::archived), "cancelled", "cancelled before it started");
}

bool suspect(const Task& task) noexcept { return task.crashes > 0; }

bool must_mark(const Task& task) noexcept { return suspect(task) || task.crashes_max <= 1; }

Report crashed(const Lease& lease, TimePoint now) {
  const Task& task = lease.task;
  const bool charged = must_mark(task) ? lease.started : true;
  Report report = give_back(lease);
  if (!charged) return report;
  report.attempt += 1;
  report.crashes += 1;
  report.tally = Tally::crash;
  report.record = true;
  report.started_at = task.started_at.value_or(now);
  report.error = fmt::format("its worker {} died or lost contact (crash {} of {})", task.worker,
                             report.crashes, std::max(task.crashes_max, 1));
  if (report.crashes < task.crashes_max) return report;
  report.front = false;
  std::string error = std::move(report.error);
  return archived(std::move(report), "poison", std::move(error));
}

std::span<const Act> acts() {
  static constexpr std::array all = {Act::run,     Act::hold,  Act::resume,     Act::cancel,
                                     Act::archive, Act::erase, Act::reschedule, Act::move};
  return all;
}

States states_of(Act act) {
  if (act == Act::move) return States{State::scheduled} + State::pending + State::retry + State::held;
  States states;
  for (const Change& change : changes(act)) states = states + change.from;
  return states;
}

States editable() {
  return States{State::scheduled} + State::pending + State::retry + State::held + State::archived;
}

std::span<const Change> changes(Act act) {
  const auto make = [](States from, State to, std::string reason, bool fresh, bool release, Signal signal) {
    Change change;
    change.from = from;
    change.to = to;
    change.reason = std::move(reason);
    change.fresh = fresh;
    change.release_key = release;
    change.signal = signal;
    return change;
  };
  using enum State;
  static const States waiting = States{scheduled} + pending + retry + aggregating;
  static const std::array run = {
      make(States{scheduled} + retry + aggregating + held, pending, "", false, false, Signal::none),
      make(States{completed} + archived, pending, "", true, false, Signal::none)};
  static const std::array hold = {make(waiting + active, held, "held", false, false, Signal::hold)};
  static const std::array resume = {make(States{held}, pending, "", false, false, Signal::none)};
  static const std::array cancel = {
      make(waiting + held + active, archived, "cancelled", false, true, Signal::cancel)};
  static const std::array archive = {make(waiting + held, archived, "operator", false, true, Signal::none)};
  static const std::array erase = {
      make(waiting + held + completed + archived, gone, "", false, true, Signal::none)};
  static const std::array reschedule = {
      make(States{scheduled} + pending + retry + held, scheduled, "", false, false, Signal::none)};
  switch (act) {
    case Act::run:
      return run;
    case Act::hold:
      return hold;
    case Act::resume:
      return resume;
    case Act::cancel:
      return cancel;
    case Act::archive:
      return archive;
    case Act::erase:
      return erase;
    case Act::reschedule:
      return reschedule;
    case Act::move:
      break;
  }
  return {};
}

}  // namespace tidemill::rules
