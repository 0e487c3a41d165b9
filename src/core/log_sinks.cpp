#include <tidemill/log_sinks.hpp>

#include "core/log_format.hpp"

namespace tidemill {

LogSink stderr_sink(LogFormat format) {
  return [format](Level level, std::string_view message, std::span<const Field> fields) {
    try {
      std::string line;
      append_line(line, format, {Clock::system().now(), level, message, fields});
      write_stderr(line);
    } catch (...) {  // No memory for a line: a sink must not throw.
    }
  };
}

}  // namespace tidemill
