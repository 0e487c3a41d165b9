#include "gateways/persistent_queue/runner.hpp"

#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace tidemill::persistent_queue {

namespace {

std::int64_t unix_seconds(const std::optional<TimePoint>& time) {
  if (!time) return 0;
  return std::chrono::floor<std::chrono::seconds>(*time).time_since_epoch().count();
}

/// As the last run left it.
Status first_status(const Task& task) {
  if (task.deferrals > 0) return Status::again;
  return task.retries > 0 ? Status::retry : Status::init;
}

}  // namespace

Outcome outcome_of(Status status, const QueueConfig& config, std::string error) {
  switch (status) {
    case Status::success:
      return Outcome::success();
    case Status::failed:
      return Outcome::archive(std::move(error));
    case Status::again:
      return Outcome::again(config.wait_time);
    case Status::init:
    case Status::retry:
      // Go leaves the row at 0, and nobody ever runs it again.
      if (!config.need_retry) return Outcome::archive(std::move(error));
      return Outcome::retry_in(config.wait_time, std::move(error));
  }
  return Outcome::archive(fmt::format("wrong status {}", static_cast<std::int32_t>(status)));
}

/// One run, from when it has a slot until its outcome is known.
struct Runner::Run {
  Context context;
  Completion completion;
};

Outcome Runner::start(Context& context) {
  const auto run = std::make_shared<Run>(context, context.defer());
  store_.entered(std::stoull(context.task().ref.id));
  pool_.submit([this, run] { this->run(*run); });
  return Outcome::deferred();
}

void Runner::run(Run& run) {
  const Task& task = run.context.task();
  const std::uint64_t id = std::stoull(task.ref.id);
  Job job{.id = id,
          .status = first_status(task),
          .retries = task.retries,
          .next_execute_time = unix_seconds(task.run_at),
          .job_type = config_.job_type,
          .params = task.payload,
          .start_time = std::stoll(task.headers.at("start_time")),
          .context = logger_.new_context ? logger_.new_context(config_.service_name) : std::any{},
          .stop = run.context.stop_token()};
  std::string thrown;
  try {
    config_.handler(job);
  } catch (const std::exception& error) {
    thrown = error.what();
  } catch (...) {
    thrown = "unknown exception";
  }
  if (!thrown.empty()) {
    log_.error("a handler threw", {{"id", task.ref.id}, {"error", thrown}});
    if (job.error.empty()) job.error = std::move(thrown);
  } else if (!job.error.empty()) {
    log_.error("a handler reports an error", {{"id", task.ref.id}, {"error", job.error}});
  }
  const auto number = static_cast<std::int32_t>(job.status);
  if (number < 0 || number > static_cast<std::int32_t>(Status::retry))
    log_.error("wrong status", {{"id", task.ref.id}, {"status", std::to_string(number)}});

  Outcome outcome = outcome_of(job.status, config_, job.error);
  const bool success = outcome.kind() == Outcome::Kind::success;
  const bool final = success || outcome.kind() == Outcome::Kind::archive;
  run.completion(std::move(outcome));
  // The engine drops the outcome of an attempt whose lease was in doubt; the row may still be ours.
  if (final && run.context.stop_reason() == StopReason::lost) store_.end_late(id, success, job.error);
  store_.left(id);
}

}  // namespace tidemill::persistent_queue
