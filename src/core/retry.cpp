#include <tidemill/retry.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

#include <tidemill/error.hpp>

namespace tidemill {

namespace {

Duration exponential_delay(Duration base, double factor, Duration most, double jitter, int n, double random) {
  const double grown = static_cast<double>(base.count()) * std::pow(factor, n - 1);
  const double capped = std::min(grown, static_cast<double>(most.count()));  // Also tames infinity.
  return Duration{static_cast<Duration::rep>(capped * (1.0 - jitter * random))};
}

void require(bool condition, const char* message) {
  if (!condition) throw Error{ErrorKind::invalid, message};
}

}  // namespace

RetryPolicy::RetryPolicy() : RetryPolicy(exponential()) {}

RetryPolicy::RetryPolicy(std::function<Duration(const Task&, int, std::string_view, double)> rule)
    : rule_(std::move(rule)) {}

RetryPolicy RetryPolicy::exponential(Duration base, double factor, Duration most, double jitter) {
  require(base >= Duration::zero() && most >= Duration::zero(), "retry policy: delays must not be negative");
  require(factor >= 1.0, "retry policy: the factor must be 1 or more");
  require(jitter >= 0.0 && jitter <= 1.0, "retry policy: jitter is a share, from 0 to 1");
  return RetryPolicy{[=](const Task&, int n, std::string_view, double random) {
    return exponential_delay(base, factor, most, jitter, n, random);
  }};
}

RetryPolicy RetryPolicy::linear(Duration base, Duration step, Duration most) {
  require(base >= Duration::zero() && step >= Duration::zero() && most >= Duration::zero(),
          "retry policy: delays must not be negative");
  return RetryPolicy{[=](const Task&, int n, std::string_view, double) {
    const double grown = static_cast<double>(base.count()) + static_cast<double>(step.count()) * (n - 1);
    return Duration{static_cast<Duration::rep>(std::min(grown, static_cast<double>(most.count())))};
  }};
}

RetryPolicy RetryPolicy::table(std::vector<Duration> delays) {
  require(!delays.empty(), "retry policy: the table needs at least one delay");
  require(std::all_of(delays.begin(), delays.end(), [](Duration d) { return d >= Duration::zero(); }),
          "retry policy: delays must not be negative");
  return RetryPolicy{[delays = std::move(delays)](const Task&, int n, std::string_view, double) {
    return delays[std::min(static_cast<std::size_t>(n), delays.size()) - 1];
  }};
}

RetryPolicy RetryPolicy::steps() {
  using namespace std::chrono_literals;
  return table({5s, 15s, 30s, 3min, 1h, 2h});
}

RetryPolicy RetryPolicy::asynq() {
  return RetryPolicy{[](const Task&, int n, std::string_view, double random) {
    using Seconds = std::chrono::duration<double>;
    constexpr Seconds most = std::chrono::years{100};
    const Seconds grown{std::pow(n - 1, 4) + 15 + std::floor(random * 30) * n};
    return std::chrono::duration_cast<Duration>(std::min(grown, most));
  }};
}

RetryPolicy RetryPolicy::function(Function function) {
  require(function != nullptr, "retry policy: the function is empty");
  return RetryPolicy{[function = std::move(function), fallback = exponential()](
                         const Task& task, int n, std::string_view error, double random) {
    // The caller's code decides how long a failed task waits, never whether it is lost.
    try {
      const Duration answer = function(task, n, error);
      if (answer >= Duration::zero()) return answer;
    } catch (...) {  // NOLINT(bugprone-empty-catch): the fallback is the answer.
    }
    return fallback.delay(task, n, error, random);
  }};
}

Duration RetryPolicy::delay(const Task& task, int n, std::string_view error, double random) const {
  return std::max(Duration::zero(), rule_(task, std::max(n, 1), error, random));
}

}  // namespace tidemill
