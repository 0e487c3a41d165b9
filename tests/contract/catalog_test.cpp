// What operators see: lists, pages, filters, queues.
#include "contract.hpp"

#include <algorithm>
#include <set>

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class CatalogContract : public Contract {
 protected:
  void SetUp() override { need({Feature::list}); }

  Page page(const Filter& filter, const std::string& cursor, std::size_t limit, Duration budget = 10s) {
    return catalog().find(filter, cursor, limit, budget, call());
  }
};

// Why: lists are in a promised order: queue by its bytes, state by number, then the state's own. How: tasks
// of two queues in all states, put in the wrong way round.
TEST_P(CatalogContract, Port_TheOrderIsQueueStateAndTheStatesOwn) {
  need_whole(Feature::order);
  if (IsSkipped()) return;
  put_all({task("z", "b"), task("y", "B")});
  put_all({task("held2", "q", State::held), task("group", "q", State::aggregating), delayed("late2", 2h),
           delayed("late1", 1h)});
  put_all({task("r1"), task("r2"), task("c"), task("x"), task("a1"), task("a2")});
  const Claimed claimed = claim({.most = 6});
  ASSERT_EQ(claimed.leases.size(), 6U);
  Report retry = outcome(claimed.leases[0], State::retry);
  retry.delay = 20s;
  end(retry);
  retry = outcome(claimed.leases[1], State::retry);
  retry.delay = 10s;
  end(retry);
  end(claimed.leases[3], State::archived);
  end(claimed.leases[2], State::completed);
  beat({.lease = &claimed.leases[4]}, 1min);
  advance(1s);
  put(task("held1", "q", State::held));
  Task high = task("high");
  high.priority = 1;
  put_all({task("p1"), high, task("p2")});
  EXPECT_THAT(ids(), ElementsAre("y", "z", "late1", "late2", "high", "p1", "p2", "a2", "a1", "r2", "r1", "c",
                                 "x", "group", "held2", "held1"));
}

// Why: pages must join to the whole list, whatever their size. How: all sizes from one to more than there
// are.
TEST_P(CatalogContract, Port_PagesJoinToTheWholeList) {
  for (const char* name : {"a", "b"}) {
    put_all(numbered(5, "p", task("", name)));
    put_all(numbered(3, "s", delayed("", 1h, name)));
    put_all(numbered(3, "h", task("", name, State::held)));
  }
  const auto whole = ids({}, 1000);
  ASSERT_EQ(whole.size(), 22U);
  for (std::size_t limit = 1; limit <= 23; ++limit) EXPECT_EQ(ids({}, limit), whole) << limit;
  EXPECT_TRUE(page({}, "", 23).next.empty());
}

// Why: a cursor stays valid while rows move: those that stay are seen once and only once. How: between pages
// take the row that the cursor stands on away, and others before and behind it.
TEST_P(CatalogContract, Port_ACursorSurvivesWhileRowsMove) {
  for (int i = 0; i < 20; ++i) {
    put(task("t" + std::to_string(10 + i)));
    advance(1s);
  }
  std::vector<std::string> seen;
  std::string cursor;
  do {
    const Page each = page({.states = State::pending}, cursor, 3);
    for (const Task& one : each.tasks) seen.push_back(one.ref.id);
    cursor = each.next;
    if (!each.tasks.empty()) {
      change(each.tasks.back().ref.id, {.from = States::all(), .to = State::gone});
      change(each.tasks.front().ref.id, {.from = States::all(), .to = State::held});
    }
    put(task("new" + std::to_string(seen.size())));
    advance(1s);
  } while (!cursor.empty() && seen.size() < 100);
  const std::vector<std::string> old(seen.begin(), std::find_if(seen.begin(), seen.end(), [](const auto& id) {
                                       return id.starts_with("new");
                                     }));
  ASSERT_EQ(old.size(), 20U) << "each of those that stayed, once";
  EXPECT_TRUE(std::is_sorted(old.begin(), old.end()));
  EXPECT_EQ((std::set<std::string>{seen.begin(), seen.end()}.size()), seen.size());
}

