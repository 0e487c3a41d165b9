// Tasks run by commands: what a command gets, what its end becomes, that limits and stops reach all of it,
// and how many run at once.
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <memory>

#include "deliver/command_delivery.hpp"
#include "engine/worker_fixture.hpp"
#include "process.hpp"

namespace tidemill::tests {
namespace {

using deliver::CommandDelivery;
using deliver::CommandPool;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using tidemill::testing::read_file;
using namespace std::chrono_literals;

bool alive(const std::string& pid) { return !pid.empty() && ::kill(std::stoi(pid), 0) == 0; }

struct CommandTest : WorkerTest {
  void TearDown() override { worker.reset(); }  // Before the pool.

  std::string file(const std::string& name) const { return (directory / name).string(); }
  std::string error(const Ref& ref) { return task(ref)->error; }
  bool begun(const std::string& name) {
    return eventually([&] { return !read_file(file(name)).empty(); });
  }

  tidemill::testing::TemporaryDirectory directory;
};

/// What holds in the handler's own thread and in a pool's.
struct CommandDeliveryTest : CommandTest, ::testing::WithParamInterface<bool> {
  Ref run(const CommandDelivery& delivery, EnqueueOptions options = {}, std::string payload = "{}") {
    router.handle("do:it", GetParam() ? pool.handler(delivery) : deliver::command_handler(delivery));
    start();
    options.retention = 1h;
    return enqueue("do:it", options, std::move(payload));
  }
  std::string result_of(const CommandDelivery& delivery, const EnqueueOptions& options = {},
                        std::string payload = "{}") {
    const Ref ref = run(delivery, options, std::move(payload));
    EXPECT_TRUE(becomes(ref, State::completed)) << error(ref);
    return task(ref)->result;
  }
  std::string error_of(const CommandDelivery& delivery, const EnqueueOptions& options = {}) {
    const Ref ref = run(delivery, options);
    EXPECT_TRUE(becomes(ref, State::retry));
    return error(ref);
  }

