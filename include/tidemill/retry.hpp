#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include <tidemill/task.hpp>

namespace tidemill {

/// How long a failed task waits for its next attempt. Immutable and cheap to copy.
///
/// Thread safety: `delay` may be called from any thread.
class RetryPolicy {
 public:
  /// Called with the task as it was when it failed, the number of this retry (from 1) and the error.
  using Function = std::function<Duration(const Task& task, int retry, std::string_view error)>;

  /// base × factor^(n-1), at most `most`, then up to `jitter` (a share, 0 to 1) of it taken off at random, so
  /// that tasks that failed together don't come back together.
  static RetryPolicy exponential(Duration base = std::chrono::seconds{5}, double factor = 2.0,
                                 Duration most = std::chrono::hours{6}, double jitter = 0.2);
  /// base + (n-1) × step, at most `most`.
  static RetryPolicy linear(Duration base, Duration step, Duration most = std::chrono::hours{6});
  /// The n-th entry, and the last one from then on. Throws Error{invalid} when it is empty.
  static RetryPolicy table(std::vector<Duration> delays);
  /// 5 s, 15 s, 30 s, 3 min, 1 h, 2 h.
  static RetryPolicy steps();
  /// Asynq's curve: (n-1)^4 + 15 + r × n seconds, r a whole number from 0 to 29 by chance; at most 100 years.
  static RetryPolicy asynq();
  /// The caller's own, which should return soon: the lease is not renewed meanwhile. What it throws, and a
  /// negative delay, count as the exponential policy's answer.
  static RetryPolicy function(Function function);

  /// exponential().
  RetryPolicy();

  /// The delay before retry `n` (from 1). `random` is from [0, 1) and settles the jitter. Never negative.
  Duration delay(const Task& task, int n, std::string_view error, double random) const;

 private:
  explicit RetryPolicy(std::function<Duration(const Task&, int, std::string_view, double)> rule);
  std::function<Duration(const Task&, int, std::string_view, double)> rule_;
};

}  // namespace tidemill
