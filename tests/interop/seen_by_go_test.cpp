// Our tasks in all states as Go's tools see them and act on them, and what we do as they see it.
#include <set>

#include "asynqmon.hpp"
#include "ours.hpp"

namespace tidemill::testing {
namespace {

using namespace std::chrono_literals;

class SeenByGo : public OursAndGo {
 protected:
  void SetUp() override {
    OursAndGo::SetUp();
    if (!IsSkipped()) inspect_.emplace("inspect", redis());
  }

  json::value inspect(const json::array& words) { return inspect_->inspect(words); }
  json::value go_act(const std::string& verb, const std::string& id) {
    return inspect({json::string{verb}, "default", json::string{id}});
  }
  Changed act(Act act, const std::string& id) { return inspector().act(act, Ref{"default", id}); }
  /// The ids in one of Go's lists.
  std::set<std::string> listed(const std::string& state) {
    json::array words = {"list", "default", json::string{state}};
    if (state == "aggregating") words.push_back("grp");
    std::set<std::string> ids;
    const json::value tasks = inspect(words);
    for (const json::value& task : tasks.as_array()) ids.emplace(task.at("id").as_string());
    return ids;
  }

  /// A task in each state, named by it; the queue is paused, so that they stay.
  void fill() {
    start_worker();
    enqueue("fail by a \u00e9", {.id = "retry", .headers = {{"k", "v"}}});
    enqueue("archive hopeless", {.id = "archived"});
    enqueue("result 42", {.id = "completed", .retention = 1h});
    enqueue("stop", {.id = "active"});
    for (const std::string state : {"retry", "archived", "completed", "active"})
      ASSERT_TRUE(becomes("default", state, state)) << state;
    fill_at_rest();
  }
  /// Those that no worker is needed for.
  void fill_at_rest() {
    inspector().pause("default");
    enqueue("ok", {.id = "pending"});
    enqueue("ok", {.id = "scheduled", .delay = 1h});
    enqueue("ok", {.id = "held", .held = true});
    enqueue("ok", {.id = "aggregating", .group = "grp"});
  }

