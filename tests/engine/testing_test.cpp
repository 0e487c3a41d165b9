// The help for users' tests: the clock, the worker without threads, and the matchers.
#include <gtest/gtest.h>

#include <future>
#include <thread>
#include <vector>

#include <tidemill/client.hpp>
#include <tidemill/error.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/json.hpp>
#include <tidemill/testing.hpp>

#include "stores/memory/memory_store.hpp"

namespace testing_test {

struct SendMail {
  static constexpr std::string_view kind = "mail:send";
  std::string to = {};
};
TIDEMILL_FIELDS(SendMail, to)

}  // namespace testing_test

namespace tidemill {
namespace {

using namespace std::chrono_literals;
using testing::FakeClock;
using testing::has_no_task;
using testing::has_task;
using testing::InlineWorker;
using testing::Ran;
using testing_test::SendMail;

TEST(FakeClock, StandsStillUntilToldToGoOn) {
  FakeClock clock;
  const TimePoint now = clock.now();
  const auto steady = clock.steady();
  EXPECT_EQ(clock.now(), now);
  clock.advance(5s);
  EXPECT_EQ(clock.now(), now + 5s);
  EXPECT_EQ(clock.steady(), steady + 5s);
  clock.jump(-1h);
  EXPECT_EQ(clock.now(), now + 5s - 1h);
  EXPECT_EQ(clock.steady(), steady + 5s);
}

class InlineWorkerTest : public ::testing::Test {
 protected:
  FakeClock clock;
  std::unique_ptr<Store> store = open_memory({.clock = &clock});
  Client client{*store};
  Router router;
};

TEST_F(InlineWorkerTest, RunsOneAtATimeInOrder) {
  std::vector<std::string> seen;
  router.handle<SendMail>([&](const SendMail& mail) { seen.push_back(mail.to); });
  InlineWorker worker{*store, router};
  EXPECT_FALSE(worker.run_one());
  client.enqueue(SendMail{.to = "ada"});
  clock.advance(1s);
  client.enqueue(SendMail{.to = "eve"});
  clock.advance(1s);
  const auto ran = worker.run_one();
  ASSERT_TRUE(ran);
  EXPECT_EQ(ran->task.kind, "mail:send");
  EXPECT_EQ(ran->outcome.kind(), Outcome::Kind::success);
  EXPECT_EQ(ran->reported, Reported::applied);
  EXPECT_EQ(seen, std::vector<std::string>{"ada"});
  EXPECT_EQ(worker.drain().size(), 1U);
  EXPECT_TRUE(has_no_task(*store, {}));
}

TEST_F(InlineWorkerTest, AFailedTaskComesBackWhenTheClockSaysSo) {
  int runs = 0;
  router.handle("work", [&](Context&) { return ++runs < 3 ? Outcome::failure("no") : Outcome::success(); });
  InlineWorker worker{*store, router, {.retry = RetryPolicy::linear(10s, 0s)}};
  client.enqueue("work", "");
  EXPECT_EQ(worker.drain().size(), 1U);
  EXPECT_TRUE(has_task(*store, {.state = State::retry}));
  clock.advance(9s);
  EXPECT_EQ(worker.drain().size(), 0U);
  clock.advance(2s);
  EXPECT_EQ(worker.drain().size(), 1U);
  clock.advance(11s);
  EXPECT_EQ(worker.drain().size(), 1U);
  EXPECT_EQ(runs, 3);
  EXPECT_TRUE(has_no_task(*store, {}));
}

TEST_F(InlineWorkerTest, WaitsForADeferredOutcome) {
  std::jthread later;
  router.handle("work", [&](Context& context) {
    later = std::jthread{[completion = context.defer()]() mutable { completion(Outcome::success("late")); }};
    return Outcome::deferred();
  });
  client.enqueue("work", "", {.retention = 1h});
  const auto ran = InlineWorker{*store, router}.run_one();
  ASSERT_TRUE(ran);
  EXPECT_EQ(ran->outcome.kind(), Outcome::Kind::success);
  EXPECT_EQ(ran->outcome.text(), "late");
  EXPECT_TRUE(has_task(*store, {.state = State::completed}));
}

TEST_F(InlineWorkerTest, AKindWithoutAHandlerIsPutOff) {
  client.enqueue("unknown", "");
  const auto ran = InlineWorker{*store, router}.run_one();
  ASSERT_TRUE(ran);
  EXPECT_EQ(ran->outcome.kind(), Outcome::Kind::deferred);
  EXPECT_TRUE(has_task(*store, {.state = State::scheduled}));
}

TEST_F(InlineWorkerTest, DrainStopsAtItsMost) {
  router.handle("*", [](Context&) { return Outcome::again(); });
  client.enqueue("work", "");
  EXPECT_EQ((InlineWorker{*store, router}.drain(7).size()), 7U);
}

TEST_F(InlineWorkerTest, QueuesGetTheirShareInAnOrderThatRepeats) {
  router.handle("*", [](Context&) { return Outcome::success(); });
  for (int i = 0; i < 20; ++i) {
    client.enqueue("work", "", {.queue = "low"});
    client.enqueue("work", "", {.queue = "high"});
  }
  const auto run = [&](WorkerOptions options, std::size_t count) {
    std::string order;
    for (const Ran& ran : InlineWorker{*store, router, options}.drain(count))
      order += ran.task.ref.queue.front();
    return order;
  };
  EXPECT_EQ(run({.queues = {{"low", 1}, {"high", 3}}}, 8), "hhlhhhlh");
  EXPECT_EQ(run({.queues = {{"low", 1}, {"high", 3}}, .strict = true}, 4), "llll");
}

TEST_F(InlineWorkerTest, OptionsThatMakeNoSenseAreRefused) {
  EXPECT_THROW((InlineWorker{*store, router, {.queues = {}}}), Error);
  EXPECT_THROW((InlineWorker{*store, router, {.queues = {{"a", 0}}}}), Error);
  EXPECT_THROW((InlineWorker{*store, router, {.queues = {{"", 1}}}}), Error);
}

TEST_F(InlineWorkerTest, MatchersSayWhatIsThere) {
  client.enqueue(SendMail{.to = "ada"}, {.queue = "mail"});
  client.enqueue("other", "x");
  EXPECT_TRUE(has_task(*store, {.kind = "mail:send"}));
  EXPECT_TRUE(has_task(*store, {.kind = "mail:*", .queue = "mail", .payload_contains = "ada"}));
  EXPECT_TRUE(has_no_task(*store, {.kind = "mail:send", .payload_contains = "eve"}));
  const testing::Match none = has_task(*store, {.kind = "sms", .state = State::held});
  EXPECT_FALSE(none);
  EXPECT_EQ(none.why,
            "expected at least 1 of kind sms, state held; found 0; there are:\n"
            "  other in queue default, pending, payload x\n"
            "  mail:send in queue mail, pending, payload {\"to\":\"ada\"}");
  const testing::Match one = has_no_task(*store, {.queue = "default"});
  EXPECT_EQ(
      one.why,
      "expected none of any kind, queue default; there are:\n  other in queue default, pending, payload x");
  EXPECT_FALSE(has_task(*store, {.count_least = 3, .count_most = 5}));
  EXPECT_FALSE(has_task(*store, {.count_least = 1, .count_most = 1}));
}

TEST_F(InlineWorkerTest, PayloadsAreDecoded) {
  client.enqueue(SendMail{.to = "ada"});
  client.enqueue(SendMail{.to = "eve"}, {.delay = 1h});
  EXPECT_EQ(testing::payloads<SendMail>(*store).size(), 2U);
  const auto scheduled = testing::payloads<SendMail>(*store, State::scheduled);
  ASSERT_EQ(scheduled.size(), 1U);
  EXPECT_EQ(scheduled.front().to, "eve");
}

}  // namespace
}  // namespace tidemill
