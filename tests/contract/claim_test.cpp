// Who gets which task, in which order, and under which token.
#include "contract.hpp"

#include <algorithm>
#include <set>

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class ClaimContract : public Contract {
 protected:
  void SetUp() override { need({Feature::list}); }

  Claimed claim_wants(std::vector<Want> wants, std::size_t count_max) {
    return store().claim({.worker = "w1", .wants = wants, .count_max = count_max, .lease = 25s}, call());
  }
};

Task sized(const std::string& id, std::size_t bytes) {
  Task task;
  task.ref = {"q", id};
  task.kind = "kind";
  task.payload.assign(bytes, 'x');
  return task;
}

Task with_priority(Task task, std::int32_t priority) {
  task.priority = priority;
  return task;
}

// Why: one live lease a task. How: claim until nothing is left, then again.
TEST_P(ClaimContract, Rule2_AClaimedTaskIsNotClaimedAgain) {
  put_all(numbered(10, "t", task("")));
  std::set<std::string> seen;
  for (int i = 0; i < 5; ++i) {
    for (const std::string& id : ids_of(claim({.most = 3}).leases)) EXPECT_TRUE(seen.insert(id).second) << id;
  }
  EXPECT_EQ(seen.size(), 10U);
}

// Why: a token that came twice would let a late worker's report pass. How: claim and give back one task again
// and again, and many tasks once; no token is empty or comes twice.
TEST_P(ClaimContract, Rule2_EveryClaimHasATokenOfItsOwn) {
  put_all(numbered(200, "t", task("")));
  std::set<std::string> tokens;
  for (int round = 0; round < 5; ++round) {
    const Claimed claimed = claim({.most = 200});
    ASSERT_EQ(claimed.leases.size(), 200U);
    for (const Lease& lease : claimed.leases) {
      EXPECT_FALSE(lease.token.empty());
      EXPECT_TRUE(tokens.insert(lease.token).second) << "came twice: " << lease.token;
      EXPECT_EQ(lease.length, 25s);
      Report back = outcome(lease, State::pending);
      back.front = true;
      EXPECT_EQ(end(back), Reported::applied);
    }
  }
}

// Why: a token made of a counter comes again after a failover that lost the claim. How: the same calls on two
// empty stores, which is what a lost history looks like; no token may be in both.
TEST_P(ClaimContract, Rule2_TokensAreNoCounters) {
  const Directory directory;
  const std::string url = GetParam().url(directory.path());
  const auto other = GetParam().open ? GetParam().open(url, clock) : open(url, {.clock = &clock});
  const std::vector<Task> tasks = numbered(50, "t", task(""));
  put_all(tasks);
  other->enqueue(tasks, call());
  std::set<std::string> tokens;
  for (const Lease& lease : claim({.most = 50}).leases) tokens.insert(lease.token);
  const Want want{"q", 50};
  const Claimed theirs =
      other->claim({.worker = "w1", .wants = {&want, 1}, .count_max = 50, .lease = 25s}, call());
  for (const Lease& lease : theirs.leases) EXPECT_FALSE(tokens.contains(lease.token)) << lease.task.ref.id;
  EXPECT_EQ(tokens.size() + theirs.leases.size(), 100U);
}

// Why: a counter of the process passes the test above, and comes again when the process starts again. How:
// random texts differ in most of their characters, and neighbours in a count in one or two. Tokens of one
// claim may be alike, for they go to one worker.
TEST_P(ClaimContract, Rule2_TokensOfTwoClaimsHaveNothingInCommon) {
  constexpr std::size_t claims = 100;
  put_all(numbered(claims, "t", task("")));
  std::string last;
  std::size_t different = 0;
  for (std::size_t i = 0; i < claims; ++i) {
    const Claimed claimed = claim({.most = 1});
    ASSERT_EQ(claimed.leases.size(), 1U);
    const std::string& token = claimed.leases[0].token;
    for (std::size_t at = 0; at < std::max(token.size(), last.size()); ++at) {
      different += at >= token.size() || at >= last.size() || token[at] != last[at] ? 1U : 0U;
    }
    last = token;
  }
  EXPECT_GE(different / claims, 8U);
}

// Why: a queue's order is promised: priority, then since when it is pending, then who came first. How: tasks
// that differ in one of the three.
TEST_P(ClaimContract, Port_TheOrderIsPriorityThenPlaceThenArrival) {
  need_whole(Feature::order);
  if (IsSkipped()) return;
  put_all({task("old1"), task("old2")});
  advance(1s);
  put_all({task("new"), with_priority(task("high"), 5), with_priority(task("low"), -5), task("new2")});
  EXPECT_THAT(ids_of(claim({.most = 9}).leases), ElementsAre("high", "old1", "old2", "new", "new2", "low"));
}

