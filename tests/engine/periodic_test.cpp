// The periodic task manager: the store holds what its provider says, and fires it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <stdexcept>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/periodic.hpp>
#include <tidemill/testing.hpp>

#include "engine/worker_fixture.hpp"
#include "refusal.hpp"
#include "stores/memory/memory_store.hpp"

namespace tidemill {
namespace {

using namespace std::chrono_literals;
using tests::refusal;

Schedule hourly(std::string kind) {
  Schedule schedule;
  schedule.spec = "0 * * * *";
  schedule.kind = std::move(kind);
  return schedule;
}

class PeriodicTest : public ::testing::Test {
 protected:
  PeriodicTaskManagerOptions options() {
    return {.provider =
                [this] {
                  const std::lock_guard lock{mutex_};
                  ++asked_;
                  if (fails_) throw std::runtime_error{"no such table"};
                  return given_;
                },
            .sync_interval = 5ms,
            .poll = 5ms,
            .log = lines.log()};
  }
  void give(std::vector<Schedule> schedules) {
    const std::lock_guard lock{mutex_};
    given_ = std::move(schedules);
    fails_ = false;
  }
  void fail() {
    const std::lock_guard lock{mutex_};
    fails_ = true;
  }
  int asked() {
    const std::lock_guard lock{mutex_};
    return asked_;
  }
  /// Waits until the provider has been asked once more, from its beginning to its end.
  bool asked_anew() {
    const int before = asked();
    return tests::eventually([&] { return asked() >= before + 2; });
  }
  std::vector<std::string> kinds() {
    std::vector<std::string> found;
    for (const ScheduleInfo& each : inspector.schedules()) found.push_back(each.schedule.kind);
    std::sort(found.begin(), found.end());
    return found;
  }
  std::size_t tasks() { return testing::tasks_of(*store, {}).size(); }

  tests::Lines lines;
  testing::FakeClock clock;
  const TimePoint start = clock.now();
  std::unique_ptr<Store> store = open_memory({.clock = &clock});
  Inspector inspector{*store};

