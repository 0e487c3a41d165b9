#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace tidemill::server {

/// How many requests each token may send a minute: as many at once at most, and then as they come back,
/// evenly.
///
/// Thread safety: all members may be called from any thread.
class RateLimits {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// Counts one request. Throws Problem{429, "rate_limited"} when it is one too many; that one isn't counted.
  void take(const std::string& token, std::int64_t per_minute, Time now);

 private:
  struct Bucket {
    double left = 0;
    Time at{};  ///< When there were so many left.
  };
  std::mutex mutex_;
  std::map<std::string, Bucket> buckets_;  // Guarded by mutex_. As many as there are tokens.
};

}  // namespace tidemill::server
