#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/log_sinks.hpp>

#include "core/log_archive.hpp"
#include "core/log_format.hpp"

namespace tidemill {

namespace {

/// After it could not be put aside: lines still go to it.
constexpr Duration put_aside_pause = std::chrono::milliseconds{100};

/// Waits a moment for other processes that write. Not for longer, as one of them may be suspended.
FileLock exclusive_soon(const FileHandle& file) {
  FileLock lock = FileLock::try_exclusive(file);
  for (int attempt = 0; attempt < 10 && !lock.held(); ++attempt) {
    poll(nullptr, 0, 1);
    lock = FileLock::try_exclusive(file);
  }
  return lock;
}

/// When the first of what is in it was written, as far as that can be known.
std::optional<TimePoint> birth_of(const FileHandle& file) {
  const struct stat status = file.status();
  if (!S_ISREG(status.st_mode) || status.st_size == 0) return {};
  std::array<char, 64> start{};
  const ssize_t count = pread(file.get(), start.data(), start.size(), 0);
  if (count > 0) {
    const auto time = time_of_line({start.data(), static_cast<std::size_t>(count)});
    if (time) return time;
  }
  const timespec& changed = status.st_mtim;
  return TimePoint{std::chrono::duration_cast<Duration>(std::chrono::seconds{changed.tv_sec} +
                                                        std::chrono::nanoseconds{changed.tv_nsec})};
}

}  // namespace

struct LogFile::Impl {
  explicit Impl(LogFileOptions given)
      : options(std::move(given)),
        clock(options.clock != nullptr ? *options.clock : Clock::system()),
        archive(options.path, options.keep) {
    open();
    if (options.gzip) {
      compressor = std::jthread{[this](std::stop_token stop) { compress(stop); }};
    }
  }

  void write(Level level, std::string_view message, std::span<const Field> fields) noexcept {
    try {
      std::string line;
      const TimePoint now = clock.now();
      append_line(line, options.format, {now, level, message, fields});
      const std::lock_guard lock{mutex};
      try {
        put(line, now);
      } catch (const std::system_error& error) {
        divert(line, error.what());
      }
    } catch (...) {  // No memory for a line: a sink must not throw.
    }
  }

  void reopen() {
    const std::lock_guard lock{mutex};
    file.close();
    try {
      open();
    } catch (const std::system_error&) {  // The next line tries again, and says so.
    }
  }

 private:
  // ---- All of these: REQUIRES: mutex is held.

  void open() {
    file = FileHandle{options.path, O_RDWR | O_APPEND | O_CREAT, log_file_mode};
    birth = birth_of(file);
    torn = false;
  }

  /// Makes sure that the file is the one that has our name, and that it keeps it as long as the lock is held.
  FileLock lock_current() {
    for (int attempt = 0; attempt < 100; ++attempt) {
      if (!file.is_open()) open();
      FileLock lock = FileLock::shared(file);
      if (file.is_at(options.path)) return lock;
      lock.release();
      file.close();
    }
    throw std::system_error{EBUSY, std::generic_category(), options.path};
  }

  /// Throws std::system_error when it is not written, or not as a whole.
  void put(std::string_view line, TimePoint now) {
    FileLock lock = lock_current();
    if (is_due(line.size(), now)) {
      lock.release();
      put_aside(line.size(), now);
      lock = lock_current();
    }
    if (torn || diverted > 0) {
      write_all(before_next(now).append(line));
    } else {
      write_all(line);
    }
    diverted = 0;
    if (!birth) birth = now;
  }

  /// The end of a line that is not whole, and how many are missing.
  std::string before_next(TimePoint now) const {
    std::string out{torn ? "\n" : ""};
    if (diverted == 0) return out;
    const std::string count = std::to_string(diverted);
    const std::array fields{Field{"lines", count}};
    append_line(out, options.format,
                {now, Level::warning, "lines are missing here: they went to stderr instead", fields});
    return out;
  }

