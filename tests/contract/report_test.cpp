// How attempts end, and whose word counts.
#include "contract.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;

class ReportContract : public Contract {
 protected:
  void SetUp() override { need({Feature::list}); }

  Lease start(const std::string& id = "a") {
    put(task(id));
    return claim_one();
  }
};

LogLine line(std::string text, TimePoint at = {}) { return {at, Level::info, std::move(text)}; }

std::vector<std::string> texts(const std::vector<LogLine>& lines) {
  std::vector<std::string> all;
  for (const LogLine& each : lines) all.push_back(each.text);
  return all;
}

// Why: exactly one outcome is accepted for an attempt. How: report each end twice; the second says what it
// finds, and changes nothing.
TEST_P(ReportContract, Rule4_ExactlyOneOutcomeIsAccepted) {
  using enum State;
  for (const State to : {gone, completed, archived, retry, scheduled, pending, held}) {
    SCOPED_TRACE(to_string(to));
    const std::string id{to_string(to)};
    put(task(id));
    const Claimed claimed = claim({});
    ASSERT_EQ(claimed.leases.size(), 1U);
    Report first = outcome(claimed.leases[0], to);
    first.delay = 1h;
    EXPECT_EQ(end(first), Reported::applied);
    Report second = outcome(claimed.leases[0], archived);
    second.error = "late";
    const bool over = to == gone || to == completed || to == archived;
    EXPECT_EQ(end(second), over ? Reported::ended : Reported::lost);
    EXPECT_EQ(state_of(id), to);
    EXPECT_EQ(get(id).value_or(Task{}).error, "");
    change(id, {.from = States::all(), .to = gone, .release_key = true});
  }
}

// Why: two reports of one attempt in one batch are still two. How: the same lease twice.
TEST_P(ReportContract, Rule4_TheSecondReportInABatchIsRefusedToo) {
  const Lease lease = start();
  const std::vector<Report> twice = {outcome(lease, State::retry), outcome(lease, State::gone)};
  EXPECT_THAT(store().report(twice, call()), ElementsAre(Reported::applied, Reported::lost));
  EXPECT_EQ(state_of("a"), State::retry);
}

// Why: a worker that stalls past its lease must not overwrite what the next one does. How: let the lease
// lapse, have it swept and given back, claim again; then report, beat and carry tasks under the first token.
TEST_P(ReportContract, Rule2_AStaleTokenIsRefused) {
  const Lease stale = start();
  advance(25s);
  const Swept swept = sweep();
  ASSERT_EQ(swept.taken.size(), 1U);
  Report late = outcome(stale, State::gone);
  late.result = "late";
  late.then = {task("then")};
  EXPECT_EQ(end(late), Reported::lost) << "the sweeper has it";
  EXPECT_EQ(end(swept.taken[0], State::pending), Reported::applied);
  EXPECT_EQ(end(late), Reported::lost) << "pending";
  const Lease fresh = claim_one("w2");
  EXPECT_NE(fresh.token, stale.token);
  EXPECT_EQ(end(late), Reported::lost) << "another worker has it";
  EXPECT_EQ(beat({.lease = &stale, .progress = "late"}), Signal::lost);
  EXPECT_EQ(get("a")->progress, "");
  EXPECT_EQ(get("then"), std::nullopt);
  EXPECT_EQ(end(fresh, State::gone), Reported::applied);
  EXPECT_EQ(end(late), Reported::ended);
}

// Why: a token is a right and nothing else makes one. How: made-up tokens, an empty one, and the token of
// another task.
TEST_P(ReportContract, Rule2_NoOtherTokenPasses) {
  const Lease first = start("a");
  const Lease second = start("b");
  Lease forged = first;
  for (const std::string& token :
       {std::string{}, std::string{"0"}, second.token, first.token + "0", std::string(1000, 'x'),
        std::string("\0\xff", 2), std::string{"12x4:1"}, std::string{"1234:"}, std::string{"12345:6:7:8"}}) {
    forged.token = token;
    EXPECT_EQ(end(forged, State::gone), Reported::lost) << token;
    EXPECT_EQ(beat({.lease = &forged}), Signal::lost) << token;
  }
  EXPECT_EQ(end(first, State::gone), Reported::applied);
  EXPECT_EQ(end(second, State::gone), Reported::applied);
}

