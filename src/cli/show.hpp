#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

#include <tidemill/inspector.hpp>
#include <tidemill/json.hpp>
#include <tidemill/task.hpp>

/// How things look as one line of JSON, for the commands that list them. Times are RFC 3339, durations
/// seconds.
namespace tidemill::cli {

double seconds(Duration duration);
void member_time(json::Writer& writer, std::string_view name, const std::optional<TimePoint>& time);
/// As `payload`, if it is JSON, else as `payload_text`.
void member_payload(json::Writer& writer, std::string& out, std::string_view payload);

/// The members of a task, without the brackets around them.
void members(json::Writer& writer, std::string& out, const Task& task);
void write(json::Writer& writer, const Attempt& attempt);

/// One object with what `fill(writer, text)` puts into it, and a line's end.
template <class Fill>
std::string json_line(Fill fill) {
  std::string text;
  json::Writer writer{text};
  writer.open('{');
  fill(writer, text);
  writer.close('}');
  text += '\n';
  return text;
}

/// "QUEUE/ID", or an ID alone in `queue` (by default: default).
Ref parse_ref(std::string_view text, const std::optional<std::string>& queue);
std::string format_ref(const Ref& ref);

}  // namespace tidemill::cli
