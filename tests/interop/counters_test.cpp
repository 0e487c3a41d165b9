// What each end of a task does to Asynq's counters, on our side and on Go's, and what a stopped worker
// leaves.
#include "ours.hpp"
#include "stores/redis/go_text.hpp"

namespace tidemill::testing {
namespace {

using namespace std::chrono_literals;

/// processed and failed.
using Counts = std::pair<std::int64_t, std::int64_t>;

class Counters : public OursAndGo {
 protected:
  Counts read(const std::string& suffix = "") {
    const auto number = [&](const std::string& name) -> std::int64_t {
      const std::string text = raw().exec({"GET", key("default", name + suffix)}).text;
      return text.empty() ? 0 : std::stoll(text);
    };
    return {number("processed"), number("failed")};
  }
  static std::string day() { return fmt::format(":{}", redis_store::day_text(now())); }

  /// Runs a task to the state that it ends in; what that added to the counters.
  Counts added_by(const std::string& payload, const std::string& wanted, const EnqueueOptions& options = {}) {
    const Counts before = read();
    const std::string id = enqueue(payload, options);
    EXPECT_TRUE(becomes("default", id, wanted)) << payload << ": " << state("default", id);
    const Counts after = read();
    return {after.first - before.first, after.second - before.second};
  }

  /// The ends that both sides know; each has its own word for what its handler does.
  void expect_asynqs(const std::string& archive, const std::string& revoke) {
    EXPECT_EQ(added_by("ok", ""), Counts(1, 0));
    EXPECT_EQ(added_by("ok", "completed", {.retention = 1h}), Counts(1, 0));
    EXPECT_EQ(added_by("fail", "retry"), Counts(1, 1));
    EXPECT_EQ(added_by("fail", "archived", {.retries_max = 0}), Counts(1, 1));
    EXPECT_EQ(added_by(archive, "archived"), Counts(1, 1));
    EXPECT_EQ(added_by(revoke, "", {.retention = 1h}), Counts(1, 0));
  }
};

TEST_F(Counters, OurWorkersAreAsynqs) {
  WorkerOptions options = quick();
  options.is_failure = [](const FailedAttempt& failed) { return failed.error != "busy"; };
  start_worker(options);
  expect_asynqs("archive hopeless", "discard");
  EXPECT_EQ(added_by("fail busy", "retry"), Counts(0, 0)) << "an error that is no failure";
  EXPECT_EQ(added_by("fail busy", "archived", {.retries_max = 0}), Counts(1, 1)) << "but none is left";
}

TEST_F(Counters, GosServers) {
  const GoProgram server{"server", redis(), {"-retry-delay", "1h"}};
  expect_asynqs("skip_retry", "revoke");
}

TEST_F(Counters, OnlyThoseOfADayGo) {
  const std::string before = day();
  start_worker();
  added_by("ok", "");
  added_by("fail", "retry");
  const std::string today = read(before) == Counts{} ? day() : before;
  EXPECT_GE(read(today), Counts(1, 1)) << "unless the day has just ended, both are in it";
  constexpr std::int64_t days_90 = 90 * 86400;
  for (const std::string name : {"processed", "failed"}) {
    EXPECT_EQ(raw().integer({"TTL", key("default", name)}), -1);
    const std::int64_t left = raw().integer({"TTL", key("default", name + today)});
    EXPECT_GT(left, days_90 - 120);
    EXPECT_LE(left, days_90 + 1);
  }
}

TEST_F(Counters, AnErrorThatIsNoFailureIsKeptInTheMessage) {
  WorkerOptions options = quick();
  options.is_failure = [](const FailedAttempt&) { return false; };
  start_worker(options);
  const std::string id = enqueue("fail busy");
  ASSERT_TRUE(becomes("default", id, "retry"));
  EXPECT_EQ(message("default", id).retried, 0);
  EXPECT_EQ(message("default", id).error, "busy");
  EXPECT_TRUE(message("default", id).last_failed_at.has_value());
  EXPECT_FALSE(raw().exists(key("default", "failed")));
}

// Why: a worker that is stopped hands on what it has, first in line and unchanged. How: one runs and one
// waits behind it when the worker stops; a server of Go goes on with the first.
TEST_F(Counters, AStoppedWorkerLeavesNothingButItsTasks) {
  WorkerOptions options = quick();
  options.concurrency = 1;
  start_worker(options);
  const std::string first = enqueue("stop");
  run_of(first);
  const std::string second = enqueue("stop");
  ASSERT_TRUE(eventually([&] { return raw().scores("asynq:servers").size() == 1; }));
  stop_worker();
  EXPECT_EQ(raw().list(key("default", "pending")), (std::vector<std::string>{second, first}))
      << "the right end is next";
  EXPECT_EQ(state("default", first), "pending");
  EXPECT_EQ(message("default", first).retried, 0);
  EXPECT_EQ(message("default", first).error, "");
  EXPECT_EQ(read(), Counts(0, 0));
  for (const std::string& gone : {key("default", "active"), key("default", "lease"),
                                  std::string{"asynq:servers"}, std::string{"asynq:workers"}})
    EXPECT_FALSE(raw().exists(gone)) << gone;
  EXPECT_TRUE(raw().texts({"KEYS", "asynq:servers:*"}).empty());
  EXPECT_TRUE(raw().texts({"KEYS", "asynq:workers:*"}).empty());

  GoProgram server{"server", redis(), {"-concurrency", "1"}};
  EXPECT_EQ(server.event("end").at("id"), json::string{first});
  EXPECT_TRUE(becomes("default", second, ""));
}

}  // namespace
}  // namespace tidemill::testing
