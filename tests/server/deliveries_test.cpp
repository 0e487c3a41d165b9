// Tasks that the server delivers by HTTP, through the whole program.
#include <atomic>
#include <mutex>

#include "drivers/http/server.hpp"
#include "server/serve_fixture.hpp"

namespace tidemill::testing {

namespace {

using ::testing::HasSubstr;

class DeliveriesTest : public ServerTest {
 protected:
  ~DeliveriesTest() override {
    const std::lock_guard lock{mutex_};
    kept_.clear();  // No answer outlives the receiver.
  }
  /// What the receiver does with each request; until then it answers 200.
  void answer_with(std::function<void(const http::Request&, const http::Answer&)> handle) {
    const std::lock_guard lock{mutex_};
    handle_ = std::move(handle);
  }
  /// Has all requests wait, until the test answers or ends.
  void keep_waiting() {
    answer_with([this](const http::Request&, const http::Answer& answer) { kept_.push_back(answer); });
  }
  static http::Response text(int status, const std::string& body) { return {status, "text/plain", {}, body}; }
  void deliver(const std::string& more = "", const std::string& http = "") {
    serve(
        fmt::format("outgoing: {{allow_networks: [127.0.0.0/8]}}\n"
                    "deliveries:\n  - kinds: ['mail:*']\n    retry: [10ms]\n"
                    "    http: {{url: 'http://127.0.0.1:{}/hook/{{{{id}}}}'{}}}\n{}",
                    receiver_.port(), http, more));
  }