// Why: work that is done is done: a lease that has run out and that nobody took over is still good. How:
// report an hour late.
TEST_P(ReportContract, Rule2_ALapsedLeaseThatNobodyTookIsStillGood) {
  const Lease lease = start();
  advance(1h);
  EXPECT_EQ(end(lease, State::gone), Reported::applied);
}

// Why: the answer is told apart: over, or in other hands. How: every way that a task can leave its lease.
TEST_P(ReportContract, Rule4_EndedIsToldApartFromLost) {
  const Lease lease = start();
  advance(25s);
  const Swept swept = sweep();
  ASSERT_EQ(swept.taken.size(), 1U);
  end(swept.taken[0], State::held);
  EXPECT_EQ(end(lease, State::gone), Reported::lost) << "held";
  change("a", {.from = State::held, .to = State::archived});
  EXPECT_EQ(end(lease, State::gone), Reported::ended) << "archived";
  change("a", {.from = State::archived, .to = State::gone});
  EXPECT_EQ(end(lease, State::gone), Reported::ended) << "deleted";
  put(task("a"));
  EXPECT_EQ(end(lease, State::gone), Reported::lost) << "another task under its id";
}

// Why: one bad report must not fail its neighbours. How: no lease, and moves that core's table forbids,
// between two good ones; nothing of the bad ones is written.
TEST_P(ReportContract, Rule6_ABadReportFailsAlone) {
  const Lease first = start("a");
  const Lease second = start("b");
  const Lease third = start("c");
  Report none = outcome(first, State::gone);
  none.lease = nullptr;
  const std::vector<Report> batch = {outcome(first, State::gone),         none,
                                     outcome(second, State::blocked),     outcome(second, State::active),
                                     outcome(second, State::aggregating), outcome(third, State::gone)};
  EXPECT_THAT(store().report(batch, call()),
              ElementsAre(Reported::applied, Reported::failed, Reported::failed, Reported::failed,
                          Reported::failed, Reported::applied));
  EXPECT_EQ(state_of("b"), State::active);
  EXPECT_EQ(end(second, State::gone), Reported::applied);
}

// Why: delays count from the call's now, in every state that waits. How: both states; read the due time.
TEST_P(ReportContract, Rule8_DelaysAreCountedFromTheCallsNow) {
  for (const State to : {State::scheduled, State::retry}) {
    const std::string id{to_string(to)};
    const Lease lease = start(id);
    advance(3s);
    Report report = outcome(lease, to);
    report.delay = 10s;
    EXPECT_EQ(end(report), Reported::applied);
    EXPECT_EQ(get(id)->state, to);
    EXPECT_EQ(get(id)->run_at, now() + 10s);
  }
}

// Why: core decides every value and a store writes what it is told. How: odd values in all of them.
TEST_P(ReportContract, Port_EveryValueIsWrittenAsTold) {
  const Lease lease = start();
  advance(2s);
  Report report = outcome(lease, State::archived);
  report.attempt = 11;
  report.retries = 22;
  report.crashes = 33;
  report.deferrals = 44;
  report.result = std::string("r\0r", 3);
  report.error = "error";
  report.reason = "poison";
  EXPECT_EQ(end(report), Reported::applied);
  const auto task = get("a");
  ASSERT_TRUE(task);
  EXPECT_EQ(task->attempt, 11);
  EXPECT_EQ(task->retries, 22);
  EXPECT_EQ(task->crashes, 33);
  EXPECT_EQ(task->deferrals, 44);
  EXPECT_EQ(task->result, report.result);
  EXPECT_EQ(task->error, "error");
  EXPECT_EQ(task->reason, "poison");
  EXPECT_EQ(task->ended_at, now());
  EXPECT_EQ(task->worker, "w1");
  EXPECT_EQ(task->run_at, std::nullopt);
}

