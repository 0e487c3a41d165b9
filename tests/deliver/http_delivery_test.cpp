// Tasks that are delivered by HTTP: a real worker, a real client, and receivers on this machine.
#include <gmock/gmock.h>

#include <thread>

#include <fmt/format.h>
#include <tidemill/error.hpp>
#include <tidemill/version.hpp>

#include "deliver/http_delivery.hpp"
#include "deliver/signature.hpp"
#include "drivers/http/server.hpp"
#include "engine/worker_fixture.hpp"
#include "http_receiver.hpp"
#include "refusal.hpp"

namespace tidemill::deliver {

namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Received;
using testing::Receiver;
using tests::eventually;

const std::string secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

class HttpDeliveryTest : public tests::WorkerTest {
 protected:
  void TearDown() override { worker.reset(); }  // Before what its attempts use.

  std::string url(std::string_view path = "/") const {
    return fmt::format("http://127.0.0.1:{}{}", server.port(), path);
  }
  static std::string url_of(const Receiver& receiver) {
    return fmt::format("http://127.0.0.1:{}/", receiver.port());
  }
  Ref deliver(const HttpDelivery& delivery, std::string payload = R"({"a":1})",
              EnqueueOptions options = {.retention = std::chrono::hours{1}}) {
    router.handle("call", http_handler(delivery, calls));
    start();
    return enqueue("call", options, std::move(payload));
  }
  std::vector<http::Request> requests() {
    const std::lock_guard lock{mutex};
    return seen;
  }
  std::size_t waiting() {
    const std::lock_guard lock{mutex};
    return late.size();
  }

  http::Client calls{{.allow_networks = {"127.0.0.1"}}};
  std::mutex mutex;
  http::Response response{.body = R"({"done":true})"};
  std::vector<http::Request> seen;
  std::vector<http::Answer> late;
  http::Server server{{}, [this](http::Request&& request, http::Answer answer) {
                        const std::lock_guard lock{mutex};
                        seen.push_back(request);
                        if (request.path == "/late") {
                          late.push_back(std::move(answer));
                        } else {
                          answer(response);
                        }
                      }};
};

// ---- What is sent

TEST_F(HttpDeliveryTest, TheAnswersBodyIsTheResult) {
  const Ref ref = deliver({.url = url("/hooks/{{kind}}?id={{id}}")});
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(task(ref)->result, R"({"done":true})");
  const http::Request request = requests().at(0);
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.path, "/hooks/call");
  EXPECT_EQ(request.query, "id=" + ref.id);
  EXPECT_EQ(request.body, R"({"a":1})");
  EXPECT_EQ(request.header("content-type"), "application/json");
  EXPECT_EQ(request.header("user-agent"), fmt::format("tidemill/{}", version()));
  EXPECT_EQ(request.header("idempotency-key"), ref.id);
  EXPECT_EQ(request.header("tidemill-id"), ref.id);
  EXPECT_EQ(request.header("tidemill-kind"), "call");
  EXPECT_EQ(request.header("tidemill-queue"), "default");
  EXPECT_EQ(request.header("tidemill-attempt"), "1");
  EXPECT_EQ(request.header("webhook-id"), "");
  EXPECT_EQ(request.header("traceparent"), "");
}

TEST_F(HttpDeliveryTest, AResultMayBeAnyBytes) {
  response.body = std::string{"\xff\0\x01", 3};
  const Ref ref = deliver({.url = url()});
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(task(ref)->result, (std::string{"\xff\0\x01", 3}));
}

TEST_F(HttpDeliveryTest, OnlyAsMuchOfTheAnswerIsKeptAsIsAllowed) {
  response.body = std::string(1U << 20U, 'x');
  const Ref ref = deliver({.url = url(), .response_bytes_max = 10});
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(task(ref)->result, "xxxxxxxxxx");
}

TEST_F(HttpDeliveryTest, WhatIsGivenWins) {
  const Ref ref = deliver({.url = url(),
                           .method = "PUT",
                           .headers = {{"content-type", "text/plain"}, {"X-Tenant", "{{headers.tenant}}"}},
                           .body = R"({"n":{{payload.n}}})"},
                          R"({"n":1.000000000000000000001})",
                          {.retention = 1h,
                           .headers = {{"tenant", "acme"},
                                       {"traceparent", "00-1-2-01"},
                                       {"tracestate", "a=b"},
                                       {"other", "stays here"}}});
  ASSERT_TRUE(becomes(ref, State::completed));
  const http::Request request = requests().at(0);
  EXPECT_EQ(request.method, "PUT");
  EXPECT_EQ(request.header("content-type"), "text/plain");
  EXPECT_EQ(request.header("x-tenant"), "acme");
  EXPECT_EQ(request.header("traceparent"), "00-1-2-01");
  EXPECT_EQ(request.header("tracestate"), "a=b");
  EXPECT_EQ(request.header("other"), "");
  EXPECT_EQ(request.body, R"({"n":1.000000000000000000001})");
}