  std::mutex mutex_;
  std::function<void(const http::Request&, const http::Answer&)> handle_;
  std::vector<http::Answer> kept_;  // Guarded by mutex_.
  std::atomic<int> calls_{0};
  http::Server receiver_{{}, [this](http::Request&& request, const http::Answer& answer) {
                           ++calls_;
                           const std::lock_guard lock{mutex_};
                           handle_ ? handle_(request, answer) : answer(text(200, "well received"));
                         }};
};

TEST_F(DeliveriesTest, ATaskIsDeliveredAndItsResultIsShown) {
  http::Request seen;
  answer_with([&](const http::Request& request, const http::Answer& answer) {
    seen = request;
    answer({200, "application/json", {}, R"({"sent":true})"});
  });
  deliver("", ", headers: {X-Kind: '{{kind}}'}");
  post("/tasks", R"({"kind":"mail:send","id":"m1","payload":{"to":"ada"},"retention":"1h"})");
  const Reply done = get("/tasks/m1/wait?timeout=60s");
  EXPECT_EQ(done.text("/state"), "completed");
  EXPECT_EQ(done.text("/result/text"), R"({"sent":true})");
  EXPECT_EQ(get("/tasks/m1/result").body, R"({"sent":true})");
  EXPECT_EQ(get("/tasks/m1/logs").count("/lines"), 1U);
  const std::lock_guard lock{mutex_};
  EXPECT_EQ(seen.path, "/hook/m1");
  EXPECT_EQ(seen.body, R"({"to":"ada"})");
  EXPECT_EQ(seen.header("x-kind"), "mail:send");
  EXPECT_EQ(seen.header("tidemill-attempt"), "1");
}

TEST_F(DeliveriesTest, TheHostsThatAreCalledAreListed) {
  keep_waiting();
  deliver();
  EXPECT_EQ(get("/deliveries/hosts").count("/items"), 0U);
  post("/tasks", R"([{"kind":"mail:send"},{"kind":"mail:send"}])");
  ASSERT_TRUE(eventually([&] { return calls_ == 2; }));
  const Reply hosts = get("/deliveries/hosts");
  ASSERT_EQ(hosts.count("/items"), 1U);
  EXPECT_EQ(hosts.text("/items/0/host"), fmt::format("http://127.0.0.1:{}", receiver_.port()));
  EXPECT_EQ(hosts.number("/items/0/in_flight"), 2);
  EXPECT_EQ(hosts.number("/items/0/waiting"), 0);
}

TEST_F(DeliveriesTest, CommandsDontFindTheServersSecrets) {
  for (const char* const name : {"T_TOKEN", "T_SIGN", "T_GIVEN", "T_PLAIN"})
    ::setenv(name, "0123456789abcdef", 1);
  ::setenv("T_SIGN", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1);
  serve(R"(
tokens: [{name: a, role: admin, secret_env: T_TOKEN}, {name: b, role: viewer, secret: fedcba9876543210}]
deliveries:
  - kinds: hook
    http: {url: "http://x.example/", secrets: [{env: T_SIGN}]}
  - kinds: show
    command: {shell: 'echo "[$T_TOKEN] [$T_SIGN] [$T_GIVEN] [$T_PLAIN]"', environment: {T_GIVEN: {env: T_GIVEN}}}
  - kinds: other
    command: {shell: 'echo "[$T_GIVEN]"'}
)");
  token_ = "0123456789abcdef";
  post("/tasks", R"([{"kind":"show","id":"1","retention":"1h"},{"kind":"other","id":"2","retention":"1h"}])");
  EXPECT_EQ(get("/tasks/1/wait?timeout=60s").text("/result/text"),
            "[] [] [0123456789abcdef] [0123456789abcdef]\n");
  EXPECT_EQ(get("/tasks/2/wait?timeout=60s").text("/result/text"), "[]\n");
  for (const char* const name : {"T_TOKEN", "T_SIGN", "T_GIVEN", "T_PLAIN"}) ::unsetenv(name);
}

TEST_F(DeliveriesTest, AFailedDeliveryIsTriedAgain) {
  answer_with([&](const http::Request&, const http::Answer& answer) {
    answer(calls_ < 3 ? text(500, "out of order") : text(200, "at last"));
  });
  deliver();
  post("/tasks", R"({"kind":"mail:send","id":"m1","retention":"1h"})");
  EXPECT_EQ(get("/tasks/m1/wait?timeout=60s").text("/result/text"), "at last");
  const Reply attempts = get("/tasks/m1/attempts");
  ASSERT_EQ(attempts.count("/items"), 3U);
  EXPECT_THAT(attempts.text("/items/0/error"), HasSubstr("500"));
  EXPECT_THAT(attempts.text("/items/0/error"), HasSubstr("out of order"));
}

TEST_F(DeliveriesTest, AReceiverThatIsGoneForGoodEndsTheTask) {
  answer_with([&](const http::Request&, const http::Answer& answer) { answer(text(410, "no such hook")); });
  deliver();
  post("/tasks", R"({"kind":"mail:send","id":"m1"})");
  EXPECT_EQ(get("/tasks/m1/wait?timeout=60s").text("/state"), "archived");
  EXPECT_THAT(get("/tasks/m1").text("/error"), HasSubstr("410"));
  EXPECT_EQ(calls_, 1);
}

TEST_F(DeliveriesTest, AReceiverOnThisMachineIsRefusedUnlessItIsAllowed) {
  serve(fmt::format("deliveries: [{{kinds: [a], retry: [1h], http: 'http://127.0.0.1:{}/'}}]\n",
                    receiver_.port()));
  post("/tasks", R"({"kind":"a","id":"1"})");
  EXPECT_TRUE(eventually_is("1", "retry"));
  EXPECT_THAT(get("/tasks/1").text("/error"), HasSubstr("outgoing.allow_networks"));
  EXPECT_EQ(calls_, 0);
}

TEST_F(DeliveriesTest, ADeliveryOnItsWayEndsBeforeTheServerDoes) {
  keep_waiting();
  deliver("shutdown_timeout: 60s\n");
  post("/tasks", R"({"kind":"mail:send","id":"m1","retention":"1h"})");
  ASSERT_TRUE(eventually([&] { return calls_ == 1; }));
  server_.signal(SIGTERM);
  ASSERT_TRUE(eventually_logs("stopping"));
  // Nothing new is taken, and what has been begun may end.
  EXPECT_TRUE(eventually([&] { return !Peer{port_}.connected(); }));
  EXPECT_FALSE(server_.ended());
  {
    const std::lock_guard lock{mutex_};
    kept_.at(0)(text(200, "in time"));
  }
  EXPECT_EQ(server_.wait(), 0);
  EXPECT_EQ(state_of("m1"), "completed");
}

TEST_F(DeliveriesTest, ADeliveryThatTakesTooLongIsGivenBackWhenTheServerEnds) {
  keep_waiting();
  deliver("shutdown_timeout: 100ms\n");
  post("/tasks", R"({"kind":"mail:send","id":"m1"})");
  ASSERT_TRUE(eventually([&] { return calls_ == 1; }));
  EXPECT_EQ(server_.end(SIGTERM), 0);
  EXPECT_EQ(state_of("m1"), "pending");
}

TEST_F(DeliveriesTest, ACancelledDeliveryIsCutShort) {
  keep_waiting();
  deliver();
  post("/tasks", R"({"kind":"mail:send","id":"m1"})");
  ASSERT_TRUE(eventually([&] { return calls_ == 1; }));
  EXPECT_EQ(post("/tasks/m1/cancel").status, 202);
  EXPECT_TRUE(eventually_is("m1", "archived"));
  EXPECT_EQ(get("/tasks/m1").text("/reason"), "cancelled");
}

}  // namespace

}  // namespace tidemill::testing