 private:
  std::optional<GoProgram> inspect_;
};

TEST_F(SeenByGo, TheQueue) {
  fill();
  EXPECT_EQ(inspect({"queues"}), json::array{"default"});
  json::object queue = inspect({"queue", "default"}).as_object();
  EXPECT_GT(queue.at("memory").as_int64(), 0);
  queue.erase("memory");
  queue.erase("latency_ms");
  EXPECT_EQ(json::value(queue), (json::value{{"queue", "default"},
                                             {"size", 8},
                                             {"groups", 1},
                                             {"pending", 1},
                                             {"active", 1},
                                             {"scheduled", 2},
                                             {"retry", 1},
                                             {"archived", 1},
                                             {"completed", 1},
                                             {"aggregating", 1},
                                             {"processed", 3},
                                             {"failed", 2},
                                             {"processed_total", 3},
                                             {"failed_total", 2},
                                             {"paused", true}}));
  EXPECT_EQ(inspect({"groups", "default"}), (json::value{{"grp", 1}}));
  EXPECT_EQ(inspect({"history", "default", "1"}).at(0).at("processed"), 3);
}

TEST_F(SeenByGo, EachTask) {
  fill();
  using Ids = std::set<std::string>;
  for (const std::string state : {"pending", "active", "retry", "archived", "completed", "aggregating"}) {
    EXPECT_EQ(listed(state), Ids{state});
    const json::value task = go_act("task", state);
    EXPECT_EQ(task.at("state"), json::string{state});
    EXPECT_EQ(task.at("type"), "email") << state;
  }
  EXPECT_EQ(listed("scheduled"), (Ids{"scheduled", "held"}));
  EXPECT_EQ(go_act("task", "scheduled").at("state"), "scheduled");
  EXPECT_EQ(go_act("task", "held").at("state"), "scheduled");
  EXPECT_EQ(go_act("task", "held").at("next_at"), 32'503'680'000) << "the year 3000";
  EXPECT_EQ(go_act("task", "retry").at("error"), "by a \u00e9");
  EXPECT_EQ(go_act("task", "retry").at("headers"), (json::value{{"k", "v"}}));
  EXPECT_EQ(go_act("task", "archived").at("error"), "hopeless");
  EXPECT_EQ(go_act("task", "completed").at("result"), "42");
  EXPECT_EQ(go_act("task", "aggregating").at("group"), "grp");
  EXPECT_EQ(go_act("task", "active").at("orphaned"), false);
}

TEST_F(SeenByGo, OurWorkerAndWhatItRuns) {
  start_worker();
  enqueue("stop", {.id = "active"});
  ASSERT_TRUE(eventually([&] {
    const json::value servers = inspect({"servers"});
    return servers.as_array().size() == 1 && servers.at(0).at("workers").as_array().size() == 1;
  }));
  const json::value server = inspect({"servers"}).at(0);
  EXPECT_EQ(server.at("pid"), ::getpid());
  EXPECT_EQ(server.at("concurrency"), 4);
  EXPECT_EQ(server.at("status"), "active");
  EXPECT_EQ(server.at("queues"), (json::value{{"default", 1}}));
}

TEST_F(SeenByGo, GoRuns) {
  fill();
  const std::vector<std::string> all = {"scheduled", "retry", "archived", "completed", "held", "aggregating"};
  for (const std::string& id : all) {
    EXPECT_EQ(go_act("run", id), true) << id;
    EXPECT_EQ(our_state(id), State::pending) << id;
  }
  const std::size_t before = runs().size();
  inspect({"unpause", "default"});
  // And the one that was pending before.
  ASSERT_TRUE(eventually([&] { return runs().size() == before + all.size() + 1; }));
  for (const char* const id : {"scheduled", "held", "aggregating", "pending"})
    EXPECT_TRUE(ours_becomes(id, State::gone)) << id;
  EXPECT_TRUE(ours_becomes("completed", State::completed));
  EXPECT_TRUE(ours_becomes("archived", State::archived));
  EXPECT_TRUE(ours_becomes("retry", State::retry));
  EXPECT_EQ(inspector().task({"default", "retry"})->retries, 2);
}

TEST_F(SeenByGo, GoArchives) {
  fill();
  for (const std::string id : {"pending", "scheduled", "retry", "completed", "held", "aggregating"}) {
    EXPECT_EQ(go_act("archive", id), true) << id;
    EXPECT_EQ(our_state(id), State::archived) << id;
  }
  // What Go has archived we can run.
  EXPECT_EQ(act(Act::run, "held"), Changed::changed);
  EXPECT_EQ(go_act("task", "held").at("state"), "pending");
}

TEST_F(SeenByGo, GoDeletes) {
  fill();
  for (const std::string id :
       {"pending", "scheduled", "retry", "archived", "completed", "held", "aggregating"}) {
    EXPECT_EQ(go_act("delete", id), true) << id;
    EXPECT_EQ(our_state(id), State::gone) << id;
  }
  for (const QueueInfo& queue : inspector().queues()) {
    for (const auto& [state, count] : queue.counts)
      EXPECT_EQ(count, state == State::active ? 1U : 0U) << to_string(state);
  }
}

TEST_F(SeenByGo, GoPauses) {
  start_worker();
  run_of(enqueue("ok"));
  inspect({"pause", "default"});
  EXPECT_TRUE(inspector().queues().at(0).paused);
  const std::string waits = enqueue("ok");
  EXPECT_TRUE(claim().empty());
  EXPECT_EQ(our_state(waits), State::pending);
  inspect({"unpause", "default"});
  EXPECT_FALSE(inspector().queues().at(0).paused);
  EXPECT_EQ(run_of(waits).task.ref.id, waits);
}

TEST_F(SeenByGo, OurActs) {
  fill();
  const auto seen = [&](const std::string& id) { return go_act("task", id).at("state"); };
  EXPECT_EQ(act(Act::hold, "pending"), Changed::changed);
  EXPECT_EQ(seen("pending"), "scheduled");
  EXPECT_EQ(act(Act::resume, "pending"), Changed::changed);
  EXPECT_EQ(seen("pending"), "pending");
  for (const std::string id : {"scheduled", "retry", "archived", "completed"}) {
    EXPECT_EQ(act(Act::run, id), Changed::changed) << id;
    EXPECT_EQ(seen(id), "pending") << id;
  }
  EXPECT_EQ(act(Act::archive, "scheduled"), Changed::changed);
  EXPECT_EQ(seen("scheduled"), "archived");
  EXPECT_EQ(act(Act::cancel, "held"), Changed::changed);
  EXPECT_EQ(seen("held"), "archived");
  EXPECT_EQ(act(Act::cancel, "active"), Changed::signalled);
  ASSERT_TRUE(becomes("default", "active", "archived"));
  EXPECT_EQ(listed("archived"), (std::set<std::string>{"scheduled", "held", "active"}));
  EXPECT_EQ(act(Act::erase, "aggregating"), Changed::changed);
  EXPECT_EQ(inspect({"groups", "default"}).as_object().size(), 0U);
  inspector().resume("default");
  EXPECT_EQ(inspect({"queue", "default"}).at("paused"), false);
}

TEST_F(SeenByGo, GoCancelsWhatWeRun) {
  WorkerOptions options = quick();
  options.beat = 8s;  // So that it is the message that brings it.
  start_worker(options);
  const std::string id = enqueue("stop");
  const std::string other = enqueue("stop");
  run_of(id);
  run_of(other);
  ASSERT_TRUE(hears_cancels());
  inspect({"cancel", json::string{id}});
  ASSERT_TRUE(becomes("default", id, "archived"));
  EXPECT_EQ(inspector().task({"default", id})->reason, "cancelled");
  EXPECT_EQ(our_state(other), State::active);

  EXPECT_EQ(act(Act::run, id), Changed::changed);
  ASSERT_TRUE(eventually([&] { return runs().size() == 3; }));
  EXPECT_EQ(act(Act::cancel, other), Changed::signalled) << "ours goes by our own channel";
  ASSERT_TRUE(becomes("default", other, "archived"));
  EXPECT_EQ(our_state(id), State::active) << "the first cancel was for the first attempt";
}

TEST_F(SeenByGo, WeCancelWhatGoRuns) {
  const std::string id = enqueue("sleep 600000");
  GoProgram server{"server", redis(), {"-retry-delay", "1h"}};
  server.event("start", id);
  ASSERT_TRUE(hears_cancels());
  EXPECT_EQ(act(Act::cancel, id), Changed::signalled);
  ASSERT_TRUE(ours_becomes(id, State::retry));
  EXPECT_EQ(inspector().task({"default", id})->error, "context canceled");

  // The cancel was for that attempt, and not for one of ours.
  server.stop();
  EXPECT_EQ(act(Act::run, id), Changed::changed);
  const std::vector<Lease> leases = claim();
  ASSERT_EQ(leases.size(), 1U);
  const Beat beat{.lease = &leases[0]};
  const tidemill::WorkerInfo worker{.id = "ours", .state = "running", .started_at = now()};
  EXPECT_EQ(store().renew(worker, {&beat, 1}, length, {}, call()).leases.at(0), Signal::none);
}

TEST_F(SeenByGo, WeSeeGosServer) {
  GoProgram server{"server", redis(), {"-queues", "default=3,low", "-concurrency", "7"}};
  ASSERT_TRUE(eventually([&] { return inspector().workers().size() == 1; }));
  const tidemill::WorkerInfo info = inspector().workers().at(0);
  EXPECT_EQ(info.pid, server.pid());
  EXPECT_EQ(info.slots, 7);
  EXPECT_EQ(info.queues, (std::map<std::string, int>{{"default", 3}, {"low", 1}}));
}

// Exact times of ours stand beside Asynq's seconds; Go moves a task without touching them.
TEST_F(SeenByGo, GosDelayAfterOneOfOursHolds) {
  const std::string id = enqueue("fail", {.delay = 100ms});
  GoProgram server{"server", redis(), {"-retry-delay", "1h"}};
  ASSERT_TRUE(becomes("default", id, "retry"));
  EXPECT_TRUE(claim().empty()) << "it waits for an hour";
  EXPECT_EQ(state("default", id), "retry");
}

TEST_F(SeenByGo, WhatGoArchivesOutlivesOurRetention) {
  start_worker();
  const std::string id = enqueue("result 42", {.retention = 1h});
  ASSERT_TRUE(becomes("default", id, "completed"));
  EXPECT_EQ(go_act("archive", id), true);
  store().sweep("w", length, 10, {.now = now() + 2h});
  EXPECT_EQ(state("default", id), "archived");
}

TEST_F(SeenByGo, GosRetentionAfterOneOfOursHolds) {
  start_worker();
  const std::string id = enqueue("result 42", {.retention = 1h});
  ASSERT_TRUE(becomes("default", id, "completed"));
  const auto score = [&] { return std::stoll(raw().scores(key("default", "completed")).at(id)); };
  const TimePoint ours{std::chrono::seconds{score()}};
  // As if Go had run it again, and completed it a minute later.
  raw().integer({"ZADD", key("default", "completed"), "XX", "CH", fmt::format("{}", score() + 60), id});
  store().sweep("w", length, 10, {.now = ours + 59s});
  EXPECT_EQ(state("default", id), "completed");
  store().sweep("w", length, 10, {.now = ours + 60s});
  EXPECT_EQ(state("default", id), "");
}

class SeenByAsynqmon : public SeenByGo {
 protected:
  void SetUp() override {
    SeenByGo::SetUp();
    if (IsSkipped()) return;
    TIDEMILL_NEEDS(asynqmon());
    page_.emplace(redis());
  }
  json::object get(const std::string& path) {
    SCOPED_TRACE(path);
    const http::CallResult result = page_->get(path);
    EXPECT_EQ(result.status, 200) << result.error << result.body;
    return json::parse(result.body).as_object();
  }
  int status(const std::string& path) { return page_->get(path).status; }

 private:
  std::optional<Asynqmon> page_;
};

TEST_F(SeenByGo, AQueueThatWeErase) {
  fill_at_rest();
  EXPECT_EQ(inspector().erase_queue("default"), Changed::wrong_state);
  EXPECT_EQ(inspect({"queue", "default"}).at("pending"), 1);
  EXPECT_EQ(inspector().erase_queue("default", true), Changed::changed);
  EXPECT_EQ(inspect({"queues"}), json::array{});
  std::vector<std::string> left;
  for (const std::string& key : raw().texts({"KEYS", "asynq:{default}:*"})) {
    if (key.find(":x:") == std::string::npos) left.push_back(key);
  }
  EXPECT_EQ(left, std::vector<std::string>{}) << "nothing for Go to find when it makes the queue anew";
  enqueue("ok", {.id = "again"});
  EXPECT_EQ(inspect({"queues"}), json::array{"default"});
  EXPECT_EQ(inspect({"queue", "default"}).at("size"), 1);
  EXPECT_EQ(inspect({"queue", "default"}).at("paused"), false);
}

TEST_F(SeenByAsynqmon, EveryEndpointAnswers) {
  fill();
  const std::string queue = "/api/queues/default";
  EXPECT_EQ(get("/api/queues").at("queues").at(0).at("size"), 8);
  EXPECT_EQ(get(queue).at("current").at("scheduled"), 2);
  EXPECT_EQ(get(queue).at("history").as_array().size(), 10U);
  EXPECT_EQ(get("/api/queue_stats").at("stats").as_object().size(), 1U);
  for (const std::string state :
       {"active", "pending", "scheduled", "retry", "archived", "completed", "aggregating"}) {
    const std::string place = state == "aggregating" ? "/groups/grp/" : "/";
    const json::object page = get(fmt::format("{}{}{}_tasks", queue, place, state));
    ASSERT_FALSE(page.at("tasks").as_array().empty()) << state;
    EXPECT_EQ(page.at("tasks").at(0).at("id"), json::string{state});
    EXPECT_EQ(get(fmt::format("{}/tasks/{}", queue, state)).at("state"), json::string{state});
  }
  EXPECT_EQ(get(queue + "/tasks/held").at("state"), "scheduled");
  EXPECT_EQ(get(queue + "/tasks/completed").at("result"), "42");
  EXPECT_EQ(get(queue + "/groups").at("groups").at(0).at("group"), "grp");
  EXPECT_TRUE(eventually([&] {
    const json::object page = get("/api/servers");
    const json::array& servers = page.at("servers").as_array();
    return servers.size() == 1 && servers[0].at("active_workers").as_array().size() == 1;
  })) << "our worker, and what it runs";
  inspector().put_schedule({.id = "s", .spec = "@every 30s", .kind = "email"});
  ASSERT_TRUE(inspector().fire_schedule("s").has_value());
  get("/api/scheduler_entries");
  get("/api/scheduler_entries/s/enqueue_events");
  get("/api/redis_info");
  EXPECT_EQ(status("/metrics"), 200) << "for Prometheus";
}

}  // namespace
}  // namespace tidemill::testing
