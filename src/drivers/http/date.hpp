#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace tidemill::http {

/// A date as HTTP has it: "Sun, 06 Nov 1994 08:49:37 GMT", and the two older forms.
std::optional<std::chrono::sys_seconds> parse_date(const std::string& text);

}  // namespace tidemill::http
