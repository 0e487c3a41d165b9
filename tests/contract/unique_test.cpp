// Unique keys: who holds one, and until when.
#include "contract.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;

class UniqueContract : public Contract {
 protected:
  void SetUp() override { need({Feature::unique, Feature::list}); }

  bool is_free(const std::string& key) {
    const Enqueued answer = put(keyed("probe", key));
    if (answer.put != Put::created) return false;
    const Change erase{.from = States::all(), .to = State::gone, .release_key = true};
    EXPECT_EQ(change("probe", erase), Changed::changed);
    return true;
  }
};

// Why: a second enqueue gets the first's id, whether it asks to keep or to reject; what differs is core's.
// How: both, under a held key.
TEST_P(UniqueContract, Rule5_ASecondTaskGetsTheFirstsId) {
  EXPECT_EQ(put(keyed("first", "k")).put, Put::created);
  for (const OnConflict on : {OnConflict::keep, OnConflict::reject}) {
    const Enqueued second = put(keyed("second", "k", {.on_conflict = on}));
    EXPECT_EQ(second.put, Put::exists);
    EXPECT_EQ(second.id, "first");
    EXPECT_FALSE(second.why.empty());
  }
  EXPECT_THAT(ids(), ElementsAre("first"));
}

// Why: a key is one of its queue, and one of its bytes. How: the same key elsewhere, other keys here.
TEST_P(UniqueContract, Rule5_AKeyIsOfItsQueueAndItsBytes) {
  put(keyed("a", "k"));
  Task elsewhere = keyed("a", "k");
  elsewhere.ref.queue = "other";
  EXPECT_EQ(put(elsewhere).put, Put::created);
  EXPECT_EQ(put(keyed("b", "K")).put, Put::created);
  EXPECT_EQ(put(keyed("c", "k ")).put, Put::created);
  EXPECT_EQ(put(keyed("d", std::string("k\0x", 3))).put, Put::created);
  EXPECT_EQ(put(task("e")).put, Put::created);
}

// Why: the key is held until the task ends, whatever happens to it before. How: lead a task through every
// state that is not an end, and try at each.
TEST_P(UniqueContract, Rule5_TheKeyIsHeldWhileTheTaskLives) {
  put(keyed("a", "k"));
  EXPECT_FALSE(is_free("k"));
  const Lease first = claim_one();
  EXPECT_FALSE(is_free("k")) << "active";
  Report retry = outcome(first, State::retry);
  retry.attempt = retry.retries = 1;
  retry.delay = 10s;
  EXPECT_EQ(end(retry), Reported::applied);
  EXPECT_FALSE(is_free("k")) << "retry";
  advance(10s);
  const Lease second = claim_one();
  EXPECT_EQ(end(second, State::held), Reported::applied);
  EXPECT_FALSE(is_free("k")) << "held";
  EXPECT_EQ(change("a", {.from = State::held, .to = State::pending}), Changed::changed);
  EXPECT_FALSE(is_free("k")) << "pending";
  const Lease third = claim_one();
  EXPECT_EQ(end(third, State::scheduled), Reported::applied);
  EXPECT_FALSE(is_free("k")) << "scheduled";
}

// Why: the key goes in the write that ends the task, on every path. How: end a task by every report and every
// change that ends one, and take the key.
TEST_P(UniqueContract, Rule5_TheKeyGoesOnEveryPathThatEndsATask) {
  using enum State;
  for (const State to : {gone, completed, archived}) {
    SCOPED_TRACE(to_string(to));
    const std::string id = "reported " + std::string{to_string(to)};
    put(keyed(id, "k"));
    const Lease lease = claim_one();
    EXPECT_EQ(end(lease, to), Reported::applied);
    EXPECT_TRUE(is_free("k"));
  }
  for (const State from : {scheduled, pending, aggregating, held}) {
    for (const State to : {gone, archived}) {
      SCOPED_TRACE(std::string{to_string(from)} + " to " + std::string{to_string(to)});
      Task one = keyed(std::string{to_string(from)} + std::string{to_string(to)}, "k");
      one.state = from;
      EXPECT_EQ(put(one).put, Put::created);
      EXPECT_EQ(change(one.ref.id, {.from = from, .to = to, .release_key = true}), Changed::changed);
      EXPECT_TRUE(is_free("k"));
    }
  }
}

