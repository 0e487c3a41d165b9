// Our own cron dialect: what a spec means, what becomes of it when the clocks change, and what a mistake is
// called. The instants were worked out by hand from the zones' rules, not taken from the code.
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include <tidemill/cron.hpp>

namespace {

using tidemill::Cron;
using tidemill::CronOptions;
using tidemill::Fold;
using tidemill::Gap;
using tidemill::TimePoint;
using Texts = std::vector<std::string>;
using namespace std::chrono_literals;

/// Of "2026-03-29 01:30:00", in UTC.
TimePoint instant(const std::string& text) {
  const auto number = [&](std::size_t at, std::size_t digits) { return std::stoi(text.substr(at, digits)); };
  const std::chrono::year_month_day date{std::chrono::year{number(0, 4)},
                                         std::chrono::month{static_cast<unsigned>(number(5, 2))},
                                         std::chrono::day{static_cast<unsigned>(number(8, 2))}};
  return std::chrono::sys_days{date} + std::chrono::hours{number(11, 2)} +
         std::chrono::minutes{number(14, 2)} + std::chrono::seconds{number(17, 2)};
}

std::string text(TimePoint at) {
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{std::chrono::floor<std::chrono::seconds>(at - day)};
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count());
}

/// The next `count` firings, in UTC; fewer when there are no more.
Texts firings(std::string_view spec, const std::string& after, std::size_t count,
              const CronOptions& options = {}) {
  const Cron cron = Cron::parse(spec, options);
  Texts out;
  for (auto at = cron.next(instant(after)); at && out.size() < count; at = cron.next(*at))
    out.push_back(text(*at));
  return out;
}

std::string error_of(std::string_view spec, const CronOptions& options = {}) {
  try {
    Cron::parse(spec, options);
  } catch (const tidemill::Error& error) {
    EXPECT_EQ(error.kind(), tidemill::ErrorKind::invalid);
    return error.what();
  }
  return "no error";
}

TEST(Cron, Fields) {
  struct Row {
    std::string_view spec;
    Texts expected;
  };
  // 2026-01-01 is a Thursday.
  const std::vector<Row> rows = {
      {"* * * * *", {"2026-01-01 10:31:00", "2026-01-01 10:32:00"}},
      {"? ? ? ? ?", {"2026-01-01 10:31:00", "2026-01-01 10:32:00"}},
      {"* * * * * *", {"2026-01-01 10:30:16", "2026-01-01 10:30:17"}},
      {"20,10 * * * * *", {"2026-01-01 10:30:20", "2026-01-01 10:31:10"}},
      {"*/20 * * * *", {"2026-01-01 10:40:00", "2026-01-01 11:00:00"}},
      {"*/60 * * * *", {"2026-01-01 11:00:00", "2026-01-01 12:00:00"}},
      {"7/15 * * * *", {"2026-01-01 10:37:00", "2026-01-01 10:52:00", "2026-01-01 11:07:00"}},
      {"10-50/10 * * * *", {"2026-01-01 10:40:00", "2026-01-01 10:50:00", "2026-01-01 11:10:00"}},
      {"7 7 7 7 *", {"2026-07-07 07:07:00", "2027-07-07 07:07:00"}},
      {"05 09 * * *", {"2026-01-02 09:05:00", "2026-01-03 09:05:00"}},
      {"0 22-23,0 * * *", {"2026-01-01 22:00:00", "2026-01-01 23:00:00", "2026-01-02 00:00:00"}},
      {"0 0 * feb-Mar,JUL 5", {"2026-02-06 00:00:00", "2026-02-13 00:00:00"}},
      {"0 0 31 * *", {"2026-01-31 00:00:00", "2026-03-31 00:00:00", "2026-05-31 00:00:00"}},
      {"0 0 L * *", {"2026-01-31 00:00:00", "2026-02-28 00:00:00", "2026-03-31 00:00:00"}},
      {"0 0 15,l 2 *", {"2026-02-15 00:00:00", "2026-02-28 00:00:00", "2027-02-15 00:00:00"}},
      {"0 0 29 2 *", {"2028-02-29 00:00:00", "2032-02-29 00:00:00"}},
      {"0 0 * * 7", {"2026-01-04 00:00:00", "2026-01-11 00:00:00"}},
      {"0 0 * * 0-7", {"2026-01-02 00:00:00", "2026-01-03 00:00:00"}},
      {"0 0 * * 7-7", {"2026-01-04 00:00:00", "2026-01-11 00:00:00"}},
      {"0 0 * * 7-1", {"2026-01-04 00:00:00", "2026-01-05 00:00:00", "2026-01-11 00:00:00"}},
      {"0 0 * * sat-7", {"2026-01-03 00:00:00", "2026-01-04 00:00:00", "2026-01-10 00:00:00"}},
      {"0 0 * * FRI-MON",
       {"2026-01-02 00:00:00", "2026-01-03 00:00:00", "2026-01-04 00:00:00", "2026-01-05 00:00:00",
        "2026-01-09 00:00:00"}},
      {"0 0 * * 6-2/2", {"2026-01-03 00:00:00", "2026-01-05 00:00:00", "2026-01-10 00:00:00"}},
      {"0 0 * * 5/1", {"2026-01-02 00:00:00", "2026-01-03 00:00:00", "2026-01-09 00:00:00"}},
      {" 0\t0  1 1 *\n", {"2027-01-01 00:00:00"}},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(firings(row.spec, "2026-01-01 10:30:15", row.expected.size()), row.expected) << row.spec;
  }
}

