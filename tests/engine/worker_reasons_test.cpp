// Why an attempt is told to stop, what its handler sees of it, and what becomes of the task.
#include <atomic>

#include "worker_fixture.hpp"

namespace tidemill::tests {

namespace {

using namespace std::chrono_literals;

struct WorkerReasons : WorkerTest {
  /// A handler that runs until it is told to stop, and then says `outcome`.
  void handle_until_stopped(const Outcome& outcome = Outcome::failure("stopped")) {
    router.handle("a", [this, outcome](Context& context) {
      running = true;
      await_stop(context);
      seen = context.stop_reason();
      return outcome;
    });
  }
  /// Ignores its token until `gate` opens.
  void handle_stubbornly() {
    router.handle("a", [this](Context&) {
      running = true;
      gate.wait();
      return Outcome::success("too late");
    });
  }
  WorkerOptions soon_stuck() {
    WorkerOptions options = quick();
    options.stuck_after = 30ms;
    return options;
  }
  bool runs() {
    return eventually([this] { return running.load(); });
  }

  std::atomic<bool> running{false};
  std::atomic<StopReason> seen{StopReason::none};
};

TEST_F(WorkerReasons, CancelArchives) {
  handle_until_stopped();
  const Ref ref = enqueue("a");
  start();
  ASSERT_TRUE(runs());
  EXPECT_EQ(act(Act::cancel, ref), Changed::signalled);
  ASSERT_TRUE(becomes(ref, State::archived));
  EXPECT_EQ(seen, StopReason::cancel);
  EXPECT_EQ(task(ref)->reason, "cancelled");
}

TEST_F(WorkerReasons, CancelComesAtOnceThoughAllSlotsAreTaken) {
  handle_until_stopped();
  const Ref ref = enqueue("a");
  enqueue("a");
  WorkerOptions options = quick();
  options.concurrency = 1;
  options.beat = 10s;
  options.lease = 40s;
  options.shutdown_timeout = 0s;
  start(options);
  ASSERT_TRUE(runs());
  const auto before = std::chrono::steady_clock::now();
  act(Act::cancel, ref);
  ASSERT_TRUE(becomes(ref, State::archived));
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s) << "it waited for the next beat";
}

TEST_F(WorkerReasons, CancelDoesNotUndoASuccess) {
  handle_until_stopped(Outcome::success("done all the same"));
  const Ref ref = enqueue("a", {.retention = 1h});
  start();
  ASSERT_TRUE(runs());
  act(Act::cancel, ref);
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(seen, StopReason::cancel);
}

TEST_F(WorkerReasons, HoldCountsNoAttempt) {
  handle_until_stopped();
  const Ref ref = enqueue("a");
  start();
  ASSERT_TRUE(runs());
  EXPECT_EQ(act(Act::hold, ref), Changed::signalled);
  ASSERT_TRUE(becomes(ref, State::held));
  EXPECT_EQ(seen, StopReason::hold);
  EXPECT_EQ(task(ref)->attempt, 0);
}

TEST_F(WorkerReasons, TimeoutIsAFailure) {
  handle_until_stopped();
  const Ref ref = enqueue("a", {.timeout = 50ms});
  start();
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_EQ(seen, StopReason::timeout);
  EXPECT_NE(task(ref)->error.find("timeout"), std::string::npos);
}

TEST_F(WorkerReasons, TimeoutsFireInTheirOrder) {
  std::mutex mutex;
  std::vector<std::string> order;
  router.handle("a", [&](Context& context) {
    await_stop(context);
    const std::lock_guard lock{mutex};
    order.push_back(context.task().payload);
    return Outcome::failure("x");
  });
  const Ref last = enqueue("a", {.timeout = 1s}, "last");
  const Ref second = enqueue("a", {.timeout = 500ms}, "second");
  const Ref first = enqueue("a", {.timeout = 20ms}, "first");
  start();
  ASSERT_TRUE(becomes(last, State::retry));
  EXPECT_EQ(order, (std::vector<std::string>{"first", "second", "last"}));
}

TEST_F(WorkerReasons, DeadlineArchives) {
  handle_until_stopped();
  const Ref ref = enqueue("a", {.deadline = clock.now() + 300ms});
  start();
  ASSERT_TRUE(becomes(ref, State::archived));
  EXPECT_EQ(seen, StopReason::deadline);
  EXPECT_EQ(task(ref)->reason, "deadline");
}

TEST_F(WorkerReasons, TheFirstReasonStays) {
  router.handle("a", [this](Context& context) {
    await_stop(context);
    running = true;
    gate.wait();
    seen = context.stop_reason();
    return Outcome::failure("x");
  });
  const Ref ref = enqueue("a", {.timeout = 20ms});
  start();
  ASSERT_TRUE(runs());
  act(Act::cancel, ref);
  const int beats = store.calls(Verb::renew);
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::renew) > beats + 2; }));
  gate.open();
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_EQ(seen, StopReason::timeout);
}

TEST_F(WorkerReasons, ALeaseThatAnotherTookIsLost) {
  handle_until_stopped(Outcome::success("not mine any more"));
  const Ref ref = enqueue("a", {.retention = 1h});
  WorkerOptions options = quick();
  options.lease = 500ms;
  options.margin = 0s;
  options.beat = 200ms;
  options.sweep = 1h;
  start(options);
  ASSERT_TRUE(runs());
  // Another takes it over, as after a long stall.
  store.fail(Verb::renew, Fault::before);
  ASSERT_TRUE(eventually([&] { return !memory->sweep("another", 1h, 10, clock.call()).taken.empty(); }));
  store.heal();
  ASSERT_TRUE(eventually([&] { return seen == StopReason::lost; }));
  ASSERT_TRUE(eventually([&] { return worker->info().busy == 0; }));
  EXPECT_EQ(state(ref), State::active);
  EXPECT_EQ(task(ref)->worker, "another");
  EXPECT_GE(lines.count("a lease was lost"), 1U);
}

