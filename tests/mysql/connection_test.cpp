// Statements, batches and transactions on a server that is well.
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.hpp"

namespace tidemill::mysql::tests {

using ::testing::HasSubstr;

namespace {

constexpr Sql touch{"UPDATE main.pair SET value = 'x' WHERE `key` = $1"};
constexpr Sql sleep_long{"SELECT SLEEP(60)"};
constexpr Sql wait_shortly{"SET SESSION innodb_lock_wait_timeout = 1"};

}  // namespace

class MysqlConnection : public MysqlTest {};

TEST_F(MysqlConnection, RunsStatements) {
  EXPECT_EQ(direct->run(insert_key, 1), 1);
  EXPECT_EQ(direct->run(insert_key, 2), 1);
  EXPECT_TRUE(direct->any(read_all));
  EXPECT_EQ(direct->query(read_all).changes(), 2);
  EXPECT_EQ(keys(), "1,2");
  EXPECT_FALSE(direct->in_transaction());
  EXPECT_TRUE(direct->mariadb());
  EXPECT_GE(direct->server_version(), 100600U);
  EXPECT_GT(direct->id(), 0U);
  EXPECT_EQ(direct->main(), prefix);
}

TEST_F(MysqlConnection, AnUpdateCountsWhatItMatches) {
  direct->run(insert_key, 1);
  EXPECT_EQ(direct->run(touch, 1), 1);
  EXPECT_EQ(direct->run(touch, 1), 1);
  EXPECT_EQ(direct->run(touch, 2), 0);
}

TEST_F(MysqlConnection, HasSettingsOfItsOwn) {
  testing::MysqlServer loose{{"--sql-mode=", "--transaction-isolation=SERIALIZABLE", "--autocommit=0",
                              "--character-set-server=latin1", "--init-connect=SET NAMES latin1"}};
  Connection db{parse_url(loose.url())};
  EXPECT_FALSE(db.in_transaction());
  static constexpr Sql read{
      "SELECT @@character_set_client, @@tx_isolation, @@autocommit, FIND_IN_SET('STRICT_ALL_TABLES', "
      "@@sql_mode)"};
  Query row = db.query(read);
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.bytes(0), "utf8mb4");
  EXPECT_EQ(row.bytes(1), "READ-COMMITTED");
  EXPECT_EQ(row.integer(2), 1);
  EXPECT_GT(row.integer(3), 0);
}

TEST_F(MysqlConnection, ABatchIsATransaction) {
  Connection db{options(server().url())};
  Batch batch;
  batch.add(insert_key, 1).append(Batch{}.add(insert_key, 2).add(read_all));
  std::vector<Query> answers = db.send(batch);
  ASSERT_EQ(answers.size(), 3U);
  EXPECT_EQ(answers[0].changes(), 1);
  EXPECT_EQ(answers[0].rows(), 0);
  EXPECT_FALSE(answers[0].step());
  EXPECT_EQ(answers[2].rows(), 2);
  EXPECT_FALSE(db.in_transaction());
  EXPECT_EQ(keys(), "1,2");
  EXPECT_TRUE(db.send({}).empty());
}

TEST_F(MysqlConnection, ReadsThenWritesInTwoTrips) {
  Connection db{options(server().url())};
  Batch first;
  first.add(insert_key, 1).add(read_all);
  EXPECT_EQ(db.send(first, Scope::begins).at(1).rows(), 1);
  EXPECT_TRUE(db.in_transaction());
  EXPECT_THROW(db.begin(), std::logic_error);
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
  EXPECT_THROW(db.commit(), std::logic_error);
  db.begin();
  db.run(insert_key, 5);
  db.commit();
  EXPECT_EQ(keys(), "1,2,3,5");
}

TEST_F(MysqlConnection, AnswersOutliveTheirConnection) {
  direct->run(insert_key, 1);
  std::optional<Connection> db{options(server().url())};
  Query rows = db->query(read_all);
  db.reset();
  ASSERT_TRUE(rows.step());
  EXPECT_EQ(rows.integer(0), 1);
}

