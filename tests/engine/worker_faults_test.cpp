// A store that fails ends no thread and loses nothing: calls are repeated, the log says so once, and
// statistics wait for the next beat (rules 9 and 10).
#include <atomic>

#include "worker_fixture.hpp"

namespace tidemill::tests {

namespace {

using namespace std::chrono_literals;

struct WorkerFaults : WorkerTest {
  void handle_at_once() {
    router.handle("a", [this](Context&) {
      ++runs;
      return Outcome::success();
    });
  }
  std::atomic<int> runs{0};
};

TEST_F(WorkerFaults, AStoreThatIsAwayAtTheStartIsWaitedFor) {
  handle_at_once();
  for (const Verb verb : {Verb::claim, Verb::renew, Verb::sweep, Verb::wait, Verb::now})
    store.fail(verb, Fault::before);
  const Ref ref = enqueue("a");
  start();
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::now) > 5; }));
  EXPECT_EQ(runs, 0);
  store.heal();
  EXPECT_TRUE(becomes(ref, State::gone));
  EXPECT_TRUE(eventually([&] { return lines.count("can claim tasks again") == 1; }));
  EXPECT_EQ(lines.count("can't claim tasks"), 1U) << "it says so once, not each time";
}

TEST_F(WorkerFaults, LastClaimTellsWhetherTheStoreAnswers) {
  start();
  const auto first = worker->last_claim();
  ASSERT_TRUE(eventually([&] { return worker->last_claim() > first; }));
  store.fail(Verb::claim, Fault::before);
  ASSERT_TRUE(eventually([&] { return lines.count("can't claim tasks") == 1; }));
  const auto last = worker->last_claim();
  const int calls = store.calls(Verb::claim);
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::claim) > calls + 2; }));
  EXPECT_EQ(worker->last_claim(), last);
  store.heal();
  EXPECT_TRUE(eventually([&] { return worker->last_claim() > last; }));
}

/// A store of several servers, of which one is away.
struct WorkerPartFaults : WorkerFaults {
  static WorkerOptions two_queues() {
    WorkerOptions options = quick();
    options.queues = {{"here"}, {"away"}};
    return options;
  }
  void await_renewals(int count) {
    const int before = store.calls(Verb::renew);
    ASSERT_TRUE(eventually([&] { return store.calls(Verb::renew) >= before + count; }));
  }
};

TEST_F(WorkerPartFaults, OnlyLeasesThatAreNotRenewedAreLost) {
  router.handle("a", [this](Context& context) {
    ++runs;
    await_stop(context);
    return Outcome::success();
  });
  std::atomic<bool> stopped{false};
  router.handle("b", [&](Context& context) {
    ++runs;
    gate.wait();
    stopped = context.stop_requested();
    return Outcome::success();
  });
  start(two_queues());
  const Ref here = enqueue("b", {.queue = "here"});
  const Ref away = enqueue("a", {.queue = "away"});
  ASSERT_TRUE(eventually([&] { return runs == 2; }));
  store.lose_queue("away");
  ASSERT_TRUE(eventually([&] { return lines.count("lease was lost") > 0; })) << "its time has run out";
  EXPECT_EQ(lines.count("can't renew leases"), 1U);
  store.lose_queue({});
  gate.open();
  EXPECT_TRUE(becomes(here, State::gone));
  EXPECT_FALSE(stopped);
  EXPECT_TRUE(eventually([&] { return lines.count("can renew leases again") == 1; }));
}

TEST_F(WorkerPartFaults, ALeaseThatMayNotHaveBeenRenewedIsHeldToItsEnd) {
  std::atomic<bool> stopped{false};
  router.handle("a", [&](Context& context) {
    ++runs;
    context.progress("half");
    gate.wait();
    stopped = context.stop_requested();
    return Outcome::success();
  });
  WorkerOptions options = two_queues();
  options.lease = 60s;
  start(options);
  store.lose_queue("away");
  const Ref ref = enqueue("a", {.queue = "away"});
  ASSERT_TRUE(eventually([&] { return runs == 1; }));
  await_renewals(3);
  store.lose_queue({});
  EXPECT_TRUE(eventually([&] { return !task(ref)->progress.empty(); })) << "its news wait for the next beat";
  gate.open();
  EXPECT_TRUE(becomes(ref, State::gone));
  EXPECT_FALSE(stopped);
}

TEST_F(WorkerPartFaults, AMarkThatMayNotHaveBeenMadeIsMadeAgain) {
  handle_at_once();
  WorkerOptions options = two_queues();
  options.lease = 60s;
  start(options);
  store.lose_queue("away");
  const Ref away = enqueue("a", {.queue = "away", .crashes_max = 0});
  ASSERT_TRUE(eventually([&] { return state(away) == State::active; }));
  await_renewals(3);
  EXPECT_TRUE(becomes(enqueue("a", {.queue = "here", .crashes_max = 0}), State::gone));
  EXPECT_EQ(state(away), State::active);
  EXPECT_EQ(runs, 1);
  store.lose_queue({});
  EXPECT_TRUE(becomes(away, State::gone));
}

