// What Go's client leaves in Redis is what our format says it is: bytes, keys, states and scores.
#include "fixture.hpp"
#include "stores/redis/go_text.hpp"

namespace tidemill::testing {
namespace {

using namespace std::chrono_literals;
using redis_store::TaskMessage;

class GoClient : public Interop {
 protected:
  struct Enqueued {
    std::string id;
    TimePoint before, after;
  };

  /// Go enqueues the task; the times are those around it.
  Enqueued enqueue(const json::value& task) {
    if (!client_) client_.emplace("client", redis());
    Enqueued done;
    done.before = now();
    const json::object answer = client_->ask(task);
    done.after = now();
    if (!answer.contains("id")) throw std::runtime_error{json::serialize(answer)};
    done.id = answer.at("id").as_string();
    return done;
  }
  std::string refusal(const json::value& task) {
    return std::string{client_->ask(task).at("error").as_string()};
  }

  /// Our codec reads this message in the task's hash, and writes the same bytes.
  void expect_message(const TaskMessage& wanted) {
    const std::string bytes = raw().text({"HGET", task_key(wanted.queue, wanted.id), "msg"});
    EXPECT_EQ(redis_store::decode_task(bytes), wanted);
    EXPECT_EQ(redis_store::encode(wanted), bytes);
  }
  /// The hash has these fields, beside `msg`.
  void expect_hash(const std::string& queue, const std::string& id, Hash wanted) {
    Hash hash = raw().hash(task_key(queue, id));
    EXPECT_EQ(hash.erase("msg"), 1U);
    EXPECT_EQ(hash, wanted);
  }
  static void expect_between(std::int64_t value, std::int64_t least, std::int64_t most) {
    EXPECT_GE(value, least);
    EXPECT_LE(value, most);
  }
  /// The id is the one member, scored with a second of the enqueueing or so much later.
  void expect_scored(const std::string& set, const Enqueued& task, Duration later) {
    const Hash scores = raw().scores(set);
    ASSERT_EQ(scores.size(), 1U);
    EXPECT_EQ(scores.begin()->first, task.id);
    expect_between(std::stoll(scores.begin()->second), seconds_of(task.before + later),
                   seconds_of(task.after + later));
  }

  static TaskMessage plain(const Enqueued& task) {
    return {.type = "email",
            .payload = "p",
            .id = task.id,
            .queue = "default",
            .max_retry = 25,
            .timeout = 30min};
  }

