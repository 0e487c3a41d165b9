// The inspector: acts on one task, on many and on all that match; schedules put, synced, paused and fired.
#include <gtest/gtest.h>

#include <set>
#include <vector>

#include <tidemill/client.hpp>
#include <tidemill/error.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/testing.hpp>

#include "engine/recording_store.hpp"
#include "refusal.hpp"
#include "stores/memory/memory_store.hpp"

namespace tidemill {
namespace {

using namespace std::chrono_literals;
using tests::refusal;

class InspectorTest : public ::testing::Test {
 protected:
  std::string add(const EnqueueOptions& options = {}, std::string_view kind = "work") {
    return client.enqueue(kind, "payload", options).id;
  }
  State state_of(const std::string& id, const std::string& queue = "default") {
    const auto task = inspector.task({queue, id});
    return task ? task->state : State::gone;
  }
  /// Runs what is due with this outcome.
  void run_all(const Outcome& outcome) {
    Router router;
    router.handle("*", [&](Context&) { return outcome; });
    testing::InlineWorker{*store, router, {.retry = RetryPolicy::linear(1h, 0s)}}.drain();
  }
  /// The clock goes on first, so that what was made before lies clearly before the act.
  BulkResult act_on_all(Act act, const Filter& filter = {}, std::size_t step = 500,
                        const std::function<bool(BulkResult&)>& progress = {}) {
    clock.advance(1s);
    return inspector.act(act, filter, step, progress);
  }
  Lease claim_one() {
    const Want want{"default", 1};
    return std::move(
        store->claim({.worker = "w", .wants = {&want, 1}, .lease = 25s}, {.now = clock.now()}).leases.at(0));
  }

