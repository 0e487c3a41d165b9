#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

#include <tidemill/inspector.hpp>
#include <tidemill/json.hpp>
#include <tidemill/task.hpp>

#include "wire/json_write.hpp"

/// How things look as one line of JSON, for the commands that list them. Times are RFC 3339, durations
/// seconds.
namespace tidemill::cli {

double seconds(Duration duration);

/// The members of a task, without the brackets around them.
void members(json::Writer& writer, const Task& task);
void write(json::Writer& writer, const Attempt& attempt);

/// One object with what `fill(writer)` puts into it, and a line's end.
template <class Fill>
std::string json_line(Fill fill) {
  return wire::object(fill) + '\n';
}

/// "QUEUE/ID", or an ID alone in `queue` (by default: default).
Ref parse_ref(std::string_view text, const std::optional<std::string>& queue);
std::string format_ref(const Ref& ref);

}  // namespace tidemill::cli
