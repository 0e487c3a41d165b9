// How tasks come in.
#include "contract.hpp"

#include "core/uuid.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;

class EnqueueContract : public Contract {
 protected:
  void SetUp() override { need({Feature::list}); }

  /// A task that has a value of its own in every field that a producer can set.
  Task full() const {
    Task all = task("all");
    all.kind = "image:resize";
    all.payload = std::string("{\"a\": 1}\0\xff\x80\n'\"", 14);
    all.group = "";
    all.headers = {{"traceparent", "00-1-2-01"}, {"empty", ""}, {"Grüße", "ß\n\"'"}};
    all.priority = -7;
    all.retries_max = 4;
    all.crashes_max = 2;
    all.timeout = 90s;
    all.retention = 5min;
    all.deadline = now() + 1h;
    all.expires_at = now() + 30min;
    all.created_at = now() - 3s;
    return all;
  }
};

void expect_as_given(const Task& stored, const Task& given) {
  EXPECT_EQ(stored.ref, given.ref);
  EXPECT_EQ(stored.kind, given.kind);
  EXPECT_EQ(stored.payload, given.payload);
  EXPECT_EQ(stored.group, given.group);
  EXPECT_EQ(stored.headers, given.headers);
  EXPECT_EQ(stored.priority, given.priority);
  EXPECT_EQ(stored.retries_max, given.retries_max);
  EXPECT_EQ(stored.crashes_max, given.crashes_max);
  EXPECT_EQ(stored.timeout, given.timeout);
  EXPECT_EQ(stored.retention, given.retention);
  EXPECT_EQ(stored.deadline, given.deadline);
  EXPECT_EQ(stored.expires_at, given.expires_at);
  EXPECT_EQ(stored.created_at, given.created_at);
  EXPECT_EQ(stored.attempt, 0);
  EXPECT_EQ(stored.retries, 0);
  EXPECT_EQ(stored.crashes, 0);
  EXPECT_EQ(stored.deferrals, 0);
}

// Why: an acknowledged task is not lost, and a task that lost a field or a byte is half lost. How: set every
// field, with bytes that text columns and quoting break on, and read it back both ways.
TEST_P(EnqueueContract, Rule1_AnAcknowledgedTaskIsThereWhole) {
  const Task given = full();
  const Enqueued answer = put(given);
  EXPECT_EQ(answer.put, Put::created);
  EXPECT_EQ(answer.id, "all");

  const auto stored = get("all");
  ASSERT_TRUE(stored);
  expect_as_given(*stored, given);
  EXPECT_EQ(stored->state, State::pending);
  EXPECT_EQ(stored->started_at, std::nullopt);
  EXPECT_EQ(stored->ended_at, std::nullopt);
  EXPECT_EQ(stored->unique, std::nullopt);

  const Lease lease = claim_one();
  expect_as_given(lease.task, given);
  EXPECT_EQ(lease.task.state, State::active);
}

// Why: names come from users, so a queue, id or kind of any bytes must come back as it went in and match only
// itself. How: names that quoting, patterns and case folding mistake for each other.
TEST_P(EnqueueContract, Rule1_NamesAreBytes) {
  const std::vector<std::string> names = {"a", "A",   "a%",  "a_", "a'", "a\"",
                                          "ä", "a:b", "a b", "0",  "00", "%"};
  for (const std::string& name : names) {
    Task named = task(name, name);
    named.kind = name;
    ASSERT_EQ(put(named).put, Put::created) << name;
  }
  for (const std::string& name : names) {
    EXPECT_THAT(ids({.queue = name}), ElementsAre(name));
    EXPECT_THAT(ids({.kind = name}), ElementsAre(name));
    const Claimed claimed = claim({.queues = {name}, .most = 10});
    EXPECT_THAT(ids_of(claimed.leases), ElementsAre(name));
  }
}

// Why: one bad item must not fail its neighbours, and the caller must learn which is which. How: a batch with
// every kind of answer, good items at both ends.
TEST_P(EnqueueContract, Rule6_EachItemOfABatchIsAnswered) {
  Task large = task("large");
  large.payload.resize(store().capabilities().task_bytes_max + 1);
  const std::vector<Task> batch = {task("first"), task("first"), large, task("odd", "q", State::active),
                                   task("last")};
  const auto answers = store().enqueue(batch, call());
  ASSERT_EQ(answers.size(), 5U);
  EXPECT_EQ(answers[0].put, Put::created);
  EXPECT_EQ(answers[1].put, Put::exists);
  EXPECT_EQ(answers[1].id, "first");
  EXPECT_EQ(answers[2].put, Put::invalid);
  EXPECT_EQ(answers[3].put, Put::invalid);
  EXPECT_EQ(answers[4].put, Put::created);
  EXPECT_TRUE(answers[0].why.empty());
  for (const std::size_t i : {1U, 2U, 3U}) EXPECT_FALSE(answers[i].why.empty()) << i;
  EXPECT_THAT(ids(), ElementsAre("first", "last"));
}