// The Vixie rule: two restricted fields widen each other, and one alone decides.
TEST(Cron, DayOfMonthAndDayOfWeek) {
  const std::string after = "2026-01-01 10:30:15";
  EXPECT_EQ(firings("0 0 13 * FRI", after, 4), (Texts{"2026-01-02 00:00:00", "2026-01-09 00:00:00",
                                                      "2026-01-13 00:00:00", "2026-01-16 00:00:00"}));
  EXPECT_EQ(firings("0 0 * * FRI", after, 2), (Texts{"2026-01-02 00:00:00", "2026-01-09 00:00:00"}));
  EXPECT_EQ(firings("0 0 1-31 * FRI", after, 2), (Texts{"2026-01-02 00:00:00", "2026-01-09 00:00:00"}));
  EXPECT_EQ(firings("0 0 13 * 0-6", after, 2), (Texts{"2026-01-13 00:00:00", "2026-02-13 00:00:00"}));
  EXPECT_EQ(firings("0 0 */10 * SUN", after, 4), (Texts{"2026-01-04 00:00:00", "2026-01-11 00:00:00",
                                                        "2026-01-18 00:00:00", "2026-01-21 00:00:00"}));
  EXPECT_EQ(firings("0 0 L * SUN", "2026-01-25 00:00:00", 2),
            (Texts{"2026-01-31 00:00:00", "2026-02-01 00:00:00"}));
}

TEST(Cron, Names) {
  const std::string after = "2026-01-01 10:30:15";
  EXPECT_EQ(firings("@hourly", after, 1), Texts{"2026-01-01 11:00:00"});
  EXPECT_EQ(firings("@daily", after, 1), Texts{"2026-01-02 00:00:00"});
  EXPECT_EQ(firings("@Midnight", after, 1), Texts{"2026-01-02 00:00:00"});
  EXPECT_EQ(firings("@weekly", after, 1), Texts{"2026-01-04 00:00:00"});
  EXPECT_EQ(firings("@monthly", after, 1), Texts{"2026-02-01 00:00:00"});
  EXPECT_EQ(firings("@yearly", after, 1), Texts{"2027-01-01 00:00:00"});
  EXPECT_EQ(firings("TZ=Asia/Tokyo @annually ", after, 1), Texts{"2026-12-31 15:00:00"});
}

