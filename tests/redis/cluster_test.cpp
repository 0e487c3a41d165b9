#include <algorithm>
#include <cstddef>
#include <set>
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
using ::testing::EndsWith;
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

  /// The next message; a listener may return for nothing.
  static std::string heard(Listener& listener) {
    std::optional<Reply> message;
    testing::eventually([&] {
      message = listener.receive(shortly());
      return message.has_value();
    });
    return message ? shown_reply(*message) : "none";
  }

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

TEST_F(RedisClusterTest, AListenerHearsOfEachKeysNode) {
  Listener listener{*client, {Command{"CLIENT"}.add("TRACKING").add("ON"), Command{"SUBSCRIBE"}.add("c")}};
  const std::vector<std::string> keys{"a", "b", "c", "d"};
  std::vector<Command> looks;
  std::set<std::size_t> nodes;
  for (const std::string& key : keys) {
    looks.push_back(Command{"GET", key}.reads());
    nodes.insert(cluster().master_of(slot_of(key)));
  }
  ASSERT_EQ(nodes.size(), 3U);
  // A node that is looked for while others are there may be found a moment later.
  ASSERT_TRUE(testing::eventually(
      [&] { return all_shown(listener.exec(looks, soon())).find("unsent") == std::string::npos; }));
  for (const std::string& key : keys) {
    EXPECT_NE(listener.generation(key), 0U);
    EXPECT_EQ(ask(*client, Command{"SET", key}.add("v")), "+OK");
    EXPECT_EQ(heard(listener), fmt::format("[\"invalidate\",[\"{}\"]]", key));
  }
  // Each node tells the channel's messages to those who listen there.
  client->exec(Command{"PUBLISH"}.add("c").add("text"));
  for (std::size_t i = 0; i < nodes.size(); ++i) EXPECT_EQ(heard(listener), "[\"message\",\"c\",\"text\"]");
}

TEST_F(RedisClusterTest, AListenerFollowsASlotThatHasMoved) {
  const Place place{"{heard}"};
  Listener listener{*client, {Command{"CLIENT"}.add("TRACKING").add("ON")}};
  const std::vector<Command> look{Command{"GET", "{heard}k"}.reads()};
  EXPECT_EQ(all_shown(listener.exec(look, soon())), "nil|");
  const auto before = listener.generation("{heard}k");
  cluster().start_moving(place.slot, place.from, place.to);
  cluster().finish_moving(place.slot, place.from, place.to);
  ASSERT_TRUE(testing::eventually([&] { return all_shown(listener.exec(look, soon())) == "nil|"; }));
  EXPECT_NE(listener.generation("{heard}k"), before);
  EXPECT_EQ(ask(*client, Command{"SET", "{heard}k"}.add("v")), "+OK");
  EXPECT_EQ(heard(listener), "[\"invalidate\",[\"{heard}k\"]]");
  EXPECT_EQ(ask(*client, Command{"DEL", "{heard}k"}), "1");
  cluster().start_moving(place.slot, place.to, place.from);
  cluster().finish_moving(place.slot, place.to, place.from);
}

TEST_F(RedisClusterTest, FollowsTheFailoverOfAMaster) {
  const std::size_t node = cluster().master_of(slot_of("failing"));
  Listener listener{*client};
  const std::vector<Command> look{Command{"GET", "failing"}.reads()};
  EXPECT_EQ(all_shown(listener.exec(look, soon())), "nil|");
  ASSERT_EQ(ask(*client, Command{"SET", "failing"}.add("0")), "+OK");
  cluster().node(node).stop();
  for (int i = 1; i <= 20; ++i) {
    const std::vector<Command> commands{Command{"SET", "failing"}.add(i).repeatable(),
                                        Command{"SET", fmt::format("well {}", i)}.add(i).repeatable()};
    EXPECT_EQ(all_shown(client->exec(commands, soon())), "+OK|+OK|");
  }
  EXPECT_EQ(ask(*client, Command{"GET", "failing"}.reads()), "\"20\"");
  EXPECT_FALSE(listener.receive(soon()));
  EXPECT_EQ(listener.generation("failing"), 0U);
  EXPECT_EQ(all_shown(listener.exec(look, soon())), "\"20\"|");
  EXPECT_EQ(client->exec_everywhere(Command{"PING"}, soon()).size(), 3U);
  cluster().node(node).start();
  EXPECT_EQ(ask(*other, Command{"GET", "failing"}.reads()), "\"20\"");
}

// Why: one node that doesn't answer must not keep from us what others say. How: freeze one, lose its
// connection, and listen on.
TEST_F(RedisClusterTest, AListenerHearsOthersWhileANodeIsSilent) {
  Client patient{parse_url(cluster().url() + "?connect_timeout=30s")};
  // After a failover a master's replica is the master.
  const auto node_of = [](const std::string& key) {
    const std::size_t first = cluster().master_of(slot_of(key));
    const bool master = cluster().exec(first, Command{"ROLE"}).items.at(0).text == "master";
    return master ? first : first + 3;
  };
  const std::string silent = "silent", talking = "talking";
  const std::size_t node = node_of(silent);
  ASSERT_NE(node_of(talking), node);
  Listener listener{patient, {Command{"CLIENT"}.add("TRACKING").add("ON")}};
  const std::vector<Command> first{Command{"GET", talking}.reads()};
  EXPECT_EQ(all_shown(listener.exec(first, soon())), "nil|");
  cluster().node(node).freeze();
  // It takes the connection and doesn't answer, so this is looked for until long after the test.
  const std::vector<Command> looks{Command{"GET", silent}.reads(), Command{"GET", talking}.reads()};
  EXPECT_THAT(all_shown(listener.exec(looks, soon())), AllOf(StartsWith("!unsent"), EndsWith("|nil|")));
  EXPECT_EQ(ask(*other, Command{"SET", talking}.add("v")), "+OK");
  EXPECT_EQ(heard(listener), fmt::format("[\"invalidate\",[\"{}\"]]", talking));
  cluster().node(node).thaw();
  ASSERT_TRUE(testing::eventually([&] {
    return all_shown(listener.exec(std::vector<Command>{Command{"GET", silent}.reads()}, soon())) == "nil|";
  }));
}

}  // namespace tidemill::redis::tests