// Why: an act on all that match takes each page away before it asks for the next, and must skip none. How: do
// so in states of each order, with more than a store looks at in one go, and times that are many tasks' own.
TEST_P(CatalogContract, Port_PagesThatAreTakenAwaySkipNothing) {
  put_all(numbered(250, "p", task("")));
  put_all(numbered(250, "h", task("", "q", State::held)));
  put_all(numbered(250, "s", delayed("", 1h)));
  put_all(numbered(50, "late", delayed("", 2h)));
  for (const State state : {State::pending, State::held, State::scheduled}) {
    std::string cursor;
    do {
      const Page each = page({.states = state}, cursor, 60);
      std::vector<Ref> refs;
      for (const Task& one : each.tasks) refs.push_back(one.ref);
      catalog().change(refs, {.from = States::all(), .to = State::gone}, call());
      cursor = each.next;
    } while (!cursor.empty());
    EXPECT_THAT(ids({.states = state}), IsEmpty()) << to_string(state);
  }
}

// Why: a cursor comes back from a browser; what isn't one is the caller's mistake and must not crash or
// answer nonsense. How: texts that look a little like one.
TEST_P(CatalogContract, Port_ABadCursorIsAnError) {
  put(task("a"));
  for (const std::string cursor : {"x", "1", "1:2", ":::::", "99999999999999999999:0:0:0:q", "🙂"}) {
    try {
      page({}, cursor, 10);
      ADD_FAILURE() << "took \"" << cursor << "\"";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid) << cursor;
    }
  }
}

// Why: each field of a filter is a promise of its own. How: tasks that differ in one field each.
TEST_P(CatalogContract, Port_EachFieldOfAFilterSelects) {
  Task kind = task("kind", "q");
  kind.kind = "mail:send";
  Task group = task("group", "q", State::aggregating);
  group.group = "g1";
  Task payload = task("payload", "q", State::held);
  payload.payload = std::string("x%_\0needle", 10);
  put_all({kind, group, payload, task("other", "r")});
  const Lease lease = claim_one();
  ASSERT_EQ(lease.task.ref.id, "kind");
  Report failure = outcome(lease, State::retry);
  failure.error = "disk is full";
  failure.record = true;
  end(failure);
  advance(1s);
  put(task("young", "q"));

  EXPECT_THAT(ids({.queue = "r"}), ElementsAre("other"));
  EXPECT_THAT(ids({.queue = "none"}), IsEmpty());
  EXPECT_THAT(ids({.kind = "mail:send"}), ElementsAre("kind"));
  EXPECT_THAT(ids({.kind = "mail:sen"}), IsEmpty());
  EXPECT_THAT(ids({.kind = "mail:*"}), ElementsAre("kind"));
  EXPECT_THAT(ids({.kind = "mail:send*"}), ElementsAre("kind"));
  EXPECT_THAT(ids({.kind = "MAIL:*"}), IsEmpty());
  EXPECT_THAT(ids({.kind = "m_il:*"}), IsEmpty());
  EXPECT_EQ(ids({.kind = "*"}).size(), 5U);
  EXPECT_THAT(ids({.group = "g1"}), ElementsAre("group"));
  EXPECT_THAT(ids({.group = "g"}), IsEmpty());
  EXPECT_THAT(ids({.text = "needle"}), ElementsAre("payload"));
  EXPECT_THAT(ids({.text = "%_"}), ElementsAre("payload"));
  EXPECT_THAT(ids({.text = "NEEDLE"}), IsEmpty());
  EXPECT_THAT(ids({.text = "disk"}), ElementsAre("kind"));
  EXPECT_THAT(ids({.text = "oun"}), ElementsAre("young"));
  EXPECT_THAT(ids({.states = States{State::retry} + State::held}), ElementsAre("kind", "payload"));
  EXPECT_THAT(ids({.states = States{}}), IsEmpty());
  EXPECT_THAT(ids({.id = "pay"}), ElementsAre("payload"));
  EXPECT_THAT(ids({.id = "payload"}), ElementsAre("payload"));
  EXPECT_THAT(ids({.id = "ayload"}), IsEmpty());
  EXPECT_THAT(ids({.id = "PAY"}), IsEmpty());
  EXPECT_THAT(ids({.queue = "q", .created_from = now()}), ElementsAre("young"));
  EXPECT_THAT(ids({.queue = "q", .created_from = now() + 1us}), IsEmpty());
  EXPECT_THAT(ids({.queue = "q", .created_before = now()}), ElementsAre("kind", "group", "payload"));
  EXPECT_THAT(ids({.queue = "q", .states = State::pending, .created_before = now() + 1us}),
              ElementsAre("young"));
}

