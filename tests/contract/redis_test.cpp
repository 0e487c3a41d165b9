// What only the Redis store can meet: lost answers, foreign hands in its keys, and a server in trouble.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <set>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/groups.hpp>
#include <tidemill/locks.hpp>
#include <tidemill/store.hpp>

#include "core/uuid.hpp"
#include "drivers/redis/client.hpp"
#include "redis_server.hpp"
#include "stores/redis/message.hpp"

namespace tidemill {

namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;
using tidemill::testing::RedisServer;

class RedisStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_REDIS();
    server_.emplace();
    redis_.emplace(redis::Options{.addresses = {server_->address()}});
    store_ = open(server_->url());
  }

  Call call() { return {.now = store_->now(), .session = 7, .number = ++calls_, .deadline = {}}; }

  static Task task(std::string id, std::string queue = "q") {
    Task task;
    task.ref = {std::move(queue), std::move(id)};
    task.kind = "kind";
    task.payload = "payload";
    return task;
  }
  Enqueued put(const Task& task) { return store_->enqueue({&task, 1}, call()).at(0); }
  Claimed claim(const Call& call, std::string_view queue = "q", std::size_t most = 10) {
    const Want want{queue, most};
    return store_->claim({.worker = "w", .wants = {&want, 1}, .count_max = most, .lease = 25s}, call);
  }
  static Task member(std::string id, std::string group = "g") {
    Task one = task(std::move(id));
    one.state = State::aggregating;
    one.group = std::move(group);
    return one;
  }
  Gathered gather(const Call& call, Duration grace = 0s, std::size_t most = 10) {
    const std::string_view queue = "q";
    return store_->groups()->gather({.worker = "w",
                                     .queues = {&queue, 1},
                                     .rule = {.size_max = 10, .grace = grace},
                                     .count_max = most,
                                     .lease = 25s},
                                    call);
  }
  static Report success(const Lease& lease) {
    Report report;
    report.lease = &lease;
    report.tally = Tally::success;
    return report;
  }
  redis::Reply ask(std::string_view name, std::initializer_list<std::string_view> arguments) {
    redis::Command command{name};
    for (const std::string_view argument : arguments) command.add(argument);
    return redis_->exec(command);
  }
  State state_of(const std::string& id, const std::string& queue = "q") {
    const Ref ref{queue, id};
    const auto found = store_->catalog()->get({&ref, 1}, call()).at(0);
    return found ? found->state : State::gone;
  }

  std::optional<RedisServer> server_;
  std::optional<redis::Client> redis_;
  std::unique_ptr<Store> store_;
  std::uint64_t calls_ = 0;
};

std::vector<std::string> tokens(const Claimed& claimed) {
  std::vector<std::string> all;
  for (const Lease& lease : claimed.leases) all.push_back(lease.token);
  return all;
}

// Why: rule 10; an answer that was lost is asked for again. How: each verb twice with one call, and what came
// of it.
TEST_F(RedisStoreTest, ARepeatedCallIsAnsweredAsTheFirst) {
  const std::vector<Task> tasks = {task("a"), task("b"), task("a")};
  const Call enqueues = call();
  for (int i = 0; i < 2; ++i) {
    const auto answers = store_->enqueue(tasks, enqueues);
    EXPECT_EQ(answers[0].put, Put::created) << i;
    EXPECT_EQ(answers[1].put, Put::created) << i;
    EXPECT_EQ(answers[2].put, Put::exists) << i;
  }
  const Call claims = call();
  const Claimed claimed = claim(claims);
  ASSERT_EQ(claimed.leases.size(), 2U);
  EXPECT_EQ(tokens(claim(claims)), tokens(claimed));
  EXPECT_THAT(claim(call()).leases, IsEmpty());

  const std::vector<Report> reports = {success(claimed.leases[0])};
  const Call ends = call();
  for (int i = 0; i < 2; ++i) EXPECT_THAT(store_->report(reports, ends), ElementsAre(Reported::applied)) << i;
  EXPECT_THAT(store_->report(reports, call()), ElementsAre(Reported::ended));
  EXPECT_EQ(ask("GET", {"asynq:{q}:processed"}).text, "1");
}

