#pragma once

#include <algorithm>
#include <chrono>
#include <climits>
#include <string>
#include <string_view>

/// Small things that several files of the driver use.
namespace tidemill::postgres {

/// A name as it is written in a statement.
inline std::string quoted(std::string_view name) {
  std::string result = "\"";
  for (const char c : name) result.append(c == '"' ? 2 : 1, c);
  return result + "\"";
}

/// libpq's messages end in a new line.
inline std::string trimmed(std::string_view message) {
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) message.remove_suffix(1);
  return std::string{message};
}

/// For poll(): rounded up, so that it never wakes too early; -1 for ever.
inline int milliseconds_until(std::chrono::steady_clock::time_point instant) {
  if (instant == std::chrono::steady_clock::time_point::max()) return -1;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(instant - std::chrono::steady_clock::now()).count();
  return static_cast<int>(std::clamp<decltype(left)>(left, 0, INT_MAX));
}

}  // namespace tidemill::postgres
