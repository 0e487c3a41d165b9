#pragma once

#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace tidemill {

/// With %XX resolved; none when a '%' isn't followed by two hexadecimal digits.
std::optional<std::string> percent_decoded(std::string_view text);

/// Each byte as `%XX`.
std::string percent_encoded(std::string_view text);

/// A store's URL, taken apart: `scheme:path?name=value&name=value`. Percent escapes are resolved in path and
/// values.
struct Url {
  std::string scheme = {};
  std::string path = {};
  std::map<std::string, std::string> query = {};

  /// Throws Error{invalid} that says what is wrong and shows a URL that would be right.
  static Url parse(std::string_view text);

  /// Throws Error{invalid} when the query names anything else; the message lists what there is.
  void allow_only(std::initializer_list<std::string_view> names) const;
};

}  // namespace tidemill
