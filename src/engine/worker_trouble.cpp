#include "engine/worker_trouble.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/uuid.hpp"

namespace tidemill::engine {

namespace {
constexpr Duration shortest = std::chrono::milliseconds{20};
}

Trouble::Trouble(Log log, std::string_view what, Duration longest)
    : log_(std::move(log)), what_(what), longest_(longest) {}

Duration Trouble::failed(std::string_view why) {
  if (times_ == 0 || why != why_) {
    why_ = why;
    log_.warning(fmt::format("can't {}; tries again until it can", what_), {{"error", why_}});
  }
  const Duration pause = std::min(shortest * (1 << std::min(times_, 10)), longest_);
  ++times_;
  const double share = 0.5 + 0.5 * random_unit();
  return Duration{static_cast<Duration::rep>(static_cast<double>(pause.count()) * share)};
}

void Trouble::over() {
  if (times_ == 0) return;
  log_.info(fmt::format("can {} again", what_), {{"failures", std::to_string(times_)}});
  times_ = 0;
  why_.clear();
}

}  // namespace tidemill::engine