// Why: `find` stops at its budget and says so, and a caller who goes on gets everything. How: no budget at
// all, and a text that only the last of many tasks has.
TEST_P(CatalogContract, Rule7_FindStopsAtItsBudgetAndGoesOn) {
  need({Feature::search});
  if (IsSkipped()) return;
  for (int i = 0; i < 20; ++i) put_all(numbered(1000, std::to_string(i) + "-", task("")));
  advance(1s);
  Task last = task("last");
  last.payload = "needle";
  put(last);
  const Page first = page({.text = "needle"}, "", 10, 0us);
  EXPECT_FALSE(first.complete);
  EXPECT_FALSE(first.next.empty());
  std::vector<Task> found = first.tasks;
  std::string cursor = first.next;
  for (int calls = 0; !cursor.empty() && calls < 100'000; ++calls) {
    const Page next = page({.text = "needle"}, cursor, 10, 0us);
    found.insert(found.end(), next.tasks.begin(), next.tasks.end());
    cursor = next.next;
  }
  EXPECT_THAT(ids_of(found), ElementsAre("last"));
  EXPECT_TRUE(page({}, "", 10).complete);
}

// Why: batches of refs are answered index for index. How: there, not there, elsewhere, twice.
TEST_P(CatalogContract, Rule6_GetAnswersEachRef) {
  put_all({task("a"), task("b")});
  const std::vector<Ref> refs = {{"q", "b"}, {"q", "none"}, {"other", "a"}, {"q", "a"}, {"q", "b"}};
  const auto tasks = catalog().get(refs, call());
  ASSERT_EQ(tasks.size(), 5U);
  EXPECT_EQ(tasks[0]->ref.id, "b");
  EXPECT_FALSE(tasks[1]);
  EXPECT_FALSE(tasks[2]);
  EXPECT_EQ(tasks[3]->ref.id, "a");
  EXPECT_EQ(tasks[4]->ref.id, "b");
  EXPECT_THAT(attempts("none"), IsEmpty());
}

// Why: a due time is shown where a task waits for it and nowhere else. How: one task through its states.
TEST_P(CatalogContract, Port_RunAtIsShownWhileATaskWaitsForIt) {
  put(delayed("a", 10s));
  EXPECT_EQ(get("a")->run_at, now() + 10s);
  advance(10s);
  sweep();
  EXPECT_EQ(get("a")->run_at, std::nullopt);
  const Lease lease = claim_one();
  EXPECT_EQ(get("a")->run_at, std::nullopt);
  end(lease, State::retry);
  EXPECT_EQ(get("a")->run_at, now());
}

// Why: queues are listed with exact counts, also of states that tasks pass quickly. How: one queue's tasks in
// every state; the empty queue stays listed.
TEST_P(CatalogContract, Port_QueuesAreListedWithTheirCounts) {
  EXPECT_THAT(catalog().queues(call()), IsEmpty());
  put_all({task("a"), task("b"), task("c"), task("d"), delayed("e", 1h), task("f", "q", State::held)});
  put(task("g", "p", State::aggregating));
  const Claimed claimed = claim({.most = 3});
  end(claimed.leases.at(0), State::archived);
  end(claimed.leases.at(1), State::gone);

  const auto queues = catalog().queues(call());
  ASSERT_EQ(queues.size(), 2U);
  EXPECT_EQ(queues[0].name, "p");
  auto counts = queue()->counts;
  EXPECT_EQ(counts[State::pending], 1U);
  EXPECT_EQ(counts[State::active], 1U);
  EXPECT_EQ(counts[State::scheduled], 1U);
  EXPECT_EQ(counts[State::held], 1U);
  EXPECT_EQ(counts[State::archived], 1U);
  EXPECT_EQ(counts[State::completed], 0U);

  const Ref ref{"p", "g"};
  catalog().change({&ref, 1}, {.from = States::all(), .to = State::gone}, call());
  const auto empty = queue("p");
  ASSERT_TRUE(empty) << "it has had a task";
  for (const auto& [state, count] : empty->counts) EXPECT_EQ(count, 0U) << to_string(state);
}

