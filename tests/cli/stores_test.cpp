// What the command says of stores that it can't use, and of calls that it does not understand.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "cli/cli_fixture.hpp"

namespace tidemill::testing {
namespace {

using ::testing::HasSubstr;

class StoresTest : public CliTest {};

TEST_F(StoresTest, MigrateMakesAStore) {
  EXPECT_THAT(good("migrate").out, HasSubstr("created with version"));
  EXPECT_THAT(good("migrate").out, HasSubstr("up to date"));
  const auto json = good("migrate", "--json").objects().at(0);
  EXPECT_EQ(json.at("from"), json.at("to"));
}

TEST_F(StoresTest, OnlyWhatWritesMakesAFile) {
  for (const char* command : {"tasks", "queues", "workers", "schedules"}) bad(1, "jobs.db", command);
  EXPECT_FALSE(std::filesystem::exists(directory_ / "jobs.db"));
  enqueue("greet");
  EXPECT_TRUE(std::filesystem::exists(directory_ / "jobs.db"));
}

TEST_F(StoresTest, SaysWhyAStoreCantBeUsed) {
  write_file(directory_ / "text.db", std::string(5000, 'x'));
  bad(1, "is no SQLite database", "enqueue", "greet", "--store",
      "sqlite:" + (directory_ / "text.db").string());
  bad(1, "can't be opened", "enqueue", "greet", "--store", "sqlite:/nowhere/jobs.db");
  bad(1, "can't be opened", "enqueue", "greet", "--store", "sqlite:" + directory_.path().string());
  bad(1, "there is no store \"foo:\"", "enqueue", "greet", "--store", "foo:bar");
  bad(1, "synchronous", "enqueue", "greet", "--store", url() + "?synchronous=maybe");
  bad(2, "ends with this command", "enqueue", "greet", "--store", "memory:");
}

TEST_F(StoresTest, SaysThatAStoreIsReadOnly) {
  if (geteuid() == 0) GTEST_SKIP() << "root may write what is read-only";
  enqueue("greet");
  chmod((directory_ / "jobs.db").c_str(), 0400);
  chmod(directory_.path().c_str(), 0500);
  const int code = std::system((command() + " enqueue greet > /dev/null 2>&1").c_str());
  chmod(directory_.path().c_str(), 0700);
  EXPECT_NE(code, 0);
  bad(1, "read-only", "enqueue", "greet");
}

TEST_F(StoresTest, SaysThatNoStoreIsNamed) {
  unsetenv("TIDEMILL_STORE");
  bad(2, "no store is named", "tasks");
  bad(2, "TIDEMILL_STORE", "enqueue", "greet");
  EXPECT_EQ(run("enqueue", "greet", "--store", url()).code, 0);
}

TEST_F(StoresTest, SaysWhatItDoesNotUnderstand) {
  bad(2, R"(there is no command "enqeue"; did you mean "enqueue"?)", "enqeue", "greet");
  bad(2, R"(there is no option --jsn; did you mean "--json"?)", "queues", "--jsn");
  bad(2, "--limit has no effect before \"show\"", "tasks", "--limit", "3", "show", "x");
  EXPECT_EQ(run().code, 2);
  EXPECT_THAT(good("version").out, HasSubstr("tidemill "));
}

TEST_F(StoresTest, EachCommandTeachesByExamples) {
  EXPECT_THAT(good("--help").out, HasSubstr("Examples:"));
  for (const char* command :
       {"enqueue", "tasks", "queues", "schedules", "workers", "work", "migrate", "bench", "doctor", "top"}) {
    EXPECT_THAT(good(command, "--help").out, HasSubstr("Examples:\n  tidemill ")) << command;
  }
  for (const char* act : {"show", "run", "hold", "resume", "cancel", "archive", "erase"}) {
    EXPECT_THAT(good("tasks", act, "--help").out, HasSubstr("tidemill tasks ")) << act;
  }
  EXPECT_THAT(good("enqueue", "--help").out, HasSubstr("--unique[=KEY] "));
}

TEST_F(StoresTest, ClosedOutputIsNoSuccess) {
  enqueue("greet");
  const int status = std::system((command() + " tasks --json > /dev/full 2> /dev/null").c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

TEST_F(StoresTest, BenchMeasuresAndLeavesNothing) {
  const Ran ran = good("bench", "--workload", "enqueue-one,enqueue-threads,enqueue-bulk", "--workload",
                       "drain", "--tasks", "500", "--threads", "4", "--json");
  const auto rows = ran.objects();
  ASSERT_EQ(rows.size(), 4U);
  for (const auto& row : rows) {
    EXPECT_EQ(row.at("tasks"), 500);
    EXPECT_GT(row.at("rate").as_double(), 0);
    EXPECT_TRUE(row.at("p99_ms").is_null());
  }
  EXPECT_GT(rows[2].at("bytes_per_task").as_double(), 100);
  const auto latency =
      good("bench", "--workload", "pickup,pickup-process,due", "--tasks", "20", "--json").objects();
  ASSERT_EQ(latency.size(), 3U);
  for (const auto& row : latency)
    EXPECT_GE(row.at("max_ms").to_number<double>(), row.at("p50_ms").to_number<double>());
  EXPECT_EQ(good("tasks", "--json").lines().size(), 0U);
  bad(2, R"(did you mean "drain"?)", "bench", "--workload", "drian");
  enqueue("greet", "--queue", "tidemill-bench");
  bad(1, "is not empty", "bench", "--workload", "drain");
}

}  // namespace
}  // namespace tidemill::testing
