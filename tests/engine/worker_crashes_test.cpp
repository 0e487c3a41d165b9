// Tasks whose workers die: taken over, charged, marked before they run again, one at a time, and in the end
// archived as poison (rule 3).
#include <algorithm>
#include <atomic>
#include <future>

#include "worker_fixture.hpp"

namespace tidemill::tests {

namespace {

using namespace std::chrono_literals;

struct WorkerCrashes : WorkerTest {
  void handle_at_once() {
    router.handle("a", [this](Context&) {
      ++runs;
      return Outcome::success();
    });
  }
  /// As a worker that marks the tasks as started, and dies.
  void start_and_die(std::size_t count) {
    const std::vector<Lease> leases = claim_and_die(count, 1h);
    std::vector<Beat> beats;
    for (const Lease& lease : leases) beats.push_back({.lease = &lease, .started = true});
    WorkerInfo dead;
    dead.id = "dead";
    memory->renew(dead, beats, 1ms, {}, clock.call());
  }
  std::atomic<int> runs{0};
};

TEST_F(WorkerCrashes, ATaskOfADeadWorkerRunsAgainAndItsCrashIsKept) {
  handle_at_once();
  const Ref ref = enqueue("a", {.retention = 1h});
  ASSERT_EQ(claim_and_die(1).size(), 1U);
  start();
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(task(ref)->crashes, 1);
  ASSERT_EQ(attempts(ref).size(), 2U);
  EXPECT_NE(attempts(ref).front().error.find("dead"), std::string::npos);
}

TEST_F(WorkerCrashes, SweepingIsWithheldForABeatAfterTheStart) {
  handle_at_once();
  const Ref ref = enqueue("a");
  claim_and_die(1);
  WorkerOptions options = quick();
  options.beat = 1s;
  options.lease = 4s;
  const auto started = std::chrono::steady_clock::now();
  start(options);
  ASSERT_TRUE(becomes(ref, State::gone));
  EXPECT_GE(std::chrono::steady_clock::now() - started, 1s);
}

TEST_F(WorkerCrashes, ASecondCrashIsChargedOnlyIfTheAttemptWasMarked) {
  handle_at_once();
  const Ref ref = enqueue("a", {.retention = 1h});
  claim_and_die(1);
  WorkerOptions options = quick();
  options.queues = {{"elsewhere", 1}};
  start(options);
  ASSERT_TRUE(eventually([&] { return task(ref)->crashes == 1; }));
  ASSERT_TRUE(becomes(ref, State::pending));
  claim_and_die(1);
  ASSERT_TRUE(becomes(ref, State::pending));
  EXPECT_EQ(task(ref)->crashes, 1) << "it had not started";
  start_and_die(1);
  ASSERT_TRUE(eventually([&] { return task(ref)->crashes == 2; }));
}

TEST_F(WorkerCrashes, AtItsLimitATaskIsPoison) {
  handle_at_once();
  const Ref ref = enqueue("a", {.crashes_max = 2});
  claim_and_die(1);
  WorkerOptions options = quick();
  options.queues = {{"elsewhere", 1}};
  start(options);
  ASSERT_TRUE(becomes(ref, State::pending));
  start_and_die(1);
  ASSERT_TRUE(becomes(ref, State::archived));
  EXPECT_EQ(task(ref)->reason, "poison");
  EXPECT_EQ(lines.count("archived as poison"), 1U);
}

TEST_F(WorkerCrashes, ALimitOfZeroOrOneEndsWhatStartedAndGivesBackWhatDidNot) {
  for (const std::int32_t limit : {0, 1}) {
    const Ref ref = enqueue("b", {.crashes_max = limit});
    claim_and_die(1);
    WorkerOptions options = quick();
    options.queues = {{"elsewhere", 1}};
    start(options);
    ASSERT_TRUE(becomes(ref, State::pending));
    EXPECT_EQ(task(ref)->crashes, 0);
    start_and_die(1);
    ASSERT_TRUE(becomes(ref, State::archived));
    EXPECT_EQ(task(ref)->reason, "poison");
    worker->stop();
  }
}

TEST_F(WorkerCrashes, ATaskThatOneCrashEndsIsMarkedBeforeItRuns) {
  std::atomic<int> beats_before{-1};
  router.handle("a", [&](Context&) {
    beats_before = store.calls(Verb::renew);
    ++runs;
    return Outcome::success();
  });
  WorkerOptions options = quick();
  options.beat = 10s;
  options.lease = 30s;
  store.fail(Verb::renew, Fault::before);
  start(options);
  const Ref ref = enqueue("a", {.crashes_max = 0});
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::renew) >= 3; }));
  EXPECT_EQ(runs, 0) << "no mark was confirmed";
  store.heal();
  ASSERT_TRUE(becomes(ref, State::gone));
  EXPECT_EQ(runs, 1);
}

