// Remote workers that die, and servers that do meanwhile.
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

class RemoteCrashTest : public ServeTest {
 protected:
  Reply claim(const std::string& worker, const std::string& more = "") const {
    return post("/claim", fmt::format(R"({{"worker":{{"id":"{}"}},"lease":"5s"{}}})", worker, more));
  }
  Reply report(const Reply& claimed, const std::string& outcome, int at = 0) const {
    return post("/report", fmt::format(R"({{"items":[{{"token":"{}","outcome":"{}"}}]}})",
                                       claimed.text(fmt::format("/leases/{}/token", at)), outcome));
  }
};

TEST_F(RemoteCrashTest, TheTasksOfADeadWorkerComeBackAndGoOneAtATime) {
  post("/tasks", R"([{"kind":"k","id":"1","crashes_max":3,"retention":"1h"},
                     {"kind":"k","id":"2","crashes_max":3,"retention":"1h"}])");
  const Reply dead = claim("dead", R"(,"limit":2)");
  ASSERT_EQ(dead.count("/leases"), 2U);
  // It never renews. Its tasks are suspects: a worker gets one of them, and the next when that has ended.
  Reply first;
  ASSERT_TRUE(eventually(
      [&] {
        first = claim("next", R"(,"limit":2,"wait":"1s")");
        return first.count("/leases") > 0;
      },
      std::chrono::seconds{60}));
  EXPECT_EQ(first.count("/leases"), 1U);
  const std::string id = first.text("/leases/0/task/id");
  EXPECT_EQ(get("/tasks/" + id).number("/crashes"), 1);
  EXPECT_EQ(claim("next", R"(,"limit":2)").count("/leases"), 0U);
  EXPECT_FALSE(report(dead, "complete").at("/items/0/applied").as_bool());
  EXPECT_FALSE(report(dead, "complete", 1).at("/items/0/applied").as_bool());
  EXPECT_TRUE(report(first, "complete").at("/items/0/applied").as_bool());
  Reply second;
  ASSERT_TRUE(eventually([&] {
    second = claim("next", R"(,"limit":2,"wait":"1s")");
    return second.count("/leases") > 0;
  }));
  EXPECT_NE(second.text("/leases/0/task/id"), id);
  EXPECT_TRUE(report(second, "complete").at("/items/0/applied").as_bool());
  EXPECT_EQ(state("1"), "completed");
  EXPECT_EQ(state("2"), "completed");
}

TEST_F(RemoteCrashTest, ALeaseOutlivesTheServer) {
  post("/tasks", R"([{"kind":"k","id":"1","retention":"1h"},{"kind":"k","id":"2","retention":"1h"}])");
  const Reply claimed = post("/claim", R"({"worker":{"id":"w"},"limit":2,"lease":"10m"})");
  ASSERT_EQ(claimed.count("/leases"), 2U);
  server_.end(SIGKILL);
  serve();
  EXPECT_EQ(claim("other").count("/leases"), 0U);
  const Reply renewed = post("/renew", fmt::format(R"({{"worker":{{"id":"w"}},"items":[{{"token":"{}"}}]}})",
                                                   claimed.text("/leases/0/token")));
  EXPECT_EQ(renewed.text("/items/0/signal"), "none");
  EXPECT_TRUE(report(claimed, "complete").at("/items/0/applied").as_bool());
  EXPECT_EQ(state("1"), "completed");
  server_.end(SIGTERM);
  serve();
  EXPECT_TRUE(report(claimed, "complete", 1).at("/items/0/applied").as_bool());
}

TEST_F(RemoteCrashTest, AClaimThatWaitsIsToldThatTheServerStops) {
  Peer peer{port_};
  peer.send(request("POST", "/api/v1/claim", R"({"worker":{"id":"w"},"wait":"30s"})"));
  ASSERT_TRUE(eventually([&] { return get("/workers/w").status == 200; }));
  Peer waiting{port_};
  post("/tasks", R"({"kind":"k","id":"1","delay":"1h"})");
  waiting.send(request("GET", "/api/v1/tasks/1/wait?timeout=60s"));
  server_.signal(SIGTERM);
  expect_problem(503, "shutting_down", read_reply(peer));
  EXPECT_EQ(server_.wait(), 0);
}

}  // namespace

}  // namespace tidemill::testing
