// Groups: when they are due, who gets them, and what becomes of their tasks.
#include <tidemill/groups.hpp>

#include "contract.hpp"

#include <barrier>
#include <mutex>
#include <set>
#include <thread>

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

/// Never due by size or by its first task, unless a test says so.
constexpr GroupRule rule{.size_max = 100, .grace = 10s};

class GroupsContract : public Contract {
 protected:
  void SetUp() override {
    need({Feature::list, Feature::groups});
    if (store().groups() == nullptr) GTEST_SKIP() << "the store gathers no groups";
  }

  static Task member(std::string id, std::string group = "g", std::string queue = "q") {
    Task one = task(std::move(id), std::move(queue), State::aggregating);
    one.group = std::move(group);
    return one;
  }
  Gathered gather(const GroupRule& by = rule, std::size_t most = 100,
                  std::vector<std::string_view> queues = {"q"}, std::size_t bytes_max = 0) {
    return store().groups()->gather({.worker = "w1",
                                     .queues = queues,
                                     .rule = by,
                                     .count_max = most,
                                     .bytes_max = bytes_max,
                                     .lease = lease_length},
                                    call());
  }
  TaskSet gather_one(const GroupRule& by = rule) {
    Gathered gathered = gather(by);
    if (gathered.sets.size() == 1) return std::move(gathered.sets.front());
    ADD_FAILURE() << gathered.sets.size() << " groups are due";
    return {};
  }
  /// Puts tasks of these ids into group g and gathers them.
  TaskSet gathered(const std::vector<std::string>& ids) {
    for (const std::string& id : ids) put(member(id));
    return gather_one({.size_max = ids.size(), .grace = 1h});
  }
  Reported settle(const Settle& end) { return store().groups()->settle({&end, 1}, call()).at(0); }
  Reported give_back(const TaskSet& set, Duration delay = {}) {
    return settle({.set = &set, .delay = delay});
  }
  Reported merge(const TaskSet& set, const Task& into) { return settle({.set = &set, .merged = into}); }
  std::vector<GroupInfo> groups(std::string_view after = {}, std::size_t limit = 100) {
    return catalog().groups("q", after, limit, call());
  }
};

std::vector<std::string> names_of(const Gathered& gathered) {
  std::vector<std::string> names;
  for (const TaskSet& set : gathered.sets) names.push_back(set.group);
  return names;
}

std::vector<std::size_t> sizes_of(const Gathered& gathered) {
  std::vector<std::size_t> sizes;
  for (const TaskSet& set : gathered.sets) sizes.push_back(set.tasks.size());
  return sizes;
}

// Why: enough tasks are enough, whatever the time. How: one less, then the last one.
TEST_P(GroupsContract, Port_AGroupThatIsFullIsDue) {
  const GroupRule full{.size_max = 3, .grace = 1h};
  put(member("a"));
  advance(1s);
  put(member("b"));
  EXPECT_THAT(gather(full).sets, IsEmpty());
  advance(1s);
  put(member("c"));
  const TaskSet set = gather_one(full);
  EXPECT_EQ(set.queue, "q");
  EXPECT_EQ(set.group, "g");
  EXPECT_EQ(set.length, lease_length);
  EXPECT_FALSE(set.token.empty());
  EXPECT_THAT(ids_of(set.tasks), ElementsAre("a", "b", "c")) << "in the order in which they came";
  EXPECT_EQ(set.tasks[0].payload, "payload");
  EXPECT_EQ(set.tasks[0].group, "g");
  EXPECT_EQ(state_of("a"), State::aggregating);
}

// Why: a set is whole, and no larger than was asked for. How: five tasks by two: one set a call, and the last
// task waits on.
TEST_P(GroupsContract, Port_ASetHasAtMostSoManyTasksAndTheOldest) {
  const GroupRule pairs{.size_max = 2, .grace = 1h};
  for (const char* id : {"a", "b", "c", "d", "e"}) {
    put(member(id));
    advance(1s);
  }
  const Gathered first = gather(pairs);
  ASSERT_THAT(first.sets, SizeIs(1));
  EXPECT_THAT(ids_of(first.sets[0].tasks), ElementsAre("a", "b"));
  EXPECT_EQ(first.next_due, now()) << "there is more";
  EXPECT_THAT(ids_of(gather_one(pairs).tasks), ElementsAre("c", "d"));
  EXPECT_THAT(gather(pairs).sets, IsEmpty());
}

