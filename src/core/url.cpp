#include "core/url.hpp"

#include <algorithm>
#include <iterator>
#include <string>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <tidemill/error.hpp>

namespace tidemill {

namespace {

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string unescape(std::string_view text, std::string_view url) {
  if (auto decoded = percent_decoded(text)) return std::move(*decoded);
  throw Error{
      ErrorKind::invalid,
      fmt::format(
          "store URL \"{}\": a '%' must be followed by two hexadecimal digits; write %25 for '%' itself",
          url)};
}

}  // namespace

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? digit(text[i + 2]) : -1;
    if (high < 0 || low < 0) return {};
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::string percent_encoded(std::string_view text) {
  std::string result;
  for (const char c : text)
    fmt::format_to(std::back_inserter(result), "%{:02X}", static_cast<unsigned char>(c));
  return result;
}

Url Url::parse(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    throw Error{
        ErrorKind::invalid,
        fmt::format("store URL \"{}\" has no scheme; write for instance sqlite:jobs.db or memory:", text)};
  }
  Url url;
  url.scheme = text.substr(0, colon);
  std::string_view rest = text.substr(colon + 1);
  const std::size_t mark = rest.find('?');
  url.path = unescape(rest.substr(0, mark), text);
  rest = mark == std::string_view::npos ? std::string_view{} : rest.substr(mark + 1);
  while (!rest.empty()) {
    const std::size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0) {
      throw Error{ErrorKind::invalid,
                  fmt::format("store URL \"{}\": option \"{}\" must be name=value", text, pair)};
    }
    const std::string name{pair.substr(0, equals)};
    if (!url.query.emplace(name, unescape(pair.substr(equals + 1), text)).second) {
      throw Error{ErrorKind::invalid,
                  fmt::format("store URL \"{}\": option \"{}\" is given twice", text, name)};
    }
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  }
  return url;
}

void Url::allow_only(std::initializer_list<std::string_view> names) const {
  for (const auto& [name, value] : query) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    throw Error{ErrorKind::invalid,
                fmt::format("store URL {}: there is no option \"{}\"; {}", scheme, name,
                            names.size() == 0 ? "it takes none"
                                              : fmt::format("it takes: {}", fmt::join(names, ", ")))};
  }
}

}  // namespace tidemill
