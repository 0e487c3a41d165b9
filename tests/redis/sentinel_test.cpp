#include <csignal>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "client_fixture.hpp"
#include "redis_sentinels.hpp"

namespace tidemill::redis::tests {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class RedisSentinel : public RedisClient {
 protected:
  void start() override {}
};

TEST_F(RedisSentinel, AFailoverLosesNothingThatWasAnswered) {
  testing::RedisSentinels all;
  Client client{parse_url(all.url() + "?wait=1")};
  std::set<std::string> answered;
  int next = 0;
  const auto write = [&] {
    const std::string member = std::to_string(next++);
    const Command command = Command{"SADD", "set"}.add(member);
    if (client.exec({&command, 1}, soon()).at(0).ok()) answered.insert(member);
  };
  for (int i = 0; i < 100; ++i) write();
  EXPECT_EQ(answered.size(), 100U);
  const std::uint16_t first = all.master_port();
  testing::RedisServer& old = all.master();
  old.stop(SIGKILL);
  const std::size_t before = answered.size();
  ASSERT_TRUE(testing::eventually([&] {
    write();
    return answered.size() >= before + 100;
  }));
  EXPECT_NE(all.master_port(), first);
  // The old master comes back, takes itself for one, and is made a replica.
  old.start();
  Client direct{parse_url(old.url())};
  ASSERT_TRUE(testing::eventually([&] {
    write();
    return ask(direct, Command{"ROLE"}).starts_with("[\"slave\"");
  }));
  const Reply members = client.exec(Command{"SMEMBERS", "set"}.reads());
  std::set<std::string> there;
  for (const Reply& item : members.items) there.insert(item.text);
  for (const std::string& member : answered) EXPECT_TRUE(there.contains(member)) << member;
}

TEST_F(RedisSentinel, FollowsAnOrderedFailoverWithoutLoss) {
  testing::RedisSentinels all;
  Client client{parse_url(all.url())};
  Client sentinel{parse_url(all.sentinel(1).url())};
  const std::uint16_t first = all.master_port();
  ASSERT_EQ(ask(client, Command{"SET", "k"}.add("0")), "+OK");
  ASSERT_EQ(ask(sentinel, Command{"SENTINEL"}.add("FAILOVER").add("mymaster")), "+OK");
  ASSERT_TRUE(testing::eventually([&] {
    EXPECT_EQ(ask(client, Command{"SET", "k"}.add("1").repeatable()), "+OK");
    return all.master_port() != first;
  }));
  ASSERT_TRUE(testing::eventually([&] {
    const Command role{"ROLE"};
    const bool repeatable = ask(client, role).starts_with("[\"master\"");
    return repeatable && ask(client, Command{"CONFIG"}.add("GET").add("port")) ==
                             fmt::format("[\"port\",\"{}\"]", all.master_port());
  }));
  EXPECT_EQ(ask(client, Command{"SET", "k"}.add("2")), "+OK");
}

// Why: Sentinel turns a living master into a replica some ten seconds after it has named another; what it is
// given until then is lost. How: the sentinel names another, and the first goes on as if nothing were.
TEST_F(RedisSentinel, AMasterThatIsReplacedWhileItLivesIsLeft) {
  const testing::RedisServer first, second;
  const testing::RedisServer sentinel{{fmt::format("sentinel monitor mymaster 127.0.0.1 {} 1", first.port())},
                                      "redis-sentinel"};
  Client client{parse_url(fmt::format("redis+sentinel://127.0.0.1:{}/mymaster", sentinel.port()))};
  Listener listener{client, {Command{"CLIENT"}.add("TRACKING").add("ON")}};
  const Command port = Command{"CONFIG"}.add("GET").add("port");
  const auto answer = [](const testing::RedisServer& of) {
    return fmt::format("[\"port\",\"{}\"]", of.port());
  };
  const auto told = [&] { return all_shown(listener.exec({&port, 1}, soon())); };
  EXPECT_EQ(ask(client, port), answer(first));
  EXPECT_EQ(told(), answer(first) + "|");
  Client direct{parse_url(sentinel.url())};
  ASSERT_EQ(ask(direct, Command{"SENTINEL"}.add("REMOVE").add("mymaster")), "+OK");
  ASSERT_EQ(
      ask(direct,
          Command{"SENTINEL"}.add("MONITOR").add("mymaster").add("127.0.0.1").add(second.port()).add(1)),
      "+OK");
  EXPECT_TRUE(testing::eventually([&] { return ask(client, port) == answer(second); }));
  EXPECT_TRUE(testing::eventually([&] { return told() == answer(second) + "|"; }));
}

// Why: what a replaced master answers in its last moments is lost, and who heard it would count it. How: the
// replica becomes a master, and the sentinel learns of it later.
TEST_F(RedisSentinel, WhatIsToBeReplicatedCountsOnTheNewMaster) {
  const testing::RedisServer first;
  const testing::RedisServer second{{fmt::format("replicaof 127.0.0.1 {}", first.port())}};
  const testing::RedisServer sentinel{{fmt::format("sentinel monitor mymaster 127.0.0.1 {} 1", first.port())},
                                      "redis-sentinel"};
  Client client{parse_url(fmt::format("redis+sentinel://127.0.0.1:{}/mymaster", sentinel.port()))};
  const Command write = std::move(Command{"SADD", "set"}.add("a").replicated().repeatable());
  EXPECT_EQ(ask(client, write), "1") << "its replica has it";
  const Command promote = Command{"REPLICAOF"}.add("NO").add("ONE");
  Client direct{parse_url(second.url())}, watcher{parse_url(sentinel.url())};
  ASSERT_EQ(ask(direct, promote), "+OK");
  const Command late = std::move(Command{"SADD", "set"}.add("b").replicated().repeatable());
  EXPECT_THAT(ask(client, late, shortly()), StartsWith("?lost"));
  EXPECT_EQ(ask(client, Command{"SADD", "set"}.add("c")), "1") << "nothing else waits";
  ASSERT_EQ(ask(watcher, Command{"SENTINEL"}.add("REMOVE").add("mymaster")), "+OK");
  const Command monitor =
      Command{"SENTINEL"}.add("MONITOR").add("mymaster").add("127.0.0.1").add(second.port()).add(1);
  ASSERT_EQ(ask(watcher, monitor), "+OK");
  // This one has no replica, so it is sent again until it has gone without one for a while.
  EXPECT_EQ(ask(client, late), "0");
  EXPECT_EQ(ask(direct, Command{"SISMEMBER", "set"}.add("b")), "1");
}

// Why: a replica that is away must not stop the queue; but a master that most sentinels don't vouch for may
// have been replaced. How: kill the replica, then two sentinels of three.
TEST_F(RedisSentinel, AMasterThatHasLostItsReplicasIsEnough) {
  testing::RedisSentinels all{{}, 1};
  Client client{parse_url(all.url() + "?connect_timeout=500ms")};
  const Command write = std::move(Command{"SADD", "set"}.add("a").replicated().repeatable());
  EXPECT_EQ(ask(client, write), "1");
  all.server(1).stop();
  EXPECT_THAT(ask(client, write, shortly()), StartsWith("?lost"));
  EXPECT_EQ(ask(client, write), "0");
  EXPECT_EQ(ask(client, write), "0");
  all.sentinel(0).stop();
  EXPECT_EQ(ask(client, write), "0");
  all.sentinel(1).stop();
  EXPECT_THAT(ask(client, write, shortly()), StartsWith("?lost"));
}

TEST_F(RedisSentinel, AsksTheOthersWhenOneIsAway) {
  testing::RedisSentinels all;
  all.sentinel(0).stop();
  all.sentinel(1).freeze();
  Client client{parse_url(all.url() + "?connect_timeout=500ms")};
  EXPECT_EQ(ask(client, Command{"SET", "k"}.add("v")), "+OK");
  all.sentinel(2).stop();
  // The master is still there, so a connection that is lost can be made again.
  ask(client, Command{"CLIENT"}.add("KILL").add("TYPE").add("normal").add("SKIPME").add("no"), shortly());
  EXPECT_EQ(ask(client, Command{"GET", "k"}.reads()), "\"v\"");
  Client late{parse_url(all.url() + "?connect_timeout=100ms")};
  EXPECT_THAT(ask(late, Command{"GET", "k"}.reads(), shortly()),
              AllOf(StartsWith("!unsent"), HasSubstr(std::to_string(all.sentinel(0).port()))));
}

TEST_F(RedisSentinel, SaysWhatIsWrong) {
  const testing::RedisServer sentinel{{"requirepass secret"}, "redis-sentinel"};
  const std::string place = fmt::format("127.0.0.1:{}", sentinel.port());
  Client nameless{parse_url(fmt::format("redis+sentinel://{}/other?sentinel_password=secret", place))};
  EXPECT_THAT(ask(nameless, Command{"PING"}, shortly()),
              AllOf(StartsWith("!unsent"), HasSubstr("no master \"other\"")));
  Client locked{parse_url(fmt::format("redis+sentinel://{}/other", place))};
  EXPECT_THAT(ask(locked, Command{"PING"}, Deadline::max()), AllOf(StartsWith("-"), HasSubstr("NOAUTH")));
}

TEST_F(RedisSentinel, AReplicaThatASentinelTakesForAMasterIsNotBelieved) {
  const testing::RedisServer master;
  testing::RedisServer replica{{fmt::format("replicaof 127.0.0.1 {}", master.port())}};
  const testing::RedisServer sentinel{
      {fmt::format("sentinel monitor mymaster 127.0.0.1 {} 1", replica.port()),
       "sentinel down-after-milliseconds mymaster 3600000"},
      "redis-sentinel"};
  Client client{parse_url(fmt::format("redis+sentinel://127.0.0.1:{}/mymaster", sentinel.port()))};
  EXPECT_THAT(ask(client, Command{"GET", "k"}.reads(), shortly()),
              AllOf(StartsWith("!unsent"), HasSubstr("not a master")));
}

}  // namespace tidemill::redis::tests
