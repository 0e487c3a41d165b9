// `tidemill schedules`, through the life of one.
#include <gmock/gmock.h>

#include "cli/cli_fixture.hpp"

namespace tidemill::testing {
namespace {

using ::testing::HasSubstr;

class SchedulesTest : public CliTest {};

TEST_F(SchedulesTest, ArePutListedPausedFiredAndErased) {
  EXPECT_THAT(good("schedules", "put", "nightly", "--spec", "30 2 1 1 *", "--zone", "Europe/Berlin", "--kind",
                   "report", "--payload", "{}", "--queue", "slow", "--overlap", "skip", "--missed", "skip",
                   "--retries", "2")
                  .out,
              HasSubstr("-01-01T01:30:00Z"));
  auto schedule = good("schedules", "--json").objects().at(0);
  EXPECT_EQ(text(schedule, "id"), "nightly");
  EXPECT_EQ(text(schedule, "zone"), "Europe/Berlin");
  EXPECT_EQ(text(schedule, "overlap"), "skip");
  EXPECT_EQ(text(schedule, "missed"), "skip");
  EXPECT_EQ(text(schedule, "queue"), "slow");
  EXPECT_EQ(schedule.at("paused"), false);
  EXPECT_THAT(good("schedules").out, HasSubstr("30 2 1 1 *"));

  good("schedules", "pause", "nightly");
  EXPECT_EQ(good("schedules", "--json").objects().at(0).at("paused"), true);
  good("schedules", "resume", "nightly");
  EXPECT_EQ(good("schedules", "--json").objects().at(0).at("paused"), false);

  EXPECT_THAT(good("schedules", "fire", "nightly").out, HasSubstr("created"));
  const auto task = good("tasks", "--queue", "slow", "--json").objects().at(0);
  EXPECT_EQ(text(task, "kind"), "report");
  EXPECT_EQ(task.at("retries_max"), 2);

  good("schedules", "erase", "nightly");
  EXPECT_THAT(good("schedules").err, HasSubstr("there is no schedule"));
}

TEST_F(SchedulesTest, ShowWhatIsToCome) {
  EXPECT_EQ(good("schedules", "preview", "--spec", "0 9 1 1 *", "--zone", "Asia/Tokyo", "--count", "3")
                .lines()
                .size(),
            3U);
  good("schedules", "put", "pulse", "--spec", "@hourly", "--kind", "pulse");
  const auto lines = good("schedules", "preview", "pulse").lines();
  ASSERT_EQ(lines.size(), 5U);
  for (const std::string& line : lines) EXPECT_THAT(line, HasSubstr(":00:00Z"));
  bad(2, "either the ID of a schedule or a --spec", "schedules", "preview");
}

TEST_F(SchedulesTest, SayWhatIsWrong) {
  enqueue("greet");  // The store is there.
  bad(1, "column 1", "schedules", "put", "x", "--spec", "61 * * * *", "--kind", "k");
  bad(1, "Europe/Berln", "schedules", "put", "x", "--spec", "@daily", "--zone", "Europe/Berln", "--kind",
      "k");
  bad(2, "--kind is required", "schedules", "put", "x", "--spec", "@daily");
  bad(2, "it must be skip, once or all", "schedules", "put", "x", "--spec", "@daily", "--kind", "k",
      "--missed", "maybe");
  good("schedules", "put", "nightly", "--spec", "@daily", "--kind", "k");
  bad(1, R"(there is no schedule "nightli"; did you mean "nightly"?)", "schedules", "fire", "nightli");
  bad(1, "there is no schedule", "schedules", "pause", "other");
  bad(1, "there is no schedule", "schedules", "erase", "other");
}

}  // namespace
}  // namespace tidemill::testing