  bool is_due(std::size_t next_bytes, TimePoint now) {
    const struct stat status = file.status();
    if (!S_ISREG(status.st_mode)) return false;
    if (status.st_size == 0) {  // Also when somebody has copied and truncated it.
      birth.reset();
      return false;
    }
    const bool too_old = options.age_max > Duration::zero() && birth && now - *birth >= options.age_max;
    const bool too_large =
        options.bytes_max > 0 && static_cast<std::size_t>(status.st_size) + next_bytes > options.bytes_max;
    return (too_old || too_large) && clock.steady() >= put_aside_again;
  }

  /// Throws nothing, since lines go on into the file as it is when it can't be put aside.
  void put_aside(std::size_t next_bytes, TimePoint now) {
    FileLock lock = exclusive_soon(file);
    if (!lock.held()) put_aside_again = clock.steady() + put_aside_pause;
    // Another process may have been the first.
    if (!lock.held() || !file.is_at(options.path) || !is_due(next_bytes, now)) return;
    try {
      archive.put_aside();
      put_aside_failed = false;
    } catch (const std::system_error& error) {
      put_aside_again = clock.steady() + put_aside_pause;
      if (!std::exchange(put_aside_failed, true)) complain("the log file can't be put aside", error.what());
      return;
    }
    lock.release();
    file.close();
    if (options.gzip) {
      const std::lock_guard compress_lock{compress_mutex};
      to_compress = true;
      compress_news.notify_one();
    }
  }

  void write_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(file.get(), bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw std::system_error{errno, std::generic_category(), options.path};
      bytes.remove_prefix(static_cast<std::size_t>(count));
      torn = !bytes.empty();
    }
  }

  void divert(std::string_view line, const char* why) {
    if (diverted++ == 0) complain("the log file takes no lines; they go to stderr until it does", why);
    write_stderr(line);
  }

  // ---- These: REQUIRES: nothing.

  void complain(std::string_view what, const char* why) const {
    std::string line;
    const std::array fields{Field{"path", options.path}, Field{"why", why}};
    append_line(line, options.format, {clock.now(), Level::error, what, fields});
    write_stderr(line);
  }

  void compress(std::stop_token stop) {
    bool failed = false;
    while (!stop.stop_requested()) {
      try {
        while (archive.compress_one(stop)) {
        }
        failed = false;
      } catch (const std::system_error& error) {
        if (!std::exchange(failed, true)) complain("an old log file can't be compressed", error.what());
      }
      std::unique_lock lock{compress_mutex};
      compress_news.wait(lock, stop, [this] { return std::exchange(to_compress, false); });
    }
  }

  const LogFileOptions options;
  const Clock& clock;
  const LogArchive archive;

  std::mutex mutex;  // Guards all up to the next one.
  FileHandle file;
  std::optional<TimePoint> birth;  // When its first line was written; none: it is empty.
  std::size_t diverted = 0;        // Lines that went to stderr since the last that was written.
  bool torn = false;               // The last line in it is not whole.
  bool put_aside_failed = false;
  std::chrono::steady_clock::time_point put_aside_again{};

  std::mutex compress_mutex;
  std::condition_variable_any compress_news;
  bool to_compress = false;  // Guarded by compress_mutex.
  std::jthread compressor;   // The last member: it ends before what it uses.
};

LogFile::LogFile(LogFileOptions options) {
  if (options.path.empty()) throw Error{ErrorKind::invalid, "the log file has no path"};
  try {
    impl_ = std::make_shared<Impl>(std::move(options));
  } catch (const std::system_error& error) {
    throw Error{ErrorKind::invalid, fmt::format("the log file can't be opened: {}", error.what())};
  }
}

LogFile::~LogFile() = default;

LogSink LogFile::sink() const {
  return [impl = impl_](Level level, std::string_view message, std::span<const Field> fields) {
    impl->write(level, message, fields);
  };
}

void LogFile::reopen() { impl_->reopen(); }

}  // namespace tidemill
