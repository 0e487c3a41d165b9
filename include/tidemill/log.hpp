#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <string_view>

#include <tidemill/task.hpp>

namespace tidemill {

std::string_view to_string(Level level) noexcept;
std::optional<Level> parse_level(std::string_view name) noexcept;

/// A fact beside a message: `{"queue", "mail"}`.
struct Field {
  std::string_view name;
  std::string_view value;
};

/// Takes one line of log. Must be safe to call from any thread, must not throw, and should not block.
using LogSink = std::function<void(Level, std::string_view message, std::span<const Field> fields)>;

/// Where client, worker and scheduler say what they have to say. Cheap to copy; copies share the sink.
///
///   WorkerOptions{.log = Log::silent()}
///   WorkerOptions{.log = Log::to_stderr(Level::debug)}
///   WorkerOptions{.log = Log{my_sink}}
///
/// Thread safety: all members may be called from any thread.
class Log {
 public:
  /// To stderr, from `info` up.
  Log();
  /// To the caller's own sink, from `least` up.
  explicit Log(LogSink sink, Level least = Level::info);

  static Log silent();
  /// One line a message: time in UTC, level, message, name=value. log_sinks.hpp has JSON and files.
  static Log to_stderr(Level least = Level::info);

  /// A copy whose lines have one more field at their end, `source`: where the call stands, as
  /// "engine/worker.cpp:105", which is the path below the last src/ in it, or the file's name alone. A field
  /// of the caller that is named so becomes `_source`.
  Log with_source() const;

  bool enabled(Level level) const noexcept;
  /// `where` is the caller; leave it out.
  void write(Level level, std::string_view message, std::initializer_list<Field> fields = {},
             std::source_location where = std::source_location::current()) const;

  void debug(std::string_view message, std::initializer_list<Field> fields = {},
             std::source_location where = std::source_location::current()) const {
    write(Level::debug, message, fields, where);
  }
  void info(std::string_view message, std::initializer_list<Field> fields = {},
            std::source_location where = std::source_location::current()) const {
    write(Level::info, message, fields, where);
  }
  void warning(std::string_view message, std::initializer_list<Field> fields = {},
               std::source_location where = std::source_location::current()) const {
    write(Level::warning, message, fields, where);
  }
  void error(std::string_view message, std::initializer_list<Field> fields = {},
             std::source_location where = std::source_location::current()) const {
    write(Level::error, message, fields, where);
  }

 private:
  std::shared_ptr<const LogSink> sink_;
  Level least_ = Level::info;
  bool source_ = false;
};

}  // namespace tidemill
