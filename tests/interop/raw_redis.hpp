#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "drivers/redis/reply.hpp"

namespace tidemill::testing {

/// Redis as it is: one connection, one command at a time, and nothing of the code under test. Throws
/// std::runtime_error for a refusal and for an answer of another kind than asked for.
class RawRedis {
 public:
  using Words = std::vector<std::string>;

  explicit RawRedis(std::uint16_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      ::close(fd_);
      throw std::runtime_error{fmt::format("no Redis on port {}", port)};
    }
  }
  ~RawRedis() { ::close(fd_); }
  RawRedis(const RawRedis&) = delete;
  RawRedis& operator=(const RawRedis&) = delete;

  redis::Reply exec(const Words& words) {
    std::string request = fmt::format("*{}\r\n", words.size());
    for (const std::string& word : words) request += fmt::format("${}\r\n{}\r\n", word.size(), word);
    for (std::string_view rest = request; !rest.empty();) {
      const ssize_t count = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
      if (count <= 0) throw std::runtime_error{"Redis is gone"};
      rest.remove_prefix(static_cast<std::size_t>(count));
    }
    redis::Reply reply = read();
    if (reply.kind == redis::Reply::Kind::error) {
      throw std::runtime_error{fmt::format("{}: {}", words[0], reply.text)};
    }
    return reply;
  }

  std::int64_t integer(const Words& words) { return need(words, redis::Reply::Kind::integer).integer; }
  /// Of a key that is there.
  std::string text(const Words& words) { return need(words, redis::Reply::Kind::bytes).text; }
  std::vector<std::string> texts(const Words& words) {
    std::vector<std::string> all;
    for (redis::Reply& item : need(words, redis::Reply::Kind::list).items)
      all.push_back(std::move(item.text));
    return all;
  }
  /// Fields and values of a hash; members and scores of a sorted set.
  std::map<std::string, std::string> pairs(const Words& words) {
    const std::vector<std::string> all = texts(words);
    std::map<std::string, std::string> map;
    for (std::size_t i = 0; i + 1 < all.size(); i += 2) map[all[i]] = all[i + 1];
    return map;
  }
  std::map<std::string, std::string> hash(const std::string& key) { return pairs({"HGETALL", key}); }
  std::map<std::string, std::string> scores(const std::string& key) {
    return pairs({"ZRANGE", key, "0", "-1", "WITHSCORES"});
  }
  std::vector<std::string> list(const std::string& key) { return texts({"LRANGE", key, "0", "-1"}); }
  bool exists(const std::string& key) { return integer({"EXISTS", key}) == 1; }

 private:
  redis::Reply need(const Words& words, redis::Reply::Kind kind) {
    redis::Reply reply = exec(words);
    if (reply.kind != kind) {
      throw std::runtime_error{fmt::format("{} {}: nothing there, or of another kind", words[0],
                                           words.size() > 1 ? words[1] : std::string{})};
    }
    return reply;
  }

  void more() {
    char buffer[16384];
    const ssize_t count = ::recv(fd_, buffer, sizeof buffer, 0);
    if (count <= 0) throw std::runtime_error{"Redis does not answer"};
    input_.append(buffer, static_cast<std::size_t>(count));
  }
  std::string take(std::size_t size) {
    while (input_.size() < size) more();
    std::string taken = input_.substr(0, size);
    input_.erase(0, size);
    return taken;
  }
  std::string take_line() {
    while (input_.find("\r\n") == std::string::npos) more();
    std::string line = take(input_.find("\r\n") + 2);
    line.resize(line.size() - 2);
    return line;
  }
  redis::Reply read() {
    using Kind = redis::Reply::Kind;
    const std::string line = take_line();
    const std::string rest = line.substr(1);
    switch (line[0]) {
      case '+':
        return {.kind = Kind::status, .text = rest};
      case '-':
        return {.kind = Kind::error, .text = rest};
      case ':':
        return {.kind = Kind::integer, .integer = std::stoll(rest)};
      case '$': {
        if (rest == "-1") return {};
        std::string bytes = take(std::stoul(rest) + 2);
        bytes.resize(bytes.size() - 2);
        return {.kind = Kind::bytes, .text = std::move(bytes)};
      }
      case '*': {
        redis::Reply reply{.kind = Kind::list};
        if (rest == "-1") return {};
        for (std::size_t left = std::stoul(rest); left > 0; --left) reply.items.push_back(read());
        return reply;
      }
      default:
        throw std::runtime_error{fmt::format("no answer of Redis: {}", line)};
    }
  }

  int fd_;
  std::string input_;
};

}  // namespace tidemill::testing
