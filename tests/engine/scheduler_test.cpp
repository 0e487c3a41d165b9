// The scheduler: what it fires when, alone and beside others, and that nothing stops it.
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/testing.hpp>

#include "engine/faulty_store.hpp"
#include "engine/recording_store.hpp"
#include "engine/worker_fixture.hpp"
#include "refusal.hpp"
#include "stores/memory/memory_store.hpp"

namespace tidemill {
namespace {

using namespace std::chrono_literals;
using testing::has_task;
using tests::refusal;

Schedule hourly(std::string id = "report") {
  Schedule schedule;
  schedule.id = std::move(id);
  schedule.spec = "0 * * * *";
  schedule.kind = "report:make";
  return schedule;
}

/// What the store's clock is taken to be goes on by real time, between two looks at it.
TimePoint to_minute(TimePoint time) { return std::chrono::floor<std::chrono::minutes>(time); }

/// A clock that starts at a full hour, and a scheduler without a thread.
class SchedulerTest : public ::testing::Test {
 protected:
  SchedulerOptions quiet() { return {.poll = 5ms, .log = lines.log()}; }
  std::size_t tasks() { return testing::tasks_of(*store, {}).size(); }
  void finish_all() {
    Router router;
    router.handle("*", [](Context&) { return Outcome::success(); });
    testing::InlineWorker{*store, router}.drain();
  }