// Why: a task that was due for long has waited for long: its place is when it fell due, not when somebody
// noticed. How: a task that fell due before another came, claimed after.
TEST_P(ClaimContract, Port_ADueTasksPlaceIsItsDueTime) {
  need_whole(Feature::order);
  if (IsSkipped()) return;
  put_all({delayed("second", 20s), delayed("first", 10s)});
  advance(15s);
  put(task("between"));
  advance(10s);
  EXPECT_THAT(ids_of(claim({.most = 9}).leases), ElementsAre("first", "between", "second"));
}

// Why: given-back tasks go to the front and retried ones to the back. How: three tasks, one of each fate.
TEST_P(ClaimContract, Port_GivenBackGoesToTheFrontAndRetriedToTheBack) {
  put_all({task("back"), task("front"), task("waits")});
  const Claimed claimed = claim({.most = 2});
  ASSERT_THAT(ids_of(claimed.leases), ElementsAre("back", "front"));
  advance(1s);
  EXPECT_EQ(end(claimed.leases[0], State::retry), Reported::applied);
  Report front = outcome(claimed.leases[1], State::pending);
  front.front = true;
  EXPECT_EQ(end(front), Reported::applied);
  EXPECT_THAT(ids_of(claim({.most = 9}).leases), ElementsAre("front", "waits", "back"));
}

// Why: `front` is the old place and not the first one: it overtakes nobody who was before it. How: give back
// the third of three while the first two wait; twice, so that the place survives a second lease.
TEST_P(ClaimContract, Port_GivenBackKeepsItsOldPlace) {
  put(task("a"));
  advance(1s);
  put(task("b"));
  for (int round = 0; round < 2; ++round) {
    advance(1s);
    const Claimed both = claim({.most = 2});
    ASSERT_THAT(ids_of(both.leases), ElementsAre("a", "b"));
    for (const std::size_t i : {1U, 0U}) {
      Report back = outcome(both.leases[i], State::pending);
      back.front = true;
      EXPECT_EQ(end(back), Reported::applied);
    }
    put(task("late" + std::to_string(round)));
  }
  EXPECT_THAT(ids_of(claim({.most = 9}).leases), ElementsAre("a", "b", "late0", "late1"));
}

// Why: without `front` it is a new arrival. How: `again` at once.
TEST_P(ClaimContract, Port_AgainAtOnceGoesToTheBack) {
  put_all({task("a"), task("b")});
  const Lease lease = claim_one();
  advance(1s);
  EXPECT_EQ(end(lease, State::pending), Reported::applied);
  EXPECT_THAT(ids_of(claim({.most = 9}).leases), ElementsAre("b", "a"));
}

// Why: memory is bounded by bytes, but a large task must run some day. How: sums just at the bound, over it,
// and a first task larger than the bound.
TEST_P(ClaimContract, Port_BytesMaxBoundsAllButTheFirst) {
  put_all({sized("a", 100), sized("b", 100), sized("c", 100)});
  EXPECT_THAT(ids_of(claim({.most = 9, .bytes_max = 200}).leases), ElementsAre("a", "b"));
  EXPECT_THAT(ids_of(claim({.most = 9, .bytes_max = 1}).leases), ElementsAre("c"));
  put_all({sized("large", 1000), sized("small", 1), sized("d", 100), sized("e", 101), sized("f", 1)});
  EXPECT_THAT(ids_of(claim({.most = 9, .bytes_max = 1001}).leases), ElementsAre("large", "small"));
  EXPECT_THAT(ids_of(claim({.most = 9, .bytes_max = 200}).leases), ElementsAre("d"))
      << "it stops before the one that would go over, and skips none";
  EXPECT_THAT(ids_of(claim({.most = 9, .bytes_max = 0}).leases), ElementsAre("e", "f")) << "zero: no limit";
}

