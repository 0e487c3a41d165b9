// The callbacks of a worker's options: which errors count as failures, who is told of them, and what becomes
// of a callback that throws or blocks. And what a health check says.
#include <mutex>
#include <stdexcept>
#include <vector>

#include <gmock/gmock.h>

#include <tidemill/error.hpp>
#include <tidemill/testing.hpp>

#include "worker_fixture.hpp"

namespace tidemill::tests {

namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

struct Busy : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// An error as a callback saw it.
struct Seen {
  std::string id = {}, error = {};
  StopReason stopped = StopReason::none;
  bool thrown = false;
};

struct WorkerCallbacks : WorkerTest {
  /// Errors go to `seen`.
  WorkerOptions watched() {
    WorkerOptions options = quick();
    options.on_error = [this](const FailedAttempt& failed) {
      const std::lock_guard lock{mutex};
      seen.push_back(
          {failed.task.ref.id, std::string{failed.error}, failed.stopped, failed.thrown != nullptr});
    };
    return options;
  }
  std::vector<Seen> errors() {
    const std::lock_guard lock{mutex};
    return seen;
  }
  /// Waits until one of this task came.
  Seen error_of(const Ref& ref) {
    Seen found;
    EXPECT_TRUE(eventually([&] {
      for (const Seen& each : errors()) {
        if (each.id == ref.id) found = each;
      }
      return !found.id.empty();
    }));
    return found;
  }
  /// Successes and failures of all queues, once the worker has stopped.
  std::pair<std::uint64_t, std::uint64_t> counted() {
    worker->stop();
    std::pair<std::uint64_t, std::uint64_t> all;
    for (const Stat& stat :
         catalog.stats("", Span::day, clock.now() - 48h, clock.now() + 48h, clock.call())) {
      all.first += stat.success;
      all.second += stat.failure;
    }
    return all;
  }