// The stored next instant moves by one period exactly, fractions included, and no zone has a say.
TEST(Cron, EveryAddsItsDuration) {
  const TimePoint after = instant("2026-03-28 23:00:00") + 123456us;
  const CronOptions berlin{.zone = "Europe/Berlin"};
  EXPECT_EQ(Cron::parse("@every 90s", berlin).next(after), after + 90s);
  EXPECT_EQ(Cron::parse("@every 1h30m", berlin).next(after), after + 90min);
  EXPECT_EQ(Cron::parse("@EVERY 24h", berlin).next(after), after + 24h);
  EXPECT_EQ(Cron::parse("@every 500ms").next(after), after + 500ms);
  EXPECT_EQ(Cron::parse("@every 1.5h0.25s1000us").next(after), after + 90min + 251ms);
  EXPECT_EQ(Cron::parse("@every 87600h").next(after), after + 87600h);
}

TEST(Cron, AnswersStrictlyAfterAndOnWholeSeconds) {
  const Cron cron = Cron::parse("0 10 * * *");
  const TimePoint ten = instant("2026-01-01 10:00:00");
  EXPECT_EQ(cron.next(ten - 1us), ten);
  EXPECT_EQ(cron.next(ten), ten + 24h);
  EXPECT_EQ(cron.next(ten + 1us), ten + 24h);
  EXPECT_EQ(Cron::parse("* * * * * *").next(TimePoint{-1us}), TimePoint{});
}

TEST(Cron, WhatNeverFiresAnswersNone) {
  EXPECT_TRUE(firings("0 0 30 2 *", "2026-01-01 00:00:00", 1).empty());
  EXPECT_TRUE(firings("0 0 31 4,6,9,11 *", "2026-01-01 00:00:00", 1).empty());
  // 2100 is no leap year: eight years.
  EXPECT_EQ(firings("0 0 29 2 *", "2096-02-29 00:00:00", 1), Texts{"2104-02-29 00:00:00"});
  // The ends of time.
  for (const char* spec : {"* * * * *", "0 0 29 2 *", "@every 1h"}) {
    for (const auto dialect : {tidemill::CronDialect::tidemill, tidemill::CronDialect::robfig}) {
      if (*spec == '@' && dialect == tidemill::CronDialect::robfig) continue;
      const Cron cron = Cron::parse(spec, {.zone = "Asia/Tokyo", .fold = Fold::last, .dialect = dialect});
      EXPECT_EQ(cron.next(TimePoint::max()), std::nullopt) << spec;
      EXPECT_EQ(cron.next(instant("9999-01-01 00:00:00")), std::nullopt) << spec;
      EXPECT_TRUE(cron.next(TimePoint::min()).has_value()) << spec;
    }
  }
}

TEST(Cron, ZonePrefixOverridesTheOptions) {
  const CronOptions berlin{.zone = "Europe/Berlin"};
  EXPECT_EQ(firings("0 6 * * *", "2026-01-01 00:00:00", 1, berlin), Texts{"2026-01-01 05:00:00"});
  EXPECT_EQ(firings("CRON_TZ=Asia/Tokyo 0 6 * * *", "2026-01-01 00:00:00", 1, berlin),
            Texts{"2026-01-01 21:00:00"});
  EXPECT_EQ(firings("  TZ=UTC\t0 6 * * *", "2026-01-01 00:00:00", 1, berlin), Texts{"2026-01-01 06:00:00"});
  EXPECT_EQ(Cron::parse("0 6 * * *", berlin).zone(), "Europe/Berlin");
  EXPECT_EQ(Cron::parse("CRON_TZ=Asia/Tokyo 0 6 * * *", berlin).zone(), "Asia/Tokyo");
  // The options' zone has no say then, so it need not exist.
  EXPECT_EQ(Cron::parse("CRON_TZ=Asia/Tokyo 0 6 * * *", {.zone = "Nowhere"}).zone(), "Asia/Tokyo");
}

struct ChangeRow {
  std::string zone;
  std::string_view spec;
  std::string after;
  Gap gap;
  Fold fold;
  Texts expected;
};

