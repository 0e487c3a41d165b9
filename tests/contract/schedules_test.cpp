// Schedules at rest, and their firings.
#include "contract.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class SchedulesContract : public Contract {
 protected:
  void SetUp() override { need({Feature::schedules, Feature::list}); }

  StoredSchedule schedule(const std::string& id, Duration in = 10s) const {
    return {.id = id, .owner = "owner", .rule = "{\"spec\": \"@daily\"}", .next = now() + in};
  }
  bool save(const StoredSchedule& one, std::optional<TimePoint> expected = {}) {
    const PutSchedule put{one, expected};
    return catalog().put_schedules({&put, 1}, call()).at(0);
  }
  std::optional<StoredSchedule> read(const std::string& id) {
    for (StoredSchedule& each : catalog().schedules({}, call())) {
      if (each.id == id) return std::move(each);
    }
    return {};
  }
  std::vector<std::string> due(TimePoint by) {
    std::vector<std::string> ids;
    for (const StoredSchedule& each : catalog().schedules(by, call())) ids.push_back(each.id);
    return ids;
  }
  /// The task of one firing.
  static Task firing(const std::string& id, const StoredSchedule& from, bool only_if_created = false) {
    Task one = task(id);
    one.firing = Firing{from.id, from.next, from.next + 1h, only_if_created};
    return one;
  }
};

// Why: what comes out must be what went in: rules are core's text. How: every field, read back; then all
// changed.
TEST_P(SchedulesContract, Port_ASchedulesIsKeptAsItIs) {
  StoredSchedule one = schedule("s");
  one.rule = std::string("{\"a\":\"'ß\"}");
  EXPECT_TRUE(save(one));
  auto stored = read("s");
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->owner, "owner");
  EXPECT_EQ(stored->rule, one.rule);
  EXPECT_FALSE(stored->paused);
  EXPECT_EQ(stored->next, one.next);
  EXPECT_EQ(stored->last, std::nullopt);

  StoredSchedule two{.id = "s", .owner = "", .rule = "{}", .paused = true, .next = now() + 1h, .last = now()};
  EXPECT_TRUE(save(two, one.next));
  stored = read("s");
  EXPECT_EQ(stored->owner, "");
  EXPECT_EQ(stored->rule, "{}");
  EXPECT_TRUE(stored->paused);
  EXPECT_EQ(stored->next, two.next);
  EXPECT_EQ(stored->last, now());
}

// Why: two people edit a schedule, or one edits while it fires: the one who didn't see the other's must read
// again. How: wrong expectations of each kind, then the right one.
TEST_P(SchedulesContract, Port_AScheduleIsWrittenOnlyOverWhatWasSeen) {
  const StoredSchedule one = schedule("s");
  EXPECT_FALSE(save(one, one.next)) << "there is none yet";
  EXPECT_EQ(read("s"), std::nullopt);
  EXPECT_TRUE(save(one));
  EXPECT_FALSE(save(schedule("s", 1h))) << "there is one already";
  EXPECT_FALSE(save(schedule("s", 1h), one.next + 1us));
  EXPECT_EQ(read("s")->next, one.next);
  EXPECT_TRUE(save(schedule("s", 1h), one.next));
  EXPECT_EQ(read("s")->next, now() + 1h);
}

// Why: each item is answered. How: a batch in which one expectation is wrong, and one item builds on another.
TEST_P(SchedulesContract, Rule6_EachScheduleIsAnswered) {
  const std::vector<PutSchedule> puts = {
      {schedule("a"), {}}, {schedule("b"), now()}, {schedule("a"), now() + 10s}, {schedule("c"), {}}};
  EXPECT_THAT(catalog().put_schedules(puts, call()), ElementsAre(true, false, true, true));
  const std::vector<std::string> ids = {"a", "none", "c", "a"};
  EXPECT_EQ(catalog().erase_schedules(ids, call()), 2U);
  EXPECT_THAT(catalog().schedules({}, call()), IsEmpty());
}

// Why: a scheduler asks for what is due, the boundary included, and never for what is paused. How: around it.
TEST_P(SchedulesContract, Port_DueSchedulesAreListedById) {
  StoredSchedule paused = schedule("paused", 1s);
  paused.paused = true;
  for (const StoredSchedule& each : {schedule("z", 5s), paused, schedule("a", 10s), schedule("m", 11s)})
    save(each);
  EXPECT_EQ(catalog().schedules({}, call()).size(), 4U);
  EXPECT_THAT(due(now() + 10s), ElementsAre("a", "z"));
  EXPECT_THAT(due(now() + 10s - 1us), ElementsAre("z"));
  EXPECT_THAT(due(now()), IsEmpty());
}

