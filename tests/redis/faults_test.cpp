// What a network and a busy server do to calls.
#include <chrono>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "client_fixture.hpp"
#include "proxy.hpp"

namespace tidemill::redis::tests {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class RedisFaults : public RedisClient {
 protected:
  void start() override {
    RedisClient::start();
    proxy.emplace(server->port());
    client.emplace(parse_url(proxy->url()));
  }

  std::optional<Proxy> proxy;
  std::optional<Client> client;
};

TEST_F(RedisFaults, ACutBetweenWriteAndReplyLosesTheReply) {
  ASSERT_EQ(ask(*client, Command{"PING"}), "+PONG");
  proxy->harm("INCR", 0);
  EXPECT_THAT(ask(*client, Command{"INCR", "n"}), AllOf(StartsWith("?lost"), HasSubstr("closed")));
  EXPECT_TRUE(proxy->harmed());
  EXPECT_EQ(ask(*client, Command{"GET", "n"}), "\"1\"");
}

TEST_F(RedisFaults, OnlyWhatMayBeRepeatedIsSentAgain) {
  ASSERT_EQ(ask(*client, Command{"PING"}), "+PONG");
  proxy->harm("INCR", 3);
  const std::vector<Command> commands{Command{"SET", "a"}.add("x").repeatable(), Command{"INCR", "n"},
                                      Command{"GET", "a"}.reads(), Command{"APPEND", "a"}.add("y")};
  const std::string replies = all_shown(client->exec(commands, soon()));
  EXPECT_THAT(replies, AllOf(StartsWith("+OK|?lost"), HasSubstr("|\"x\"|?lost")));
  EXPECT_EQ(ask(*client, Command{"GET", "n"}), "\"1\"");
}

TEST_F(RedisFaults, WhatWasAnsweredBeforeTheCutStands) {
  ASSERT_EQ(ask(*client, Command{"PING"}), "+PONG");
  proxy->harm("INCR", 7);
  const std::vector<Command> commands{Command{"SET", "a"}.add("x"), Command{"INCR", "n"}};
  EXPECT_THAT(all_shown(client->exec(commands, soon())), StartsWith("+OK|?lost"));
}

TEST_F(RedisFaults, AStallEndsAtTheDeadline) {
  ASSERT_EQ(ask(*client, Command{"SET", "a"}.add("0123456789")), "+OK");
  for (const std::size_t bytes : {0U, 1U, 7U}) {
    proxy->harm("GET", bytes, true);
    EXPECT_THAT(ask(*client, Command{"GET", "a"}, shortly()),
                AllOf(StartsWith("?lost"), HasSubstr("in time")));
    EXPECT_EQ(ask(*client, Command{"GET", "a"}), "\"0123456789\"");
  }
}

TEST_F(RedisFaults, AServerThatAnswersNothingEndsAtTheDeadline) {
  ASSERT_EQ(ask(*client, Command{"PING"}), "+PONG");
  server->freeze();
  EXPECT_THAT(ask(*client, Command{"INCR", "n"}, shortly()), StartsWith("?lost"));
  EXPECT_THAT(ask(*client, Command{"INCR", "n"}, shortly()), StartsWith("!unsent"));
  // More than the buffers on the way take.
  EXPECT_THAT(ask(*client, Command{"SET", "n"}.add(std::string(64U << 20U, 'x')), shortly()),
              StartsWith("!unsent"));
  server->thaw();
  EXPECT_EQ(ask(*client, Command{"INCR", "m"}), "1");
}

TEST_F(RedisFaults, ACommandThatIsNotWrittenAsAWholeIsUnsent) {
  ASSERT_EQ(ask(*client, Command{"PING"}), "+PONG");
  server->freeze();
  const std::vector<Command> commands{Command{"INCR", "n"},
                                      Command{"SET", "m"}.add(std::string(64U << 20U, 'x'))};
  EXPECT_THAT(all_shown(client->exec(commands, shortly())),
              AllOf(StartsWith("?lost"), HasSubstr("|!unsent")));
  server->thaw();
  EXPECT_EQ(ask(*client, Command{"EXISTS", "m"}), "0");
}

TEST_F(RedisFaults, IsNoHotLoopWhileTheServerIsAway) {
  const auto begin = std::chrono::steady_clock::now();
  proxy->harm_always("HELLO", 0);
  EXPECT_THAT(ask(*client, Command{"PING"}.reads(), shortly()), StartsWith("!unsent"));
  for (int i = 0; i < 100; ++i)
    EXPECT_THAT(
        ask(*client, Command{"PING"}, std::chrono::steady_clock::now() + std::chrono::milliseconds{1}),
        StartsWith("!unsent"));
  // At least 5, 10, 20 … 320, 500, 500 ms lie between them.
  const auto half_seconds = (std::chrono::steady_clock::now() - begin) / std::chrono::milliseconds{500};
  EXPECT_LE(proxy->connections(), 9 + half_seconds);
  proxy->heal();
  EXPECT_EQ(ask(*client, Command{"PING"}), "+PONG");
}

TEST_F(RedisFaults, ACutDuringTheLoginIsTriedAgain) {
  proxy->harm("SELECT", 0);
  Client other{parse_url(proxy->url() + "/1")};
  EXPECT_EQ(ask(other, Command{"INCR", "n"}), "1");
  EXPECT_TRUE(proxy->harmed());
}

TEST_F(RedisFaults, ARefusalThatEndsByItselfIsTriedAgain) {
  Client admin{parse_url(server->url())};
  ASSERT_EQ(ask(admin, Command{"CONFIG"}.add("SET").add("min-replicas-to-write").add(1)), "+OK");
  EXPECT_THAT(ask(*client, Command{"INCR", "n"}, shortly()), StartsWith("-NOREPLICAS"));
  std::string reply;
  std::jthread call{[&] { reply = ask(*client, Command{"INCR", "n"}); }};
  const auto refused = [&] {
    return ask(admin, Command{"INFO"}.add("errorstats")).find("errorstat_NOREPLICAS:count=1\r") ==
           std::string::npos;
  };
  ASSERT_TRUE(testing::eventually(refused));
  ASSERT_EQ(ask(admin, Command{"CONFIG"}.add("SET").add("min-replicas-to-write").add(0)), "+OK");
  call.join();
  EXPECT_EQ(reply, "1");
}

// Why: Redis 6.2 says in many words what a script's command was refused with. How: a script that says so
// once.
TEST_F(RedisFaults, ARefusalInsideAScriptIsTriedAgain) {
  const Script script{
      "if redis.call('INCR', KEYS[1]) == 1 then",
      "  return redis.error_reply('ERR Error running script (call to f_0): @user_script:1: ' ..",
      "    '@user_script: 1: -NOREPLICAS Not enough good replicas to write.')", "end return 'done'"};
  EXPECT_EQ(ask(*client, Command{script, "n"}), "\"done\"");
  EXPECT_EQ(ask(*client, Command{"GET", "n"}.reads()), "\"2\"");
}

TEST_F(RedisFaults, AServerThatLoadsItsDataIsWaitedFor) {
  // Half a second to load, in which it answers.
  const testing::RedisServer::Lines slowly{"key-load-delay 10000",
                                           "loading-process-events-interval-bytes 1024"};
  testing::RedisServer loads{slowly};
  Client own{parse_url(loads.url())};
  for (int i = 0; i < 50; ++i) ask(own, Command{"SET", fmt::format("k{}", i)}.add(std::string(1024, 'x')));
  ASSERT_EQ(ask(own, Command{"SAVE"}), "+OK");
  loads.stop();
  std::jthread start{[&] { loads.start(); }};
  EXPECT_EQ(ask(own, Command{"APPEND", "k7"}.add("y")), "1025");
  start.join();
  EXPECT_THAT(ask(own, Command{"INFO"}.add("errorstats")), HasSubstr("errorstat_LOADING"));
}

TEST_F(RedisFaults, AReplicaIsNoMaster) {
  Client admin{parse_url(server->url())};
  const testing::RedisServer master;
  ASSERT_EQ(ask(admin, Command{"REPLICAOF"}.add("127.0.0.1").add(master.port())), "+OK");
  EXPECT_THAT(ask(*client, Command{"INCR", "n"}, shortly()), StartsWith("-READONLY"));
  ASSERT_EQ(ask(admin, Command{"REPLICAOF"}.add("NO").add("ONE")), "+OK");
  EXPECT_EQ(ask(*client, Command{"INCR", "n"}), "1");
}

TEST_F(RedisFaults, WaitsForReplicas) {
  Client safe{parse_url(server->url() + "?wait=1")};
  // On a busy machine the deadline may come before Redis looks at its clock, which also loses the answer.
  const auto refused = [&] { return ask(safe, Command{"SET", "n"}.add("1"), shortly()); };
  EXPECT_THAT(refused(), StartsWith("?lost"));
  EXPECT_TRUE(testing::eventually([&] { return refused().find("0 of 1 replicas") != std::string::npos; }));
  EXPECT_EQ(ask(safe, Command{"GET", "n"}.reads(), shortly()), "\"1\"");
  const testing::RedisServer replica{{fmt::format("replicaof 127.0.0.1 {}", server->port())}};
  const std::vector<Command> commands{Command{"INCR", "n"}, Command{"GET", "n"}.reads(),
                                      Command{"LPUSH", "n"}};
  EXPECT_THAT(all_shown(safe.exec(commands, soon())), StartsWith("2|\"2\"|-ERR"));
}

}  // namespace tidemill::redis::tests
