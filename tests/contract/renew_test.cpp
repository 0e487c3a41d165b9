// Signs of life, what they carry, and what comes back with them.
#include "contract.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class RenewContract : public Contract {
 protected:
  void SetUp() override { need({Feature::list}); }

  Lease start(const std::string& id = "a") {
    put(task(id));
    return claim_one();
  }
  Changed signal_task(const std::string& id, Signal signal) {
    return change(id, {.from = States::all(), .to = State::archived, .signal = signal});
  }
  std::vector<std::string> workers() {
    std::vector<std::string> names;
    for (const WorkerInfo& info : catalog().workers(call())) names.push_back(info.id);
    return names;
  }
  void add(const std::vector<Stat>& stats) { store().renew(worker("w1"), {}, 25s, stats, call()); }
  std::vector<Stat> stats(Span span, std::string_view queue = {}) {
    return catalog().stats(queue, span, now() - 24h * 1000, now() + 24h, call());
  }
};

// Why: a worker that beats keeps its tasks, however long they run. How: beats within the lease; then none.
TEST_P(RenewContract, Rule3_ABeatExtendsTheLease) {
  const Lease lease = start();
  for (int i = 0; i < 10; ++i) {
    advance(20s);
    EXPECT_EQ(beat({.lease = &lease}), Signal::none);
    EXPECT_THAT(sweep().taken, IsEmpty());
  }
  advance(25s - 1us);
  EXPECT_THAT(sweep().taken, IsEmpty());
  advance(1us);
  EXPECT_EQ(sweep().taken.size(), 1U);
}

// Why: a lease that has run out, and that nobody took over, may still be saved by its holder. How: a late
// beat.
TEST_P(RenewContract, Rule2_ALateBeatSavesALeaseThatNobodyTook) {
  const Lease lease = start();
  advance(1h);
  EXPECT_EQ(beat({.lease = &lease}), Signal::none);
  EXPECT_THAT(sweep().taken, IsEmpty());
}

// Why: progress of a stale attempt is refused like its result, and its beat prolongs nothing. How: beats of a
// lease that was taken over, and of one that is over.
TEST_P(RenewContract, Rule4_AStaleBeatWritesNothing) {
  const Lease stale = start();
  beat({.lease = &stale, .progress = "half"});
  advance(25s);
  const Swept swept = sweep();
  ASSERT_EQ(swept.taken.size(), 1U);
  advance(20s);
  EXPECT_EQ(
      beat({.lease = &stale, .started = true, .progress = "late", .logs = {{now(), Level::info, "late"}}}),
      Signal::lost);
  EXPECT_EQ(get("a")->progress, "half");
  advance(5s);
  const Swept again = sweep();
  ASSERT_EQ(again.taken.size(), 1U) << "the stale beat extended nothing";
  EXPECT_FALSE(again.taken[0].started);
  Report crash = outcome(again.taken[0], State::archived);
  crash.record = true;
  end(crash);
  EXPECT_THAT(attempts("a").at(0).logs, IsEmpty());
  EXPECT_EQ(beat({.lease = &stale}), Signal::lost) << "over";
}

// Why: each beat is answered, index for index. How: good and bad ones mixed, one without a lease among them.
TEST_P(RenewContract, Rule6_EachBeatIsAnswered) {
  const Lease first = start("a");
  const Lease second = start("b");
  Lease forged = first;
  forged.token = "forged";
  signal_task("b", Signal::hold);
  const std::vector<Beat> beats = {{.lease = &forged}, {.lease = &first}, {}, {.lease = &second}};
  const Renewed renewed = store().renew(worker("w1"), beats, 25s, {}, call());
  EXPECT_THAT(renewed.leases, ElementsAre(Signal::lost, Signal::none, Signal::lost, Signal::hold));
  EXPECT_EQ(renewed.now, now());
}

// Why: progress is for people who watch. How: set it, leave it out, set it to nothing.
TEST_P(RenewContract, Port_ProgressStaysUntilItIsSetAnew) {
  const Lease lease = start();
  beat({.lease = &lease, .progress = "50 %"});
  EXPECT_EQ(get("a")->progress, "50 %");
  beat({.lease = &lease});
  EXPECT_EQ(get("a")->progress, "50 %");
  beat({.lease = &lease, .progress = ""});
  EXPECT_EQ(get("a")->progress, "");
}

// Why: a signal must reach the handler even when an answer is lost, so it stays until the attempt ends; and
// it must not hit the next attempt. How: ask twice, end the attempt, claim again.
TEST_P(RenewContract, Port_ASignalStaysUntilTheAttemptEnds) {
  const Lease first = start();
  EXPECT_EQ(signal_task("a", Signal::cancel), Changed::signalled);
  EXPECT_EQ(state_of("a"), State::active);
  EXPECT_EQ(beat({.lease = &first}), Signal::cancel);
  EXPECT_EQ(beat({.lease = &first}), Signal::cancel);
  EXPECT_EQ(signal_task("a", Signal::hold), Changed::signalled);
  EXPECT_EQ(beat({.lease = &first}), Signal::hold) << "the last word counts";
  end(first, State::pending);
  const Lease second = claim_one();
  EXPECT_EQ(beat({.lease = &second}), Signal::none);
}

// Why: quiet, resume and stop are orders, carried out once. How: ask twice; the last of two counts.
TEST_P(RenewContract, Port_AWorkersSignalIsAnsweredOnce) {
  EXPECT_EQ(beat_worker(worker("w1")), Signal::none);
  EXPECT_TRUE(catalog().signal("w1", Signal::quiet, call()));
  EXPECT_TRUE(catalog().signal("w1", Signal::stop, call()));
  EXPECT_EQ(beat_worker(worker("w2")), Signal::none) << "not meant for it";
  EXPECT_EQ(beat_worker(worker("w1")), Signal::stop);
  EXPECT_EQ(beat_worker(worker("w1")), Signal::none);
  EXPECT_FALSE(catalog().signal("nobody", Signal::stop, call()));
}

