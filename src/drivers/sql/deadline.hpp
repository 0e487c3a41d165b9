#pragma once

#include <algorithm>
#include <chrono>
#include <climits>

namespace tidemill::sql {

using Deadline = std::chrono::steady_clock::time_point;

/// For poll(): rounded up, so that it never wakes too early; -1 for ever.
inline int milliseconds_until(Deadline instant) {
  if (instant == Deadline::max()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(instant - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<decltype(left)>(left, 0, INT_MAX));
}

}  // namespace tidemill::sql
