// Headers as a JSON object, so that SQL can read and write them. A JSON library would refuse the bytes that
// are no UTF-8 and that headers may have.
#include <charconv>
#include <cstdint>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "stores/sql/layout.hpp"

namespace tidemill::sql_store {

namespace {

void write_string(std::string& json, std::string_view text) {
  json += '"';
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(json), "\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      json += c;
    }
  }
  json += '"';
}

void append_utf8(std::string& text, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0U | code >> 6U);
    put(0x80U | (code & 0x3fU));
  } else if (code < 0x10000) {
    put(0xe0U | code >> 12U);
    put(0x80U | (code >> 6U & 0x3fU));
    put(0x80U | (code & 0x3fU));
  } else {
    put(0xf0U | code >> 18U);
    put(0x80U | (code >> 12U & 0x3fU));
    put(0x80U | (code >> 6U & 0x3fU));
    put(0x80U | (code & 0x3fU));
  }
}

class MapReader {
 public:
  explicit MapReader(std::string_view json) : json_(json) {}

  std::map<std::string, std::string> read() {
    std::map<std::string, std::string> map;
    take('{');
    if (peek() == '}') return map;
    for (;;) {
      std::string name = string();
      take(':');
      map[std::move(name)] = peek() == '"' ? string() : plain();
      if (peek() == '}') return map;
      take(',');
    }
  }

 private:
  [[noreturn]] static void fail() {
    throw Error{ErrorKind::corrupt, "the headers of a task are no JSON object"};
  }

  char peek() {
    while (at_ < json_.size() && (json_[at_] == ' ' || (json_[at_] >= '\t' && json_[at_] <= '\r'))) ++at_;
    if (at_ == json_.size()) fail();
    return json_[at_];
  }

  char next() {
    if (at_ == json_.size()) fail();
    return json_[at_++];
  }

  void take(char c) {
    if (peek() != c) fail();
    ++at_;
  }

  std::uint32_t code_unit() {
    std::uint32_t unit = 0;
    const std::string_view digits = json_.substr(at_, 4);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), unit, 16);
    if (error != std::errc{} || end != digits.data() + 4) fail();
    at_ += 4;
    return unit;
  }

  void escape(std::string& text) {
    const char c = next();
    constexpr std::string_view names = "nrtbf";
    constexpr std::string_view values = "\n\r\t\b\f";
    if (const std::size_t i = names.find(c); i != std::string_view::npos) {
      text += values[i];
    } else if (c == 'u') {
      std::uint32_t code = code_unit();
      if (code >= 0xd800 && code < 0xdc00 && json_.substr(at_, 2) == "\\u") {
        at_ += 2;
        code = 0x10000 + ((code & 0x3ffU) << 10U) + (code_unit() & 0x3ffU);
      }
      append_utf8(text, code);
    } else {
      text += c;
    }
  }

  std::string string() {
    take('"');
    std::string text;
    for (char c = next(); c != '"'; c = next()) {
      if (c == '\\') {
        escape(text);
      } else {
        text += c;
      }
    }
    return text;
  }

  /// A number, true, false or null, as written.
  std::string plain() {
    std::string text;
    for (char c = peek(); c != ',' && c != '}'; c = peek()) {
      if (c == '{' || c == '[') fail();
      text += c;
      ++at_;
    }
    return text;
  }

  std::string_view json_;
  std::size_t at_ = 0;
};

}  // namespace

std::string write_map(const std::map<std::string, std::string>& map) {
  std::string json = "{";
  for (const auto& [name, value] : map) {
    if (json.size() > 1) json += ',';
    write_string(json, name);
    json += ':';
    write_string(json, value);
  }
  json += '}';
  return json;
}

std::map<std::string, std::string> read_map(std::string_view json) { return MapReader{json}.read(); }

}  // namespace tidemill::sql_store