TEST_F(MysqlConnection, SaysWhichStatementIsRefusedAndUndoesAll) {
  Connection db{options(server().url())};
  Batch batch;
  batch.add(insert_key, 1).add(insert_key, 2).add(insert_key, 1).add(insert_key, 3);
  for (const Scope scope : {Scope::plain, Scope::begins}) {
    const Failure failure = failure_of([&] { db.send(batch, scope); });
    EXPECT_EQ(failure.number(), 1062U);
    EXPECT_EQ(failure.state(), "23000");
    EXPECT_TRUE(failure.duplicate());
    EXPECT_EQ(failure.statement(), 2U);
    EXPECT_EQ(failure.outcome(), Outcome::refused);
    EXPECT_THAT(failure.what(), HasSubstr("Duplicate entry"));
    EXPECT_FALSE(failure.retryable());
    EXPECT_FALSE(db.in_transaction());
    EXPECT_EQ(keys(), "");
  }
  db.begin();
  db.run(insert_key, 9);
  EXPECT_EQ(failure_of([&] { db.send(batch, Scope::commits); }).statement(), 2U);
  EXPECT_FALSE(db.in_transaction());
  EXPECT_EQ(keys(), "");
  static constexpr Sql nowhere{"SELECT nothing FROM main.nowhere"};
  EXPECT_TRUE(failure_of([&] { db.query(nowhere); }).missing());
  static constexpr Sql nonsense{"SELECT FROM WHERE"};
  EXPECT_EQ(failure_of([&] { db.query(nonsense); }).number(), 1064U);
}

TEST_F(MysqlConnection, ARowThatFailsInTheMiddleOfAnAnswer) {
  direct->run(insert_key, 1);
  direct->run(insert_key, 2);
  static constexpr Sql two_rows{
      "SELECT `key`, (SELECT `key` FROM main.pair AS q WHERE q.`key` >= p.`key`) FROM "
      "main.pair AS p ORDER BY `key` DESC"};
  Batch batch;
  batch.add(insert_key, 3).add(two_rows).add(insert_key, 4);
  const Failure failure = failure_of([&] { direct->send(batch); });
  EXPECT_EQ(failure.number(), 1242U);
  EXPECT_EQ(failure.statement(), 1U);
  EXPECT_EQ(keys(), "1,2");
}

TEST_F(MysqlConnection, RunsScripts) {
  direct->execute("CREATE TABLE main.other (a INT); INSERT INTO main.pair VALUES (1, 'x');\n");
  EXPECT_EQ(keys(), "1");
  const Failure failure =
      failure_of([&] { direct->execute("INSERT INTO main.pair VALUES (2, ''); SELECT 1 FROM nowhere"); });
  EXPECT_EQ(failure.number(), 1146U);
  EXPECT_EQ(keys(), "1,2");
  EXPECT_TRUE(failure_of([&] { direct->execute("BEGIN; SELECT 1 FROM nowhere"); }).missing());
  EXPECT_FALSE(direct->in_transaction());
}

TEST_F(MysqlConnection, MuchGoesBothWaysAtOnce) {
  static constexpr Sql echo{"SELECT $1"};
  const std::string bytes(1'000'000, 'x');
  Batch batch;
  for (int i = 0; i < 40; ++i) batch.add(echo, Blob{bytes});
  // More than max_allowed_packet, so each travels alone.
  std::vector<Query> answers = direct->send(batch);
  ASSERT_EQ(answers.size(), 40U);
  ASSERT_TRUE(answers.back().step());
  EXPECT_EQ(answers.back().bytes(0).size(), bytes.size());
}

TEST_F(MysqlConnection, MoreThanTheServerTakes) {
  static constexpr Sql insert{"INSERT INTO main.pair (`key`, value) VALUES ($1, $2)"};
  const std::string bytes(9'000'000, 'x');
  direct->send(Batch{}.add(insert, 1, Blob{bytes}).add(insert, 2, Blob{bytes}));
  EXPECT_EQ(keys(), "1,2");
  // Also where they travel alone, they are one transaction.
  const Batch twice = Batch{}.add(insert, 3, Blob{bytes}).add(insert, 1, Blob{bytes});
  EXPECT_EQ(failure_of([&] { direct->send(twice); }).statement(), 1U);
  EXPECT_EQ(keys(), "1,2");
  direct->begin();
  const std::string more(17'000'000, 'x');
  const Failure failure = failure_of(
      [&] { direct->send(Batch{}.add(insert_key, 4).add(insert, 5, Blob{more}), Scope::commits); });
  EXPECT_EQ(failure.number(), 1153U);
  EXPECT_EQ(failure.statement(), 1U);
  EXPECT_EQ(failure.outcome(), Outcome::refused);
  EXPECT_THAT(failure.what(), HasSubstr("the server's max_allowed_packet is 16777216"));
  EXPECT_FALSE(direct->in_transaction());
  EXPECT_EQ(keys(), "1,2");
}

TEST_F(MysqlConnection, ALockIsWaitedForAsLongAsItIsSet) {
  direct->run(insert_key, 1);
  Connection one{options(server().url())};
  Connection two{options(server().url())};
  one.begin();
  one.run(touch, 1);
  two.run(wait_shortly);
  const Failure locked = failure_of([&] { two.send(Batch{}.add(insert_key, 2).add(touch, 1)); });
  EXPECT_EQ(locked.number(), 1205U);
  EXPECT_TRUE(locked.retryable());
  EXPECT_TRUE(locked.lock_timed_out());
  EXPECT_EQ(locked.statement(), 1U);
  EXPECT_FALSE(two.in_transaction());
  EXPECT_EQ(keys(), "1");
  static constexpr Sql at_once{"SELECT 1 FROM main.pair WHERE `key` = 1 FOR UPDATE NOWAIT"};
  EXPECT_TRUE(failure_of([&] { two.query(at_once); }).lock_timed_out());
  static constexpr Sql others{"SELECT 1 FROM main.pair WHERE `key` = 1 FOR UPDATE SKIP LOCKED"};
  EXPECT_FALSE(two.any(others));
}