// Why: "in bulk too". How: many tasks with keys, archived by one call.
TEST_P(UniqueContract, Rule5_ABulkChangeReleasesEveryKey) {
  std::vector<Ref> refs;
  for (int i = 0; i < 50; ++i) {
    const std::string name = std::to_string(i);
    put(keyed(name, name));
    refs.push_back({"q", name});
  }
  const Change archive{.from = States::all(), .to = State::archived, .release_key = true};
  EXPECT_THAT(catalog().change(refs, archive, call()), testing::Each(Changed::changed));
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(is_free(std::to_string(i))) << i;
}

// Why: an attempt that ended with a retention, and was not told to release, still goes one day: a deleted
// task holds nothing. How: complete without release, then purge.
TEST_P(UniqueContract, Rule5_APurgedTaskHoldsNoKey) {
  put(keyed("a", "k"));
  const Lease lease = claim_one();
  Report done = outcome(lease, State::completed);
  done.keep = 10s;
  done.release_key = false;
  EXPECT_EQ(end(done), Reported::applied);
  EXPECT_FALSE(is_free("k"));
  advance(10s);
  EXPECT_EQ(sweep().purged, 1U);
  EXPECT_TRUE(is_free("k"));
}

// Why: the window ends the hold, exactly at its end. How: a microsecond before, and then.
TEST_P(UniqueContract, Rule5_TheKeyIsFreeAtTheEndOfItsWindow) {
  put(keyed("a", "k", {.window = 10s}));
  advance(10s - 1us);
  EXPECT_EQ(put(keyed("b", "k")).id, "a");
  EXPECT_TRUE(get("a")->unique);
  advance(1us);
  EXPECT_EQ(put(keyed("b", "k")).put, Put::created);
  EXPECT_FALSE(get("a")->unique) << "it is b's now";
  EXPECT_TRUE(get("b")->unique);
}

// Why: the window and the end, whichever is first. How: end before the window does.
TEST_P(UniqueContract, Rule5_TheKeyGoesWithTheTaskBeforeItsWindowEnds) {
  put(keyed("a", "k", {.window = 1h}));
  const Lease lease = claim_one();
  end(lease, State::gone);
  EXPECT_TRUE(is_free("k"));
}

// Why: a task whose window has ended no longer holds the key, so its end must not release the new holder's.
// How: let the window pass, give the key to a second, end the first in three ways.
TEST_P(UniqueContract, Rule5_AnOlderTaskDoesNotReleaseTheNewHoldersKey) {
  put(keyed("old", "k", {.window = 10s}));
  put(keyed("older", "l", {.window = 10s}));
  advance(10s);
  EXPECT_EQ(put(keyed("new", "k")).put, Put::created);
  EXPECT_EQ(put(keyed("newer", "l")).put, Put::created);
  const Lease lease = claim_one();
  EXPECT_EQ(lease.task.ref.id, "old");
  EXPECT_EQ(end(lease, State::gone), Reported::applied);
  EXPECT_EQ(change("older", {.from = States::all(), .to = State::archived, .release_key = true}),
            Changed::changed);
  EXPECT_EQ(put(keyed("third", "k")).id, "new");
  EXPECT_EQ(put(keyed("third", "l")).id, "newer");
  EXPECT_EQ(change("older", {.from = States::all(), .to = State::gone, .release_key = true}),
            Changed::changed);
  EXPECT_EQ(put(keyed("third", "l")).id, "newer");
}