  CommandPool pool{2};
};

INSTANTIATE_TEST_SUITE_P(Threads, CommandDeliveryTest, ::testing::Bool(),
                         [](const auto& which) { return which.param ? "Pool" : "Own"; });

TEST_P(CommandDeliveryTest, AProgramGetsItsArgumentsAsTheyAre) {
  EXPECT_EQ(result_of({.argv = {"printf", "%s|", "a b", "$HOME", "*", "'", ""}}), "a b|$HOME|*|'||");
}

TEST_P(CommandDeliveryTest, ThePayloadIsTheInputAndTheOutputTheResult) {
  EXPECT_EQ(result_of({.shell = "tr a-z A-Z; echo ' done'"}, {}, "hello"), "HELLO done\n");
}

TEST_P(CommandDeliveryTest, ACommandFindsItsTaskInTheEnvironment) {
  const std::string variables =
      "$TIDEMILL_QUEUE $TIDEMILL_KIND $TIDEMILL_ATTEMPT $TIDEMILL_HEADER_TRACE_ID "
      "$TIDEMILL_HEADER_TRACEPARENT "
      "$TRACEPARENT $OWN";
  EXPECT_EQ(result_of({.shell = "echo \"" + variables + "\"",
                       .environment = {{"OWN", "x"}, {"TIDEMILL_KIND", "mine"}}},
                      {.headers = {{"trace-id", "7f"}, {"traceparent", "00-ab-cd-01"}}}),
            "default mine 1 7f 00-ab-cd-01 00-ab-cd-01 x\n");
}

TEST_P(CommandDeliveryTest, AProgramIsLookedForInThePathThatItIsGiven) {
  tidemill::testing::write_file(file("greet"), "#!/bin/sh\necho hello\n");
  std::filesystem::permissions(file("greet"), std::filesystem::perms::owner_all);
  EXPECT_EQ(
      result_of({.argv = {"greet"}, .environment = {{"PATH", "/nowhere:" + directory.path().string()}}}),
      "hello\n");
}

TEST_P(CommandDeliveryTest, ACommandRunsInItsDirectory) {
  const std::string place = std::filesystem::canonical(directory.path()).string();
  EXPECT_EQ(result_of({.argv = {"pwd"}, .directory = place}), place + "\n");
}

TEST_P(CommandDeliveryTest, AnOutputThatIsTooLongIsCut) {
  const Ref ref = run({.shell = "echo 0123456789; echo note >&2", .output_bytes_max = 5});
  ASSERT_TRUE(becomes(ref, State::completed));
  EXPECT_EQ(task(ref)->result, "01234");
  std::vector<std::string> logs;
  const Attempt attempt = attempts(ref).at(0);
  for (const LogLine& line : attempt.logs) logs.push_back(line.text);
  EXPECT_THAT(logs, ElementsAre("note", HasSubstr("longer than 5 bytes")));
}

TEST_P(CommandDeliveryTest, AFailureHasTheLastLineAndTheCode) {
  EXPECT_EQ(error_of({.shell = "echo one >&2; echo 'no printer' >&2; exit 3"}), "no printer (exit code 3)");
}

TEST_P(CommandDeliveryTest, ExitCode65IsHopeless) {
  const Ref ref = run({.shell = "exit 65"});
  ASSERT_TRUE(becomes(ref, State::archived));
  EXPECT_EQ(task(ref)->retries, 0);
}

TEST_P(CommandDeliveryTest, ExitCode69IsASnooze) {
  const Ref ref = run({.shell = "exit 69", .snooze = 1h});
  ASSERT_TRUE(becomes(ref, State::scheduled));
  EXPECT_EQ(task(ref)->retries, 0);
  EXPECT_GT(*task(ref)->run_at, clock.now() + 30min);
}

TEST_P(CommandDeliveryTest, ATimeoutKillsTheWholeGroup) {
  // The shell and its child both ignore SIGTERM, so that SIGKILL must come.
  const std::string hang = "trap '' TERM; sleep 1000 & echo $! > child; echo $$ > shell; wait; wait";
  EXPECT_THAT(
      error_of({.shell = hang, .directory = directory.path().string(), .grace = 100ms}, {.timeout = 300ms}),
      AllOf(HasSubstr("timeout"), HasSubstr("signal 9")));
  EXPECT_TRUE(
      eventually([&] { return !alive(read_file(file("child"))) && !alive(read_file(file("shell"))); }));
}

TEST_P(CommandDeliveryTest, MemoryIsLimited) {
  const std::vector<std::string> large{"dd", "if=/dev/zero", "of=/dev/null", "bs=300M", "count=1"};
  EXPECT_THAT(error_of({.argv = large, .memory_bytes_max = 100U << 20U}), HasSubstr("exit code 1"));
}

TEST_P(CommandDeliveryTest, ProcessorTimeIsLimited) {
  EXPECT_THAT(error_of({.shell = "while :; do :; done", .cpu_max = 1s}),
              HasSubstr("CPU time limit exceeded"));
}

TEST_P(CommandDeliveryTest, OpenFilesAreLimited) {
  EXPECT_THAT(
      error_of({.argv = {"python3", "-c", "f = [open('/dev/null') for i in range(100)]"}, .files_max = 64}),
      HasSubstr("Too many open files"));
}

TEST_P(CommandDeliveryTest, WithoutLimitsACommandHasThoseOfThisProcess) {
  EXPECT_EQ(result_of({.argv = {"dd", "if=/dev/zero", "of=/dev/null", "bs=300M", "count=1", "status=none"}}),
            "");
}

TEST_P(CommandDeliveryTest, AProgramThatIsNotThereIsNamed) {
  EXPECT_THAT(error_of({.argv = {"no-such-program"}}),
              AllOf(HasSubstr("there is no program \"no-such-program\" in PATH ("), HasSubstr("/bin")));
}

TEST_P(CommandDeliveryTest, APathThatIsNotThereIsNamed) {
  EXPECT_EQ(error_of({.argv = {"/no/such/program"}}),
            "the command can't be started: /no/such/program: No such file or directory");
}

TEST_P(CommandDeliveryTest, ADirectoryThatIsNotThereIsNamed) {
  EXPECT_EQ(error_of({.shell = "true", .directory = "/no/such"}),
            "the command can't be started: directory /no/such: No such file or directory");
}

TEST_P(CommandDeliveryTest, EitherAProgramOrAShellCommand) {
  EXPECT_THROW(deliver::command_handler({}), Error);
  EXPECT_THROW(pool.handler({.argv = {"true"}, .shell = "true"}), Error);
}

// ---- The pool

struct CommandPoolTest : CommandTest {
  void with_threads(std::size_t threads) { pool = std::make_unique<CommandPool>(threads); }
  void handle(const std::string& shell) {
    router.handle("do:it", pool->handler({.shell = shell, .directory = directory.path().string()}));
  }
  Ref add(EnqueueOptions options = {}) {
    options.retention = 1h;
    return enqueue("do:it", options);
  }
  std::size_t count(const std::string& name) { return read_file(file(name)).size(); }

