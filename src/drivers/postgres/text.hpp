#pragma once

#include <string>
#include <string_view>

/// Small things that several files of the driver use.
namespace tidemill::postgres {

inline constexpr char begin_text[] = "BEGIN ISOLATION LEVEL READ COMMITTED";
inline constexpr char commit_text[] = "COMMIT";

/// libpq's messages end in a new line.
inline std::string trimmed(std::string_view message) {
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) message.remove_suffix(1);
  return std::string{message};
}

}  // namespace tidemill::postgres