TEST_F(MysqlConnection, ADeadlockMayBeTriedAgain) {
  direct->run(insert_key, 1);
  direct->run(insert_key, 2);
  Connection one{options(server().url())};
  Connection two{options(server().url())};
  one.begin();
  one.run(touch, 1);
  two.begin();
  two.run(touch, 2);
  int refused = 0;
  const auto finish = [&](Connection& db, int key) {
    try {
      db.send(Batch{}.add(touch, key), Scope::commits);
      return 0;
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.number(), 1213U);
      EXPECT_EQ(failure.state(), "40001");
      EXPECT_TRUE(failure.retryable());
      EXPECT_FALSE(db.in_transaction());
      EXPECT_TRUE(db.usable());
      return 1;
    }
  };
  std::thread other{[&] { refused = finish(one, 2); }};
  const int here = finish(two, 1);
  other.join();
  EXPECT_EQ(refused + here, 1);
}

TEST_F(MysqlConnection, GivesUpAtTheDeadline) {
  Connection db{options(server().url())};
  db.give_up_at(shortly());
  const auto id = static_cast<std::int64_t>(db.id());
  const Failure failure = failure_of([&] { db.query(sleep_long); });
  EXPECT_TRUE(failure.timed_out());
  EXPECT_TRUE(failure.lost());
  EXPECT_EQ(failure.outcome(), Outcome::unknown);
  EXPECT_THAT(failure.what(), HasSubstr("no answer in time"));
  EXPECT_FALSE(db.usable());
  EXPECT_FALSE(db.in_transaction());
  EXPECT_EQ(failure_of([&] { db.query(read_all); }).outcome(), Outcome::undone);
  // The server was told: it doesn't sleep on.
  static constexpr Sql running{"SELECT 1 FROM information_schema.processlist WHERE id = $1"};
  EXPECT_TRUE(testing::eventually([&] { return !direct->any(running, id); }));
}

TEST_F(MysqlConnection, ADeadlineThatHasPassedCostsNothing) {
  Connection db{options(server().url())};
  db.give_up_at(std::chrono::steady_clock::now());
  const Failure failure = failure_of([&] { db.run(insert_key, 1); });
  EXPECT_TRUE(failure.timed_out());
  EXPECT_FALSE(failure.lost());
  db.give_up_at(soon());
  db.begin();
  db.run(insert_key, 1);
  db.give_up_at(std::chrono::steady_clock::now());
  const Failure late = failure_of([&] { db.commit(); });
  EXPECT_TRUE(late.timed_out());
  EXPECT_EQ(late.outcome(), Outcome::undone);
  EXPECT_FALSE(db.in_transaction());
  EXPECT_EQ(keys(), "");
}

TEST_F(MysqlConnection, AStatementIsInterruptedBySomebody) {
  Connection db{options(server().url())};
  const auto id = static_cast<std::int64_t>(db.id());
  std::thread other{[&] {
    static constexpr Sql running{
        "SELECT 1 FROM information_schema.processlist WHERE id = $1 AND info LIKE '%help_topic%'"};
    EXPECT_TRUE(testing::eventually([&] { return direct->any(running, id); }));
    direct->execute("KILL QUERY " + std::to_string(id));
  }};
  static constexpr Sql busy{
      "SELECT COUNT(*) FROM mysql.help_topic AS a, mysql.help_topic AS b, mysql.help_topic AS c, "
      "mysql.help_topic AS d WHERE a.name <> CONCAT(b.name, c.name, d.name)"};
  const Failure failure = failure_of([&] { db.send(Batch{}.add(insert_key, 1).add(busy)); });
  other.join();
  EXPECT_EQ(failure.number(), 1317U);
  EXPECT_TRUE(failure.retryable());
  EXPECT_EQ(keys(), "");
  EXPECT_EQ(db.run(insert_key, 2), 1);
}

TEST_F(MysqlConnection, AProcedureAnswersTwiceAndIsNoStatement) {
  direct->execute("CREATE PROCEDURE main.two() SELECT 1");
  static constexpr Sql call{"CALL main.two()"};
  Connection db{options(server().url())};
  EXPECT_THROW(db.query(call), std::logic_error);
  EXPECT_FALSE(db.usable());
}

}  // namespace tidemill::mysql::tests
