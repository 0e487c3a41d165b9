#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <string_view>
#include <utility>

#include "drivers/process/process.hpp"

namespace tidemill::process {

/// "the command can't be started: WHAT: why".
[[noreturn]] void fail(std::string_view what, int code);

/// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { close(); }

  int get() const { return fd_; }
  bool open() const { return fd_ >= 0; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

/// Both ends lie above the three standard ones, or the child could overwrite one by another.
struct Pipe {
  Fd read, write;
  Pipe();
};

/// Starts the command: it gets its three pipes and no other file, a process group of its own, signals as if
/// from a shell, its directory and its limits. Throws as `run`.
pid_t spawn(const Command& command, const Pipe& in, const Pipe& out, const Pipe& err);

}  // namespace tidemill::process