// Why: a window may be told to outlive its task (an idempotency key). How: end the task on every path; the
// key stays with its id until the window ends, and replace can't touch what has ended.
TEST_P(UniqueContract, Rule5_AKeyThatOutlivesItsTaskStaysUntilItsWindowEnds) {
  const Unique lasting{.window = 1min, .outlives_task = true};
  put_all({keyed("gone", "1", lasting), keyed("kept", "2", lasting), keyed("erased", "3", lasting)});
  const Claimed claimed = claim({.most = 2});
  ASSERT_EQ(claimed.leases.size(), 2U);
  EXPECT_EQ(end(claimed.leases[0], State::gone), Reported::applied);
  EXPECT_EQ(end(claimed.leases[1], State::completed), Reported::applied);
  EXPECT_EQ(change("erased", {.from = State::pending, .to = State::gone, .release_key = true}),
            Changed::changed);

  advance(1min - 1us);
  sweep();
  for (const OnConflict on : {OnConflict::keep, OnConflict::replace}) {
    EXPECT_EQ(put(keyed("x", "1", {.on_conflict = on})).id, "gone");
    EXPECT_EQ(put(keyed("x", "2", {.on_conflict = on})).id, "kept");
    EXPECT_EQ(put(keyed("x", "3", {.on_conflict = on})).put, Put::exists);
  }
  advance(1us);
  sweep();
  for (const char* key : {"1", "2", "3"}) EXPECT_TRUE(is_free(key)) << key;
}

// Why: replace overwrites kind, payload, options and time of a task that has not started; its id stays, and
// its age. How: replace a task in every state where it can wait, and compare all fields.
TEST_P(UniqueContract, Rule5_ReplaceOverwritesATaskThatHasNotStarted) {
  using enum State;
  for (const State from : {scheduled, pending, aggregating, held}) {
    SCOPED_TRACE(to_string(from));
    const std::string key{to_string(from)};
    Task first = keyed(key, key);
    first.state = from;
    first.delay = 1h;
    first.headers = {{"old", "1"}};
    put(first);
    const TimePoint born = now();
    advance(1s);

    Task second = keyed("second", key, {.window = 5min, .on_conflict = OnConflict::replace});
    second.kind = "other";
    second.payload = "new";
    second.headers = {{"new", "2"}};
    second.priority = 9;
    second.retries_max = 1;
    second.crashes_max = 7;
    second.timeout = 3s;
    second.retention = 4s;
    second.deadline = now() + 1h;
    second.expires_at = now() + 2h;
    second.group = "g";
    const Enqueued answer = put(second);
    EXPECT_EQ(answer.put, Put::replaced);
    EXPECT_EQ(answer.id, key);

    const auto stored = get(key);
    ASSERT_TRUE(stored);
    EXPECT_EQ(stored->state, pending);
    EXPECT_EQ(stored->created_at, born);
    EXPECT_EQ(stored->kind, "other");
    EXPECT_EQ(stored->payload, "new");
    EXPECT_EQ(stored->headers, second.headers);
    EXPECT_EQ(stored->priority, 9);
    EXPECT_EQ(stored->retries_max, 1);
    EXPECT_EQ(stored->crashes_max, 7);
    EXPECT_EQ(stored->timeout, 3s);
    EXPECT_EQ(stored->retention, 4s);
    EXPECT_EQ(stored->deadline, second.deadline);
    EXPECT_EQ(stored->expires_at, second.expires_at);
    EXPECT_EQ(stored->group, "g");
    EXPECT_EQ(stored->run_at, std::nullopt);
    ASSERT_TRUE(stored->unique);
    EXPECT_EQ(stored->unique->window, 5min);
  }
  EXPECT_EQ(get("second"), std::nullopt);
}

// Why: a replacement has its own time and place: it is as if it had come now. How: replace the first of two,
// then make it wait.
TEST_P(UniqueContract, Rule5_AReplacementTakesItsOwnPlaceInTheLine) {
  put_all({keyed("a", "k"), task("b")});
  advance(1s);
  EXPECT_EQ(put(keyed("x", "k", {.on_conflict = OnConflict::replace})).put, Put::replaced);
  EXPECT_THAT(ids(), ElementsAre("b", "a"));
  Task late = keyed("x", "k", {.on_conflict = OnConflict::replace});
  late.state = State::scheduled;
  late.delay = 7s;
  EXPECT_EQ(put(late).put, Put::replaced);
  EXPECT_EQ(get("a")->run_at, now() + 7s);
  EXPECT_THAT(ids_of(claim({.most = 9}).leases), ElementsAre("b"));
  advance(7s);
  EXPECT_THAT(ids_of(claim({.most = 9}).leases), ElementsAre("a"));
}

