#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include <fmt/format.h>
#include <boost/json.hpp>

#include "go_program.hpp"
#include "go_tools.hpp"
#include "raw_redis.hpp"
#include "redis_server.hpp"
#include "stores/redis/message.hpp"

namespace tidemill::testing {

/// A Redis of its own for each test, with Go's Asynq on one side of it.
class Interop : public ::testing::Test {
 protected:
  using Hash = std::map<std::string, std::string>;

  void SetUp() override {
    TIDEMILL_NEEDS_REDIS();
    TIDEMILL_NEEDS(asynq_peer());
    redis_.emplace();
    raw_.emplace(redis_->port());
  }

  RedisServer& redis() { return *redis_; }
  RawRedis& raw() { return *raw_; }

  static std::string key(std::string_view queue, std::string_view rest) {
    return fmt::format("asynq:{{{}}}:{}", queue, rest);
  }
  static std::string task_key(std::string_view queue, std::string_view id) {
    return key(queue, fmt::format("t:{}", id));
  }
  /// Throws when it is none, or not there.
  redis_store::TaskMessage message(std::string_view queue, std::string_view id) {
    return redis_store::decode_task(raw().text({"HGET", task_key(queue, id), "msg"})).value();
  }
  /// Empty: the task is gone.
  std::string state(std::string_view queue, std::string_view id) {
    return raw().exec({"HGET", task_key(queue, id), "state"}).text;
  }
  /// False when the time is up.
  bool becomes(std::string_view queue, std::string_view id, std::string_view wanted) {
    return eventually([&] { return state(queue, id) == wanted; });
  }

  /// Waits until a server hears that a task is to be cancelled: who is told before forgets it. False when the
  /// time is up.
  bool hears_cancels() {
    return eventually(
        [&] { return raw().exec({"PUBSUB", "NUMSUB", "asynq:cancel"}).items.at(1).integer > 0; });
  }

  static TimePoint now() { return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now()); }
  static std::int64_t seconds_of(TimePoint at) {
    return std::chrono::floor<std::chrono::seconds>(at.time_since_epoch()).count();
  }

 private:
  std::optional<RedisServer> redis_;
  std::optional<RawRedis> raw_;
};

}  // namespace tidemill::testing