// Why: a snooze after a failure must not hide the failure's text, and a success must clear it. How: fail,
// snooze, succeed with a record.
TEST_P(ReportContract, Port_TheLastErrorStaysUntilAnAttemptIsRecorded) {
  const Lease first = start();
  Report failure = outcome(first, State::retry);
  failure.error = "why";
  failure.reason = "because";
  failure.record = true;
  end(failure);
  const Lease second = claim_one();
  end(second, State::scheduled);
  EXPECT_EQ(get("a")->error, "why");
  EXPECT_EQ(get("a")->reason, "") << "the reason is of the state that it is in";
  const Lease third = claim_one();
  Report success = outcome(third, State::completed);
  success.record = true;
  end(success);
  EXPECT_EQ(get("a")->error, "");
}

// Why: success without retention leaves nothing behind. How: attempts of a failure go with the task.
TEST_P(ReportContract, Port_GoneTakesTheAttemptsWithIt) {
  const Lease first = start();
  Report failure = outcome(first, State::retry);
  failure.attempt = 1;
  failure.record = true;
  end(failure);
  EXPECT_EQ(attempts("a").size(), 1U);
  const Lease second = claim_one();
  Report success = outcome(second, State::gone);
  success.record = true;
  EXPECT_EQ(end(success), Reported::applied);
  EXPECT_TRUE(attempts("a").empty());
  put(task("a"));
  EXPECT_TRUE(attempts("a").empty()) << "nor for a new task of that id";
}

// Why: an attempt's record is what people debug with. How: log lines by beats and by the report, in order.
TEST_P(ReportContract, Port_AnAttemptIsRecordedWithAllItsLogLines) {
  const Lease lease = start();
  const TimePoint began = now();
  advance(1s);
  beat({.lease = &lease, .logs = {{now(), Level::debug, "one"}, {now(), Level::warning, "two"}}});
  advance(1s);
  beat({.lease = &lease, .logs = {line("three", now())}});
  advance(1s);
  Report failure = outcome(lease, State::retry);
  failure.attempt = 1;
  failure.record = true;
  failure.started_at = began + 500ms;
  failure.error = "why";
  failure.logs = {line("four", now())};
  EXPECT_EQ(end(failure), Reported::applied);

  const auto kept = attempts("a");
  ASSERT_EQ(kept.size(), 1U);
  EXPECT_EQ(kept[0].number, 1);
  EXPECT_EQ(kept[0].started_at, began + 500ms);
  EXPECT_EQ(kept[0].ended_at, now());
  EXPECT_EQ(kept[0].worker, "w1");
  EXPECT_EQ(kept[0].error, "why");
  EXPECT_THAT(texts(kept[0].logs), ElementsAre("one", "two", "three", "four"));
  EXPECT_EQ(kept[0].logs[0].level, Level::debug);
  EXPECT_EQ(kept[0].logs[1].level, Level::warning);
  EXPECT_EQ(kept[0].logs[1].at, began + 1s);
}

// Why: log lines belong to their attempt; those of one that isn't recorded must not turn up in the next. How:
// beats with lines, a snooze, then a recorded attempt.
TEST_P(ReportContract, Port_LinesOfAnUnrecordedAttemptAreDropped) {
  const Lease first = start();
  beat({.lease = &first, .logs = {line("dropped")}});
  end(first, State::pending);
  const Lease second = claim_one();
  beat({.lease = &second, .logs = {line("kept")}});
  Report failure = outcome(second, State::retry);
  failure.record = true;
  end(failure);
  ASSERT_EQ(attempts("a").size(), 1U);
  EXPECT_THAT(texts(attempts("a")[0].logs), ElementsAre("kept"));
}

// Why: a dead worker's last words are the best hint at what killed it. How: lines by beat, a sweep, the
// sweeper's report.
TEST_P(ReportContract, Rule3_ACrashIsRecordedWithTheDeadWorkersLines) {
  const Lease lease = start();
  beat({.lease = &lease, .logs = {line("last words")}});
  advance(25s);
  const Swept swept = sweep();
  ASSERT_EQ(swept.taken.size(), 1U);
  Report crash = outcome(swept.taken[0], State::pending);
  crash.attempt = crash.crashes = 1;
  crash.record = true;
  crash.error = "died";
  EXPECT_EQ(end(crash), Reported::applied);
  ASSERT_EQ(attempts("a").size(), 1U);
  EXPECT_THAT(texts(attempts("a")[0].logs), ElementsAre("last words"));
}