// Why: a firing enqueues and moves the instant on in one write, so it happens once, also when its task has
// long run and gone. How: fire, run the task, fire again by a scheduler that slept.
TEST_P(SchedulesContract, Rule10_AnInstantFiresOnce) {
  const StoredSchedule one = schedule("s");
  save(one);
  advance(10s);
  EXPECT_EQ(put(firing("a", one)).put, Put::created);
  EXPECT_EQ(read("s")->next, one.next + 1h);
  EXPECT_EQ(read("s")->last, one.next);
  const Lease lease = claim_one();
  EXPECT_EQ(end(lease, State::gone), Reported::applied);

  const Enqueued late = put(firing("a", one));
  EXPECT_EQ(late.put, Put::fired);
  EXPECT_FALSE(late.why.empty());
  EXPECT_THAT(ids(), IsEmpty());
  EXPECT_EQ(read("s")->next, one.next + 1h);
}

// Why: a schedule that is gone, paused or changed must not fire any more. How: each, and an instant that is
// off.
TEST_P(SchedulesContract, Rule6_AFiringThatIsOutOfDateIsRefusedAlone) {
  const StoredSchedule one = schedule("s");
  StoredSchedule paused = schedule("paused");
  paused.paused = true;
  save(one);
  save(paused);
  Task off = firing("off", one);
  off.firing->instant += 1us;
  const auto puts =
      put_all({task("first"), firing("none", schedule("none")), firing("p", paused), off, task("last")});
  EXPECT_THAT(puts, ElementsAre(Put::created, Put::fired, Put::fired, Put::fired, Put::created));
  EXPECT_EQ(read("s")->next, one.next);
  EXPECT_EQ(read("paused")->next, paused.next);
}

// Why: an invalid task can't be enqueued, so its instant must not be lost. How: a firing with an impossible
// state.
TEST_P(SchedulesContract, Rule6_AnInvalidTaskDoesNotUseUpTheInstant) {
  const StoredSchedule one = schedule("s");
  save(one);
  Task bad = firing("bad", one);
  bad.state = State::active;
  EXPECT_EQ(put(bad).put, Put::invalid);
  EXPECT_EQ(read("s")->next, one.next);
}

// Why: `overlap: skip` uses the instant up when the last task still lives; `queue` leaves it due until it has
// ended. How: a taken key and a taken id, both ways.
TEST_P(SchedulesContract, Port_ATakenKeySkipsTheInstantOrLeavesItDue) {
  const StoredSchedule one = schedule("s");
  save(one);
  put(keyed("running", "s"));
  Task overlap = firing("a", one, true);
  overlap.unique = Unique{.key = "s"};
  EXPECT_EQ(put(overlap).put, Put::exists);
  EXPECT_EQ(read("s")->next, one.next) << "left due";
  EXPECT_EQ(put(firing("running", one, true)).put, Put::exists);
  EXPECT_EQ(read("s")->next, one.next) << "left due";

  overlap.firing->only_if_created = false;
  EXPECT_EQ(put(overlap).put, Put::exists);
  EXPECT_EQ(read("s")->next, one.next + 1h) << "skipped";
  EXPECT_EQ(read("s")->last, one.next);

  overlap.firing = Firing{"s", one.next + 1h, one.next + 2h, true};
  const Lease lease = claim_one();
  EXPECT_EQ(put(overlap).put, Put::exists);
  end(lease, State::gone);
  EXPECT_EQ(put(overlap).put, Put::created);
  EXPECT_EQ(read("s")->next, one.next + 2h);
}

// Why: replace and busy are answers of a firing, too. How: a holder that waits, then runs.
TEST_P(SchedulesContract, Port_AFiringMayReplace) {
  const StoredSchedule one = schedule("s");
  save(one);
  put(keyed("a", "s"));
  Task replaces = firing("b", one, true);
  replaces.unique = Unique{.key = "s", .on_conflict = OnConflict::replace};
  EXPECT_EQ(put(replaces).put, Put::replaced);
  EXPECT_EQ(read("s")->next, one.next + 1h);
  claim_one();
  replaces.firing = Firing{"s", one.next + 1h, one.next + 2h, true};
  EXPECT_EQ(put(replaces).put, Put::busy);
  EXPECT_EQ(read("s")->next, one.next + 1h);
  replaces.firing->only_if_created = false;
  EXPECT_EQ(put(replaces).put, Put::busy);
  EXPECT_EQ(read("s")->next, one.next + 2h);
}

INSTANTIATE_TEST_SUITE_P(Stores, SchedulesContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