// Why: the engine splits its slots over queues and the store fills in order. How: two queues, each bounded,
// and all together bounded.
TEST_P(ClaimContract, Port_WantsAreFilledInOrderUpToTheirCounts) {
  put_all(numbered(5, "a", task("", "qa")));
  put_all(numbered(5, "b", task("", "qb")));
  EXPECT_THAT(ids_of(claim_wants({{"qb", 2}, {"qa", 3}}, 4).leases), ElementsAre("b0", "b1", "a0", "a1"));
  EXPECT_THAT(ids_of(claim_wants({{"qa", 1}, {"none", 5}, {"qb", 9}}, 9).leases),
              ElementsAre("a2", "b2", "b3", "b4"));
  EXPECT_THAT(claim_wants({{"qa", 5}}, 0).leases, IsEmpty());
  EXPECT_THAT(claim_wants({{"qa", 0}}, 5).leases, IsEmpty());
  EXPECT_THAT(ids_of(claim_wants({{"qa", 5}}, 5).leases), ElementsAre("a3", "a4"));
}

// Why: nothing is claimed from a paused queue, and its time to come wakes nobody. How: pause, claim, resume.
TEST_P(ClaimContract, Port_APausedQueueIsLeftAlone) {
  put_all({task("a"), delayed("due", 1s), delayed("later", 1h)});
  put(delayed("other", 2h, "other"));
  advance(1s);
  catalog().pause("q", true, call());
  const Claimed paused = claim({.queues = {"q", "other"}, .most = 9});
  EXPECT_THAT(paused.leases, IsEmpty());
  EXPECT_EQ(paused.next_due, now() - 1s + 2h) << "of the other queue";
  EXPECT_EQ(state_of("due"), State::scheduled) << "a claim promotes in unpaused queues only";
  catalog().pause("q", false, call());
  const Claimed resumed = claim({.queues = {"q", "other"}, .most = 9});
  EXPECT_THAT(ids_of(resumed.leases), ElementsAre("a", "due"));
}

// Why: a task starts when it is due, not a microsecond before, and lateness hangs on no sweeper. How: around
// the very instant; a retry the same.
TEST_P(ClaimContract, Rule8_ADueTaskIsClaimedAtItsInstant) {
  put(delayed("a", 10s));
  advance(10s - 1us);
  EXPECT_THAT(claim({}).leases, IsEmpty());
  advance(1us);
  const Lease lease = claim_one();
  Report retry = outcome(lease, State::retry);
  retry.delay = 5s;
  EXPECT_EQ(end(retry), Reported::applied);
  advance(5s - 1us);
  EXPECT_THAT(claim({}).leases, IsEmpty());
  advance(1us);
  EXPECT_EQ(claim_one().task.ref.id, "a");
}

// Why: the call's time decides and the store's clock does not. How: the clock is past the due time, the call
// isn't.
TEST_P(ClaimContract, Rule8_OnlyTheCallsTimeDecides) {
  put(delayed("a", 10s));
  Call early = call();
  advance(1h);
  const Want want{"q", 1};
  const Claim take{.worker = "w1", .wants = {&want, 1}, .count_max = 1, .lease = 25s};
  const Claimed claimed = store().claim(take, early);
  EXPECT_THAT(claimed.leases, IsEmpty());
  EXPECT_EQ(claimed.next_due, early.now + 10s);
  EXPECT_EQ(claimed.now, now()) << "the answer brings the store's own time";
}

// Why: a worker sleeps until the next task is due, and no longer. How: several queues and states; the least
// counts.
TEST_P(ClaimContract, Port_NextDueIsTheLeastOfTheWantedQueues) {
  EXPECT_EQ(claim({}).next_due, std::nullopt);
  put_all(
      {delayed("a", 1h), delayed("b", 10min), delayed("c", 1min, "other"), delayed("d", 1s, "not wanted")});
  const TimePoint start = now();
  EXPECT_EQ(claim({.queues = {"q"}}).next_due, start + 10min);
  EXPECT_EQ(claim({.queues = {"q", "other"}}).next_due, start + 1min);
  put(task("e"));
  const Lease lease = claim_one();
  Report retry = outcome(lease, State::retry);
  retry.delay = 30s;
  end(retry);
  EXPECT_EQ(claim({.queues = {"q", "other"}}).next_due, start + 30s);
}

