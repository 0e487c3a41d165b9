#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <tidemill/clock.hpp>
#include <tidemill/log.hpp>

namespace tidemill {

/// Bytes that are no UTF-8, and characters that could end a line or move a terminal's cursor, are escaped or
/// replaced in both.
enum class LogFormat : std::uint8_t {
  text,  ///< time level message name=value
  /// One object a line: `time` (RFC 3339, UTC, microseconds), `level`, `message`, and a text for each field.
  /// A field of one of those three names gets an underscore in front.
  json,
};

/// Lines on stderr, in either format.
LogSink stderr_sink(LogFormat format);

struct LogFileOptions {
  std::string path = {};
  LogFormat format = LogFormat::text;
  /// A line that would make the file larger than this puts it aside first; zero: never for its size.
  std::size_t bytes_max = 100U << 20U;
  /// A line that comes when the file is this old puts it aside first; zero: never for its age. It counts from
  /// the time that the file's first line has; from its last change if that line is somebody else's.
  Duration age_max{};
  std::size_t keep = 7;          ///< How many files that were put aside are kept; older ones are deleted.
  bool gzip = false;             ///< Compress those that were put aside, in a thread of its own.
  const Clock* clock = nullptr;  ///< Must outlive file and sinks; none: the machine's.

  bool operator==(const LogFileOptions&) const = default;
};

/// Lines into a file, which is put aside when it has grown or aged enough (path.1 is the youngest, or
/// path.1.gz), and is made anew when somebody has moved or deleted it. Several processes may write to one
/// path if their options are the same: no line is lost or torn when one of them puts the file aside.
///
/// A line that can't be written (a full disk, a folder that is gone) goes to stderr, the first one with the
/// reason. Each next line tries again, and says how many went astray when it works.
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
  /// Closes the file and opens it again by its name, as after SIGHUP. Not needed when the file was moved:
  /// that is noticed by itself.
  void reopen();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace tidemill
