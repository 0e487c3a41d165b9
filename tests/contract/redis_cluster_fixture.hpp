#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <tidemill/store.hpp>

#include "drivers/redis/client.hpp"
#include "redis_cluster.hpp"
#include "stores/redis/keys.hpp"

namespace tidemill::tests {

/// One cluster for all tests: each waits until it is whole, and empties it first.
class RedisClusterStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_REDIS();
    for (std::size_t i = 0; i < 6; ++i) {
      ASSERT_TRUE(testing::eventually([&] {
        const std::string info = cluster().exec(i, redis::Command{"CLUSTER"}.add("INFO")).text;
        return info.find("cluster_state:ok") != info.npos && info.find("cluster_slots_ok:16384") != info.npos;
      }));
    }
    client_.emplace(redis::parse_url(cluster().url()));
    client_->exec_everywhere(redis::Command{"FLUSHALL"},
                             std::chrono::steady_clock::now() + std::chrono::seconds{30});
    store_ = open(cluster().url());
  }

  static testing::RedisCluster& cluster() {
    static testing::RedisCluster cluster;
    return cluster;
  }
  /// Of a third of the slots.
  static testing::RedisServer& master(std::size_t third) {
    const bool first = cluster().exec(third, redis::Command{"ROLE"}).items.at(0).text == "master";
    return cluster().node(first ? third : third + 3);
  }
  static std::size_t node_of(std::string_view key) { return cluster().master_of(redis::slot_of(key)); }
  /// A queue on the node.
  static std::string queue_on(std::size_t node, std::string_view prefix = "q") {
    for (int i = 0;; ++i) {
      std::string queue = fmt::format("{}{}", prefix, i);
      if (node_of(redis_store::pending_key(queue)) == node) return queue;
    }
  }
  /// One that is not on the schedules' node.
  static std::string queue_elsewhere() {
    return queue_on((node_of(redis_store::shared_key("schedules")) + 1) % 3);
  }

  Call call(std::uint64_t session = 1) {
    return {.now = store_->now(), .session = session, .number = ++calls_, .deadline = {}};
  }
  static Task task(std::string id, std::string queue) {
    Task task;
    task.ref = {std::move(queue), std::move(id)};
    task.kind = "kind";
    return task;
  }
  redis::Reply ask(std::string_view name, std::string_view key, const std::vector<std::string>& more = {}) {
    redis::Command command{name, key};
    for (const std::string& argument : more) command.add(argument);
    return client_->exec(command);
  }

  std::optional<redis::Client> client_;
  std::unique_ptr<Store> store_;
  std::uint64_t calls_ = 0;
};

}  // namespace tidemill::tests
