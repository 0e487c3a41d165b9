// The HTTP client against receivers that answer: what it sends, what it makes of the answer, and how calls
// share connections and wait for each other.
#include <gmock/gmock.h>

#include <atomic>
#include <functional>
#include <thread>

#include "client_fixture.hpp"
#include "process.hpp"

namespace tidemill::http::tests {

namespace {

using namespace std::chrono_literals;
using testing::eventually;
using ::testing::HasSubstr;
using testing::Received;
using testing::Receiver;

// ---- A call

TEST_F(HttpClient, SendsTheCallAndGivesTheAnswer) {
  const CallResult result = ask({.url = url("/a%2Fb?x=1"), .headers = {{"X-Mine", "1"}}, .body = "body"});
  EXPECT_EQ(result.error, "");
  EXPECT_EQ(result.status, 200);
  EXPECT_EQ(result.reason, "OK");
  EXPECT_EQ(result.body, "POST /a%2Fb body");
  EXPECT_FALSE(result.body_cut);
  EXPECT_EQ(result.header("x-name"), "a value");
  EXPECT_EQ(result.header("absent"), "");
  const Request request = requests().at(0);
  EXPECT_EQ(request.query, "x=1");
  EXPECT_EQ(request.header("x-mine"), "1");
}

TEST_F(HttpClient, AStatusOtherThan200IsAnAnswer) {
  const CallResult result = ask({.url = url("/teapot")});
  EXPECT_EQ(result.status, 418);
  EXPECT_EQ(result.error, "");
}

TEST_F(HttpClient, MethodsHaveTheBodyThatIsGiven) {
  EXPECT_EQ(ask({.method = "GET", .url = url()}).body, "GET / ");
  EXPECT_EQ(ask({.method = "GET", .url = url(), .body = "x"}).body, "GET / x");
  EXPECT_EQ(ask({.method = "PUT", .url = url(), .body = "x"}).body, "PUT / x");
  EXPECT_EQ(ask({.method = "DELETE", .url = url()}).body, "DELETE / ");
  EXPECT_EQ(ask({.method = "POST", .url = url()}).body, "POST / ");
  const CallResult head = ask({.method = "HEAD", .url = url()});
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, "");
  const std::string zeros(3, '\0');
  EXPECT_EQ(ask({.url = url(), .body = zeros}).body, "POST / " + zeros);
  EXPECT_EQ(requests().at(4).header("content-length"), "0");
}

TEST_F(HttpClient, AddsNoTypeAndAsksForNoLeave) {
  const CallResult result = ask({.url = url(), .body = std::string(2U << 20U, 'x')});
  EXPECT_EQ(result.status, 200) << result.error;
  EXPECT_EQ(requests().at(0).header("content-type"), "");
  EXPECT_EQ(requests().at(0).header("expect"), "");
  ask({.url = url(), .headers = {{"content-TYPE", "text/plain"}, {"X-Empty", ""}}, .body = "x"});
  EXPECT_EQ(requests().at(1).header("content-type"), "text/plain");
}

TEST_F(HttpClient, ACallThatIsWrongIsAnsweredWithAnError) {
  EXPECT_THAT(ask({.url = "ftp://example.com/"}).error, HasSubstr("its scheme is \"ftp\""));
  EXPECT_THAT(ask({.url = "file:///etc/passwd"}).error, HasSubstr("its scheme is \"file\""));
  EXPECT_THAT(ask({.url = ""}).error, HasSubstr("it is empty"));
  EXPECT_THAT(ask({.url = "example.com/secret"}).error, ::testing::Not(HasSubstr("secret")));
  EXPECT_NE(ask({.url = fmt::format("http://user:pw@127.0.0.1:{}/", server.port())}).error, "");
  EXPECT_THAT(ask({.url = url(), .headers = {{"X-A", "1\r\nX-B: 2"}}}).error, HasSubstr("X-A"));
  EXPECT_THAT(ask({.url = url(), .headers = {{"X A", "1"}}}).error, HasSubstr("header"));
  EXPECT_THAT(ask({.method = "GET /x HTTP/1.1\r\n", .url = url()}).error, HasSubstr("method"));
  EXPECT_TRUE(requests().empty());
}

TEST_F(HttpClient, ARedirectIsNotFollowed) {
  Receiver other{[](Received& received) { received.hang(); }};
  const CallResult result = ask({.url = url("/redirect?" + url_of(other.port()))});
  EXPECT_EQ(result.status, 302);
  EXPECT_EQ(result.header("location"), url_of(other.port()));
  EXPECT_EQ(other.connections(), 0);
}

TEST_F(HttpClient, TheEnvironmentNamesNoProxy) {
  Receiver proxy{[](Received& received) { received.hang(); }};
  ::setenv("http_proxy", url_of(proxy.port()).c_str(), 1);
  ::setenv("ALL_PROXY", url_of(proxy.port()).c_str(), 1);
  const CallResult result = ask({.url = url()});
  ::unsetenv("http_proxy");
  ::unsetenv("ALL_PROXY");
  EXPECT_EQ(result.status, 200) << result.error;
  EXPECT_EQ(proxy.connections(), 0);
}

// ---- Connections

TEST_F(HttpClient, AConnectionIsUsedAgain) {
  for (int i = 0; i < 20; ++i) ASSERT_EQ(ask({.url = url()}).status, 200);
  EXPECT_EQ(server.connections(), 1U);
}

// Why: receivers close kept connections whenever they like. How: this one does after each answer, without a
// word about it.
TEST_F(HttpClient, AKeptConnectionThatHasDiedIsReplaced) {
  Receiver receiver{[](Received& received) {
    if (received.request()) received.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
  }};
  for (int i = 0; i < 20; ++i) {
    const CallResult result = ask({.url = url_of(receiver.port())});
    ASSERT_EQ(result.status, 200) << result.error;
  }
  EXPECT_EQ(receiver.connections(), 20);
}

// ---- Waiting

TEST_F(HttpClient, CallsBeyondAHostsLimitWaitAndHoldUpNoOtherHost) {
  Receiver hanging{[](Received& received) { received.hang(); }};
  start({.per_host_max = 2, .allow_networks = {"127.0.0.0/8"}});
  std::vector<std::stop_source> stops(6);
  std::vector<Reply> stuck;
  for (const std::stop_source& stop : stops)
    stuck.push_back(send({.url = url_of(hanging.port()), .stop = stop.get_token()}));
  ASSERT_TRUE(eventually([&] { return hanging.connections() == 2; }));
  for (int i = 0; i < 50; ++i) ASSERT_EQ(ask({.url = url()}).status, 200);
  EXPECT_EQ(hanging.connections(), 2);
  stops[0].request_stop();
  EXPECT_TRUE(eventually([&] { return hanging.connections() == 3; }));
  EXPECT_EQ(stuck[0].get().error, "cancelled");
  EXPECT_FALSE(stuck[5].is_there());
}

TEST_F(HttpClient, HostsTakeTurnsAtTheLastFreePlace) {
  start({.in_flight_max = 1, .allow_networks = {"127.0.0.0/8"}});
  std::mutex order_mutex;
  std::vector<std::string> order;
  const auto note = [&](std::string name) {
    return [&, name = std::move(name)](const CallResult&) {
      const std::lock_guard lock{order_mutex};
      order.push_back(name);
    };
  };
  // The first call holds the place until all others wait.
  client->send({.url = url("/late")}, note("many"));
  for (int i = 0; i < 5; ++i) client->send({.url = url()}, note("many"));
  client->send({.url = other_host()}, note("one"));
  ASSERT_TRUE(eventually([&] { return requests().size() == 1; }));
  const Reply last = send({.url = "none"});  // Answered when those before it wait.
  last.get();
  EXPECT_EQ(answer_late(), 1U);
  ASSERT_TRUE(eventually([&] {
    const std::lock_guard lock{order_mutex};
    return order.size() == 7;
  }));
  const auto place = std::find(order.begin(), order.end(), "one") - order.begin();
  EXPECT_LE(place, 2);
}

TEST_F(HttpClient, AThousandSlowCallsHoldUpNoFastOne) {
  std::vector<Reply> slow;
  for (int i = 0; i < 1000; ++i) slow.push_back(send({.url = url("/late"), .timeout = 0ms}));
  ASSERT_TRUE(eventually([&] { return requests().size() == 1000; }));
  EXPECT_EQ(server.connections(), 1000U);
  EXPECT_EQ(ask({.url = other_host()}).status, 200);
  EXPECT_EQ(answer_late(), 1000U);
  for (const Reply& reply : slow) EXPECT_EQ(reply.get().body, "late");
}

// ---- The end

TEST_F(HttpClient, ACallCancelledInFlightClosesItsConnection) {
  Receiver hanging{[](Received& received) { received.hang(); }};
  std::stop_source stop;
  const Reply reply = send({.url = url_of(hanging.port()), .stop = stop.get_token()});
  ASSERT_TRUE(eventually([&] { return hanging.open() == 1; }));
  stop.request_stop();
  EXPECT_EQ(reply.get().error, "cancelled");
  EXPECT_TRUE(eventually([&] { return hanging.open() == 0; }));
}

TEST_F(HttpClient, ACallCancelledBeforehandIsNotAnsweredOtherwise) {
  Receiver hanging{[](Received& received) { received.hang(); }};
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(ask({.url = url_of(hanging.port()), .stop = stop.get_token()}).error, "cancelled");
}

TEST_F(HttpClient, StopEndsWhatIsInFlightAndWhatWaits) {
  Receiver hanging{[](Received& received) { received.hang(); }};
  start({.in_flight_max = 1, .allow_networks = {"127.0.0.0/8"}});
  const Reply in_flight = send({.url = url_of(hanging.port())});
  const Reply waiting = send({.url = url_of(hanging.port())});
  ASSERT_TRUE(eventually([&] { return hanging.connections() == 1; }));
  client->stop();
  ASSERT_TRUE(in_flight.is_there());
  ASSERT_TRUE(waiting.is_there());
  EXPECT_THAT(in_flight.get().error, HasSubstr("stopped"));
  EXPECT_THAT(waiting.get().error, HasSubstr("stopped"));
  const Reply late_one = send({.url = url()});
  ASSERT_TRUE(late_one.is_there());
  EXPECT_THAT(late_one.get().error, HasSubstr("stopped"));
  client->stop();
}

TEST_F(HttpClient, AnAnswerMayMakeTheNextCall) {
  start();
  std::atomic<int> left{100};
  std::function<void(CallResult)> next = [&](const CallResult& result) {
    EXPECT_EQ(result.status, 200) << result.error;
    if (--left > 0) client->send({.url = url()}, next);
  };
  client->send({.url = url()}, next);
  EXPECT_TRUE(eventually([&] { return left == 0; }));
}

// Why: sending, cancelling and stopping come from other threads than the answers. How: half of the calls are
// cancelled at any moment of their lives, and the client ends under them.
TEST_F(HttpClient, ManyThreadsSendAndCancelAndEachCallIsAnsweredOnce) {
  constexpr std::size_t threads = 4;
  constexpr std::size_t each = 250;
  start({.in_flight_max = 50, .per_host_max = 40, .allow_networks = {"127.0.0.0/8"}});
  std::vector<std::vector<Reply>> replies(threads);
  std::vector<std::thread> senders;
  for (std::size_t t = 0; t < threads; ++t) {
    senders.emplace_back([&, t] {
      std::vector<std::stop_source> stops(each);
      for (std::size_t i = 0; i < each; ++i) {
        replies[t].push_back(send({.url = i % 3 == 0 ? other_host() : url(), .stop = stops[i].get_token()}));
        if (i % 2 == 0) stops[i / 2].request_stop();
      }
    });
  }
  for (std::thread& sender : senders) sender.join();
  client->stop();
  for (const std::vector<Reply>& some : replies) {
    for (const Reply& reply : some) EXPECT_EQ(reply.count(), 1);
  }
}

}  // namespace

}  // namespace tidemill::http::tests