// Why: rule 10 is for a firing, too: when its answer is lost, the schedule has moved on. How: one call twice.
TEST_F(RedisStoreTest, ARepeatedFiringIsAnsweredAsTheFirst) {
  const Call first = call();
  const PutSchedule schedule{.schedule = {.id = "s", .rule = "{}", .next = first.now}};
  ASSERT_THAT(store_->catalog()->put_schedules({&schedule, 1}, call()), ElementsAre(true));
  Task firing = task("a");
  firing.firing = Firing{.schedule = "s", .instant = first.now, .next = first.now + 1h};
  for (int i = 0; i < 2; ++i) EXPECT_EQ(store_->enqueue({&firing, 1}, first).at(0).put, Put::created) << i;
  EXPECT_EQ(put(firing).put, Put::fired);
}

// Why: a call that waits for replicas and is repeated is answered from what is kept, and writes nothing; it
// must wait for what the first has written all the same. How: a replica that stands still, and one call on
// two connections.
TEST_F(RedisStoreTest, ARepeatedCallWaitsForReplicas) {
  RedisServer replica{{fmt::format("replicaof 127.0.0.1 {}", server_->port())}};
  ASSERT_TRUE(testing::eventually(
      [&] { return ask("INFO", {"replication"}).text.find("state=online") != std::string::npos; }));
  replica.freeze();
  Call same = call();
  const Task one = task("a");
  for (int i = 0; i < 2; ++i) {
    same.deadline = std::chrono::steady_clock::now() + 300ms;
    const auto waits = open(server_->url() + "?wait=1");
    EXPECT_EQ(waits->enqueue({&one, 1}, same).at(0).put, Put::unknown) << i;
  }
  replica.thaw();
  same.deadline = std::chrono::steady_clock::now() + 30s;
  const auto waits = open(server_->url() + "?wait=1");
  EXPECT_EQ(waits->enqueue({&one, 1}, same).at(0).put, Put::created);
}

// Why: a plain task costs what Asynq's does. How: look at its hash, as the client makes its ids.
TEST_F(RedisStoreTest, APlainTaskIsAsynqsThreeFields) {
  Task plain = task("01a1fe5d-5178-7c40-8f11-5b2d9a6e4c01");
  plain.timeout = 30min;  // None at all is what Asynq can't say.
  put(plain);
  std::set<std::string> fields;
  for (const auto& field : ask("HKEYS", {"asynq:{q}:t:01a1fe5d-5178-7c40-8f11-5b2d9a6e4c01"}).items)
    fields.insert(field.text);
  fields.erase("c");  // That id is of another day.
  EXPECT_THAT(fields, ElementsAre("msg", "pending_since", "state"));
  EXPECT_THAT(ask("KEYS", {"asynq:{q}:x:s:*"}).items.size(), 1U) << "the last answer of the session";
}

// Why: an id without its task breaks Go's tools and would be claimed for ever. How: one between two good
// ones; and one that is active.
TEST_F(RedisStoreTest, AnIdWithoutItsTaskIsDropped) {
  put(task("a"));
  ask("LPUSH", {"asynq:{q}:pending", "ghost"});
  put(task("b"));
  const Claimed claimed = claim(call());
  ASSERT_EQ(claimed.leases.size(), 2U);
  EXPECT_EQ(ask("LLEN", {"asynq:{q}:active"}).integer, 2);
  ask("LPUSH", {"asynq:{q}:active", "dead"});
  ask("ZADD", {"asynq:{q}:lease", "1", "dead"});
  EXPECT_THAT(store_->sweep("s", 25s, 10, call()).taken, IsEmpty());
  EXPECT_EQ(ask("LLEN", {"asynq:{q}:active"}).integer, 2);
  EXPECT_EQ(ask("EXISTS", {"asynq:{q}:t:dead"}).integer, 0);
}

// Why: a message that nobody can read makes Go's recoverer fail for all queues while it is active. How: one
// such among good ones: it goes to the archive, and the worker goes on.
TEST_F(RedisStoreTest, AnUnreadableMessageIsArchived) {
  put(task("a"));
  ask("HSET", {"asynq:{q}:t:bad", "msg", "\x0a\xff", "state", "pending"});
  ask("LPUSH", {"asynq:{q}:pending", "bad"});
  put(task("b"));
  EXPECT_EQ(claim(call()).leases.size(), 2U);
  EXPECT_EQ(ask("HGET", {"asynq:{q}:t:bad", "state"}).text, "archived");
  EXPECT_EQ(ask("ZCARD", {"asynq:{q}:archived"}).integer, 1);
  EXPECT_EQ(ask("ZCARD", {"asynq:{q}:lease"}).integer, 2);
}