 private:
  std::mutex mutex_;
  std::vector<Schedule> given_;
  bool fails_ = false;
  int asked_ = 0;
};

TEST_F(PeriodicTest, TheStoreHoldsWhatTheProviderSays) {
  give({hourly("a"), hourly("b")});
  PeriodicTaskManager manager{*store, options()};
  manager.start();
  EXPECT_EQ(kinds(), (std::vector<std::string>{"a", "b"})) << "at once";
  EXPECT_EQ(inspector.schedules().at(0).owner, "periodic");
  clock.advance(1h);
  EXPECT_TRUE(tests::eventually([&] { return tasks() == 2; }));
  give({hourly("b"), hourly("c")});
  EXPECT_TRUE(tests::eventually([&] { return kinds() == std::vector<std::string>{"b", "c"}; }));
  EXPECT_TRUE(tests::eventually([&] { return lines.count("schedules synced owner=periodic") > 0; }));
  clock.advance(1h);
  EXPECT_TRUE(tests::eventually([&] { return tasks() == 4; }));
  manager.stop();
  manager.stop();
  EXPECT_EQ(kinds(), (std::vector<std::string>{"b", "c"})) << "they stay";
}

// Why: a sync must neither lose an instant nor fire one twice. How: the same task given again and again
// while its time passes, with another before it and with other options.
TEST_F(PeriodicTest, ATaskThatStaysKeepsItsInstants) {
  give({hourly("a")});
  PeriodicTaskManager manager{*store, options()};
  manager.start();
  const ScheduleInfo before = inspector.schedules().at(0);
  EXPECT_EQ(before.next, start + 1h);
  clock.advance(90min);
  EXPECT_TRUE(tests::eventually([&] { return tasks() == 1; }));
  Schedule same = hourly("a");
  same.options.retries_max = 3;
  give({hourly("0"), same});
  EXPECT_TRUE(tests::eventually(
      [&] { return inspector.schedule(before.schedule.id)->schedule.options.retries_max == 3; }));
  EXPECT_EQ(inspector.schedule(before.schedule.id)->last, start + 1h);
  EXPECT_EQ(inspector.schedule(before.schedule.id)->next, start + 2h);
  EXPECT_TRUE(asked_anew());
  EXPECT_EQ(tasks(), 1U);
}

TEST_F(PeriodicTest, AProviderThatFailsChangesNothing) {
  give({hourly("a")});
  PeriodicTaskManager manager{*store, options()};
  manager.start();
  fail();
  EXPECT_TRUE(
      tests::eventually([&] { return lines.count("the source of schedules failed owner=periodic") > 0; }));
  EXPECT_EQ(lines.count("why=no such table") > 0, true);
  EXPECT_EQ(kinds(), std::vector<std::string>{"a"});
  clock.advance(1h);
  EXPECT_TRUE(tests::eventually([&] { return tasks() == 1; })) << "it goes on";
  Schedule wrong = hourly("b");
  wrong.spec = "61 * * * *";
  give({hourly("c"), wrong});
  EXPECT_TRUE(tests::eventually([&] { return lines.count("there is no minute 61") > 0; }));
  EXPECT_EQ(kinds(), std::vector<std::string>{"a"}) << "all or nothing";
  give({});
  EXPECT_EQ(manager.sync(), 1U);
  EXPECT_TRUE(kinds().empty());
}

TEST_F(PeriodicTest, AStartThatCannotSyncFails) {
  fail();
  PeriodicTaskManager manager{*store, options()};
  EXPECT_THAT([&] { manager.start(); }, ::testing::ThrowsMessage<std::runtime_error>("no such table"));
  Schedule wrong = hourly("b");
  wrong.spec = "61 * * * *";
  give({hourly("a"), wrong});
  EXPECT_EQ(refusal([&] { manager.start(); }),
            R"(cron spec "61 * * * *", column 1: there is no minute 61; write 0-59)");
  give({hourly("a"), hourly("a")});
  EXPECT_NE(refusal([&] { manager.start(); }).find("is given twice"), std::string::npos);
  EXPECT_TRUE(kinds().empty());
  EXPECT_EQ(asked(), 3) << "nothing runs";
  give({hourly("a")});
  manager.start();
  EXPECT_EQ(kinds(), std::vector<std::string>{"a"});
}

TEST_F(PeriodicTest, OthersSchedulesAreLeftAlone) {
  Schedule mine = hourly("mine");
  mine.id = "mine";
  inspector.put_schedule(mine);
  PeriodicTaskManagerOptions other = options();
  other.owner = "other";
  other.provider = [] { return std::vector{hourly("theirs")}; };
  PeriodicTaskManager theirs{*store, other};
  theirs.start();
  give({});
  PeriodicTaskManager manager{*store, options()};
  manager.start();
  EXPECT_TRUE(asked_anew());
  EXPECT_EQ(kinds(), (std::vector<std::string>{"mine", "theirs"}));
  give({mine});
  EXPECT_EQ(refusal([&] { manager.sync(); }, ErrorKind::conflict),
            "schedule \"mine\" was made by hand; erase it or choose another id");
}

// Why: each process of a program has a manager. How: three of them, each instant one task.
TEST_F(PeriodicTest, AnInstantFiresOnceHoweverManyManagersRun) {
  give({hourly("a"), hourly("b")});
  std::vector<std::unique_ptr<PeriodicTaskManager>> managers;
  for (int i = 0; i < 3; ++i) managers.push_back(std::make_unique<PeriodicTaskManager>(*store, options()));
  for (const auto& each : managers) each->start();
  for (std::size_t hour = 1; hour <= 20; ++hour) {
    clock.advance(1h);
    ASSERT_TRUE(tests::eventually([&] { return tasks() == 2 * hour; })) << hour;
  }
  managers.clear();
  EXPECT_EQ(tasks(), 40U);
}

TEST_F(PeriodicTest, WhatMakesNoSenseIsRefused) {
  EXPECT_EQ(refusal([&] { PeriodicTaskManager(*store, {}); }), "periodic tasks: the provider is missing");
  PeriodicTaskManagerOptions wrong = options();
  wrong.owner = "";
  EXPECT_EQ(refusal([&] { PeriodicTaskManager(*store, wrong); }),
            "the owner of schedules is empty; give it a name such as \"mail\"");
  wrong = options();
  wrong.sync_interval = 0s;
  EXPECT_EQ(refusal([&] { PeriodicTaskManager(*store, wrong); }),
            "scheduler: sync_interval must be more than zero");
}

}  // namespace
}  // namespace tidemill
