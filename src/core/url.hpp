#pragma once

#include <initializer_list>
#include <map>
#include <string>
#include <string_view>

namespace tidemill {

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
