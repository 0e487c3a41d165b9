// A lease is of one worker at a time, whoever takes it: Go's recoverer from us, or our sweep from Go.
#include "ours.hpp"
#include "places.hpp"

namespace tidemill::testing {
namespace {

using namespace std::chrono_literals;

class Fence : public OursAndGo {
 protected:
  /// Go takes a lease over when it has been over for so long, and so do we with Go's.
  static constexpr Duration grace = 30s;

  /// As if our worker had been silent since long ago.
  void age_lease(const std::string& id) {
    ASSERT_EQ(raw().integer({"ZADD", key("default", "lease"), "XX", "CH",
                             fmt::format("{}", seconds_of(now() - 2 * grace)), id}),
              1);
  }
  static Report success(const Lease& lease) {
    return {.lease = &lease,
            .to = State::gone,
            .attempt = 1,
            .tally = Tally::success,
            .release_key = true,
            .started_at = now(),
            .result = "late"};
  }

  /// Our late report, and our late beat, are refused, and nothing of them is written.
  void expect_lost(const Lease& lease) {
    const std::string id = lease.task.ref.id;
    const auto everything = [&] {
      return std::tuple{raw().hash(task_key("default", id)), raw().list(key("default", "active")),
                        raw().scores(key("default", "retry")), raw().scores(key("default", "completed")),
                        raw().exec({"GET", key("default", "processed")}).text};
    };
    const auto before = everything();
    const Report report = success(lease);
    EXPECT_EQ(store().report({&report, 1}, call()).at(0), Reported::lost);
    const Beat beat{.lease = &lease, .started = true, .progress = "half"};
    const tidemill::WorkerInfo worker{.id = "ours", .state = "running", .started_at = now()};
    EXPECT_EQ(store().renew(worker, {&beat, 1}, length, {}, call()).leases.at(0), Signal::lost);
    EXPECT_EQ(everything(), before);
  }

  /// What a handler of Go's waits for.
  std::filesystem::path go_on() const { return directory_ / "go on"; }
  std::string await_go_on() const { return fmt::format("await {};result of Go", go_on().string()); }

