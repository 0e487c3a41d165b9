// A spec in words, what the change of the clocks does to it, and what is odd about it. Instants were worked
// out by hand from the zones' rules.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <tidemill/error.hpp>

#include "core/cron_text.hpp"

namespace tidemill {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using namespace std::chrono_literals;

Schedule with(const std::string& spec, const std::string& zone = "UTC") {
  Schedule schedule;
  schedule.spec = spec;
  schedule.zone = zone;
  return schedule;
}
std::string words(const std::string& spec) { return describe(with(spec)); }

TEST(CronText, TimesOfDay) {
  EXPECT_EQ(describe(with("30 2 * * *", "Europe/Berlin")), "At 02:30 every day, Europe/Berlin");
  EXPECT_EQ(words("5 30 2 * * *"), "At 02:30:05 every day, UTC");
  EXPECT_EQ(words("0 0,6,12,18 * * *"), "At 00:00, 06:00, 12:00 and 18:00 every day, UTC");
  EXPECT_EQ(words("@daily"), "At 00:00 every day, UTC");
  EXPECT_EQ(words("CRON_TZ=Asia/Tokyo 0 9 * * *"), "At 09:00 every day, Asia/Tokyo");
}

TEST(CronText, Rhythms) {
  EXPECT_EQ(words("* * * * *"), "Every minute, UTC");
  EXPECT_EQ(words("*/5 * * * *"), "Every 5 minutes, UTC");
  EXPECT_EQ(words("* * * * * *"), "Every second, UTC");
  EXPECT_EQ(words("*/15 * * * * *"), "Every 15 seconds, UTC");
  EXPECT_EQ(words("@hourly"), "Every hour, UTC");
  EXPECT_EQ(words("20 * * * *"), "Every hour, at 20 past, UTC");
  EXPECT_EQ(words("0 */2 * * *"), "Every 2 hours, UTC");
  EXPECT_EQ(words("*/10 9-17 * * MON-FRI"),
            "Every 10 minutes from 09:00 to 17:59 from Monday to Friday, UTC");
  EXPECT_EQ(words("30 9-17 * * *"), "Every hour from 09:30 to 17:30, UTC");
  EXPECT_EQ(words("@every 90s"), "Every 90 seconds");
  EXPECT_EQ(words("@every 1h"), "Every hour");
  EXPECT_EQ(words("@every 48h"), "Every 2 days");
  EXPECT_EQ(words("@every 1500ms"), "Every 1500 milliseconds");
}

TEST(CronText, Dates) {
  EXPECT_EQ(words("0 9 * * MON-FRI"), "At 09:00 from Monday to Friday, UTC");
  EXPECT_EQ(words("0 9 * * 0"), "At 09:00 every Sunday, UTC");
  EXPECT_EQ(words("0 9 * * SAT,SUN"), "At 09:00 on Saturday and Sunday, UTC");
  EXPECT_EQ(words("0 9 * * MON,WED,FRI"), "At 09:00 on Monday, Wednesday and Friday, UTC");
  EXPECT_EQ(words("0 9 1 * *"), "At 09:00 on day 1 of the month, UTC");
  EXPECT_EQ(words("0 9 1,15 * *"), "At 09:00 on days 1 and 15 of the month, UTC");
  EXPECT_EQ(words("0 9 1-7 * *"), "At 09:00 on days 1 to 7 of the month, UTC");
  EXPECT_EQ(words("0 9 L * *"), "At 09:00 on the last day of the month, UTC");
  EXPECT_EQ(words("0 9 15,L * *"), "At 09:00 on day 15 and the last day of the month, UTC");
  EXPECT_EQ(words("0 9 1 * FRI"), "At 09:00 on day 1 of the month and every Friday, UTC");
  EXPECT_EQ(words("@yearly"), "At 00:00 on 1 January, UTC");
  EXPECT_EQ(words("0 0 * JUN-AUG *"), "At 00:00 every day from June to August, UTC");
  EXPECT_EQ(words("0 0 1 1,7 *"), "At 00:00 on day 1 of the month in January and July, UTC");
}

TEST(CronText, WhatHasNoGoodSentenceStaysAsItIs) {
  for (const char* spec :
       {"7,9 3,5 * * *", "*/7 * * * *", "1-20/3 * * * *", "0 9 1-31/2 * *", "61 * * * *", ""})
    EXPECT_EQ(words(spec), spec);
  EXPECT_EQ(describe(with("0 9 * * *", "Mars/Olympus")), "0 9 * * *");
}

struct Noted {
  std::string at, note;
  bool operator==(const Noted&) const = default;
};
void PrintTo(const Noted& each, std::ostream* out) { *out << each.at << " " << each.note; }

/// In a year of Berlin's: the clocks go forward on 28 March 2027 at 01:00 UTC, and back on 31 October.
std::vector<Noted> changes(Schedule schedule) {
  std::vector<Noted> noted;
  const TimePoint from = std::chrono::sys_days{std::chrono::year{2027} / 1 / 1};
  for (const ClockChange& each : clock_changes(schedule, from, from + std::chrono::days{365})) {
    const auto since = each.at - from;
    noted.push_back({std::to_string(since / 1s), each.note});
  }
  return noted;
}
std::string second(int days, Duration of_day) {
  return std::to_string((std::chrono::days{days} + of_day) / 1s);
}

TEST(CronText, GapsAndFoldsAreTold) {
  constexpr int march = 86;     // 28 March, counted from 1 January.
  constexpr int october = 303;  // 31 October.
  Schedule schedule = with("30 2 * * *", "Europe/Berlin");
  const std::string gap = "02:30 does not exist on this day; ";
  const std::string fold = "02:30 comes twice on this day; ";
  EXPECT_THAT(changes(schedule), ElementsAre(Noted{second(march, 1h), gap + "runs at 03:00"},
                                             Noted{second(october, 30min), fold + "runs the first time"}));
  schedule.gap = Gap::before;
  schedule.fold = Fold::last;
  EXPECT_THAT(changes(schedule), ElementsAre(Noted{second(march, 1h - 1s), gap + "runs at 01:59:59"},
                                             Noted{second(october, 90min), fold + "runs the second time"}));
  schedule.gap = Gap::skip;
  schedule.fold = Fold::both;
  EXPECT_THAT(changes(schedule), ElementsAre(Noted{second(march, 1h), gap + "does not run"},
                                             Noted{second(october, 30min), fold + "runs both times"},
                                             Noted{second(october, 90min), fold + "runs both times"}));
}

TEST(CronText, WhatTheClocksLeaveAloneIsNotTold) {
  EXPECT_THAT(changes(with("30 4 * * *", "Europe/Berlin")), IsEmpty());
  EXPECT_THAT(changes(with("30 2 * * *")), IsEmpty());
  EXPECT_THAT(changes(with("*/5 * * * *", "Europe/Berlin")), IsEmpty()) << "a rhythm goes on";
  EXPECT_THAT(changes(with("@every 1h", "Europe/Berlin")), IsEmpty());
}

// Why: what is told must be when it fires. How: every time that is told, but for those that don't run, is one
// of the schedule's instants.
TEST(CronText, WhatIsToldIsWhenItFires) {
  for (const char* zone : {"Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca"}) {
    for (const char* spec : {"15 2 * * *", "15,45 0,1,2,3 * * *", "0 0 1-3 * * *"}) {
      for (const Gap gap : {Gap::before, Gap::after}) {
        for (const Fold fold : {Fold::first, Fold::last, Fold::both}) {
          Schedule schedule = with(spec, zone);
          schedule.gap = gap;
          schedule.fold = fold;
          const TimePoint from = std::chrono::sys_days{std::chrono::year{2026} / 1 / 1};
          const auto all = clock_changes(schedule, from, from + std::chrono::days{366});
          EXPECT_FALSE(all.empty()) << zone << " " << spec;
          for (const ClockChange& each : all)
            EXPECT_THAT(preview(schedule, each.at - 1us, 1), ElementsAre(each.at))
                << zone << spec << each.note;
        }
      }
    }
  }
}

TEST(CronText, Warnings) {
  const auto warnings = [](const std::string& spec) { return warnings_of(with(spec)); };
  EXPECT_THAT(warnings("0 9 * * *"), IsEmpty());
  EXPECT_THAT(warnings("@every 7m"), IsEmpty());
  EXPECT_THAT(warnings("0 9 30 2 *"), ElementsAre(HasSubstr("it never fires: February has no day 30")));
  EXPECT_THAT(warnings("0 9 31 4,6 *"),
              ElementsAre(HasSubstr("it never fires: April and June have no day 31")));
  EXPECT_THAT(
      warnings("0 9 31 * *"),
      ElementsAre(HasSubstr("it does not fire in February, April, June, September and November, which "
                            "have no day 31; L is the last day")));
  EXPECT_THAT(warnings("0 9 30,31 * *"), ElementsAre(HasSubstr("in February, which has no day 30")));
  EXPECT_THAT(warnings("0 9 29 2 *"), ElementsAre(HasSubstr("leap years")));
  EXPECT_THAT(warnings("0 9 31,L * *"), IsEmpty());
  EXPECT_THAT(warnings("0 9 13 * FRI"), ElementsAre(HasSubstr("match either")));
  EXPECT_THAT(warnings("*/7 * * * *"), ElementsAre(HasSubstr("\"@every 7m\"")));
  EXPECT_THROW(warnings("61 * * * *"), Error);
}

}  // namespace
}  // namespace tidemill
