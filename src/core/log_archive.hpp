#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

namespace tidemill {

/// Of a log file that is made anew.
inline constexpr mode_t log_file_mode = 0640;

/// Owns a file descriptor.
class FileHandle {
 public:
  FileHandle() = default;
  /// Throws std::system_error when it can't be opened. Never inherited by other programs.
  FileHandle(const std::string& path, int flags, mode_t mode = 0);
  FileHandle(FileHandle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileHandle& operator=(FileHandle&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileHandle() { close(); }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  void close();
  /// Whether that name still means this file.
  bool is_at(const std::string& path) const;
  struct stat status() const;

 private:
  int fd_ = -1;
};

/// Holds flock(2) on an open file, if it was given, which counts among threads with handles of their own,
/// too.
class FileLock {
 public:
  FileLock() = default;
  /// Waits for it.
  static FileLock shared(const FileHandle& file);
  /// Doesn't wait: one without `held` where others hold the file.
  static FileLock try_exclusive(const FileHandle& file);
  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock& operator=(FileLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileLock() { release(); }

  bool held() const { return fd_ >= 0; }
  void release();

 private:
  int fd_ = -1;
};

/// The files that a log has put aside: path.1 is the youngest, and each is path.N or path.N.gz.
///
/// All writers hold a shared lock on the log file from the moment they know that it has its name until they
/// have written. Names change under an exclusive one. So nobody writes to a file that was put aside, and it
/// may be compressed at once.
///
/// Thread safety: all members may be called from any thread, and by several processes at once.
class LogArchive {
 public:
  LogArchive(std::string path, std::size_t keep) : path_(std::move(path)), keep_(keep) {}

  /// Makes the log file path.1, or deletes it if none is kept, and deletes what is older than the last that
  /// is kept. Throws std::system_error; a second call then goes on where the first ended. REQUIRES: an
  /// exclusive lock on the log file.
  void put_aside() const;
  /// Compresses one file that isn't yet. False: there is none, another process is at it, or `stop` fired;
  /// true: there may be more. Throws std::system_error, and leaves the file as it was.
  bool compress_one(std::stop_token stop) const;

 private:
  std::string plain(std::size_t number) const;
  std::string packed(std::size_t number) const;
  bool exists(std::size_t number) const;
  /// The exclusive lock on the log file; false: `stop` fired.
  bool lock_names(FileHandle& log, FileLock& lock, std::stop_token stop) const;

  const std::string path_;
  const std::size_t keep_;
};

}  // namespace tidemill
