// Connections of the caller's: they are used as they are, and left as they were.
#include <mysql.h>

#include <memory>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.hpp"

namespace tidemill::mysql::tests {

using ::testing::HasSubstr;

namespace {

using Owned = std::unique_ptr<MYSQL, decltype(&mysql_close)>;

Owned callers_own(const testing::MysqlServer& server, unsigned long flags = 0) {
  MYSQL* const connection = mysql_init(nullptr);
  mysql_options(connection, MYSQL_SET_CHARSET_NAME, "utf8mb4");
  const unsigned int tcp = MYSQL_PROTOCOL_TCP;
  mysql_options(connection, MYSQL_OPT_PROTOCOL, &tcp);
  EXPECT_NE(mysql_real_connect(connection, "127.0.0.1", "root", "", "test", server.port(), nullptr, flags),
            nullptr)
      << mysql_error(connection);
  return {connection, &mysql_close};
}

void run(const Owned& own, const std::string& sql) {
  ASSERT_EQ(mysql_query(own.get(), sql.c_str()), 0) << mysql_error(own.get());
  do {
    mysql_free_result(mysql_store_result(own.get()));
  } while (mysql_next_result(own.get()) == 0);
}

constexpr Sql touch{"UPDATE main.pair SET value = 'x' WHERE `key` = $1"};

}  // namespace

class MysqlBorrowed : public MysqlTest {};

TEST_F(MysqlBorrowed, OutsideOfATransactionABatchIsOne) {
  for (const unsigned long flags : {0UL, static_cast<unsigned long>(CLIENT_MULTI_STATEMENTS)}) {
    const Owned own = callers_own(server(), flags);
    direct->execute("DELETE FROM main.pair");
    Connection db{own.get(), prefix};
    EXPECT_FALSE(db.in_transaction());
    EXPECT_EQ(db.send(Batch{}.add(insert_key, 1).add(insert_key, 2).add(read_all)).at(2).rows(), 2);
    EXPECT_FALSE(db.in_transaction());
    EXPECT_EQ(keys(), "1,2");
    const Failure failure = failure_of([&] { db.send(Batch{}.add(insert_key, 3).add(insert_key, 1)); });
    EXPECT_TRUE(failure.duplicate());
    EXPECT_EQ(failure.statement(), 1U);
    EXPECT_FALSE(db.in_transaction());
    EXPECT_FALSE(db.transaction_failed());
    EXPECT_EQ(keys(), "1,2");
  }
}

TEST_F(MysqlBorrowed, InTheCallersTransaction) {
  for (const unsigned long flags : {0UL, static_cast<unsigned long>(CLIENT_MULTI_STATEMENTS)}) {
    const Owned own = callers_own(server(), flags);
    direct->execute("DELETE FROM main.pair");
    run(own, "START TRANSACTION");
    {
      Connection db{own.get(), prefix};
      EXPECT_TRUE(db.in_transaction());
      db.give_up_at(std::chrono::steady_clock::now());  // Not ours to end.
      EXPECT_EQ(db.send(Batch{}.add(insert_key, 1).add(insert_key, 2)).size(), 2U);
      db.execute("SAVEPOINT here");
      const Failure failure = failure_of([&] { db.send(Batch{}.add(insert_key, 3).add(insert_key, 1)); });
      EXPECT_TRUE(failure.duplicate());
      EXPECT_TRUE(db.in_transaction());
      EXPECT_FALSE(db.transaction_failed());
      db.execute("ROLLBACK TO here");
      EXPECT_EQ(db.run(insert_key, 4), 1);
    }
    EXPECT_EQ(keys(), "");
    run(own, "COMMIT");
    EXPECT_EQ(keys(), "1,2,4");
  }
}

TEST_F(MysqlBorrowed, WithoutAutocommitThereIsAlwaysATransaction) {
  const Owned own = callers_own(server());
  run(own, "SET autocommit = 0");
  {
    Connection db{own.get(), prefix};
    EXPECT_TRUE(db.in_transaction());
    db.run(insert_key, 1);
  }
  EXPECT_EQ(keys(), "");
  run(own, "COMMIT");
  EXPECT_EQ(keys(), "1");
}

TEST_F(MysqlBorrowed, KnowsWhenTheServerHasRolledBack) {
  direct->run(insert_key, 1);
  direct->run(insert_key, 2);
  const Owned own = callers_own(server());
  run(own, "START TRANSACTION");
  Connection db{own.get(), prefix};
  db.run(touch, 1);
  Connection other{options(server().url())};
  other.begin();
  other.run(touch, 2);
  // The one who has written more is not the victim.
  for (int key = 10; key < 30; ++key) other.run(insert_key, key);
  std::thread waits{[&] { other.run(touch, 1); }};
  const Failure failure = failure_of([&] {
    db.run(touch, 2);
    ADD_FAILURE();
  });
  waits.join();
  other.rollback();
  EXPECT_EQ(failure.number(), 1213U);
  EXPECT_TRUE(db.transaction_failed());
  EXPECT_FALSE(db.in_transaction());
}

TEST_F(MysqlBorrowed, ItsModesAreItsOwn) {
  const Owned own = callers_own(server());
  run(own, "SET SESSION sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'");
  Connection db{own.get(), prefix};
  static constexpr Sql insert{"INSERT INTO main.pair (`key`, value) VALUES ($1, $2)"};
  db.run(insert, 1, Blob{"\\'\""});
  Query rows = db.query(read_all);
  ASSERT_TRUE(rows.step());
  EXPECT_EQ(rows.bytes(1), "\\'\"");
}

TEST_F(MysqlBorrowed, TheTablesMayBeInAnotherDatabase) {
  direct->execute("CREATE DATABASE `other ``" + prefix + "`");
  const std::string database = "other `" + prefix;
  const Owned own = callers_own(server());
  Connection db{own.get(), "jobs_", database};
  EXPECT_EQ(db.main(), "`other ``" + prefix + "`.jobs_");
  db.execute("CREATE TABLE main.pair (`key` BIGINT PRIMARY KEY)");
  EXPECT_EQ(db.run(insert_key, 1), 1);
  Options options = parse_url(server().url("prefix=jobs_"));
  options.database = database;
  Connection there{options};
  static constexpr Sql read{"SELECT 1 FROM main.pair"};
  EXPECT_TRUE(there.any(read));
}

TEST_F(MysqlBorrowed, NoneThatIsOfNoUse) {
  EXPECT_THAT(failure_of([&] { Connection(nullptr, prefix); }).what(), HasSubstr("not open"));
  const Owned never{mysql_init(nullptr), &mysql_close};
  EXPECT_THAT(failure_of([&] { Connection(never.get(), prefix); }).what(), HasSubstr("not open"));
  const Owned latin = callers_own(server());
  for (const char* const charset : {"latin1", "gbk"}) {
    run(latin, "SET NAMES " + std::string{charset});
    const Failure failure = failure_of([&] { Connection(latin.get(), prefix); });
    EXPECT_THAT(failure.what(), HasSubstr(charset));
    EXPECT_THAT(failure.what(), HasSubstr("mysql_set_character_set(connection, \"utf8mb4\")"));
  }
  run(latin, "SET NAMES binary");
  Connection fine(latin.get(), prefix);
  const Owned busy = callers_own(server());
  mysql_query(busy.get(), "SELECT 1");
  EXPECT_THAT(failure_of([&] { Connection(busy.get(), prefix); }).what(), HasSubstr("in the middle"));
  mysql_free_result(mysql_store_result(busy.get()));
  const Owned killed = callers_own(server());
  const auto id = static_cast<std::int64_t>(mysql_thread_id(killed.get()));
  direct->execute("KILL " + std::to_string(id));
  static constexpr Sql running{"SELECT 1 FROM information_schema.processlist WHERE id = $1"};
  ASSERT_TRUE(testing::eventually([&] { return !direct->any(running, id); }));
  EXPECT_TRUE(testing::eventually(
      [&] { return failure_of([&] { Connection(killed.get(), prefix); }).outcome() == Outcome::undone; }));
}

}  // namespace tidemill::mysql::tests
