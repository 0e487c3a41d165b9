// Leases of dead workers, tasks that fall due, and what has been kept for long enough.
#include "contract.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class SweepContract : public Contract {
 protected:
  void SetUp() override { need({Feature::list}); }

  Lease start(const std::string& id, Duration lease = 25s) {
    put(task(id));
    return claim_one("w1", lease);
  }
  /// A task that ended just now and is kept for `keep`.
  void ended(const std::string& id, Duration keep) {
    const Lease lease = start(id);
    Report report = outcome(lease, State::completed);
    report.keep = keep;
    report.record = true;
    ASSERT_EQ(end(report), Reported::applied);
  }
};

// Why: a dead worker's tasks run again, by whoever sweeps first, and the sweeper holds them like any lease.
// How: let one lapse, at the very instant; the new token is good, the next sweep finds nothing.
TEST_P(SweepContract, Rule3_ALapsedLeaseIsTakenOver) {
  const Lease lost = start("a");
  const TimePoint claimed_at = now();
  advance(25s - 1us);
  EXPECT_THAT(sweep().taken, IsEmpty());
  advance(1us);
  const Swept swept = sweep(100, "s1");
  ASSERT_THAT(ids_of(swept.taken), ElementsAre("a"));
  EXPECT_NE(swept.taken[0].token, lost.token);
  EXPECT_EQ(swept.taken[0].length, 25s);
  EXPECT_FALSE(swept.taken[0].started);
  EXPECT_EQ(swept.taken[0].task.payload, "payload");
  EXPECT_EQ(swept.taken[0].task.started_at, claimed_at) << "core writes it into the crash's record";
  EXPECT_EQ(state_of("a"), State::active);
  EXPECT_EQ(get("a")->worker, "s1");
  EXPECT_THAT(sweep().taken, IsEmpty()) << "it has a new lease";
  EXPECT_EQ(end(swept.taken[0], State::pending), Reported::applied);
  EXPECT_EQ(claim_one().task.ref.id, "a");
}

// Why: the crash's record says whose death it was. How: the answer's task names the worker that lost the
// lease.
TEST_P(SweepContract, Rule3_TheAnswerNamesTheWorkerThatDied) {
  start("a");
  advance(25s);
  const Swept swept = sweep(100, "s1");
  ASSERT_EQ(swept.taken.size(), 1U);
  EXPECT_EQ(swept.taken[0].task.worker, "w1");
}

// Why: a sweeper may die, too. How: its leases lapse like others, and its token with them.
TEST_P(SweepContract, Rule3_ADeadSweepersLeasesAreTakenOverAgain) {
  start("a");
  advance(25s);
  const Swept first = sweep(100, "s1");
  advance(25s);
  const Swept second = sweep(100, "s2");
  ASSERT_EQ(second.taken.size(), 1U);
  EXPECT_EQ(end(first.taken[0], State::pending), Reported::lost);
  EXPECT_EQ(end(second.taken[0], State::pending), Reported::applied);
}

// Why: a later crash is charged only to attempts marked as started, and the mark is all that is left of the
// dead process. How: mark one of two; the mark survives two sweeps, and not the next claim.
TEST_P(SweepContract, Rule3_TheStartedMarkIsTold) {
  const Lease marked = start("marked");
  start("bystander");
  EXPECT_EQ(beat({.lease = &marked, .started = true}), Signal::none);
  EXPECT_EQ(beat({.lease = &marked}), Signal::none) << "a beat without the mark takes nothing back";
  for (int round = 0; round < 2; ++round) {
    advance(25s);
    const Swept swept = sweep();
    ASSERT_EQ(swept.taken.size(), 2U);
    for (const Lease& lease : swept.taken) EXPECT_EQ(lease.started, lease.task.ref.id == "marked");
    if (round == 0) continue;
    for (const Lease& lease : swept.taken) end(lease, State::pending);
  }
  EXPECT_EQ(claim({.most = 2}).leases.size(), 2U);
  advance(25s);
  for (const Lease& lease : sweep().taken) EXPECT_FALSE(lease.started) << lease.task.ref.id;
}

