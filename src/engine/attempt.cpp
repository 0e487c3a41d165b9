#include "engine/attempt.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <iterator>
#include <tidemill/error.hpp>
#include <utility>

#include "core/uuid.hpp"

namespace tidemill {

namespace {

/// At most `bytes_max` of the text, and no part of a UTF-8 character at its end.
std::string_view cut(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return text.substr(0, end);
}

}  // namespace

// ---- What handlers see

const Task& Context::task() const noexcept { return attempt_->task(); }
int Context::attempt() const noexcept { return attempt_->task().attempt + 1; }
std::stop_token Context::stop_token() const noexcept { return attempt_->stop_token(); }
StopReason Context::stop_reason() const noexcept { return attempt_->stop_reason(); }
void Context::log(Level level, std::string_view text) { attempt_->log(level, text); }
void Context::progress(std::string_view text) { attempt_->progress(text); }
Completion Context::defer() { return attempt_->defer(); }

Completion& Completion::operator=(Completion&& other) noexcept {
  if (this != &other) {
    Completion dropped{std::move(attempt_)};
    attempt_ = std::move(other.attempt_);
  }
  return *this;
}

Completion::~Completion() {
  if (attempt_) attempt_->complete(Outcome::failure("its completion was destroyed without a call"));
}

void Completion::operator()(Outcome outcome) {
  if (const auto attempt = std::move(attempt_)) attempt->complete(std::move(outcome));
}

namespace detail {

// ---- Running and stopping

Attempt::Attempt(Lease lease, std::shared_ptr<engine::AttemptOwner> owner, Steady claimed_at,
                 Steady hold_until)
    : lease_(std::move(lease)), owner_(std::move(owner)), claimed_at_(claimed_at), hold_until_(hold_until) {}

void Attempt::begin(TimePoint now, Steady at, Steady due, StopReason due_reason) noexcept {
  started_at_ = now;
  begun_at_ = at;
  due_ = due;
  due_reason_ = due_reason;
  begun_.store(true);  // In one order with the watch's planning: see WorkerWatch::expect.
}

Duration Attempt::ran() const noexcept {
  const Steady settled_at = settled_at_.load(std::memory_order_relaxed);
  const Steady until = settled_at == Steady{} ? std::chrono::steady_clock::now() : settled_at;
  return std::chrono::duration_cast<Duration>(until - begun_at_);
}

bool Attempt::stop(StopReason reason, Steady at) noexcept {
  // Under the lock, so that the reason by which an outcome was judged is the one that stays.
  const std::lock_guard lock{mutex_};
  if (settled_.load(std::memory_order_relaxed) ||
      reason_.load(std::memory_order_relaxed) != StopReason::none) {
    return false;
  }
  stopped_at_.store(at, std::memory_order_relaxed);
  reason_.store(reason, std::memory_order_release);
  return true;
}

void Attempt::fire() { stop_.request_stop(); }

// ---- Ending

void Attempt::set_thrown(std::exception_ptr thrown) noexcept {
  const std::lock_guard lock{mutex_};
  thrown_ = std::move(thrown);
}

std::exception_ptr Attempt::thrown() const noexcept {
  const std::lock_guard lock{mutex_};
  return abandoned_.load(std::memory_order_relaxed) ? nullptr : thrown_;
}

bool Attempt::returned(Outcome outcome) noexcept {
  {
    const std::lock_guard lock{mutex_};
    returned_ = true;
    const bool follows = outcome.kind() == Outcome::Kind::deferred && deferred_ && !completed_;
    if (follows) return false;
    completed_ = true;  // What a completion says from now on comes too late.
    if (!settle()) return true;
    if (early_) {
      outcome = std::move(*early_);
      thrown_ = nullptr;
    } else if (outcome.kind() == Outcome::Kind::deferred) {
      outcome = Outcome::failure("it returned Outcome::deferred() and had not called Context::defer()");
    }
  }
  owner_->ended(shared_from_this(), std::move(outcome));
  return true;
}

Completion Attempt::defer() {
  const std::lock_guard lock{mutex_};
  if (deferred_ || returned_) return {};
  deferred_ = true;
  return Completion{shared_from_this()};
}

void Attempt::complete(Outcome outcome) noexcept {
  if (outcome.kind() == Outcome::Kind::deferred) {
    outcome = Outcome::failure("its completion was called with Outcome::deferred()");
  }
  bool settles = false;
  {
    const std::lock_guard lock{mutex_};
    if (completed_) return;
    completed_ = true;
    if (!returned_) {
      early_ = std::move(outcome);
      return;
    }
    settles = settle();
  }
  const auto self = shared_from_this();
  if (settles) owner_->ended(self, std::move(outcome));
  owner_->released(self);
}

bool Attempt::settle() noexcept {
  if (settled_.load(std::memory_order_relaxed)) return false;
  settled_at_.store(std::chrono::steady_clock::now(), std::memory_order_relaxed);
  settled_.store(true, std::memory_order_release);
  return true;
}

bool Attempt::abandon() noexcept {
  const std::lock_guard lock{mutex_};
  if (!settle()) return false;
  abandoned_.store(true, std::memory_order_release);
  return true;
}

// ---- What the handler says

void Attempt::log(Level level, std::string_view text) {
  const TimePoint at = owner_->now();
  const std::lock_guard lock{mutex_};
  if (log_lines_ == engine::log_lines_max || log_bytes_ == engine::log_bytes_max) {
    ++left_out_;
    return;
  }
  text = cut(text, engine::log_bytes_max - log_bytes_);
  ++log_lines_;
  log_bytes_ += text.size();
  logs_.push_back({at, level, std::string{text}});
}

void Attempt::progress(std::string_view text) {
  text = cut(text, engine::progress_bytes_max);
  const std::lock_guard lock{mutex_};
  progress_ = text;
  progress_is_new_ = true;
}

void Attempt::take_news(Beat& beat) {
  const std::lock_guard lock{mutex_};
  if (std::exchange(progress_is_new_, false)) beat.progress = progress_;
  beat.logs = std::exchange(logs_, {});
}

void Attempt::put_back(Beat beat) {
  const std::lock_guard lock{mutex_};
  if (beat.progress) progress_is_new_ = true;
  beat.logs.insert(beat.logs.end(), std::make_move_iterator(logs_.begin()),
                   std::make_move_iterator(logs_.end()));
  logs_ = std::move(beat.logs);
}

std::vector<LogLine> Attempt::last_logs() {
  std::vector<LogLine> lines;
  std::size_t left_out = 0;
  {
    const std::lock_guard lock{mutex_};
    lines = std::exchange(logs_, {});
    left_out = std::exchange(left_out_, 0);
  }
  if (left_out > 0) {
    lines.push_back({owner_->now(), Level::warning,
                     fmt::format("{} more {} left out: an attempt keeps {} lines and {} KiB", left_out,
                                 left_out == 1 ? "line was" : "lines were", engine::log_lines_max,
                                 engine::log_bytes_max >> 10U)});
  }
  return lines;
}

}  // namespace detail

// ---- Running a handler

namespace engine {

Outcome run_handler(const Handler& handler, const std::shared_ptr<detail::Attempt>& attempt) noexcept {
  try {
    Context context{attempt};
    return handler(context);
  } catch (const Error& error) {
    attempt->set_thrown(std::current_exception());
    if (error.kind() == ErrorKind::corrupt) return Outcome::archive(error.what());
    return Outcome::failure(error.what());
  } catch (const std::exception& error) {
    attempt->set_thrown(std::current_exception());
    return Outcome::failure(error.what());
  } catch (...) {
    attempt->set_thrown(std::current_exception());
    return Outcome::failure("unknown exception");
  }
}

// ---- Callbacks of the worker's options

namespace {

/// What a callback throws goes to the log; the answer is then `otherwise`.
template <class T, class F>
T guarded(const Log& log, std::string_view name, const Task& task, T otherwise, F&& call) noexcept {
  std::string why = "unknown exception";
  try {
    return call();
  } catch (const std::exception& error) {
    why = error.what();
  } catch (...) {
  }
  log.error(fmt::format("{} of the worker's options threw", name),
            {{"error", why}, {"queue", task.ref.queue}, {"id", task.ref.id}, {"kind", task.kind}});
  return otherwise;
}

FailedAttempt failed_attempt(const detail::Attempt& attempt, std::string_view error) {
  return {attempt.task(), error, attempt.thrown(), attempt.stop_reason()};
}

}  // namespace

Report conclude(const detail::Attempt& attempt, const Outcome& outcome, const Router& router,
                const WorkerOptions& options) {
  const Router::Route* route = router.find(attempt.task().kind);
  const RetryPolicy& retry = route != nullptr && route->options.retry ? *route->options.retry : options.retry;
  rules::Policy policy{.retry = retry, .deferrals_max = options.deferrals_max};
  if (options.is_failure && !attempt.abandoned()) {
    policy.is_failure = [&](std::string_view error) {
      return guarded(options.log, "is_failure", attempt.task(), true,
                     [&] { return options.is_failure(failed_attempt(attempt, error)); });
    };
  }
  return rules::conclude({.lease = attempt.lease(),
                          .outcome = outcome,
                          .stopped = attempt.stop_reason(),
                          .started_at = attempt.started_at(),
                          .random = random_unit()},
                         policy);
}

bool failed(const Report& report) noexcept {
  return report.to == State::retry || report.to == State::archived;
}

void tell_of_error(const WorkerOptions& options, const detail::Attempt& attempt,
                   std::string_view error) noexcept {
  if (!options.on_error) return;
  guarded(options.log, "on_error", attempt.task(), true, [&] {
    options.on_error(failed_attempt(attempt, error));
    return true;
  });
}

namespace {

/// Waits for the outcome of one attempt.
class Waiting final : public AttemptOwner {
 public:
  explicit Waiting(StoreClock& clock) : clock_(clock), last_(clock.now()) {}