// Why: a claim's cost is bounded also when a hundred thousand tasks fall due at once, and what it leaves is
// told. How: more due tasks than one claim promotes, claimed one by one until all are ready.
TEST_P(ClaimContract, Rule7_AClaimPromotesABoundedNumber) {
  std::vector<std::string> all;
  for (int i = 0; i < 3; ++i) {
    const auto tasks = numbered(500, std::to_string(i) + "-", delayed("", 10s));
    put_all(tasks);
    for (const Task& each : tasks) all.push_back(each.ref.id);
  }
  advance(10s);
  std::vector<std::string> claimed;
  std::uint64_t left = 1500;
  while (left > 0) {
    const Claimed one = claim({.most = 1});
    ASSERT_EQ(one.leases.size(), 1U);
    claimed.push_back(one.leases[0].task.ref.id);
    const std::uint64_t now_left = queue()->counts[State::scheduled];
    EXPECT_LT(now_left, left);
    EXPECT_LE(left - now_left, 1000U);
    left = now_left;
    EXPECT_EQ(queue()->counts[State::pending], 1500 - left - claimed.size());
    EXPECT_EQ(one.next_due.has_value(), left > 0);
    EXPECT_LE(one.next_due.value_or(now()), now());
  }
  for (const std::string& id : ids_of(claim({.most = 1500}).leases)) claimed.push_back(id);
  EXPECT_THAT(claimed, testing::UnorderedElementsAreArray(all));
}

// Why: a worker needs the whole task, and its counters, to decide what becomes of it. How: a second attempt.
TEST_P(ClaimContract, Port_ALeaseHasTheWholeTask) {
  Task given = delayed("a", 10s);
  given.headers = {{"h", "v"}};
  given.priority = 3;
  put(given);
  const TimePoint due = now() + 10s;
  advance(12s);
  const Lease first = claim_one();
  EXPECT_EQ(first.task.run_at, due);
  Report retry = outcome(first, State::retry);
  retry.attempt = 1;
  retry.retries = 2;
  retry.crashes = 3;
  retry.deferrals = 4;
  retry.record = true;
  end(retry);
  const Lease second = claim_one();
  EXPECT_EQ(second.task.attempt, 1);
  EXPECT_EQ(second.task.retries, 2);
  EXPECT_EQ(second.task.crashes, 3);
  EXPECT_EQ(second.task.deferrals, 4);
  EXPECT_EQ(second.task.headers, given.headers);
  EXPECT_EQ(second.task.priority, 3);
  EXPECT_EQ(second.task.payload, "payload");
  EXPECT_EQ(second.task.created_at, due - 10s);
}

// Why: operators ask who runs what since when. How: claim, look, claim again by another.
TEST_P(ClaimContract, Port_AClaimIsSeenInTheCatalogue) {
  put(task("a"));
  advance(1s);
  const Lease lease = claim_one("w1");
  const auto active = get("a");
  ASSERT_TRUE(active);
  EXPECT_EQ(active->state, State::active);
  EXPECT_EQ(active->worker, "w1");
  EXPECT_EQ(active->started_at, now());
  end(lease, State::pending);
  advance(1s);
  claim_one("w2");
  EXPECT_EQ(get("a")->worker, "w2");
  EXPECT_EQ(get("a")->started_at, now());
}

// Why: deadline and expiry are core's rules; a store that hid such tasks would keep them for ever. How: claim
// a task that is past both.
TEST_P(ClaimContract, Port_DeadlineAndExpiryAreNotLookedAt) {
  Task late = task("a");
  late.deadline = now() - 1s;
  late.expires_at = now() - 1s;
  put(late);
  EXPECT_EQ(claim_one().task.deadline, now() - 1s);
}

// Why: the backlog's length must not matter: a store that looks through it stands still when it is needed
// most. How: 100,000 tasks, half of them delayed, come and go exactly once. The test's time limit is the
// check of cost.
TEST_P(ClaimContract, Rule7_ALongBacklogDrains) {
  constexpr std::size_t batches = 100;
  for (std::size_t i = 0; i < batches; ++i) {
    Task like = i % 2 == 0 ? task("") : delayed("", 10s);
    like.priority = static_cast<std::int32_t>(i % 3);
    put_all(numbered(1000, std::to_string(i) + "-", like));
  }
  advance(10s);
  std::set<std::string> seen;
  for (std::size_t step = 0; step < 10 * batches && seen.size() < batches * 1000; ++step) {
    const Claimed claimed = claim({.most = 1000});
    std::vector<Report> reports;
    for (const Lease& lease : claimed.leases) {
      EXPECT_TRUE(seen.insert(lease.task.ref.id).second);
      reports.push_back(outcome(lease, State::gone));
    }
    EXPECT_THAT(store().report(reports, call()), testing::Each(Reported::applied));
  }
  EXPECT_EQ(seen.size(), batches * 1000);
  EXPECT_THAT(find({}), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Stores, ClaimContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
