#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <mutex>
#include <random>
#include <set>

namespace tidemill::testing {

/// A port on which nobody listens, nor on the one 10000 above, which a node of a cluster takes for itself.
/// Both lie below those that the system gives to outgoing connections, so it is free again after a server's
/// end. Another one each time.
inline std::uint16_t free_port() {
  static std::mutex mutex;
  static std::mt19937 random{std::random_device{}()};
  static std::set<int> given;
  const std::lock_guard lock{mutex};
  const auto is_free = [](int port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int yes = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    const bool ok = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    return ok;
  };
  while (true) {
    const int port = std::uniform_int_distribution<int>{10000, 22000}(random);
    if (is_free(port) && is_free(port + 10000) && given.insert(port).second)
      return static_cast<std::uint16_t>(port);
  }
}

}  // namespace tidemill::testing
