// What becomes of a task: each outcome with each reason to stop, crashes, refusals, and what operators do.
#include <gtest/gtest.h>

#include <vector>

#include <tidemill/error.hpp>

#include "core/rules.hpp"
#include "core/transitions.hpp"

namespace tidemill {

static void PrintTo(State state, std::ostream* out) { *out << to_string(state); }

namespace {

using namespace std::chrono_literals;

constexpr TimePoint now{std::chrono::sys_days{std::chrono::year{2030} / 1 / 1}};

const RetryPolicy fixed = RetryPolicy::linear(10s, 5s);
const rules::Policy policy{fixed, 3};

Lease lease_of(Task task = {}) {
  task.ref = {"mail", "id"};
  task.worker = "w1";
  return {.task = std::move(task), .token = "t", .length = 25s};
}

Report conclude(const Lease& lease, const Outcome& outcome, StopReason stopped = StopReason::none) {
  return rules::conclude({lease, outcome, stopped, now, 0.5}, policy);
}

/// The counters that a report must leave alone when no attempt is counted.
void expect_nothing_counted(const Report& report, const Task& task) {
  EXPECT_EQ(report.attempt, task.attempt);
  EXPECT_EQ(report.retries, task.retries);
  EXPECT_EQ(report.crashes, task.crashes);
  EXPECT_EQ(report.tally, Tally::none);
  EXPECT_FALSE(report.record);
}

// ---- Ends of their own accord ----

TEST(RulesConclude, SuccessWithoutRetentionLeavesNothing) {
  const Lease lease = lease_of({.attempt = 2, .retries = 1, .deferrals = 4});
  const Report report = conclude(lease, Outcome::success("result"));
  EXPECT_EQ(report.lease, &lease);
  EXPECT_EQ(report.to, State::gone);
  EXPECT_EQ(report.attempt, 3);
  EXPECT_EQ(report.retries, 1);
  EXPECT_EQ(report.deferrals, 0);
  EXPECT_EQ(report.tally, Tally::success);
  EXPECT_TRUE(report.release_key);
  EXPECT_FALSE(report.record);
  EXPECT_EQ(report.result, "");
  EXPECT_EQ(report.started_at, now);
}

TEST(RulesConclude, SuccessWithRetentionIsKeptWithItsResult) {
  const Lease lease = lease_of({.retention = 1h});
  const Report report = conclude(lease, Outcome::success("result"));
  EXPECT_EQ(report.to, State::completed);
  EXPECT_EQ(report.keep, 1h);
  EXPECT_TRUE(report.record);
  EXPECT_EQ(report.result, "result");
  EXPECT_TRUE(report.release_key);
}

TEST(RulesConclude, AFailureIsTriedAgainByThePolicy) {
  const Lease lease = lease_of({.attempt = 1, .retries = 1, .retries_max = 2, .deferrals = 3});
  const Report report = conclude(lease, Outcome::failure("why"));
  EXPECT_EQ(report.to, State::retry);
  EXPECT_EQ(report.attempt, 2);
  EXPECT_EQ(report.retries, 2);
  EXPECT_EQ(report.deferrals, 0);
  EXPECT_EQ(report.delay, 15s) << "the second retry";
  EXPECT_EQ(report.error, "why");
  EXPECT_EQ(report.tally, Tally::failure);
  EXPECT_TRUE(report.record);
  EXPECT_FALSE(report.release_key);
}

TEST(RulesConclude, TheLastFailureArchives) {
  for (const int most : {0, 2}) {
    const Lease lease = lease_of({.retries = most, .retries_max = most});
    const Report report = conclude(lease, Outcome::failure("why"));
    EXPECT_EQ(report.to, State::archived);
    EXPECT_EQ(report.reason, "retries");
    EXPECT_EQ(report.error, "why");
    EXPECT_EQ(report.retries, most);
    EXPECT_TRUE(report.release_key);
    EXPECT_FALSE(report.keep) << "the archive is kept for good";
  }
}

TEST(RulesConclude, RetryInOverrulesThePolicyAndUsesARetry) {
  const Lease lease = lease_of({.retries_max = 1});
  EXPECT_EQ(conclude(lease, Outcome::retry_in(7s, "why")).delay, 7s);
  EXPECT_EQ(conclude(lease, Outcome::retry_in(-7s, "why")).delay, 0s);
  EXPECT_EQ(conclude(lease, Outcome::retry_in(7s, "why")).retries, 1);
  EXPECT_EQ(conclude(lease_of({.retries_max = 0}), Outcome::retry_in(7s, "why")).to, State::archived);
}

TEST(RulesConclude, AnErrorThatIsNoFailureUsesNoRetry) {
  std::vector<std::string> asked;
  const rules::Policy lenient{fixed, 3, [&](std::string_view error) {
                                asked.emplace_back(error);
                                return false;
                              }};
  const Lease lease = lease_of({.attempt = 1, .retries = 1, .retries_max = 2, .deferrals = 3});
  const Outcome failure = Outcome::failure("why");
  const Report report = rules::conclude({lease, failure, StopReason::none, now, 0.5}, lenient);
  EXPECT_EQ(report.to, State::retry);
  EXPECT_EQ(report.attempt, 2);
  EXPECT_EQ(report.retries, 1);
  EXPECT_EQ(report.deferrals, 0);
  EXPECT_EQ(report.delay, 15s) << "as if it were one";
  EXPECT_EQ(report.error, "why");
  EXPECT_EQ(report.tally, Tally::none);
  EXPECT_TRUE(report.record);
  const Lease last = lease_of({.retries = 2, .retries_max = 2});
  EXPECT_EQ(rules::conclude({last, failure, StopReason::none, now, 0.5}, lenient).to, State::archived);
  EXPECT_EQ(rules::conclude({last, failure, StopReason::none, now, 0.5}, lenient).tally, Tally::failure);
  EXPECT_EQ(asked, std::vector<std::string>{"why"}) << "only where it makes a difference";
}

TEST(RulesConclude, SnoozeUsesNoAttempt) {
  const Lease lease = lease_of({.attempt = 2, .retries = 1});
  const Report report = conclude(lease, Outcome::snooze(9s));
  EXPECT_EQ(report.to, State::scheduled);
  EXPECT_EQ(report.delay, 9s);
  EXPECT_EQ(report.deferrals, 1);
  expect_nothing_counted(report, lease.task);
  EXPECT_FALSE(report.release_key);
  EXPECT_EQ(conclude(lease, Outcome::snooze(0s)).to, State::pending);
  EXPECT_FALSE(conclude(lease, Outcome::snooze(0s)).front) << "others have their turn first";
}

TEST(RulesConclude, AgainIsAnAttemptAndNoRetry) {
  const Lease lease = lease_of({.attempt = 2, .retries = 1});
  const Report report = conclude(lease, Outcome::again());
  EXPECT_EQ(report.to, State::pending);
  EXPECT_EQ(report.attempt, 3);
  EXPECT_EQ(report.retries, 1);
  EXPECT_EQ(report.deferrals, 1);
  EXPECT_EQ(report.tally, Tally::none);
  EXPECT_EQ(conclude(lease, Outcome::again(1s)).to, State::scheduled);
}

TEST(RulesConclude, PuttingOffHasALimit) {
  for (const Outcome& outcome : {Outcome::snooze(1s), Outcome::again()}) {
    EXPECT_NE(conclude(lease_of({.deferrals = 2}), outcome).to, State::archived);
    const Report report = conclude(lease_of({.deferrals = 3}), outcome);
    EXPECT_EQ(report.to, State::archived);
    EXPECT_EQ(report.reason, "deferrals");
    EXPECT_EQ(report.error, "put off 3 times in a row; the limit is 3");
    EXPECT_EQ(report.attempt, 1);
    EXPECT_EQ(report.tally, Tally::failure);
    EXPECT_TRUE(report.record);
    EXPECT_TRUE(report.release_key);
  }
}

TEST(RulesConclude, DiscardDeletes) {
  const Report report = conclude(lease_of({.retention = 1h}), Outcome::discard("why"));
  EXPECT_EQ(report.to, State::gone);
  EXPECT_EQ(report.tally, Tally::success) << "as Asynq counts it";
  EXPECT_TRUE(report.release_key);
}

TEST(RulesConclude, ArchiveArchives) {
  const Report report = conclude(lease_of(), Outcome::archive("hopeless"));
  EXPECT_EQ(report.to, State::archived);
  EXPECT_EQ(report.reason, "handler");
  EXPECT_EQ(report.error, "hopeless");
  EXPECT_EQ(report.attempt, 1);
  EXPECT_EQ(report.retries, 0);
  EXPECT_TRUE(report.release_key);
}

// ---- Stopped ----

struct Stopped {
  StopReason reason;
  Outcome outcome;
  State to;
  std::string reason_word;
  std::int32_t attempt;
  Tally tally;
};

// Why: a handler that was told to stop may say anything; what it was stopped for decides, unless it succeeded
// or has found the task to be of no use.
TEST(RulesConclude, TheReasonToStopDecidesUnlessTheTaskIsDone) {
  using enum StopReason;
  const std::vector<Stopped> all = {
      {cancel, Outcome::failure("x"), State::archived, "cancelled", 1, Tally::none},
      {cancel, Outcome::archive("x"), State::archived, "cancelled", 1, Tally::none},
      {cancel, Outcome::snooze(1s), State::archived, "cancelled", 1, Tally::none},
      {cancel, Outcome::again(), State::archived, "cancelled", 1, Tally::none},
      {hold, Outcome::failure("x"), State::held, "held", 0, Tally::none},
      {hold, Outcome::archive("x"), State::held, "held", 0, Tally::none},
      {hold, Outcome::snooze(1s), State::held, "held", 0, Tally::none},
      {hold, Outcome::again(), State::held, "held", 0, Tally::none},
      {timeout, Outcome::failure("x"), State::retry, "", 1, Tally::failure},
      {timeout, Outcome::archive("x"), State::archived, "handler", 1, Tally::failure},
      {timeout, Outcome::snooze(1s), State::scheduled, "", 0, Tally::none},
      {timeout, Outcome::again(), State::pending, "", 1, Tally::none},
      {deadline, Outcome::failure("x"), State::archived, "deadline", 1, Tally::failure},
      {deadline, Outcome::archive("x"), State::archived, "deadline", 1, Tally::failure},
      {deadline, Outcome::snooze(1s), State::archived, "deadline", 1, Tally::failure},
      {deadline, Outcome::again(), State::archived, "deadline", 1, Tally::failure},
      {shutdown, Outcome::failure("x"), State::pending, "", 0, Tally::none},
      {shutdown, Outcome::archive("x"), State::archived, "handler", 1, Tally::failure},
      {shutdown, Outcome::snooze(1s), State::scheduled, "", 0, Tally::none},
      {shutdown, Outcome::again(), State::pending, "", 1, Tally::none},
  };
  const Lease lease = lease_of();
  for (const Stopped& each : all) {
    SCOPED_TRACE(std::string{to_string(each.reason)} + " and " + std::string{to_string(each.outcome.kind())});
    const Report report = conclude(lease, each.outcome, each.reason);
    EXPECT_EQ(report.to, each.to);
    EXPECT_EQ(report.reason, each.reason_word);
    EXPECT_EQ(report.attempt, each.attempt);
    EXPECT_EQ(report.tally, each.tally);
    EXPECT_EQ(report.crashes, 0);
    EXPECT_EQ(report.release_key, each.to == State::archived);
  }
  for (const StopReason reason : {none, cancel, hold, timeout, deadline, shutdown}) {
    EXPECT_EQ(conclude(lease, Outcome::success(), reason).to, State::gone);
    EXPECT_EQ(conclude(lease, Outcome::success(), reason).tally, Tally::success);
    EXPECT_EQ(conclude(lease, Outcome::discard(), reason).to, State::gone);
  }
}

TEST(RulesConclude, WhatTheHandlerSaidIsKeptBesideTheReason) {
  const Lease lease = lease_of({.timeout = 1500ms});
  EXPECT_EQ(conclude(lease, Outcome::failure("socket closed"), StopReason::timeout).error,
            "ran for longer than its timeout of 1.5 s: socket closed");
  EXPECT_EQ(conclude(lease, Outcome::failure(""), StopReason::timeout).error,
            "ran for longer than its timeout of 1.5 s");
  EXPECT_EQ(conclude(lease, Outcome::snooze(1s), StopReason::cancel).error, "cancelled while it ran");
  EXPECT_EQ(conclude(lease, Outcome::archive("bad"), StopReason::deadline).error,
            "the deadline passed while it ran: bad");
}

TEST(RulesConclude, ATaskGivenBackAtShutdownKeepsItsPlace) {
  EXPECT_TRUE(conclude(lease_of(), Outcome::failure("x"), StopReason::shutdown).front);
}

// Why: the stores refuse a move that the table forbids, and the task would hang.
TEST(RulesConclude, EveryEndIsAMoveThatExists) {
  const std::vector<Outcome> outcomes = {
      Outcome::success(),  Outcome::failure("x"), Outcome::retry_in(1s, "x"),
      Outcome::snooze(1s), Outcome::snooze(0s),   Outcome::again(),
      Outcome::again(1s),  Outcome::discard(),    Outcome::archive("x")};
  for (const Outcome& outcome : outcomes) {
    for (int reason = 0; reason < static_cast<int>(StopReason::lost); ++reason) {
      for (const Duration retention : {Duration{}, Duration{1h}}) {
        for (const int retries : {0, 1}) {
          const Lease lease = lease_of({.retries = retries, .retries_max = 1, .retention = retention});
          EXPECT_TRUE(allowed(State::active, conclude(lease, outcome, static_cast<StopReason>(reason)).to));
        }
      }
    }
  }
}

// ---- Without running ----

TEST(RulesRefuse, NothingStartsAfterItsDeadline) {
  EXPECT_FALSE(rules::refuse(lease_of(), now));
  EXPECT_FALSE(rules::refuse(lease_of({.deadline = now + 1us}), now));
  const Lease lease = lease_of({.attempt = 4, .deadline = now});
  const auto report = rules::refuse(lease, now);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->to, State::archived);
  EXPECT_EQ(report->reason, "deadline");
  EXPECT_EQ(report->attempt, 4);
  EXPECT_EQ(report->tally, Tally::failure);
  EXPECT_TRUE(report->release_key);
}

TEST(RulesRefuse, OnlyWhatNeverStartedExpires) {
  EXPECT_FALSE(rules::refuse(lease_of({.expires_at = now + 1us}), now));
  EXPECT_FALSE(rules::refuse(lease_of({.attempt = 1, .expires_at = now}), now));
  const Lease lease = lease_of({.expires_at = now});
  const auto report = rules::refuse(lease, now);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->reason, "expired");
  const Lease both = lease_of({.deadline = now, .expires_at = now});
  EXPECT_EQ(rules::refuse(both, now)->reason, "deadline");
}

