// The dialect of robfig/cron: answers and error texts that the Go program gave must be ours, to the letter,
// because clients of programs that used it rely on them.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <chrono>
#include <fstream>
#include <string>
#include <vector>

#include <tidemill/cron.hpp>

#include "places.hpp"

namespace {

using tidemill::Cron;
using tidemill::CronDialect;
using tidemill::CronOptions;
using tidemill::TimePoint;

/// Of "2024-03-10T06:30:00Z" or "2024-03-10T02:30:00-04:00".
TimePoint instant(const std::string& text) {
  const auto number = [&](std::size_t at, std::size_t digits) { return std::stoi(text.substr(at, digits)); };
  const std::chrono::year_month_day date{std::chrono::year{number(0, 4)},
                                         std::chrono::month{static_cast<unsigned>(number(5, 2))},
                                         std::chrono::day{static_cast<unsigned>(number(8, 2))}};
  const TimePoint local = std::chrono::sys_days{date} + std::chrono::hours{number(11, 2)} +
                          std::chrono::minutes{number(14, 2)} + std::chrono::seconds{number(17, 2)};
  if (text.at(19) == 'Z') return local;
  const auto offset = std::chrono::hours{number(20, 2)} + std::chrono::minutes{number(23, 2)};
  return text[19] == '-' ? local + offset : local - offset;
}

std::string error_of(std::string_view spec, const std::string& zone = "UTC") {
  try {
    Cron::parse(spec, {.zone = zone, .dialect = CronDialect::robfig});
  } catch (const tidemill::Error& error) {
    EXPECT_EQ(error.kind(), tidemill::ErrorKind::invalid);
    return error.what();
  }
  return "no error";
}

std::optional<TimePoint> next(std::string_view spec, const std::string& zone, const std::string& after) {
  return Cron::parse(spec, {.zone = zone, .dialect = CronDialect::robfig}).next(instant(after));
}

void check_row(const boost::json::object& row) {
  const std::string spec{row.at("spec").as_string()};
  const std::string zone{row.at("tz").as_string()};
  SCOPED_TRACE("spec \"" + spec + "\" in " + zone + " from " + std::string{row.at("from").as_string()});
  if (const auto* text = row.if_contains("err")) {
    const std::string expected{text->as_string()};
    const std::string error = error_of(spec, zone);
    if (!expected.starts_with("PANIC")) {
      EXPECT_EQ(error, expected);
    } else {
      EXPECT_NE(error.find("no fields after the time zone"), std::string::npos) << error;
    }
    return;
  }
  const Cron cron = Cron::parse(spec, {.zone = zone, .dialect = CronDialect::robfig});
  TimePoint at = instant(std::string{row.at("from").as_string()});
  for (const auto& value : row.at("next").as_array()) {
    const std::string expected{value.as_string()};
    const auto answer = cron.next(at);
    if (expected.starts_with("0001-")) {  // Go's zero time: there is none.
      EXPECT_FALSE(answer.has_value());
      return;
    }
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(*answer, instant(expected)) << expected;
    at = *answer;
  }
}

// Each line of the file was printed by the Go parser; it is not to be edited.
TEST(CronRobfig, AnswersAsTheGoParserDid) {
  const std::string golden = tidemill::testing::in_sources("tests/golden/cron-robfig-v3.0.0.jsonl");
  std::ifstream file{golden};
  ASSERT_TRUE(file) << golden << " is missing";
  int rows = 0;
  for (std::string line; std::getline(file, line); ++rows) check_row(boost::json::parse(line).as_object());
  EXPECT_EQ(rows, 581);
}

// What the golden file leaves open. The texts were printed by the same Go parser.
TEST(CronRobfig, ErrorTexts) {
  EXPECT_EQ(
      error_of("99999999999999999999 * * * *"),
      "failed to parse int from 99999999999999999999: strconv.Atoi: parsing \"99999999999999999999\": value "
      "out of range");
  EXPECT_EQ(error_of("*/-3 * * * *"), "negative number (-3) not allowed: -3");
  EXPECT_EQ(error_of("1-\"\\ * * * *"),
            R"(failed to parse int from "\: strconv.Atoi: parsing "\"\\": invalid syntax)");
  EXPECT_EQ(error_of("1\x01 * * * *"),
            "failed to parse int from 1\x01: strconv.Atoi: parsing \"1\\x01\": invalid syntax");
  EXPECT_EQ(error_of("TZ=../UTC * * * * *"), "provided bad location ../UTC: time: invalid location name");
  EXPECT_EQ(error_of("TZ=UTC @daily"), "parser does not accept descriptors: @daily");
}

// Printed by the same Go parser, too. Where midnight is missing it loses its way, and may lose the day with
// all that was to fire on it; we do as it does.
TEST(CronRobfig, MidnightsThatAreMissing) {
  EXPECT_EQ(next("0 0 * * 5", "Africa/Cairo", "2026-04-20T00:00:00Z"), instant("2026-04-30T21:00:00Z"));
  EXPECT_EQ(next("30 1 24 4 *", "Africa/Cairo", "2026-04-20T00:00:00Z"), instant("2027-04-23T23:30:00Z"));
  EXPECT_EQ(next("0 0 * * 0", "America/Sao_Paulo", "2018-11-01T00:00:00Z"), instant("2018-11-11T02:00:00Z"));
  EXPECT_EQ(next("0 0 1 * *", "Africa/Casablanca", "2008-05-20T00:00:00Z"), instant("2008-06-30T23:00:00Z"));
  EXPECT_EQ(next("* * 21 5 *", "Africa/Casablanca", "2008-05-29T13:06:43Z"), instant("2008-06-20T23:00:00Z"));
}

// 2100 is no leap year, and 2104 is beyond the fifth calendar year.
TEST(CronRobfig, SearchesFiveCalendarYears) {
  EXPECT_EQ(next("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z"), std::nullopt);
  EXPECT_EQ(next("0 0 29 2 *", "UTC", "2099-03-01T00:00:00Z"), instant("2104-02-29T00:00:00Z"));
}

TEST(CronRobfig, LocalIsTheZoneOfTheOptions) {
  EXPECT_EQ(Cron::parse("TZ=Local 0 6 * * *", {.zone = "Asia/Tokyo", .dialect = CronDialect::robfig}).zone(),
            "Asia/Tokyo");
  EXPECT_EQ(Cron::parse("TZ= 0 6 * * *", {.zone = "Asia/Tokyo", .dialect = CronDialect::robfig}).zone(),
            "UTC");
}

// Samoa had no 30 December 2011, and Go's search never gets past it. Ours must end.
TEST(CronRobfig, ADayThatIsMissingEndsTheSearch) {
  EXPECT_EQ(next("0 0 31 12 *", "Pacific/Apia", "2011-12-29T12:00:00Z"), std::nullopt);
  EXPECT_NE(next("0 0 31 12 *", "Pacific/Apia", "2012-12-29T12:00:00Z"), std::nullopt);
}

}  // namespace
