// Durations, times and names as people write them.
#include "wire/values.hpp"

#include <gtest/gtest.h>

#include <tidemill/error.hpp>

#include "cli/table.hpp"

namespace tidemill::cli {
namespace {

using namespace std::chrono_literals;

TEST(ValuesTest, DurationsReadAndShow) {
  EXPECT_EQ(wire::parse_duration("90s"), 90s);
  EXPECT_EQ(wire::parse_duration("1h30m"), 90min);
  EXPECT_EQ(wire::parse_duration("500ms"), 500ms);
  EXPECT_EQ(wire::parse_duration("2d"), 48h);
  EXPECT_EQ(wire::parse_duration("7us"), 7us);
  EXPECT_EQ(wire::parse_duration("0"), 0s);
  EXPECT_EQ(wire::format_duration(90s), "1m30s");
  EXPECT_EQ(wire::format_duration(0s), "0s");
  EXPECT_EQ(wire::format_duration(49h + 1ms), "2d1h1ms");
  for (const char* text :
       {"", "5", "m", "5 m", "5x", "-5m", "1.5h", "99999999999999999d", "10000000d", "1h-3m"}) {
    EXPECT_THROW(wire::parse_duration(text), Error) << text;
  }
}

TEST(ValuesTest, SizesRead) {
  EXPECT_EQ(wire::parse_size("4096"), 4096U);
  EXPECT_EQ(wire::parse_size("7B"), 7U);
  EXPECT_EQ(wire::parse_size("64KiB"), 65536U);
  EXPECT_EQ(wire::parse_size("2MB"), 2'000'000U);
  for (const char* text :
       {"", "KiB", "1.5MiB", "-1", "8 MiB", "8mib", "99999999999GiB", "99999999999999999999"})
    EXPECT_THROW(wire::parse_size(text), Error) << text;
}

TEST(ValuesTest, EveryDurationReadsAsItShows) {
  for (std::int64_t count = 1; count < 400'000'000'000; count = count * 7 + 3) {
    EXPECT_EQ(wire::parse_duration(wire::format_duration(Duration{count})), Duration{count});
  }
}

TEST(ValuesTest, TimesReadAndShow) {
  const TimePoint time = std::chrono::sys_days{std::chrono::year{2027} / 1 / 2} + 3h + 4min + 5s;
  EXPECT_EQ(wire::parse_time("2027-01-02T03:04:05Z"), time);
  EXPECT_EQ(wire::parse_time("2027-01-02t03:04:05z"), time);
  EXPECT_EQ(wire::parse_time("2027-01-02 05:34:05+02:30"), time);
  EXPECT_EQ(wire::parse_time("2027-01-01T21:04:05-06:00"), time);
  EXPECT_EQ(wire::parse_time("2027-01-02T03:04:05.25Z"), time + 250ms);
  EXPECT_EQ(wire::parse_time("2027-01-02T03:04:05.1234567Z"), time + 123'456us);
  EXPECT_EQ(wire::format_time(time), "2027-01-02T03:04:05Z");
  EXPECT_EQ(wire::format_time(time + 250ms), "2027-01-02T03:04:05.25Z");
  EXPECT_EQ(wire::format_second(time + 999ms), "2027-01-02T03:04:05Z");
  for (const char* text :
       {"", "2027-01-02", "2027-02-30T00:00:00Z", "2027-01-02T24:00:00Z", "2027-01-02T03:04:05",
        "2027-01-02T03:04:05.Z", "2027-01-02T03:04:05Zx", "2027-01-02T03:04:05+2", "tomorrow"}) {
    EXPECT_THROW(wire::parse_time(text), Error) << text;
  }
}

TEST(ValuesTest, NearWordsAreFound) {
  const std::vector<std::string> words{"pause", "resume", "stats", "--priority"};
  EXPECT_EQ(wire::nearest("puase", words), "pause");
  EXPECT_EQ(wire::nearest("stat", words), "stats");
  EXPECT_EQ(wire::nearest("--prio", words), "--priority");
  EXPECT_EQ(wire::nearest("nonsense", words), "");
}

TEST(TableTest, TextIsCutBetweenCharacters) {
  EXPECT_EQ(cut("größe", 5), "größe");
  EXPECT_EQ(cut("größe", 4), "grö…");
  EXPECT_EQ(width("größe"), 5U);
  EXPECT_EQ(one_line("a\nb\x1b[0m\n"), "a b [0m");
}

}  // namespace
}  // namespace tidemill::cli