// Why: a lost answer must not make a second set, nor a second merged task. How: gather and settle, repeated
// with the same number.
TEST_F(RedisStoreTest, ARepeatedGatherIsAnsweredAsTheFirst) {
  put(member("a"));
  const Call first = call();
  const Gathered gathered = gather(first);
  ASSERT_EQ(gathered.sets.size(), 1U);
  const Gathered again = gather(first);
  ASSERT_EQ(again.sets.size(), 1U);
  EXPECT_EQ(again.sets[0].token, gathered.sets[0].token);
  EXPECT_EQ(again.sets[0].tasks.at(0).ref.id, "a");
  const Settle end{.set = &gathered.sets[0], .merged = task("m")};
  const Call second = call();
  EXPECT_EQ(store_->groups()->settle({&end, 1}, second).at(0), Reported::applied);
  EXPECT_EQ(store_->groups()->settle({&end, 1}, second).at(0), Reported::applied);
  EXPECT_EQ(ask("LLEN", {"asynq:{q}:pending"}).integer, 1);
}

// Why: Redis can't order another's groups by when they fall due, and no script may take long. How: more
// groups than one call looks at; each call goes on where the last one ended, and says that there is more.
TEST_F(RedisStoreTest, ManyGroupsAreLookedAtInSteps) {
  constexpr int count = 2500;
  std::vector<Task> tasks;
  for (int i = 0; i < count; ++i) tasks.push_back(member(std::to_string(i), "g" + std::to_string(i)));
  store_->enqueue(tasks, call());
  const Call one = call();
  const Gathered step = gather(one, 1h);
  EXPECT_EQ(step.next_due, one.now) << "ask again at once";
  std::optional<TimePoint> next = step.next_due;
  for (int i = 0; i < 100 && next && *next <= store_->now(); ++i) next = gather(call(), 1h).next_due;
  ASSERT_TRUE(next.has_value());
  EXPECT_GT(*next, store_->now() + 50min) << "all have been looked at, and none is due";
  std::size_t found = 0;
  for (int i = 0; i < 1000 && found < count; ++i) found += gather(call(), 0s, 100).sets.size();
  EXPECT_EQ(found, count);
}

// Why: Go takes a group that it has gathered whole off the list, and dies; nobody would find its tasks again.
// How: the name is gone when the set's lease ends. And ours stays on the list, as Go doesn't put it there
// again.
TEST_F(RedisStoreTest, AGroupThatGoForgotIsNamedAgain) {
  put(member("a"));
  ASSERT_EQ(gather(call()).sets.size(), 1U);
  EXPECT_EQ(ask("SISMEMBER", {"asynq:{q}:groups", "g"}).integer, 1);
  ask("SREM", {"asynq:{q}:groups", "g"});
  Call later = call();
  later.now += 26s;
  store_->sweep("s", 25s, 10, later);
  EXPECT_EQ(ask("SISMEMBER", {"asynq:{q}:groups", "g"}).integer, 1);
  EXPECT_EQ(gather(call()).sets.size(), 1U);
}

// Why: as with active tasks, when a group has one that can't be read. How: such a message, and an id without
// its task, among good ones; then alone.
TEST_F(RedisStoreTest, AnUnreadableTaskOfAGroupIsArchived) {
  const auto spoil = [&](std::string_view id) {
    ask("HSET",
        {fmt::format("asynq:{{q}}:t:{}", id), "msg", "\x0a\xff", "state", "aggregating", "group", "g"});
    ask("ZADD", {"asynq:{q}:g:g", "1", id});
    ask("SADD", {"asynq:{q}:groups", "g"});
  };
  put(member("a"));
  spoil("bad");
  ask("ZADD", {"asynq:{q}:g:g", "1", "dead"});
  const Gathered gathered = gather(call());
  ASSERT_EQ(gathered.sets.size(), 1U);
  EXPECT_EQ(gathered.sets[0].tasks.size(), 1U);
  EXPECT_EQ(ask("HGET", {"asynq:{q}:t:bad", "state"}).text, "archived");
  const Settle end{.set = &gathered.sets[0], .merged = task("m")};
  EXPECT_EQ(store_->groups()->settle({&end, 1}, call()).at(0), Reported::applied);
  spoil("worse");
  EXPECT_THAT(gather(call()).sets, IsEmpty());
  EXPECT_EQ(ask("ZCARD", {"asynq:{q}:archived"}).integer, 2);
  EXPECT_EQ(ask("EXISTS", {"asynq:{q}:aggregation_sets", "asynq:{q}:groups", "asynq:{q}:g:g"}).integer, 0);
}