TEST_F(WorkerFaults, AWaitThatFailsKeepsNobodyFromClaiming) {
  handle_at_once();
  store.fail(Verb::wait, Fault::before);
  start();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(becomes(enqueue("a"), State::gone));
}

TEST_F(WorkerFaults, AReportThatFailsIsSentAgain) {
  handle_at_once();
  store.fail(Verb::report, Fault::before, 3);
  const Ref ref = enqueue("a");
  start();
  EXPECT_TRUE(becomes(ref, State::gone));
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(lines.count("can't report outcomes"), 1U);
}

TEST_F(WorkerFaults, AReportWhoseAnswerGotLostIsRepeatedUnderItsNumber) {
  handle_at_once();
  store.fail(Verb::report, Fault::after, 2);
  const Ref ref = enqueue("a", {.retention = 1h});
  start();
  ASSERT_TRUE(becomes(ref, State::completed));
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::report) >= 2; }));
  worker->stop();
  EXPECT_EQ(lines.count("came too late"), 0U) << "the repeat got the first answer";
  const auto stats = catalog.stats("", Span::day, {}, clock.now(), clock.call());
  ASSERT_EQ(stats.size(), 1U);
  EXPECT_EQ(stats.front().success, 1U);
}

TEST_F(WorkerFaults, AClaimWhoseAnswerGotLostIsRepeatedUnderItsNumber) {
  handle_at_once();
  store.fail(Verb::claim, Fault::after, 1);
  const Ref ref = enqueue("a");
  WorkerOptions options = quick();
  options.sweep = 1h;
  start(options);
  EXPECT_TRUE(becomes(ref, State::gone));
}

TEST_F(WorkerFaults, LeasesAreRenewedWhileAReportWaits) {
  handle_at_once();
  const Ref ref = enqueue("a", {.retention = 1h});
  store.fail(Verb::report, Fault::hang);
  WorkerOptions options = quick();
  options.lease = 600ms;
  start(options);
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::report) == 1; }));
  const auto until = std::chrono::steady_clock::now() + 2 * options.lease;
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() > until; }));
  EXPECT_EQ(state(ref), State::active);
  EXPECT_EQ(task(ref)->worker, worker->info().id);
  store.heal();
  EXPECT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(runs, 1);
}

TEST_F(WorkerFaults, RenewalsThatFailForAWhileCostNothing) {
  router.handle("a", [&](Context& context) {
    ++runs;
    context.progress("half way");
    context.log(Level::info, "a line");
    gate.wait();
    return Outcome::failure("x");
  });
  store.fail(Verb::renew, Fault::before, 3);
  const Ref ref = enqueue("a");
  start();
  ASSERT_TRUE(eventually([&] { return task(ref)->progress == "half way"; }));
  gate.open();
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_EQ(attempts(ref).front().logs.size(), 1U);
  EXPECT_EQ(runs, 1);
}

TEST_F(WorkerFaults, ASweepThatFailsGoesOn) {
  handle_at_once();
  const Ref ref = enqueue("a");
  claim_and_die(1);
  store.fail(Verb::sweep, Fault::before, 3);
  start();
  EXPECT_TRUE(becomes(ref, State::gone));
  EXPECT_EQ(lines.count("can't sweep"), 1U);
}

TEST_F(WorkerFaults, AStoreThatFailsDoesNotHoldUpAStopForEver) {
  handle_at_once();
  start();
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::claim) > 1; }));
  for (const Verb verb : {Verb::claim, Verb::renew, Verb::sweep, Verb::wait}) store.fail(verb, Fault::before);
  worker->stop();
}

TEST_F(WorkerFaults, StatisticsAddUpByKindAndWaitForABeatThatArrives) {
  handle_at_once();
  router.handle("fails", [](Context&) {
    const auto until = std::chrono::steady_clock::now() + 2ms;
    while (std::chrono::steady_clock::now() < until) {
    }
    return Outcome::failure("x");
  });
  const Ref dead = enqueue("a");
  claim_and_die(1);
  store.fail(Verb::renew, Fault::before, 4);
  for (int i = 0; i < 50; ++i) enqueue("a");
  for (int i = 0; i < 5; ++i) enqueue("fails");
  start();
  ASSERT_TRUE(becomes(dead, State::gone));
  ASSERT_TRUE(eventually([&] { return runs == 51; }));
  worker->stop();
  const auto stats = catalog.stats("default", Span::minute, {}, clock.now() + 1min, clock.call());
  Stat a;
  Stat fails;
  for (const Stat& stat : stats) {
    Stat& sum = stat.kind == "a" ? a : fails;
    sum.success += stat.success;
    sum.failure += stat.failure;
    sum.crash += stat.crash;
    sum.busy += stat.busy;
  }
  EXPECT_EQ(a.success, 51U);
  EXPECT_EQ(a.failure, 0U);
  EXPECT_EQ(a.crash, 1U);
  EXPECT_EQ(fails.failure, 5U);
  EXPECT_GE(fails.busy, 10ms);
}

}  // namespace

}  // namespace tidemill::tests
