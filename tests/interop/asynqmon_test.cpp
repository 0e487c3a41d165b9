// Asynqmon, the web page of Asynq, in front of data that a Go client and a Go server made: each of its
// endpoints answers, and what acts does act.
#include "asynqmon.hpp"
#include "fixture.hpp"

namespace tidemill::testing {
namespace {

class AsynqmonPages : public Interop {
 protected:
  void SetUp() override {
    Interop::SetUp();
    if (IsSkipped()) return;
    TIDEMILL_NEEDS(asynqmon());
    page_.emplace(redis());
  }
  json::object get(const std::string& path) {
    SCOPED_TRACE(path);
    const http::CallResult result = page_->get(path);
    EXPECT_EQ(result.status, 200) << result.error << result.body;
    json::value body = json::parse(result.body);
    return body.as_object();
  }
  int status(const std::string& path) { return page_->get(path).status; }

  /// Does this to a task, or all of a place, and it answers.
  void act(const std::string& method, const std::string& path) {
    EXPECT_EQ(page_->call(method, "/api/queues/" + path).status / 100, 2) << path;
  }
  /// Does this to one task of a place, and it says so.
  void batch(const std::string& path, const std::string& id, std::string_view done) {
    const json::value ids = {{"task_ids", json::array{json::string{id}}}};
    const http::CallResult result = page_->call("POST", "/api/queues/" + path, json::serialize(ids));
    ASSERT_EQ(result.status, 200) << path;
    EXPECT_EQ(json::parse(result.body).at(done).at(0), json::string{id}) << path;
  }

  /// Puts into each place of a queue so many tasks, named by the place and a number.
  void fill(const std::string& queue, int count) {
    GoProgram client{"client", redis()};
    const auto make = [&](const std::string& place, json::object task) {
      for (int i = 0; i < count; ++i) {
        task["type"] = "email";
        task["queue"] = queue;
        task["id"] = fmt::format("{}{}", place, i);
        client.ask(task);
      }
    };
    make("retry", {{"payload", "fail"}});
    make("archived", {{"payload", "skip_retry"}});
    make("completed", {{"retention_s", 3600}});
    {
      GoProgram server{"server", redis(), {"-queues", queue, "-retry-delay", "1h"}};
      for (const std::string state : {"retry", "archived", "completed"}) {
        for (int i = 0; i < count; ++i) EXPECT_TRUE(becomes(queue, fmt::format("{}{}", state, i), state));
      }
      server.stop();
    }
    make("pending", {});
    make("scheduled", {{"delay_ms", 3'600'000}});
    make("aggregating", {{"group", "grp"}});
  }
  /// The part of an address that stands for a place.
  static std::string place(const std::string& queue, const std::string& state) {
    return fmt::format("{}/{}{}_tasks", queue, state == "aggregating" ? "groups/grp/" : "", state);
  }

