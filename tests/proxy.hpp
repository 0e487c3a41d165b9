#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "port.hpp"

namespace tidemill::testing {

/// Stands between a client and a server, and does harm as it is told. Holds no more than the system's
/// buffers: while the client doesn't read, nothing of what it writes goes on.
class Proxy {
 public:
  explicit Proxy(std::uint16_t server) : server_(server), port_(free_port()) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int yes = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address = to(port_);
    const bool ok = ::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                    ::listen(listener_, 64) == 0;
    if (!ok) throw std::runtime_error{"the proxy can't listen"};
    thread_ = std::jthread{[this](const std::stop_token& stop) { run(stop); }};
  }
  ~Proxy() {
    thread_.request_stop();
    thread_.join();
    ::close(listener_);
  }
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  std::uint16_t port() const { return port_; }
  int connections() const { return connections_; }

  /// The next answer after a request with this text in it is cut off after so many bytes: the connection
  /// ends, or with `stall` nothing more comes.
  void harm(std::string text, std::size_t bytes, bool stall = false) {
    const std::lock_guard lock{mutex_};
    text_ = std::move(text);
    bytes_ = bytes;
    stall_ = stall;
    done_ = false;
  }
  /// As before, but each time.
  void harm_always(std::string text, std::size_t bytes, bool stall = false) {
    harm(std::move(text), bytes, stall);
    always_ = true;
  }
  /// The next request with this text in it ends the connection, and the server never gets it.
  void swallow(std::string text) {
    const std::lock_guard lock{mutex_};
    swallowed_ = std::move(text);
    done_ = false;
  }
  void heal() {
    swallow({});
    always_ = false;
    harm({}, 0);
  }
  bool harmed() const { return done_; }

 private:
  struct Pair {
    int client, server;
    bool met = false;  ///< The request has come by.
    bool stalled = false;
    std::size_t passed = 0;  ///< Of the answer.
    std::string seen = {};
  };

  static sockaddr_in to(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  static bool pass(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }

  void run(const std::stop_token& stop) {
    std::vector<Pair> pairs;
    while (!stop.stop_requested()) {
      std::vector<pollfd> entries{{.fd = listener_, .events = POLLIN, .revents = 0}};
      for (const Pair& pair : pairs) {
        entries.push_back({.fd = pair.client, .events = POLLIN, .revents = 0});
        entries.push_back({.fd = pair.stalled ? -1 : pair.server, .events = POLLIN, .revents = 0});
      }
      ::poll(entries.data(), entries.size(), 5);
      for (std::size_t i = pairs.size(); i-- > 0;) {
        const bool client = entries[1 + 2 * i].revents != 0, server = entries[2 + 2 * i].revents != 0;
        if ((!client || from_client(pairs[i])) && (!server || from_server(pairs[i]))) continue;
        ::close(pairs[i].client);
        ::close(pairs[i].server);
        pairs.erase(pairs.begin() + static_cast<std::ptrdiff_t>(i));
      }
      if (entries[0].revents != 0) accept(pairs);
    }
    for (const Pair& pair : pairs) {
      ::close(pair.client);
      ::close(pair.server);
    }
  }
  void accept(std::vector<Pair>& pairs) {
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = to(server_);
    ++connections_;
    const int yes = 1;  // What is small goes on at once, as it does without a proxy.
    for (const int fd : {client, server}) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      pairs.push_back({.client = client, .server = server});
    } else {
      ::close(client);
      ::close(server);
    }
  }
  bool from_client(Pair& pair) {
    std::array<char, 65536> buffer;
    const ssize_t count = ::recv(pair.client, buffer.data(), buffer.size(), 0);
    if (count <= 0) return false;
    const std::string_view bytes{buffer.data(), static_cast<std::size_t>(count)};
    {
      const std::lock_guard lock{mutex_};
      if (!swallowed_.empty() && bytes.find(swallowed_) != std::string_view::npos) {
        swallowed_.clear();
        done_ = true;
        return false;
      }
      if (!text_.empty()) pair.seen += bytes;
      if (!text_.empty() && (!done_ || always_) && pair.seen.find(text_) != std::string::npos)
        pair.met = true;
    }
    return pass(pair.server, bytes);
  }
  bool from_server(Pair& pair) {
    std::array<char, 65536> buffer;
    const ssize_t count = ::recv(pair.server, buffer.data(), buffer.size(), 0);
    if (count <= 0) return false;
    const std::string_view bytes{buffer.data(), static_cast<std::size_t>(count)};
    if (!pair.met) {
      pair.seen.clear();
      return pass(pair.client, bytes);
    }
    const std::lock_guard lock{mutex_};
    const std::string_view part = bytes.substr(0, bytes_ - std::min(bytes_, pair.passed));
    pass(pair.client, part);
    pair.passed += part.size();
    if (pair.passed < bytes_) return true;  // The answer comes in several pieces.
    done_ = true;
    pair.stalled = stall_;
    return stall_;
  }

  const std::uint16_t server_;
  const std::uint16_t port_;
  int listener_ = -1;
  std::mutex mutex_;
  std::string text_;
  std::string swallowed_;
  std::size_t bytes_ = 0;
  bool stall_ = false;
  std::atomic<bool> done_ = false;
  std::atomic<bool> always_ = false;
  std::atomic<int> connections_ = 0;
  std::jthread thread_;
};

}  // namespace tidemill::testing