// Why: a sweep's cost is bounded, the longest dead come first, and what is left is told. How: five leases,
// two a sweep.
TEST_P(SweepContract, Rule7_ASweepTakesTheOldestFirstUpToItsLimit) {
  for (int i = 4; i >= 0; --i) start(std::to_string(i), 25s + i * 1s);
  start("alive", 1h);
  advance(1min);
  const Swept first = sweep(2);
  EXPECT_THAT(ids_of(first.taken), ElementsAre("0", "1"));
  EXPECT_TRUE(first.more);
  EXPECT_THAT(ids_of(sweep(2).taken), ElementsAre("2", "3"));
  const Swept last = sweep(2);
  EXPECT_THAT(ids_of(last.taken), ElementsAre("4"));
  EXPECT_FALSE(last.more);
}

// Why: due tasks of queues that nobody claims from are shown as pending, and their places are their due
// times. How: two queues, both states that wait, the boundary, and the limit.
TEST_P(SweepContract, Port_DueTasksOfAllQueuesBecomePending) {
  const Lease lease = start("retry");
  Report retry = outcome(lease, State::retry);
  retry.delay = 3s;
  end(retry);
  put_all({delayed("a", 2s), delayed("b", 1s, "other"), delayed("c", 4s), delayed("d", 5s, "other")});
  advance(4s);
  const Swept first = sweep(2);
  EXPECT_EQ(first.promoted, 2U);
  EXPECT_TRUE(first.more);
  EXPECT_EQ(state_of("a"), State::pending);
  EXPECT_EQ(get("b", "other")->state, State::pending);
  EXPECT_EQ(state_of("retry"), State::retry) << "the longest due come first";
  EXPECT_EQ(sweep(3).promoted, 2U);
  EXPECT_EQ(get("d", "other")->state, State::scheduled);
  put(task("new"));
  EXPECT_THAT(ids({.queue = "q"}), ElementsAre("a", "retry", "c", "new"));
}

// Why: a pause stops claims and not time: what is due while paused is shown as waiting. How: pause, sweep.
TEST_P(SweepContract, Port_PausedQueuesArePromotedToo) {
  put(delayed("a", 1s));
  catalog().pause("q", true, call());
  advance(1s);
  EXPECT_EQ(sweep().promoted, 1U);
  EXPECT_EQ(state_of("a"), State::pending);
}

// Why: retention ends, at its instant, for the task and its attempts; the limit bounds it. How: three of four
// are past theirs.
TEST_P(SweepContract, Port_TasksPastTheirRetentionArePurged) {
  for (const char* id : {"a", "b", "c"}) ended(id, 10s);
  ended("later", 10s + 1us);
  advance(10s);
  const Swept first = sweep(2);
  EXPECT_EQ(first.purged, 2U);
  EXPECT_TRUE(first.more);
  const Swept second = sweep(2);
  EXPECT_EQ(second.purged, 1U);
  EXPECT_FALSE(second.more);
  EXPECT_THAT(ids(), ElementsAre("later"));
  for (const char* id : {"a", "b", "c"}) EXPECT_THAT(attempts(id), IsEmpty());
  EXPECT_EQ(attempts("later").size(), 1U);
}

// Why: a task that is run again must not be purged by the retention of its former end. How: complete, run
// again, let that time pass, in every state.
TEST_P(SweepContract, Port_ATaskThatIsRunAgainIsNotPurged) {
  ended("a", 10s);
  EXPECT_EQ(change("a", {.from = State::completed, .to = State::pending}), Changed::changed);
  EXPECT_EQ(get("a")->ended_at, std::nullopt);
  advance(1h);
  EXPECT_EQ(sweep().purged, 0U);
  const Lease lease = claim_one();
  EXPECT_EQ(sweep().purged, 0U);
  end(lease, State::archived);
  EXPECT_EQ(sweep().purged, 0U) << "its new end is for good";
  EXPECT_EQ(state_of("a"), State::archived);
}

// Why: an idle store has nothing to sweep and says so. How: sweep an empty store, and one where nothing is
// due.
TEST_P(SweepContract, Port_ASweepOfNothingFindsNothing) {
  for (int i = 0; i < 2; ++i) {
    const Swept swept = sweep();
    EXPECT_THAT(swept.taken, IsEmpty());
    EXPECT_EQ(swept.promoted, 0U);
    EXPECT_EQ(swept.purged, 0U);
    EXPECT_FALSE(swept.more);
    put_all({task("a"), delayed("b", 1h)});
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, SweepContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
