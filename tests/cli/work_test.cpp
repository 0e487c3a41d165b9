// `tidemill work`: what commands get, what becomes of their ends, and that none is left behind.
#include <gmock/gmock.h>

#include "cli/cli_fixture.hpp"

namespace tidemill::testing {
namespace {

using ::testing::HasSubstr;

class WorkTest : public CliTest {
 protected:
  void work(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "work");
    worker_ = start(std::move(arguments), "work");
  }
  std::string log() const { return read_file(directory_ / "work.err"); }

  bool becomes(const std::string& id, const std::string& state) {
    return eventually([&] { return state_of(id) == state; });
  }
  static bool alive(const std::string& pid) { return !pid.empty() && ::kill(std::stoi(pid), 0) == 0; }
  std::string file(const std::string& name) const { return (directory_ / name).string(); }

  Process worker_;
};

TEST_F(WorkTest, AResultIsWhatTheCommandPrints) {
  const std::string id = enqueue("greet", "ada", "--retention", "1h", "--header", "Trace-Id=7f");
  const std::string other = enqueue("env:print", "--retention", "1h", "--header", "Trace-Id=7f");
  work({"--on", "greet=sed 's/^/hello /'", "--on",
        "env:*=printf %s \"$TIDEMILL_ID $TIDEMILL_QUEUE $TIDEMILL_KIND $TIDEMILL_ATTEMPT "
        "$TIDEMILL_HEADER_TRACE_ID\""});
  ASSERT_TRUE(becomes(id, "completed")) << log();
  EXPECT_EQ(text(show(id), "result"), "hello ada");
  ASSERT_TRUE(becomes(other, "completed")) << log();
  EXPECT_EQ(text(show(other), "result"), other + " default env:print 1 7f");
  ASSERT_TRUE(eventually([&] { return good("workers", "--json").lines().size() == 1; }));
  EXPECT_EQ(worker_.end(SIGTERM), 0) << log();
  EXPECT_THAT(good("queues", "stats").out, HasSubstr("env:print"));
}

TEST_F(WorkTest, ExitCodesAreOutcomes) {
  const std::string failing = enqueue("fail");
  const std::string last = enqueue("fail", "--retries", "0");
  const std::string hopeless = enqueue("hopeless");
  const std::string later = enqueue("later");
  const std::string crashing = enqueue("crash");
  work({"--on", "fail=echo one >&2; echo 'no printer' >&2; exit 3", "--on", "hopeless=exit 65", "--on",
        "later=exit 69", "--on", "crash=kill -SEGV $$", "--snooze", "1h"});
  ASSERT_TRUE(becomes(failing, "retry")) << log();
  const auto task = show(failing);
  EXPECT_EQ(text(task, "error"), "no printer (exit code 3)");
  EXPECT_EQ(task.at("retries"), 1);
  const auto attempt = task.at("attempts").as_array().at(0).as_object();
  EXPECT_EQ(text(attempt.at("logs").as_array().at(0).as_object(), "text"), "one");
  EXPECT_THAT(good("tasks", "show", failing).out, HasSubstr("no printer"));
  ASSERT_TRUE(becomes(last, "archived"));
  ASSERT_TRUE(becomes(hopeless, "archived"));
  EXPECT_EQ(show(hopeless).at("retries"), 0);
  ASSERT_TRUE(becomes(later, "scheduled"));
  EXPECT_EQ(show(later).at("retries"), 0);
  ASSERT_TRUE(becomes(crashing, "retry"));
  EXPECT_THAT(text(show(crashing), "error"), HasSubstr("signal 11"));
}

TEST_F(WorkTest, ATimeoutKillsTheWholeGroup) {
  // The shell and its child both ignore SIGTERM, so that SIGKILL must come.
  const std::string id = enqueue("hang", "--timeout", "300ms", "--retries", "0");
  work({"--on", "hang=trap '' TERM; sleep 1000 & echo $! > " + file("child") + "; echo $$ > " +
                    file("shell") + "; wait; wait"});
  ASSERT_TRUE(becomes(id, "archived")) << log();
  EXPECT_THAT(text(show(id), "error"), HasSubstr("timeout"));
  EXPECT_TRUE(
      eventually([&] { return !alive(read_file(file("child"))) && !alive(read_file(file("shell"))); }));
}

TEST_F(WorkTest, ACancelStopsTheCommand) {
  const std::string id = enqueue("hang");
  work({"--on", "hang=echo $$ > " + file("shell") + "; exec sleep 1000"});
  ASSERT_TRUE(eventually([&] { return !read_file(file("shell")).empty(); })) << log();
  good("tasks", "cancel", id);
  ASSERT_TRUE(becomes(id, "archived")) << log();
  EXPECT_EQ(text(show(id), "reason"), "cancelled");
  EXPECT_FALSE(alive(read_file(file("shell"))));
}

TEST_F(WorkTest, BigPayloadsAndOutputsBlockNobody) {
  const std::string payload(4U << 20U, 'x');
  const Ran ran = run_with(payload, {"enqueue", "big", "-", "--retention", "1h"});
  ASSERT_EQ(ran.code, 0) << ran.err;
  const Ran unread = run_with(payload, {"enqueue", "unread", "-", "--retention", "1h"});
  // Both ways at once, and far more than any pipe holds; and a command that does not read at all.
  work({"--on", "big=tee /dev/stderr", "--on", "unread=echo done"});
  ASSERT_TRUE(becomes(ran.lines().at(0), "completed")) << log();
  EXPECT_EQ(text(show(ran.lines().at(0)), "result").size(), 64U << 10U);
  ASSERT_TRUE(becomes(unread.lines().at(0), "completed")) << log();
  EXPECT_EQ(text(show(unread.lines().at(0)), "result"), "done\n");
}

TEST_F(WorkTest, WhatACommandLeavesBehindIsKilled) {
  const std::string id = enqueue("leave", "--retention", "1h");
  work({"--on", "leave=sleep 1000 & echo $! > " + file("child") + "; echo done"});
  ASSERT_TRUE(becomes(id, "completed")) << log();
  EXPECT_TRUE(eventually([&] { return !alive(read_file(file("child"))); }));
}

TEST_F(WorkTest, SigtermGivesBackWhatDoesNotEnd) {
  const std::string id = enqueue("hang");
  work({"--on", "hang=echo $$ > " + file("shell") + "; exec sleep 1000", "--shutdown-timeout", "100ms"});
  ASSERT_TRUE(eventually([&] { return !read_file(file("shell")).empty(); })) << log();
  EXPECT_EQ(worker_.end(SIGTERM), 0) << log();
  const auto task = show(id);
  EXPECT_EQ(text(task, "state"), "pending");
  EXPECT_EQ(task.at("attempt"), 0);
  EXPECT_FALSE(alive(read_file(file("shell"))));
}

TEST_F(WorkTest, SigtermWaitsForWhatEnds) {
  const std::string id = enqueue("slow", "--retention", "1h");
  work({"--on", "slow=echo > " + file("begun") + "; while [ ! -e " + file("go") +
                    " ]; do sleep 0.02; done; echo end"});
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(file("begun")); })) << log();
  worker_.signal(SIGTERM);
  ASSERT_TRUE(
      eventually([&] { return good("workers", "--json").out.find("stopping") != std::string::npos; }));
  write_file(file("go"), "");
  EXPECT_EQ(worker_.wait(), 0) << log();
  EXPECT_EQ(state_of(id), "completed");
}

