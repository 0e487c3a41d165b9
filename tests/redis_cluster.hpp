#pragma once

#include <chrono>
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

/// Three masters, 0 to 2, with a third of the slots each, and a replica of each: 3 to 5. A master that is
/// gone for two seconds is replaced by its replica.
class RedisCluster {
 public:
  static constexpr std::chrono::milliseconds node_timeout{2000};

  /// Waits until all nodes agree.
  explicit RedisCluster(const RedisServer::Lines& lines = {}) {
    RedisServer::Lines all = lines;
    all.insert(all.end(), {"cluster-enabled yes", "cluster-config-file nodes.conf",
                           fmt::format("cluster-node-timeout {}", node_timeout.count()),
                           "cluster-replica-validity-factor 0"});
    for (int i = 0; i < 6; ++i) nodes_.push_back(std::make_unique<RedisServer>(all));
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      tell(i, {"SET-CONFIG-EPOCH", std::to_string(i + 1)});
      if (i > 0) tell(i, {"MEET", "127.0.0.1", std::to_string(nodes_[0]->port())});
    }
    for (std::size_t i = 0; i < 3; ++i)
      tell(i, {"ADDSLOTSRANGE", std::to_string(i * slots / 3), std::to_string((i + 1) * slots / 3 - 1)});
    wait_until([this](std::size_t i) {
      return ask(i, {"INFO"}).text.find("cluster_known_nodes:6") != std::string::npos;
    });
    for (std::size_t i = 3; i < 6; ++i) {
      const auto known = [&] { return ask(i, {"REPLICATE", id(i - 3)}).ok(); };
      if (!eventually(known)) throw std::runtime_error{"a replica doesn't find its master"};
    }
    wait_until([this](std::size_t i) {
      const redis::Reply ranges = ask(i, {"SLOTS"});
      bool agrees = ranges.items.size() == 3;
      for (const redis::Reply& range : ranges.items) agrees = agrees && range.items.size() == 4;
      return agrees && ask(i, {"INFO"}).text.find("cluster_state:ok") != std::string::npos;
    });
    for (std::size_t i = 3; i < 6; ++i) {
      const auto linked = [&] {
        return exec(i, redis::Command{"INFO"}.add("replication")).text.find("master_link_status:up") !=
               std::string::npos;
      };
      if (!eventually(linked)) throw std::runtime_error{"a replica doesn't reach its master"};
    }
  }

  std::string url() const {
    return fmt::format("redis+cluster://127.0.0.1:{},127.0.0.1:{}", nodes_[0]->port(), nodes_[1]->port());
  }
  RedisServer& node(std::size_t i) { return *nodes_[i]; }
  std::string id(std::size_t i) { return ask(i, {"MYID"}).text; }
  std::size_t master_of(std::uint16_t slot) const { return slot * std::size_t{3} / slots; }

  /// On the node itself.
  redis::Reply exec(std::size_t i, const redis::Command& command) const {
    redis::Client client{redis::parse_url(nodes_[i]->url())};
    return client.exec(command);
  }

  /// From now on the slot's keys may be on either.
  void start_moving(std::uint16_t slot, std::size_t from, std::size_t to) {
    tell(to, {"SETSLOT", std::to_string(slot), "IMPORTING", id(from)});
    tell(from, {"SETSLOT", std::to_string(slot), "MIGRATING", id(to)});
  }
  void move_key(const std::string& key, std::size_t from, std::size_t to) {
    const redis::Reply reply = exec(
        from, redis::Command{"MIGRATE"}.add("127.0.0.1").add(nodes_[to]->port()).add(key).add(0).add(5000));
    if (reply.text != "OK") throw std::runtime_error{"MIGRATE: " + reply.text};
  }
  void finish_moving(std::uint16_t slot, std::size_t from, std::size_t to) {
    const std::string owner = id(to);
    for (const std::size_t i : {to, from}) tell(i, {"SETSLOT", std::to_string(slot), "NODE", owner});
  }

 private:
  static constexpr std::size_t slots = 16384;

  redis::Reply ask(std::size_t i, const std::vector<std::string>& words) const {
    redis::Command command{"CLUSTER"};
    for (const std::string& word : words) command.add(word);
    return exec(i, command);
  }
  void tell(std::size_t i, const std::vector<std::string>& words) const {
    const redis::Reply reply = ask(i, words);
    if (reply.text != "OK") throw std::runtime_error{fmt::format("CLUSTER {}: {}", words[0], reply.text)};
  }
  template <class Condition>
  void wait_until(const Condition& condition) const {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      if (!eventually([&] { return condition(i); }))
        throw std::runtime_error{"the cluster doesn't come together"};
    }
  }

  std::vector<std::unique_ptr<RedisServer>> nodes_;
};

}  // namespace tidemill::testing
