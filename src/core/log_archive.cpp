#include "core/log_archive.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <memory>
#include <system_error>

#include <fmt/format.h>

namespace tidemill {

namespace {

[[noreturn]] void fail(int code, const std::string& path) {
  throw std::system_error{code, std::generic_category(), path};
}

int lock_file(int fd, int how) {
  int code = 0;
  do {
    code = flock(fd, how);
  } while (code != 0 && errno == EINTR);
  return code;
}

/// True if it was there.
bool move(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) == 0) return true;
  if (errno != ENOENT) fail(errno, from);
  return false;
}

bool remove(const std::string& path) {
  if (unlink(path.c_str()) == 0) return true;
  if (errno != ENOENT) fail(errno, path);
  return false;
}

/// Not open if it isn't there.
FileHandle open_old(const std::string& path) {
  try {
    return {path, O_RDONLY};
  } catch (const std::system_error& error) {
    if (error.code().value() != ENOENT) throw;
    return {};
  }
}

struct CloseGzip {
  void operator()(gzFile file) const { gzclose(file); }
};
using Gzip = std::unique_ptr<std::remove_pointer_t<gzFile>, CloseGzip>;

/// False if `stop` fired.
bool compress(const FileHandle& from, const std::string& from_path, const FileHandle& to,
              const std::string& to_path, std::stop_token stop) {
  const int copy = fcntl(to.get(), F_DUPFD_CLOEXEC, 0);
  if (copy < 0) fail(errno, to_path);
  Gzip gzip{gzdopen(copy, "wb")};
  if (!gzip) {
    close(copy);
    fail(ENOMEM, to_path);
  }
  std::array<char, 65536> buffer{};
  while (!stop.stop_requested()) {
    const ssize_t count = read(from.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(errno, from_path);
    if (count == 0) {
      errno = 0;
      if (gzclose(gzip.release()) != Z_OK) fail(errno != 0 ? errno : EIO, to_path);
      return true;
    }
    errno = 0;
    if (gzwrite(gzip.get(), buffer.data(), static_cast<unsigned>(count)) != count) {
      fail(errno != 0 ? errno : EIO, to_path);
    }
  }
  return false;
}

}  // namespace

FileHandle::FileHandle(const std::string& path, int flags, mode_t mode)
    : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {
  if (fd_ < 0) fail(errno, path);
}

void FileHandle::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

bool FileHandle::is_at(const std::string& path) const {
  struct stat named{};
  if (stat(path.c_str(), &named) != 0) return false;
  const struct stat own = status();
  return named.st_dev == own.st_dev && named.st_ino == own.st_ino;
}

struct stat FileHandle::status() const {
  struct stat found{};
  fstat(fd_, &found);
  return found;
}

// Where a file system has no locks, it goes on without.
FileLock FileLock::shared(const FileHandle& file) {
  FileLock lock;
  lock_file(file.get(), LOCK_SH);
  lock.fd_ = file.get();
  return lock;
}

FileLock FileLock::try_exclusive(const FileHandle& file) {
  FileLock lock;
  const bool held = lock_file(file.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
  if (held) lock.fd_ = file.get();
  return lock;
}

void FileLock::release() {
  if (fd_ >= 0) flock(fd_, LOCK_UN);
  fd_ = -1;
}

std::string LogArchive::plain(std::size_t number) const { return fmt::format("{}.{}", path_, number); }
std::string LogArchive::packed(std::size_t number) const { return fmt::format("{}.{}.gz", path_, number); }

bool LogArchive::exists(std::size_t number) const {
  return access(plain(number).c_str(), F_OK) == 0 || access(packed(number).c_str(), F_OK) == 0;
}

void LogArchive::put_aside() const {
  for (std::size_t number = keep_ + 1;; ++number) {  // There are some if fewer are to be kept than before.
    const bool was_plain = remove(plain(number));
    if (!remove(packed(number)) && !was_plain) break;
  }
  if (keep_ == 0) {
    remove(path_);
    return;
  }
  // Up to the first gap only, or else a call that failed half-way would cost a file each time.
  std::size_t last = 1;
  while (last < keep_ && exists(last)) ++last;
  remove(plain(last));
  remove(packed(last));
  for (std::size_t number = last; number > 1; --number) {
    move(plain(number - 1), plain(number));
    move(packed(number - 1), packed(number));
  }
  move(path_, plain(1));
}

bool LogArchive::compress_one(std::stop_token stop) const {
  std::size_t number = keep_;
  while (number > 0 && access(plain(number).c_str(), F_OK) != 0) --number;
  if (number == 0) return false;
  const FileHandle from = open_old(plain(number));
  if (!from.is_open()) return true;  // It has another number by now.
  const struct stat status = from.status();

  // Whoever has the lock on this file is the one that compresses. What a killed one left is overwritten.
  const std::string unfinished = path_ + ".gz.tmp";
  const FileHandle to{unfinished, O_WRONLY | O_CREAT, status.st_mode & 0777};
  const FileLock turn = FileLock::try_exclusive(to);
  if (!turn.held() || !to.is_at(unfinished)) return false;
  if (ftruncate(to.get(), 0) != 0) fail(errno, unfinished);
  const auto give_up = [&] {
    unlink(unfinished.c_str());
    return false;
  };
  try {
    if (!compress(from, plain(number), to, unfinished, stop)) return give_up();
    const std::array times{status.st_atim, status.st_mtim};
    futimens(to.get(), times.data());
    if (fsync(to.get()) != 0) fail(errno, unfinished);
    FileHandle log;
    FileLock names;
    if (!lock_names(log, names, stop)) return give_up();
    // It may have grown older meanwhile, or too old.
    while (number <= keep_ && !from.is_at(plain(number))) ++number;
    if (number > keep_) {
      unlink(unfinished.c_str());
      return true;
    }
    move(unfinished, packed(number));
    remove(plain(number));
    return true;
  } catch (...) {
    unlink(unfinished.c_str());
    throw;
  }
}

bool LogArchive::lock_names(FileHandle& log, FileLock& lock, std::stop_token stop) const {
  while (!stop.stop_requested()) {
    // Made if it is not there, as right after it was put aside: its lock holds the next one off who does
    // that.
    log = FileHandle{path_, O_RDONLY | O_CREAT, log_file_mode};
    lock = FileLock::try_exclusive(log);
    if (lock.held() && log.is_at(path_)) return true;
    lock.release();
    poll(nullptr, 0, 1);
  }
  return false;
}

}  // namespace tidemill