// Why: an empty batch is a batch: nobody should have to test for it. How: every verb with nothing.
TEST_P(EnqueueContract, Rule6_AnEmptyBatchIsAnsweredByNothing) {
  EXPECT_TRUE(store().enqueue({}, call()).empty());
  EXPECT_TRUE(store().report({}, call()).empty());
  EXPECT_TRUE(
      store().claim({.worker = "w1", .wants = {}, .count_max = 10, .lease = 25s}, call()).leases.empty());
  EXPECT_TRUE(catalog().get({}, call()).empty());
  EXPECT_TRUE(catalog().change({}, {}, call()).empty());
  EXPECT_TRUE(catalog().put_schedules({}, call()).empty());
  EXPECT_EQ(catalog().erase_schedules({}, call()), 0U);
}

// Why: producers split work into batches as they like, so the items of one must see each other as if they
// came one by one. How: an id and a key twice in one batch.
TEST_P(EnqueueContract, Rule6_LaterItemsSeeEarlierOnes) {
  need({Feature::unique});
  if (IsSkipped()) return;
  const auto answers =
      store().enqueue(std::vector{keyed("a", "k"), keyed("b", "k"), task("a"), task("a", "other")}, call());
  EXPECT_EQ(answers[0].put, Put::created);
  EXPECT_EQ(answers[1].put, Put::exists);
  EXPECT_EQ(answers[1].id, "a");
  EXPECT_EQ(answers[2].put, Put::exists);
  EXPECT_EQ(answers[3].put, Put::created) << "an id is unique in its queue only";
}

// Why: the limit is what capabilities() says, no byte more or less. How: kind, headers and payload together
// at the limit, then one byte over it.
TEST_P(EnqueueContract, Rule6_TheSizeLimitCountsKindHeadersAndPayload) {
  Task large = task("fits");
  large.headers = {{"name", "value"}};
  large.payload.assign(store().capabilities().task_bytes_max - large.kind.size() - 9, 'x');
  EXPECT_EQ(put(large).put, Put::created);
  large.ref.id = "too large";
  large.headers["name"] += "!";
  EXPECT_EQ(put(large).put, Put::invalid);
  EXPECT_THAT(ids(), ElementsAre("fits"));
}

// Why: core's table says how a task may begin, and no caller gets around it. How: every state.
TEST_P(EnqueueContract, Rule6_AnImpossibleFirstStateIsRefused) {
  using enum State;
  for (const State state : {scheduled, pending, aggregating, held}) {
    EXPECT_EQ(put(task(std::string{to_string(state)}, "q", state)).put, Put::created) << to_string(state);
    EXPECT_EQ(state_of(std::string{to_string(state)}), state);
  }
  for (const State state : {gone, active, retry, completed, archived, blocked}) {
    EXPECT_EQ(put(task(std::string{to_string(state)}, "q", state)).put, Put::invalid) << to_string(state);
    EXPECT_EQ(state_of(std::string{to_string(state)}), gone);
  }
}

// Why: time is the caller's parameter; the store's clock decides nothing. How: a call an hour behind the
// clock.
TEST_P(EnqueueContract, Rule8_TimesAreCountedFromTheCallsNow) {
  Call earlier = call();
  earlier.now -= 1h;
  const Task late = delayed("late", 10s);
  store().enqueue({&late, 1}, earlier);
  EXPECT_EQ(get("late")->run_at, earlier.now + 10s);
  EXPECT_EQ(get("late")->created_at, earlier.now);
}

// Why: `run_at` wins over `delay`, and a due time in the past is no error: claim promotes it. How: both at
// once.
TEST_P(EnqueueContract, Rule8_RunAtWinsAndMayBePast) {
  need({Feature::delay});
  if (IsSkipped()) return;
  Task past = delayed("past", 1h);
  past.run_at = now() - 1s;
  EXPECT_EQ(put(past).put, Put::created);
  EXPECT_EQ(get("past")->state, State::scheduled);
  EXPECT_EQ(get("past")->run_at, now() - 1s);
  EXPECT_EQ(claim_one().task.ref.id, "past");
}

