// Tasks put into other queues.
#include <set>
#include <thread>

#include "contract.hpp"
#include "core/rules.hpp"
#include "describe.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

class MoveContract : public Contract {
 protected:
  void SetUp() override { need({Feature::list}); }

  std::vector<Changed> move_all(const std::vector<Ref>& refs, const std::string& to) {
    return catalog().move(refs, rules::states_of(Act::move), to, call());
  }
  Changed move(const std::string& id, const std::string& to = "other", const std::string& from = "q") {
    return move_all({{from, id}}, to).at(0);
  }
  /// With counters, a history and an error, in that state.
  void make_failed(const std::string& id, State state) {
    put(task(id));
    const Lease lease = claim_one();
    Report report = outcome(lease, state);
    report.attempt = 3;
    report.retries = 2;
    report.crashes = 1;
    report.deferrals = 4;
    report.delay = 1h + 1us;
    report.record = true;
    report.error = "before";
    report.logs = {{now(), Level::info, "a line"}};
    ASSERT_EQ(end(report), Reported::applied);
  }
  std::size_t count(const std::string& queue_name, State state) {
    auto found = queue(queue_name);
    return found ? found->counts[state] : 0;
  }
};

// Why: a move is no new task: what it is and what has happened to it goes along. How: one in each state that
// may be moved, with all there is to have, before and after.
TEST_P(MoveContract, Port_AMoveTakesAllOfItAlong) {
  using enum State;
  Task rich = task("pending");
  rich.headers = {{"a", "1"}};
  rich.priority = -3;
  rich.retries_max = 9;
  rich.timeout = 90s;
  rich.retention = 1500ms;
  rich.deadline = now() + 5h + 1us;
  rich.expires_at = now() + 6h;
  rich.created_at = now() - 24h;
  make_failed("retry", retry);
  make_failed("held", held);
  put(rich);
  put(delayed("scheduled", 30min + 1us));
  advance(1s);
  for (const State state : {pending, scheduled, retry, held}) {
    const std::string id{to_string(state)};
    SCOPED_TRACE(id);
    Task before = get(id).value();
    const auto kept = attempts(id);
    ASSERT_EQ(before.state, state);
    EXPECT_EQ(move(id), Changed::changed);
    EXPECT_FALSE(get(id));
    const auto after = get(id, "other");
    ASSERT_TRUE(after);
    before.ref.queue = "other";
    EXPECT_EQ(describe::task(*after), describe::task(before));
    EXPECT_EQ(describe::all(catalog().attempts({"other", id}, call()), describe::attempt),
              describe::all(kept, describe::attempt));
    EXPECT_THAT(attempts(id), IsEmpty());
    EXPECT_EQ(count("q", state), 0U);
    EXPECT_EQ(count("other", state), 1U);
    EXPECT_EQ(put(task(id)).put, Put::created) << "the id is free";
    change(id, {.from = States::all(), .to = gone});
  }
  EXPECT_THAT(ids_of(claim({.queues = {"q", "other"}, .most = 9}).leases), ElementsAre("pending"));
  const Claimed later = claim({.queues = {"other"}, .most = 9});
  EXPECT_EQ(later.next_due, get("scheduled", "other")->run_at);
  advance(1h);
  EXPECT_THAT(ids_of(claim({.queues = {"other"}, .most = 9}).leases), ElementsAre("scheduled", "retry"));
}

// Why: what runs is its worker's, what has ended is history, and a group is one of its queue. How: each of
// these, one that is absent, and a task twice.
TEST_P(MoveContract, Port_OtherStatesStayWhereTheyAre) {
  using enum State;
  put(task("active"));
  claim_one();
  make_failed("archived", archived);
  make_failed("completed", completed);
  Task grouped = task("aggregating", "q", aggregating);
  grouped.group = "g";
  put(grouped);
  for (const char* id : {"active", "archived", "completed", "aggregating"}) {
    EXPECT_EQ(move(id), Changed::wrong_state) << id;
    EXPECT_TRUE(get(id)) << id;
    EXPECT_FALSE(get(id, "other")) << id;
  }
  put(task("a"));
  EXPECT_THAT(move_all({{"q", "a"}, {"q", "none"}, {"q", "a"}, {"none", "a"}}, "other"),
              ElementsAre(Changed::changed, Changed::absent, Changed::absent, Changed::absent));
  EXPECT_TRUE(get("a", "other"));
}

// Why: an id and a key are one's own within a queue; a task that can't come stays, where it was in the line.
// How: one whose id is there, one whose key is; then the way is free.
TEST_P(MoveContract, Port_ATaskWhoseIdOrKeyIsTakenStays) {
  need({Feature::unique});
  put(task("a", "other"));
  Task holder = keyed("holder", "k");
  holder.ref.queue = "other";
  put(holder);
  put(task("a"));
  put(keyed("b", "k"));
  put(task("c"));
  EXPECT_THAT(move_all({{"q", "a"}, {"q", "b"}}, "other"), ElementsAre(Changed::exists, Changed::conflict));
  EXPECT_EQ(get("b")->unique->key, "k");
  EXPECT_EQ(get("b")->reason, "");
  EXPECT_EQ(move("a", "q", "q"), Changed::exists);
  EXPECT_THAT(ids_of(claim({.most = 3}).leases), ElementsAre("a", "b", "c"));
  EXPECT_EQ(count("other", State::pending), 2U);
}