TEST_F(HttpDeliveryTest, APayloadThatIsNoJsonIsBytes) {
  const Ref ref = deliver({.url = url()}, "{no JSON");
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(requests().at(0).header("content-type"), "application/octet-stream");
}

TEST_F(HttpDeliveryTest, GetHasNoBody) {
  const Ref ref = deliver({.url = url("/x"), .method = "GET"});
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(requests().at(0).method, "GET");
  EXPECT_EQ(requests().at(0).body, "");
  EXPECT_EQ(requests().at(0).header("content-type"), "");
}

TEST_F(HttpDeliveryTest, WithSecretsItIsSigned) {
  const Ref ref = deliver({.url = url(), .secrets = {secret, secret}});
  ASSERT_TRUE(becomes(ref, State::completed));
  const http::Request request = requests().at(0);
  EXPECT_EQ(request.header("webhook-id"), ref.id);
  const std::int64_t timestamp = std::stoll(std::string{request.header("webhook-timestamp")});
  EXPECT_EQ(request.header("webhook-signature"),
            (Signer{{secret, secret}}.sign(ref.id, timestamp, request.body)));
  EXPECT_LT(std::abs(timestamp - std::time(nullptr)), 600);
}

// ---- What comes of it

TEST_F(HttpDeliveryTest, AFailureIsToldWithTheAnswerAndNoSecret) {
  response = {.status = 503, .body = "come back later"};
  const Ref ref = deliver({.url = url("/p?key=hidden"), .headers = {{"Authorization", "Bearer hidden"}}});
  ASSERT_TRUE(becomes(ref, State::retry));
  const Task failed = *task(ref);
  EXPECT_EQ(failed.error, fmt::format("503 Service Unavailable from POST {}: come back later", url("/p")));
  const std::vector<Attempt> history = attempts(ref);
  ASSERT_EQ(history.size(), 1U);
  ASSERT_EQ(history[0].logs.size(), 1U);
  EXPECT_THAT(history[0].logs[0].text, HasSubstr(fmt::format("POST {}: 503 in ", url("/p"))));
  EXPECT_THAT(history[0].logs[0].text, Not(HasSubstr("hidden")));
}

TEST_F(HttpDeliveryTest, GoneArchivesTheTask) {
  response = {.status = 410};
  const Ref ref = deliver({.url = url()});
  ASSERT_TRUE(becomes(ref, State::archived));
  EXPECT_THAT(task(ref)->error, HasSubstr("410 Gone"));
}

TEST_F(HttpDeliveryTest, RetryAfterSaysWhen) {
  response = {.status = 429, .headers = {{"Retry-After", "7200"}}};
  const Ref ref = deliver({.url = url()});  // The worker's own policy is an hour.
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_GT(*task(ref)->run_at - *task(ref)->started_at, Duration{90min});
}

TEST_F(HttpDeliveryTest, AnAddressThatIsNotPublicIsAFailureThatSaysWhatAllowsIt) {
  const Ref ref = deliver({.url = "http://127.0.0.2:1/"});
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_THAT(task(ref)->error, HasSubstr("the address 127.0.0.2 of 127.0.0.2 is not public"));
  EXPECT_THAT(task(ref)->error, HasSubstr("outgoing.allow_networks"));
}

TEST_F(HttpDeliveryTest, ATaskThatLacksAMemberFailsWithoutACall) {
  const Ref ref = deliver({.url = url("/{{payload.user.id}}")});
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_EQ(task(ref)->error, "{{payload.user.id}} can't be filled in: payload has no \"user\"");
  EXPECT_TRUE(requests().empty());
}