// Why: history is bounded: a task that fails for years must not fill the store. How: 103 attempts.
TEST_P(ReportContract, Rule7_AHundredAttemptsAreKept) {
  put(task("a"));
  for (int i = 1; i <= 103; ++i) {
    const Lease lease = claim_one();
    Report failure = outcome(lease, State::retry);
    failure.attempt = i;
    failure.record = true;
    failure.error = std::to_string(i);
    ASSERT_EQ(end(failure), Reported::applied);
  }
  const auto kept = attempts("a");
  ASSERT_EQ(kept.size(), 100U);
  EXPECT_EQ(kept.front().number, 4);
  EXPECT_EQ(kept.back().number, 103);
}

// Why: a follow-up task that is not in the same write is lost in a crash or doubled by a repeat. How: reports
// that are applied, lost and repeated, each with tasks to follow.
TEST_P(ReportContract, Rule4_FollowingTasksComeOnlyWithAnAppliedReport) {
  const Lease lease = start();
  Report done = outcome(lease, State::gone);
  done.then = {task("next"), task("elsewhere", "other"), delayed("late", 10s)};
  EXPECT_EQ(end(done), Reported::applied);
  EXPECT_EQ(get("next")->state, State::pending);
  EXPECT_EQ(get("elsewhere", "other")->state, State::pending);
  EXPECT_EQ(get("late")->run_at, now() + 10s);

  const Lease next = claim_one();
  EXPECT_EQ(end(next, State::gone), Reported::applied);
  EXPECT_EQ(end(done), Reported::ended);
  EXPECT_EQ(get("next"), std::nullopt) << "the repeat enqueued nothing";
}

// Why: a chain that reuses its unique key must be able to: the end releases it first. How: the follow-up has
// the key of the task that ends.
TEST_P(ReportContract, Rule5_AFollowingTaskCanTakeTheKeyOfTheOneThatEnds) {
  need({Feature::unique});
  if (IsSkipped()) return;
  put(keyed("a", "k"));
  const Lease lease = claim_one();
  Report done = outcome(lease, State::gone);
  done.then = {keyed("b", "k")};
  EXPECT_EQ(end(done), Reported::applied);
  EXPECT_EQ(state_of("b"), State::pending);
  EXPECT_EQ(put(keyed("c", "k")).id, "b");
}

// Why: what follows may be a duplicate, which is no failure of the attempt. How: a follow-up whose id is
// taken.
TEST_P(ReportContract, Rule6_AFollowingTaskThatExistsHarmsNothing) {
  put(task("b", "q", State::held));
  const Lease lease = start();
  Report done = outcome(lease, State::gone);
  done.then = {task("b"), task("c", "q", State::active), task("d")};
  EXPECT_EQ(end(done), Reported::applied);
  EXPECT_THAT(ids(), ElementsAre("d", "b"));
}

// Why: what is kept is kept for as long as it was told, or for good. How: three lengths, and the sweep.
TEST_P(ReportContract, Port_RetentionIsCountedFromTheEnd) {
  const Lease brief = start("brief");
  const Lease longer = start("longer");
  const Lease ever = start("ever");
  advance(5s);
  Report report = outcome(brief, State::completed);
  report.keep = 10s;
  report.result = "result";
  end(report);
  report = outcome(longer, State::archived);
  report.keep = 20s;
  end(report);
  end(ever, State::archived);
  EXPECT_EQ(get("brief")->result, "result");
  EXPECT_EQ(get("brief")->ended_at, now());
  advance(10s - 1us);
  EXPECT_EQ(sweep().purged, 0U);
  advance(1us);
  EXPECT_EQ(sweep().purged, 1U);
  EXPECT_EQ(get("brief"), std::nullopt);
  advance(10s);
  EXPECT_EQ(sweep().purged, 1U);
  advance(24h * 1000);
  EXPECT_EQ(sweep().purged, 0U);
  EXPECT_THAT(ids(), ElementsAre("ever"));
}

INSTANTIATE_TEST_SUITE_P(Stores, ReportContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
