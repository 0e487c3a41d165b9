// Behind PgBouncer in transaction mode each transaction may go to another process of the server, which knows
// none of the statements that were prepared before.
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "fixture.hpp"

namespace tidemill::postgres::tests {

namespace {

constexpr Sql one{"SELECT 1::bigint, pg_backend_pid()"};
constexpr Sql prepared_here{"SELECT 1 FROM pg_prepared_statements WHERE statement LIKE 'INSERT INTO%'"};

}  // namespace

class PostgresBehindPgBouncer : public PostgresTest {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_PGBOUNCER();
    PostgresTest::SetUp();
    bouncer.emplace(server(), testing::PgBouncer::Lines{"default_pool_size = 2", "server_round_robin = 1"});
  }
  /// Takes one of the two servers, so that the other is used; until its commit.
  void take_one(Connection& other) { other.send(Batch{}.add(one), Scope::begins); }

  std::optional<testing::PgBouncer> bouncer;
};

TEST_F(PostgresBehindPgBouncer, StatementsThatTheServerDoesNotKnowAreSentAgain) {
  Connection db{options(bouncer->url())};
  Connection other{options(bouncer->url("prepared=no"))};
  EXPECT_EQ(db.run(insert_key, 1), 1);
  for (int key = 2; key < 12; ++key) {
    if (key % 2 == 0) take_one(other);
    Batch batch;
    batch.add(insert_key, key).add(insert_key, 100 + key);
    EXPECT_EQ(db.send(batch, key % 3 == 0 ? Scope::plain : Scope::whole).size(), 2U);
    if (key % 2 == 0) other.commit();
  }
  EXPECT_EQ(keys(), "1,2,3,4,5,6,7,8,9,10,11,102,103,104,105,106,107,108,109,110,111");
}

TEST_F(PostgresBehindPgBouncer, StatementsThatTheServerKnowsAlreadyAreSentAgain) {
  Connection db{options(bouncer->url())};
  Connection second{options(bouncer->url())};
  EXPECT_EQ(db.run(insert_key, 1), 1);
  EXPECT_EQ(second.run(insert_key, 2), 1);
  EXPECT_EQ(db.run(insert_key, 3), 1);
  EXPECT_EQ(second.run(insert_key, 4), 1);
  EXPECT_EQ(keys(), "1,2,3,4");
}

TEST_F(PostgresBehindPgBouncer, InATransactionThatIsTheCallersToRepeat) {
  Connection db{options(bouncer->url())};
  Connection other{options(bouncer->url("prepared=no"))};
  EXPECT_EQ(db.run(insert_key, 1), 1);
  int repeated = 0;
  for (int i = 0; i < 4; ++i) {
    if (i % 2 == 0) take_one(other);
    for (bool done = false; !done;) {
      try {
        db.begin();
        db.run(insert_key, 10 + i);
        db.commit();
        done = true;
      } catch (const Failure& failure) {
        EXPECT_TRUE(failure.retryable()) << failure.what();
        EXPECT_FALSE(db.in_transaction());
        ++repeated;
      }
    }
    if (i % 2 == 0) other.commit();
  }
  EXPECT_LE(repeated, 1);
  EXPECT_EQ(keys(), "1,10,11,12,13");
}

TEST_F(PostgresBehindPgBouncer, WithoutPreparedStatementsNoneIsLeftThere) {
  Connection db{options(bouncer->url("prepared=no"))};
  for (int key = 1; key < 5; ++key) EXPECT_EQ(db.run(insert_key, key), 1);
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(db.any(prepared_here));
}

TEST_F(PostgresBehindPgBouncer, ManyConnectionsShareTwoServers) {
  std::vector<std::jthread> threads;
  constexpr int threads_count = 6;
  constexpr int each = 30;
  for (int thread = 0; thread < threads_count; ++thread) {
    threads.emplace_back([&, thread] {
      Connection db{options(bouncer->url())};
      for (int i = 0; i < each; ++i) {
        Batch batch;
        batch.add(insert_key, thread * 1000 + 2 * i).add(insert_key, thread * 1000 + 2 * i + 1);
        db.send(batch, i % 2 == 0 ? Scope::whole : Scope::plain);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(direct->query(read_all).rows(), threads_count * each * 2);
}

TEST_F(PostgresBehindPgBouncer, ACallIsGivenUpAndCancelled) {
  static constexpr Sql sleep_long{"SELECT pg_sleep(60)"};
  Connection db{options(bouncer->url())};
  db.give_up_at(shortly());
  EXPECT_TRUE(failure_of([&] { db.query(sleep_long); }).timed_out());
  static constexpr Sql asleep{
      "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'"};
  EXPECT_TRUE(testing::eventually([&] { return !direct->any(asleep); }));
}

}  // namespace tidemill::postgres::tests