TEST_F(WorkerCrashes, TasksThatMustBeMarkedRunManyAtATime) {
  std::atomic<int> now_running{0};
  router.handle("a", [&](Context&) {
    if (++now_running == 4) gate.open();
    gate.wait();
    return Outcome::success();
  });
  std::vector<Ref> refs;
  for (int i = 0; i < 8; ++i) refs.push_back(enqueue("a", {.crashes_max = 1}));
  start();
  for (const Ref& ref : refs) EXPECT_TRUE(becomes(ref, State::gone));
}

TEST_F(WorkerCrashes, SuspectsRunOneAtATimeInTheWholeProcessAndHoldUpNobody) {
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  std::atomic<int> healthy{0};
  router.handle("suspect", [&](Context&) {
    most = std::max(most.load(), ++running);
    gate.wait();
    --running;
    return Outcome::success();
  });
  router.handle("healthy", [&](Context&) {
    ++healthy;
    return Outcome::success();
  });
  std::vector<Ref> suspects;
  for (int i = 0; i < 12; ++i) suspects.push_back(enqueue("suspect"));
  claim_and_die(12);
  start();
  Worker other{store, router, [this] {
                 WorkerOptions options = quick();
                 options.log = Log::silent();
                 return options;
               }()};
  other.start();
  ASSERT_TRUE(eventually([&] { return running == 1; }));
  for (int i = 0; i < 100; ++i) enqueue("healthy");
  ASSERT_TRUE(eventually([&] { return healthy == 100; }));
  EXPECT_EQ(most, 1);
  gate.open();
  for (const Ref& ref : suspects) EXPECT_TRUE(becomes(ref, State::gone));
  EXPECT_EQ(most, 1);
}

TEST_F(WorkerCrashes, SuspectsOfAnIsolatedKindRunTogether) {
  std::atomic<int> running{0};
  const auto handler = [&](Context&) {
    ++running;
    gate.wait();
    return Outcome::success();
  };
  router.handle("elsewhere", handler, {.isolated = true});
  std::vector<Ref> refs;
  for (int i = 0; i < 3; ++i) refs.push_back(enqueue("elsewhere"));
  claim_and_die(3);
  start();
  EXPECT_TRUE(eventually([&] { return running == 3; }));
  for (const Ref& ref : refs) EXPECT_EQ(task(ref)->crashes, 1);
  gate.open();
  for (const Ref& ref : refs) EXPECT_TRUE(becomes(ref, State::gone));
}

TEST_F(WorkerCrashes, SuspectsThatWaitAreGivenBackByAStop) {
  router.handle("suspect", [&](Context&) {
    ++runs;
    gate.wait();
    return Outcome::success();
  });
  std::vector<Ref> suspects;
  for (int i = 0; i < 3; ++i) suspects.push_back(enqueue("suspect"));
  claim_and_die(3);
  start();
  ASSERT_TRUE(eventually([&] { return runs == 1; }));
  std::thread stopping{[&] { worker->stop(); }};
  ASSERT_TRUE(eventually([&] { return worker->info().state == "stopping"; }));
  gate.open();
  stopping.join();
  int pending = 0;
  for (const Ref& ref : suspects) pending += state(ref) == State::pending ? 1 : 0;
  EXPECT_EQ(pending, 2);
  // The gate is free again: the next worker runs them.
  start();
  for (const Ref& ref : suspects) EXPECT_TRUE(becomes(ref, State::gone));
}

TEST_F(WorkerCrashes, ASuspectThatIsCancelledWhileItWaitsIsArchived) {
  std::promise<std::string> begun;
  router.handle("suspect", [&](Context& context) {
    begun.set_value(context.task().ref.id);  // Throws if another one gets here.
    gate.wait();
    return Outcome::success();
  });
  std::vector<Ref> suspects;
  for (int i = 0; i < 3; ++i) suspects.push_back(enqueue("suspect"));
  claim_and_die(3);
  start();
  const std::string running = begun.get_future().get();
  // Claimed, and no longer with the sweeper, which takes them over first.
  ASSERT_TRUE(eventually([&] {
    return std::ranges::all_of(suspects, [&](const Ref& ref) {
      const Task found = *task(ref);
      return found.state == State::active && found.crashes == 1;
    });
  }));
  std::erase_if(suspects, [&](const Ref& ref) { return ref.id == running; });
  ASSERT_EQ(suspects.size(), 2U);
  for (const Ref& ref : suspects) ASSERT_EQ(act(Act::cancel, ref), Changed::signalled);
  const int beats = store.calls(Verb::renew);
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::renew) > beats + 2; }));
  gate.open();
  for (const Ref& ref : suspects) {
    EXPECT_TRUE(becomes(ref, State::archived));
  }
  EXPECT_TRUE(becomes({"default", running}, State::gone));
}

}  // namespace

}  // namespace tidemill::tests
