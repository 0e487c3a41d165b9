// Statements, batches and transactions on a server that is well.
#include <libpq-fe.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.hpp"

namespace tidemill::postgres::tests {

using ::testing::HasSubstr;

namespace {

constexpr Sql read_name{"SELECT current_setting('application_name')"};
constexpr Sql sleep_long{"SELECT pg_sleep(60)"};

std::string text_of(Query row) { return row.step() ? std::string{row.bytes(0)} : "no row"; }

}  // namespace

class PostgresConnection : public PostgresTest {};

TEST_F(PostgresConnection, RunsStatements) {
  EXPECT_EQ(direct->run(insert_key, 1), 1);
  EXPECT_EQ(direct->run(insert_key, 2), 1);
  EXPECT_TRUE(direct->any(read_all));
  EXPECT_EQ(direct->query(read_all).changes(), 2);
  EXPECT_EQ(keys(), "1,2");
  EXPECT_FALSE(direct->in_transaction());
  EXPECT_GE(direct->server_version(), 130000);
  EXPECT_GT(direct->backend(), 0);
  EXPECT_EQ(text_of(direct->query(read_name)), "tidemill");
  Connection named{options(server().url("application_name=mine")), "not mine"};
  EXPECT_EQ(text_of(named.query(read_name)), "mine");
  Connection ours{options(server().url()), "ours"};
  EXPECT_EQ(text_of(ours.query(read_name)), "ours");
}

TEST_F(PostgresConnection, SendsABatchAsATransaction) {
  Connection db{options(server().url())};
  Batch batch;
  batch.add(insert_key, 1).append(Batch{}.add(insert_key, 2).add(read_all));
  std::vector<Query> answers = db.send(batch, Scope::whole);
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_EQ(answers[0].changes(), 1);
  EXPECT_EQ(answers[2].rows(), 2);
  EXPECT_FALSE(db.in_transaction());
  EXPECT_EQ(keys(), "1,2");
}

TEST_F(PostgresConnection, ReadsThenWritesInTwoTrips) {
  Connection db{options(server().url())};
  Batch first;
  first.add(insert_key, 1).add(read_all);
  EXPECT_EQ(db.send(first, Scope::begins).at(1).rows(), 1);
  EXPECT_TRUE(db.in_transaction());
  EXPECT_EQ(keys(), "");
  db.run(insert_key, 2);
  Batch second;
  second.add(insert_key, 3);
  EXPECT_EQ(db.send(second, Scope::commits).size(), 1U);
  EXPECT_FALSE(db.in_transaction());
  EXPECT_EQ(keys(), "1,2,3");
  db.begin();
  db.run(insert_key, 4);
  db.rollback();
  EXPECT_EQ(keys(), "1,2,3");
  db.begin();
  db.run(insert_key, 5);
  db.commit();
  EXPECT_EQ(keys(), "1,2,3,5");
}

TEST_F(PostgresConnection, SaysWhichStatementIsRefusedAndUndoesAll) {
  Connection db{options(server().url())};
  Batch batch;
  batch.add(insert_key, 1).add(insert_key, 2).add(insert_key, 1).add(insert_key, 3);
  for (const Scope scope : {Scope::plain, Scope::whole, Scope::begins}) {
    const Failure failure = failure_of([&] { db.send(batch, scope); });
    EXPECT_EQ(failure.state(), "23505");
    EXPECT_EQ(failure.statement(), 2U);
    EXPECT_EQ(failure.outcome(), Outcome::refused);
    EXPECT_THAT(failure.what(), HasSubstr("duplicate key"));
    EXPECT_FALSE(failure.retryable());
    EXPECT_FALSE(db.in_transaction());
    EXPECT_EQ(keys(), "");
  }
  db.begin();
  db.run(insert_key, 9);
  EXPECT_EQ(failure_of([&] { db.send(batch, Scope::commits); }).statement(), 2U);
  EXPECT_FALSE(db.in_transaction());
  EXPECT_EQ(keys(), "");
}

TEST_F(PostgresConnection, AStatementThatCanNotBePreparedFailsEachTime) {
  Connection db{options(server().url())};
  static constexpr Sql wrong{"SELECT nothing FROM main.nowhere"};
  static constexpr Sql after{"SELECT 1::bigint AS after"};
  Batch batch;
  batch.add(insert_key, 1).add(wrong).add(after);
  for (int i = 0; i < 2; ++i) {
    const Failure failure = failure_of([&] { db.send(batch); });
    EXPECT_EQ(failure.state(), "42P01");
    EXPECT_EQ(failure.statement(), 1U);
  }
  EXPECT_TRUE(db.any(after));
  EXPECT_EQ(keys(), "");
}

TEST_F(PostgresConnection, ACommitMayBeRefused) {
  direct->execute("CREATE TABLE main.child (key bigint REFERENCES main.pair DEFERRABLE INITIALLY DEFERRED)");
  static constexpr Sql orphan{"INSERT INTO main.child VALUES (77)"};
  Connection db{options(server().url())};
  Batch batch;
  batch.add(insert_key, 1).add(orphan);
  for (const Scope scope : {Scope::plain, Scope::whole}) {
    const Failure failure = failure_of([&] { db.send(batch, scope); });
    EXPECT_EQ(failure.state(), "23503");
    EXPECT_EQ(failure.statement(), Failure::no_statement);
    EXPECT_EQ(failure.outcome(), Outcome::refused);
    EXPECT_EQ(keys(), "");
  }
  EXPECT_EQ(db.run(insert_key, 5), 1);
}

TEST_F(PostgresConnection, RunsScripts) {
  direct->execute(
      "CREATE FUNCTION main.one() RETURNS int LANGUAGE sql AS 'SELECT 1'; INSERT INTO main.pair VALUES (1, "
      "'x')");
  EXPECT_EQ(keys(), "1");
  const Failure failure =
      failure_of([&] { direct->execute("INSERT INTO main.pair VALUES (2); SELECT 1/0"); });
  EXPECT_EQ(failure.state(), "22012");
  EXPECT_EQ(keys(), "1");
  EXPECT_EQ(failure_of([&] { direct->execute("BEGIN; SELECT 1/0"); }).state(), "22012");
  EXPECT_FALSE(direct->in_transaction());
  direct->execute("");
}

TEST_F(PostgresConnection, MuchGoesBothWaysAtOnce) {
  static constexpr Sql echo{"SELECT $1::bytea"};
  const std::string bytes(1'000'000, 'x');
  Batch batch;
  for (int i = 0; i < 40; ++i) batch.add(echo, Blob{bytes});
  std::vector<Query> answers = direct->send(batch);
  ASSERT_EQ(answers.size(), 40U);
  ASSERT_TRUE(answers.back().step());
  EXPECT_EQ(answers.back().bytes(0).size(), bytes.size());
}

TEST_F(PostgresConnection, LocksAndDeadlocksMayBeTriedAgain) {
  direct->run(insert_key, 1);
  direct->run(insert_key, 2);
  static constexpr Sql touch{"UPDATE main.pair SET value = 'x' WHERE key = $1"};
  static constexpr Sql patience{"SET LOCAL lock_timeout = '50ms'"};
  Connection one{options(server().url())};
  Connection two{options(server().url())};
  one.begin();
  one.run(touch, 1);
  Batch batch;
  batch.add(patience).add(touch, 1);
  const Failure locked = failure_of([&] { two.send(batch, Scope::whole); });
  EXPECT_EQ(locked.state(), "55P03");
  EXPECT_TRUE(locked.retryable());
  EXPECT_EQ(locked.statement(), 1U);
  two.begin();
  two.run(touch, 2);
  int refused = 0;
  std::thread other{[&] {
    try {
      one.run(touch, 2);
      one.commit();
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.state(), "40P01");
      EXPECT_TRUE(failure.retryable());
      ++refused;
    }
  }};
  int here = 0;
  try {
    two.run(touch, 1);
    two.commit();
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.state(), "40P01");
    ++here;
  }
  other.join();
  EXPECT_EQ(refused + here, 1);
}

