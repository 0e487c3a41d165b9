#include "wire/raw_json.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <boost/json.hpp>

namespace tidemill::wire {

namespace {

constexpr std::string_view blanks = " \t\r\n";

std::size_t skip_blanks(std::string_view text, std::size_t at) {
  return std::min(text.find_first_not_of(blanks, at), text.size());
}

/// The end of the string that begins at `at`.
std::size_t skip_string(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at) {
    if (text[at] == '\\') ++at;
  }
  return at + 1;
}

/// The end of the value that begins at `at`.
std::size_t skip_value(std::string_view text, std::size_t at) {
  for (int depth = 0; at < text.size();) {
    const char c = text[at];
    if (depth == 0 && (c == ',' || c == '}' || c == ']')) return at;
    if (c == '{' || c == '[') ++depth;
    if (c == '}' || c == ']') --depth;
    at = c == '"' ? skip_string(text, at) : at + 1;
  }
  return at;
}

std::string_view trimmed(std::string_view text, std::size_t begin, std::size_t end) {
  return text.substr(begin, text.find_last_not_of(blanks, end - 1) + 1 - begin);
}

/// Calls `take(name, value)` for each member, the name as it is spelled.
template <class Take>
void each_member(std::string_view object, Take take) {
  std::size_t at = skip_blanks(object, object.find('{') + 1);
  while (at < object.size() && object[at] == '"') {
    const std::size_t name_end = skip_string(object, at);
    const std::size_t begin = skip_blanks(object, object.find(':', name_end) + 1);
    const std::size_t end = skip_value(object, begin);
    take(object.substr(at + 1, name_end - at - 2), trimmed(object, begin, end));
    at = skip_blanks(object, end + 1);
  }
}

/// A name without its escapes.
std::string decoded(std::string_view spelled) {
  if (spelled.find('\\') == std::string_view::npos) return std::string{spelled};
  return std::string{boost::json::parse(fmt::format("\"{}\"", spelled)).as_string()};
}

}  // namespace

std::string_view raw_member(std::string_view object, std::string_view name) {
  std::string_view found;
  each_member(object, [&](std::string_view each, std::string_view value) {
    if (each == name || (each.find('\\') != std::string_view::npos && decoded(each) == name)) found = value;
  });
  return found;
}

std::vector<std::string_view> raw_members(std::string_view object) {
  std::vector<std::string_view> found;
  each_member(object, [&](std::string_view, std::string_view value) { found.push_back(value); });
  return found;
}

std::map<std::string, std::string_view> raw_members_by_name(std::string_view object) {
  std::map<std::string, std::string_view> found;
  each_member(object, [&](std::string_view name, std::string_view value) { found[decoded(name)] = value; });
  return found;
}

std::vector<std::string_view> raw_elements(std::string_view array) {
  std::vector<std::string_view> found;
  std::size_t at = skip_blanks(array, array.find('[') + 1);
  while (at < array.size() && array[at] != ']') {
    const std::size_t end = skip_value(array, at);
    found.push_back(trimmed(array, at, end));
    if (end >= array.size() || array[end] == ']') break;
    at = skip_blanks(array, end + 1);
  }
  return found;
}

}  // namespace tidemill::wire