void check(const std::vector<ChangeRow>& rows) {
  for (const ChangeRow& row : rows) {
    EXPECT_EQ(firings(row.spec, row.after, row.expected.size(),
                      {.zone = row.zone, .gap = row.gap, .fold = row.fold}),
              row.expected)
        << row.spec << " in " << row.zone << ", gap " << static_cast<int>(row.gap) << ", fold "
        << static_cast<int>(row.fold);
  }
}

// Berlin goes from 02:00 to 03:00 at 01:00 UTC on 29 March 2026, New York at 07:00 UTC on 8 March, and Lord
// Howe from 02:00 to 02:30 at 15:30 UTC on 3 October.
TEST(Cron, GapPolicies) {
  const std::string berlin = "Europe/Berlin";
  const std::string before = "2026-03-28 12:00:00";
  const Fold fold = Fold::first;
  check({
      {berlin, "30 2 * * *", before, Gap::after, fold, {"2026-03-29 01:00:00", "2026-03-30 00:30:00"}},
      {berlin, "30 2 * * *", before, Gap::before, fold, {"2026-03-29 00:59:59", "2026-03-30 00:30:00"}},
      {berlin, "30 2 * * *", before, Gap::skip, fold, {"2026-03-30 00:30:00", "2026-03-31 00:30:00"}},
      // Several times that are missing, and one that is not, at one instant: one firing.
      {berlin, "*/15 2,3 * * *", before, Gap::after, fold, {"2026-03-29 01:00:00", "2026-03-29 01:15:00"}},
      {berlin, "*/15 2 * * *", before, Gap::before, fold, {"2026-03-29 00:59:59", "2026-03-30 00:00:00"}},
      // 03:00 is there.
      {berlin, "0 3 * * *", before, Gap::before, fold, {"2026-03-29 01:00:00", "2026-03-30 01:00:00"}},
      {berlin, "59 59 1 * * *", before, Gap::after, fold, {"2026-03-29 00:59:59", "2026-03-29 23:59:59"}},
      // Even hours are times of day.
      {berlin,
       "0 */2 * * *",
       "2026-03-28 23:00:00",
       Gap::after,
       fold,
       {"2026-03-29 01:00:00", "2026-03-29 02:00:00"}},
      // A day that a weekday leaves out has no gap either.
      {berlin, "30 2 * * MON", before, Gap::after, fold, {"2026-03-30 00:30:00"}},
      {"America/New_York",
       "30 2 * * *",
       "2026-03-07 12:00:00",
       Gap::after,
       fold,
       {"2026-03-08 07:00:00", "2026-03-09 06:30:00"}},
      {"America/New_York",
       "30 2 * * *",
       "2026-03-07 12:00:00",
       Gap::before,
       fold,
       {"2026-03-08 06:59:59", "2026-03-09 06:30:00"}},
      {"Australia/Lord_Howe",
       "15 2 * * *",
       "2026-10-03 00:00:00",
       Gap::after,
       fold,
       {"2026-10-03 15:30:00", "2026-10-04 15:15:00"}},
      {"Australia/Lord_Howe",
       "30 2 * * *",
       "2026-10-03 00:00:00",
       Gap::before,
       fold,
       {"2026-10-03 15:30:00", "2026-10-04 15:30:00"}},
      {"Australia/Lord_Howe",
       "15 2 * * *",
       "2026-10-03 00:00:00",
       Gap::before,
       fold,
       {"2026-10-03 15:29:59", "2026-10-04 15:15:00"}},
      // A midnight that is missing: Cairo, 24 April 2026.
      {"Africa/Cairo",
       "@daily",
       "2026-04-23 00:00:00",
       Gap::after,
       fold,
       {"2026-04-23 22:00:00", "2026-04-24 21:00:00"}},
      // A whole day that was missing: Samoa, 30 December 2011.
      {"Pacific/Apia",
       "0 9 30 12 *",
       "2011-12-01 00:00:00",
       Gap::after,
       fold,
       {"2011-12-30 10:00:00", "2012-12-29 19:00:00"}},
  });
}

