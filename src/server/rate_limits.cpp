#include "server/rate_limits.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "server/problem.hpp"

namespace tidemill::server {

void RateLimits::take(const std::string& token, std::int64_t per_minute, Time now) {
  const auto most = static_cast<double>(per_minute);
  const double a_second = most / 60;
  const std::lock_guard lock{mutex_};
  Bucket& bucket = buckets_.try_emplace(token, most, now).first->second;
  const std::chrono::duration<double> passed = now - bucket.at;
  bucket.left = std::min(most, bucket.left + std::max(passed.count(), 0.0) * a_second);
  bucket.at = std::max(bucket.at, now);
  if (bucket.left >= 1) {
    bucket.left -= 1;
    return;
  }
  throw Problem{
      429,
      "rate_limited",
      fmt::format("token \"{}\" may send {} requests a minute", token, per_minute),
      {},
      {{"Retry-After", fmt::format("{:.0f}", std::max(1.0, std::ceil((1 - bucket.left) / a_second)))}}};
}

}  // namespace tidemill::server