  testing::FakeClock clock;
  std::unique_ptr<Store> store = open_memory({.clock = &clock});
  Client client{*store};
  Inspector inspector{*store};
};

TEST_F(InspectorTest, ActsMoveATaskThroughItsStates) {
  const std::string id = add();
  const Ref ref{"default", id};
  EXPECT_EQ(inspector.act(Act::hold, ref), Changed::changed);
  EXPECT_EQ(state_of(id), State::held);
  EXPECT_EQ(inspector.task(ref)->reason, "held");
  EXPECT_EQ(inspector.act(Act::hold, ref), Changed::wrong_state);
  EXPECT_EQ(inspector.act(Act::resume, ref), Changed::changed);
  EXPECT_EQ(state_of(id), State::pending);
  EXPECT_EQ(inspector.act(Act::resume, ref), Changed::wrong_state);
  EXPECT_EQ(inspector.act(Act::cancel, ref), Changed::changed);
  EXPECT_EQ(state_of(id), State::archived);
  EXPECT_EQ(inspector.task(ref)->reason, "cancelled");
  EXPECT_EQ(inspector.act(Act::erase, ref), Changed::changed);
  EXPECT_EQ(inspector.act(Act::erase, ref), Changed::absent);
}

TEST_F(InspectorTest, RunTakesWhatWaitsAndWhatHasEnded) {
  const std::string scheduled = add({.delay = 1h});
  const std::string held = add({.held = true});
  const std::string archived = add({.retries_max = 0});
  run_all(Outcome::failure("no"));
  ASSERT_EQ(state_of(archived), State::archived);
  const std::string pending = add();
  const std::vector<Ref> refs = {{"default", scheduled},
                                 {"default", "nobody"},
                                 {"default", archived},
                                 {"default", pending},
                                 {"default", held}};
  EXPECT_EQ(inspector.act(Act::run, refs),
            (std::vector<Changed>{Changed::changed, Changed::absent, Changed::changed, Changed::wrong_state,
                                  Changed::changed}));
  for (const std::string& id : {scheduled, archived, pending, held}) EXPECT_EQ(state_of(id), State::pending);
}

TEST_F(InspectorTest, ARunningTaskIsSignalled) {
  add();
  const Lease lease = claim_one();
  EXPECT_EQ(inspector.act(Act::cancel, lease.task.ref), Changed::signalled);
  EXPECT_EQ(inspector.act(Act::erase, lease.task.ref), Changed::wrong_state);
}

// Why: a bulk act works page by page, on tasks that move out of the pages as it goes.
TEST_F(InspectorTest, ABulkActChangesAllThatMatchAndNothingElse) {
  for (int i = 0; i < 57; ++i) add({.queue = "a", .delay = 1h});
  for (int i = 0; i < 31; ++i) add({.queue = "a", .held = true});
  for (int i = 0; i < 10; ++i) add({.queue = "b", .delay = 1h});
  std::vector<std::size_t> steps;
  const BulkResult result = act_on_all(Act::run, Filter{.queue = "a"}, 10, [&](const BulkResult& so_far) {
    steps.push_back(so_far.changed);
    return true;
  });
  EXPECT_EQ(result.changed, 88U);
  EXPECT_EQ(result.unchanged, 0U);
  EXPECT_GE(steps.size(), 9U);
  EXPECT_TRUE(testing::has_task(
      *store, {.state = State::pending, .queue = "a", .count_least = 88, .count_most = 88}));
  EXPECT_TRUE(testing::has_task(*store, {.state = State::scheduled, .queue = "b", .count_least = 10}));
}

TEST_F(InspectorTest, ABulkActStopsWhenToldTo) {
  for (int i = 0; i < 30; ++i) add({.delay = 1h});
  const BulkResult result =
      act_on_all(Act::hold, {}, 10, [](const BulkResult& so_far) { return so_far.changed < 20; });
  EXPECT_EQ(result.changed, 20U);
  EXPECT_TRUE(testing::has_task(*store, {.state = State::scheduled, .count_least = 10, .count_most = 10}));
}

TEST_F(InspectorTest, ABulkActLeavesTasksAloneThatComeLater) {
  for (int i = 0; i < 5; ++i) add({.delay = 1h});
  const BulkResult result = act_on_all(Act::archive, {}, 2, [&](const BulkResult&) {
    clock.advance(1s);
    add({.delay = 2h});
    return true;
  });
  EXPECT_EQ(result.changed, 5U);
  EXPECT_FALSE(testing::has_no_task(*store, {.state = State::scheduled}));
  EXPECT_EQ(act_on_all(Act::archive, Filter{.created_before = clock.now() - 1h}).changed, 0U);
}

// Why: `run` makes tasks pending, workers take them at once and fail, and they are in the result again. How:
// a worker does so after each step; without a guard this would go on for ever.
TEST_F(InspectorTest, ABulkActEndsThoughItsTasksComeBack) {
  for (int i = 0; i < 20; ++i) add();
  run_all(Outcome::failure("no"));
  int steps = 0;
  const BulkResult result = act_on_all(Act::run, {}, 4, [&](const BulkResult&) {
    clock.advance(1s);
    run_all(Outcome::failure("no"));
    return ++steps < 100;
  });
  EXPECT_EQ(result.changed, 20U);
  EXPECT_LT(steps, 20);
}

TEST_F(InspectorTest, ABulkActSignalsARunningTaskOnce) {
  for (int i = 0; i < 5; ++i) add();
  std::vector<Lease> leases;
  for (int i = 0; i < 5; ++i) leases.push_back(claim_one());
  int steps = 0;
  const BulkResult result = act_on_all(Act::cancel, {}, 1, [&](const BulkResult&) {
    // Renewed leases move to the end of their order, so the first is met again.
    if (++steps > 1) return true;
    std::vector<Beat> beats;
    for (const Lease& lease : leases) beats.push_back({.lease = &lease});
    clock.advance(1s);
    store->renew({.id = "w"}, beats, 25s, {}, {.now = clock.now()});
    return true;
  });
  EXPECT_EQ(result.changed, 5U);
}

// How: the leases are renewed after each step, faster than any worker does.
TEST_F(InspectorTest, ABulkActEndsThoughLeasesMoveAllTheTime) {
  for (int i = 0; i < 3; ++i) add();
  std::vector<Lease> leases;
  for (int i = 0; i < 3; ++i) leases.push_back(claim_one());
  act_on_all(Act::cancel, {}, 1, [&](const BulkResult&) {
    std::vector<Beat> beats;
    for (const Lease& lease : leases) beats.push_back({.lease = &lease});
    clock.advance(1ms);
    store->renew({.id = "w"}, beats, 25s, {}, {.now = clock.now()});
    return true;
  });
}

TEST_F(InspectorTest, WhoNamesStatesIsToldWhatCouldNotBeChanged) {
  add({.retention = 1h});
  run_all(Outcome::success());
  EXPECT_EQ(act_on_all(Act::hold, Filter{}).unchanged, 0U);
  EXPECT_EQ(act_on_all(Act::hold, Filter{.states = State::completed}).unchanged, 1U);
}

TEST_F(InspectorTest, LimitsAreSaid) {
  EXPECT_EQ(refusal([&] { inspector.tasks({.limit = 0}); }),
            "the limit of a page is 0; it must be from 1 to 1000");
  EXPECT_EQ(refusal([&] { inspector.tasks({.limit = 1001}); }),
            "the limit of a page is 1001; it must be from 1 to 1000");
  EXPECT_EQ(refusal([&] { inspector.tasks({.budget = 0s}); }), "the budget of a page must be more than zero");
  EXPECT_EQ(
      refusal([&] { inspector.act(Act::run, Filter{}, 0); }),
      "the step of an act is 0; it must be from 1 to " + std::to_string(store->capabilities().batch_max));
  EXPECT_EQ(refusal([&] { inspector.signal_worker("w", Signal::cancel); }),
            "a worker takes no signal \"cancel\"; it takes quiet, resume and stop");
  EXPECT_EQ(refusal([&] { inspector.pause(""); }), "the queue is empty; give it a name such as \"mail\"");
  EXPECT_EQ(refusal([&] { inspector.stats(Span::day, clock.now(), clock.now() - 1h); }),
            "statistics: the beginning is after the end");
}

TEST(InspectorWithoutCatalog, IsRefused) {
  tests::RecordingStore store;
  EXPECT_EQ(refusal([&] { Inspector{store}; }, ErrorKind::unsupported), "this store can't list its tasks");
  store.limits.limits[Feature::list] = {true, "a broker only carries tasks"};
  EXPECT_EQ(refusal([&] { Inspector{store}; }, ErrorKind::unsupported),
            "this store has no list: a broker only carries tasks");
}

TEST_F(InspectorTest, QueuesArePausedAndResumed) {
  add();
  inspector.pause("default");
  EXPECT_TRUE(inspector.queues().at(0).paused);
  inspector.resume("default");
  EXPECT_FALSE(inspector.queues().at(0).paused);
}

TEST(ActNames, WhatIsPrintedIsParsed) {
  for (const Act act : {Act::run, Act::hold, Act::resume, Act::cancel, Act::archive, Act::erase,
                        Act::reschedule, Act::move}) {
    EXPECT_EQ(parse_act(to_string(act)), act);
  }
  EXPECT_EQ(to_string(Act::erase), "erase");
  EXPECT_FALSE(parse_act("delete"));
}

// ---- Schedules ----

class SchedulesTest : public InspectorTest {
 protected:
  static Schedule every(std::string id, std::string spec = "@every 1h") {
    Schedule schedule;
    schedule.id = std::move(id);
    schedule.spec = std::move(spec);
    schedule.kind = "work";
    return schedule;
  }
};

TEST_F(SchedulesTest, APutScheduleIsThere) {
  inspector.put_schedule(every("a", "0 * * * *"));
  const auto info = inspector.schedule("a");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->schedule.spec, "0 * * * *");
  EXPECT_EQ(info->next, clock.now() + 1h) << "the test's clock starts at a full hour";
  EXPECT_EQ(info->owner, "");
  EXPECT_FALSE(info->paused);
  EXPECT_FALSE(info->last);
  EXPECT_FALSE(inspector.schedule("b"));
  EXPECT_EQ(inspector.schedules().size(), 1U);
}

TEST_F(SchedulesTest, WhatIsWrongIsRefused) {
  EXPECT_NE(refusal([&] { inspector.put_schedule(every("a", "nonsense")); }), "");
  EXPECT_NE(refusal([&] { inspector.put_schedule(every("")); }), "");
  Schedule bad = every("a");
  bad.options.priority = 1000;
  EXPECT_EQ(refusal([&] { inspector.put_schedule(bad); }), "priority is 1000; it must be from -100 to 100");
  EXPECT_TRUE(inspector.schedules().empty());
}

TEST_F(SchedulesTest, AChangedSpecGetsANewNextAndAnotherPayloadDoesNot) {
  inspector.put_schedule(every("a"));
  const TimePoint next = inspector.schedule("a")->next;
  clock.advance(10min);
  Schedule changed = every("a");
  changed.payload = "new";
  inspector.put_schedule(changed);
  EXPECT_EQ(inspector.schedule("a")->next, next);
  EXPECT_EQ(inspector.schedule("a")->schedule.payload, "new");
  changed.spec = "*/15 * * * *";
  inspector.put_schedule(changed);
  EXPECT_EQ(inspector.schedule("a")->next, clock.now() + 5min);
}

TEST_F(SchedulesTest, APauseAndAnOwnerOutliveAChange) {
  const std::vector<Schedule> one = {every("a")};
  inspector.sync_schedules("app", one);
  EXPECT_TRUE(inspector.pause_schedule("a", true));
  inspector.put_schedule(every("a", "@every 2h"));
  EXPECT_TRUE(inspector.schedule("a")->paused);
  EXPECT_EQ(inspector.schedule("a")->owner, "app");
  EXPECT_TRUE(inspector.pause_schedule("a", false));
  EXPECT_FALSE(inspector.schedule("a")->paused);
  EXPECT_FALSE(inspector.pause_schedule("b", true));
}

TEST_F(SchedulesTest, SyncMakesAnOwnersSchedulesTheGivenOnes) {
  inspector.put_schedule(every("by hand"));
  const std::vector<Schedule> first = {every("a"), every("b"), every("c")};
  EXPECT_EQ(inspector.sync_schedules("app", first), 3U);
  EXPECT_EQ(inspector.sync_schedules("app", first), 0U);
  const std::vector<Schedule> second = {every("a"), every("b", "@every 2h"), every("d")};
  EXPECT_EQ(inspector.sync_schedules("app", second), 3U) << "b is changed, c erased, d new";
  std::set<std::string> ids;
  for (const ScheduleInfo& info : inspector.schedules()) ids.insert(info.schedule.id);
  EXPECT_EQ(ids, (std::set<std::string>{"a", "b", "by hand", "d"}));
}

TEST_F(SchedulesTest, ASyncThatIsNotRightChangesNothing) {
  inspector.put_schedule(every("by hand"));
  const std::vector<Schedule> start = {every("a")};
  inspector.sync_schedules("app", start);
  EXPECT_NE(refusal([&] { inspector.sync_schedules("app", std::vector{every("b"), every("c", "bad")}); }),
            "");
  EXPECT_EQ(refusal([&] { inspector.sync_schedules("app", std::vector{every("b"), every("b")}); }),
            "schedule \"b\" is given twice");
  EXPECT_EQ(
      refusal([&] { inspector.sync_schedules("app", std::vector{every("by hand")}); }, ErrorKind::conflict),
      "schedule \"by hand\" was made by hand; erase it or choose another id");
  EXPECT_EQ(refusal([&] { inspector.sync_schedules("other", std::vector{every("a")}); }, ErrorKind::conflict),
            "schedule \"a\" belongs to \"app\"; choose another id");
  EXPECT_EQ(inspector.schedules().size(), 2U);
}

TEST_F(SchedulesTest, FiringByHandLeavesTheNextInstantAlone) {
  Schedule schedule = every("a");
  schedule.payload = "p";
  schedule.overlap = Overlap::skip;
  inspector.put_schedule(schedule);
  const TimePoint next = inspector.schedule("a")->next;
  const auto fired = inspector.fire_schedule("a");
  ASSERT_TRUE(fired);
  EXPECT_EQ(fired->put, Put::created);
  EXPECT_EQ(inspector.task({"default", fired->id})->payload, "p");
  EXPECT_EQ(inspector.schedule("a")->next, next);
  const auto again = inspector.fire_schedule("a");
  EXPECT_EQ(again->put, Put::exists);
  EXPECT_EQ(again->why, "the last task of schedule \"a\", " + fired->id + ", has not ended");
  EXPECT_FALSE(inspector.fire_schedule("b"));
}

TEST_F(SchedulesTest, InstantsThatArePastAreMadeUpForOnce) {
  Schedule schedule;
  schedule.id = "nightly";
  schedule.spec = "0 3 * * *";
  schedule.zone = "Europe/Berlin";
  schedule.kind = "report";
  schedule.overlap = Overlap::skip;
  inspector.put_schedule(schedule);
  const TimePoint from = std::chrono::sys_days{std::chrono::year{2024} / 10 / 26};
  const auto instants = Inspector::schedule_instants(schedule, from, from + 72h, 10);
  ASSERT_EQ(instants.size(), 3U);
  EXPECT_EQ(instants[0], from + 1h);
  EXPECT_EQ(instants[1], from + 26h);  // The clock went back.
  EXPECT_EQ(Inspector::schedule_instants(schedule, instants[0], instants[1], 10).size(), 1U);
  EXPECT_EQ(Inspector::schedule_instants(schedule, from, from + 72h, 2).size(), 2U);

  const auto made = inspector.backfill_schedule("nightly", instants);
  ASSERT_TRUE(made.has_value());
  ASSERT_EQ(made->size(), 3U);
  for (const Enqueued& each : *made) EXPECT_EQ(each.put, Put::created);
  const auto task = inspector.task({"default", made->at(1).id});
  ASSERT_TRUE(task.has_value());
  EXPECT_EQ(task->headers.at("schedule-instant"), "2024-10-27T02:00:00Z");

  // Also when the first ones have ended and are gone.
  for (const Enqueued& each : *made)
    EXPECT_EQ(inspector.act(Act::erase, Ref{"default", each.id}), Changed::changed);
  clock.advance(23h);
  const auto again = inspector.backfill_schedule("nightly", instants);
  for (const Enqueued& each : again.value()) EXPECT_EQ(each.put, Put::exists);
  clock.advance(2h);
  const auto later = inspector.backfill_schedule("nightly", instants);
  for (const Enqueued& each : later.value()) EXPECT_EQ(each.put, Put::created);
  EXPECT_FALSE(inspector.backfill_schedule("absent", instants));
  schedule.spec = "@every 1h";
  EXPECT_THROW((void)Inspector::schedule_instants(schedule, from, from + 72h, 10), Error);
}

TEST_F(SchedulesTest, AnErasedScheduleIsGone) {
  inspector.put_schedule(every("a"));
  EXPECT_TRUE(inspector.erase_schedule("a"));
  EXPECT_FALSE(inspector.erase_schedule("a"));
  EXPECT_TRUE(inspector.schedules().empty());
}

}  // namespace
}  // namespace tidemill