// Berlin goes from 03:00 to 02:00 at 01:00 UTC on 25 October 2026, New York from 02:00 to 01:00 at 06:00 UTC
// on 1 November, and Lord Howe from 02:00 to 01:30 at 15:00 UTC on 4 April.
TEST(Cron, FoldPolicies) {
  const std::string berlin = "Europe/Berlin";
  const std::string before = "2026-10-24 12:00:00";
  const std::string new_york = "America/New_York";
  const std::string lord_howe = "Australia/Lord_Howe";
  const Gap gap = Gap::after;
  check({
      {berlin, "30 2 * * *", before, gap, Fold::first, {"2026-10-25 00:30:00", "2026-10-26 01:30:00"}},
      {berlin, "30 2 * * *", before, gap, Fold::last, {"2026-10-25 01:30:00", "2026-10-26 01:30:00"}},
      {berlin,
       "30 2 * * *",
       before,
       gap,
       Fold::both,
       {"2026-10-25 00:30:00", "2026-10-25 01:30:00", "2026-10-26 01:30:00"}},
      // Asked from within the fold.
      {berlin, "30 2 * * *", "2026-10-25 01:10:00", gap, Fold::first, {"2026-10-26 01:30:00"}},
      {berlin, "30 2 * * *", "2026-10-25 00:10:00", gap, Fold::last, {"2026-10-25 01:30:00"}},
      // The fold's ends: 02:00 is in it, 03:00 is not.
      {berlin, "0 2 * * *", before, gap, Fold::both, {"2026-10-25 00:00:00", "2026-10-25 01:00:00"}},
      {berlin, "0 3 * * *", before, gap, Fold::both, {"2026-10-25 02:00:00", "2026-10-26 02:00:00"}},
      {new_york,
       "30 1 * * *",
       "2026-11-01 00:00:00",
       gap,
       Fold::first,
       {"2026-11-01 05:30:00", "2026-11-02 06:30:00"}},
      {new_york,
       "30 1 * * *",
       "2026-11-01 00:00:00",
       gap,
       Fold::last,
       {"2026-11-01 06:30:00", "2026-11-02 06:30:00"}},
      {lord_howe,
       "45 1 * * *",
       "2026-04-04 00:00:00",
       gap,
       Fold::first,
       {"2026-04-04 14:45:00", "2026-04-05 15:15:00"}},
      {lord_howe,
       "45 1 * * *",
       "2026-04-04 00:00:00",
       gap,
       Fold::last,
       {"2026-04-04 15:15:00", "2026-04-05 15:15:00"}},
      {lord_howe,
       "45 1 * * *",
       "2026-04-04 00:00:00",
       gap,
       Fold::both,
       {"2026-04-04 14:45:00", "2026-04-04 15:15:00"}},
      {lord_howe,
       "15 1 * * *",
       "2026-04-04 00:00:00",
       gap,
       Fold::both,
       {"2026-04-04 14:15:00", "2026-04-05 14:45:00"}},
  });
}

// A rhythm keeps its beat in real time through both nights, whatever the policies say.
TEST(Cron, ARhythmRunsThroughChanges) {
  for (const Gap gap : {Gap::skip, Gap::before, Gap::after}) {
    for (const Fold fold : {Fold::first, Fold::last, Fold::both}) {
      for (const char* night : {"2026-03-28 23:00:00", "2026-10-24 23:00:00"}) {
        for (const std::string spec : {"*/20 * * * *", "0,20,40 0-23 * * *", "0 */20 */1 * * *"}) {
          const Cron cron = Cron::parse(spec, {.zone = "Europe/Berlin", .gap = gap, .fold = fold});
          TimePoint at = instant(night);
          for (int i = 0; i < 12; ++i, at += 20min)
            ASSERT_EQ(cron.next(at), at + 20min) << spec << " " << text(at);
        }
      }
    }
  }
  EXPECT_EQ(firings("@hourly", "2026-10-24 23:30:00", 3, {.zone = "Europe/Berlin"}),
            (Texts{"2026-10-25 00:00:00", "2026-10-25 01:00:00", "2026-10-25 02:00:00"}));
}