// Why: keys of another type are somebody's mistake, and must not be overwritten. How: a text where the list
// should be.
TEST_F(RedisStoreTest, AKeyOfAnotherTypeIsAClearError) {
  ask("SET", {"asynq:{q}:pending", "text"});
  const Enqueued answer = put(task("a"));
  EXPECT_EQ(answer.put, Put::failed);
  EXPECT_THAT(answer.why, HasSubstr("WRONGTYPE"));
  EXPECT_THROW(claim(call()), Error);
  EXPECT_EQ(ask("GET", {"asynq:{q}:pending"}).text, "text");
  EXPECT_EQ(put(task("a", "other")).put, Put::created);
}

// Why: plain tasks come in by a script that keeps its answer before it writes, and what it has refused must
// not be taken for written. How: repeat calls that some, all and none of the tasks came in by.
TEST_F(RedisStoreTest, ARepeatedEnqueueAnswersAsTheFirstDid) {
  // Such ids tell when their tasks were made, so that nothing else must be kept.
  const auto plain = [&] {
    Task made = task("");
    made.created_at = store_->now();
    made.ref.id = to_string(make_uuid());
    made.timeout = 30min;
    return made;
  };
  const Task pair[] = {plain(), plain()};
  const std::string keys[] = {"asynq:{q}:t:" + pair[0].ref.id, "asynq:{q}:t:" + pair[1].ref.id};
  const auto put_pair = [&](const Call& as) {
    std::vector<Put> puts;
    for (const Enqueued& answer : store_->enqueue(pair, as, nullptr)) puts.push_back(answer.put);
    return puts;
  };
  put(pair[0]);
  ASSERT_EQ(ask("HLEN", {keys[0]}).integer, 3) << "it must be plain";
  const Call some = call();
  EXPECT_THAT(put_pair(some), ElementsAre(Put::exists, Put::created));
  EXPECT_THAT(put_pair(some), ElementsAre(Put::exists, Put::created));
  ask("DEL", {keys[0], keys[1], "asynq:{q}:pending"});
  const Call all = call();
  EXPECT_THAT(put_pair(all), ElementsAre(Put::created, Put::created));
  ask("DEL", {keys[0], keys[1], "asynq:{q}:pending"});
  EXPECT_THAT(put_pair(all), ElementsAre(Put::created, Put::created));
  EXPECT_EQ(ask("EXISTS", {keys[0], keys[1], "asynq:{q}:pending"}).integer, 0);
  ask("SET", {"asynq:{q}:pending", "text"});
  const Call none = call();
  EXPECT_THAT(put_pair(none), ElementsAre(Put::failed, Put::failed));
  EXPECT_THAT(put_pair(none), Not(Contains(Put::created)));
}

// Why: an operator may flush the scripts at any time. How: before each call.
TEST_F(RedisStoreTest, FlushedScriptsAreLoadedAgain) {
  for (int i = 0; i < 3; ++i) {
    ask("SCRIPT", {"FLUSH"});
    EXPECT_EQ(put(task(fmt::format("t{}", i))).put, Put::created);
    ask("SCRIPT", {"FLUSH"});
    const Claimed claimed = claim(call());
    ASSERT_EQ(claimed.leases.size(), 1U);
    ask("SCRIPT", {"FLUSH"});
    const Report report = success(claimed.leases[0]);
    EXPECT_THAT(store_->report({&report, 1}, call()), ElementsAre(Reported::applied));
  }
}

// Why: a full Redis takes nothing, says so, and keeps what it has. How: no memory at all, then enough.
TEST_F(RedisStoreTest, AFullServerRefusesAndLosesNothing) {
  put(task("a"));
  ask("CONFIG", {"SET", "maxmemory", "1"});
  const Enqueued answer = put(task("b"));
  EXPECT_EQ(answer.put, Put::failed);
  EXPECT_THAT(answer.why, HasSubstr("OOM"));
  ask("CONFIG", {"SET", "maxmemory", "0"});
  EXPECT_EQ(state_of("a"), State::pending);
  EXPECT_EQ(state_of("b"), State::gone);
  EXPECT_EQ(put(task("b")).put, Put::created);
}

// Why: Go lists a server before it writes what it is, and the entry outlives the text. How: an entry alone.
TEST_F(RedisStoreTest, AGoServerThatHasNotSaidWhatItIsIsNotListed) {
  ask("ZADD", {"asynq:servers", "9000000000", "asynq:servers:{host:1:id}"});
  EXPECT_TRUE(store_->catalog()->workers(call()).empty());
}

