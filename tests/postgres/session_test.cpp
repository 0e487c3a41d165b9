// The driver over another library's connection: the texts that it makes, and what it knows of failures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "drivers/postgres/postgres.hpp"
#include "drivers/sql/statement.hpp"
#include "fake_session.hpp"

namespace tidemill::postgres {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Refusal = sql::Session::Refusal;
using Row = sql::Session::Row;

class PostgresSession : public ::testing::Test {
 protected:
  /// Refuses what begins or ends with this.
  void refuse(std::string what, Refusal refusal) {
    play_->answer = [what = std::move(what), refusal](const std::string& text) {
      if (text.starts_with(what) || text.ends_with(what)) throw Refusal{refusal};
      return settings(text);
    };
  }
  static std::vector<Row> settings(const std::string& text) {
    if (text.find("client_encoding") == text.npos) return {};
    return {Row{"UTF8", "hex", "150004", "42"}};
  }
  Connection connect() {
    Options options;
    options.schema = "my schema";
    options.sessions = [this] { return std::make_unique<testing::FakeSession>(play_); };
    return Connection{options};
  }
  std::string text_of(const Sql& sql, const auto&... values) {
    Connection db = connect();
    db.query(sql, values...);
    return play_->texts.back();
  }
  /// Of one statement and COMMIT.
  std::optional<Failure> failure() {
    static constexpr Sql update{"UPDATE t SET x = 1"};
    Connection db = connect();
    play_->texts.clear();
    try {
      Batch batch;
      batch.add(update);
      db.send(batch, Scope::whole);
    } catch (const Failure& thrown) {
      usable_ = db.usable();
      return thrown;
    }
    return {};
  }

  std::shared_ptr<testing::FakeSession::Play> play_ =
      std::make_shared<testing::FakeSession::Play>(testing::FakeSession::Play{.answer = &settings});
  bool usable_ = true;
};

TEST_F(PostgresSession, ValuesAreLiteralsWithoutMarks) {
  static constexpr Sql scalars{"SELECT $1::int, $2, $3, $4, x::text FROM main.t WHERE (a + 1)::bigint = $1"};
  EXPECT_EQ(text_of(scalars, -5, true, std::string_view{"it's ?:$\\"}, Blob{{"\0\xff", 2}}),
            "SELECT CAST(CAST(E'-5' AS bigint) AS int), CAST(E't' AS boolean), "
            "CAST(E'it\\047s \\077\\072\\044\\\\' AS text), CAST(E'\\\\x00FF' AS bytea), CAST(x AS text) "
            "FROM \"my schema\".t WHERE CAST((a + 1) AS bigint) = CAST(E'-5' AS bigint)");
  static constexpr Sql arrays{"SELECT $1, $2, $3::bytea[]"};
  Array<std::int64_t> numbers;
  numbers.add(std::int64_t{1});
  numbers.add_null();
  Array<std::string_view> texts;
  texts.add("a\"b\\");
  Array<Blob> blobs;
  blobs.add(Blob{"A"});
  EXPECT_EQ(text_of(arrays, numbers, texts, blobs),
            "SELECT CAST(E'{\"1\",NULL}' AS bigint[]), CAST(E'{\"a\\\\\"b\\\\\\\\\"}' AS text[]), "
            "CAST(CAST(E'{\"\\\\\\\\x41\"}' AS bytea[]) AS bytea[])");
  static constexpr Sql null{"SELECT $1"};
  EXPECT_EQ(text_of(null, std::optional<std::int64_t>{}), "SELECT CAST(NULL AS bigint)");
}

TEST_F(PostgresSession, AnswersAreReadFromTexts) {
  static constexpr Sql some{"SELECT a FROM t"};
  Connection db = connect();
  play_->answer = [](const std::string&) {
    return std::vector<Row>{{"7", "t", std::nullopt, "\\x6100", "text"}};
  };
  Query row = db.query(some);
  ASSERT_TRUE(row.step());
  EXPECT_EQ(row.integer(0), 7);
  EXPECT_TRUE(row.boolean(1));
  EXPECT_TRUE(row.null(2));
  EXPECT_EQ(row.bytes(3), std::string_view("a\0", 2));
  EXPECT_EQ(row.bytes(4), "text");
  EXPECT_THROW(row.integer(4), std::logic_error);
  EXPECT_EQ(row.changes(), 1);
  EXPECT_FALSE(row.step());
}

TEST_F(PostgresSession, WhatIsKnownOfAFailure) {
  refuse("UPDATE", {"another was faster", "40001", 0, false});
  auto failed = failure();
  ASSERT_TRUE(failed);
  EXPECT_EQ(failed->outcome(), Outcome::refused);
  EXPECT_TRUE(failed->retryable());
  EXPECT_EQ(failed->statement(), 0U);
  EXPECT_THAT(play_->texts, ElementsAre(HasSubstr("BEGIN"), HasSubstr("UPDATE"), "ROLLBACK"));
  refuse("UPDATE", {"no words for it", "", 0, false});
  EXPECT_EQ(failure()->outcome(), Outcome::refused);
  EXPECT_TRUE(usable_);
  play_->alive = false;
  EXPECT_EQ(failure()->outcome(), Outcome::undone);
  EXPECT_FALSE(usable_);
  refuse("COMMIT", {"no words for it", "", 0, false});
  EXPECT_EQ(failure()->outcome(), Outcome::unknown);
  refuse("COMMIT", {"shutting down", "57P01", 0, false});
  EXPECT_EQ(failure()->outcome(), Outcome::unknown);
  play_->alive = true;
  refuse("COMMIT", {"a constraint", "23503", 0, false});
  EXPECT_EQ(failure()->outcome(), Outcome::refused);
}

TEST_F(PostgresSession, ACallersTransactionIsLookedFor) {
  const auto borrow = [&] { return Connection{std::make_unique<testing::FakeSession>(play_), "s"}; };
  EXPECT_TRUE(borrow().in_transaction());
  refuse("SAVEPOINT", {"there is none", "", 0, false});
  EXPECT_FALSE(borrow().in_transaction());
  play_->answer = [](const std::string&) -> std::vector<Row> { throw Refusal{"aborted", "", 0, false}; };
  EXPECT_TRUE(borrow().transaction_failed());
  play_->texts.clear();
  play_->answer = &settings;
  {
    const Connection db = borrow();
  }
  for (const std::string& text : play_->texts) EXPECT_EQ(text.find("ROLLBACK"), text.npos);
}

TEST_F(PostgresSession, AConnectionThatIsOfNoUseIsRefused) {
  for (const Row& row :
       {Row{"LATIN1", "hex", "150004", "42"}, Row{"UTF8", "escape", "150004", "42"}, Row{"UTF8"}}) {
    play_->answer = [&](const std::string&) { return std::vector<Row>{row}; };
    EXPECT_THROW(connect(), Failure);
  }
}

TEST(SqlStatement, ItsAnswerIsRowsOrNot) {
  for (const char* const text : {"SELECT 1", "WITH a AS (DELETE FROM t RETURNING x) SELECT * FROM a",
                                 "INSERT INTO t SELECT 1 RETURNING x", "SHOW x"})
    EXPECT_TRUE(sql::has_rows(text)) << text;
  for (const char* const text : {"INSERT INTO t SELECT 1", "UPDATE t SET x = 'RETURNING'", "SAVEPOINT a",
                                 "WITH a AS (SELECT 1) DELETE FROM t USING a"})
    EXPECT_FALSE(sql::has_rows(text)) << text;
}

}  // namespace
}  // namespace tidemill::postgres