TEST(Cron, ErrorsSayColumnReasonAndRemedy) {
  struct Row {
    std::string_view spec;
    std::string_view expected;  // After the quoted spec.
  };
  const std::vector<Row> rows = {
      {"",
       "column 1: 0 fields, and 5 are needed: minute hour day-of-month month day-of-week; or 6 with the "
       "second "
       "first; or a name such as @daily"},
      {"* * * *",
       "column 8: 4 fields, and 5 are needed: minute hour day-of-month month day-of-week; or 6 with the "
       "second first; or a name such as @daily"},
      {"0 0 0 1 1 * 2030", "column 13: a seventh field; years can't be given"},
      {"60 * * * *", "column 1: there is no minute 60; write 0-59"},
      {"* 24 * * *", "column 3: there is no hour 24; write 0-23"},
      {"* * 0 * *", "column 5: there is no day of the month 0; write 1-31 or L (the last day)"},
      {"* * * 13 *", "column 7: there is no month 13; write 1-12 or JAN-DEC"},
      {"* * * * 8", "column 9: there is no day of the week 8; write 0-7 (0 and 7 are Sunday) or SUN-SAT"},
      {"* * * * MON-FRO",
       "column 13: \"FRO\" is no day of the week; write 0-7 (0 and 7 are Sunday) or SUN-SAT"},
      {"* * * MARCH *", "column 7: \"MARCH\" is no month; write 1-12 or JAN-DEC"},
      {"* * * ANF *", "column 7: \"ANF\" is no month; write 1-12 or JAN-DEC"},
      {"a * * * *",
       "column 1: \"a\" can't stand here; the minute is 0-59, *, a range, a list or a step such as */5"},
      {"-1 * * * *",
       "column 1: \"-\" can't stand here; the minute is 0-59, *, a range, a list or a step such as */5"},
      {"1,,2 * * * *",
       "column 3: \",\" can't stand here; the minute is 0-59, *, a range, a list or a step such as */5"},
      {"1, * * * *",
       "column 3: something is missing; the minute is 0-59, *, a range, a list or a step such as */5"},
      {"* 1-2-3 * * *",
       "column 6: \"-\" can't stand here; the hour is 0-23, *, a range, a list or a step such as */5"},
      {"* *-5 * * *",
       "column 4: \"-\" can't stand here; the hour is 0-23, *, a range, a list or a step such as */5"},
      {"* * 15W * *",
       "column 7: \"W\" can't stand here; the day of the month is 1-31 or L (the last day), *, a range, a "
       "list or a step such as */5"},
      {"* * L-3 * *",
       "column 6: \"-\" can't stand here; the day of the month is 1-31 or L (the last day), *, a range, a "
       "list or a step such as */5"},
      {"* 22-2 * * *", "column 3: the range 22-2 runs backwards; write 22-23,0-2"},
      {"*/0 * * * *", "column 3: a step is 1 or more"},
      {"*/ * * * *", "column 3: something is missing; a step is a number, for example */5"},
      {"*/x * * * *", "column 3: \"x\" can't stand here; a step is a number, for example */5"},
      {"*/90 * * * *",
       "column 3: a step of 90 never comes round among 60 values; for other intervals write for "
       "example @every 90m"},
      {"1/2/3 * * * *",
       "column 4: \"/\" can't stand here; the minute is 0-59, *, a range, a list or a step such as */5"},
      {"1234567890 * * * *", "column 1: a number has 9 digits at most"},
      {"\xC3\xA9 * * * *",
       "column 1: \"\xC3\xA9\" can't stand here; the minute is 0-59, *, a range, a list or a step such as "
       "*/5"},
      {"* \xC3\xA9 * * *",
       "column 3: \"\xC3\xA9\" can't stand here; the hour is 0-23, *, a range, a list or a step such as */5"},
      {"@reboot",
       "column 1: \"@reboot\" is no name; write @yearly, @annually, @monthly, @weekly, @daily, @midnight, "
       "@hourly or @every with a duration"},
      {"@daily 5", "column 8: nothing may follow @daily"},
      {"@every", "column 7: a duration is missing; write for example @every 1h30m or @every 90s"},
      {"@every 5", "column 9: something is missing; a number needs a unit: h, m, s, ms or us"},
      {"@every 5x", "column 9: \"x\" is no unit; write h, m, s, ms or us"},
      {"@every 2d", "column 9: \"d\" is no unit; write h, m, s, ms or us (a day is 24h)"},
      {"@every -5s",
       "column 8: \"-\" can't stand here; a duration is numbers with units, for example 1h30m, 1.5h, 90s or "
       "500ms"},
      {"@every 1.s", "column 10: \"s\" can't stand here; digits follow a point, for example 1.5h"},
      {"@every 1h 5m",
       "column 11: a duration has no spaces in it, and nothing may follow it; write for example 1h30m"},
      {"@every 0s", "column 8: a duration is 1ms at least"},
      {"@every 0.5us", "column 8: a duration is a whole number of microseconds"},
      {"@every 87600h1us", "column 8: a duration is 87600h (ten years) at most"},
      {"@every 999999999h", "column 8: a duration is 87600h (ten years) at most"},
      {"TZ=UTC @every 5s", "column 8: @every counts real time and has no zone; leave the prefix away"},
      {"TZ=UTC",
       "column 7: 0 fields, and 5 are needed: minute hour day-of-month month day-of-week; or 6 with the "
       "second first; or a name such as @daily"},
      {"TZ= * * * * *",
       "column 4: there is no time zone \"\"; write an IANA name, for example \"Europe/Berlin\""},
      {"CRON_TZ=Mars/Base * * * * *",
       "column 9: there is no time zone \"Mars/Base\"; write an IANA name, for example \"Europe/Berlin\""},
      {"TZ=../x * * * * *",
       "column 4: a time zone's name is at most 64 letters, digits and /_+-, for example "
       "\"Europe/Berlin\""},
      {"TZ=UTC 60 * * * *", "column 8: there is no minute 60; write 0-59"},
      {"0 60 * * * *", "column 3: there is no minute 60; write 0-59"},
  };
  for (const Row& row : rows)
    EXPECT_EQ(error_of(row.spec), fmt::format("cron spec \"{}\", {}", row.spec, row.expected));
  EXPECT_EQ(error_of("60\n* * * *"), "cron spec \"60 * * * *\", column 1: there is no minute 60; write 0-59");
  EXPECT_EQ(error_of(std::string(1001, '*')), "cron spec: it has 1001 bytes; 1000 are allowed");
}

