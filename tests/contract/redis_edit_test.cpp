// Edits and moves in Redis: what Go finds in its messages afterwards, and moves that broke off half-way.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include <fmt/format.h>

#include <tidemill/client.hpp>
#include <tidemill/error.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/store.hpp>

#include "drivers/redis/client.hpp"
#include "redis_cluster.hpp"
#include "redis_server.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/message.hpp"

namespace tidemill {

namespace {

using namespace std::chrono_literals;
using redis_store::held_score;
using redis_store::TaskMessage;
using tidemill::testing::RedisCluster;
using tidemill::testing::RedisServer;

class RedisEditTest : public ::testing::Test {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_REDIS();
    server_.emplace();
    redis_.emplace(redis::Options{.addresses = {server_->address()}});
    store_ = open(server_->url());
    client_.emplace(*store_);
    inspector_.emplace(*store_);
  }

  redis::Reply ask(std::string_view name, const std::vector<std::string>& arguments) {
    redis::Command command{name};
    for (const std::string& argument : arguments) command.add(argument);
    return redis_->exec(command);
  }
  TaskMessage message(const std::string& id, const std::string& queue = "q") {
    const auto found = redis_store::decode_task(ask("HGET", {redis_store::task_key(queue, id), "msg"}).text);
    EXPECT_TRUE(found);
    return found.value_or(TaskMessage{});
  }
  std::vector<Lease> claim(std::string_view queue = "q") {
    const Want want{queue, 10};
    return store_
        ->claim({.worker = "w", .wants = {&want, 1}, .count_max = 10, .lease = 25s}, {.now = store_->now()})
        .leases;
  }
  State state_of(const std::string& id, const std::string& queue) {
    const auto found = inspector_->task({queue, id});
    return found ? found->state : State::gone;
  }
  std::string reason_of(const std::string& id, const std::string& queue) {
    const auto found = inspector_->task({queue, id});
    return found ? found->reason : "gone";
  }
  Changed move(const std::string& id) { return inspector_->act(Action::move("other"), Ref{"q", id}); }

  /// As a move to "other" leaves a pending task behind that goes no further.
  void depart(const std::string& id) {
    client_->enqueue("kind", "payload", {.queue = "q", .id = id, .unique = Unique{.key = "key"}});
    ask("LREM", {"asynq:{q}:pending", "1", id});
    ask("HDEL", {"asynq:{q}:t:" + id, "pending_since"});
    ask("HSET", {"asynq:{q}:t:" + id, "state", "scheduled", "v", ">pending:0:1:a-1:other"});
    ask("ZADD", {"asynq:{q}:scheduled", std::to_string(held_score), id});
  }
  /// And as it leaves it in "other".
  void arrive(const std::string& id) {
    client_->enqueue("kind", "payload", {.queue = "other", .id = id, .unique = Unique{.key = "key"}});
    ask("LREM", {"asynq:{other}:pending", "1", id});
    ask("HDEL", {"asynq:{other}:t:" + id, "pending_since"});
    ask("HSET", {"asynq:{other}:t:" + id, "state", "scheduled", "v", "<pending:0:1:a-1:q"});
    ask("ZADD", {"asynq:{other}:scheduled", std::to_string(held_score), id});
  }
  void expect_moved(const std::string& id) {
    EXPECT_EQ(state_of(id, "q"), State::gone);
    EXPECT_EQ(state_of(id, "other"), State::pending);
    EXPECT_EQ(ask("EXISTS", {"asynq:{q}:unique:key", "asynq:{q}:t:" + id}).integer, 0);
    EXPECT_EQ(ask("ZCARD", {"asynq:{q}:scheduled"}).integer, 0);
    EXPECT_EQ(ask("ZCARD", {"asynq:{other}:scheduled"}).integer, 0);
    EXPECT_EQ(ask("GET", {"asynq:{other}:unique:key"}).text, id);
    EXPECT_EQ(ask("HEXISTS", {"asynq:{other}:t:" + id, "v"}).integer, 0);
    EXPECT_EQ(message(id, "other").queue, "other");
    const auto leases = claim("other");
    ASSERT_EQ(leases.size(), 1U);
    EXPECT_EQ(leases[0].task.ref.id, id);
  }