TEST(RulesGiveBack, CountsNothingAndKeepsThePlace) {
  const Lease lease = lease_of({.attempt = 3, .retries = 2, .crashes = 1, .deferrals = 5});
  const Report report = rules::give_back(lease);
  EXPECT_EQ(report.to, State::pending);
  EXPECT_TRUE(report.front);
  EXPECT_EQ(report.deferrals, 5);
  expect_nothing_counted(report, lease.task);
}

TEST(RulesUnknownKind, PausesForLongerAndLongerUpToAMinute) {
  std::vector<Duration> pauses;
  for (int deferrals = 0; deferrals < 9; ++deferrals) {
    const Lease lease = lease_of({.deferrals = deferrals});
    const Report report = rules::unknown_kind(lease);
    EXPECT_EQ(report.to, State::scheduled);
    EXPECT_EQ(report.deferrals, deferrals + 1);
    EXPECT_EQ(report.reason, "no handler");
    expect_nothing_counted(report, lease.task);
    pauses.push_back(report.delay);
  }
  EXPECT_EQ(pauses, (std::vector<Duration>{1s, 2s, 4s, 8s, 16s, 32s, 60s, 60s, 60s}));
}

TEST(RulesWithdraw, BeforeItStarted) {
  const Lease lease = lease_of({.attempt = 1});
  const Report held = rules::withdraw(lease, Signal::hold);
  EXPECT_EQ(held.to, State::held);
  EXPECT_FALSE(held.release_key);
  expect_nothing_counted(held, lease.task);
  const Report cancelled = rules::withdraw(lease, Signal::cancel);
  EXPECT_EQ(cancelled.to, State::archived);
  EXPECT_EQ(cancelled.reason, "cancelled");
  EXPECT_EQ(cancelled.error, "cancelled before it started");
  EXPECT_TRUE(cancelled.release_key);
  expect_nothing_counted(cancelled, lease.task);
}