// Why: operators must see who lives, also who is idle. How: everything that a worker says, read back; silence
// takes it off the list, a beat puts it back, "gone" removes it.
TEST_P(RenewContract, Port_WorkersAreThoseThatBeatWithinAMinute) {
  WorkerInfo info = worker("w1");
  info.host = "host";
  info.queues = {{"a", 3}, {"b", 1}};
  info.pid = 4'000'000'000;
  info.slots = 8;
  info.busy = 2;
  info.stuck = 1;
  info.started_at = now() - 1h;
  beat_worker(info);
  const TimePoint first = now();
  advance(30s);
  beat_worker(worker("w2", "quiet"));

  const auto both = catalog().workers(call());
  ASSERT_EQ(both.size(), 2U);
  const WorkerInfo& seen = both[0].id == "w1" ? both[0] : both[1];
  EXPECT_EQ(seen.host, "host");
  EXPECT_EQ(seen.state, "running");
  EXPECT_EQ(seen.queues, info.queues);
  EXPECT_EQ(seen.pid, info.pid);
  EXPECT_EQ(seen.slots, 8);
  EXPECT_EQ(seen.busy, 2);
  EXPECT_EQ(seen.stuck, 1);
  EXPECT_EQ(seen.started_at, info.started_at);
  EXPECT_EQ(seen.beat_at, first);

  advance(31s);
  EXPECT_THAT(workers(), ElementsAre("w2"));
  beat_worker(worker("w1", "stopping"));
  EXPECT_THAT(workers(), testing::UnorderedElementsAre("w1", "w2"));
  beat_worker(worker("w1", "gone"));
  EXPECT_THAT(workers(), ElementsAre("w2"));
  EXPECT_FALSE(catalog().signal("w1", Signal::stop, call()));
}

// Why: the list of workers is bounded: processes come and go for years. How: an hour of silence, then a
// sweep.
TEST_P(RenewContract, Rule7_SilentWorkersAreForgotten) {
  beat_worker(worker("w1"));
  advance(59min);
  sweep();
  EXPECT_TRUE(catalog().signal("w1", Signal::none, call())) << "silent, and still known";
  advance(2min);
  claim({.worker = "w1"});
  sweep();
  EXPECT_FALSE(catalog().signal("w1", Signal::none, call()));
}

// Why: each worker adds up its own outcomes, and the store adds the workers'. How: two beats of one minute,
// another minute, another kind; by minute and by day.
TEST_P(RenewContract, Port_StatisticsAddUpByMinuteAndDay) {
  const TimePoint minute = now();
  add({{.queue = "q", .kind = "k", .at = minute, .success = 1, .failure = 2, .crash = 3, .busy = 4s}});
  add({{.queue = "q", .kind = "k", .at = minute, .success = 10, .failure = 20, .crash = 30, .busy = 40s},
       {.queue = "q", .kind = "k", .at = minute + 1min, .success = 100},
       {.queue = "p", .kind = "k", .at = minute, .success = 7}});

  const auto minutes = stats(Span::minute);
  ASSERT_EQ(minutes.size(), 3U);
  EXPECT_EQ(minutes[0].queue, "p") << "by time, then queue";
  EXPECT_EQ(minutes[1].queue, "q");
  EXPECT_EQ(minutes[1].kind, "k");
  EXPECT_EQ(minutes[1].at, minute);
  EXPECT_EQ(minutes[1].success, 11U);
  EXPECT_EQ(minutes[1].failure, 22U);
  EXPECT_EQ(minutes[1].crash, 33U);
  EXPECT_EQ(minutes[1].busy, 44s);
  EXPECT_EQ(minutes[2].at, minute + 1min);

  const auto days = stats(Span::day, "q");
  ASSERT_EQ(days.size(), 1U);
  EXPECT_EQ(days[0].at, std::chrono::floor<std::chrono::days>(minute));
  EXPECT_EQ(days[0].success, 111U);
  EXPECT_EQ(days[0].busy, 44s);
}

// Why: a chart asks for a range: from is in it, to is not. How: ask around a minute.
TEST_P(RenewContract, Port_StatisticsAreFromIncludedToNot) {
  const TimePoint minute = now();
  add({{.queue = "q", .kind = "k", .at = minute, .success = 1}});
  const auto count = [&](TimePoint from, TimePoint to) {
    return catalog().stats("q", Span::minute, from, to, call()).size();
  };
  EXPECT_EQ(count(minute, minute + 1min), 1U);
  EXPECT_EQ(count(minute, minute), 0U);
  EXPECT_EQ(count(minute - 1min, minute), 0U);
  EXPECT_EQ(count(minute + 1us, minute + 1h), 0U);
  EXPECT_EQ(catalog().stats("other", Span::minute, minute, minute + 1h, call()).size(), 0U);
}

// Why: statistics are bounded: minutes for two days, days for a year. How: go on in time, sweep.
TEST_P(RenewContract, Rule7_OldStatisticsArePurged) {
  add({{.queue = "q", .kind = "k", .at = now(), .success = 1}});
  advance(47h);
  sweep();
  EXPECT_EQ(stats(Span::minute).size(), 1U);
  advance(2h);
  sweep();
  EXPECT_EQ(stats(Span::minute).size(), 0U);
  EXPECT_EQ(stats(Span::day).size(), 1U);
  advance(24h * 362);
  sweep();
  EXPECT_EQ(stats(Span::day).size(), 1U);
  advance(24h * 4);
  sweep();
  EXPECT_EQ(stats(Span::day).size(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Stores, RenewContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
