#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
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
  /// One line a message: time in UTC, level, message, name=value.
  static Log to_stderr(Level least = Level::info);

  bool enabled(Level level) const noexcept;
  void write(Level level, std::string_view message, std::initializer_list<Field> fields = {}) const;

  void debug(std::string_view message, std::initializer_list<Field> fields = {}) const {
    write(Level::debug, message, fields);
  }
  void info(std::string_view message, std::initializer_list<Field> fields = {}) const {
    write(Level::info, message, fields);
  }
  void warning(std::string_view message, std::initializer_list<Field> fields = {}) const {
    write(Level::warning, message, fields);
  }
  void error(std::string_view message, std::initializer_list<Field> fields = {}) const {
    write(Level::error, message, fields);
  }

 private:
  std::shared_ptr<const LogSink> sink_;
  Level least_ = Level::info;
};

}  // namespace tidemill