// Why: a group is complete when nothing has come for a while, and who asks sleeps until then. How: a second
// task puts it off.
TEST_P(GroupsContract, Port_AGroupIsDueAfterItsGrace) {
  EXPECT_FALSE(gather().next_due) << "there is no group";
  put(member("a"));
  advance(9s);
  put(member("b"));
  const Gathered none = gather();
  EXPECT_THAT(none.sets, IsEmpty());
  EXPECT_EQ(none.next_due, now() + 10s);
  EXPECT_EQ(none.now, now());
  advance(10s - 1us);
  EXPECT_THAT(gather().sets, IsEmpty());
  advance(1us);
  EXPECT_THAT(ids_of(gather_one().tasks), ElementsAre("a", "b"));
  EXPECT_FALSE(gather().next_due);
}

// Why: a group that is never quiet must not wait for ever. How: a task a second, and the first one's limit.
TEST_P(GroupsContract, Port_AGroupIsDueWhenItsFirstTaskHasWaitedForLong) {
  const GroupRule delayed{.size_max = 100, .delay_max = 3s, .grace = 10s};
  for (const char* id : {"a", "b", "c"}) {
    put(member(id));
    EXPECT_THAT(gather(delayed).sets, IsEmpty()) << id;
    EXPECT_LE(gather(delayed).next_due, now() + 3s);
    advance(1s);
  }
  EXPECT_THAT(ids_of(gather_one(delayed).tasks), ElementsAre("a", "b", "c"));
}

// Why: groups and queues are told apart, and only so many come as were asked for. How: three groups in two
// queues.
TEST_P(GroupsContract, Port_EachGroupIsOneSet) {
  put_all(
      {member("a", "x"), member("b", "y"), member("c", "x"), member("d", "x", "other"), member("e", "a:b")});
  advance(10s);
  EXPECT_THAT(gather(rule, 100, {"absent"}).sets, IsEmpty());
  EXPECT_THAT(names_of(gather(rule, 100, {"other"})), ElementsAre("x"));
  const Gathered two = gather(rule, 2);
  EXPECT_THAT(two.sets, SizeIs(2));
  EXPECT_EQ(two.next_due, now());
  const Gathered rest = gather(rule, 2, {"q", "other"});
  EXPECT_THAT(rest.sets, SizeIs(1));
  std::vector<std::string> names = names_of(two);
  names.push_back(rest.sets[0].group);
  EXPECT_THAT(names, UnorderedElementsAre("x", "y", "a:b"));
}

