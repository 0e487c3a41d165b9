#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "drivers/redis/options.hpp"
#include "drivers/redis/tls.hpp"

namespace tidemill::redis {

using Deadline = std::chrono::steady_clock::time_point;

/// "redis.example.com:6379", "[::1]:6379" or the path of a unix socket.
std::string shown(const Address& address);

/// How long poll may wait, in milliseconds; zero when the deadline has passed.
int milliseconds_until(Deadline deadline) noexcept;

/// Owns a file descriptor.
class Fd {
 public:
  explicit Fd(int fd = -1) noexcept : fd_(fd) {}
  ~Fd();
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

/// A connection that never blocks: TCP or a unix socket, with TLS or without.
///
/// Thread safety: none; one thread at a time.
class Socket {
 public:
  /// Connects: to all addresses of a name in turn. Without a context there is no TLS. Throws Failure.
  Socket(const Address& address, const TlsContext* tls, Deadline deadline);

  /// How many bytes came or went; zero: not now. Throw Failure when the connection has ended.
  std::size_t read(std::span<char> into);
  std::size_t write(std::span<const iovec> pieces);

  int fd() const noexcept { return fd_.get(); }
  /// The poll events with which it is worth going on.
  short events(bool writes) const noexcept;
  /// Nothing has come, and the other side has not closed.
  bool quiet() const noexcept;

 private:
  Fd fd_;
  std::unique_ptr<TlsStream> tls_;
};

}  // namespace tidemill::redis
