#include "core/log_format.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <iterator>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <tidemill/json.hpp>

#include "core/utf8.hpp"

namespace tidemill {

namespace {

constexpr std::string_view json_start = "{\"time\":\"";

template <class Fraction>
void append_time(std::string& out, TimePoint time) {
  const auto second = std::chrono::floor<std::chrono::seconds>(time);
  const auto fraction = std::chrono::floor<Fraction>(time - second).count();
  constexpr int digits = std::is_same_v<Fraction, std::chrono::microseconds> ? 6 : 3;
  fmt::format_to(std::back_inserter(out), "{:%Y-%m-%dT%H:%M:%S}.{:0{}}Z",
                 fmt::gmtime(second.time_since_epoch().count()), fraction, digits);
}

/// Characters that end a line or command a terminal, C1 among them (U+0080 to U+009F).
bool is_control(std::string_view character) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return byte(0) < 0x20 || byte(0) == 0x7f;
  return character.size() == 2 && byte(0) == 0xc2 && byte(1) < 0xa0;
}

void append_escape(std::string& out, std::string_view bytes) {
  if (bytes == "\n") {
    out += "\\n";
  } else if (bytes == "\r") {
    out += "\\r";
  } else if (bytes == "\t") {
    out += "\\t";
  } else {
    for (const char c : bytes) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
}

/// Such that a line stays one line and a terminal does nothing but show it.
void append_text(std::string& out, std::string_view text, bool quoted) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(length, 1));
    if (length == 0 || is_control(character)) {
      append_escape(out, character);
    } else {
      if (quoted && (character == "\"" || character == "\\")) out += '\\';
      out += character;
    }
    text.remove_prefix(character.size());
  }
}

/// Quotes a value that would not read back as one word.
void append_value(std::string& out, std::string_view value) {
  const auto special = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= 0x20 || byte >= 0x7f || c == '"' || c == '=' || c == '\\';
  };
  const bool quoted = value.empty() || std::any_of(value.begin(), value.end(), special);
  if (quoted) out += '"';
  append_text(out, value, quoted);
  if (quoted) out += '"';
}

void append_text_line(std::string& out, const LogEntry& entry) {
  append_time<std::chrono::milliseconds>(out, entry.time);
  fmt::format_to(std::back_inserter(out), " {:<7} ", to_string(entry.level));
  append_text(out, entry.message, false);
  for (const Field& field : entry.fields) {
    out += ' ';
    append_text(out, field.name, false);
    out += '=';
    append_value(out, field.value);
  }
}

void append_json_line(std::string& out, const LogEntry& entry) {
  out += json_start;
  append_time<std::chrono::microseconds>(out, entry.time);
  out += '"';
  json::Writer writer{out};
  const auto member = [&](std::string_view name, std::string_view value) {
    out += ',';
    writer.write(name);
    out += ':';
    writer.write(value);
  };
  member("level", to_string(entry.level));
  member("message", entry.message);
  for (const auto& [name, value] : entry.fields) {
    const bool taken = name == "time" || name == "level" || name == "message";
    member(taken ? fmt::format("_{}", name) : std::string{name}, value);
  }
  out += '}';
}

}  // namespace

void append_line(std::string& out, LogFormat format, const LogEntry& entry) {
  format == LogFormat::json ? append_json_line(out, entry) : append_text_line(out, entry);
  out += '\n';
}

std::optional<TimePoint> time_of_line(std::string_view line) {
  using namespace std::chrono;
  if (line.starts_with(json_start)) line.remove_prefix(json_start.size());
  // 2027-01-31T12:00:00: each number with what follows it.
  constexpr std::string_view pattern = "dddd-dd-ddTdd:dd:dd.";
  if (line.size() < pattern.size()) return {};
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const bool digit = line[i] >= '0' && line[i] <= '9';
    if (pattern[i] == 'd' ? !digit : line[i] != pattern[i]) return {};
  }
  const auto number = [&](std::size_t at, std::size_t length) {
    int value = 0;
    std::from_chars(line.data() + at, line.data() + at + length, value);
    return value;
  };
  const year_month_day date{year{number(0, 4)}, month{static_cast<unsigned>(number(5, 2))},
                            day{static_cast<unsigned>(number(8, 2))}};
  if (!date.ok()) return {};
  return sys_days{date} + hours{number(11, 2)} + minutes{number(14, 2)} + seconds{number(17, 2)};
}

void write_stderr(std::string_view lines) noexcept { std::fwrite(lines.data(), 1, lines.size(), stderr); }

}  // namespace tidemill
