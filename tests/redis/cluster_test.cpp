#include <cstddef>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

#include "client_fixture.hpp"
#include "redis_cluster.hpp"

namespace tidemill::redis::tests {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

namespace {

const Script append{"return redis.call('APPEND', KEYS[1], ARGV[1])"};

}  // namespace

/// One cluster for all tests: each leaves it whole, and has keys of its own.
class RedisClusterTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!testing::redis_program("redis-server").empty()) cluster_ = std::make_unique<testing::RedisCluster>();
  }
  static void TearDownTestSuite() { cluster_.reset(); }
  void SetUp() override {
    TIDEMILL_NEEDS_REDIS();
    client.emplace(parse_url(cluster().url()));
    other.emplace(parse_url(cluster().url()));
  }

  static testing::RedisCluster& cluster() { return *cluster_; }
  /// The slot of such keys, its master, and another.
  struct Place {
    explicit Place(std::string_view key)
        : slot(slot_of(key)), from(cluster().master_of(slot)), to((from + 1) % 3) {}
    std::uint16_t slot;
    std::size_t from, to;
  };

  std::optional<Client> client, other;

 private:
  static std::unique_ptr<testing::RedisCluster> cluster_;
};

std::unique_ptr<testing::RedisCluster> RedisClusterTest::cluster_;

TEST_F(RedisClusterTest, SplitsACallByNodeAndKeepsTheOrder) {
  std::vector<Command> commands;
  std::string expected;
  for (int i = 0; i < 300; ++i) {
    commands.push_back(
        Command{append, fmt::format("key {}", i)}.add(std::string(static_cast<std::size_t>(i), 'x')));
    expected += fmt::format("{}|", i);
  }
  EXPECT_EQ(all_shown(client->exec(commands, soon())), expected);
  commands.clear();
  expected.clear();
  for (int i = 0; i < 300; ++i) {
    commands.push_back(Command{append, fmt::format("ordered {}", i % 30)}.add("y"));
    expected += fmt::format("{}|", i / 30 + 1);
  }
  EXPECT_EQ(all_shown(client->exec(commands, soon())), expected);
  const std::vector<Reply> sizes = client->exec_everywhere(Command{"DBSIZE"}, soon());
  ASSERT_EQ(sizes.size(), 3U);
  for (const Reply& size : sizes) EXPECT_GT(size.integer, 60);
  EXPECT_THAT(ask(*client, Command{"PING"}), "+PONG");
}

TEST_F(RedisClusterTest, FollowsASlotThatHasMoved) {
  const Place place{"{moved}"};
  ASSERT_EQ(ask(*client, Command{"SET", "{moved}k"}.add("v")), "+OK");
  cluster().start_moving(place.slot, place.from, place.to);
  cluster().move_key("{moved}k", place.from, place.to);
  cluster().finish_moving(place.slot, place.from, place.to);
  const std::vector<Command> commands{
      Command{"GET", "{moved}k"}.reads(), Command{append, "{moved}k"}.add("w"),
      Command{append, "elsewhere"}.add("x"), Command{append, "{moved}k"}.add("y")};
  EXPECT_EQ(all_shown(client->exec(commands, soon())), "\"v\"|2|1|3|");
  EXPECT_EQ(ask(*client, Command{"GET", "{moved}k"}.reads()), "\"vwy\"");
  cluster().start_moving(place.slot, place.to, place.from);
  cluster().move_key("{moved}k", place.to, place.from);
  cluster().finish_moving(place.slot, place.to, place.from);
  EXPECT_EQ(ask(*client, Command{"GET", "{moved}k"}.reads()), "\"vwy\"");
}