  tests::Lines lines;
  testing::FakeClock clock;
  const TimePoint start = clock.now();
  std::unique_ptr<Store> store = open_memory({.clock = &clock});
  Inspector inspector{*store};
  Scheduler scheduler{*store, quiet()};
};

TEST_F(SchedulerTest, FiresAtTheInstantAndMovesOn) {
  Schedule schedule = hourly();
  schedule.payload = "p";
  schedule.options.queue = "reports";
  inspector.put_schedule(schedule);
  EXPECT_EQ(scheduler.fire_due(), 0U);
  clock.advance(1h);
  EXPECT_EQ(scheduler.fire_due(), 1U);
  EXPECT_EQ(scheduler.fire_due(), 0U);
  EXPECT_TRUE(has_task(
      *store, {.kind = "report:make", .queue = "reports", .payload_contains = "p", .count_most = 1}));
  EXPECT_EQ(inspector.schedule("report")->next, start + 2h);
  EXPECT_EQ(inspector.schedule("report")->last, start + 1h);
}

TEST_F(SchedulerTest, WhatBecameOfEachInstantIsKept) {
  const std::string id = "report";
  const auto past = [&] { return inspector.schedule_firings({&id, 1}).front(); };
  Schedule schedule = hourly();
  schedule.overlap = Overlap::skip;
  schedule.missed = Missed::skip;
  inspector.put_schedule(schedule);
  EXPECT_TRUE(past().empty());
  clock.advance(1h);
  scheduler.fire_due();
  ASSERT_EQ(past().size(), 1U);
  const FiringInfo first = past().front();
  EXPECT_EQ(first.instant, start + 1h);
  EXPECT_EQ(to_minute(first.fired_at), start + 1h);
  EXPECT_EQ(first.fate, Fate::enqueued);
  EXPECT_TRUE(inspector.task({"default", first.task}));
  clock.advance(1h);
  scheduler.fire_due();
  EXPECT_EQ(past().front().fate, Fate::skipped_overlap);
  EXPECT_EQ(past().front().task, first.task) << "the one that stood in the way";
  clock.advance(2h + 30min);
  scheduler.fire_due();
  EXPECT_EQ(past().front().fate, Fate::skipped_missed);
  EXPECT_EQ(past().front().instant, start + 3h);
  finish_all();
  schedule.missed = Missed::once;
  inspector.put_schedule(schedule);
  clock.advance(1h);
  scheduler.fire_due();
  EXPECT_EQ(past().front().fate, Fate::late);
  EXPECT_EQ(to_minute(past().front().fired_at), start + 5h + 30min);
  EXPECT_EQ(past().size(), 4U);
  EXPECT_EQ(past().back().task, first.task);
  inspector.erase_schedule(id);
  EXPECT_TRUE(past().empty()) << "it goes with the schedule";
}

TEST_F(SchedulerTest, OfManyInstantsTheLastTwentyAreKept) {
  const std::string id = "report";
  Schedule schedule = hourly();
  schedule.missed = Missed::all;
  inspector.put_schedule(schedule);
  clock.advance(23h);
  EXPECT_EQ(scheduler.fire_due(), 23U);
  const auto past = inspector.schedule_firings({&id, 1}).front();
  ASSERT_EQ(past.size(), firings_max);
  EXPECT_EQ(past.front().instant, start + 23h);
  EXPECT_EQ(past.back().instant, start + 4h);
}

TEST_F(SchedulerTest, YearsPassInAMoment) {
  inspector.put_schedule(hourly());
  std::size_t fired = 0;
  for (int i = 0; i < 24 * 365; ++i) {
    clock.advance(1h);
    fired += scheduler.fire_due();
    if (i % 24 == 0) finish_all();
  }
  EXPECT_EQ(fired, 24U * 365U);
}

TEST_F(SchedulerTest, ManyAreFiredInBatches) {
  for (int i = 0; i < 250; ++i) inspector.put_schedule(hourly("s" + std::to_string(i)));
  clock.advance(1h);
  EXPECT_EQ(scheduler.fire_due(), 250U);
}

TEST_F(SchedulerTest, APausedScheduleRests) {
  inspector.put_schedule(hourly());
  inspector.pause_schedule("report", true);
  clock.advance(1h);
  EXPECT_EQ(scheduler.fire_due(), 0U);
  inspector.pause_schedule("report", false);
  EXPECT_EQ(scheduler.fire_due(), 1U);
}

TEST_F(SchedulerTest, MissedInstantsAreSkippedOrFiredAsTold) {
  Schedule schedule = hourly("skip");
  schedule.missed = Missed::skip;
  inspector.put_schedule(schedule);
  schedule = hourly("once");
  schedule.missed = Missed::once;
  schedule.kind = "once";
  inspector.put_schedule(schedule);
  schedule = hourly("all");
  schedule.missed = Missed::all;
  schedule.kind = "all";
  inspector.put_schedule(schedule);
  clock.advance(5h + 30min);
  EXPECT_EQ(scheduler.fire_due(), 6U);
  EXPECT_TRUE(has_task(*store, {.kind = "once", .count_least = 1, .count_most = 1}));
  EXPECT_TRUE(has_task(*store, {.kind = "all", .count_least = 5, .count_most = 5}));
  for (const char* id : {"skip", "once", "all"}) EXPECT_EQ(inspector.schedule(id)->next, start + 6h);
  EXPECT_EQ(lines.count("missed instants were skipped"), 1U);
}

TEST_F(SchedulerTest, OverlapSkipLetsAnInstantPass) {
  Schedule schedule = hourly();
  schedule.overlap = Overlap::skip;
  inspector.put_schedule(schedule);
  clock.advance(1h);
  EXPECT_EQ(scheduler.fire_due(), 1U);
  clock.advance(1h);
  EXPECT_EQ(scheduler.fire_due(), 0U);
  EXPECT_EQ(inspector.schedule("report")->next, start + 3h);
  finish_all();
  EXPECT_EQ(scheduler.fire_due(), 0U);
  clock.advance(1h);
  EXPECT_EQ(scheduler.fire_due(), 1U);
}

TEST_F(SchedulerTest, OverlapQueueLetsAnInstantWait) {
  for (const Missed missed : {Missed::skip, Missed::once, Missed::all}) {
    Schedule schedule = hourly("q" + std::string{to_string(missed)});
    schedule.overlap = Overlap::queue;
    schedule.missed = missed;
    inspector.put_schedule(schedule);
  }
  clock.advance(1h);
  EXPECT_EQ(scheduler.fire_due(), 3U);
  clock.advance(1h);
  EXPECT_EQ(scheduler.fire_due(), 0U);
  clock.advance(30min);
  EXPECT_EQ(scheduler.fire_due(), 0U);
  EXPECT_EQ(inspector.schedule("qskip")->next, start + 2h) << "it is left due";
  finish_all();
  EXPECT_EQ(scheduler.fire_due(), 3U);
  for (const char* id : {"qskip", "qonce", "qall"}) EXPECT_EQ(inspector.schedule(id)->next, start + 3h);
}

// Why: there is no leader. How: several schedulers look at once, again and again, while time goes on.
TEST_F(SchedulerTest, AnInstantFiresOnceHoweverManySchedulersRun) {
  for (int i = 0; i < 5; ++i) inspector.put_schedule(hourly("s" + std::to_string(i)));
  std::vector<std::unique_ptr<Scheduler>> all;
  for (int i = 0; i < 4; ++i) all.push_back(std::make_unique<Scheduler>(*store, quiet()));
  std::atomic<std::size_t> fired{0};
  for (int hour = 0; hour < 50; ++hour) {
    clock.advance(1h);
    std::vector<std::jthread> threads;
    for (const auto& each : all) threads.emplace_back([&] { fired += each->fire_due(); });
  }
  EXPECT_EQ(fired, 250U);
  EXPECT_EQ(tasks(), 250U);
}

TEST_F(SchedulerTest, ARuleThatCantBeReadIsLoggedOnceAndStopsNoOther) {
  PutSchedule broken;
  broken.schedule = {.id = "broken", .rule = R"({"spec":"no spec at all"})", .next = start};
  store->catalog()->put_schedules({&broken, 1}, {.now = start});
  inspector.put_schedule(hourly());
  for (int i = 1; i <= 3; ++i) {
    clock.advance(1h);
    EXPECT_EQ(scheduler.fire_due(), 1U);
  }
  EXPECT_EQ(lines.count("a schedule can't fire schedule=broken"), 1U);
  EXPECT_EQ(inspector.schedules().size(), 2U) << "it is shown";
}

TEST_F(SchedulerTest, TheSourceIsTheTruth) {
  std::vector<Schedule> given = {hourly("a"), hourly("b")};
  bool fails = false;
  SchedulerOptions options = quiet();
  options.owner = "app";
  options.source = [&] {
    if (fails) throw std::runtime_error{"no such file"};
    return given;
  };
  Scheduler synced{*store, options};
  EXPECT_EQ(synced.sync(), 2U);
  given.pop_back();
  EXPECT_EQ(synced.sync(), 1U);
  fails = true;
  EXPECT_EQ(synced.sync(), 0U);
  EXPECT_EQ(lines.count("the source of schedules failed owner=app why=no such file"), 1U);
  EXPECT_EQ(inspector.schedules().size(), 1U);
  EXPECT_EQ(scheduler.sync(), 0U) << "it has no source";
}

TEST_F(SchedulerTest, ItsThreadFiresAndSyncs) {
  SchedulerOptions options = quiet();
  options.source = [] { return std::vector{hourly("synced")}; };
  Scheduler running{*store, options};
  running.start();
  EXPECT_TRUE(tests::eventually([&] { return inspector.schedule("synced").has_value(); }));
  inspector.put_schedule(hourly("put"));
  clock.advance(1h);
  EXPECT_TRUE(tests::eventually([&] { return tasks() == 2; }));
  clock.advance(1h);
  EXPECT_TRUE(tests::eventually([&] { return tasks() == 4; }));
  running.stop();
  running.stop();
  running.start();
  clock.advance(1h);
  EXPECT_TRUE(tests::eventually([&] { return tasks() == 6; }));
}

TEST_F(SchedulerTest, ASourceThatIsNotRightDoesNotStopTheThread) {
  inspector.put_schedule(hourly());
  SchedulerOptions options = quiet();
  options.source = [] { return std::vector{hourly("")}; };
  Scheduler running{*store, options};
  running.start();
  clock.advance(1h);
  EXPECT_TRUE(tests::eventually([&] { return tasks() == 1; }));
  EXPECT_EQ(lines.count("schedules could not be synced"), 1U);
}

TEST_F(SchedulerTest, WhatMakesNoSenseIsRefused) {
  tests::RecordingStore broker;
  EXPECT_EQ(refusal([&] { Scheduler{broker}; }, ErrorKind::unsupported), "this store can't keep schedules");
  broker.limits.limits[Feature::schedules] = {true, "a broker only carries tasks"};
  EXPECT_EQ(refusal([&] { Scheduler{broker}; }, ErrorKind::unsupported),
            "this store has no schedules: a broker only carries tasks");
  EXPECT_EQ(refusal([&] { (Scheduler{*store, {.poll = 0s}}); }), "scheduler: poll must be more than zero");
  EXPECT_EQ(
      refusal([&] { (Scheduler{*store, {.source = [] { return std::vector<Schedule>{}; }, .owner = ""}}); }),
      "the owner of schedules is empty; give it a name such as \"mail\"");
  Scheduler running{*store, quiet()};
  running.start();
  EXPECT_EQ(refusal([&] { running.start(); }), "the scheduler is running already");
}

}  // namespace
}  // namespace tidemill