// Why: the oldest waiting task is what an alarm looks at. How: two tasks, claim the older; none pending is
// zero.
TEST_P(CatalogContract, Port_OldestIsTheLongestWait) {
  need_whole(Feature::order);
  if (IsSkipped()) return;
  put(task("a"));
  advance(5s);
  Task high = task("b");
  high.priority = 9;
  put(high);
  advance(2s);
  EXPECT_EQ(queue()->oldest, 7s);
  EXPECT_EQ(claim_one().task.ref.id, "b");
  EXPECT_EQ(queue()->oldest, 7s);
  EXPECT_EQ(claim_one().task.ref.id, "a");
  EXPECT_EQ(queue()->oldest, 0s);
}

// Why: a pause is seen, and holds for a queue that has had no task yet. How: pause one before its first task.
TEST_P(CatalogContract, Port_APauseIsShownAndComesBeforeTheFirstTask) {
  catalog().pause("q", true, call());
  catalog().pause("q", true, call());
  put(task("a"));
  EXPECT_TRUE(queue()->paused);
  EXPECT_THAT(claim({}).leases, IsEmpty());
  catalog().pause("q", false, call());
  EXPECT_FALSE(queue()->paused);
  EXPECT_EQ(claim({}).leases.size(), 1U);
}

// Why: a queue that nobody uses any more should not be in everybody's way, and one with tasks must not go.
// How: a task in each state in turn keeps the queue; without it the queue goes, with its pause.
TEST_P(CatalogContract, Port_AQueueWithoutTasksCanBeErased) {
  put(task("other", "p"));
  const auto erase = [&](std::string_view name) { return catalog().erase_queue(name, call()); };
  EXPECT_EQ(erase("q"), Changed::absent);
  catalog().pause("q", true, call());
  EXPECT_EQ(erase("q"), Changed::absent) << "a pause alone lists no queue";
  catalog().pause("q", false, call());
  for (const State state : {State::pending, State::scheduled, State::held, State::aggregating, State::active,
                            State::retry, State::completed, State::archived}) {
    const bool at_rest =
        (States{State::pending} + State::scheduled + State::held + State::aggregating).has(state);
    Task one = task("a", "q", at_rest ? state : State::pending);
    if (state == State::scheduled) one.delay = 1h;
    if (state == State::aggregating) one.group = "g";
    put(one);
    Lease lease;
    if (!at_rest) lease = claim_one();
    if (!at_rest && state != State::active) {
      Report report = outcome(lease, state);
      report.delay = 1h;
      report.keep = 1h;
      end(report);
    }
    EXPECT_EQ(state_of("a"), state);
    EXPECT_EQ(erase("q"), Changed::wrong_state) << to_string(state);
    EXPECT_EQ(state_of("a"), state) << "it is left alone";
    if (state == State::active) {
      end(lease, State::gone);
    } else {
      change("a", {.from = States::all(), .to = State::gone});
    }
    catalog().pause("q", true, call());
    ASSERT_TRUE(queue());
    EXPECT_EQ(erase("q"), Changed::changed) << to_string(state);
    EXPECT_FALSE(queue());
    EXPECT_EQ(erase("q"), Changed::absent);
  }
  EXPECT_TRUE(queue("p")) << "another one stays";
  put(task("b"));
  EXPECT_TRUE(queue()) << "a task makes it anew";
  EXPECT_EQ(claim({}).leases.size(), 1U) << "without its pause";
}

INSTANTIATE_TEST_SUITE_P(Stores, CatalogContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