TEST_F(RedisClusterTest, FollowsKeysOfASlotThatIsMoving) {
  const Place place{"{moving}"};
  ASSERT_EQ(ask(*client, Command{"MSET", "{moving}a"}.add("1").add("{moving}b").add("2")), "+OK");
  cluster().start_moving(place.slot, place.from, place.to);
  cluster().move_key("{moving}a", place.from, place.to);
  const std::vector<Command> commands{
      Command{append, "{moving}a"}.add("x"), Command{append, "{moving}b"}.add("y"),
      Command{append, "{moving}new"}.add("z"), Command{"GET", "{moving}a"}.reads()};
  EXPECT_EQ(all_shown(client->exec(commands, soon())), "2|2|1|\"1x\"|");
  // Keys on both sides: nobody can answer until the move is over.
  const Command both = Command{"MGET", "{moving}a"}.add("{moving}b").reads();
  EXPECT_THAT(ask(*client, both, shortly()), StartsWith("-TRYAGAIN"));
  std::string reply;
  std::jthread call{[&] { reply = ask(*other, both); }};
  cluster().move_key("{moving}b", place.from, place.to);
  call.join();
  EXPECT_EQ(reply, "[\"1x\",\"2y\"]");
  cluster().finish_moving(place.slot, place.from, place.to);
  EXPECT_EQ(ask(*client, both), "[\"1x\",\"2y\"]");
  EXPECT_EQ(ask(*client, Command{"GET", "{moving}new"}.reads()), "\"z\"");
  EXPECT_EQ(ask(*client, Command{"DEL", "{moving}a"}.add("{moving}b").add("{moving}new")), "3");
  cluster().start_moving(place.slot, place.to, place.from);
  cluster().finish_moving(place.slot, place.to, place.from);
}

TEST_F(RedisClusterTest, AScriptThatOneNodeForgot) {
  ASSERT_EQ(ask(*client, Command{append, "forgotten"}.add("x")), "1");
  for (const Reply& reply : client->exec_everywhere(Command{"SCRIPT"}.add("FLUSH"), soon()))
    EXPECT_TRUE(reply.ok());
  EXPECT_EQ(ask(*client, Command{append, "forgotten"}.add("x")), "2");
}

TEST_F(RedisClusterTest, AServerWithoutClusterIsSaidSo) {
  const testing::RedisServer single;
  Client wrong{parse_url(fmt::format("redis+cluster://127.0.0.1:{}", single.port()))};
  EXPECT_THAT(ask(wrong, Command{"GET", "k"}, Deadline::max()),
              AllOf(StartsWith("-"), HasSubstr("cluster support disabled")));
  EXPECT_THAT(all_shown(wrong.exec_everywhere(Command{"PING"}, Deadline::max())),
              HasSubstr("cluster support disabled"));
}

TEST_F(RedisClusterTest, AKeysListenerHearsOfItsNode) {
  for (const char* const key : {"a", "b", "c", "d"}) {
    Listener listener{*client, key};
    const std::vector<Command> commands{Command{"CLIENT"}.add("TRACKING").add("ON"),
                                        Command{"GET", key}.reads()};
    EXPECT_EQ(all_shown(listener.exec(commands, soon())), "+OK|nil|");
    EXPECT_EQ(ask(*client, Command{"SET", key}.add("v")), "+OK");
    const auto message = listener.receive(soon());
    ASSERT_TRUE(message);
    EXPECT_EQ(shown_reply(*message), fmt::format("[\"invalidate\",[\"{}\"]]", key));
  }
}

TEST_F(RedisClusterTest, FollowsTheFailoverOfAMaster) {
  const std::size_t node = cluster().master_of(slot_of("failing"));
  Listener listener{*client, "failing"};
  const std::vector<Command> ping{Command{"PING"}};
  EXPECT_EQ(all_shown(listener.exec(ping, soon())), "+PONG|");
  ASSERT_EQ(ask(*client, Command{"SET", "failing"}.add("0")), "+OK");
  cluster().node(node).stop();
  for (int i = 1; i <= 20; ++i) {
    const std::vector<Command> commands{Command{"SET", "failing"}.add(i).repeatable(),
                                        Command{"SET", fmt::format("well {}", i)}.add(i).repeatable()};
    EXPECT_EQ(all_shown(client->exec(commands, soon())), "+OK|+OK|");
  }
  EXPECT_EQ(ask(*client, Command{"GET", "failing"}.reads()), "\"20\"");
  EXPECT_FALSE(listener.receive(soon()));
  EXPECT_EQ(listener.generation(), 0U);
  EXPECT_EQ(all_shown(listener.exec(ping, soon())), "+PONG|");
  EXPECT_EQ(client->exec_everywhere(Command{"PING"}, soon()).size(), 3U);
  cluster().node(node).start();
  EXPECT_EQ(ask(*other, Command{"GET", "failing"}.reads()), "\"20\"");
}

}  // namespace tidemill::redis::tests
