// What operators do to tasks.
#include "contract.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class ChangeContract : public Contract {
 protected:
  void SetUp() override { need({Feature::list}); }

  /// A task in any state, with counters that aren't zero where it has run.
  void make(const std::string& id, State state) {
    using enum State;
    if (state == scheduled || state == pending || state == aggregating || state == held) {
      Task one = task(id, "q", state);
      one.delay = 1h;
      ASSERT_EQ(put(one).put, Put::created);
      return;
    }
    Task urgent = task(id);
    urgent.priority = 100;
    ASSERT_EQ(put(urgent).put, Put::created);
    const Lease lease = claim_one();
    ASSERT_EQ(lease.task.ref.id, id);
    if (state == active) return;
    Report report = outcome(lease, state);
    report.attempt = report.retries = report.crashes = report.deferrals = 5;
    report.delay = 1h;
    report.reason = "before";
    ASSERT_EQ(end(report), Reported::applied);
  }
};

// Why: core's table says which moves exist, and no operator gets around it. How: every pair of states; what
// is forbidden fails and leaves the task as it was.
TEST_P(ChangeContract, Port_MovesAreThoseOfTheTable) {
  using enum State;
  const auto forbidden_or_done = [&](State from, State to) {
    SCOPED_TRACE(std::string{to_string(from)} + " to " + std::string{to_string(to)});
    const std::string id = std::string{to_string(from)} + "-" + std::string{to_string(to)};
    make(id, from);
    const bool waits = from == scheduled || from == pending || from == aggregating || from == retry;
    const bool good =
        (to == gone) || (to == pending && from != pending) || (to == held && waits) ||
        (to == archived && (waits || from == held)) ||
        (to == scheduled && (from == scheduled || from == pending || from == retry || from == held));
    EXPECT_EQ(change(id, {.from = States::all(), .to = to}), good ? Changed::changed : Changed::failed);
    EXPECT_EQ(state_of(id), good ? to : from);
    change(id, {.from = States::all(), .to = gone});
  };
  for (const State from : {scheduled, pending, retry, completed, archived, aggregating, held}) {
    for (const State to :
         {gone, scheduled, pending, active, retry, completed, archived, aggregating, held, blocked}) {
      forbidden_or_done(from, to);
    }
  }
}

// Why: an act names the states that it is for; a task that has moved on meanwhile is left alone. How: a
// change for held ones only, on a task in each state.
TEST_P(ChangeContract, Port_OtherStatesAnswerWrongState) {
  using enum State;
  for (const State state : {scheduled, active, pending, retry, completed, archived, aggregating}) {
    const std::string id{to_string(state)};
    make(id, state);
    EXPECT_EQ(change(id, {.from = held, .to = archived, .signal = Signal::cancel}), Changed::wrong_state)
        << id;
    EXPECT_EQ(state_of(id), state);
  }
  EXPECT_EQ(change("none", {.from = States::all(), .to = archived}), Changed::absent);
}

// Why: a task that runs can't be moved under its handler; it is asked to stop. How: with and without a
// signal, with and without active among the states.
TEST_P(ChangeContract, Port_ActiveTasksAreSignalledAndNeverMoved) {
  make("a", State::active);
  EXPECT_EQ(change("a", {.from = States::all(), .to = State::archived}), Changed::wrong_state);
  EXPECT_EQ(change("a", {.from = State::pending, .to = State::archived, .signal = Signal::cancel}),
            Changed::wrong_state);
  EXPECT_EQ(change("a", {.from = States::all(), .to = State::archived, .signal = Signal::cancel}),
            Changed::signalled);
  EXPECT_EQ(state_of("a"), State::active);
}

// Why: a bulk act answers for each, and one bad ref harms nobody. How: five refs of five fates, one of them
// twice.
TEST_P(ChangeContract, Rule6_ABulkChangeAnswersEach) {
  make("active", State::active);
  make("held", State::held);
  make("done", State::completed);
  make("late", State::scheduled);
  const std::vector<Ref> refs = {{"q", "late"}, {"q", "none"}, {"q", "active"},
                                 {"q", "done"}, {"q", "held"}, {"q", "late"}};
  Change cancel;
  cancel.from = States{State::scheduled} + State::held + State::active;
  cancel.to = State::archived;
  cancel.signal = Signal::cancel;
  EXPECT_THAT(catalog().change(refs, cancel, call()),
              ElementsAre(Changed::changed, Changed::absent, Changed::signalled, Changed::wrong_state,
                          Changed::changed, Changed::wrong_state));
}

// Why: "run now" is a new arrival with the counters it had, unless told to start afresh. How: both.
TEST_P(ChangeContract, Port_RunAgainGoesToTheBackWithFreshCountersIfAsked) {
  need_whole(Feature::order);
  if (IsSkipped()) return;
  make("old", State::archived);
  make("fresh", State::archived);
  advance(1s);
  put(task("waiting"));
  advance(1s);
  EXPECT_EQ(change("old", {.from = State::archived, .to = State::pending}), Changed::changed);
  EXPECT_EQ(change("fresh", {.from = State::archived, .to = State::pending, .fresh = true}),
            Changed::changed);
  EXPECT_EQ(get("old")->reason, "");
  EXPECT_EQ(get("old")->ended_at, std::nullopt);
  put(task("new"));
  // The two that ran have a higher priority, so each stands at the head of its own.
  const Claimed claimed = claim({.most = 9});
  ASSERT_THAT(ids_of(claimed.leases), ElementsAre("old", "fresh", "waiting", "new"));
  const Task& old = claimed.leases[0].task;
  EXPECT_THAT((std::vector{old.attempt, old.retries, old.crashes, old.deferrals}), ElementsAre(5, 5, 5, 5));
  const Task& fresh = claimed.leases[1].task;
  EXPECT_THAT((std::vector{fresh.attempt, fresh.retries, fresh.crashes, fresh.deferrals}),
              ElementsAre(5, 0, 0, 0));
}