 private:
  std::optional<GoProgram> client_;
};

TEST_F(GoClient, Immediate) {
  const Enqueued task = enqueue({{"type", "email"}, {"payload", "p"}});
  expect_message(plain(task));
  Hash hash = raw().hash(task_key("default", task.id));
  EXPECT_EQ(hash["state"], "pending");
  expect_between(std::stoll(hash["pending_since"]),
                 std::chrono::nanoseconds{task.before.time_since_epoch()}.count(),
                 std::chrono::nanoseconds{task.after.time_since_epoch() + 1us}.count());
  EXPECT_EQ(hash.size(), 3U);
  EXPECT_EQ(raw().list(key("default", "pending")), std::vector{task.id});
  EXPECT_EQ(raw().texts({"SMEMBERS", "asynq:queues"}), std::vector<std::string>{"default"});
  EXPECT_EQ(raw().integer({"TTL", task_key("default", task.id)}), -1);
}

TEST_F(GoClient, ANewTaskIsPutToTheLeft) {
  const Enqueued first = enqueue({{"type", "email"}});
  const Enqueued second = enqueue({{"type", "email"}});
  EXPECT_EQ(raw().list(key("default", "pending")), (std::vector{second.id, first.id}));
}

TEST_F(GoClient, AllBytesOfAPayload) {
  const Enqueued task = enqueue({{"type", "email"}, {"payload_base64", "AP+A/sMoAQ=="}});
  TaskMessage wanted = plain(task);
  wanted.payload = std::string{"\0\xff\x80\xfe\xc3(\x01", 7};
  expect_message(wanted);
}

TEST_F(GoClient, Options) {
  const Enqueued task = enqueue({{"type", "email"},
                                 {"payload", "p"},
                                 {"queue", "low: {not}"},
                                 {"id", "my id \u00e9"},
                                 {"max_retry", 3},
                                 {"timeout_s", 90},
                                 {"deadline", 4'102'444'800},
                                 {"retention_s", 3600},
                                 {"headers", {{"k", "v"}}}});
  expect_message({.type = "email",
                  .payload = "p",
                  .id = "my id \u00e9",
                  .queue = "low: {not}",
                  .max_retry = 3,
                  .timeout = 90s,
                  .deadline = TimePoint{4'102'444'800s},
                  .retention = 1h,
                  .headers = {{"k", "v"}}});
  EXPECT_EQ(state("low: {not}", task.id), "pending");
}

TEST_F(GoClient, ADeadlineTakesThePlaceOfTheTimeout) {
  const Enqueued task =
      enqueue({{"type", "email"}, {"payload", "p"}, {"max_retry", 0}, {"deadline", 4'102'444'800}});
  TaskMessage wanted = plain(task);
  wanted.max_retry = 0;
  wanted.timeout = 0s;
  wanted.deadline = TimePoint{4'102'444'800s};
  expect_message(wanted);
}

TEST_F(GoClient, ManyHeaders) {
  const Enqueued task = enqueue(
      {{"type", "email"}, {"payload", "p"}, {"headers", {{"", ""}, {"a", "\u00e9"}, {"b", ""}, {"c", "3"}}}});
  TaskMessage wanted = plain(task);
  wanted.headers = {{"", ""}, {"a", "\u00e9"}, {"b", ""}, {"c", "3"}};
  EXPECT_EQ(message("default", task.id), wanted);
}

TEST_F(GoClient, Delayed) {
  const Enqueued task = enqueue({{"type", "email"}, {"payload", "p"}, {"delay_ms", 3'600'000}});
  expect_message(plain(task));
  expect_hash("default", task.id, {{"state", "scheduled"}});
  expect_scored(key("default", "scheduled"), task, 1h);
  EXPECT_FALSE(raw().exists(key("default", "pending")));
}

TEST_F(GoClient, Unique) {
  const json::value request = {{"type", "email"}, {"payload", "p"}, {"unique_ms", 60'500}};
  const Enqueued task = enqueue(request);
  const std::string lock = redis_store::unique_key("default", "email", "p");
  TaskMessage wanted = plain(task);
  wanted.unique_key = lock;
  expect_message(wanted);
  EXPECT_EQ(raw().text({"HGET", task_key("default", task.id), "unique_key"}), lock);
  EXPECT_EQ(raw().text({"GET", lock}), task.id);
  expect_between(raw().integer({"TTL", lock}), 30, 60);
  EXPECT_EQ(refusal(request), "task already exists");
}

TEST_F(GoClient, UniqueWithoutAPayloadAndWithAnEmptyOne) {
  const Enqueued none = enqueue({{"type", "email"}, {"unique_ms", 60'000}});
  const Enqueued empty = enqueue({{"type", "email"}, {"payload", ""}, {"unique_ms", 60'000}});
  EXPECT_EQ(message("default", none.id).unique_key, redis_store::unique_key("default", "email", {}));
  EXPECT_EQ(message("default", empty.id).unique_key, redis_store::unique_key("default", "email", ""));
}

TEST_F(GoClient, DelayedAndUnique) {
  const Enqueued task =
      enqueue({{"type", "email"}, {"payload", "p"}, {"delay_ms", 3'600'000}, {"unique_ms", 60'000}});
  const std::string lock = redis_store::unique_key("default", "email", "p");
  expect_hash("default", task.id, {{"state", "scheduled"}, {"unique_key", lock}});
  expect_scored(key("default", "scheduled"), task, 1h);
  EXPECT_EQ(raw().text({"GET", lock}), task.id);
  expect_between(raw().integer({"TTL", lock}), 3'600, 3'660);
}

TEST_F(GoClient, Grouped) {
  const Enqueued task = enqueue({{"type", "email"}, {"payload", "p"}, {"group", "a:b"}});
  TaskMessage wanted = plain(task);
  wanted.group = "a:b";
  expect_message(wanted);
  expect_hash("default", task.id, {{"state", "aggregating"}, {"group", "a:b"}});
  expect_scored(key("default", "g:a:b"), task, 0s);
  EXPECT_EQ(raw().texts({"SMEMBERS", key("default", "groups")}), std::vector<std::string>{"a:b"});
  EXPECT_FALSE(raw().exists(key("default", "pending")));
}

TEST_F(GoClient, GroupedAndUnique) {
  const Enqueued task = enqueue({{"type", "email"}, {"payload", "p"}, {"group", "g"}, {"unique_ms", 60'000}});
  const std::string lock = redis_store::unique_key("default", "email", "p");
  EXPECT_EQ(message("default", task.id).unique_key, lock);
  expect_hash("default", task.id, {{"state", "aggregating"}, {"group", "g"}});
  EXPECT_EQ(raw().text({"GET", lock}), task.id);
}

TEST_F(GoClient, GroupedAndDelayedIsOnlyDelayed) {
  const Enqueued task =
      enqueue({{"type", "email"}, {"payload", "p"}, {"group", "g"}, {"delay_ms", 3'600'000}});
  EXPECT_EQ(message("default", task.id).group, "g");
  expect_hash("default", task.id, {{"state", "scheduled"}});
  EXPECT_FALSE(raw().exists(key("default", "groups")));
}

TEST_F(GoClient, AnIdIsTakenOnce) {
  enqueue({{"type", "email"}, {"id", "x"}});
  EXPECT_EQ(refusal({{"type", "other"}, {"id", "x"}}), "task ID conflicts with another task");
}

}  // namespace
}  // namespace tidemill::testing