// Why: names that Redis or Go can't take are refused before anything is written. How: braces, blanks, bytes.
TEST_F(RedisStoreTest, NamesThatGoCannotReadAreRefused) {
  for (const std::string queue : {"", "  ", "a{b", "}"})
    EXPECT_EQ(put(task("a", queue)).put, Put::invalid) << queue;
  Task bytes = task("a");
  bytes.kind = "\xff";
  EXPECT_EQ(put(bytes).put, Put::invalid);
  EXPECT_EQ(ask("DBSIZE", {}).integer, 0);
}

// Why: Go's forwarder must not run a task of ours before its time, and ours runs it at its very instant. How:
// the scores of a task that is due within a second.
TEST_F(RedisStoreTest, ScoresAreRoundedUp) {
  Task late = task("a");
  late.state = State::scheduled;
  late.run_at = TimePoint{1893456000s + 1us};
  put(late);
  EXPECT_EQ(ask("ZSCORE", {"asynq:{q}:scheduled", "a"}).text, "1893456001");
  EXPECT_EQ(ask("ZSCORE", {"asynq:{q}:x:due", "a"}).text, "1893456000000001");
}

// Why: Go's tools list what fires while somebody fires it, and the store must not stumble over what it can't
// read. How: a good schedule, a paused one and one whose rule is none, before and after a scheduler's look.
TEST_F(RedisStoreTest, SchedulesThatFireAreEntriesOfAsynq) {
  const TimePoint next = store_->now() + 1h;
  const auto save = [&](const std::string& id, const std::string& rule, bool paused) {
    const PutSchedule saved{{.id = id, .rule = rule, .paused = paused, .next = next}, {}};
    store_->catalog()->put_schedules({&saved, 1}, call());
  };
  const std::string rule =
      R"({"spec":"0 3 * * *","zone":"Asia/Tokyo","kind":"k","payload":"p","options":{"queue":"low"}})";
  save("a", rule, false);
  save("b", rule, true);
  save("c", "no rule", false);
  store_->catalog()->schedules({}, call());
  EXPECT_EQ(ask("EXISTS", {"asynq:schedulers"}).integer, 0) << "who only lists them fires nothing";
  store_->catalog()->schedules(store_->now(), call());
  const auto list = ask("LRANGE", {"asynq:schedulers:{tidemill}", "0", "-1"}).items;
  ASSERT_EQ(list.size(), 1U);
  const auto entry = redis_store::decode_scheduler_entry(list[0].text);
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->id, "a");
  EXPECT_EQ(entry->spec, "CRON_TZ=Asia/Tokyo 0 3 * * *");
  EXPECT_THAT(entry->options, ElementsAre("MaxRetry(25)", "Queue(\"low\")", "Timeout(30m0s)"));
  EXPECT_EQ(entry->next_at, next);
  EXPECT_EQ(entry->previous_at, std::nullopt);
  EXPECT_GT(ask("TTL", {"asynq:schedulers:{tidemill}"}).integer, 0) << "it goes when nobody renews it";
  EXPECT_EQ(store_->catalog()->schedules({}, call()).size(), 3U) << "ours are not Go's as well";
}

// Why: a firing is one event, however often it is told, and no trouble with its history undoes it. How: one
// firing told twice, one whose history is of another type, and the end of the schedule.
TEST_F(RedisStoreTest, AFiringIsOneEventOfAsynq) {
  const TimePoint at = store_->now();
  const PutSchedule saved{{.id = "s", .rule = "{}", .next = at}, {}};
  store_->catalog()->put_schedules({&saved, 1}, call());
  Task fires = task("a");
  fires.firing = Firing{"s", at, at + 1h};
  const std::string key = "asynq:scheduler_history:s";
  const Call told = call();
  EXPECT_EQ(store_->enqueue({&fires, 1}, told).at(0).put, Put::created);
  EXPECT_EQ(store_->enqueue({&fires, 1}, told).at(0).put, Put::created) << "the first one's answer";
  const auto history = ask("ZRANGE", {key, "0", "-1"}).items;
  ASSERT_EQ(history.size(), 1U);
  const auto event = redis_store::decode_enqueue_event(history[0].text);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->task_id, "a");
  EXPECT_EQ(event->enqueued_at, told.now);

  ask("SET", {key, "text"});
  fires = task("b");
  fires.firing = Firing{"s", at + 1h, at + 2h};
  EXPECT_EQ(store_->enqueue({&fires, 1}, call()).at(0).put, Put::created);
  const std::string id = "s";
  EXPECT_EQ(store_->catalog()->erase_schedules({&id, 1}, call()), 1U);
  EXPECT_EQ(ask("EXISTS", {key}).integer, 0);
}

}  // namespace

}  // namespace tidemill