TEST_F(WorkTest, FiresSchedulesUnlessToldNot) {
  good("schedules", "put", "pulse", "--spec", "@every 100ms", "--kind", "pulse", "--retention", "1h");
  work({"--on", "pulse=true"});
  EXPECT_TRUE(eventually([&] { return good("tasks", "--state", "completed", "--json").lines().size() >= 2; }))
      << log();
  EXPECT_EQ(worker_.end(SIGTERM), 0) << log();
}

TEST_F(WorkTest, AnOperatorStopsAWorker) {
  enqueue("greet");
  work({"--on", "greet=true", "--queue", "default=3", "--queue", "slow", "--strict", "--concurrency", "2"});
  std::vector<boost::json::object> workers;
  ASSERT_TRUE(eventually([&] { return (workers = good("workers", "--json").objects()).size() == 1; }))
      << log();
  EXPECT_EQ(workers[0].at("slots"), 2);
  EXPECT_EQ(workers[0].at("queues").as_object().at("default"), 3);
  good("workers", "stop", text(workers[0], "id"));
  EXPECT_EQ(worker_.wait(), 0) << log();
}

TEST_F(WorkTest, SaysWhatIsWrong) {
  bad(2, "--on is required", "work");
  bad(2, "names no command; write KIND=COMMAND", "work", "--on", "greet");
  bad(1, "*", "work", "--on", "a*b=true");
  bad(2, "--queue", "work", "--on", "a=true", "--queue", "x=0");
  bad(2, "it must be debug", "work", "--on", "a=true", "--log-level", "loud");
}

}  // namespace
}  // namespace tidemill::testing
