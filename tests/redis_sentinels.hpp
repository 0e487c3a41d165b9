#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "drivers/redis/client.hpp"
#include "redis_server.hpp"

namespace tidemill::testing {

/// A master with its replicas, and three sentinels that watch it under the name "mymaster".
class RedisSentinels {
 public:
  /// Waits until all know each other.
  explicit RedisSentinels(const RedisServer::Lines& lines = {}, std::size_t replicas_wanted = 2) {
    servers_.push_back(std::make_unique<RedisServer>(lines));
    RedisServer::Lines of_replica = lines;
    of_replica.push_back(fmt::format("replicaof 127.0.0.1 {}", servers_[0]->port()));
    for (std::size_t i = 0; i < replicas_wanted; ++i)
      servers_.push_back(std::make_unique<RedisServer>(of_replica));
    // A sentinel that meets the replicas at its first look needs no second one, ten seconds later.
    if (!eventually([&] { return replicas() == replicas_wanted; }))
      throw std::runtime_error{"the replicas don't connect"};
    const RedisServer::Lines watch{
        fmt::format("sentinel monitor mymaster 127.0.0.1 {} 2", servers_[0]->port()),
        "sentinel down-after-milliseconds mymaster 1000", "sentinel failover-timeout mymaster 2000"};
    for (int i = 0; i < 3; ++i) sentinels_.push_back(std::make_unique<RedisServer>(watch, "redis-sentinel"));
    const auto ready = [&] {
      for (const auto& sentinel : sentinels_) {
        if (said(*sentinel, "num-other-sentinels") != "2" ||
            said(*sentinel, "num-slaves") != std::to_string(replicas_wanted))
          return false;
      }
      return true;
    };
    if (!eventually(ready)) throw std::runtime_error{"the sentinels don't find each other"};
  }

  std::string url() const {
    std::string hosts;
    for (const auto& sentinel : sentinels_)
      hosts += fmt::format("{}127.0.0.1:{}", hosts.empty() ? "" : ",", sentinel->port());
    return fmt::format("redis+sentinel://{}/mymaster", hosts);
  }
  RedisServer& server(std::size_t i) { return *servers_[i]; }
  RedisServer& sentinel(std::size_t i) { return *sentinels_[i]; }
  /// As most sentinels see it.
  std::uint16_t master_port() const {
    std::vector<std::string> ports;
    for (const auto& sentinel : sentinels_) ports.push_back(said(*sentinel, "port"));
    return static_cast<std::uint16_t>(std::stoi(ports[0] == ports[1] ? ports[0] : ports[2]));
  }
  RedisServer& master() {
    const std::uint16_t port = master_port();  // It may be another one a moment later.
    for (const auto& server : servers_) {
      if (server->port() == port) return *server;
    }
    throw std::runtime_error{"the sentinels name another master"};
  }

 private:
  std::size_t replicas() const {
    redis::Client client{redis::parse_url(servers_[0]->url())};
    const redis::Reply role = client.exec(redis::Command{"ROLE"});
    return role.items.size() == 3 ? role.items[2].items.size() : 0;
  }
  static std::string said(const RedisServer& sentinel, const std::string& name) {
    redis::Client client{redis::parse_url(sentinel.url())};
    const redis::Reply reply = client.exec(redis::Command{"SENTINEL"}.add("MASTER").add("mymaster"));
    for (std::size_t i = 0; i + 1 < reply.items.size(); i += 2) {
      if (reply.items[i].text == name) return reply.items[i + 1].text;
    }
    return {};
  }

  std::vector<std::unique_ptr<RedisServer>> servers_;
  std::vector<std::unique_ptr<RedisServer>> sentinels_;
};

}  // namespace tidemill::testing
