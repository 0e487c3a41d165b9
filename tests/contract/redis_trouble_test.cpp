// A whole worker on a Redis that stalls, forgets its scripts, or is started again: no task is lost, none runs
// twice, and nobody hammers at the door meanwhile.
#include <gtest/gtest.h>

#include <charconv>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include <fmt/format.h>

#include <tidemill/client.hpp>
#include <tidemill/error.hpp>
#include <tidemill/router.hpp>
#include <tidemill/worker.hpp>

#include "drivers/redis/client.hpp"
#include "redis_server.hpp"

namespace tidemill {

namespace {

using namespace std::chrono_literals;
using testing::eventually;
using testing::RedisServer;

class RedisTrouble : public ::testing::Test {
 protected:
  static constexpr int tasks = 300;

  void SetUp() override {
    TIDEMILL_NEEDS_REDIS();
    server_.emplace(RedisServer::Lines{"appendonly yes", "appendfsync always"});
    redis_.emplace(redis::Options{.addresses = {server_->address()}});
    store_ = open(server_->url());
    router_.handle("a", [this](Context& context) {
      const std::lock_guard lock{mutex_};
      ++runs_[context.task().ref.id];
      return Outcome::success();
    });
  }

  void start_worker() {
    WorkerOptions options;
    options.concurrency = 4;
    options.beat = 100ms;
    options.poll = 50ms;
    options.log = Log::silent();
    worker_.emplace(*store_, router_, options);
    worker_->start();
  }
  /// Enqueues one task until the store has taken it: an id is taken once.
  void enqueue(Client& client, int i) {
    const bool taken = eventually([&] {
      try {
        return client.enqueue("a", "", {.id = std::to_string(i)}).put != Put::failed;
      } catch (const Error&) {
        return false;
      }
    });
    EXPECT_TRUE(taken) << i;
  }
  std::size_t done() {
    const std::lock_guard lock{mutex_};
    return runs_.size();
  }
  void expect_each_once() {
    EXPECT_TRUE(eventually([&] {
      return text({"GET", "asynq:{default}:processed"}) == std::to_string(tasks);
    })) << text({"GET", "asynq:{default}:processed"});
    EXPECT_EQ(text({"GET", "asynq:{default}:failed"}), "");
    const std::lock_guard lock{mutex_};
    EXPECT_EQ(runs_.size(), static_cast<std::size_t>(tasks));
    for (const auto& [id, count] : runs_) EXPECT_EQ(count, 1) << id;
  }

  std::string text(std::initializer_list<std::string_view> words) {
    redis::Command command{*words.begin()};
    for (auto word = words.begin() + 1; word != words.end(); ++word) command.add(*word);
    return redis_->exec(command.reads()).text;
  }
  /// A number of INFO.
  std::int64_t info(std::string_view name) {
    const std::string all = text({"INFO", "everything"});
    const std::size_t at = all.find(fmt::format("\n{}:", name));
    std::int64_t number = -1;
    if (at != all.npos) std::from_chars(all.data() + at + name.size() + 2, all.data() + all.size(), number);
    return number;
  }

  std::optional<RedisServer> server_;
  std::optional<redis::Client> redis_;
  std::unique_ptr<Store> store_;
  std::mutex mutex_;
  std::map<std::string, int> runs_;  // Guarded by mutex_.
  Router router_;
  std::optional<Worker> worker_;
};

// How: the server itself answers nobody for three seconds, in the midst of the work.
TEST_F(RedisTrouble, AStallOfThreeSecondsLosesNothing) {
  start_worker();
  Client client{*store_};
  for (int i = 0; i < tasks; ++i) {
    if (i == tasks / 2) text({"CLIENT", "PAUSE", "3000", "ALL"});
    enqueue(client, i);
  }
  expect_each_once();
  EXPECT_LT(info("total_connections_received"), 50) << "they wait, and don't come again and again";
}

TEST_F(RedisTrouble, FlushedScriptsAreLoadedWhileItWorks) {
  start_worker();
  Client client{*store_};
  for (int i = 0; i < tasks; ++i) {
    if (i % 10 == 0) text({"SCRIPT", "FLUSH"});
    enqueue(client, i);
  }
  expect_each_once();
}

// How: what was acknowledged is on the disk, so a server that is killed and started again has all of it.
// While it is away the worker asks again with pauses, which shows in how often it has connected.
TEST_F(RedisTrouble, ARestartLosesNothing) {
  start_worker();
  Client client{*store_};
  for (int i = 0; i < tasks; ++i) {
    if (i == tasks / 2) {
      ASSERT_TRUE(eventually([&] { return done() > 0; }));
      server_->restart(SIGKILL);
    }
    enqueue(client, i);
  }
  expect_each_once();
  EXPECT_LT(info("total_connections_received"), 50);
}

}  // namespace

}  // namespace tidemill