 private:
  std::optional<Asynqmon> page_;
};

TEST_F(AsynqmonPages, EveryEndpointAnswers) {
  GoProgram client{"client", redis()};
  client.ask({{"type", "email"}, {"payload", "p"}, {"queue", "waiting"}, {"id", "p"}});
  client.ask({{"type", "email"}, {"queue", "waiting"}, {"id", "s"}, {"delay_ms", 3'600'000}});
  client.ask({{"type", "email"}, {"queue", "waiting"}, {"id", "g"}, {"group", "grp"}});
  client.ask({{"type", "email"}, {"id", "a"}, {"payload", "sleep 600000"}});
  client.ask({{"type", "email"}, {"id", "r"}, {"payload", "fail"}});
  client.ask({{"type", "email"}, {"id", "x"}, {"payload", "skip_retry"}});
  client.ask({{"type", "email"}, {"id", "c"}, {"payload", "result 42"}, {"retention_s", 3600}});
  GoProgram server{"server", redis(), {"-queues", "default", "-concurrency", "4", "-retry-delay", "1h"}};
  GoProgram scheduler{"scheduler", redis()};
  const json::object entry = scheduler.ask({{"spec", "@every 1s"}, {"type", "email"}, {"queue", "waiting"}});
  const std::string entry_id{entry.at("entry").as_string()};
  scheduler.event("enqueued");
  server.event("start", "a");
  ASSERT_TRUE(becomes("default", "r", "retry"));
  ASSERT_TRUE(becomes("default", "x", "archived"));
  ASSERT_TRUE(becomes("default", "c", "completed"));
  ASSERT_TRUE(eventually([&] { return raw().exists("asynq:servers") && raw().exists("asynq:schedulers"); }));
  ASSERT_TRUE(
      eventually([&] { return raw().integer({"ZCARD", "asynq:scheduler_history:" + entry_id}) > 0; }));

  EXPECT_EQ(get("/api/queues").at("queues").as_array().size(), 2U);
  EXPECT_EQ(get("/api/queues/waiting").at("current").at("scheduled"), 1);
  EXPECT_EQ(get("/api/queues/default").at("history").as_array().size(), 10U);
  EXPECT_EQ(get("/api/queue_stats").at("stats").as_object().size(), 2U);
  const std::pair<const char*, const char*> places[] = {
      {"/api/queues/default/active_tasks", "a"},
      {"/api/queues/waiting/pending_tasks?size=20&page=1", "p"},
      {"/api/queues/waiting/scheduled_tasks", "s"},
      {"/api/queues/default/retry_tasks", "r"},
      {"/api/queues/default/archived_tasks", "x"},
      {"/api/queues/default/completed_tasks", "c"},
      {"/api/queues/waiting/groups/grp/aggregating_tasks", "g"},
  };
  for (const auto& [path, id] : places) {
    SCOPED_TRACE(path);
    const json::object page = get(path);
    ASSERT_FALSE(page.at("tasks").as_array().empty());
    EXPECT_EQ(page.at("tasks").at(0).at("id"), id);
  }
  EXPECT_EQ(get("/api/queues/waiting/groups").at("groups").as_array().size(), 1U);
  EXPECT_EQ(get("/api/queues/default/tasks/c").at("result"), "42");
  EXPECT_EQ(status("/api/queues/default/tasks/none"), 404);
  EXPECT_TRUE(eventually([&] {
    const json::object page = get("/api/servers");
    return page.at("servers").at(0).at("active_workers").as_array().size() == 1;
  })) << "a server reports its workers from time to time";
  EXPECT_EQ(get("/api/scheduler_entries").at("entries").at(0).at("id"), entry_id.c_str());
  EXPECT_FALSE(get("/api/scheduler_entries/" + entry_id + "/enqueue_events").at("events").as_array().empty());
  get("/api/redis_info");
  EXPECT_EQ(status("/metrics"), 200) << "for Prometheus";
  EXPECT_EQ(status("/"), 200) << "the page itself";
}

TEST_F(AsynqmonPages, EveryActOnOneTaskActs) {
  fill("q", 6);
  for (const std::string from : {"pending", "scheduled", "retry", "archived", "completed", "aggregating"}) {
    const std::string path = place("q", from);
    act("DELETE", fmt::format("{}/{}0", path, from));
    EXPECT_EQ(state("q", from + "0"), "") << path;
    batch(path + ":batch_delete", from + "1", "deleted_ids");
    EXPECT_EQ(state("q", from + "1"), "") << path;
  }
  for (const std::string from : {"scheduled", "retry", "archived", "aggregating"}) {
    const std::string path = place("q", from);
    act("POST", fmt::format("{}/{}2:run", path, from));
    EXPECT_EQ(state("q", from + "2"), "pending") << path;
    batch(path + ":batch_run", from + "3", "pending_ids");
    EXPECT_EQ(state("q", from + "3"), "pending") << path;
  }
  for (const std::string from : {"pending", "scheduled", "retry", "aggregating"}) {
    const std::string path = place("q", from);
    act("POST", fmt::format("{}/{}4:archive", path, from));
    EXPECT_EQ(state("q", from + "4"), "archived") << path;
    batch(path + ":batch_archive", from + "5", "archived_ids");
    EXPECT_EQ(state("q", from + "5"), "archived") << path;
  }
}

TEST_F(AsynqmonPages, EveryActOnAllTasksActs) {
  fill("runs", 1);
  for (const std::string from : {"scheduled", "retry", "archived", "aggregating"}) {
    act("POST", place("runs", from) + ":run_all");
    EXPECT_EQ(state("runs", from + "0"), "pending");
  }
  fill("archives", 1);
  for (const std::string from : {"pending", "scheduled", "retry", "aggregating"}) {
    act("POST", place("archives", from) + ":archive_all");
    EXPECT_EQ(state("archives", from + "0"), "archived");
  }
  fill("deletes", 1);
  for (const std::string from : {"pending", "scheduled", "retry", "archived", "completed", "aggregating"}) {
    act("DELETE", place("deletes", from) + ":delete_all");
    EXPECT_EQ(state("deletes", from + "0"), "");
  }
  act("POST", "deletes:pause");
  EXPECT_TRUE(raw().exists(key("deletes", "paused")));
  act("POST", "deletes:resume");
  EXPECT_FALSE(raw().exists(key("deletes", "paused")));
  act("DELETE", "deletes");
  EXPECT_EQ(raw().integer({"SISMEMBER", "asynq:queues", "deletes"}), 0);
}

TEST_F(AsynqmonPages, EveryWayToCancelCancels) {
  GoProgram client{"client", redis()};
  GoProgram server{"server", redis(), {"-concurrency", "3", "-retry-delay", "1h"}};
  for (const char* const id : {"a", "b", "c"}) {
    client.ask({{"type", "email"}, {"id", id}, {"payload", "sleep 600000"}});
    server.event("start", id);
  }
  ASSERT_TRUE(hears_cancels());
  act("POST", "default/active_tasks/a:cancel");
  EXPECT_TRUE(becomes("default", "a", "retry"));
  batch("default/active_tasks:batch_cancel", "b", "canceled_ids");
  EXPECT_TRUE(becomes("default", "b", "retry"));
  EXPECT_EQ(state("default", "c"), "active");
  act("POST", "default/active_tasks:cancel_all");
  EXPECT_TRUE(becomes("default", "c", "retry"));
}

}  // namespace
}  // namespace tidemill::testing