  std::optional<RedisServer> server_;
  std::optional<redis::Client> redis_;
  std::unique_ptr<Store> store_;
  std::optional<Client> client_;
  std::optional<Inspector> inspector_;
};

// Why: Go's tools show, and its workers run, what the message says. How: edit all of it, and decode that.
TEST_F(RedisEditTest, GoFindsTheEditInTheMessage) {
  client_->enqueue("kind", "payload", {.queue = "q", .id = "a", .unique = Unique{}});
  const std::string lock = message("a").unique_key;
  EXPECT_EQ(ask("GET", {lock}).text, "a");
  const auto change = [](NewTask& task) {
    task.kind = "other";
    task.payload = std::string{"\0\xff", 2};
    task.options.headers = {{"h", "1"}};
    task.options.retries_max = 3;
    task.options.timeout = 90s;
    task.options.retention = 1500ms;
    task.options.deadline = TimePoint{std::chrono::sys_days{std::chrono::year{2100} / 1 / 1}};
  };
  EXPECT_EQ(inspector_->edit({"q", "a"}, change), Changed::changed);
  const TaskMessage after = message("a");
  EXPECT_EQ(after.id, "a");
  EXPECT_EQ(after.queue, "q");
  EXPECT_EQ(after.type, "other");
  EXPECT_EQ(after.payload, (std::string{"\0\xff", 2}));
  EXPECT_EQ(after.headers, (std::map<std::string, std::string>{{"h", "1"}}));
  EXPECT_EQ(after.max_retry, 3);
  EXPECT_EQ(after.timeout, 90s);
  EXPECT_EQ(after.retention, 2s) << "up to the second, so that Go keeps it long enough";
  EXPECT_EQ(after.deadline, TimePoint{std::chrono::sys_days{std::chrono::year{2100} / 1 / 1}});
  // Asynq's own lock of the new kind and payload, which Go's producers and workers look for.
  EXPECT_EQ(after.unique_key, "asynq:{q}:unique:other:d07d34efac6328007ad67c7e0a985e00");
  EXPECT_EQ(ask("GET", {after.unique_key}).text, "a");
  EXPECT_EQ(ask("HGET", {"asynq:{q}:t:a", "unique_key"}).text, after.unique_key);
  EXPECT_EQ(ask("EXISTS", {lock}).integer, 0);
  EXPECT_EQ(ask("HGET", {"asynq:{q}:t:a", "state"}).text, "pending");
}

// Why: what Go has written of a failure is still there after an edit. How: a message as Go's retry leaves it.
TEST_F(RedisEditTest, WhatGoWroteStays) {
  TaskMessage failed{.type = "kind",
                     .payload = "p",
                     .id = "a",
                     .queue = "q",
                     .max_retry = 25,
                     .retried = 4,
                     .error = "refused",
                     .timeout = 1800s,
                     .last_failed_at = TimePoint{1700000000s}};
  ask("HSET", {"asynq:{q}:t:a", "msg", encode(failed), "state", "retry"});
  ask("ZADD", {"asynq:{q}:retry", "1900000000", "a"});
  ask("SADD", {"asynq:queues", "q"});
  const auto change = [](NewTask& task) { task.payload = "new"; };
  EXPECT_EQ(inspector_->edit({"q", "a"}, change), Changed::changed);
  failed.payload = "new";
  EXPECT_EQ(message("a"), failed);
  EXPECT_EQ(ask("ZSCORE", {"asynq:{q}:retry", "a"}).text, "1900000000");
}

// Why: a message that Go can't read harms all of its queues. How: bytes in a kind, and a brace in a queue.
TEST_F(RedisEditTest, WhatGoCannotReadIsRefused) {
  client_->enqueue("kind", "payload", {.queue = "q", .id = "a"});
  EXPECT_THROW(inspector_->edit({"q", "a"}, [](NewTask& task) { task.kind = "\xff"; }), Error);
  EXPECT_EQ(message("a").type, "kind");
  EXPECT_THROW(inspector_->act(Action::move("a{b"), Ref{"q", "a"}), Error);
  EXPECT_EQ(state_of("a", "q"), State::pending);
}

// Why: Go finds a moved task in its new queue, as if it had always been there. How: one in retry; the sets,
// the message and the list of queues.
TEST_F(RedisEditTest, GoFindsAMovedTask) {
  client_->enqueue("kind", "payload", {.queue = "q", .id = "a", .unique = Unique{.window = 1h}});
  const auto leases = claim();
  ASSERT_EQ(leases.size(), 1U);
  Report report{.lease = &leases[0], .to = State::retry, .delay = 1h, .retries = 1, .record = true};
  report.attempt = 1;
  report.error = "refused";
  ASSERT_EQ(store_->report({&report, 1}, {.now = store_->now()}).at(0), Reported::applied);
  const TaskMessage before = message("a");
  const std::string score = ask("ZSCORE", {"asynq:{q}:retry", "a"}).text;
  EXPECT_EQ(move("a"), Changed::changed);
  TaskMessage wanted = before;
  wanted.queue = "other";
  wanted.unique_key.replace(wanted.unique_key.find("{q}"), 3, "{other}");
  EXPECT_EQ(message("a", "other"), wanted);
  EXPECT_EQ(ask("ZSCORE", {"asynq:{other}:retry", "a"}).text, score);
  EXPECT_EQ(ask("HGET", {"asynq:{other}:t:a", "state"}).text, "retry");
  EXPECT_EQ(ask("SISMEMBER", {"asynq:queues", "other"}).integer, 1);
  EXPECT_GT(ask("TTL", {wanted.unique_key}).integer, 3590);
  EXPECT_EQ(ask("EXISTS", {before.unique_key, "asynq:{q}:t:a"}).integer, 0);
}

// Why: a mover may die at any point, and a repeat brings the task home. How: what it leaves behind after each
// step; nobody can claim it there.
TEST_F(RedisEditTest, ARepeatedMoveEndsWhatBrokeOff) {
  depart("a");
  EXPECT_EQ(state_of("a", "q"), State::held);
  EXPECT_EQ(reason_of("a", "q"), "moving to other");
  EXPECT_TRUE(claim().empty());
  EXPECT_EQ(move("a"), Changed::changed);
  expect_moved("a");

  ask("FLUSHALL", {});
  depart("b");
  arrive("b");
  EXPECT_EQ(reason_of("b", "other"), "moving from q");
  EXPECT_TRUE(claim().empty());
  EXPECT_TRUE(claim("other").empty());
  EXPECT_EQ(move("b"), Changed::changed);
  expect_moved("b");

  ask("FLUSHALL", {});
  arrive("c");
  EXPECT_TRUE(claim("other").empty());
  EXPECT_EQ(move("c"), Changed::changed);
  expect_moved("c");
}

// Why: an operator who wants it back where it was resumes it there; the other half can't run. How: after each
// of the first two steps; then the move anew.
TEST_F(RedisEditTest, AMoveThatBrokeOffIsTakenBackByResume) {
  depart("a");
  arrive("a");
  EXPECT_EQ(inspector_->act(Act::resume, Ref{"q", "a"}), Changed::changed);
  EXPECT_EQ(state_of("a", "q"), State::pending);
  EXPECT_EQ(state_of("a", "other"), State::held);
  EXPECT_EQ(ask("HEXISTS", {"asynq:{q}:t:a", "v"}).integer, 0);
  EXPECT_EQ(inspector_->act(Action::move("third"), Ref{"other", "a"}), Changed::wrong_state);
  EXPECT_EQ(move("a"), Changed::changed);
  expect_moved("a");
}

// Why: one that can't come after all goes back to its state. How: another task has taken the id meanwhile.
TEST_F(RedisEditTest, AMoveThatBrokeOffAndCannotEndIsUndone) {
  depart("a");
  client_->enqueue("kind", "another", {.queue = "other", .id = "a"});
  EXPECT_EQ(move("a"), Changed::exists);
  EXPECT_EQ(state_of("a", "q"), State::pending);
  EXPECT_EQ(claim().size(), 1U);
  EXPECT_EQ(inspector_->task({"other", "a"})->payload, "another");
}

// Why: pages are places in Redis's lists, which shift as tasks leave them. How: many in small steps, out of
// each kind of list.
TEST_F(RedisEditTest, ABulkActMeetsAllThatMatch) {
  for (int i = 0; i < 90; ++i) {
    client_->enqueue("kind", "payload",
                     {.queue = "q", .delay = i % 3 == 0 ? Duration{1h} : Duration{}, .held = i % 3 == 1});
  }
  EXPECT_EQ(inspector_->act(Action::reschedule(inspector_->now() + 2h), Filter{}, 10).changed, 90U);
  EXPECT_EQ(inspector_->act(Action::move("other"), Filter{.queue = "q"}, 10).changed, 90U);
  EXPECT_EQ(inspector_->act(Act::run, Filter{}, 10).changed, 90U);
  EXPECT_EQ(inspector_->act(Act::archive, Filter{}, 10).changed, 90U);
  EXPECT_EQ(inspector_->act(Act::erase, Filter{.states = State::archived}, 10).changed, 90U);
}

// Why: queues are on different nodes of a cluster. How: tasks of many queues into many others, with keys.
TEST(RedisClusterMoveTest, TasksMoveFromNodeToNode) {
  TIDEMILL_NEEDS_REDIS();
  const RedisCluster cluster;
  const auto store = open(cluster.url());
  Client client{*store};
  Inspector inspector{*store};
  for (int i = 0; i < 20; ++i) {
    const std::string id = fmt::format("t{}", i);
    const std::string from = fmt::format("from{}", i % 5);
    const std::string to = fmt::format("to{}", i % 4);
    client.enqueue("kind", "payload", {.queue = from, .id = id, .unique = Unique{.key = id}});
    EXPECT_EQ(inspector.act(Action::move(to), Ref{from, id}), Changed::changed);
    EXPECT_FALSE(inspector.task({from, id}));
    const auto moved = inspector.task({to, id});
    ASSERT_TRUE(moved);
    EXPECT_EQ(moved->state, State::pending);
    EXPECT_EQ(moved->unique->key, id);
    EXPECT_EQ(inspector.edit({to, id}, [](NewTask& task) { task.payload = "new"; }), Changed::changed);
    EXPECT_EQ(inspector.task({to, id})->payload, "new");
  }
}

}  // namespace

}  // namespace tidemill
