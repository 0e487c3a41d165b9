#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <tidemill/clock.hpp>
#include <tidemill/log.hpp>

namespace tidemill {

enum class LogFormat : std::uint8_t {
  text,  ///< time level message name=value
  json,  ///< One object a line: time, level, message, and a member for each field.
};

/// Lines on stderr, in either format.
LogSink stderr_sink(LogFormat format);

struct LogFileOptions {
  std::string path = {};
  LogFormat format = LogFormat::text;
  std::size_t bytes_max =
      100U << 20U;       ///< A file that has grown to this is put aside; zero: never for its size.
  Duration age_max{};    ///< And one that is this old; zero: never for its age.
  std::size_t keep = 7;  ///< How many files that were put aside are kept; older ones are deleted.
  bool gzip = false;     ///< Compress those that were put aside.
};

/// Lines into a file, which is put aside when it has grown or aged enough (path.1 is the youngest), and is
/// made anew when somebody has moved or deleted it.
///
/// Thread safety: all members may be called from any thread.
class LogFile {
 public:
  /// Throws Error{invalid} when the file can't be opened, with the reason.
  explicit LogFile(LogFileOptions options);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  /// Writes to this file as long as any copy of the sink lives.
  LogSink sink() const;
  /// Closes the file and opens it again by its name, as after SIGHUP.
  void reopen();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace tidemill
