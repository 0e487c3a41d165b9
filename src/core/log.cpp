#include <tidemill/log.hpp>

#include <cstdio>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace tidemill {

namespace {

/// Quotes a value that would not read back as one word, and keeps a line one line.
void append_value(fmt::memory_buffer& line, std::string_view value) {
  const bool plain = !value.empty() && value.find_first_of(" \"=\n\r\t\\") == std::string_view::npos;
  if (plain) {
    line.append(value);
    return;
  }
  line.push_back('"');
  for (const char c : value) {
    if (c == '\n') {
      line.append(std::string_view{"\\n"});
    } else if (c == '\r') {
      line.append(std::string_view{"\\r"});
    } else {
      if (c == '"' || c == '\\') line.push_back('\\');
      line.push_back(c);
    }
  }
  line.push_back('"');
}

void write_stderr(Level level, std::string_view message, std::span<const Field> fields) {
  const auto now = std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now);
  fmt::memory_buffer line;
  fmt::format_to(std::back_inserter(line), "{:%Y-%m-%dT%H:%M:%S}.{:03}Z {:<7} {}",
                 fmt::gmtime(std::chrono::system_clock::to_time_t(seconds)), (now - seconds).count(),
                 to_string(level), message);
  for (const Field& field : fields) {
    fmt::format_to(std::back_inserter(line), " {}=", field.name);
    append_value(line, field.value);
  }
  line.push_back('\n');
  // One call, so that lines of several threads and processes don't mix.
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace

Log::Log() : Log(to_stderr(Level::info)) {}

Log::Log(LogSink sink, Level least)
    : sink_(sink ? std::make_shared<const LogSink>(std::move(sink)) : nullptr), least_(least) {}

Log Log::silent() { return Log{LogSink{}, Level::silent}; }

Log Log::to_stderr(Level least) {
  static const auto sink = std::make_shared<const LogSink>(write_stderr);
  Log log = silent();
  log.sink_ = sink;
  log.least_ = least;
  return log;
}

bool Log::enabled(Level level) const noexcept { return sink_ && level >= least_ && level != Level::silent; }

void Log::write(Level level, std::string_view message, std::initializer_list<Field> fields) const {
  if (enabled(level)) (*sink_)(level, message, {fields.begin(), fields.size()});
}

}  // namespace tidemill