TEST_F(HttpDeliveryTest, AUrlOfTheTasksIsCheckedForEachTask) {
  const Ref good = deliver({.url = "{{payload.url}}"}, fmt::format(R"({{"url":"{}"}})", url("/mine")));
  ASSERT_TRUE(becomes(good, State::completed));
  EXPECT_EQ(requests().at(0).path, "/mine");
  const Ref file = enqueue("call", {}, R"({"url":"file:///etc/passwd"})");
  ASSERT_TRUE(becomes(file, State::retry));
  EXPECT_THAT(task(file)->error, HasSubstr("its scheme is \"file\""));
  const Ref user = enqueue("call", {}, R"({"url":"http://me:hidden@127.0.0.1/"})");
  ASSERT_TRUE(becomes(user, State::retry));
  EXPECT_THAT(task(user)->error, HasSubstr("a user or a password"));
  EXPECT_THAT(task(user)->error, Not(HasSubstr("hidden")));
}

// ---- Stopping

TEST_F(HttpDeliveryTest, ManyCallsWaitAtOnceWithoutAThreadEach) {
  router.handle("call", http_handler({.url = url("/late")}, calls));
  WorkerOptions options = quick();
  options.concurrency = 200;
  std::vector<Ref> refs;
  for (int i = 0; i < 200; ++i) refs.push_back(enqueue("call"));
  start(std::move(options));
  ASSERT_TRUE(eventually([&] { return waiting() == 200; }));
  {
    const std::lock_guard lock{mutex};
    for (const http::Answer& answer : late) answer({.body = "{}"});
  }
  for (const Ref& ref : refs) EXPECT_TRUE(becomes(ref, State::gone));
}

TEST_F(HttpDeliveryTest, WhoNeverAnswersFailsByTheDeliverysTimeout) {
  Receiver hanging{[](Received& received) { received.hang(); }};
  const Ref ref = deliver({.url = url_of(hanging), .timeout = 100ms});
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_THAT(task(ref)->error, HasSubstr("timed out: no answer from 127.0.0.1"));
}

TEST_F(HttpDeliveryTest, TheTasksTimeoutEndsTheCall) {
  Receiver hanging{[](Received& received) { received.hang(); }};
  const Ref ref = deliver({.url = url_of(hanging), .timeout = 1h}, "{}", {.timeout = 200ms});
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_TRUE(eventually([&] { return hanging.open() == 0; }));
}

TEST_F(HttpDeliveryTest, ACancelledTaskEndsItsCall) {
  Receiver hanging{[](Received& received) { received.hang(); }};
  const Ref ref = deliver({.url = url_of(hanging), .timeout = 1h});
  ASSERT_TRUE(eventually([&] { return hanging.open() == 1; }));
  act(Act::cancel, ref);
  ASSERT_TRUE(becomes(ref, State::archived));
  EXPECT_TRUE(eventually([&] { return hanging.open() == 0; }));
}

TEST_F(HttpDeliveryTest, AWorkerThatStopsGivesTheTaskBack) {
  Receiver hanging{[](Received& received) { received.hang(); }};
  WorkerOptions options = quick();
  options.shutdown_timeout = 10ms;
  router.handle("call", http_handler({.url = url_of(hanging), .timeout = 1h}, calls));
  const Ref ref = enqueue("call");
  start(std::move(options));
  ASSERT_TRUE(eventually([&] { return hanging.open() == 1; }));
  worker->stop();
  EXPECT_EQ(state(ref), State::pending);
  EXPECT_TRUE(eventually([&] { return hanging.open() == 0; }));
}

TEST_F(HttpDeliveryTest, AClientThatIsStoppedFailsTheTask) {
  calls.stop();
  const Ref ref = deliver({.url = url()});
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_THAT(task(ref)->error, HasSubstr("stopped"));
}

// ---- Configuration

TEST_F(HttpDeliveryTest, WhatIsWrongIsRefusedBeforeThereIsATask) {
  const auto refusal = [&](HttpDelivery delivery) {
    return tests::refusal([&] { http_handler(std::move(delivery), calls); });
  };
  EXPECT_THAT(refusal({.url = ""}), HasSubstr("url: the URL is not one to call: it is empty"));
  EXPECT_THAT(refusal({.url = "ftp://h/{{id}}"}),
              HasSubstr("url: the URL is not one to call: its scheme is \"ftp\""));
  EXPECT_THAT(refusal({.url = "example.com/{{id}}"}), HasSubstr("url: it must begin with http://"));
  EXPECT_THAT(refusal({.url = "ftp://{{payload.host}}/"}), HasSubstr("url: it must begin with http://"));
  EXPECT_THAT(refusal({.url = "http://me:pw@h/{{id}}"}), HasSubstr("user or a password"));
  EXPECT_THAT(refusal({.url = "http://h/{{ID}}"}),
              HasSubstr("url: column 10: there is no placeholder {{ID}}"));
  EXPECT_THAT(refusal({.url = "http://h/", .method = "get"}), HasSubstr("method: \"get\""));
  EXPECT_THAT(refusal({.url = "http://h/", .headers = {{"X-A", "{{x}}"}}}),
              HasSubstr("headers.X-A: column 1"));
  EXPECT_THAT(refusal({.url = "http://h/", .headers = {{"X A", "1"}}}),
              HasSubstr("\"X A\" is no header's name"));
  EXPECT_THAT(refusal({.url = "http://h/", .headers = {{"Content-Length", "1"}}}),
              HasSubstr("set by Tidemill"));
  EXPECT_THAT(refusal({.url = "http://h/", .headers = {{"X", "a\nb"}}}), HasSubstr("line break"));
  EXPECT_THAT(refusal({.url = "http://h/", .headers = {{"Webhook-Id", "1"}}, .secrets = {secret}}),
              HasSubstr("set by Tidemill"));
  EXPECT_THAT(refusal({.url = "http://h/", .body = "{{"}), HasSubstr("body: column 1"));
  EXPECT_THAT(refusal({.url = "http://h/", .secrets = {"x"}}), HasSubstr("secrets: secret 1"));
  EXPECT_THAT(refusal({.url = "http://h/", .timeout = 0s}), HasSubstr("timeout: "));
  for (const char* good : {"{{payload.url}}", "http://{{payload.host}}/x", "HTTPS://h",
                           "http://h:8080/{{id}}", "https://{{payload.tenant}}.example.com/"})
    EXPECT_NO_THROW(http_handler({.url = good}, calls));
}

}  // namespace

}  // namespace tidemill::deliver
