#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/task.hpp>

/// How durations, times and numbers are written on the command line, in JSON lines and over HTTP: read and
/// shown here and nowhere else. Whatever does not read throws Error{invalid} that quotes it and says what
/// would be right.
namespace tidemill::wire {

/// 90s, 5m, 1h30m, 500ms, 2d; units are d, h, m, s, ms and us. A bare 0 is zero.
Duration parse_duration(std::string_view text);
/// RFC 3339: 2027-01-01T00:00:00Z, also with a fraction of a second and with an offset such as +02:00.
TimePoint parse_time(std::string_view text);
std::int64_t parse_integer(std::string_view text, std::int64_t least, std::int64_t most);

/// Bytes: 4096, 64KiB, 8MiB, 1GiB; KB, MB and GB are powers of 1000.
std::size_t parse_size(std::string_view text);

/// As `parse_duration` reads it, exactly: 1h30m.
std::string format_duration(Duration duration);
/// In UTC, exactly: with a fraction only where there is one.
std::string format_time(TimePoint time);
/// To the second, for tables.
std::string format_second(TimePoint time);

/// The candidate that `word` was probably meant to be; empty when none is near.
std::string nearest(std::string_view word, std::span<const std::string> candidates);
/// `; did you mean "held"?`, or nothing.
std::string suggestion(std::string_view word, std::span<const std::string> candidates);
/// "keep, reject or replace".
std::string either(std::span<const std::string> names);

/// A value of an enumeration by its name. `what` and all names are in the error.
template <class E>
E parse_name(std::string_view what, std::string_view text, std::span<const E> values);

[[noreturn]] void refuse_name(std::string_view what, std::string_view text,
                              std::span<const std::string> names);

template <class E>
E parse_name(std::string_view what, std::string_view text, std::span<const E> values) {
  std::vector<std::string> names;
  for (const E value : values) {
    if (to_string(value) == text) return value;
    names.emplace_back(to_string(value));
  }
  refuse_name(what, text, names);
}

}  // namespace tidemill::wire