// Why: a call that is repeated has the effect of one; producers make ids before the first send. How: the same
// batch twice, and once more when the tasks run; and the same with ids as producers make them, among others.
TEST_P(EnqueueContract, Rule10_ARepeatedEnqueueMakesNoSecondTask) {
  const std::vector<Task> batch = {task("a"), task("b")};
  EXPECT_THAT(put_all(batch), ElementsAre(Put::created, Put::created));
  EXPECT_THAT(put_all(batch), ElementsAre(Put::exists, Put::exists));
  const Claimed claimed = claim({.most = 5});
  EXPECT_THAT(ids_of(claimed.leases), ElementsAre("a", "b"));
  EXPECT_THAT(put_all(batch), ElementsAre(Put::exists, Put::exists));
  EXPECT_EQ(queue()->counts[State::active], 2U);
  EXPECT_EQ(queue()->counts[State::pending], 0U);
  const Task first = task(to_string(make_uuid()));
  EXPECT_EQ(put(first).put, Put::created);
  EXPECT_EQ(put(first).put, Put::exists);
  EXPECT_THAT(put_all({task(to_string(make_uuid())), first}), ElementsAre(Put::created, Put::exists));
  EXPECT_EQ(queue()->counts[State::pending], 2U);
}

// Why: "exists" must leave the first task alone: a producer with an old id can't change what runs. How:
// another kind and payload under the same id.
TEST_P(EnqueueContract, Rule10_TheFirstTaskOfAnIdStaysAsItWas) {
  put(task("a"));
  Task other = task("a", "q", State::held);
  other.payload = "other";
  EXPECT_EQ(put(other).put, Put::exists);
  EXPECT_EQ(get("a")->payload, "payload");
  EXPECT_EQ(get("a")->state, State::pending);
}

class NoTransaction : public Transaction {};

// Why: what a store can't do is a clear error and never a silent difference. How: a transaction that no store
// knows.
TEST_P(EnqueueContract, Port_AForeignTransactionIsAnError) {
  NoTransaction foreign;
  const Task one = task("a");
  try {
    store().enqueue({&one, 1}, call(), &foreign);
    FAIL() << "it took a transaction that it can't know";
  } catch (const Error& error) {
    const auto limit = store().capabilities().limits.find(Feature::inside);
    const bool absent = limit != store().capabilities().limits.end() && limit->second.absent;
    EXPECT_EQ(error.kind(), absent ? ErrorKind::unsupported : error.kind());
    EXPECT_TRUE(error.kind() == ErrorKind::unsupported || error.kind() == ErrorKind::invalid);
  }
  EXPECT_EQ(state_of("a"), State::gone);
}

// Why: the words of a limit go to people, so a limit without words is a bug. How: read all of them.
TEST_P(EnqueueContract, Port_LimitsAreSaidInWords) {
  for (const auto& [feature, limit] : store().capabilities().limits) EXPECT_FALSE(limit.text.empty());
  EXPECT_GE(store().capabilities().batch_max, 1U);
  EXPECT_EQ(store().now(), now());
}

INSTANTIATE_TEST_SUITE_P(Stores, EnqueueContract, testing::ValuesIn(backends()), name_of);

class DurableContract : public Contract {};

// Why: acknowledged means kept, also when the process ends and another opens the store. How: one task in
// every state, a schedule, a key and a pause; open the store anew; look. A lease goes on, too.
TEST_P(DurableContract, Rule1_WhatWasAcknowledgedIsThereWhenOpenedAgain) {
  put_all({task("run"), task("retry"), task("dead")});
  const Claimed claimed = claim({.most = 3});
  ASSERT_EQ(claimed.leases.size(), 3U);
  Report dead = outcome(claimed.leases[2], State::archived);
  dead.record = true;
  dead.error = "why";
  end(claimed.leases[1], State::retry);
  end(dead);
  put_all({keyed("keyed", "k"), delayed("late", 1h), task("group", "q", State::aggregating)});
  const PutSchedule schedule{.schedule = {.id = "s", .rule = "{}", .next = now() + 1h}};
  catalog().put_schedules({&schedule, 1}, call());
  catalog().pause("other", true, call());
  const auto before = find({});

  reopen();
  const auto after = find({});
  ASSERT_EQ(ids_of(after), ids_of(before));
  for (std::size_t i = 0; i < after.size(); ++i)
    EXPECT_EQ(after[i].state, before[i].state) << after[i].ref.id;
  EXPECT_EQ(put(keyed("second", "k")).put, Put::exists);
  EXPECT_EQ(attempts("dead").size(), 1U);
  EXPECT_EQ(catalog().schedules({}, call()).size(), 1U);
  put(task("waits", "other"));
  EXPECT_TRUE(claim({.queues = {"other"}}).leases.empty()) << "still paused";
  EXPECT_EQ(end(claimed.leases[0], State::gone), Reported::applied);
}

INSTANTIATE_TEST_SUITE_P(Stores, DurableContract, testing::ValuesIn(durable_backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