// Why: the key goes with the task, for what is left of its window, and is free where it was. How: with and
// without a window, and one that outlives the task.
TEST_P(MoveContract, Rule5_TheKeyGoesAlong) {
  need({Feature::unique});
  const auto elsewhere = [&](const std::string& id, const std::string& key) {
    Task one = keyed(id, key);
    one.ref.queue = "other";
    return put(one);
  };
  put(keyed("a", "k"));
  put(keyed("b", "l", {.window = 10s, .outlives_task = true}));
  Task derived = task("c");
  derived.unique = Unique{.key = rules::key_of(derived.kind, derived.payload)};
  put(derived);
  advance(4s);
  for (const char* id : {"a", "b", "c"}) EXPECT_EQ(move(id), Changed::changed);
  EXPECT_EQ(put(keyed("x", "k")).put, Put::created);
  EXPECT_EQ(put(keyed("y", "l")).put, Put::created);
  EXPECT_EQ(elsewhere("x", "k").id, "a");
  EXPECT_EQ(elsewhere("x", "l").id, "b");
  EXPECT_EQ(elsewhere("x", derived.unique->key).id, "c");
  for (const Lease& lease : claim({.queues = {"other"}, .most = 9}).leases)
    EXPECT_EQ(end(lease, State::gone), Reported::applied);
  EXPECT_EQ(elsewhere("x", "k").put, Put::created);
  EXPECT_EQ(elsewhere("y", "l").put, Put::exists) << "it outlives its task";
  EXPECT_EQ(elsewhere("z", derived.unique->key).put, Put::created);
  advance(6s);
  EXPECT_EQ(elsewhere("y", "l").put, Put::created);
}

// Why: a task whose window is over has no key to take along, and must not take that of who has it now. How:
// let it pass, in the new queue too.
TEST_P(MoveContract, Rule5_AKeyWhoseWindowIsOverStaysBehind) {
  need({Feature::unique});
  put(keyed("a", "k", {.window = 10s}));
  Task other = keyed("holder", "k", {.window = 10s});
  other.ref.queue = "other";
  put(other);
  advance(10s);
  other.ref.id = "next";
  EXPECT_EQ(put(other).put, Put::created);
  EXPECT_EQ(move("a"), Changed::changed);
  EXPECT_FALSE(get("a", "other")->unique);
  change("a", {.from = States::all(), .to = State::gone, .release_key = true});
  other.ref.id = "last";
  EXPECT_EQ(put(other).id, "next");
}

// Why: nobody who waits is overtaken by a newcomer. How: move an older one, then a newer comes.
TEST_P(MoveContract, Port_AMovedTaskGoesToTheEndOfTheLine) {
  put(task("old"));
  advance(1s);
  put(task("waits", "other"));
  advance(1s);
  EXPECT_EQ(move("old"), Changed::changed);
  advance(1s);
  put(task("new", "other"));
  EXPECT_THAT(ids_of(claim({.queues = {"other"}, .most = 9}).leases), ElementsAre("waits", "old", "new"));
}

// Why: a worker that waits for a task takes the one that comes by a move. How: wait in another thread.
TEST_P(MoveContract, Port_AMoveWakesWhoeverWaits) {
  put(task("a"));
  EXPECT_THAT(claim({.queues = {"other"}}).leases, IsEmpty());
  std::thread mover{[&] { EXPECT_EQ(move("a"), Changed::changed); }};
  const std::vector<std::string_view> queues = {"other"};
  std::vector<Lease> leases;
  while (leases.empty()) {
    store().wait("w1", queues, 60s, {});
    leases = claim({.queues = {"other"}}).leases;
  }
  mover.join();
  EXPECT_THAT(ids_of(leases), ElementsAre("a"));
}

// Why: nothing is lost and nothing runs twice, whoever moves and claims at the same time. How: two threads
// move tasks to and fro, one claims from both queues; each must come once.
TEST_P(MoveContract, Rule2_AMovedTaskIsClaimedOnce) {
  constexpr std::size_t count = 60;
  put_all(numbered(count, "t", task("")));
  std::vector<Ref> here;
  std::vector<Ref> there;
  for (std::size_t i = 0; i < count; ++i) {
    here.push_back({"q", "t" + std::to_string(i)});
    there.push_back({"other", "t" + std::to_string(i)});
  }
  std::atomic<bool> done = false;
  const auto mover = [&] {
    while (!done) {
      move_all(here, "other");
      move_all(there, "q");
    }
  };
  std::thread first{mover};
  std::thread second{mover};
  std::multiset<std::string> claimed;
  while (claimed.size() < count) {
    for (const Lease& lease : claim({.queues = {"q", "other"}, .most = 1}).leases)
      claimed.insert(lease.task.ref.id);
  }
  done = true;
  first.join();
  second.join();
  EXPECT_EQ(std::set<std::string>(claimed.begin(), claimed.end()).size(), count);
  EXPECT_THAT(claim({.queues = {"q", "other"}, .most = 9}).leases, IsEmpty());
  EXPECT_EQ(ids().size(), count);
}

INSTANTIATE_TEST_SUITE_P(Stores, MoveContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
