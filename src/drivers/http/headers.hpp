#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tidemill::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

/// The first one of that name, where names are in lower case; empty when there is none.
inline std::string_view find_header(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

/// Of ASCII letters.
inline std::string lower_case(std::string_view text) {
  std::string result{text};
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return result;
}

}  // namespace tidemill::http
