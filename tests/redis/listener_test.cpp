#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client_fixture.hpp"
#include "proxy.hpp"

namespace tidemill::redis::tests {

using ::testing::StartsWith;

class RedisListener : public RedisClient {
 protected:
  void start() override {
    RedisClient::start();
    client.emplace(parse_url(server->url()));
  }
  static std::string exec(Listener& listener, const std::vector<Command>& commands) {
    return all_shown(listener.exec(commands, soon()));
  }
  static std::string next(Listener& listener) {
    const auto message = listener.receive(soon());
    return message ? shown_reply(*message) : "none";
  }
  static Command track() { return Command{"CLIENT"}.add("TRACKING").add("ON"); }

  std::optional<Client> client;
};

TEST_F(RedisListener, HearsOfTrackedKeys) {
  Listener listener{*client};
  EXPECT_EQ(listener.generation("k"), 0U);
  EXPECT_EQ(exec(listener, {track(), Command{"GET", "k"}.reads()}), "+OK|nil|");
  EXPECT_EQ(listener.generation("k"), 1U);
  EXPECT_EQ(ask(*client, Command{"SET", "untracked"}.add("v")), "+OK");
  EXPECT_EQ(ask(*client, Command{"SET", "k"}.add("v")), "+OK");
  EXPECT_EQ(next(listener), "[\"invalidate\",[\"k\"]]");
  EXPECT_FALSE(listener.receive(shortly()));
  EXPECT_EQ(exec(listener, {Command{"GET", "k"}.reads()}), "\"v\"|");
  EXPECT_EQ(ask(*client, Command{"FLUSHALL"}), "+OK");
  EXPECT_EQ(next(listener), "[\"invalidate\",nil]");
}

TEST_F(RedisListener, KeepsWhatComesBetweenAnswers) {
  Listener listener{*client};
  EXPECT_EQ(exec(listener, {track(), Command{"GET", "k"}.reads(), Command{"SET", "k"}.add("v"),
                            Command{"GET", "k"}.reads(), Command{"SET", "k"}.add("w"), Command{"PING"}}),
            "+OK|nil|+OK|\"v\"|+OK|+PONG|");
  EXPECT_EQ(next(listener), "[\"invalidate\",[\"k\"]]");
  EXPECT_EQ(next(listener), "[\"invalidate\",[\"k\"]]");
  EXPECT_FALSE(listener.receive(std::chrono::steady_clock::now()));
}

TEST_F(RedisListener, HearsMessagesOfChannels) {
  Listener listener{*client};
  EXPECT_EQ(exec(listener, {Command{"PING"}, Command{"SUBSCRIBE"}.add("a").add("b"), Command{"PING"},
                            Command{"UNSUBSCRIBE"}.add("a"), Command{"PSUBSCRIBE"}.add("c*")}),
            "+PONG|[\"subscribe\",\"b\",2]|+PONG|[\"unsubscribe\",\"a\",1]|[\"psubscribe\",\"c*\",2]|");
  EXPECT_EQ(ask(*client, Command{"PUBLISH"}.add("a").add("nobody")), "0");
  EXPECT_EQ(ask(*client, Command{"PUBLISH"}.add("b").add("text")), "1");
  EXPECT_EQ(ask(*client, Command{"PUBLISH"}.add("cc").add("more")), "1");
  EXPECT_EQ(next(listener), "[\"message\",\"b\",\"text\"]");
  EXPECT_EQ(next(listener), "[\"pmessage\",\"c*\",\"cc\",\"more\"]");
}

TEST_F(RedisListener, IsInterruptedByAnotherThread) {
  Listener listener{*client};
  EXPECT_FALSE(listener.receive(shortly()));  // There is no connection.
  EXPECT_EQ(exec(listener, {Command{"PING"}}), "+PONG|");
  std::jthread other{[&] { listener.interrupt(); }};
  EXPECT_FALSE(listener.receive(Deadline::max()));
  other.join();
  listener.interrupt();
  listener.interrupt();
  EXPECT_FALSE(listener.receive(Deadline::max()));
  EXPECT_EQ(exec(listener, {track(), Command{"GET", "k"}.reads()}), "+OK|nil|");
  EXPECT_EQ(ask(*client, Command{"SET", "k"}.add("v")), "+OK");
  EXPECT_EQ(next(listener), "[\"invalidate\",[\"k\"]]");
  EXPECT_EQ(listener.generation("k"), 1U);
}

TEST_F(RedisListener, ALostConnectionIsANewGeneration) {
  Listener listener{*client};
  EXPECT_EQ(exec(listener, {track()}), "+OK|");
  std::jthread later{[&] { server->stop(); }};
  EXPECT_FALSE(listener.receive(Deadline::max()));
  later.join();
  EXPECT_EQ(listener.generation("k"), 0U);
  EXPECT_THAT(all_shown(listener.exec(std::vector<Command>{track()}, shortly())), StartsWith("!unsent"));
  EXPECT_EQ(listener.generation("k"), 0U);
  std::jthread start{[&] { server->start(); }};
  EXPECT_EQ(exec(listener, {track(), Command{"GET", "k"}.reads()}), "+OK|nil|");
  start.join();
  EXPECT_EQ(listener.generation("k"), 2U);
  client->exec(Command{"SET", "k"}.add("v"));
  EXPECT_EQ(next(listener), "[\"invalidate\",[\"k\"]]");
}

TEST_F(RedisListener, ACutInTheMiddleOfACallLosesIt) {
  Proxy proxy{server->port()};
  Client through{parse_url(proxy.url())};
  Listener listener{through};
  proxy.harm("INCR", 0);
  EXPECT_THAT(exec(listener, {Command{"INCR", "k"}}), StartsWith("?lost"));
  EXPECT_EQ(listener.generation("k"), 0U);
  EXPECT_EQ(exec(listener, {Command{"INCR", "k"}}), "2|");
  EXPECT_EQ(listener.generation("k"), 2U);
  proxy.harm("INCR", 1, true);
  EXPECT_THAT(all_shown(listener.exec(std::vector<Command>{Command{"INCR", "k"}}, shortly())),
              StartsWith("?lost"));
  EXPECT_EQ(listener.generation("k"), 0U);
}

}  // namespace tidemill::redis::tests