  std::unique_ptr<CommandPool> pool;
};

const std::string until_go = "while [ ! -e go ]; do sleep 0.02; done; ";

TEST_F(CommandPoolTest, RunsNoMoreThanItHasThreads) {
  with_threads(2);
  handle("printf + >> log; " + until_go + "printf - >> log");
  WorkerOptions options = quick();
  options.concurrency = 8;
  std::vector<Ref> refs;
  for (int i = 0; i < 8; ++i) refs.push_back(add());
  start(options);
  // All have their slots, and two of them a thread.
  for (const Ref& ref : refs) ASSERT_TRUE(becomes(ref, State::active));
  ASSERT_TRUE(eventually([&] { return count("log") == 2; }));
  tidemill::testing::write_file(file("go"), "");
  for (const Ref& ref : refs) ASSERT_TRUE(becomes(ref, State::completed)) << error(ref);
  int running = 0;
  int most = 0;
  for (const char c : read_file(file("log"))) {
    running += c == '+' ? 1 : -1;
    most = std::max(most, running);
  }
  EXPECT_EQ(most, 2);
}

TEST_F(CommandPoolTest, WhatWaitsIsStoppedWithoutAThread) {
  with_threads(1);
  handle("printf + >> log; " + until_go);
  start();
  const Ref running = add();
  ASSERT_TRUE(eventually([&] { return count("log") == 1; }));
  const Ref timed_out = add({.timeout = 100ms});
  const Ref cancelled = add();
  ASSERT_TRUE(becomes(timed_out, State::retry));
  EXPECT_THAT(error(timed_out), AllOf(HasSubstr("timeout"), HasSubstr("had not begun")));
  ASSERT_TRUE(becomes(cancelled, State::active));
  act(Act::cancel, cancelled);
  ASSERT_TRUE(becomes(cancelled, State::archived));
  EXPECT_EQ(state(running), State::active);
  tidemill::testing::write_file(file("go"), "");
  ASSERT_TRUE(becomes(running, State::completed));
  EXPECT_EQ(count("log"), 1U);
}

TEST_F(CommandPoolTest, AWorkerThatStopsGivesBackWhatWaits) {
  with_threads(1);
  handle("printf + >> log; exec sleep 1000");
  WorkerOptions options = quick();
  options.shutdown_timeout = 50ms;
  start(options);
  const Ref running = add();
  ASSERT_TRUE(eventually([&] { return count("log") == 1; }));
  const Ref waiting = add();
  ASSERT_TRUE(becomes(waiting, State::active));
  worker->stop();
  for (const Ref& ref : {running, waiting}) {
    EXPECT_EQ(state(ref), State::pending);
    EXPECT_EQ(task(ref)->attempt, 0);
  }
  EXPECT_EQ(count("log"), 1U);
}

TEST_F(CommandPoolTest, ItsEndEndsWhatRunsAndWhatWaits) {
  with_threads(1);
  handle("printf + >> log; exec sleep 1000");
  start();
  const Ref running = add();
  ASSERT_TRUE(eventually([&] { return count("log") == 1; }));
  const Ref waiting = add();
  ASSERT_TRUE(becomes(waiting, State::active));
  pool.reset();
  const Ref late = add();
  EXPECT_TRUE(becomes(running, State::retry));
  EXPECT_TRUE(becomes(waiting, State::retry));
  EXPECT_TRUE(becomes(late, State::retry));
  EXPECT_THAT(error(late), HasSubstr("had not begun"));
  EXPECT_EQ(count("log"), 1U);
}

TEST_F(CommandPoolTest, StopsAndEndsAtTheSameTimeLoseNoTask) {
  with_threads(3);
  handle("sleep 0.00$TIDEMILL_HEADER_N; printf + >> log");
  WorkerOptions options = quick();
  options.concurrency = 20;
  start(options);
  std::vector<Ref> refs;
  for (int i = 0; i < 200; ++i) {
    refs.push_back(
        add({.timeout = std::chrono::milliseconds{5 + i}, .headers = {{"n", std::to_string(i % 10)}}}));
  }
  std::size_t completed = 0;
  for (const Ref& ref : refs) {
    ASSERT_TRUE(eventually([&] { return state(ref) == State::completed || state(ref) == State::retry; }));
    completed += state(ref) == State::completed ? 1U : 0U;
  }
  EXPECT_GE(count("log"), completed);
}

}  // namespace
}  // namespace tidemill::tests
