// Tasks overwritten where they stand.
#include <thread>

#include "contract.hpp"
#include "core/rules.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;

namespace {

using testing::ElementsAre;

class EditContract : public Contract {
 protected:
  void SetUp() override { need({Feature::list}); }

  Changed edit(const Edit& edit) { return catalog().edit(edit, call()); }
  /// Over the task as it is now, with all values as they are.
  Edit over(const std::string& id) {
    Edit edit{.task = get(id).value(), .from = rules::editable()};
    edit.seen = etag(edit.task);
    return edit;
  }
  Changed edit_payload(const std::string& id, const std::string& payload) {
    Edit one = over(id);
    one.task.payload = payload;
    return edit(one);
  }
  /// A failed one, with counters and a history, in that state.
  void fail(const std::string& id, State state) {
    put(task(id));
    const Lease lease = claim_one();
    Report report = outcome(lease, state);
    report.attempt = report.retries = 2;
    report.delay = 1h;
    report.record = true;
    report.error = "before";
    ASSERT_EQ(end(report), Reported::applied);
  }
};

// Why: an operator corrects what a producer said, and all that has happened to the task stays. How: every
// value of a task in every state that may be edited; then it runs.
TEST_P(EditContract, Port_AnEditOverwritesValuesAndNothingElse) {
  using enum State;
  put(task("pending"));
  put(delayed("scheduled", 1h));
  put(task("held", "q", held));
  for (const char* id : {"pending", "scheduled", "held"}) change(id, {.from = States::all(), .to = held});
  fail("retry", retry);
  fail("archived", archived);
  change("pending", {.from = held, .to = pending});
  change("scheduled", {.from = held, .to = scheduled, .run_at = now() + 1h});
  for (const State state : {pending, scheduled, held, retry, archived}) {
    const std::string id{to_string(state)};
    SCOPED_TRACE(id);
    const Task before = get(id).value();
    ASSERT_EQ(before.state, state);
    Edit one = over(id);
    one.task.kind = "other";
    one.task.payload = std::string{"\0new\xff", 5};
    one.task.headers = {{"a", "1"}, {"b", ""}};
    one.task.retries_max = 7;
    one.task.crashes_max = 0;
    one.task.timeout = 90s;
    one.task.retention = 2500ms;
    one.task.deadline = now() + 2h + 1us;
    one.task.expires_at = now() + 3h;
    EXPECT_EQ(edit(one), Changed::changed);
    const Task after = get(id).value();
    EXPECT_NE(etag(after), etag(before));
    EXPECT_EQ(etag(after), etag(one.task));
    EXPECT_EQ(after.payload, one.task.payload);
    EXPECT_EQ(after.deadline, one.task.deadline);
    EXPECT_EQ(after.expires_at, one.task.expires_at);
    EXPECT_EQ(after.state, state);
    EXPECT_EQ(after.run_at, before.run_at);
    EXPECT_EQ(after.created_at, before.created_at);
    EXPECT_EQ(after.ended_at, before.ended_at);
    EXPECT_EQ(after.started_at, before.started_at);
    EXPECT_EQ(after.error, before.error);
    EXPECT_EQ(after.attempt, before.attempt);
    EXPECT_EQ(after.retries, before.retries);
    EXPECT_EQ(attempts(id).size(), state == retry || state == archived ? 1U : 0U);
    Edit bare = over(id);
    bare.task.headers.clear();
    bare.task.timeout = bare.task.retention = {};
    bare.task.deadline = bare.task.expires_at = std::nullopt;
    EXPECT_EQ(edit(bare), Changed::changed);
    EXPECT_EQ(etag(get(id).value()), etag(bare.task));
  }
  const Lease lease = claim_one();
  EXPECT_EQ(lease.task.ref.id, "pending");
  EXPECT_EQ(lease.task.kind, "other");
  EXPECT_EQ(lease.task.payload, (std::string{"\0new\xff", 5}));
  EXPECT_EQ(lease.task.crashes_max, 0);
  EXPECT_EQ(end(lease, State::gone), Reported::applied);
}

// Why: of two who have seen the same, the second must not undo what the first has written. How: two edits
// over what was seen once; and one of what was never so.
TEST_P(EditContract, Port_AnEditOverWhatIsNoLongerSoIsStale) {
  put(task("a"));
  Edit first = over("a");
  Edit second = first;
  first.task.payload = "first";
  second.task.payload = "second";
  EXPECT_EQ(edit(first), Changed::changed);
  EXPECT_EQ(edit(second), Changed::stale);
  EXPECT_EQ(get("a")->payload, "first");
  Edit wrong = over("a");
  wrong.seen = "never";
  EXPECT_EQ(edit(wrong), Changed::stale);
  for (const Duration step : {Duration{1ms}, Duration{1s}}) {
    Edit longer = over("a");
    longer.task.timeout += step;
    EXPECT_EQ(edit(longer), Changed::changed);
    EXPECT_EQ(edit(longer), Changed::stale);
  }
}

// Why: what a handler has in its hands isn't changed under it, and what has succeeded is history. How: those
// states, one that is absent, and one that the edit isn't for.
TEST_P(EditContract, Port_RunningAndEndedTasksAreNotEdited) {
  put(task("a"));
  Edit one = over("a");
  const Lease lease = claim_one();
  EXPECT_EQ(edit(one), Changed::wrong_state);
  one.from = States::all();
  one.seen = etag(get("a").value());
  EXPECT_EQ(edit(one), Changed::wrong_state);
  one.from = rules::editable();
  Report done = outcome(lease, State::completed);
  EXPECT_EQ(end(done), Reported::applied);
  EXPECT_EQ(edit(one), Changed::wrong_state);
  one.task.ref.id = "none";
  EXPECT_EQ(edit(one), Changed::absent);
  one.task.ref = {"none", "a"};
  EXPECT_EQ(edit(one), Changed::absent);
}

// Why: to be corrected costs no place in the line; a priority is there to change it. How: edit the second of
// three; then make the third urgent.
TEST_P(EditContract, Port_AnEditedTaskKeepsItsPlaceUnlessItsPriorityIsAnother) {
  put_all({task("a"), task("b"), task("c"), task("d")});
  EXPECT_EQ(edit_payload("b", "edited"), Changed::changed);
  Edit urgent = over("c");
  urgent.task.priority = 50;
  EXPECT_EQ(edit(urgent), Changed::changed);
  EXPECT_EQ(get("c")->priority, 50);
  EXPECT_THAT(ids_of(claim({.most = 3}).leases), ElementsAre("c", "a", "b"));
  put(task("e"));
  Edit usual = over("d");
  usual.task.priority = -1;
  EXPECT_EQ(edit(usual), Changed::changed);
  EXPECT_EQ(claim({.most = 9}).leases.size(), 2U);
}

// Why: a key belongs to what it was made of; who has it keeps what is left of its window. How: another key,
// and all that asks for the two.
TEST_P(EditContract, Rule5_AnotherKeyTakesOverTheWindow) {
  need({Feature::unique});
  for (const bool outlives : {false, true}) {
    SCOPED_TRACE(outlives);
    const std::string id = outlives ? "o" : "a";
    put(keyed(id, "old", {.window = 10s, .outlives_task = outlives}));
    advance(4s);
    Edit one = over(id);
    one.task.unique->key = "new";
    EXPECT_EQ(edit(one), Changed::changed);
    ASSERT_TRUE(get(id)->unique);
    EXPECT_EQ(get(id)->unique->key, "new");
    EXPECT_EQ(get(id)->unique->outlives_task, outlives);
    EXPECT_EQ(put(keyed("x", "new")).id, id);
    EXPECT_EQ(put(keyed("y" + id, "old")).put, Put::created);
    advance(6s);
    EXPECT_EQ(put(keyed("z" + id, "new")).put, Put::created);
    for (const std::string& each : {id, "y" + id, "z" + id})
      change(each, {.from = States::all(), .to = State::gone, .release_key = true});
  }
}

// Why: two tasks never have one key. How: edit one to have the other's; it stays as it was. Then the other
// ends.
TEST_P(EditContract, Rule5_AnEditTakesNobodysKey) {
  need({Feature::unique});
  put(keyed("a", "k"));
  put(keyed("b", "l"));
  Edit one = over("b");
  one.task.unique->key = "k";
  one.task.payload = "new";
  EXPECT_EQ(edit(one), Changed::conflict);
  EXPECT_EQ(get("b")->payload, "payload");
  EXPECT_EQ(get("b")->unique->key, "l");
  EXPECT_EQ(put(keyed("c", "l")).id, "b");
  change("a", {.from = States::all(), .to = State::gone, .release_key = true});
  EXPECT_EQ(edit(one), Changed::changed);
  EXPECT_EQ(put(keyed("c", "k")).id, "b");
}

// Why: a key that was made of kind and payload guards the task as it is now, and goes with it. How: as core
// makes them: another payload, then producers of both, and the end.
TEST_P(EditContract, Rule5_AKeyMadeOfKindAndPayloadFollowsThem) {
  need({Feature::unique});
  const auto made_of = [&](const std::string& id, const std::string& payload) {
    Task one = task(id);
    one.payload = payload;
    one.unique = Unique{.key = rules::key_of(one.kind, payload)};
    return one;
  };
  put(made_of("a", "one"));
  const Task seen = get("a").value();
  NewTask wanted = rules::draft_of(seen);
  wanted.payload = "two";
  Edit one{.task = rules::edited(seen, wanted, store().capabilities()),
           .from = rules::editable(),
           .seen = etag(seen)};
  EXPECT_EQ(edit(one), Changed::changed);
  EXPECT_EQ(put(made_of("b", "two")).id, "a");
  EXPECT_EQ(put(made_of("c", "one")).put, Put::created);
  const Lease lease = claim_one();
  EXPECT_EQ(lease.task.ref.id, "a");
  EXPECT_EQ(end(lease, State::gone), Reported::applied);
  EXPECT_EQ(put(made_of("d", "two")).put, Put::created);
  EXPECT_EQ(put(made_of("e", "one")).id, "c");
}

// Why: an edit and a claim at the same time: the handler has what was written before, and nothing is written
// after. How: both of one task at once, again and again, and compare what the two were told.
TEST_P(EditContract, Rule2_AnEditIsWholeBeforeAClaimOrRefused) {
  for (int i = 0; i < 200; ++i) {
    const std::string id = std::to_string(i);
    put(task(id));
    Edit one = over(id);
    one.task.payload = "edited";
    Changed answer = Changed::absent;
    std::thread editor{[&] { answer = edit(one); }};
    // Now and then the edit has a start.
    for (int pause = 0; pause < i % 4; ++pause) get(id);
    // As long as the edit has locked it, a claim may pass it by.
    std::vector<Lease> leases;
    for (int tries = 0; leases.empty() && tries < 1000; ++tries) leases = claim({}).leases;
    editor.join();
    ASSERT_FALSE(leases.empty()) << i;
    const Lease& lease = leases.front();
    ASSERT_THAT(answer, testing::AnyOf(Changed::changed, Changed::wrong_state));
    ASSERT_EQ(lease.task.payload == "edited", answer == Changed::changed) << i;
    ASSERT_EQ(get(id)->payload, lease.task.payload) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, EditContract, testing::ValuesIn(backends()), name_of);

}  // namespace

}  // namespace tidemill::contract