TEST(Cron, UnknownZonesOfTheOptions) {
  EXPECT_EQ(error_of("* * * * *", {.zone = "Mars/Base"}),
            "there is no time zone \"Mars/Base\"; write an IANA name, for example \"Europe/Berlin\"");
  EXPECT_EQ(error_of("* * * * *", {.zone = "asia/TOKYO"}),
            "there is no time zone \"asia/TOKYO\"; write an IANA name, for example \"Asia/Tokyo\"");
  // A file of the database that is no zone's.
  EXPECT_NE(error_of("* * * * *", {.zone = "leapseconds"}).find("there is no time zone"), std::string::npos);
  EXPECT_NE(error_of("* * * * *", {.zone = "localtime"}).find("another one on each machine"),
            std::string::npos);
}

// For a sanitizer to look at: the first use of the database, and one object in many hands.
TEST(Cron, ThreadsShareZonesAndSpecs) {
  const Cron shared = Cron::parse("30 2 29 2 *", {.zone = "America/New_York"});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([shared, i] {
      for (int k = 0; k < 200; ++k) {
        const std::string zone = (i + k) % 2 == 0 ? "Europe/Paris" : "Asia/Kolkata";
        EXPECT_TRUE(Cron::parse("0 9 * * MON-FRI", {.zone = zone}).next(TimePoint{}).has_value());
        EXPECT_EQ(shared.next(instant("2026-01-01 00:00:00")), instant("2028-02-29 07:30:00"));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