// Why: a resumed task is a new arrival: nobody who waited is overtaken. How: hold the first of two, resume
// it.
TEST_P(ChangeContract, Port_AResumedTaskGoesToTheBack) {
  put_all({task("a"), task("b")});
  change("a", {.from = State::pending, .to = State::held, .reason = "held"});
  EXPECT_EQ(get("a")->reason, "held");
  EXPECT_EQ(claim({.most = 0}).leases.size(), 0U);
  advance(1s);
  change("a", {.from = State::held, .to = State::pending});
  EXPECT_THAT(ids_of(claim({.most = 9}).leases), ElementsAre("b", "a"));
}

// Why: a task that an operator ran now has no due time any more. How: run one that waits for an hour, twice
// over.
TEST_P(ChangeContract, Port_RunNowForgetsTheDueTime) {
  make("late", State::scheduled);
  make("retry", State::retry);
  for (const char* id : {"late", "retry"}) {
    EXPECT_EQ(change(id, {.from = States{State::scheduled} + State::retry, .to = State::pending}),
              Changed::changed);
    EXPECT_EQ(get(id)->run_at, std::nullopt);
  }
  const Claimed claimed = claim({.most = 9});
  EXPECT_EQ(claimed.leases.size(), 2U);
  EXPECT_EQ(claimed.next_due, std::nullopt);
}

// Why: another time is the one that counts, sooner or later, and to the microsecond. How: one in each state
// that waits, and each twice.
TEST_P(ChangeContract, Port_ARescheduledTaskIsDueThen) {
  using enum State;
  const States waiting = States{scheduled} + pending + retry + held;
  const TimePoint first = now() + 30min + 1us;
  const TimePoint then = now() + 10min + 500ms;
  for (const State from : {scheduled, pending, retry, held}) {
    const std::string id{to_string(from)};
    make(id, from);
    for (const TimePoint at : {first, then}) {
      EXPECT_EQ(change(id, {.from = waiting, .to = scheduled, .run_at = at}), Changed::changed) << id;
      EXPECT_EQ(get(id)->state, scheduled);
      EXPECT_EQ(get(id)->run_at, at);
      EXPECT_EQ(get(id)->reason, "");
    }
  }
  EXPECT_EQ(claim({.most = 9}).next_due, then);
  advance(10min + 500ms - 1us);
  EXPECT_THAT(claim({.most = 9}).leases, IsEmpty());
  advance(1us);
  EXPECT_EQ(claim({.most = 9}).leases.size(), 4U);
}

// Why: what an operator archives is kept as he says. How: with a keep and without.
TEST_P(ChangeContract, Port_AnArchivedTaskIsKeptAsTold) {
  put_all({task("brief"), task("ever")});
  EXPECT_EQ(
      change("brief", {.from = State::pending, .to = State::archived, .keep = 10s, .reason = "operator"}),
      Changed::changed);
  EXPECT_EQ(change("ever", {.from = State::pending, .to = State::archived}), Changed::changed);
  EXPECT_EQ(get("brief")->ended_at, now());
  EXPECT_EQ(get("brief")->reason, "operator");
  advance(10s);
  EXPECT_EQ(sweep().purged, 1U);
  EXPECT_THAT(ids(), ElementsAre("ever"));
}

// Why: erasing takes everything: the attempts, and the id may be used again. How: erase one with a history.
TEST_P(ChangeContract, Port_EraseTakesTheHistoryWithIt) {
  put(task("a"));
  const Lease lease = claim_one();
  Report failure = outcome(lease, State::archived);
  failure.record = true;
  end(failure);
  ASSERT_EQ(attempts("a").size(), 1U);
  EXPECT_EQ(change("a", {.from = State::archived, .to = State::gone}), Changed::changed);
  EXPECT_THAT(attempts("a"), IsEmpty());
  EXPECT_EQ(put(task("a")).put, Put::created);
  EXPECT_THAT(attempts("a"), IsEmpty());
}

// Why: a late report for a task that an operator moved changes nothing. How: sweep, hold and run it; report.
TEST_P(ChangeContract, Rule4_AReportForATaskThatWasMovedIsRefused) {
  put(task("a"));
  const Lease lease = claim_one();
  advance(25s);
  const Swept swept = sweep();
  end(swept.taken.at(0), State::held);
  change("a", {.from = State::held, .to = State::pending});
  EXPECT_EQ(end(lease, State::gone), Reported::lost);
  EXPECT_EQ(end(swept.taken.at(0), State::gone), Reported::lost);
  EXPECT_EQ(state_of("a"), State::pending);
}

INSTANTIATE_TEST_SUITE_P(Stores, ChangeContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