 private:
  TemporaryDirectory directory_;
};

TEST_F(Fence, GoTakesOurLeaseAndRunsTheTask) {
  const std::string id = enqueue(await_go_on(), {.retention = 1h});
  const std::vector<Lease> leases = claim();
  ASSERT_EQ(leases.size(), 1U);
  age_lease(id);
  // Go's recoverer looks at its start, and then once a minute.
  GoProgram server{"server", redis(), {"-retry-delay", "1ms"}};
  EXPECT_EQ(server.event("start", id).at("retried"), 1);
  EXPECT_EQ(message("default", id).error, "asynq: task lease expired");
  EXPECT_EQ(state("default", id), "active");
  expect_lost(leases[0]);

  write_file(go_on(), "");
  EXPECT_FALSE(server.event("end", id).contains("error"));
  ASSERT_TRUE(ours_becomes(id, State::completed));
  EXPECT_EQ(inspector().task({"default", id})->result, "of Go");
  EXPECT_EQ(raw().text({"GET", key("default", "processed")}), "2") << "the lost lease counts as a failure";
  EXPECT_EQ(raw().text({"GET", key("default", "failed")}), "1");
  EXPECT_FALSE(raw().exists(key("default", "active")));
  EXPECT_FALSE(raw().exists(key("default", "lease")));
}

// Why: a lease that was claimed and never renewed is what a killed process leaves. How: a real one.
TEST_F(Fence, GoTakesTheTaskOfOurKilledProcess) {
  const std::string id = enqueue(await_go_on());
  {
    // Its command sees that it is gone, and ends too.
    const std::string hangs = "email=while kill -0 $PPID; do sleep 0.05; done";
    Process worker{{command(), "work", "--store", redis().url(), "--on", hangs}, {}};
    ASSERT_TRUE(becomes("default", id, "active"));
    worker.end(SIGKILL);
  }
  age_lease(id);
  GoProgram server{"server", redis(), {"-retry-delay", "1ms"}};
  EXPECT_EQ(server.event("start", id).at("retried"), 1);
  EXPECT_EQ(message("default", id).error, "asynq: task lease expired");
  write_file(go_on(), "");
  EXPECT_TRUE(becomes("default", id, ""));
}

// "Run now" writes no pending_since, so ours stands in the hash until Go's dequeue.
TEST_F(Fence, GoTakesOurLeaseAndAnOperatorRunsTheTask) {
  const std::string id = enqueue(await_go_on());
  const std::vector<Lease> leases = claim();
  ASSERT_EQ(leases.size(), 1U);
  age_lease(id);
  GoProgram inspect{"inspect", redis()};
  inspect.inspect({"pause", "default"});
  GoProgram server{"server", redis(), {"-retry-delay", "1h"}};
  ASSERT_TRUE(becomes("default", id, "retry"));
  expect_lost(leases[0]);
  inspect.inspect({"run", "default", json::string{id}});
  ASSERT_EQ(state("default", id), "pending");
  expect_lost(leases[0]);
  inspect.inspect({"unpause", "default"});
  server.event("start", id);
  EXPECT_EQ(inspector().task({"default", id})->worker, "") << "Go's, whose name it does not write there";
  expect_lost(leases[0]);

  write_file(go_on(), "");
  EXPECT_FALSE(server.event("end", id).contains("error"));
  EXPECT_TRUE(becomes("default", id, ""));
  EXPECT_FALSE(server.log().find("NOT FOUND") != std::string::npos) << server.log();
}

TEST_F(Fence, WeTakeGosLeaseOnlyAfterItsGrace) {
  const std::string id = enqueue("sleep 600000");
  {
    GoProgram server{"server", redis()};
    server.event("start", id);
    server.stop(SIGKILL);
  }
  const TimePoint end{std::chrono::seconds{std::stoll(raw().scores(key("default", "lease")).at(id))}};
  const auto sweep = [&](TimePoint at) { return store().sweep("ours", length, 10, {.now = at}).taken; };
  const Hash before = raw().hash(task_key("default", id));
  EXPECT_TRUE(sweep(end).empty());
  EXPECT_TRUE(sweep(end + grace - 1us).empty());
  EXPECT_EQ(raw().hash(task_key("default", id)), before);

  const std::vector<Lease> taken = sweep(end + grace);
  ASSERT_EQ(taken.size(), 1U);
  EXPECT_EQ(taken[0].task.ref, (Ref{"default", id}));
  EXPECT_EQ(taken[0].task.payload, "sleep 600000");
  EXPECT_TRUE(sweep(end + grace).empty()) << "it is ours now";
  const Report report = success(taken[0]);
  EXPECT_EQ(store().report({&report, 1}, {.now = end + grace}).at(0), Reported::applied);
  EXPECT_EQ(state("default", id), "");
  EXPECT_FALSE(raw().exists(key("default", "active")));
  EXPECT_FALSE(raw().exists(key("default", "lease")));
}

// One of ours has no grace: its holder counts the lease too, and has let go.
TEST_F(Fence, WeTakeOurOwnLeaseAtItsEnd) {
  const std::string id = enqueue("ok");
  const std::vector<Lease> leases = claim();
  ASSERT_EQ(leases.size(), 1U);
  const TimePoint end{std::chrono::seconds{std::stoll(raw().scores(key("default", "lease")).at(id))}};
  EXPECT_TRUE(store().sweep("other", length, 10, {.now = end - 1us}).taken.empty());
  EXPECT_EQ(store().sweep("other", length, 10, {.now = end}).taken.size(), 1U);
  expect_lost(leases[0]);
}

}  // namespace
}  // namespace tidemill::testing
