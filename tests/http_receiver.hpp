#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace tidemill::testing {

/// The receiver's side of a connection, in the hands of a test that misbehaves on purpose. All calls end when
/// the receiver does.
class Received {
 public:
  explicit Received(int fd) : fd_(fd) {}

  /// Reads a request with its body: false when the other side has gone.
  bool request() {
    std::string input;
    std::size_t head = std::string::npos;
    while (head == std::string::npos) {
      if (!more(input)) return false;
      head = input.find("\r\n\r\n");
    }
    const std::size_t at = input.find("Content-Length: ");
    const std::size_t length = at < head ? std::stoul(input.substr(at + 16)) : 0;
    while (input.size() < head + 4 + length) {
      if (!more(input)) return false;
    }
    return true;
  }
  /// False when the other side has gone.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  /// Sends the text again and again, until the other side goes; a byte now and then if it is to trickle.
  void endlessly(std::string_view text, bool trickle = false) {
    if (!trickle) {
      while (send(text)) {
      }
      return;
    }
    for (std::size_t i = 0; send(text.substr(i % text.size(), 1)); ++i) {
      pollfd gone{.fd = fd_, .events = POLLRDHUP, .revents = 0};
      ::poll(&gone, 1, 5);
    }
  }
  /// Says nothing until the other side goes.
  void hang() {
    std::string ignored;
    while (more(ignored)) {
    }
  }
  /// The other side sees a reset.
  void reset() {
    const linger none{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  }

 private:
  bool more(std::string& input) {
    char buffer[4096];
    const ssize_t count = ::recv(fd_, buffer, sizeof buffer, 0);
    if (count <= 0) return false;
    input.append(buffer, static_cast<std::size_t>(count));
    return true;
  }

  int fd_;
};

/// Listens on all addresses of this machine, and gives each connection to `serve`, on a thread of its own.
class Receiver {
 public:
  explicit Receiver(std::function<void(Received&)> serve) : serve_(std::move(serve)) {
    fd_ = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int no = 0;
    ::setsockopt(fd_, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_addr = in6addr_any;
    socklen_t size = sizeof address;
    if (::bind(fd_, reinterpret_cast<const sockaddr*>(&address), size) != 0 || ::listen(fd_, 4096) != 0 ||
        ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
      throw std::runtime_error{"can't listen"};
    port_ = ntohs(address.sin6_port);
    acceptor_ = std::thread{[this] { accept(); }};
  }
  ~Receiver() {
    ::shutdown(fd_, SHUT_RDWR);
    acceptor_.join();
    {
      const std::lock_guard lock{mutex_};
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
    ::close(fd_);
  }
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;

  std::uint16_t port() const { return port_; }
  /// So far.
  int connections() const { return connections_; }
  /// At this time.
  std::size_t open() const {
    const std::lock_guard lock{mutex_};
    return open_.size();
  }

 private:
  void accept() {
    for (;;) {
      const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      const std::lock_guard lock{mutex_};
      ++connections_;
      open_.push_back(fd);
      threads_.emplace_back([this, fd] {
        Received received{fd};
        serve_(received);
        const std::lock_guard closing{mutex_};
        std::erase(open_, fd);
        ::close(fd);
      });
    }
  }

  const std::function<void(Received&)> serve_;
  int fd_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<int> connections_{0};
  mutable std::mutex mutex_;
  std::vector<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace tidemill::testing
