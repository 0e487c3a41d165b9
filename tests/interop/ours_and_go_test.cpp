// Our clients and workers, and Go's, on the same queues.
#include <map>

#include <tidemill/error.hpp>

#include "ours.hpp"

namespace tidemill::testing {
namespace {

using namespace std::chrono_literals;

using GoClientOurWorker = OursAndGo;
using OurClientGoServer = OursAndGo;
using BothSides = OursAndGo;

/// What our client says for Asynq's Unique(1 h), with the key that is made from kind and payload.
EnqueueOptions unique(OnConflict on_conflict = OnConflict::keep) {
  return {.unique = Unique{.window = 1h, .on_conflict = on_conflict}};
}
const json::value go_unique = {{"type", "email"}, {"payload", "ok"}, {"unique_ms", 3'600'000}};

TEST_F(GoClientOurWorker, Immediate) {
  start_worker();
  GoProgram go{"client", redis()};
  const std::string id = go_enqueue(go, {{"type", "email:send"}, {"payload_base64", "AP+A/sMoAQ=="}});
  const Run run = run_of(id);
  EXPECT_EQ(run.task.kind, "email:send");
  EXPECT_EQ(run.task.payload, (std::string{"\0\xff\x80\xfe\xc3(\x01", 7}));
  EXPECT_TRUE(becomes("default", id, ""));
  EXPECT_EQ(raw().text({"GET", key("default", "processed")}), "1");
  EXPECT_FALSE(raw().exists(key("default", "failed")));
  EXPECT_FALSE(raw().exists(key("default", "active")));
  EXPECT_FALSE(raw().exists(key("default", "lease")));
}

TEST_F(GoClientOurWorker, Delayed) {
  start_worker();
  GoProgram go{"client", redis()};
  const std::string id =
      go_enqueue(go, {{"type", "email"}, {"id", "i"}, {"payload", "ok"}, {"delay_ms", 2'000}});
  const TimePoint due{std::chrono::seconds{std::stoll(raw().scores(key("default", "scheduled")).at("i"))}};
  EXPECT_GE(run_of(id).at, due);
  EXPECT_TRUE(becomes("default", id, ""));
}

TEST_F(GoClientOurWorker, OptionsArrive) {
  start_worker();
  GoProgram go{"client", redis()};
  const std::string id = go_enqueue(go, {{"type", "email"},
                                         {"payload", "ok"},
                                         {"max_retry", 3},
                                         {"timeout_s", 90},
                                         {"deadline", 4'102'444'800},
                                         {"headers", {{"a", "\u00e9"}, {"b", ""}}}});
  const Task task = run_of(id).task;
  EXPECT_EQ(task.headers, (std::map<std::string, std::string>{{"a", "\u00e9"}, {"b", ""}}));
  EXPECT_EQ(task.timeout, 90s);
  EXPECT_EQ(task.deadline, TimePoint{4'102'444'800s});
  EXPECT_EQ(task.retries_max, 3);
}

TEST_F(GoClientOurWorker, GoReadsTheResult) {
  start_worker();
  GoProgram go{"client", redis()};
  GoProgram inspect{"inspect", redis()};
  const std::string id =
      go_enqueue(go, {{"type", "email"}, {"payload", "result forty-two"}, {"retention_s", 3600}});
  ASSERT_TRUE(becomes("default", id, "completed"));
  const json::value task = inspect.inspect({"task", "default", json::string{id}});
  EXPECT_EQ(task.at("state"), "completed");
  EXPECT_EQ(task.at("result"), "forty-two");
  EXPECT_EQ(task.at("retention_s"), 3600);
  const std::int64_t completed = task.at("completed_at").as_int64();
  EXPECT_LE(completed, seconds_of(now()));
  const std::int64_t until = std::stoll(raw().scores(key("default", "completed")).at(id));
  EXPECT_GE(until, completed + 3600);
  EXPECT_LE(until, completed + 3601) << "we round up, so that nothing is gone too soon";
}

TEST_F(GoClientOurWorker, GoReadsAFailure) {
  start_worker();
  GoProgram go{"client", redis()};
  GoProgram inspect{"inspect", redis()};
  const std::string id =
      go_enqueue(go, {{"type", "email"}, {"payload", "fail by a \u00e9"}, {"max_retry", 3}});
  ASSERT_TRUE(becomes("default", id, "retry"));
  const json::value task = inspect.inspect({"task", "default", json::string{id}});
  EXPECT_EQ(task.at("state"), "retry");
  EXPECT_EQ(task.at("error"), "by a \u00e9");
  EXPECT_EQ(task.at("retried"), 1);
  EXPECT_EQ(task.at("max_retry"), 3);
  EXPECT_LE(task.at("last_failed_at").as_int64(), seconds_of(now()));
  EXPECT_GT(task.at("next_at").as_int64(), seconds_of(now() + 50min));
  const json::value queue = inspect.inspect({"queue", "default"});
  EXPECT_EQ(queue.at("retry"), 1);
  EXPECT_EQ(queue.at("processed"), 1);
  EXPECT_EQ(queue.at("failed"), 1);
  EXPECT_EQ(queue.at("processed_total"), 1);
  EXPECT_EQ(queue.at("failed_total"), 1);
}

TEST_F(GoClientOurWorker, GoReadsWhatHasNoRetryLeft) {
  start_worker();
  GoProgram go{"client", redis()};
  GoProgram inspect{"inspect", redis()};
  const std::string id = go_enqueue(go, {{"type", "email"}, {"payload", "fail twice"}, {"max_retry", 1}});
  ASSERT_TRUE(becomes("default", id, "retry"));
  inspect.inspect({"run", "default", json::string{id}});
  ASSERT_TRUE(becomes("default", id, "archived"));
  const json::value task = inspect.inspect({"list", "default", "archived"}).at(0);
  EXPECT_EQ(task.at("id"), json::string{id});
  EXPECT_EQ(task.at("error"), "twice");
  EXPECT_EQ(task.at("retried"), 1);
}

TEST_F(OurClientGoServer, Immediate) {
  GoProgram server{"server", redis()};
  const std::string id = client().enqueue("email:send", "result caf\u00e9", {.retention = 1h}).id;
  const json::object start = server.event("start", id);
  EXPECT_EQ(start.at("type"), "email:send");
  EXPECT_EQ(start.at("payload"), "result caf\u00e9");
  EXPECT_EQ(start.at("max_retry"), 25);
  ASSERT_TRUE(ours_becomes(id, State::completed));
  const Task task = inspector().task({"default", id}).value();
  EXPECT_EQ(task.result, "caf\u00e9");
  EXPECT_TRUE(task.ended_at.has_value());
}

TEST_F(OurClientGoServer, OptionsArrive) {
  GoProgram server{"server", redis()};
  const TimePoint before = now();
  const std::string id =
      enqueue("ok", {.retries_max = 3, .timeout = 1h, .headers = {{"a", "\u00e9"}, {"b", ""}}});
  const json::object start = server.event("start", id);
  EXPECT_EQ(start.at("headers"), (json::value{{"a", "\u00e9"}, {"b", ""}}));
  EXPECT_EQ(start.at("max_retry"), 3);
  EXPECT_GE(start.at("deadline").as_int64(), seconds_of(before + 1h));
  EXPECT_LE(start.at("deadline").as_int64(), seconds_of(now() + 1h));
}

// In a paused queue Go's server makes tasks pending, and says when in the hash, but does not run them.
TEST_F(OurClientGoServer, DelayedAndNeverEarly) {
  inspector().pause("default");
  GoProgram server{"server", redis()};
  const TimePoint before = now();
  const std::string id = enqueue("ok", {.delay = 1500ms});
  EXPECT_EQ(state("default", id), "scheduled");
  ASSERT_TRUE(becomes("default", id, "pending"));
  const std::chrono::nanoseconds at{
      std::stoll(raw().text({"HGET", task_key("default", id), "pending_since"}))};
  EXPECT_GE(at, before.time_since_epoch() + 1500ms);
  inspector().resume("default");
  server.event("end", id);
  EXPECT_TRUE(becomes("default", id, ""));
}

TEST_F(OurClientGoServer, GoRefusesASecondOfOurUniqueTask) {
  GoProgram go{"client", redis()};
  const std::string id = enqueue("ok", unique());
  EXPECT_EQ(go.ask(go_unique).at("error"), "task already exists");
  GoProgram server{"server", redis()};
  EXPECT_TRUE(becomes("default", id, ""));
  EXPECT_NE(go_enqueue(go, go_unique), id) << "Go's server has given the lock back";
}

TEST_F(OurClientGoServer, WithoutAWindowTheLockLastsAsLongAsTheTask) {
  GoProgram go{"client", redis()};
  const std::string id = enqueue("ok", {.unique = Unique{}});
  EXPECT_EQ(go.ask(go_unique).at("error"), "task already exists");
  GoProgram server{"server", redis()};
  EXPECT_TRUE(becomes("default", id, ""));
  EXPECT_NE(go_enqueue(go, go_unique), id);
}

TEST_F(GoClientOurWorker, WeRefuseASecondOfGosUniqueTask) {
  GoProgram go{"client", redis()};
  const std::string id = go_enqueue(go, go_unique);
  const tidemill::Enqueued second = client().enqueue("email", "ok", unique());
  EXPECT_EQ(second.put, Put::exists);
  EXPECT_EQ(second.id, id);
  EXPECT_THROW(client().enqueue("email", "ok", unique(OnConflict::reject)), Error);
  start_worker();
  EXPECT_TRUE(becomes("default", id, ""));
  EXPECT_EQ(client().enqueue("email", "ok", unique()).put, Put::created)
      << "our worker has given the lock back";
}

TEST_F(BothSides, EachTaskRunsOnce) {
  constexpr int of_each = 250;
  start_worker();
  std::map<std::string, int> times;
  // Our worker runs one before Go's server starts, and waits at the gate for that to run one too.
  times[enqueue("gate")] = 0;
  ASSERT_TRUE(eventually([&] { return !runs().empty(); }));
  GoProgram go{"client", redis()};
  GoProgram server{"server", redis(), {"-concurrency", "4"}};
  for (int i = 0; i < of_each; ++i) {
    go.send({{"type", "email"}, {"payload", "gate"}});
    times[enqueue("gate")] = 0;
  }
  for (int i = 0; i < of_each; ++i) times[std::string{go.line().at("id").as_string()}] = 0;
  server.event("start");
  gate().open();
  const auto processed = [&] { return raw().exec({"GET", key("default", "processed")}).text; };
  const std::string all = fmt::format("{}", times.size());
  ASSERT_TRUE(eventually([&] { return processed() == all; })) << processed();
  EXPECT_FALSE(raw().exists(key("default", "pending")));
  EXPECT_FALSE(raw().exists(key("default", "active")));
  EXPECT_FALSE(raw().exists(key("default", "lease")));
  EXPECT_FALSE(raw().exists(key("default", "failed")));
  EXPECT_EQ(server.stop(), 0);

  for (const Run& run : runs()) ++times[run.task.ref.id];
  std::size_t gos = 1;  // The one that opened the gate.
  for (json::object line = server.line(); line.at("event") != "stopped"; line = server.line()) {
    if (line.at("event") != "start") continue;
    ++times[std::string{line.at("id").as_string()}];
    ++gos;
  }
  EXPECT_EQ(runs().size() + gos, times.size());
  std::size_t more = 0;
  for (const auto& [id, count] : times) more += count > 1 ? 1U : 0U;
  EXPECT_EQ(more, 0U);
}

}  // namespace
}  // namespace tidemill::testing