TEST_F(WorkerReasons, ALeaseRunsOutByTheHoldersOwnCountWhenTheStoreHangs) {
  handle_until_stopped(Outcome::success());
  enqueue("a");
  WorkerOptions options = quick();
  options.lease = 600ms;
  start(options);
  ASSERT_TRUE(runs());
  store.fail(Verb::renew, Fault::hang);
  EXPECT_TRUE(eventually([&] { return seen == StopReason::lost; }));
  store.heal();
}

TEST_F(WorkerReasons, NothingStartsWhenTheClaimsAnswerCameTooLate) {
  std::atomic<int> runs_seen{0};
  router.handle("a", [&](Context&) {
    ++runs_seen;
    return Outcome::success();
  });
  WorkerOptions options = quick();
  options.lease = 400ms;
  options.sweep = 1h;
  store.fail(Verb::claim, Fault::hang);
  store.fail(Verb::renew, Fault::before);  // A renewal would confirm the lease, and then it may start.
  start(options);
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::claim) == 1; }));
  const Ref ref = enqueue("a");
  const auto until = std::chrono::steady_clock::now() + 250ms;
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() > until; }));
  store.heal(Verb::claim);
  EXPECT_TRUE(eventually([&] { return lines.count("a lease was lost") == 1; }));
  EXPECT_EQ(runs_seen, 0);
  EXPECT_EQ(state(ref), State::active);
}

TEST_F(WorkerReasons, AStuckHandlerIsReportedAndKeepsItsSlot) {
  handle_stubbornly();
  const Ref ref = enqueue("a", {.timeout = 30ms, .retention = 1h});
  start(soon_stuck());
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_NE(task(ref)->error.find("had not returned"), std::string::npos);
  EXPECT_EQ(worker->info().stuck, 1);
  EXPECT_EQ(worker->info().busy, 1);
  gate.open();
  EXPECT_TRUE(eventually([&] { return worker->info().busy == 0; }));
  EXPECT_EQ(worker->info().stuck, 0);
  EXPECT_EQ(state(ref), State::retry) << "what it said later is dropped";
}

TEST_F(WorkerReasons, AStuckHandlerThatWasCancelledIsArchived) {
  handle_stubbornly();
  const Ref ref = enqueue("a");
  start(soon_stuck());
  ASSERT_TRUE(runs());
  act(Act::cancel, ref);
  ASSERT_TRUE(becomes(ref, State::archived));
  EXPECT_EQ(task(ref)->reason, "cancelled");
  gate.open();
}

TEST_F(WorkerReasons, TheLeaseOfAHandlerThatIgnoresItsTokenIsRenewed) {
  handle_stubbornly();
  const Ref ref = enqueue("a", {.timeout = 1ms});
  WorkerOptions options = quick();
  options.lease = 600ms;
  start(options);
  ASSERT_TRUE(runs());
  const auto until = std::chrono::steady_clock::now() + 2 * options.lease;
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() > until; }));
  EXPECT_EQ(state(ref), State::active);
  EXPECT_EQ(task(ref)->worker, worker->info().id);
  gate.open();
  EXPECT_TRUE(becomes(ref, State::gone));
}

TEST_F(WorkerReasons, ACallbackThatBlocksKeepsNobodyFromRenewingOrStopping) {
  std::atomic<int> blocked{0};
  router.handle("block", [&](Context& context) {
    const std::stop_callback callback{context.stop_token(), [&] {
                                        ++blocked;
                                        gate.wait();
                                      }};
    gate.wait();
    return Outcome::success();
  });
  handle_until_stopped();
  const Ref blocks = enqueue("block", {.timeout = 1ms});
  WorkerOptions options = quick();
  options.lease = 800ms;
  start(options);
  ASSERT_TRUE(eventually([&] { return blocked == 1; }));
  const Ref other = enqueue("a", {.timeout = 1ms});
  ASSERT_TRUE(becomes(other, State::retry));
  const int beats = store.calls(Verb::renew);
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::renew) > beats + 2; }));
  EXPECT_EQ(state(blocks), State::active);
  gate.open();
  EXPECT_TRUE(becomes(blocks, State::gone));
}

// One slot, and others wait behind it: some of them claimed already, as the quick ones before have shown the
// worker how much it may fetch ahead. It gives those back after a second, and must not lose what the operator
// said.
TEST_F(WorkerReasons, CancelBeforeTheStartArchives) {
  handle_stubbornly();
  router.handle("quick", [](Context&) { return Outcome::success(); });
  WorkerOptions options = quick();
  options.concurrency = 1;
  start(options);
  for (int i = 0; i < 50; ++i) enqueue("quick");
  const Ref first = enqueue("a");
  std::vector<Ref> waiting;
  for (int i = 0; i < 20; ++i) waiting.push_back(enqueue("quick", {.priority = -1}));
  ASSERT_TRUE(runs());
  for (const Ref& ref : waiting) act(Act::cancel, ref);
  for (const Ref& ref : waiting) EXPECT_TRUE(becomes(ref, State::archived));
  gate.open();
  EXPECT_TRUE(becomes(first, State::gone));
}

}  // namespace

}  // namespace tidemill::tests
