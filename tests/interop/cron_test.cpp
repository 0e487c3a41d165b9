// When Go's scheduler fires a spec, and when ours does with the policies of a file of periodic tasks.
#include <tidemill/cron.hpp>

#include "fixture.hpp"

namespace tidemill::testing {
namespace {

class CronBesideGo : public Interop {};

struct Row {
  const char* spec;
  const char* zone;
  std::chrono::sys_days from;
};

constexpr std::chrono::sys_days day(int year, unsigned month, unsigned of_month) {
  return std::chrono::year{year} / static_cast<int>(month) / static_cast<int>(of_month);
}

constexpr Row rows[] = {
    {"* * * * *", "UTC", day(2024, 2, 28)},
    {"*/15 * * * *", "UTC", day(2024, 2, 28)},
    {"7/20 * * * *", "UTC", day(2024, 2, 28)},
    {"5,10-12,30-40/5 9-17 * * MON-FRI", "Europe/Berlin", day(2024, 3, 1)},
    {"0 0 ? jan-mar ?", "UTC", day(2024, 3, 30)},
    {"0 12 29 2 *", "UTC", day(2024, 3, 1)},
    {"0 0 31 2 *", "UTC", day(2024, 3, 1)},
    {"0 0 31 * *", "UTC", day(2024, 1, 1)},
    // Both kinds of days: either, where both are restricted, and a step restricts.
    {"0 0 1,15 * WED", "UTC", day(2024, 1, 1)},
    {"0 0 */2 * 1", "UTC", day(2024, 1, 1)},
    {"0 0 13 * *", "UTC", day(2024, 1, 1)},
    {"0 0 * * 0", "UTC", day(2024, 1, 1)},
    {"@hourly", "UTC", day(2024, 1, 1)},
    {"@daily", "UTC", day(2024, 1, 1)},
    {"@midnight", "Asia/Tokyo", day(2024, 1, 1)},
    {"@weekly", "UTC", day(2024, 1, 1)},
    {"@monthly", "UTC", day(2024, 1, 1)},
    {"@yearly", "UTC", day(2024, 1, 1)},
    {"@annually", "UTC", day(2024, 1, 1)},
    {"@every 90s", "UTC", day(2024, 1, 1)},
    {"@every 1h30m", "America/New_York", day(2024, 3, 10)},
    {"CRON_TZ=Asia/Tokyo 0 6 * * *", "UTC", day(2024, 1, 1)},
    {"TZ=America/New_York @daily", "UTC", day(2024, 3, 8)},
    // A time of day that does not exist, and one that comes twice.
    {"30 2 * * *", "America/New_York", day(2024, 3, 8)},
    {"30 1 * * *", "America/New_York", day(2024, 11, 1)},
    {"0 2 * * *", "Europe/Berlin", day(2026, 3, 27)},
    {"0,30 2 * * *", "Europe/Berlin", day(2026, 10, 23)},
    {"15 2,3 * * *", "America/New_York", day(2024, 3, 8)},
    // What holds every hour, or every second one, runs through a change.
    {"*/30 * * * *", "America/New_York", day(2024, 3, 10)},
    {"*/20 * * * *", "America/New_York", day(2024, 11, 3)},
    {"0 */2 * * *", "America/New_York", day(2024, 3, 10)},
    {"0 */2 * * *", "America/New_York", day(2024, 11, 3)},
    {"@hourly", "Australia/Lord_Howe", day(2024, 4, 6)},
    {"15 * * * *", "Asia/Kathmandu", day(2024, 1, 1)},
};

TEST_F(CronBesideGo, EachSpecFiresWhenGoFiresIt) {
  constexpr std::size_t count = 15;
  GoProgram go{"cron", redis()};
  for (const Row& row : rows) {
    SCOPED_TRACE(
        fmt::format("\"{}\" in {} from {}", row.spec, row.zone, row.from.time_since_epoch().count()));
    const json::object answer = go.ask({{"spec", row.spec},
                                        {"zone", row.zone},
                                        {"from", seconds_of(TimePoint{row.from})},
                                        {"count", count}});
    ASSERT_TRUE(answer.contains("next")) << json::serialize(answer);
    const auto expected = json::value_to<std::vector<std::int64_t>>(answer.at("next"));
    const Cron cron = Cron::parse(row.spec, {.zone = row.zone, .gap = Gap::skip, .fold = Fold::both});
    std::vector<std::int64_t> ours;
    for (auto at = cron.next(row.from); at && ours.size() < count; at = cron.next(*at))
      ours.push_back(seconds_of(*at));
    EXPECT_EQ(ours, expected);
  }
}

}  // namespace
}  // namespace tidemill::testing
