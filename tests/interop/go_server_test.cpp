// Go's server runs what our codec has written, and what the server writes our codec reads.
#include "fixture.hpp"

namespace tidemill::testing {
namespace {

using namespace std::chrono_literals;
using redis_store::TaskMessage;

class GoServer : public Interop {
 protected:
  /// As a client enqueues a task to run at once.
  void enqueue(const TaskMessage& message) {
    raw().integer({"SADD", "asynq:queues", message.queue});
    raw().integer({"HSET", task_key(message.queue, message.id), "msg", encode(message), "state", "pending",
                   "pending_since", "1700000000000000000"});
    raw().integer({"LPUSH", key(message.queue, "pending"), message.id});
  }
  static TaskMessage task(std::string payload) {
    return {.type = "email",
            .payload = std::move(payload),
            .id = "i",
            .queue = "default",
            .max_retry = 3,
            .timeout = 30min};
  }
};

TEST_F(GoServer, RunsWhatWeWrite) {
  GoProgram server{"server", redis()};
  TaskMessage message = task("ok");
  message.retried = 2;
  message.deadline = TimePoint{4'102'444'800s};
  message.timeout = 0s;
  message.headers = {{"a", "1"}, {"b", ""}};
  enqueue(message);
  EXPECT_EQ(json::value(server.event("start", "i")), (json::value{{"event", "start"},
                                                                  {"id", "i"},
                                                                  {"queue", "default"},
                                                                  {"type", "email"},
                                                                  {"payload", "ok"},
                                                                  {"headers", {{"a", "1"}, {"b", ""}}},
                                                                  {"retried", 2},
                                                                  {"max_retry", 3},
                                                                  {"deadline", 4'102'444'800}}));
  EXPECT_FALSE(server.event("end", "i").contains("error"));
  EXPECT_TRUE(becomes("default", "i", ""));
  EXPECT_EQ(raw().text({"GET", key("default", "processed")}), "1");
  EXPECT_EQ(server.stop(), 0);
}

TEST_F(GoServer, RunsTextsThatWeHadToRepair) {
  GoProgram server{"server", redis()};
  TaskMessage message = task("\xff\xfe any bytes");
  message.type = "caf\xe9";
  message.error = "\x80";
  enqueue(message);
  EXPECT_EQ(server.event("start", "i").at("type"), "caf\uFFFD");
  EXPECT_TRUE(becomes("default", "i", ""));
}

TEST_F(GoServer, GivesALockBack) {
  GoProgram server{"server", redis()};
  TaskMessage message = task("ok");
  message.unique_key = key("default", "unique:email:my own");
  raw().exec({"SET", message.unique_key, "i"});
  enqueue(message);
  EXPECT_TRUE(becomes("default", "i", ""));
  EXPECT_FALSE(raw().exists(message.unique_key));
}

TEST_F(GoServer, KeepsAResult) {
  GoProgram server{"server", redis()};
  TaskMessage wanted = task("result forty-two");
  wanted.retention = 1h;
  wanted.headers = {{"k", "v"}};
  enqueue(wanted);
  ASSERT_TRUE(becomes("default", "i", "completed"));
  const TaskMessage completed = message("default", "i");
  ASSERT_TRUE(completed.completed_at.has_value());
  EXPECT_EQ(raw().scores(key("default", "completed")),
            (Hash{{"i", fmt::format("{}", seconds_of(*completed.completed_at + 1h))}}));
  EXPECT_EQ(raw().text({"HGET", task_key("default", "i"), "result"}), "forty-two");
  wanted.completed_at = completed.completed_at;
  EXPECT_EQ(completed, wanted);
}

TEST_F(GoServer, NotesAFailure) {
  GoProgram server{"server", redis(), {"-retry-delay", "1h"}};
  TaskMessage wanted = task("fail with a \u00e9");
  enqueue(wanted);
  ASSERT_TRUE(becomes("default", "i", "retry"));
  const TaskMessage failed = message("default", "i");
  ASSERT_TRUE(failed.last_failed_at.has_value());
  wanted.last_failed_at = failed.last_failed_at;
  wanted.retried = 1;
  wanted.error = "failed with a \u00e9";
  EXPECT_EQ(failed, wanted);
}

TEST_F(GoServer, ArchivesWhatIsNotToBeTriedAgain) {
  GoProgram server{"server", redis()};
  enqueue(task("skip_retry"));
  ASSERT_TRUE(becomes("default", "i", "archived"));
  EXPECT_EQ(message("default", "i").retried, 0);
  EXPECT_EQ(message("default", "i").error, "no use: skip retry for the task");
}

TEST_F(GoServer, AggregatesAGroupThatWeFilled) {
  GoProgram server{"server", redis(), {"-groups", "-group-max-size", "2"}};
  raw().integer({"SADD", "asynq:queues", "default"});
  for (const char* const id : {"a", "b"}) {
    TaskMessage message = task(id);
    message.id = id;
    message.group = "g";
    raw().integer(
        {"HSET", task_key("default", id), "msg", encode(message), "state", "aggregating", "group", "g"});
    raw().integer({"ZADD", key("default", "g:g"), fmt::format("{}", seconds_of(now())), id});
    raw().integer({"SADD", key("default", "groups"), "g"});
  }
  EXPECT_EQ(server.event("aggregate").at("count"), 2);
  EXPECT_EQ(server.event("start").at("payload"), "a\nb");
  EXPECT_TRUE(becomes("default", "a", ""));
}

TEST_F(GoServer, ItsReportsAreReadByUs) {
  GoProgram server{"server", redis(), {"-queues", "default=3,low", "-concurrency", "7", "-strict"}};
  TaskMessage message = task("sleep 600000");
  message.timeout = 10min;
  const TimePoint before = now();
  enqueue(message);
  server.event("start", "i");
  ASSERT_TRUE(eventually([&] {
    const Hash keys = raw().scores("asynq:workers");
    return keys.size() == 1 && raw().hash(keys.begin()->first).size() == 1;
  }));
  const TimePoint after = now();

  const std::string server_key = raw().scores("asynq:servers").begin()->first;
  const auto info = redis_store::decode_server(raw().text({"GET", server_key})).value();
  EXPECT_EQ(server_key, fmt::format("asynq:servers:{{{}:{}:{}}}", info.host, info.pid, info.server_id));
  EXPECT_EQ(info.pid, server.pid());
  EXPECT_EQ(info.concurrency, 7);
  EXPECT_EQ(info.queues, (std::map<std::string, std::int32_t>{{"default", 3}, {"low", 1}}));
  EXPECT_TRUE(info.strict_priority);
  EXPECT_EQ(info.status, "active");
  EXPECT_EQ(info.active_workers, 1);
  EXPECT_LT(info.started_at, after);

  const Hash workers = raw().hash(raw().scores("asynq:workers").begin()->first);
  const auto worker = redis_store::decode_worker(workers.at("i")).value();
  EXPECT_EQ(worker.host, info.host);
  EXPECT_EQ(worker.pid, info.pid);
  EXPECT_EQ(worker.server_id, info.server_id);
  EXPECT_EQ(worker.task_id, "i");
  EXPECT_EQ(worker.task_type, "email");
  EXPECT_EQ(worker.task_payload, "sleep 600000");
  EXPECT_EQ(worker.queue, "default");
  EXPECT_GE(worker.started_at, before);
  EXPECT_LT(worker.started_at, after);
  EXPECT_GE(worker.deadline, before + 10min);
  EXPECT_LT(worker.deadline, after + 10min);
}

}  // namespace
}  // namespace tidemill::testing