TEST_F(PostgresConnection, GivesUpAtTheDeadline) {
  Connection db{options(server().url())};
  db.give_up_at(shortly());
  const int backend = db.backend();
  const Failure failure = failure_of([&] { db.query(sleep_long); });
  EXPECT_TRUE(failure.timed_out());
  EXPECT_TRUE(failure.lost());
  EXPECT_EQ(failure.outcome(), Outcome::unknown);
  EXPECT_FALSE(db.usable());
  EXPECT_EQ(failure_of([&] { db.query(read_all); }).outcome(), Outcome::undone);
  // The server was told: it doesn't sleep on.
  static constexpr Sql running{"SELECT 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'active'"};
  EXPECT_TRUE(testing::eventually([&] { return !direct->any(running, backend); }));
}

TEST_F(PostgresConnection, ADeadlineThatHasPassedCostsNothing) {
  Connection db{options(server().url())};
  db.give_up_at(std::chrono::steady_clock::now());
  const Failure failure = failure_of([&] { db.run(insert_key, 1); });
  EXPECT_TRUE(failure.timed_out());
  EXPECT_FALSE(failure.lost());
  db.give_up_at(soon());
  db.begin();
  db.run(insert_key, 1);
  db.give_up_at(std::chrono::steady_clock::now());
  EXPECT_TRUE(failure_of([&] { db.commit(); }).timed_out());
  EXPECT_FALSE(db.in_transaction());
  EXPECT_EQ(keys(), "");
}

