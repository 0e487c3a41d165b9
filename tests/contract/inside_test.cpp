// The caller's own transaction in a database of a server, and plain INSERTs: a task exists if and only if
// they commit, nobody waits for them meanwhile, and workers are woken.
#include "contract/inside_fixture.hpp"

#include <tidemill/groups.hpp>

namespace tidemill::contract {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

// Why: the task exists if and only if the caller's rows do. How: commit and roll back, each with names that
// are new, and use the same names again.
TEST_P(EachInside, ATaskSharesTheFateOfTheTransaction) {
  app_->run("BEGIN; INSERT INTO orders VALUES (1)");
  EXPECT_EQ(put(task("a", "new queue"), app_->transaction()).put, Put::created);
  EXPECT_EQ(put(task("a", "new queue"), app_->transaction()).put, Put::exists);
  EXPECT_FALSE(get("a", "new queue"));
  app_->run("ROLLBACK");
  EXPECT_FALSE(get("a", "new queue"));
  EXPECT_EQ(count(State::pending, "new queue"), 0U);

  EXPECT_EQ(put(task("b", "another")).put, Put::created);
  app_->run("BEGIN; INSERT INTO orders VALUES (2)");
  EXPECT_EQ(put(task("a", "new queue"), app_->transaction()).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_TRUE(get("a", "new queue"));
  EXPECT_EQ(count(State::pending, "new queue"), 1U);
  EXPECT_EQ(count(State::pending, "another"), 1U);
  EXPECT_THAT(claim("new queue"), ElementsAre("a"));
  EXPECT_THAT(app_->rows("SELECT id FROM orders"), ElementsAre("2"));
}

// Why: an expected conflict must not abort the caller's transaction.
TEST_P(EachInside, AConflictLeavesTheTransactionWhole) {
  Task holder = task("holder");
  holder.unique = Unique{.key = "k"};
  put(holder);
  app_->run("BEGIN; INSERT INTO orders VALUES (1)");
  Task second = task("second");
  second.unique = Unique{.key = "k", .on_conflict = OnConflict::reject};
  const Enqueued answer = put(second, app_->transaction());
  EXPECT_EQ(answer.put, Put::exists);
  EXPECT_EQ(answer.id, "holder");
  EXPECT_EQ(put(task("holder"), app_->transaction()).put, Put::exists);
  second.unique->key = "free";
  EXPECT_EQ(put(second, app_->transaction()).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_EQ(app_->one("SELECT count(*) FROM orders"), "1");
  EXPECT_TRUE(get("second"));
  EXPECT_EQ(count(State::pending), 2U);
}

// Why: an error of ours is not the caller's. How: another session holds the unique key, and the caller's
// patience ends.
TEST_P(EachInside, AnErrorLeavesTheTransactionAsItWas) {
  Task unique = task("one");
  unique.unique = Unique{.key = "k"};
  const auto other = connect();
  other->run("BEGIN");
  EXPECT_EQ(put(unique, other->transaction()).put, Put::created);
  app_->run(database_->begin_impatiently() + "; INSERT INTO orders VALUES (1)");
  unique.ref.id = "two";
  EXPECT_THAT(refusal([&] { put(unique, app_->transaction()); }, ErrorKind::timed_out),
              HasSubstr("begin it again"));
  EXPECT_EQ(put(task("three"), app_->transaction()).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_EQ(other->run("ROLLBACK"), "");
  EXPECT_EQ(app_->one("SELECT count(*) FROM orders"), "1");
  EXPECT_TRUE(get("three"));
  EXPECT_FALSE(get("one"));
  EXPECT_FALSE(get("two"));
}

// Why: what can't be right is said before anything is written, and harms nothing.
TEST_P(EachInside, AWrongTransactionIsRefused) {
  EXPECT_THAT(refusal([&] { put(task("a"), app_->transaction()); }), HasSubstr("BEGIN"));
  app_->run(database_->begin_read_only());
  EXPECT_THAT(refusal([&] { put(task("a"), app_->transaction()); }), HasSubstr("read only"));
  EXPECT_EQ(app_->run("COMMIT"), "");

  class Other : public Transaction {
  } other;
  EXPECT_THAT(refusal([&] { put(task("a"), &other); }), HasSubstr(database_->transaction()));
  EXPECT_FALSE(get("a"));
}

// Why: a transaction may stay open for minutes, and the queue must not. How: two of them, with everything
// that a worker does in between, of a plain queue and of a group.
TEST_P(EachInside, NobodyWaitsForAnOpenTransaction) {
  put(task("before"));
  Task member = task("member 1");
  member.state = State::aggregating;
  member.group = "g";
  put(member);
  const auto second = connect();
  app_->run("BEGIN");
  second->run("BEGIN");
  const auto grouped = [&](std::string id) {
    member.ref.id = std::move(id);
    return member;
  };
  EXPECT_EQ(put(task("one"), app_->transaction()).put, Put::created);
  EXPECT_EQ(put(grouped("member 2"), app_->transaction()).put, Put::created);
  EXPECT_EQ(put(task("two"), second->transaction()).put, Put::created);
  EXPECT_EQ(put(grouped("member 3"), second->transaction()).put, Put::created);

  EXPECT_EQ(put(task("beside")).put, Put::created);
  EXPECT_EQ(put(grouped("member 4")).put, Put::created);
  sweep();
  EXPECT_THAT(claim(), UnorderedElementsAre("before", "beside"));
  const std::vector<std::string_view> queues{"q"};
  const Gather gather{
      .worker = "w", .queues = queues, .rule = {.size_max = 2}, .count_max = 10, .lease = lease_length};
  const Gathered gathered = store_->groups()->gather(gather, call());
  ASSERT_EQ(gathered.sets.size(), 1U);
  EXPECT_EQ(gathered.sets[0].tasks.size(), 2U);

  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_EQ(second->run("COMMIT"), "");
  EXPECT_EQ(count(State::pending), 2U);
  EXPECT_EQ(count(State::aggregating), 4U);
  sweep();
  EXPECT_EQ(count(State::pending), 2U);
  EXPECT_THAT(claim(), UnorderedElementsAre("one", "two"));
  const Gathered later = store_->groups()->gather(gather, call());
  ASSERT_EQ(later.sets.size(), 1U);
  EXPECT_EQ(later.sets[0].tasks.size(), 2U);
}

// Why: counts are exact at once, and stay so when a sweep folds the deltas in.
TEST_P(EachInside, ASweepFoldsTheDeltasIn) {
  for (int i = 0; i < 3; ++i) {
    app_->run("BEGIN");
    put(task("t" + std::to_string(i)), app_->transaction());
    app_->run("COMMIT");
  }
  EXPECT_EQ(app_->one("SELECT count(*) FROM " + database_->prefix() + "delta"), "3");
  EXPECT_EQ(count(State::pending), 3U);
  sweep();
  EXPECT_EQ(app_->one("SELECT count(*) FROM " + database_->prefix() + "delta"), "0");
  EXPECT_EQ(count(State::pending), 3U);
}

TEST_P(EachInside, TheCommitWakesAWorker) {
  const auto ids = claimed_beside([&] {
    app_->run("BEGIN");
    put(task("a"), app_->transaction());
    app_->run("COMMIT");
  });
  EXPECT_THAT(ids, ElementsAre("a"));
}

// Why: what a task holds is bytes, whatever the library between makes of them. How: all bytes in the payload,
// marks that libraries look for, and ids of both sorts.
TEST_P(EachInside, AllOfATaskGetsThere) {
  Task every = task("0190b5f0-7f8a-7000-8000-00000000abcd");
  every.kind = "it's :a ?1 $2 \\ \u00fc";
  every.payload.clear();
  for (int c = 0; c < 256; ++c) every.payload += static_cast<char>(c);
  every.headers = {{"a?", ":b"}};
  every.unique = Unique{.key = "k'\\:"};
  Task second = task("second:?'$1");
  second.unique = every.unique;
  app_->run("BEGIN");
  EXPECT_EQ(put(every, app_->transaction()).put, Put::created);
  EXPECT_EQ(put(second, app_->transaction()).id, every.ref.id);
  second.unique.reset();
  EXPECT_EQ(put(second, app_->transaction()).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  const auto found = get(every.ref.id);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kind, every.kind);
  EXPECT_EQ(found->payload, every.payload);
  EXPECT_EQ(found->headers, every.headers);
  EXPECT_TRUE(get(second.ref.id));
}

// Why: any program may enqueue that speaks SQL. How: a plain INSERT, in a transaction that is rolled back and
// in one that is not.
TEST_P(EachInside, APlainInsertWakesAWorker) {
  const std::string insert = "INSERT INTO " + database_->prefix() +
                             "task (queue, id, kind, payload) VALUES ('q', 'by hand', 'k', 'hello')";
  EXPECT_EQ(app_->run("BEGIN; " + insert + "; ROLLBACK"), "");
  EXPECT_FALSE(get("by hand"));
  EXPECT_THAT(claimed_beside([&] { EXPECT_EQ(app_->run(insert), ""); }), ElementsAre("by hand"));
  EXPECT_EQ(count(State::active), 1U);
  ASSERT_TRUE(get("by hand"));
  EXPECT_EQ(get("by hand")->payload, "hello");
}

}  // namespace tidemill::contract
