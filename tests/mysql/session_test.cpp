// The driver over another library's connection: the texts that it makes, and what it knows of failures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "drivers/mysql/mysql.hpp"
#include "fake_session.hpp"

namespace tidemill::mysql {
namespace {

using ::testing::ElementsAre;
using Refusal = sql::Session::Refusal;
using Row = sql::Session::Row;

constexpr Sql update{"UPDATE main.t SET x = $1"};

class MysqlSession : public ::testing::Test {
 protected:
  /// Refuses what begins or ends with this.
  void refuse(std::string what, Refusal refusal) {
    play_->answer = [what = std::move(what), refusal](const std::string& text) {
      if (text.starts_with(what) || text.ends_with(what)) throw Refusal{refusal};
      return settings(text);
    };
  }
  static std::vector<Row> settings(const std::string& text) {
    if (text.find("max_allowed_packet") == text.npos) return {};
    return {Row{"16777216", "utf8mb4", "utf8mb4", "10.11.19-MariaDB-log", "42"}};
  }
  Connection connect() {
    Options options;
    options.sessions = [this] { return std::make_unique<testing::FakeSession>(play_); };
    return Connection{options};
  }
  /// Of two statements, which are a transaction.
  std::optional<Failure> failure() {
    Connection db = connect();
    play_->texts.clear();
    try {
      Batch batch;
      batch.add(update, 1).add(update, 2);
      db.send(batch);
    } catch (const Failure& thrown) {
      return thrown;
    }
    return {};
  }

  std::shared_ptr<testing::FakeSession::Play> play_ =
      std::make_shared<testing::FakeSession::Play>(testing::FakeSession::Play{.answer = &settings});
};

TEST_F(MysqlSession, ValuesAreLiteralsWithoutMarks) {
  Connection db = connect();
  EXPECT_EQ(db.server_version(), 101119U);
  EXPECT_TRUE(db.mariadb());
  db.query(update, std::string_view{"plain - text"});
  EXPECT_EQ(play_->texts.back(), "UPDATE tidemill_t SET x = _utf8mb4'plain - text'");
  db.query(update, std::string_view{"it's ?:$"});
  EXPECT_EQ(play_->texts.back(), "UPDATE tidemill_t SET x = _utf8mb4 x'69742773203F3A24'");
  db.query(update, Blob{{"\0'", 2}});
  EXPECT_EQ(play_->texts.back(), "UPDATE tidemill_t SET x = _binary x'0027'");
  db.query(update, Blob{"back\\slash"});
  EXPECT_EQ(play_->texts.back(), "UPDATE tidemill_t SET x = _binary x'6261636B5C736C617368'");
}

TEST_F(MysqlSession, WhatIsKnownOfAFailure) {
  refuse("UPDATE", {"deadlock", "40001", 1213, false});
  auto failed = failure();
  ASSERT_TRUE(failed);
  EXPECT_TRUE(failed->retryable());
  EXPECT_THAT(play_->texts, ElementsAre("START TRANSACTION", "UPDATE tidemill_t SET x = 1", "ROLLBACK"));
  refuse("= 2", {"gone away", "", 2006, false});
  failed = failure();
  EXPECT_EQ(failed->outcome(), Outcome::undone);
  EXPECT_EQ(failed->statement(), 1U);
  refuse("COMMIT", {"gone away", "", 2006, false});
  EXPECT_EQ(failure()->outcome(), Outcome::unknown);
  refuse("COMMIT", {"no words for it", "", 0, false});
  EXPECT_EQ(failure()->outcome(), Outcome::refused);
  play_->alive = false;
  EXPECT_EQ(failure()->outcome(), Outcome::unknown);
}

TEST_F(MysqlSession, ACallersTransactionIsLookedFor) {
  const auto borrow = [&] { return Connection{std::make_unique<testing::FakeSession>(play_), "p_", "d"}; };
  EXPECT_TRUE(borrow().in_transaction());
  EXPECT_EQ(borrow().main(), "`d`.p_");
  refuse("RELEASE", {"there is none", "", 0, false});
  EXPECT_FALSE(borrow().in_transaction());
}

TEST_F(MysqlSession, AConnectionThatIsOfNoUseIsRefused) {
  for (const Row& row : {Row{"16777216", "latin1", "latin1", "10.11.19-MariaDB", "42"}, Row{"16777216"}}) {
    play_->answer = [&](const std::string&) { return std::vector<Row>{row}; };
    EXPECT_THROW(connect(), Failure);
  }
}

}  // namespace
}  // namespace tidemill::mysql
