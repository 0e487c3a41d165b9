// `tidemill doctor`: stores are made ill in the past, by a clock of ours, and then looked at by the real
// program.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <filesystem>

#include <tidemill/client.hpp>
#include <tidemill/inspector.hpp>

#include "cli/cli_fixture.hpp"
#include "cli/file_checks.hpp"
#include "redis_server.hpp"

namespace tidemill::testing {

namespace {

using namespace std::chrono_literals;
using cli::Finding;
using cli::Verdict;
using ::testing::HasSubstr;

/// The machine's clock, an hour ago.
class HourAgo : public Clock {
 public:
  TimePoint now() const override { return Clock::system().now() - 1h; }
  std::chrono::steady_clock::time_point steady() const override { return Clock::system().steady(); }
};

class DoctorTest : public CliTest {
 protected:
  /// The store, an hour ago.
  std::unique_ptr<Store> past() { return open(url(), {.clock = &clock_}); }

  /// The only finding of that check that is not ok; none: there is no such.
  boost::json::object finding(const Ran& ran, const std::string& check) {
    boost::json::object found;
    for (const auto& each : ran.objects()) {
      if (text(each, "check") != check || text(each, "level") == "ok") continue;
      EXPECT_TRUE(found.empty()) << ran.out;
      found = each;
    }
    return found;
  }
  void expect(const Ran& ran, const std::string& level, const std::string& check, const std::string& what) {
    const auto found = finding(ran, check);
    EXPECT_EQ(text(found, "level"), level) << ran.out;
    EXPECT_THAT(text(found, "what"), HasSubstr(what));
    EXPECT_NE(text(found, "advice"), "");
    EXPECT_EQ(ran.code, level == "problem" ? 1 : 0);
  }

  HourAgo clock_;
};

TEST_F(DoctorTest, AHealthyStoreHasNoProblem) {
  enqueue("greet");
  const Ran ran = run("doctor", "--json");
  EXPECT_EQ(ran.code, 0) << ran.out;
  for (const auto& each : ran.objects()) {
    // How full the disk is is not ours.
    if (text(each, "check") == "space") continue;
    EXPECT_EQ(text(each, "level"), "ok") << boost::json::serialize(each);
  }
  EXPECT_THAT(good("doctor").out, HasSubstr("ok       writes go through a write-ahead log\n"));
}

TEST_F(DoctorTest, AStoreThatIsNotThereIsAProblem) {
  expect(run("doctor", "--json"), "problem", "store", "jobs.db");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "jobs.db"));
  unsetenv("TIDEMILL_STORE");
  bad(2, "no store is named", "doctor");
  bad(2, "ends with this command", "doctor", "--store", "memory:");
}

TEST_F(DoctorTest, SettingsOfRedisThatEndangerTasksAreTold) {
  TIDEMILL_NEEDS_REDIS();
  const RedisServer careless{{"maxmemory-policy allkeys-lru"}};
  const std::string told = run("doctor", "--store", careless.url()).out;
  EXPECT_THAT(told, HasSubstr("maxmemory-policy allkeys-lru"));
  EXPECT_THAT(told, HasSubstr("no append-only file"));
  const RedisServer careful{{"appendonly yes"}};
  EXPECT_THAT(good("doctor", "--store", careful.url()).out, ::testing::Not(HasSubstr("warning")));
}

TEST_F(DoctorTest, OldTasksWithoutAWorkerAreAProblem) {
  Client{*past()}.enqueue("greet", "ada", {.queue = "mail"});
  const Ran ran = run("doctor", "--json");
  expect(ran, "problem", "queues", "1 task waits in queue \"mail\", the first one for 1h");
  EXPECT_THAT(text(finding(ran, "queues"), "advice"), HasSubstr("tidemill work --queue mail"));
}

TEST_F(DoctorTest, AWorkerThatServesThemIsEnough) {
  Client{*past()}.enqueue("other", "ada", {.queue = "mail"});
  // It knows nothing of that kind, so the task stays; but it serves the queue.
  Process worker = start({"work", "--on", "greet=cat", "--queue", "mail"}, "worker");
  EXPECT_TRUE(eventually([&] { return run("doctor").code == 0; })) << run("doctor").out;
}

TEST_F(DoctorTest, TasksOfWorkersThatAreGoneAreAProblem) {
  const auto store = past();
  Client{*store}.enqueue("greet", "ada", {.id = "one"});
  const std::vector<Want> wants = {{"default", 1}};
  const auto claimed =
      store->claim({.worker = "dead", .wants = wants, .count_max = 1, .lease = 25s}, {.now = store->now()});
  ASSERT_EQ(claimed.leases.size(), 1U);
  const Ran ran = run("doctor", "--json");
  expect(ran, "problem", "stuck_tasks", "default/one");
}

TEST_F(DoctorTest, OverdueSchedulesAreAProblemUnlessPaused) {
  const auto store = past();
  Inspector{*store}.put_schedule({.id = "report", .spec = "@every 1m", .kind = "report"});
  expect(run("doctor", "--json"), "problem", "schedules", "schedule \"report\" is overdue by 59m");
  good("schedules", "pause", "report");
  EXPECT_EQ(run("doctor").code, 0);
}

