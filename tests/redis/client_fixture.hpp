#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "drivers/redis/client.hpp"
#include "redis_server.hpp"
#include "shown.hpp"

namespace tidemill::redis::tests {

/// Long enough for all that goes well.
inline Deadline soon() { return std::chrono::steady_clock::now() + std::chrono::seconds{30}; }
/// For what can't go well.
inline Deadline shortly() { return std::chrono::steady_clock::now() + std::chrono::milliseconds{300}; }

inline std::string ask(Client& client, const Command& command, Deadline deadline = soon()) {
  return shown_reply(client.exec({&command, 1}, deadline).at(0));
}

inline std::string all_shown(const std::vector<Reply>& replies) {
  std::string out;
  for (const Reply& reply : replies) out += shown_reply(reply) + "|";
  return out;
}

class RedisClient : public ::testing::Test {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_REDIS();
    start();
  }
  virtual void start() { server.emplace(); }

  std::optional<testing::RedisServer> server;
};

}  // namespace tidemill::redis::tests