// Why: replace starts the key's window anew, or the replacement would be protected for less than was asked.
// How: replace in mid-window.
TEST_P(UniqueContract, Rule5_AReplacementStartsTheWindowAnew) {
  put(keyed("a", "k", {.window = 10s}));
  advance(9s);
  EXPECT_EQ(put(keyed("b", "k", {.window = 10s, .on_conflict = OnConflict::replace})).put, Put::replaced);
  advance(9s);
  EXPECT_EQ(put(keyed("b", "k")).put, Put::exists);
  advance(1s);
  EXPECT_EQ(put(keyed("b", "k")).put, Put::created);
}

// Why: what has started can't be overwritten any more. How: replace an active one, one that waits for its
// retry, one that is pending after an attempt, and one whose worker died.
TEST_P(UniqueContract, Rule5_ReplaceAnswersBusyOnceTheTaskHasStarted) {
  const auto expect_busy = [&](const char* when) {
    Task other = keyed("b", "k", {.on_conflict = OnConflict::replace});
    other.payload = "other";
    const Enqueued answer = put(other);
    EXPECT_EQ(answer.put, Put::busy) << when;
    EXPECT_EQ(answer.id, "a");
    EXPECT_EQ(get("a")->payload, "payload");
  };
  put(keyed("a", "k"));
  const Lease first = claim_one();
  expect_busy("active");
  Report report = outcome(first, State::retry);
  report.attempt = report.retries = 1;
  end(report);
  expect_busy("retry");
  const Lease second = claim_one();
  end(second, State::pending);
  expect_busy("pending after an attempt");
  const Lease third = claim_one();
  report = outcome(third, State::pending);
  report.attempt = 0;
  report.crashes = 1;
  end(report);
  expect_busy("pending after a crash");
}

// Why: a task that was leased and given back untouched has not started. How: give back, then replace.
TEST_P(UniqueContract, Rule5_AGivenBackTaskCanBeReplaced) {
  put(keyed("a", "k"));
  const Lease lease = claim_one();
  end(lease, State::pending);
  EXPECT_EQ(put(keyed("b", "k", {.on_conflict = OnConflict::replace})).put, Put::replaced);
}

// Why: the id decides before the key: a repeated enqueue must not replace what it made itself. How: the same
// task twice, told to replace.
TEST_P(UniqueContract, Rule10_ARepeatedReplaceDoesNothing) {
  const Task one = keyed("a", "k", {.on_conflict = OnConflict::replace});
  EXPECT_EQ(put(one).put, Put::created);
  EXPECT_EQ(put(one).put, Put::exists);
}

// Why: operators want to see the key, and only while the task holds it. How: read it, end the task.
TEST_P(UniqueContract, Rule5_TheCatalogueShowsTheKeyWhileItIsHeld) {
  put(keyed("a", "k", {.window = 1h}));
  ASSERT_TRUE(get("a")->unique);
  EXPECT_EQ(get("a")->unique->key, "k");
  EXPECT_EQ(get("a")->unique->window, 1h);
  EXPECT_FALSE(get("a")->unique->outlives_task);
  change("a", {.from = State::pending, .to = State::archived, .release_key = true});
  EXPECT_FALSE(get("a")->unique);
}

// Why: an archived task that is run again has lost its key for good, and must neither hold nor release it.
// How: archive, give the key to another, run the first again and end it.
TEST_P(UniqueContract, Rule5_ATaskThatIsRunAgainDoesNotGetItsKeyBack) {
  put(keyed("a", "k"));
  change("a", {.from = State::pending, .to = State::archived, .release_key = true});
  EXPECT_EQ(put(keyed("b", "k")).put, Put::created);
  EXPECT_EQ(change("a", {.from = State::archived, .to = State::pending}), Changed::changed);
  EXPECT_EQ(put(keyed("c", "k")).id, "b");
  EXPECT_EQ(change("a", {.from = State::pending, .to = State::gone, .release_key = true}), Changed::changed);
  EXPECT_EQ(put(keyed("c", "k")).id, "b");
}

INSTANTIATE_TEST_SUITE_P(Stores, UniqueContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