  TimePoint now() noexcept override {
    try {
      return clock_.now();
    } catch (...) {
      return last_;
    }
  }
  void ended(const std::shared_ptr<detail::Attempt>&, Outcome outcome) noexcept override {
    const std::lock_guard lock{mutex_};
    outcome_ = std::move(outcome);
    ended_.notify_all();
  }
  void released(const std::shared_ptr<detail::Attempt>&) noexcept override {}

  Outcome wait() {
    std::unique_lock lock{mutex_};
    ended_.wait(lock, [this] { return outcome_.has_value(); });
    return *outcome_;
  }

 private:
  StoreClock& clock_;
  const TimePoint last_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::optional<Outcome> outcome_;  // Guarded by mutex_.
};

}  // namespace

RanHere run_here(Lease lease, const Router& router, const WorkerOptions& options, StoreClock& clock) {
  const auto owner = std::make_shared<Waiting>(clock);
  const TimePoint now = clock.now();
  RanHere ran{std::make_shared<detail::Attempt>(std::move(lease), owner, Steady{}, Steady::max())};
  const Lease& held = ran.attempt->lease();
  if (auto refused = rules::refuse(held, now)) {
    ran.report = std::move(*refused);
    tell_of_error(options, *ran.attempt, ran.report.error);
    return ran;
  }
  const Router::Route* route = router.find(held.task.kind);
  if (route == nullptr) {
    ran.report = rules::unknown_kind(held);
    return ran;
  }
  ran.attempt->begin(now, std::chrono::steady_clock::now(), Steady::max(), StopReason::none);
  ran.attempt->returned(run_handler(route->handler, ran.attempt));
  ran.outcome = owner->wait();
  ran.report = conclude(*ran.attempt, ran.outcome, router, options);
  ran.report.logs = ran.attempt->last_logs();
  if (failed(ran.report)) tell_of_error(options, *ran.attempt, ran.report.error);
  return ran;
}

}  // namespace engine

}  // namespace tidemill
