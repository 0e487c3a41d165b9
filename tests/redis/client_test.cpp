#include "drivers/redis/client.hpp"

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "client_fixture.hpp"
#include "drivers/redis/command.hpp"
#include "proxy.hpp"

namespace tidemill::redis::tests {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

namespace {

const Script count_up{"return redis.call('INCRBY', KEYS[1], ARGV[1])"};
const Script echo{"return {KEYS[1], ARGV}"};

}  // namespace

TEST(RedisCommand, KnowsTheSlotOfAKey) {
  // From the specification of the cluster, and CLUSTER KEYSLOT of a server.
  EXPECT_EQ(slot_of("123456789"), 12739);
  EXPECT_EQ(slot_of("foo"), 12182);
  EXPECT_EQ(slot_of("{user1000}.following"), slot_of("user1000"));
  EXPECT_EQ(slot_of("foo{{bar}}zap"), slot_of("{bar"));
  EXPECT_EQ(slot_of("foo{bar}{zap}"), slot_of("bar"));
  EXPECT_NE(slot_of("foo{}bar"), slot_of(""));
  EXPECT_EQ(slot_of(""), 0);
}

TEST(RedisCommand, KnowsAScriptByItsDigest) {
  EXPECT_EQ(Script{""}.digest(), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  EXPECT_EQ(Script{"return 1"}.digest(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
}

TEST_F(RedisClient, AnswersAPipelineInOrder) {
  Client client{parse_url(server->url())};
  const std::string bytes{"\0\r\n$", 4};
  const std::vector<Command> commands{
      Command{"SET", "a"}.add("1"),
      Command{"INCRBY", "a"}.add(-41),
      Command{"LPUSH", "a"}.add("x"),
      Command{"GET", "none"}.reads(),
      Command{"SET", "bytes"}.add(bytes),
      Command{"GET", "bytes"}.reads(),
      Command{"NONSENSE"},
  };
  EXPECT_THAT(
      all_shown(client.exec(commands, soon())),
      AllOf(StartsWith("+OK|-40|-WRONGTYPE"), HasSubstr("|nil|+OK|\"" + bytes + "\"|-ERR unknown command")));
  EXPECT_TRUE(client.exec(std::vector<Command>{}).empty());
  EXPECT_EQ(all_shown(client.exec_everywhere(Command{"DBSIZE"}, soon())), "2|");
}

TEST_F(RedisClient, GivesManyArgumentsToScripts) {
  Client client{parse_url(server->url())};
  std::vector<Command> commands;
  std::string expected;
  for (int i = 0; i < 20; ++i) {
    Command& command = commands.emplace_back(echo, "key");
    expected += "[\"key\",[";
    for (int j = 0; j < 300; ++j) {
      command.add(fmt::format("argument {} of {}", j, i));
      expected += fmt::format("{}\"argument {} of {}\"", j == 0 ? "" : ",", j, i);
    }
    expected += "]]|";
  }
  EXPECT_EQ(all_shown(client.exec(commands, soon())), expected);
}

TEST_F(RedisClient, SendsAScriptAgainThatTheServerHasForgotten) {
  Client client{parse_url(server->url())};
  EXPECT_EQ(ask(client, Command{count_up, "n"}.add(1)), "1");
  EXPECT_EQ(ask(client, Command{"SCRIPT"}.add("FLUSH")), "+OK");
  EXPECT_EQ(ask(client, Command{count_up, "n"}.add(1)), "2");
  const std::vector<Command> commands{Command{count_up, "n"}.add(1), Command{"SCRIPT"}.add("FLUSH"),
                                      Command{count_up, "n"}.add(1), Command{count_up, "n"}.add(1),
                                      Command{"NONSENSE"}};
  EXPECT_THAT(all_shown(client.exec(commands, soon())), StartsWith("3|+OK|4|5|-ERR"));
  EXPECT_EQ(ask(client, Command{"GET", "n"}), "\"5\"");
}

TEST_F(RedisClient, AScriptMaySayNoscriptItself) {
  static const Script says{"return redis.error_reply('NOSCRIPT by myself')"};
  Client client{parse_url(server->url())};
  EXPECT_EQ(ask(client, Command{says, "k"}), "-NOSCRIPT by myself");
  EXPECT_EQ(ask(client, Command{says, "k"}), "-NOSCRIPT by myself");
}

TEST_F(RedisClient, APipelineThatFillsAllBuffersComesThrough) {
  const Proxy proxy{server->port()};  // Redis itself would hold any number of answers.
  Client client{parse_url(proxy.url())};
  const std::string large(256U << 10U, 'x');
  ASSERT_EQ(ask(client, Command{"SET", "large"}.add(large)), "+OK");
  std::vector<Command> commands;
  for (int i = 0; i < 200; ++i) {
    commands.push_back(Command{"GET", "large"}.reads());
    commands.push_back(Command{"SETRANGE", "other"}.add(0).add(large));
  }
  const std::vector<Reply> replies = client.exec(commands, soon());
  for (std::size_t i = 0; i < replies.size(); i += 2) {
    ASSERT_TRUE(replies[i].text == large);
    ASSERT_EQ(replies[i + 1].integer, static_cast<std::int64_t>(large.size()));
  }
}

TEST_F(RedisClient, KeepsConnectionsAndClosesTheOnesTooMany) {
  Client client{parse_url(server->url())};
  std::atomic<int> together = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 20; ++i)
      threads.emplace_back([&] {
        ++together;
        ASSERT_TRUE(testing::eventually([&] { return together == 20; }));
        EXPECT_THAT(ask(client, Command{"BLPOP", "none"}.add("0.2")), "nil");
      });
  }
  Client other{parse_url(server->url())};
  const auto connected = [&] {
    const std::string list = other.exec(Command{"CLIENT"}.add("LIST")).text;
    int count = 0;
    for (std::size_t at = list.find("name=tidemill"); at != std::string::npos;
         at = list.find("name=tidemill", at + 1))
      ++count;
    return count - 1;
  };
  EXPECT_TRUE(testing::eventually([&] { return connected() == 8; })) << connected();
  for (int i = 0; i < 100; ++i) ask(client, Command{"PING"});
  EXPECT_EQ(connected(), 8);
}

TEST_F(RedisClient, HasADatabase) {
  Client first{parse_url(server->url() + "/1")}, other{parse_url(server->url() + "?database=2")};
  Client wrong{parse_url(server->url() + "/99")};
  EXPECT_EQ(ask(first, Command{"SET", "k"}.add("v")), "+OK");
  EXPECT_EQ(ask(other, Command{"GET", "k"}), "nil");
  EXPECT_EQ(ask(first, Command{"GET", "k"}), "\"v\"");
  EXPECT_THAT(ask(wrong, Command{"GET", "k"}), StartsWith("-ERR DB index"));
}

TEST_F(RedisClient, ACallAfterItsDeadlineIsUnsent) {
  Client client{parse_url(server->url())};
  EXPECT_THAT(ask(client, Command{"SET", "k"}.add("v"), std::chrono::steady_clock::now()),
              StartsWith("!unsent"));
  EXPECT_EQ(ask(client, Command{"GET", "k"}), "nil");
}

TEST_F(RedisClient, FollowsARestartedServer) {
  Client client{parse_url(server->url())};
  EXPECT_EQ(ask(client, Command{count_up, "n"}.add(1)), "1");
  server->restart();
  // What was sent to nobody is not lost.
  EXPECT_EQ(ask(client, Command{count_up, "n"}.add(1)), "1");
  server->stop();
  EXPECT_THAT(ask(client, Command{count_up, "n"}.add(1), shortly()),
              AllOf(StartsWith("!unsent"), HasSubstr("refused")));
  std::jthread later{[&] { server->start(); }};
  EXPECT_EQ(ask(client, Command{count_up, "n"}.add(1)), "1");
}

TEST_F(RedisClient, ACallDuringARestartIsLostUnlessItMayBeRepeated) {
  Client client{parse_url(server->url())};
  for (const bool repeatable : {false, true}) {
    Command blocks{"BLPOP", "list"};
    blocks.add(0);
    if (repeatable) blocks.repeatable();
    std::string reply;
    std::jthread call{[&] { reply = ask(client, blocks); }};
    Client other{parse_url(server->url())};
    const auto blocked = [&] {
      return other.exec(Command{"INFO"}.add("clients")).text.find("blocked_clients:1") != std::string::npos;
    };
    ASSERT_TRUE(testing::eventually(blocked));
    server->restart();
    ASSERT_EQ(ask(other, Command{"RPUSH", "list"}.add("x")), "1");
    call.join();
    EXPECT_THAT(reply, repeatable ? HasSubstr("[\"list\",\"x\"]") : HasSubstr("?lost: 127.0.0.1"));
    ask(other, Command{"DEL", "list"});
  }
}

TEST_F(RedisClient, ManyThreadsShareIt) {
  Client client{parse_url(server->url())};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&] {
        for (int j = 0; j < 200; ++j) {
          const std::vector<Command> commands{Command{count_up, "n"}.add(1), Command{"PING"}};
          ASSERT_EQ(client.exec(commands, soon()).size(), 2U);
        }
      });
  }
  EXPECT_EQ(ask(client, Command{"GET", "n"}), "\"1600\"");
}

}  // namespace tidemill::redis::tests
