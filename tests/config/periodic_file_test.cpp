// Files of periodic tasks, as Asynq's users have them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/periodic_file.hpp>

#include "config/config.hpp"
#include "process.hpp"
#include "refusal.hpp"

namespace tidemill {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using tests::refusal;

class PeriodicFileTest : public ::testing::Test {
 protected:
  std::string file() const { return (directory_ / "p.yaml").string(); }
  std::vector<Schedule> read(const std::string& text) const {
    testing::write_file(file(), text);
    return read_periodic_file(file());
  }
  std::string mistakes_of(const std::string& text) const {
    return refusal([&] { read(text); });
  }

  testing::TemporaryDirectory directory_;
};

TEST_F(PeriodicFileTest, AsynqsFileIsRead) {
  const auto schedules = read(R"(
configs:
  - cronspec: "* * * * *"
    task_type: "task:periodic"
    payload: {to: [ada, 7], deep: {"1": "1"}}
  - cronspec: "@every 30s"
    task_type: plain
)");
  ASSERT_EQ(schedules.size(), 2U);
  const Schedule& first = schedules[0];
  EXPECT_EQ(first.spec, "* * * * *");
  EXPECT_EQ(first.kind, "task:periodic");
  EXPECT_EQ(first.payload, R"({"to":["ada",7],"deep":{"1":"1"}})");
  EXPECT_EQ(first.zone, "UTC");
  EXPECT_EQ(first.options.queue, "default");
  EXPECT_EQ(first.options.retries_max, 25);
  EXPECT_EQ(first.gap, Gap::skip);
  EXPECT_EQ(first.fold, Fold::both);
  EXPECT_EQ(first.missed, Missed::skip);
  EXPECT_EQ(first.overlap, Overlap::allow);
  EXPECT_EQ(schedules[1].payload, "") << "none, and not null";
}

TEST_F(PeriodicFileTest, AnEntryMaySayAllThatAScheduleAndItsTaskHave) {
  const Schedule schedule = read(R"(
configs:
  - {id: nightly, cronspec: "30 2 * * *", task_type: report, payload_text: raw, zone: Europe/Berlin, gap: after,
     fold: first, missed: once, overlap: skip, jitter: 5s, queue: low, priority: 3, retries_max: 4, crashes_max: 1,
     timeout: 90s, delay: 1s, retention: 7d, headers: {a: b}}
)")
                                .at(0);
  EXPECT_EQ(schedule.id, "nightly");
  EXPECT_EQ(schedule.payload, "raw");
  EXPECT_EQ(schedule.zone, "Europe/Berlin");
  EXPECT_EQ(schedule.gap, Gap::after);
  EXPECT_EQ(schedule.fold, Fold::first);
  EXPECT_EQ(schedule.missed, Missed::once);
  EXPECT_EQ(schedule.overlap, Overlap::skip);
  EXPECT_EQ(schedule.jitter, 5s);
  EXPECT_EQ(schedule.options.queue, "low");
  EXPECT_EQ(schedule.options.priority, 3);
  EXPECT_EQ(schedule.options.retries_max, 4);
  EXPECT_EQ(schedule.options.crashes_max, 1);
  EXPECT_EQ(schedule.options.timeout, 90s);
  EXPECT_EQ(schedule.options.delay, 1s);
  EXPECT_EQ(schedule.options.retention, 7 * 24h);
  EXPECT_EQ(schedule.options.headers, (std::map<std::string, std::string>{{"a", "b"}}));
}

// Why: an entry that stays must keep its next instant, whatever comes before it, and whatever its options
// become. How: the ids of one entry in three files, and of entries that differ in each part.
TEST_F(PeriodicFileTest, IdsAreMadeOfWhatTheTaskIs) {
  const std::string entry = "- {cronspec: '@daily', task_type: a, payload: 1}\n";
  const std::string id = read("configs:\n" + entry).at(0).id;
  EXPECT_EQ(id.size(), 32U);
  EXPECT_EQ(read("configs:\n- {cronspec: '@hourly', task_type: b}\n" + entry).at(1).id, id);
  EXPECT_EQ(read("configs: [{cronspec: '@daily', task_type: a, payload: 1, retries_max: 3}]").at(0).id, id);
  for (const char* const other :
       {"{cronspec: '@weekly', task_type: a, payload: 1}", "{cronspec: '@daily', task_type: b, payload: 1}",
        "{cronspec: '@daily', task_type: a, payload: 2}", "{cronspec: '@daily', task_type: a1}",
        "{cronspec: '@daily', task_type: a, payload: 1, queue: low}",
        "{cronspec: '@daily', task_type: a, payload: 1, zone: Asia/Tokyo}"}) {
    EXPECT_NE(read(fmt::format("configs: [{}]", other)).at(0).id, id) << other;
  }
}

TEST_F(PeriodicFileTest, AListOfSchedulesIsOneToo) {
  const auto schedules = read("- {id: a, spec: '@daily', task: {kind: x}}\n");
  ASSERT_EQ(schedules.size(), 1U);
  EXPECT_EQ(schedules[0].id, "a");
  EXPECT_EQ(schedules[0].missed, Missed::once) << "our own default";
  EXPECT_THAT(read("[]"), IsEmpty());
  EXPECT_THAT(read("configs: []"), IsEmpty());
}

TEST_F(PeriodicFileTest, EachMistakeIsSaidWithItsPlace) {
  struct Case {
    const char* text;
    const char* said;
  };
  const Case cases[] = {
      {"", "p.yaml: has no list of schedules, nor one of periodic tasks; write `configs: []` for none"},
      {"# only this", "p.yaml: has no list"},
      {"{}", "p.yaml: has no list"},
      {"configs:", "must be a list"},
      {"config: []", R"(p.yaml:1:9: there is no setting "config" here; did you mean "configs"?)"},
      {"configs: [a]", "p.yaml:1:11: must be a map of settings"},
      {"configs: [", "this is no YAML"},
      {"just text", "p.yaml:1:1: must be a map of settings"},
      {"configs: [{task_type: a}]", "p.yaml:1:11: this periodic task has no cronspec"},
      {"configs: [{cronspec: '@daily'}]", "p.yaml:1:11: this periodic task has no task_type"},
      {"configs:\n- {cronspec: '61 * * * *', task_type: a}",
       R"(p.yaml:2:3: cron spec "61 * * * *", column 1: there is no minute 61; write 0-59)"},
      {"configs: [{cronspec: '@daily', task_type: a, zone: Mars/Base}]", "Mars/Base"},
      {"configs: [{cron: '@daily', task_type: a}]",
       R"(there is no setting "cron" here; did you mean "cronspec"?)"},
      {"configs: [{cronspec: '@daily', task_type: a, payload: 1, payload_text: b}]",
       "there is another payload as well"},
      {"configs:\n- {cronspec: '@daily', task_type: a}\n- {cronspec: '@daily', task_type: a}",
       "p.yaml:2; give one of them another id"},
      {"- {id: a, spec: '@daily', task: {kind: x}}\n- {id: a, spec: '@daily', task: {kind: y}}",
       R"(p.yaml:2:3: there is another schedule "a")"},
  };
  for (const Case& each : cases) EXPECT_THAT(mistakes_of(each.text), HasSubstr(each.said)) << each.text;
  EXPECT_THAT(mistakes_of("configs: ["), Not(HasSubstr("has no list"))) << "one mistake is enough";
  EXPECT_THAT(refusal([] { read_periodic_file("/nowhere/p.yaml"); }), HasSubstr("/nowhere/p.yaml: can't be"));
}

TEST_F(PeriodicFileTest, AllMistakesAreSaidAtOnce) {
  const std::string said =
      mistakes_of("configs:\n- {cronspec: '@nevr', task_type: a}\n- {task_type: b}\nzone: x\n");
  EXPECT_THAT(said, HasSubstr("p.yaml:2:3: "));
  EXPECT_THAT(said, HasSubstr("p.yaml:3:3: "));
  EXPECT_THAT(said, HasSubstr("p.yaml:4:7: "));
}

TEST_F(PeriodicFileTest, TheServersConfigurationNamesOne) {
  testing::write_file(file(), "configs: [{cronspec: '@daily', task_type: a}]\n");
  const auto parse = [&](const std::string& text) {
    return config::parse(text, (directory_ / "c.yaml").string());
  };
  const config::Config config = parse("schedules: {file: p.yaml, sync_interval: 90s}");
  EXPECT_EQ(config.schedules.value().size(), 1U);
  EXPECT_EQ(config.schedule_file.value().path, file());
  EXPECT_EQ(config.schedule_file->sync_interval, 90s);
  EXPECT_EQ(parse("schedules: {file: p.yaml}").schedule_file->sync_interval, 3min);
  EXPECT_FALSE(parse("schedules: []").schedule_file.has_value());
  EXPECT_THAT(refusal([&] { parse("schedules: {file: p.yaml, sync_interval: 0s}"); }),
              HasSubstr("c.yaml:1:42: must be from 100ms"));
  testing::write_file(file(), "configs:\n- {cronspec: '@daily'}\n");
  EXPECT_THAT(refusal([&] { parse("schedules: {file: p.yaml}"); }), HasSubstr("p.yaml:2:3: this periodic"));
}

}  // namespace
}  // namespace tidemill