TEST_F(PostgresConnection, SaysWhyItCanNotConnect) {
  const Failure nobody =
      failure_of([&] { Connection{parse_url(testing::PostgresServer::url_at(testing::free_port()))}; });
  EXPECT_EQ(nobody.outcome(), Outcome::undone);
  EXPECT_THAT(nobody.what(), HasSubstr("Connection refused"));
  EXPECT_EQ(nobody.state(), "");
  const Failure nowhere = failure_of([&] {
    Connection{parse_url("postgres://postgres@127.0.0.1:" + std::to_string(server().port()) + "/nowhere")};
  });
  EXPECT_EQ(nowhere.state(), "3D000");
  EXPECT_THAT(nowhere.what(), HasSubstr("database \"nowhere\" does not exist"));
  EXPECT_THAT(nowhere.what(), ::testing::Not(HasSubstr("LOCATION")));
  EXPECT_THAT(nowhere.what(), ::testing::Not(HasSubstr("3D000")));
}

namespace {

using Owned = std::unique_ptr<PGconn, decltype(&PQfinish)>;

Owned callers_own(const std::string& url) { return {PQconnectdb(url.c_str()), &PQfinish}; }

}  // namespace

TEST_F(PostgresConnection, BorrowsTheCallersAndLeavesItAsItWas) {
  const Owned own = callers_own(server().url());
  ASSERT_EQ(PQstatus(own.get()), CONNECTION_OK);
  PQclear(PQexec(own.get(), "BEGIN"));
  {
    Connection db{own.get(), schema};
    EXPECT_TRUE(db.in_transaction());
    db.give_up_at(std::chrono::steady_clock::now());  // Not ours to end.
    EXPECT_EQ(db.run(insert_key, 1), 1);
    db.execute("SAVEPOINT here");
    const Failure failure = failure_of([&] { db.run(insert_key, 1); });
    EXPECT_EQ(failure.state(), "23505");
    EXPECT_TRUE(db.in_transaction());
    EXPECT_TRUE(db.transaction_failed());
    db.execute("ROLLBACK TO here");
    EXPECT_FALSE(db.transaction_failed());
    EXPECT_EQ(db.run(insert_key, 2), 1);
  }
  EXPECT_EQ(PQisnonblocking(own.get()), 0);
  EXPECT_EQ(PQpipelineStatus(own.get()), PQ_PIPELINE_OFF);
  EXPECT_EQ(PQtransactionStatus(own.get()), PQTRANS_INTRANS);
  const std::unique_ptr<PGresult, decltype(&PQclear)> prepared{
      PQexec(own.get(), "SELECT 1 FROM pg_prepared_statements"), &PQclear};
  EXPECT_EQ(PQntuples(prepared.get()), 0);
  EXPECT_EQ(keys(), "");
  PQclear(PQexec(own.get(), "COMMIT"));
  EXPECT_EQ(keys(), "1,2");
}

TEST_F(PostgresConnection, BorrowsNoneThatIsOfNoUse) {
  EXPECT_THAT(failure_of([&] { Connection(nullptr, schema); }).what(), HasSubstr("not open"));
  const Owned latin = callers_own(server().url("client_encoding=LATIN1"));
  EXPECT_THAT(failure_of([&] { Connection(latin.get(), schema); }).what(), HasSubstr("client_encoding"));
  const Owned busy = callers_own(server().url());
  PQsendQuery(busy.get(), "SELECT pg_sleep(0)");
  EXPECT_THAT(failure_of([&] { Connection(busy.get(), schema); }).what(), HasSubstr("in the middle"));
}

}  // namespace tidemill::postgres::tests
