// What is claimed and when: queues by weight or in order, no more than slots and prefetch, nothing while
// quiet, and back to the front what can't start soon.
#include <atomic>
#include <map>

#include <tidemill/error.hpp>

#include "worker_fixture.hpp"

namespace tidemill::tests {

namespace {

using namespace std::chrono_literals;

struct WorkerQueues : WorkerTest {
  void handle_at_once() {
    router.handle("a", [this](Context& context) {
      const std::lock_guard lock{mutex};
      order.push_back(context.task().ref.queue);
      return Outcome::success();
    });
  }
  std::size_t done() {
    const std::lock_guard lock{mutex};
    return order.size();
  }
  std::mutex mutex;
  std::vector<std::string> order;
};

TEST_F(WorkerQueues, StrictDrainsThemInTheOrderGiven) {
  handle_at_once();
  for (int i = 0; i < 30; ++i) {
    enqueue("a", {.queue = "last"});
    enqueue("a", {.queue = "middle"});
    enqueue("a", {.queue = "first"});
  }
  WorkerOptions options = quick();
  options.queues = {{"first", 1}, {"middle", 9}, {"last", 100}};
  options.strict = true;
  options.concurrency = 1;
  start(options);
  ASSERT_TRUE(eventually([&] { return done() == 90; }));
  for (std::size_t i = 0; i < 90; ++i) {
    EXPECT_EQ(order[i], i < 30 ? "first" : i < 60 ? "middle" : "last") << i;
  }
}

TEST_F(WorkerQueues, WeightsAreTheChanceToComeFirst) {
  handle_at_once();
  WorkerOptions options = quick();
  options.queues = {{"heavy", 8}, {"light", 2}};
  options.poll = 100us;
  start(options);
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::claim) > 2000; }));
  worker->stop();
  std::map<std::string, int> first;
  int claims = 0;
  for (const auto& names : store.claimed_queues()) {
    ASSERT_EQ(names.size(), 2U);
    ++first[names[0]];
    ++claims;
  }
  // Six standard deviations of 2,000 draws are a bit more than five in a hundred.
  EXPECT_NEAR(first["heavy"], claims * 0.8, claims * 0.055);
}

TEST_F(WorkerQueues, WithoutMeasuredTimesOnlySlotsAreFilled) {
  router.handle("slow", [&](Context&) {
    gate.wait();
    return Outcome::success();
  });
  for (int i = 0; i < 20; ++i) enqueue("slow");
  start();
  ASSERT_TRUE(eventually([&] { return worker->info().busy == 4; }));
  EXPECT_EQ(store.largest_claim(), 4U);
  EXPECT_EQ(catalog.queues(clock.call()).front().counts.at(State::active), 4U);
  gate.open();
}

TEST_F(WorkerQueues, QuickTasksAreFetchedAheadAndNeverMoreThanAThousandAtATime) {
  handle_at_once();
  for (int i = 0; i < 5000; ++i) enqueue("a");
  start();
  ASSERT_TRUE(eventually([&] { return done() == 5000; }));
  EXPECT_GT(store.largest_claim(), 100U);
  EXPECT_LE(store.largest_claim(), 1000U);
}

TEST_F(WorkerQueues, WhatWaitsForASlotTooLongGoesBackToTheFront) {
  handle_at_once();
  std::atomic<int> blocked{0};
  router.handle("slow", [&](Context&) {
    ++blocked;
    gate.wait();
    return Outcome::success();
  });
  WorkerOptions options = quick();
  options.concurrency = 2;
  start(options);
  for (int i = 0; i < 500; ++i) enqueue("a");
  ASSERT_TRUE(eventually([&] { return done() == 500; }));
  worker->quiet();
  enqueue("slow");
  enqueue("slow");
  std::vector<Ref> behind;
  for (int i = 0; i < 10; ++i) behind.push_back(enqueue("a"));
  worker->resume();
  ASSERT_TRUE(eventually([&] { return blocked == 2; }));
  for (const Ref& ref : behind) EXPECT_TRUE(becomes(ref, State::pending));
  EXPECT_EQ(task(behind.front())->attempt, 0);
  gate.open();
  EXPECT_TRUE(eventually([&] { return done() == 510; }));
}

