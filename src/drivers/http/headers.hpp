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

/// Of a Content-Type, without its parameters: names of media types have no case.
inline bool is_media_type(std::string_view content_type, std::string_view name) {
  const std::string lower = lower_case(content_type.substr(0, content_type.find_first_of("; \t")));
  return lower == name;
}

}  // namespace tidemill::http