TEST_F(DoctorTest, APausedQueueWithTasksIsAWarning) {
  enqueue("greet", "--queue", "mail");
  good("queues", "pause", "mail");
  const Ran ran = run("doctor", "--json");
  expect(ran, "warning", "queues", "queue \"mail\" is paused, and 1 task waits in it");
  EXPECT_EQ(text(finding(ran, "queues"), "advice"), "tidemill queues resume mail");
}

TEST_F(DoctorTest, TheFileIsLookedAt) {
  enqueue("greet");
  chmod((directory_ / "jobs.db").c_str(), 0666);
  expect(run("doctor", "--json"), "warning", "permissions", "can be written by everybody");
  expect(run("doctor", "--json", "--store", url() + "?synchronous=normal"), "warning", "synchronous",
         "power cut");
  std::filesystem::remove(directory_ / "jobs.db");
  write_file(directory_ / "jobs.db", std::string(5000, 'x'));
  const Ran ran = run("doctor", "--json");
  expect(ran, "problem", "write_ahead_log", "has no write-ahead log");
  expect(ran, "problem", "store", "is no SQLite database");
}

/// What `examine` says of that check, when it is not ok.
std::string told(const server::Snapshot& snapshot, const std::string& check) {
  std::string all;
  for (const Finding& each : examine(snapshot)) {
    if (each.check == check && each.verdict != Verdict::fine) all += each.what + ". " + each.advice + "\n";
  }
  return all;
}

TEST(ChecksTest, EachCheckSaysThatAllIsWell) {
  std::vector<std::string> checks;
  for (const Finding& each : server::examine({})) {
    EXPECT_EQ(each.verdict, Verdict::fine) << each.what;
    checks.push_back(each.check);
  }
  EXPECT_THAT(checks, ::testing::ElementsAre("answer", "clock", "workers", "stuck_tasks", "queues", "archive",
                                             "poison", "schedules"));
}

TEST(ChecksTest, ClocksThatDisagreeAndSlowAnswersAreTold) {
  EXPECT_THAT(told({.ahead = 5s}, "clock"), HasSubstr("5s ahead of"));
  EXPECT_THAT(told({.ahead = -5s}, "clock"), HasSubstr("5s behind"));
  EXPECT_THAT(told({.answer = 1500ms}, "answer"), HasSubstr("took 1s500ms"));
}

TEST(ChecksTest, WorkersThatAreSilentStuckOrQuietAreTold) {
  server::Snapshot snapshot{.now = TimePoint{1h}};
  snapshot.workers = {
      {.id = "w", .host = "h", .state = "running", .pid = 7, .slots = 4, .beat_at = TimePoint{1h - 40s}}};
  EXPECT_THAT(told(snapshot, "workers"), HasSubstr("worker w (process 7 on h) has not beaten for 40s"));
  snapshot.workers[0].beat_at = snapshot.now;
  EXPECT_EQ(told(snapshot, "workers"), "");
  snapshot.workers[0].stuck = 3;
  EXPECT_THAT(told(snapshot, "workers"), HasSubstr("3 of 4 slots"));
  snapshot.workers[0] = {.id = "w", .state = "quiet", .beat_at = snapshot.now};
  EXPECT_THAT(told(snapshot, "workers"), HasSubstr("tidemill workers resume w"));
}

TEST(ChecksTest, AWorkerThatIsSilentServesNothing) {
  server::Snapshot snapshot{.now = TimePoint{1h}};
  snapshot.queues = {{.name = "q", .counts = {{State::pending, 2}}, .oldest = 2min}};
  snapshot.workers = {{.id = "w", .state = "running", .queues = {{"q", 1}}, .beat_at = snapshot.now}};
  EXPECT_EQ(told(snapshot, "queues"), "");
  snapshot.workers[0].beat_at -= 1min;
  EXPECT_THAT(told(snapshot, "queues"), HasSubstr("no worker serves it"));
  snapshot.workers[0] = {.id = "w", .state = "running", .queues = {{"other", 1}}, .beat_at = snapshot.now};
  EXPECT_THAT(told(snapshot, "queues"), HasSubstr("no worker serves it"));
  snapshot.workers[0].queues = {{"q", 1}};
  snapshot.queues[0].oldest = 20min;
  EXPECT_THAT(told(snapshot, "queues"), HasSubstr("add workers"));
}

TEST(ChecksTest, FullArchivesAndPoisonAreTold) {
  server::Snapshot snapshot;
  snapshot.queues = {{.name = "q", .counts = {{State::archived, 1000}}}};
  EXPECT_THAT(told(snapshot, "archive"), HasSubstr("1000 tasks are in the archive of queue \"q\""));
  snapshot.queues[0].counts[State::archived] = 999;
  EXPECT_EQ(told(snapshot, "archive"), "");
  snapshot.archived = {{.ref = {"q", "1"}, .reason = "retries"}};
  EXPECT_EQ(told(snapshot, "poison"), "");
  snapshot.archived.push_back({.ref = {"q", "2"}, .kind = "image", .reason = "poison"});
  EXPECT_THAT(told(snapshot, "poison"),
              HasSubstr("tasks that killed their workers: 1, such as q/2 of kind image"));
}

}  // namespace

}  // namespace tidemill::testing