// ---- Crashes ----

Report crashed(std::int32_t crashes, std::int32_t most, bool marked) {
  Lease lease = lease_of({.attempt = 2, .crashes = crashes, .crashes_max = most, .started_at = now - 5s});
  lease.started = marked;
  return rules::crashed(lease, now);
}

TEST(RulesCrashed, TheFirstIsChargedToAllThatTheProcessHeld) {
  for (const bool marked : {false, true}) {
    const Report report = crashed(0, 3, marked);
    EXPECT_EQ(report.to, State::pending);
    EXPECT_TRUE(report.front);
    EXPECT_EQ(report.crashes, 1);
    EXPECT_EQ(report.attempt, 3);
    EXPECT_EQ(report.retries, 0) << "a crash uses up no retry";
    EXPECT_EQ(report.tally, Tally::crash);
    EXPECT_TRUE(report.record);
    EXPECT_EQ(report.started_at, now - 5s);
    EXPECT_EQ(report.error, "its worker w1 died or lost contact (crash 1 of 3)");
    EXPECT_FALSE(report.release_key);
  }
}

TEST(RulesCrashed, LaterOnesAreChargedToMarkedAttemptsOnly) {
  EXPECT_EQ(crashed(1, 3, true).crashes, 2);
  const Report bystander = crashed(1, 3, false);
  EXPECT_EQ(bystander.to, State::pending);
  EXPECT_EQ(bystander.crashes, 1);
  EXPECT_EQ(bystander.attempt, 2);
  EXPECT_TRUE(bystander.front);
  EXPECT_EQ(bystander.tally, Tally::none);
  EXPECT_FALSE(bystander.record);
}

