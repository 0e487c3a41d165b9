// Offsets in the past and in the years that no zone file lists, compared with the C library's, which reads
// the same files by other code.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include <tidemill/cron.hpp>

#include "core/time_zone.hpp"
#include "core/time_zone_rule.hpp"

namespace {

using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;
using tidemill::TimeZone;
using tidemill::TimeZoneRule;
using namespace std::chrono_literals;

long offset_of_c_library(sys_seconds at) {
  const std::time_t time = at.time_since_epoch().count();
  std::tm out{};
  ::localtime_r(&time, &out);
  return out.tm_gmtoff;
}

// The date library alone would stay at the offset of 2037.
TEST(TimeZone, AgreesWithTheCLibraryUntil2100) {
  for (const std::string zone :
       {"Europe/Berlin", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "America/Santiago",
        "America/St_Johns", "America/Nuuk", "America/Havana", "Australia/Lord_Howe", "Pacific/Chatham",
        "Pacific/Apia", "Asia/Tokyo", "Asia/Jerusalem", "Asia/Beirut", "Africa/Cairo", "Atlantic/Azores",
        "Antarctica/Troll", "Etc/GMT+5", "UTC"}) {
    ::setenv("TZ", (":" + zone).c_str(), 1);
    ::tzset();
    const auto found = TimeZone::find(zone);
    TimeZone::Period period = found->period(sys_days{1950y / 1 / 1});
    // Around each change, and in steps of about six days between.
    while (period.end < sys_days{2100y / 1 / 1}) {
      const TimeZone::Period after = found->period(period.end);
      ASSERT_EQ(after.begin, period.end) << zone;
      ASSERT_EQ(offset_of_c_library(period.end - 1s), period.offset.count())
          << zone << " " << period.end.time_since_epoch();
      ASSERT_EQ(offset_of_c_library(period.end), after.offset.count())
          << zone << " " << period.end.time_since_epoch();
      period = after;
      for (sys_seconds at = period.begin; at < period.end && at < sys_days{2100y / 1 / 1}; at += 523'456s) {
        ASSERT_EQ(offset_of_c_library(at), period.offset.count()) << zone << " " << at.time_since_epoch();
      }
    }
  }
  ::unsetenv("TZ");
  ::tzset();
}

// In a compact file only the rule tells of these years.
TEST(TimeZoneRule, AgreesWithTheListedChanges) {
  const auto rule = TimeZoneRule::parse("EST5EDT,M3.2.0,M11.1.0");
  ASSERT_TRUE(rule.has_value());
  const auto zone = TimeZone::find("America/New_York");
  for (sys_seconds at = sys_days{2008y / 1 / 1}; at < sys_days{2036y / 1 / 1}; at += 86'399s) {
    const TimeZone::Period ruled = rule->period(at);
    const TimeZone::Period listed = zone->period(at);
    ASSERT_EQ(ruled.begin, listed.begin) << at.time_since_epoch();
    ASSERT_EQ(ruled.end, listed.end) << at.time_since_epoch();
    ASSERT_EQ(ruled.offset, listed.offset) << at.time_since_epoch();
  }
}

// All three ways to name a day, by the meaning that POSIX gives them.
TEST(TimeZoneRule, DaysOfTheYear) {
  struct Row {
    std::string_view rule;
    sys_seconds begin;
    sys_seconds end;
  };
  const std::vector<Row> rows = {
      {"<-03>3<-02>,M1.1.1,M12.5.5", sys_days{2024y / 1 / 1} + 5h, sys_days{2024y / 12 / 27} + 4h},
      {"AAA0BBB,J60,J365/0", sys_days{2024y / 3 / 1} + 2h, sys_days{2024y / 12 / 30} + 23h},
      {"AAA0BBB,J59,J60", sys_days{2024y / 2 / 28} + 2h, sys_days{2024y / 3 / 1} + 1h},
      {"AAA0BBB,59,365/0", sys_days{2024y / 2 / 29} + 2h, sys_days{2024y / 12 / 30} + 23h},
      {"AAA-5:30BBB-6,10/-24:00:01,300/167", sys_days{2024y / 1 / 10} - 5h - 30min - 1s,
       sys_days{2024y / 10 / 27} + 167h - 6h},
  };
  for (const Row& row : rows) {
    const auto rule = TimeZoneRule::parse(row.rule);
    ASSERT_TRUE(rule.has_value()) << row.rule;
    const TimeZone::Period period = rule->period(row.begin);
    EXPECT_EQ(period.begin, row.begin) << row.rule;
    EXPECT_EQ(period.end, row.end) << row.rule << " " << period.end.time_since_epoch();
    EXPECT_NE(rule->period(row.begin - 1s).offset, period.offset) << row.rule;
  }
  EXPECT_EQ(TimeZoneRule::parse("<+0545>-5:45")->period(sys_seconds{}).offset, 5h + 45min);
}

TEST(TimeZoneRule, RefusesWhatIsNone) {
  for (const char* text :
       {"", "AB1", "AAA", "<AAA1", "AAA168", "AAA1:60", "AAA1 ", "AAA1BBB", "AAA1BBB,M3.2.0",
        "AAA1BBB,M3.2.0,", "AAA1BBB,M13.1.0,M1.1.0", "AAA1BBB,M0.1.0,M1.1.0", "AAA1BBB,M3.6.0,M1.1.0",
        "AAA1BBB,M3.1.7,M1.1.0", "AAA1BBB,J0,J1", "AAA1BBB,J366,J1", "AAA1BBB,366,1", "AAA1BBB,J1,J2/x",
        "AAA1BBB,J1,J2,J3"}) {
    EXPECT_FALSE(TimeZoneRule::parse(text).has_value()) << text;
  }
}

TEST(TimeZone, SaysItsDatabasesVersion) {
  const std::string version{tidemill::time_zone_database_version()};
  // A year and a letter, or an honest word.
  if (version == "unknown") GTEST_SKIP() << "this machine's database has no tzdata.zi";
  EXPECT_GE(version.size(), 5U);
  EXPECT_TRUE(version.starts_with("20")) << version;
}

}  // namespace