  std::mutex mutex;
  std::vector<Seen> seen;  // Guarded by mutex.
};

// ---- Which errors count

TEST_F(WorkerCallbacks, AnErrorThatIsNoFailureUsesUpNoRetry) {
  std::atomic<int> runs{0};
  router.handle("a", [&](Context&) { return ++runs < 4 ? Outcome::failure("busy") : Outcome::success(); },
                {.retry = RetryPolicy::linear(0s, 0s)});
  const Ref ref = enqueue("a", {.retries_max = 1, .retention = 1h});
  WorkerOptions options = watched();
  options.is_failure = [](const FailedAttempt& failed) { return failed.error != "busy"; };
  start(options);
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(task(ref)->retries, 0);
  EXPECT_EQ(task(ref)->attempt, 4);
  EXPECT_EQ(attempts(ref).size(), 4U) << "each of its errors is kept";
  EXPECT_EQ(counted(), std::pair(std::uint64_t{1}, std::uint64_t{0}));
  EXPECT_EQ(errors().size(), 3U) << "it is an error all the same";
}

TEST_F(WorkerCallbacks, ItWaitsAsLongAsByThePolicy) {
  router.handle("a", [](Context&) { return Outcome::failure("busy"); });
  const Ref ref = enqueue("a");
  WorkerOptions options = quick();
  options.is_failure = [](const FailedAttempt&) { return false; };
  start(options);
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_EQ(task(ref)->error, "busy");
  EXPECT_GT(*task(ref)->run_at, clock.now() + 59min);
}

TEST_F(WorkerCallbacks, WithoutARetryLeftItIsArchivedAllTheSame) {
  router.handle("a", [](Context&) { return Outcome::failure("busy"); });
  const Ref ref = enqueue("a", {.retries_max = 0});
  WorkerOptions options = quick();
  options.is_failure = [](const FailedAttempt&) {
    ADD_FAILURE() << "asked though it makes no difference";
    return false;
  };
  start(options);
  ASSERT_TRUE(becomes(ref, State::archived));
  EXPECT_EQ(task(ref)->reason, "retries");
  EXPECT_EQ(counted().second, 1U);
}

TEST_F(WorkerCallbacks, TheExceptionItselfDecides) {
  router.handle("busy", [](Context&) -> Outcome { throw Busy{"not now"}; });
  router.handle("broken", [](Context&) -> Outcome { throw std::runtime_error{"not now"}; });
  const Ref busy = enqueue("busy");
  const Ref broken = enqueue("broken");
  WorkerOptions options = watched();
  options.is_failure = [](const FailedAttempt& failed) {
    try {
      std::rethrow_exception(failed.thrown);
    } catch (const Busy&) {
      return false;
    } catch (...) {
      return true;
    }
  };
  start(options);
  ASSERT_TRUE(becomes(busy, State::retry));
  ASSERT_TRUE(becomes(broken, State::retry));
  EXPECT_EQ(task(busy)->retries, 0);
  EXPECT_EQ(task(broken)->retries, 1);
  EXPECT_TRUE(error_of(busy).thrown);
}

TEST_F(WorkerCallbacks, ATimeoutIsAskedAboutToo) {
  router.handle("a", [](Context& context) {
    await_stop(context);
    return Outcome::failure("gave up");
  });
  const Ref ref = enqueue("a", {.timeout = 20ms});
  WorkerOptions options = quick();
  options.is_failure = [](const FailedAttempt& failed) { return failed.stopped != StopReason::timeout; };
  start(options);
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_EQ(task(ref)->retries, 0);
}

TEST_F(WorkerCallbacks, WhatIsFailureThrowsCountsAsAFailure) {
  router.handle("a", [](Context&) { return Outcome::failure("why"); });
  const Ref ref = enqueue("a");
  WorkerOptions options = quick();
  options.is_failure = [](const FailedAttempt&) -> bool { throw std::runtime_error{"undecided"}; };
  start(options);
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_EQ(task(ref)->retries, 1);
  EXPECT_EQ(lines.count("is_failure of the worker's options threw error=undecided"), 1U);
}

// ---- Who is told

TEST_F(WorkerCallbacks, EachAttemptThatFailedIsToldOf) {
  router.handle("failure", [](Context&) { return Outcome::failure("no luck"); });
  router.handle("archive", [](Context&) { return Outcome::archive("hopeless"); });
  router.handle("throws", [](Context&) -> Outcome { throw std::runtime_error{"went wrong"}; });
  router.handle("stopped", [](Context& context) {
    await_stop(context);
    return Outcome::failure("gave up");
  });
  const Ref failure = enqueue("failure");
  const Ref archive = enqueue("archive");
  const Ref throws = enqueue("throws");
  const Ref stopped = enqueue("stopped");
  const Ref late = enqueue("failure", {.deadline = clock.now() + 1us});
  start(watched());
  EXPECT_EQ(error_of(failure).error, "no luck");
  EXPECT_FALSE(error_of(failure).thrown);
  EXPECT_EQ(error_of(archive).error, "hopeless");
  EXPECT_EQ(error_of(throws).error, "went wrong");
  EXPECT_TRUE(error_of(throws).thrown);
  EXPECT_THAT(error_of(late).error, HasSubstr("deadline passed before it could start"));
  ASSERT_TRUE(becomes(stopped, State::active));
  ASSERT_EQ(act(Act::cancel, stopped), Changed::signalled);
  EXPECT_THAT(error_of(stopped).error, HasSubstr("gave up"));
  EXPECT_EQ(error_of(stopped).stopped, StopReason::cancel);
  EXPECT_EQ(errors().size(), 5U);
}

TEST_F(WorkerCallbacks, OtherEndsAreNotToldOf) {
  router.handle("success", [](Context&) { return Outcome::success(); });
  router.handle("discard", [](Context&) { return Outcome::discard("of no use"); });
  router.handle("snooze", [](Context&) { return Outcome::snooze(1h); });
  const Ref success = enqueue("success");
  const Ref discard = enqueue("discard");
  const Ref snooze = enqueue("snooze");
  const Ref unknown = enqueue("stranger");
  start(watched());
  ASSERT_TRUE(becomes(success, State::gone));
  ASSERT_TRUE(becomes(discard, State::gone));
  ASSERT_TRUE(eventually([&] { return task(snooze)->deferrals == 1 && task(unknown)->deferrals == 1; }));
  EXPECT_EQ(counted().first, 2U) << "what is discarded was worked off, as Asynq counts it";
  EXPECT_TRUE(errors().empty());
}

TEST_F(WorkerCallbacks, ALostLeaseIsToldOf) {
  router.handle("a", [](Context& context) {
    await_stop(context);
    return Outcome::success();
  });
  WorkerOptions options = watched();
  options.lease = 400ms;
  start(options);
  store.fail(Verb::renew, Fault::before);
  const Ref ref = enqueue("a");
  EXPECT_THAT(error_of(ref).error, HasSubstr("lease was lost"));
  EXPECT_EQ(error_of(ref).stopped, StopReason::lost);
}

// Why: a callback may block for ever, and the others' leases and timeouts must not wait for it. How: the one
// of a handler that ignores its stop token waits at the gate; meanwhile a second such handler is given up,
// and another is told to stop.
TEST_F(WorkerCallbacks, ABlockedOneHoldsNobodyUp) {
  router.handle("ignores", [&](Context&) {
    gate.wait();
    return Outcome::success();
  });
  router.handle("obeys", [](Context& context) {
    await_stop(context);
    return Outcome::failure("told");
  });
  std::atomic<int> told{0};
  WorkerOptions options = quick();
  options.stuck_after = 20ms;
  options.on_error = [&](const FailedAttempt& failed) {
    if (failed.task.kind != "ignores") return;
    EXPECT_EQ(failed.thrown, nullptr);
    ++told;
    gate.wait();
  };
  const Ref first = enqueue("ignores", {.timeout = 20ms});
  start(options);
  ASSERT_TRUE(eventually([&] { return told == 1; }));
  const Ref second = enqueue("ignores", {.timeout = 20ms});
  const Ref third = enqueue("obeys", {.timeout = 20ms});
  EXPECT_TRUE(becomes(second, State::retry));
  EXPECT_TRUE(becomes(third, State::retry));
  EXPECT_EQ(state(first), State::retry);
  EXPECT_TRUE(eventually([&] { return told == 2; }));
  gate.open();
}

TEST_F(WorkerCallbacks, WhatOnErrorThrowsIsLogged) {
  router.handle("a", [](Context&) { return Outcome::failure("why"); });
  const Ref ref = enqueue("a");
  WorkerOptions options = quick();
  options.on_error = [](const FailedAttempt&) { throw 42; };
  start(options);
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_TRUE(eventually(
      [&] { return lines.count("on_error of the worker's options threw error=unknown exception") == 1; }));
}

TEST_F(WorkerCallbacks, TheInlineWorkerCallsThemToo) {
  router.handle("a", [](Context&) { return Outcome::failure("busy"); });
  const Ref ref = enqueue("a");
  WorkerOptions options = watched();
  options.is_failure = [](const FailedAttempt&) { return false; };
  testing::InlineWorker{*memory, router, options}.drain();
  EXPECT_EQ(task(ref)->retries, 0);
  EXPECT_EQ(error_of(ref).error, "busy");
}

// ---- Health, and Asynq's defaults

std::optional<Error> illness(const Worker& worker) {
  try {
    worker.check_health();
  } catch (const Error& error) {
    return error;
  }
  return {};
}

TEST_F(WorkerCallbacks, HealthIsThatTheStoreAnswersAndTakesBeats) {
  WorkerOptions options = quick();
  options.lease = 400ms;
  worker = std::make_unique<Worker>(store, router, options);
  EXPECT_EQ(illness(*worker)->kind(), ErrorKind::closed) << "it isn't started";
  start(options);
  EXPECT_FALSE(illness(*worker));
  store.fail(Verb::now, Fault::before, 1);
  EXPECT_EQ(illness(*worker)->kind(), ErrorKind::unavailable);
  EXPECT_FALSE(illness(*worker));
  store.fail(Verb::renew, Fault::before);
  ASSERT_TRUE(eventually([&] { return illness(*worker).has_value(); }));
  EXPECT_THAT(illness(*worker)->what(), HasSubstr("has taken no beat"));
  store.heal();
  EXPECT_TRUE(eventually([&] { return !illness(*worker); }));
  worker->stop();
  EXPECT_EQ(illness(*worker)->kind(), ErrorKind::closed);
}

TEST(WorkerOptionsAsynq, AreItsServersDefaults) {
  const WorkerOptions options = WorkerOptions::asynq();
  EXPECT_GE(options.concurrency, 1);
  EXPECT_EQ(options.queues.size(), 1U);
  EXPECT_EQ(options.queues.front().name, "default");
  EXPECT_FALSE(options.strict);
  EXPECT_EQ(options.poll, 1s);
  EXPECT_EQ(options.shutdown_timeout, 8s);
  EXPECT_EQ(options.retry.delay({}, 25, "", 0.0), 331791s);
  EXPECT_EQ(EnqueueOptions{}.retries_max, 25);
  EXPECT_EQ(EnqueueOptions{}.timeout, 30min);
  const auto memory = open_memory();
  EXPECT_NO_THROW(Worker(*memory, Router{}, options));
}

}  // namespace

}  // namespace tidemill::tests
