#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <tidemill/task.hpp>

namespace tidemill {

/// What became of one attempt. Made by the named functions below, so that handlers read as sentences. What
/// each does to state, attempt, retries, crashes, key and statistics: docs/outcomes.md.
class Outcome {
 public:
  enum class Kind : std::uint8_t { success, failure, snooze, again, discard, archive, deferred };

  /// Done, with a result that is kept for the task's retention.
  static Outcome success(std::string result = {}) { return {Kind::success, std::move(result), {}}; }
  /// Failed: tried again by the retry policy, or archived when no retry is left. So does an exception.
  static Outcome failure(std::string why) { return {Kind::failure, std::move(why), {}}; }
  /// Failed: tried again after `delay`, whatever the policy; uses up a retry.
  static Outcome retry_in(Duration delay, std::string why) { return {Kind::failure, std::move(why), delay}; }
  /// Not now: uses up no attempt.
  static Outcome snooze(Duration delay) { return {Kind::snooze, {}, delay}; }
  /// A step is done and there is more to do: the task runs again after `delay`; uses up no retry.
  static Outcome again(Duration delay = {}) { return {Kind::again, {}, delay}; }
  /// Of no use any more: the task is deleted.
  static Outcome discard(std::string why = {}) { return {Kind::discard, std::move(why), {}}; }
  /// Hopeless: archived now, whatever retries are left.
  static Outcome archive(std::string why) { return {Kind::archive, std::move(why), {}}; }
  /// The outcome comes through the `Completion` that `Context::defer()` gave.
  static Outcome deferred() { return {Kind::deferred, {}, {}}; }

  Kind kind() const noexcept { return kind_; }
  /// The result of a success, the reason otherwise.
  const std::string& text() const noexcept { return text_; }
  std::optional<Duration> delay() const noexcept { return delay_; }

 private:
  Outcome(Kind kind, std::string text, std::optional<Duration> delay)
      : kind_(kind), text_(std::move(text)), delay_(delay) {}

  Kind kind_;
  std::string text_;
  std::optional<Duration> delay_;
};
std::string_view to_string(Outcome::Kind kind) noexcept;

/// Why a handler's stop token fired.
enum class StopReason : std::uint8_t {
  none,      ///< It has not.
  cancel,    ///< An operator cancelled the task: it is archived.
  hold,      ///< An operator holds the task: it rests until resumed, and no attempt is counted.
  timeout,   ///< The attempt ran for longer than the task's timeout: a failure.
  deadline,  ///< The task's deadline has passed: it is archived.
  shutdown,  ///< The worker stops: the task goes back to the front of its queue, and no attempt is counted.
  lost,      ///< The lease is lost: another worker may run the task by now, and this outcome is refused.
};
std::string_view to_string(StopReason reason) noexcept;

namespace detail {
class Attempt;
}

/// The way back for a handler that ends later than it returns. Call it once, from any thread; copies don't
/// exist. A completion that is destroyed without a call reports a failure, so no task hangs.
class Completion {
 public:
  Completion() = default;
  explicit Completion(std::shared_ptr<detail::Attempt> attempt) : attempt_(std::move(attempt)) {}
  Completion(Completion&&) noexcept = default;
  Completion& operator=(Completion&& other) noexcept;
  ~Completion();

  /// Ends the attempt. The second call, and one on a moved-from completion, does nothing.
  void operator()(Outcome outcome);

 private:
  std::shared_ptr<detail::Attempt> attempt_;
};

/// One attempt at one task, as its handler sees it. Valid until the handler returns or, after `defer`, until
/// the completion has been called.
///
/// Thread safety: all members may be called from any thread.
class Context {
 public:
  explicit Context(std::shared_ptr<detail::Attempt> attempt) : attempt_(std::move(attempt)) {}

  const Task& task() const noexcept;
  /// Counts from 1; snoozes and attempts that were given back don't count.
  int attempt() const noexcept;

  /// Fires on cancel, hold, timeout, deadline, shutdown and a lost lease; long handlers poll it or pass it
  /// on.
  std::stop_token stop_token() const noexcept;
  bool stop_requested() const noexcept { return stop_token().stop_requested(); }
  StopReason stop_reason() const noexcept;

  /// Logs a line; it stays with the attempt (docs/outcomes.md says for how long), up to 100 lines and 16 KiB
  /// an attempt: a last line says how many were left out.
  void log(Level level, std::string_view text);
  /// What the inspector shows as the task's progress; goes out with the next beat. At most 4 KiB.
  void progress(std::string_view text);

  /// For handlers that end later: keep the completion, and return `Outcome::deferred()`. The slot stays taken
  /// until it is called. Middleware sees the start only.
  Completion defer();

 private:
  std::shared_ptr<detail::Attempt> attempt_;
};

/// Runs one attempt. An exception that leaves it is a failure with its `what()`; an Error{corrupt} is an
/// archive, since a payload that doesn't decode will not decode next time.
using Handler = std::function<Outcome(Context&)>;

/// Wraps handlers: calls `next(context)` once, or not at all to answer in its place.
using Middleware = std::function<Outcome(Context&, const Handler& next)>;

namespace detail {
/// Lets typed handlers return what is natural: nothing, an Outcome, or a value that becomes the result.
template <class F, class... Args>
Outcome call(F& f, Args&&... args) {
  using R = std::invoke_result_t<F&, Args...>;
  if constexpr (std::is_void_v<R>) {
    f(std::forward<Args>(args)...);
    return Outcome::success();
  } else if constexpr (std::is_same_v<R, Outcome>) {
    return f(std::forward<Args>(args)...);
  } else if constexpr (std::is_convertible_v<R, std::string>) {
    return Outcome::success(f(std::forward<Args>(args)...));
  } else {
    return Outcome::success(Codec<R>::encode(f(std::forward<Args>(args)...)));
  }
}
}  // namespace detail

}  // namespace tidemill
