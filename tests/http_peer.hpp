#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace tidemill::testing {

/// A connection as a client has it. Reads give up after a time that no healthy run needs.
class Peer {
 public:
  explicit Peer(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Peer() { ::close(fd_); }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  bool connected() const { return connected_; }

  /// False when the other side has gone.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  void finish() { ::shutdown(fd_, SHUT_WR); }

  /// One response: its head, an empty line and its body. What came of it when the connection ended before.
  std::string response() {
    while (input_.find("\r\n\r\n") == std::string::npos) {
      if (!more()) return std::exchange(input_, {});
    }
    const std::size_t head = input_.find("\r\n\r\n") + 4;
    const std::size_t at = input_.find("Content-Length: ");
    const std::size_t length = at < head ? std::stoul(input_.substr(at + 16)) : 0;
    while (input_.size() < head + length) {
      if (!more()) break;
    }
    std::string one = input_.substr(0, head + length);
    input_.erase(0, head + length);
    return one;
  }
  /// All that comes until the other side closes.
  std::string rest() {
    while (more()) {
    }
    return std::exchange(input_, {});
  }

 private:
  bool more() {
    char buffer[4096];
    const ssize_t count = ::recv(fd_, buffer, sizeof buffer, 0);
    if (count <= 0) return false;
    input_.append(buffer, static_cast<std::size_t>(count));
    return true;
  }

  int fd_;
  bool connected_ = false;
  std::string input_;
};

}  // namespace tidemill::testing
