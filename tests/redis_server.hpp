#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "drivers/redis/client.hpp"
#include "port.hpp"
#include "process.hpp"

/// Real servers of Redis, for tests. Each has a free port of this machine and a directory of its own, and
/// ends with its object.
namespace tidemill::testing {

/// Where a program of Redis is; empty: it is not installed.
inline std::string redis_program(const std::string& name) {
  for (const char* const folder : {"/usr/bin/", "/usr/local/bin/"}) {
    if (access((folder + name).c_str(), X_OK) == 0) return folder + name;
  }
  return {};
}

/// The first line of a test that needs a server, or of its SetUp: says so where there is none.
#define TIDEMILL_NEEDS_REDIS()                                                 \
  do {                                                                         \
    if (::tidemill::testing::redis_program("redis-server").empty())            \
      GTEST_SKIP() << "redis-server is not installed; ./dev test installs it"; \
  } while (false)

/// redis-server with some lines of configuration, without files of its data unless they ask for them.
class RedisServer {
 public:
  using Lines = std::vector<std::string>;

  /// Waits until it answers. `program` may be redis-sentinel too.
  explicit RedisServer(const Lines& lines = {}, const std::string& program = "redis-server")
      : RedisServer(lines, program, free_port()) {}

  RedisServer(const Lines& lines, const std::string& program, std::uint16_t port)
      : program_(redis_program(program)), port_(port) {
    std::string text = fmt::format("port {}\nbind 127.0.0.1\ndir {}\nlogfile {}\n", port,
                                   directory_.path().string(), (directory_ / "log").string());
    if (program == "redis-server") text += "save \"\"\nrepl-diskless-sync-delay 0\n";
    for (const std::string& line : lines) text += line + "\n";
    write_file(config(), text);
    start();
  }
  ~RedisServer() {
    if (process_.running()) process_.end(SIGKILL);
  }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  std::uint16_t port() const { return port_; }
  redis::Address address() const { return {.host = "127.0.0.1", .port = port_}; }
  std::string url() const { return fmt::format("redis://127.0.0.1:{}", port_); }
  std::filesystem::path operator/(const std::string& name) const { return directory_ / name; }
  std::string log() const { return read_file(directory_ / "log"); }

  /// SIGTERM saves what the configuration asks for; SIGKILL loses what is not on the disk.
  void stop(int signal = SIGKILL) {
    thaw();
    process_.end(signal);
  }
  bool running() const { return process_.running(); }
  /// On the same port, with the same files.
  void start() {
    process_ = Process{{program_, config().string()}, {}};
    const bool up = eventually([this] { return answers() || process_.ended(); });
    if (!up || process_.ended())
      throw std::runtime_error{fmt::format("{} does not start:\n{}", program_, log())};
  }
  void restart(int signal = SIGKILL) {
    stop(signal);
    start();
  }
  /// It takes connections, as the system does that for it, and answers nothing until `thaw`.
  void freeze() const { process_.signal(SIGSTOP); }
  void thaw() const { process_.signal(SIGCONT); }

 private:
  std::filesystem::path config() const { return directory_ / "redis.conf"; }

  /// Any answer, if only that there is a password.
  bool answers() const {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval limit{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::array<char, 64> reply{};
    ssize_t count = -1;
    if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
        ::send(fd, "PING\r\n", 6, MSG_NOSIGNAL) == 6)
      count = ::recv(fd, reply.data(), reply.size(), 0);
    ::close(fd);
    return count > 0 && std::string_view{reply.data(), static_cast<std::size_t>(count)}.find("LOADING") ==
                            std::string_view::npos;
  }

  TemporaryDirectory directory_;
  std::string program_;
  std::uint16_t port_;
  Process process_;
};

}  // namespace tidemill::testing
