#pragma once

#include <algorithm>
#include <chrono>
#include <random>

#include "drivers/redis/socket.hpp"

namespace tidemill::redis {

/// When to try again: after 10 ms, twice as long each time, at most a second, and up to half of that sooner,
/// so that not all come at once.
///
/// Thread safety: none; one thread at a time.
class Backoff {
 public:
  void failed() {
    using std::chrono::microseconds;
    static constexpr microseconds first{10'000}, longest{1'000'000};
    thread_local std::minstd_rand random{std::random_device{}()};
    const microseconds delay = std::min(longest, first * (1 << std::min(failures_, 10)));
    ++failures_;
    const auto jitter = std::uniform_int_distribution<microseconds::rep>{0, delay.count() / 2}(random);
    ready_at_ = std::chrono::steady_clock::now() + delay - microseconds{jitter};
  }
  void reset() noexcept { *this = {}; }
  int failures() const noexcept { return failures_; }
  Deadline ready_at() const noexcept { return ready_at_; }
  bool ready() const noexcept { return std::chrono::steady_clock::now() >= ready_at_; }

 private:
  int failures_ = 0;
  Deadline ready_at_{};
};

}  // namespace tidemill::redis
