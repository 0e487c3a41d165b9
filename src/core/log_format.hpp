#pragma once

#include <span>
#include <string>
#include <string_view>

#include <tidemill/log_sinks.hpp>

namespace tidemill {

/// What a sink is given, and when.
struct LogEntry {
  TimePoint time = {};
  Level level = Level::info;
  std::string_view message = {};
  std::span<const Field> fields = {};
};

/// Appends the entry as one line, with its end.
void append_line(std::string& out, LogFormat format, const LogEntry& entry);

/// The time of a line that begins as `append_line` makes them, in either format, to the second.
std::optional<TimePoint> time_of_line(std::string_view line);

/// In one call, so that lines of several threads and processes don't mix.
void write_stderr(std::string_view lines) noexcept;

}  // namespace tidemill
