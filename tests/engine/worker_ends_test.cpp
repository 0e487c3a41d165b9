// How a worker stops: gracefully, impatiently, by a signal of the process or of an operator, and with
// handlers that never return.
#include <atomic>
#include <csignal>

#include <tidemill/error.hpp>

#include "worker_fixture.hpp"

namespace tidemill::tests {

namespace {

using namespace std::chrono_literals;

struct WorkerEnds : WorkerTest {
  WorkerOptions impatient() {
    WorkerOptions options = quick();
    options.shutdown_timeout = 20ms;
    options.stuck_after = 50ms;
    return options;
  }
  std::atomic<int> running{0};
  std::atomic<StopReason> seen{StopReason::none};
};

TEST_F(WorkerEnds, StartAndStopOnce) {
  start();
  EXPECT_THROW(worker->start(), Error);
  worker->stop();
  worker->stop();
  EXPECT_THROW(worker->start(), Error);
  Worker never{store, router, quick()};
  never.stop();
  EXPECT_THROW(never.start(), Error);
}

TEST_F(WorkerEnds, WhatRunsMayEndAndWhatWaitsGoesBack) {
  router.handle("a", [&](Context& context) {
    ++running;
    gate.wait();
    seen = context.stop_reason();
    return Outcome::success();
  });
  router.handle("quick", [](Context&) { return Outcome::success(); });
  WorkerOptions options = quick();
  options.concurrency = 1;
  start(options);
  for (int i = 0; i < 100; ++i) enqueue("quick");
  const Ref runs = enqueue("a", {.retention = 1h});
  std::vector<Ref> waits;
  for (int i = 0; i < 10; ++i) waits.push_back(enqueue("quick"));
  ASSERT_TRUE(eventually([&] { return running == 1; }));
  std::thread stopping{[&] { worker->stop(); }};
  ASSERT_TRUE(eventually([&] { return worker->info().state == "stopping"; }));
  for (const Ref& ref : waits) EXPECT_TRUE(becomes(ref, State::pending));
  gate.open();
  stopping.join();
  EXPECT_EQ(state(runs), State::completed);
  EXPECT_EQ(seen, StopReason::none);
  for (const Ref& ref : waits) EXPECT_EQ(task(ref)->attempt, 0);
}

TEST_F(WorkerEnds, AfterTheShutdownTimeoutTokensFire) {
  router.handle("a", [&](Context& context) {
    ++running;
    await_stop(context);
    seen = context.stop_reason();
    return Outcome::failure("stopped");
  });
  const Ref ref = enqueue("a");
  start(impatient());
  ASSERT_TRUE(eventually([&] { return running == 1; }));
  worker->stop();
  EXPECT_EQ(seen, StopReason::shutdown);
  EXPECT_EQ(state(ref), State::pending);
  EXPECT_EQ(task(ref)->attempt, 0);
}

TEST_F(WorkerEnds, AHandlerThatNeverReturnsIsLeftBehind) {
  // Outlives the worker, as the handler does.
  const auto shut = std::make_shared<Gate>();
  const auto ended = std::make_shared<std::atomic<bool>>(false);
  router.handle("a", [this, shut, ended](Context&) {
    ++running;
    shut->wait();
    *ended = true;
    return Outcome::success();
  });
  const Ref ref = enqueue("a");
  start(impatient());
  ASSERT_TRUE(eventually([&] { return running == 1; }));
  worker.reset();
  EXPECT_EQ(state(ref), State::pending);
  EXPECT_EQ(task(ref)->attempt, 0);
  EXPECT_EQ(lines.count("left threads behind"), 1U);
  shut->open();
  EXPECT_TRUE(eventually([&] { return ended->load(); }));
}

TEST_F(WorkerEnds, ACompletionMayOutliveTheWorker) {
  Completion kept;
  router.handle("a", [&](Context& context) {
    kept = context.defer();
    ++running;
    return Outcome::deferred();
  });
  const Ref ref = enqueue("a");
  start(impatient());
  ASSERT_TRUE(eventually([&] { return running == 1; }));
  worker.reset();
  EXPECT_EQ(state(ref), State::pending);
  kept(Outcome::success());
  EXPECT_EQ(state(ref), State::pending);
}

TEST_F(WorkerEnds, AnOperatorsStopEndsIt) {
  router.handle("a", [](Context&) { return Outcome::success(); });
  start();
  const std::string id = worker->info().id;
  ASSERT_TRUE(eventually([&] { return catalog.signal(id, Signal::stop, clock.call()); }));
  EXPECT_TRUE(eventually([&] { return catalog.workers(clock.call()).empty(); }));
  worker->stop();
  EXPECT_EQ(lines.count("worker stopped"), 1U);
}

TEST_F(WorkerEnds, RunEndsWithSigterm) {
  router.handle("a", [&](Context&) {
    ++running;
    gate.wait();
    return Outcome::success();
  });
  const Ref ref = enqueue("a", {.retention = 1h});
  WorkerOptions options = quick();
  options.log = lines.log();
  worker = std::make_unique<Worker>(store, router, options);
  struct sigaction before{};
  sigaction(SIGTERM, nullptr, &before);
  std::thread runs{[&] { worker->run(); }};
  ASSERT_TRUE(eventually([&] { return running == 1; }));
  kill(getpid(), SIGTERM);
  ASSERT_TRUE(eventually([&] { return worker->info().state == "stopping"; }));
  gate.open();
  runs.join();
  EXPECT_EQ(state(ref), State::completed);
  struct sigaction after{};
  sigaction(SIGTERM, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

TEST_F(WorkerEnds, ASecondSignalFiresTheTokensAtOnce) {
  router.handle("a", [&](Context& context) {
    ++running;
    await_stop(context);
    seen = context.stop_reason();
    return Outcome::failure("x");
  });
  const Ref ref = enqueue("a");
  WorkerOptions options = quick();
  options.shutdown_timeout = 1h;
  worker = std::make_unique<Worker>(store, router, options);
  std::thread runs{[&] { worker->run(); }};
  ASSERT_TRUE(eventually([&] { return running == 1; }));
  kill(getpid(), SIGINT);
  ASSERT_TRUE(eventually([&] { return worker->info().state == "stopping"; }));
  EXPECT_EQ(seen, StopReason::none);
  kill(getpid(), SIGINT);
  runs.join();
  EXPECT_EQ(seen, StopReason::shutdown);
  EXPECT_EQ(state(ref), State::pending);
}

TEST_F(WorkerEnds, RunEndsWithAnOperatorsStop) {
  worker = std::make_unique<Worker>(store, router, quick());
  std::thread runs{[&] { worker->run(); }};
  const std::string id = worker->info().id;
  ASSERT_TRUE(eventually([&] { return catalog.signal(id, Signal::stop, clock.call()); }));
  runs.join();
  EXPECT_TRUE(catalog.workers(clock.call()).empty());
}

TEST_F(WorkerEnds, TwoCantRunAtOnceInAProcess) {
  worker = std::make_unique<Worker>(store, router, quick());
  std::thread runs{[&] { worker->run(); }};
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::claim) > 0; }));
  Worker other{store, router, quick()};
  EXPECT_THROW(other.run(), Error);
  kill(getpid(), SIGTERM);
  runs.join();
}

}  // namespace

}  // namespace tidemill::tests