TEST(RulesCrashed, AtItsLimitATaskIsPoison) {
  const Report report = crashed(2, 3, true);
  EXPECT_EQ(report.to, State::archived);
  EXPECT_EQ(report.reason, "poison");
  EXPECT_EQ(report.error, "its worker w1 died or lost contact (crash 3 of 3)");
  EXPECT_TRUE(report.release_key);
  EXPECT_FALSE(report.front);
  EXPECT_EQ(crashed(2, 3, false).to, State::pending) << "a bystander";
}

// Why: with a limit of 0 or 1 one crash ends a task, so it must be known that this one had started.
TEST(RulesCrashed, WhatOneCrashWouldEndIsChargedOnlyIfItHadStarted) {
  for (const int most : {0, 1}) {
    EXPECT_EQ(crashed(0, most, true).to, State::archived);
    EXPECT_EQ(crashed(0, most, true).reason, "poison");
    EXPECT_EQ(crashed(0, most, true).error, "its worker w1 died or lost contact (crash 1 of 1)");
    EXPECT_EQ(crashed(0, most, false).to, State::pending);
    EXPECT_EQ(crashed(0, most, false).crashes, 0);
  }
}

TEST(RulesMustMark, SuspectsAndWhatOneCrashWouldEnd) {
  EXPECT_TRUE(rules::must_mark({.crashes_max = 0}));
  EXPECT_TRUE(rules::must_mark({.crashes_max = 1}));
  EXPECT_FALSE(rules::must_mark({.crashes_max = 2}));
  EXPECT_TRUE(rules::must_mark({.crashes = 1, .crashes_max = 3}));
  EXPECT_TRUE(rules::suspect({.crashes = 1}));
  EXPECT_FALSE(rules::suspect({}));
}