TEST_F(WorkerQueues, QuietClaimsNothingAndResumeGoesOn) {
  handle_at_once();
  start();
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::claim) > 0; }));
  worker->quiet();
  EXPECT_EQ(worker->info().state, "quiet");
  ASSERT_TRUE(eventually([&] {
    const int claims = store.calls(Verb::claim);
    const int beats = store.calls(Verb::renew);
    return eventually([&] { return store.calls(Verb::renew) > beats + 2; }) &&
           store.calls(Verb::claim) == claims;
  }));
  const Ref ref = enqueue("a");
  const int beats = store.calls(Verb::renew);
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::renew) > beats + 2; }));
  EXPECT_EQ(state(ref), State::pending);
  worker->resume();
  EXPECT_TRUE(becomes(ref, State::gone));
  EXPECT_EQ(worker->info().state, "running");
}

TEST_F(WorkerQueues, OperatorsSignalsMakeItQuietAndResume) {
  handle_at_once();
  WorkerOptions options = quick();
  options.beat = 10s;
  options.lease = 30s;
  start(options);
  const std::string id = worker->info().id;
  ASSERT_TRUE(eventually([&] { return catalog.signal(id, Signal::quiet, clock.call()); }));
  EXPECT_TRUE(eventually([&] { return worker->info().state == "quiet"; }));
  catalog.signal(id, Signal::resume, clock.call());
  EXPECT_TRUE(eventually([&] { return worker->info().state == "running"; }));
}

TEST_F(WorkerQueues, AnEnqueueWakesAWorkerThatPollsSeldom) {
  handle_at_once();
  WorkerOptions options = quick();
  options.poll = 1h;
  start(options);
  for (std::size_t i = 1; i <= 20; ++i) {
    enqueue("a");
    ASSERT_TRUE(eventually([&] { return done() == i; }));
  }
}

TEST_F(WorkerQueues, InfoSaysWhatItIs) {
  WorkerOptions options = quick();
  options.queues = {{"default", 1}, {"mail", 3}};
  start(options);
  const WorkerInfo info = worker->info();
  EXPECT_EQ(info.slots, 4);
  EXPECT_EQ(info.queues, (std::map<std::string, int>{{"default", 1}, {"mail", 3}}));
  EXPECT_EQ(info.pid, getpid());
  EXPECT_FALSE(info.host.empty());
  ASSERT_TRUE(eventually([&] { return catalog.workers(clock.call()).size() == 1; }));
  EXPECT_EQ(catalog.workers(clock.call()).front().id, info.id);
  worker->stop();
  EXPECT_TRUE(catalog.workers(clock.call()).empty());
}

TEST_F(WorkerQueues, OptionsThatMakeNoSenseAreRefused) {
  const auto refused = [&](auto change) {
    WorkerOptions options = quick();
    change(options);
    EXPECT_THROW(Worker(store, router, options), Error);
  };
  refused([](WorkerOptions& o) { o.queues.clear(); });
  refused([](WorkerOptions& o) { o.queues = {{"a", 0}}; });
  refused([](WorkerOptions& o) { o.queues = {{"a", 1}, {"a", 2}}; });
  refused([](WorkerOptions& o) { o.queues = {{"", 1}}; });
  refused([](WorkerOptions& o) { o.concurrency = 0; });
  refused([](WorkerOptions& o) { o.threads = -1; });
  refused([](WorkerOptions& o) { o.deferrals_max = -1; });
  refused([](WorkerOptions& o) { o.lease = o.beat; });
  refused([](WorkerOptions& o) { o.beat = 0s; });
  refused([](WorkerOptions& o) { o.margin = -1s; });
  refused([](WorkerOptions& o) { o.sweep = 0s; });
  refused([](WorkerOptions& o) { o.poll = 0s; });
  refused([](WorkerOptions& o) { o.shutdown_timeout = -1s; });
  refused([](WorkerOptions& o) { o.stuck_after = -1s; });
}

}  // namespace

}  // namespace tidemill::tests