// Why: a call has a limit in bytes, too. How: large payloads; one alone comes however large.
TEST_P(GroupsContract, Port_ASetHasAtMostSoManyBytes) {
  for (const char* id : {"a", "b", "c"}) {
    Task large = member(id);
    large.payload.assign(10'000, 'x');
    put(large);
    advance(1s);
  }
  advance(10s);
  EXPECT_THAT(sizes_of(gather(rule, 100, {"q"}, 25'000)), ElementsAre(2));
  EXPECT_THAT(sizes_of(gather(rule, 100, {"q"}, 1)), ElementsAre(1));
}

// Why: that is what groups are for. How: two tasks become one, in one write.
TEST_P(GroupsContract, Port_TheMergedTaskTakesTheirPlace) {
  const TaskSet set = gathered({"a", "b"});
  Task merged = task("m");
  merged.payload = "a+b";
  EXPECT_EQ(merge(set, merged), Reported::applied);
  EXPECT_EQ(state_of("a"), State::gone);
  EXPECT_EQ(state_of("b"), State::gone);
  EXPECT_THAT(ids(), ElementsAre("m"));
  EXPECT_EQ(queue()->counts[State::aggregating], 0U);
  EXPECT_EQ(queue()->counts[State::pending], 1U);
  EXPECT_THAT(groups(), IsEmpty());
  EXPECT_EQ(claim_one().task.payload, "a+b");
  put(member("a"));
  EXPECT_EQ(groups().at(0).size, 1U) << "its id is free again, and the group begins anew";
}

// Why: the merged task is a task as any other. How: one that is not due yet.
TEST_P(GroupsContract, Port_TheMergedTaskMayBeDelayed) {
  EXPECT_EQ(merge(gathered({"a"}), delayed("m", 5s)), Reported::applied);
  EXPECT_EQ(state_of("m"), State::scheduled);
  advance(5s);
  EXPECT_EQ(claim_one().task.ref.id, "m");
}

// Why: an answer that comes twice, or too late, must not make two of one. How: settle twice; then after the
// lease, before and after a new one.
TEST_P(GroupsContract, Rule4_OneEndOfASetIsTaken) {
  const TaskSet set = gathered({"a", "b"});
  EXPECT_EQ(merge(set, task("m")), Reported::applied);
  EXPECT_EQ(merge(set, task("n")), Reported::lost);
  EXPECT_EQ(give_back(set), Reported::lost);
  EXPECT_THAT(ids(), ElementsAre("m"));
}

TEST_P(GroupsContract, Rule4_ALateEndIsRefused) {
  const TaskSet late = gathered({"a"});
  advance(lease_length);
  sweep();
  EXPECT_EQ(merge(late, task("m")), Reported::lost);
  const TaskSet next = gather_one();
  EXPECT_NE(next.token, late.token);
  EXPECT_EQ(merge(late, task("m")), Reported::lost);
  EXPECT_EQ(give_back(late), Reported::lost);
  EXPECT_THAT(ids(), ElementsAre("a"));
  EXPECT_EQ(merge(next, task("n")), Reported::applied);
  EXPECT_THAT(ids(), ElementsAre("n"));
}

// Why: a worker that dies with a group must not take it along. How: the lease runs out, at the very instant.
TEST_P(GroupsContract, Rule3_ALapsedSetGoesBackToItsGroup) {
  put(member("a"));
  const TimePoint came = now();
  advance(10s);
  gather_one();
  EXPECT_THAT(groups(), IsEmpty());
  put(member("b"));
  advance(lease_length - 1us);
  sweep();
  EXPECT_EQ(groups().at(0).size, 1U);
  advance(1us);
  sweep();
  const auto back = groups();
  ASSERT_THAT(back, SizeIs(1));
  EXPECT_EQ(back[0].size, 2U);
  EXPECT_EQ(back[0].first_at, came) << "it keeps the time at which it came";
  EXPECT_THAT(ids_of(gather_one().tasks), ElementsAre("a", "b"));
}

// Why: the same when all of the group was in the set, so that nothing else names it. How: nothing comes
// after.
TEST_P(GroupsContract, Rule3_AGroupThatWasGatheredWholeIsFoundAgain) {
  gathered({"a", "b"});
  advance(lease_length);
  sweep();
  EXPECT_EQ(groups().at(0).size, 2U);
  EXPECT_THAT(ids_of(gather_one().tasks), ElementsAre("a", "b"));
}

// Why: no set is lost or shared in a restart. How: reopen between gather and settle.
TEST_P(GroupsContract, Rule1_ASetOutlivesTheStoresObject) {
  if (!GetParam().durable) GTEST_SKIP() << "it holds nothing when it is closed";
  const TaskSet set = gathered({"a", "b"});
  reopen();
  EXPECT_THAT(gather().sets, IsEmpty());
  EXPECT_EQ(merge(set, task("m")), Reported::applied);
  EXPECT_THAT(ids(), ElementsAre("m"));
}

// Why: what could not be merged is tried again, but not at once. How: back with a pause; neither size nor
// grace counts meanwhile, and who asks is told until when.
TEST_P(GroupsContract, Port_AGroupThatWentBackRests) {
  const TaskSet set = gathered({"a", "b"});
  EXPECT_EQ(give_back(set, 30s), Reported::applied);
  EXPECT_EQ(state_of("a"), State::aggregating);
  EXPECT_EQ(groups().at(0).size, 2U);
  put(member("c"));
  advance(20s);
  const Gathered none = gather({.size_max = 2, .delay_max = 1s, .grace = 1s});
  EXPECT_THAT(none.sets, IsEmpty());
  EXPECT_EQ(none.next_due, now() + 10s);
  advance(10s);
  EXPECT_THAT(ids_of(gather_one().tasks), ElementsAre("a", "b", "c"));
}

TEST_P(GroupsContract, Port_AGroupThatWentBackWithoutAPauseIsDue) {
  put(member("a"));
  advance(10s);
  const TaskSet set = gather_one();
  EXPECT_EQ(give_back(set), Reported::applied);
  EXPECT_THAT(ids_of(gather_one().tasks), ElementsAre("a"));
}

// Why: members end as tasks do that succeed. How: a key that goes with its task, one that outlives it, and
// one of a task that goes back.
TEST_P(GroupsContract, Rule5_MembersGiveTheirKeysBack) {
  need({Feature::unique});
  Task a = member("a");
  a.unique = Unique{.key = "short", .window = 1h};
  Task b = member("b");
  b.unique = Unique{.key = "long", .window = 1h, .outlives_task = true};
  put_all({a, b});
  const TaskSet set = gather_one({.size_max = 2, .grace = 1h});
  ASSERT_THAT(set.tasks, SizeIs(2));
  EXPECT_TRUE(set.tasks[0].unique.has_value());
  EXPECT_EQ(put(keyed("c", "short")).put, Put::exists);
  ASSERT_EQ(merge(set, task("m")), Reported::applied);
  EXPECT_EQ(put(keyed("c", "short")).put, Put::created);
  EXPECT_EQ(put(keyed("d", "long")).put, Put::exists);
}

// Why: one write, or none: members must not go for a task that isn't made. How: its id, then its key, is
// another's; the set is as it was.
TEST_P(GroupsContract, Port_AMergedTaskThatCannotBeChangesNothing) {
  need({Feature::unique});
  put(task("m"));
  put(keyed("other", "key"));
  const TaskSet set = gathered({"a", "b"});
  EXPECT_EQ(merge(set, task("m")), Reported::failed);
  EXPECT_EQ(merge(set, keyed("n", "key")), Reported::failed);
  EXPECT_EQ(merge(set, keyed("n", "key", {.on_conflict = OnConflict::replace})), Reported::failed);
  EXPECT_EQ(merge(set, task("n", "elsewhere")), Reported::failed);
  EXPECT_EQ(merge(set, task("n", "q", State::active)), Reported::failed);
  EXPECT_EQ(state_of("a"), State::aggregating);
  EXPECT_EQ(state_of("n"), State::gone);
  EXPECT_EQ(merge(set, keyed("n", "free")), Reported::applied);
  EXPECT_EQ(state_of("a"), State::gone);
}

// Why: a digest may have the key that its parts had. How: a member's key; then one that outlives the member.
TEST_P(GroupsContract, Rule5_TheMergedTaskMayTakeAMembersKey) {
  need({Feature::unique});
  Task a = member("a");
  a.unique = Unique{.key = "key"};
  Task b = member("b");
  b.unique = Unique{.key = "long", .window = 1h, .outlives_task = true};
  put_all({a, b});
  const TaskSet set = gather_one({.size_max = 2, .grace = 1h});
  EXPECT_EQ(merge(set, keyed("m", "long")), Reported::failed);
  EXPECT_EQ(merge(set, keyed("m", "key")), Reported::applied);
  EXPECT_EQ(put(keyed("n", "key")).id, "m");
}

// Why: what is in an aggregator's hands is not an operator's to change. How: each act, and a unique task that
// would take the place of one.
TEST_P(GroupsContract, Port_GatheredTasksAreNotChanged) {
  Task a = member("a");
  a.unique = Unique{.key = "key"};
  put_all({a, member("b")});
  const TaskSet set = gather_one({.size_max = 2, .grace = 1h});
  for (const State to : {State::pending, State::held, State::archived, State::gone})
    EXPECT_EQ(change("a", {.from = States::all(), .to = to}), Changed::wrong_state) << to_string(to);
  EXPECT_EQ(put(keyed("c", "key", {.on_conflict = OnConflict::replace})).put, Put::busy);
  EXPECT_EQ(queue()->counts[State::aggregating], 2U);
  EXPECT_THAT(ids({.group = "g"}), UnorderedElementsAre("a", "b"));
  EXPECT_EQ(give_back(set), Reported::applied);
  EXPECT_EQ(change("a", {.from = States::all(), .to = State::pending}), Changed::changed);
}

// Why: an operator's run takes a task out of its group for good, also when it fails. How: run one of two, let
// it fail, and let its retry fall due.
TEST_P(GroupsContract, Port_WhatAnOperatorRunsLeavesItsGroup) {
  put_all({member("a"), member("b")});
  EXPECT_EQ(change("a", {.from = States::all(), .to = State::pending}), Changed::changed);
  EXPECT_EQ(groups().at(0).size, 1U);
  const Lease lease = claim_one();
  Report failed = outcome(lease, State::retry);
  failed.delay = 5s;
  EXPECT_EQ(end(failed), Reported::applied);
  advance(10s);
  EXPECT_THAT(ids_of(gather_one().tasks), ElementsAre("b"));
  EXPECT_EQ(claim_one().task.ref.id, "a");
}

// Why: a pause stops all work on a queue. How: pause, and go on.
TEST_P(GroupsContract, Port_NothingIsGatheredFromAPausedQueue) {
  put(member("a"));
  advance(10s);
  catalog().pause("q", true, call());
  const Gathered none = gather();
  EXPECT_THAT(none.sets, IsEmpty());
  EXPECT_FALSE(none.next_due);
  catalog().pause("q", false, call());
  EXPECT_THAT(ids_of(gather_one().tasks), ElementsAre("a"));
}

// Why: operators see what waits. How: sizes and times, by name, page by page; what is erased counts no more.
TEST_P(GroupsContract, Port_GroupsAreListed) {
  const TimePoint first = now();
  put_all({member("a", "x"), member("b", "y"), member("other", "z", "elsewhere"), task("c")});
  advance(3s);
  put_all({member("d", "x"), member("e", "z")});
  const auto all = groups();
  ASSERT_THAT(all, SizeIs(3));
  EXPECT_EQ(all[0].name, "x");
  EXPECT_EQ(all[0].size, 2U);
  EXPECT_EQ(all[0].first_at, first);
  EXPECT_EQ(all[0].last_at, now());
  EXPECT_EQ(all[1].name, "y");
  EXPECT_EQ(all[1].last_at, first);
  EXPECT_EQ(all[2].name, "z");
  EXPECT_EQ(all[2].size, 1U);
  ASSERT_THAT(groups("x", 1), SizeIs(1));
  EXPECT_EQ(groups("x", 1)[0].name, "y");
  EXPECT_THAT(groups("z"), IsEmpty());
  EXPECT_THAT(catalog().groups("absent", "", 10, call()), IsEmpty());
  change("a", {.from = States::all(), .to = State::gone});
  EXPECT_EQ(groups().at(0).first_at, now());
  change("d", {.from = States::all(), .to = State::archived});
  EXPECT_EQ(groups().at(0).name, "y");
}

// Why: two workers with the same rule must not merge one task twice. How: threads gather and settle while
// others enqueue; each task ends in one merged one.
TEST_P(GroupsContract, Rule2_TwoGatherersNeverShareATask) {
  constexpr std::size_t count = 600;
  std::vector<Task> tasks;
  for (std::size_t i = 0; i < count; ++i)
    tasks.push_back(member("t" + std::to_string(i), "g" + std::to_string(i % 7)));
  put_all(tasks);
  advance(10s);
  std::mutex mutex;
  std::multiset<std::string> seen;
  std::set<std::string> tokens;
  std::size_t applied = 0;
  std::barrier start{4};
  std::vector<std::jthread> threads;
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([&, number] {
      start.arrive_and_wait();
      for (int i = 0;; ++i) {
        const Gathered gathered = gather({.size_max = 10, .grace = 10s}, 2);
        if (gathered.sets.empty()) return;
        for (const TaskSet& set : gathered.sets) {
          const std::string id = "m" + std::to_string(number) + "-" + std::to_string(i) + set.group;
          const Reported answer = merge(set, task(id));
          const std::lock_guard lock{mutex};
          applied += answer == Reported::applied ? 1 : 0;
          tokens.insert(set.token);
          for (const Task& each : set.tasks) seen.insert(each.ref.id);
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(seen.size(), count);
  EXPECT_EQ((std::set<std::string>{seen.begin(), seen.end()}.size()), count);
  EXPECT_EQ(applied, tokens.size());
  EXPECT_EQ(queue()->counts[State::pending], applied);
  EXPECT_EQ(queue()->counts[State::aggregating], 0U);
}

INSTANTIATE_TEST_SUITE_P(Stores, GroupsContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