// ---- What operators do ----

TEST(RulesChanges, StatesOfAnActAreDisjointAndItsMovesExist) {
  for (const Act act : rules::acts()) {
    States seen;
    ASSERT_EQ(rules::changes(act).empty(), act == Act::move);
    for (const Change& change : rules::changes(act)) {
      EXPECT_EQ(seen.bits & change.from.bits, 0U) << to_string(act);
      seen = seen + change.from;
      for (unsigned i = 1; i < state_count; ++i) {
        const State from = static_cast<State>(i);
        if (!change.from.has(from) || from == State::active) continue;
        EXPECT_TRUE(allowed(from, change.to)) << to_string(act);
      }
      EXPECT_EQ(change.to == State::scheduled, act == Act::reschedule) << to_string(act);
      EXPECT_EQ(change.from.has(State::active), change.signal != Signal::none) << to_string(act);
      EXPECT_EQ(change.release_key, change.to == State::archived || change.to == State::gone)
          << to_string(act);
    }
  }
}

TEST(RulesGroups, TheMergedTaskIsOfTheGroupsQueueAndOfNoGroup) {
  const TaskSet set{.queue = "mail", .group = "g"};
  NewTask merged{.kind = "digest", .payload = "p", .options = {.queue = "other", .priority = 3}};
  const Task task = rules::merge(merged, set, {});
  EXPECT_EQ(task.ref.queue, "mail");
  EXPECT_EQ(task.state, State::pending);
  EXPECT_EQ(task.payload, "p");
  EXPECT_EQ(task.priority, 3);
  merged.options.group = "g";
  EXPECT_THROW(rules::merge(merged, set, {}), Error);
  merged.options.group.clear();
  merged.kind.clear();
  EXPECT_THROW(rules::merge(merged, set, {}), Error);
}

TEST(RulesGroups, APauseDoublesUpToAMinute) {
  EXPECT_EQ(rules::group_pause(1), 1s);
  EXPECT_EQ(rules::group_pause(2), 2s);
  EXPECT_EQ(rules::group_pause(6), 32s);
  EXPECT_EQ(rules::group_pause(7), 1min);
  EXPECT_EQ(rules::group_pause(1000), 1min);
}

TEST(RulesChanges, RunMakesWhatHasEndedFresh) {
  const auto changes = rules::changes(Act::run);
  ASSERT_EQ(changes.size(), 2U);
  EXPECT_FALSE(changes[0].fresh);
  EXPECT_EQ(changes[1].from, States{State::completed} + State::archived);
  EXPECT_TRUE(changes[1].fresh);
}

}  // namespace
}  // namespace tidemill
