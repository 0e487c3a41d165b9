// Each thing that a handler can say or do, and what becomes of its task: through a whole worker over a memory
// store.
#include <atomic>
#include <stdexcept>

#include <tidemill/error.hpp>
#include <tidemill/json.hpp>

#include "worker_fixture.hpp"

namespace tidemill::tests {

namespace {

using namespace std::chrono_literals;

struct WorkerOutcomes : WorkerTest {};

struct Resize {
  static constexpr std::string_view kind = "image:resize";
  std::string file = {};
  int width = 0;
};
TIDEMILL_FIELDS(Resize, file, width)

TEST_F(WorkerOutcomes, SuccessWithoutRetentionLeavesNothing) {
  std::atomic<int> runs{0};
  router.handle("a", [&](Context& context) {
    ++runs;
    EXPECT_EQ(context.task().payload, "{}");
    EXPECT_EQ(context.attempt(), 1);
    EXPECT_EQ(context.stop_reason(), StopReason::none);
    return Outcome::success("result");
  });
  const Ref ref = enqueue("a");
  start();
  EXPECT_TRUE(becomes(ref, State::gone));
  EXPECT_EQ(runs, 1);
}

TEST_F(WorkerOutcomes, SuccessWithRetentionKeepsResultAndAttempt) {
  router.handle("a", [](Context& context) {
    context.log(Level::info, "half way");
    return Outcome::success("result");
  });
  const Ref ref = enqueue("a", {.retention = 1h});
  start();
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(task(ref)->result, "result");
  ASSERT_EQ(attempts(ref).size(), 1U);
  EXPECT_EQ(attempts(ref).front().worker, worker->info().id);
  ASSERT_EQ(attempts(ref).front().logs.size(), 1U);
  EXPECT_EQ(attempts(ref).front().logs.front().text, "half way");
}

TEST_F(WorkerOutcomes, FailureIsTriedAgainByThePolicy) {
  router.handle("a", [](Context&) { return Outcome::failure("no luck"); });
  const Ref ref = enqueue("a");
  start();
  ASSERT_TRUE(becomes(ref, State::retry));
  const Task found = *task(ref);
  EXPECT_EQ(found.error, "no luck");
  EXPECT_EQ(found.attempt, 1);
  EXPECT_EQ(found.retries, 1);
  EXPECT_GT(*found.run_at, clock.now() + 59min);
}

TEST_F(WorkerOutcomes, AKindsOwnPolicyGoesBeforeTheWorkers) {
  std::atomic<int> runs{0};
  router.handle("a", [&](Context&) { return ++runs < 3 ? Outcome::failure("again") : Outcome::success(); },
                {.retry = RetryPolicy::linear(0s, 0s)});
  const Ref ref = enqueue("a", {.retention = 1h});
  start();
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(runs, 3);
  EXPECT_EQ(attempts(ref).size(), 3U);
}

TEST_F(WorkerOutcomes, RetryInGoesBeforeThePolicy) {
  std::atomic<int> runs{0};
  router.handle("a",
                [&](Context&) { return ++runs < 2 ? Outcome::retry_in(0s, "soon") : Outcome::success(); });
  const Ref ref = enqueue("a", {.retention = 1h});
  start();
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(task(ref)->retries, 1);
}

TEST_F(WorkerOutcomes, TheLastFailureIsArchived) {
  router.handle("a", [](Context&) { return Outcome::failure("no luck"); });
  const Ref ref = enqueue("a", {.retries_max = 0});
  start();
  ASSERT_TRUE(becomes(ref, State::archived));
  EXPECT_EQ(task(ref)->reason, "retries");
}

TEST_F(WorkerOutcomes, SnoozeUsesUpNoAttempt) {
  router.handle("a", [](Context&) { return Outcome::snooze(1h); });
  const Ref ref = enqueue("a");
  start();
  ASSERT_TRUE(eventually([&] { return task(ref)->deferrals == 1; }));
  EXPECT_EQ(task(ref)->state, State::scheduled);
  EXPECT_EQ(task(ref)->attempt, 0);
}

TEST_F(WorkerOutcomes, SnoozesWithoutEndAreArchived) {
  router.handle("a", [](Context&) { return Outcome::snooze({}); });
  const Ref ref = enqueue("a");
  WorkerOptions options = quick();
  options.deferrals_max = 3;
  start(options);
  ASSERT_TRUE(becomes(ref, State::archived));
  EXPECT_EQ(task(ref)->reason, "deferrals");
}

TEST_F(WorkerOutcomes, AgainCountsTheAttemptAndNoRetry) {
  std::atomic<int> runs{0};
  router.handle("a", [&](Context&) { return ++runs < 3 ? Outcome::again() : Outcome::success(); });
  const Ref ref = enqueue("a", {.retention = 1h});
  start();
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(task(ref)->attempt, 3);
  EXPECT_EQ(task(ref)->retries, 0);
}

TEST_F(WorkerOutcomes, DiscardDeletesAndArchiveKeeps) {
  router.handle("discard", [](Context&) { return Outcome::discard("of no use"); });
  router.handle("archive", [](Context&) { return Outcome::archive("hopeless"); });
  const Ref discarded = enqueue("discard", {.retention = 1h});
  const Ref archived = enqueue("archive");
  start();
  EXPECT_TRUE(becomes(discarded, State::gone));
  ASSERT_TRUE(becomes(archived, State::archived));
  EXPECT_EQ(task(archived)->reason, "handler");
  EXPECT_EQ(task(archived)->error, "hopeless");
}

TEST_F(WorkerOutcomes, WhatAHandlerThrowsEndsTheAttemptOnly) {
  router.handle("std", [](Context&) -> Outcome { throw std::runtime_error("went wrong"); });
  router.handle("corrupt", [](Context&) -> Outcome { throw Error{ErrorKind::corrupt, "no such field"}; });
  router.handle("away", [](Context&) -> Outcome { throw Error{ErrorKind::unavailable, "not now"}; });
  router.handle("int", [](Context&) -> Outcome { throw 42; });
  const Ref standard = enqueue("std");
  const Ref corrupt = enqueue("corrupt");
  const Ref away = enqueue("away");
  const Ref number = enqueue("int");
  start();
  ASSERT_TRUE(becomes(standard, State::retry));
  EXPECT_EQ(task(standard)->error, "went wrong");
  ASSERT_TRUE(becomes(corrupt, State::archived));
  EXPECT_EQ(task(corrupt)->error, "no such field");
  ASSERT_TRUE(becomes(away, State::retry));
  ASSERT_TRUE(becomes(number, State::retry));
  EXPECT_EQ(task(number)->error, "unknown exception");
}

TEST_F(WorkerOutcomes, APayloadThatDoesNotDecodeIsArchivedAtOnce) {
  std::atomic<int> runs{0};
  router.handle<Resize>([&](const Resize&) { ++runs; });
  const Ref broken = enqueue("image:resize", {}, R"({"file":"a.png","width":)");
  const Ref other = enqueue("image:resize", {}, R"({"file":"a.png","width":"wide"})");
  const Ref right = enqueue("image:resize", {}, R"({"file":"a.png","width":80})");
  start();
  ASSERT_TRUE(becomes(broken, State::archived));
  ASSERT_TRUE(becomes(other, State::archived));
  ASSERT_TRUE(becomes(right, State::gone));
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(task(broken)->attempt, 1);
  EXPECT_NE(task(other)->error.find("width"), std::string::npos) << task(other)->error;
}

TEST_F(WorkerOutcomes, AnUnknownKindGoesBackWithAPauseAndOneWarning) {
  const Ref first = enqueue("stranger");
  const Ref second = enqueue("stranger");
  start();
  ASSERT_TRUE(eventually([&] { return task(first)->deferrals == 1 && task(second)->deferrals == 1; }));
  EXPECT_EQ(task(first)->state, State::scheduled);
  EXPECT_EQ(task(first)->attempt, 0);
  EXPECT_EQ(lines.count("kind=stranger"), 1U);
}

TEST_F(WorkerOutcomes, NothingStartsAfterDeadlineOrExpiry) {
  std::atomic<int> runs{0};
  router.handle("a", [&](Context&) {
    ++runs;
    return Outcome::success();
  });
  const Ref late = enqueue("a", {.deadline = clock.now() + 20ms});
  const Ref expired = enqueue("a", {.expires_at = clock.now() + 20ms});
  ASSERT_TRUE(eventually(
      [&] { return clock.now() > task(late)->deadline && clock.now() > task(expired)->expires_at; }));
  start();
  ASSERT_TRUE(becomes(late, State::archived));
  ASSERT_TRUE(becomes(expired, State::archived));
  EXPECT_EQ(task(late)->reason, "deadline");
  EXPECT_EQ(task(expired)->reason, "expired");
  EXPECT_EQ(runs, 0);
}

TEST_F(WorkerOutcomes, LogsHaveALimitAndSayWhatWasLeftOut) {
  router.handle("lines", [](Context& context) {
    for (int i = 0; i < 130; ++i) context.log(Level::info, "line");
    return Outcome::failure("x");
  });
  router.handle("bytes", [](Context& context) {
    for (int i = 0; i < 5; ++i) context.log(Level::info, std::string(5000, 'x'));
    return Outcome::failure("x");
  });
  const Ref many = enqueue("lines");
  const Ref large = enqueue("bytes");
  start();
  ASSERT_TRUE(becomes(many, State::retry));
  const std::vector<LogLine> kept = attempts(many).front().logs;
  ASSERT_EQ(kept.size(), 101U);
  EXPECT_NE(kept.back().text.find("30 more lines"), std::string::npos) << kept.back().text;
  ASSERT_TRUE(becomes(large, State::retry));
  const std::vector<LogLine> cut = attempts(large).front().logs;
  ASSERT_EQ(cut.size(), 5U);
  EXPECT_EQ(cut[3].text.size(), (16U << 10U) - 15'000U);
  EXPECT_NE(cut.back().text.find("1 more line was"), std::string::npos) << cut.back().text;
}

TEST_F(WorkerOutcomes, ProgressAndLogsGoOutWithTheBeats) {
  router.handle("a", [&](Context& context) {
    context.progress(std::string(5000, 'p'));
    context.log(Level::info, "first");
    gate.wait();
    context.log(Level::info, "last");
    return Outcome::failure("x");
  });
  const Ref ref = enqueue("a");
  start();
  EXPECT_TRUE(eventually([&] { return task(ref)->progress.size() == 4096; }));
  gate.open();
  ASSERT_TRUE(becomes(ref, State::retry));
  const std::vector<LogLine> kept = attempts(ref).front().logs;
  ASSERT_EQ(kept.size(), 2U);
  EXPECT_EQ(kept[0].text, "first");
  EXPECT_EQ(kept[1].text, "last");
}

TEST_F(WorkerOutcomes, LongTextIsCutBetweenCharacters) {
  router.handle("a", [&](Context& context) {
    std::string text(4095, 'x');
    text += "\xC3\xA4";  // An a with two dots: the limit falls between its two bytes.
    context.progress(text);
    gate.wait();
    return Outcome::success();
  });
  const Ref ref = enqueue("a");
  start();
  EXPECT_TRUE(eventually([&] { return task(ref)->progress.size() == 4095; }));
  gate.open();
  EXPECT_TRUE(becomes(ref, State::gone));
}

TEST_F(WorkerOutcomes, ATaskThatFallsDueRunsThen) {
  router.handle("a", [](Context&) { return Outcome::success(); });
  WorkerOptions options = quick();
  options.poll = 1h;
  start(options);
  const Ref ref = enqueue("a", {.delay = 100ms});
  const auto due = task(ref)->run_at;
  ASSERT_TRUE(becomes(ref, State::gone));
  EXPECT_GE(clock.now(), *due);
}

// ---- Outcomes that follow

struct WorkerDeferred : WorkerTest {};

TEST_F(WorkerDeferred, ACompletionEndsTheAttemptFromAnyThread) {
  std::thread other;
  router.handle("a", [&](Context& context) {
    other = std::thread{[completion = context.defer()]() mutable { completion(Outcome::success("later")); }};
    return Outcome::deferred();
  });
  const Ref ref = enqueue("a", {.retention = 1h});
  start();
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(task(ref)->result, "later");
  other.join();
}

TEST_F(WorkerDeferred, ADeferredAttemptKeepsItsSlotAndNoThread) {
  std::mutex mutex;
  std::vector<Completion> completions;
  router.handle("a", [&](Context& context) {
    const std::lock_guard lock{mutex};
    completions.push_back(context.defer());
    return Outcome::deferred();
  });
  for (int i = 0; i < 8; ++i) enqueue("a");
  WorkerOptions options = quick();
  options.threads = 1;
  start(options);
  const auto count = [&] {
    const std::lock_guard lock{mutex};
    return completions.size();
  };
  ASSERT_TRUE(eventually([&] { return count() == 4; }));
  ASSERT_TRUE(eventually([&] { return worker->info().busy == 4; }));
  const int claims = store.calls(Verb::claim);
  ASSERT_TRUE(eventually([&] { return store.calls(Verb::renew) > 5; }));
  EXPECT_EQ(count(), 4U);
  EXPECT_EQ(store.calls(Verb::claim), claims) << "there is no room to claim for";
  for (std::size_t i = 0; i < 8; ++i) {
    ASSERT_TRUE(eventually([&] { return count() > i; }));
    Completion completion;
    {
      const std::lock_guard lock{mutex};
      completion = std::move(completions[i]);
    }
    completion(Outcome::success());
  }
  EXPECT_TRUE(eventually([&] { return worker->info().busy == 0; }));
}

TEST_F(WorkerDeferred, ADroppedCompletionIsAFailure) {
  router.handle("dropped", [](Context& context) {
    (void)context.defer();
    return Outcome::deferred();
  });
  router.handle("overwritten", [](Context& context) {
    Completion completion = context.defer();
    completion = Completion{};
    return Outcome::deferred();
  });
  router.handle("never", [](Context&) { return Outcome::deferred(); });
  const Ref dropped = enqueue("dropped");
  const Ref overwritten = enqueue("overwritten");
  const Ref never = enqueue("never");
  start();
  ASSERT_TRUE(becomes(dropped, State::retry));
  EXPECT_NE(task(dropped)->error.find("destroyed"), std::string::npos);
  ASSERT_TRUE(becomes(overwritten, State::retry));
  EXPECT_NE(task(overwritten)->error.find("destroyed"), std::string::npos);
  ASSERT_TRUE(becomes(never, State::retry));
  EXPECT_NE(task(never)->error.find("Context::defer()"), std::string::npos);
}

TEST_F(WorkerDeferred, OnlyTheFirstCallCounts) {
  router.handle("twice", [](Context& context) {
    Completion first = context.defer();
    Completion second = context.defer();
    second(Outcome::archive("there is one completion an attempt"));
    first(Outcome::success("first"));
    first(Outcome::archive("second call"));
    return Outcome::deferred();
  });
  router.handle("early", [](Context& context) -> Outcome {
    context.defer()(Outcome::success("early"));
    throw std::runtime_error("after it had ended");
  });
  router.handle("late", [](Context& context) {
    const Completion unused = context.defer();
    return Outcome::success("returned");
  });
  const Ref twice = enqueue("twice", {.retention = 1h});
  const Ref early = enqueue("early", {.retention = 1h});
  const Ref late = enqueue("late", {.retention = 1h});
  start();
  ASSERT_TRUE(becomes(twice, State::completed));
  EXPECT_EQ(task(twice)->result, "first");
  ASSERT_TRUE(becomes(early, State::completed));
  EXPECT_EQ(task(early)->result, "early");
  // The completion dies inside the handler, before that returns: so it speaks first.
  ASSERT_TRUE(becomes(late, State::retry));
}

TEST_F(WorkerDeferred, ADeferredAttemptTimesOutToo) {
  Completion kept;
  router.handle("a", [&](Context& context) {
    kept = context.defer();
    return Outcome::deferred();
  });
  const Ref ref = enqueue("a", {.timeout = 30ms});
  WorkerOptions options = quick();
  options.stuck_after = 30ms;
  start(options);
  ASSERT_TRUE(becomes(ref, State::retry));
  EXPECT_NE(task(ref)->error.find("timeout"), std::string::npos);
  EXPECT_EQ(worker->info().stuck, 1);
  kept(Outcome::success());
  EXPECT_TRUE(eventually([&] { return worker->info().busy == 0; }));
  EXPECT_EQ(state(ref), State::retry);
}

TEST_F(WorkerDeferred, AnAttemptInTheCallersThreadIsWaitedFor) {
  std::thread other;
  router.handle("a", [&](Context& context) {
    other = std::thread{[completion = context.defer()]() mutable { completion(Outcome::failure("later")); }};
    return Outcome::deferred();
  });
  enqueue("a");
  const RetryPolicy retry = RetryPolicy::linear(1min, 0s);
  const engine::RanHere ran = engine::run_here(claim_and_die(1, 1h).front(), router, {.retry = retry}, clock);
  other.join();
  EXPECT_EQ(ran.outcome.text(), "later");
  EXPECT_EQ(ran.report.to, State::retry);
  EXPECT_EQ(ran.report.delay, 1min);
  EXPECT_EQ(ran.report.lease, &ran.attempt->lease());
}

}  // namespace

}  // namespace tidemill::tests
