// Connections that end at every step, and servers that do. What is said of a write must be true: undone is
// not there, and what is there or not is unknown.
#include <signal.h>

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.hpp"
#include "proxy.hpp"

namespace tidemill::mysql::tests {

namespace {

constexpr Sql running{"SELECT 1 FROM information_schema.processlist WHERE id = $1"};

}  // namespace

class MysqlFaults : public MysqlTest {
 protected:
  void SetUp() override {
    MysqlTest::SetUp();
    if (!IsSkipped()) proxy.emplace(server().port());
  }
  Options through() const { return options(testing::MysqlServer::url_at(proxy->port())); }
  static Batch two() { return Batch{}.add(insert_key, 1).add(insert_key, 2); }
  bool ends(const Connection& db) {
    return testing::eventually([&] { return !direct->any(running, static_cast<std::int64_t>(db.id())); });
  }

  std::optional<testing::Proxy> proxy;
};

TEST_F(MysqlFaults, ARequestThatNeverArrivesMayHaveCommittedForAllWeKnow) {
  for (const bool alone : {true, false}) {
    Connection db{through()};
    proxy->swallow("INSERT");
    const Failure failure = failure_of([&] { db.send(alone ? Batch{}.add(insert_key, 1) : two()); });
    EXPECT_EQ(failure.outcome(), Outcome::unknown);
    EXPECT_FALSE(failure.timed_out());
    EXPECT_FALSE(failure.retryable());
    EXPECT_FALSE(db.usable());
    EXPECT_EQ(keys(), "");
  }
}

TEST_F(MysqlFaults, WithoutACommitAllIsUndone) {
  Connection db{through()};
  proxy->swallow("INSERT");
  EXPECT_EQ(failure_of([&] { db.send(two(), Scope::begins); }).outcome(), Outcome::undone);
  Connection again{through()};
  again.begin();
  proxy->harm("INSERT", 0);
  EXPECT_EQ(failure_of([&] { again.send(two()); }).outcome(), Outcome::undone);
  EXPECT_TRUE(proxy->harmed());
  EXPECT_EQ(keys(), "");
}

/// The answer is cut after each number of bytes, from none to one less than all. Only from the byte on that
/// completes the answer to COMMIT is it known that it is committed; then the call succeeds.
TEST_F(MysqlFaults, AnAnswerIsCutAfterEachByte) {
  std::size_t bytes = 0;
  for (;; ++bytes) {
    direct->execute("DELETE FROM main.pair");
    Connection db{through()};
    proxy->harm("COMMIT", bytes);
    try {
      EXPECT_EQ(db.send(two()).size(), 2U);
      break;
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.outcome(), Outcome::unknown) << bytes;
    }
    EXPECT_TRUE(testing::eventually([&] { return keys() == "1,2"; })) << bytes;
    ASSERT_LT(bytes, 1000U);
  }
  EXPECT_GT(bytes, 40U);  // Four answers, each longer than ten.
  EXPECT_EQ(keys(), "1,2");
}

TEST_F(MysqlFaults, ARefusalThatIsReadBeforeTheCutIsCertain) {
  direct->run(insert_key, 2);
  for (std::size_t bytes = 0;; ++bytes) {
    Connection db{through()};
    proxy->harm("COMMIT", bytes);
    const Failure failure = failure_of([&] { db.send(two()); });
    // The connection is cut then, too, so it can't be rolled back there.
    if (failure.duplicate()) {
      EXPECT_EQ(failure.outcome(), Outcome::refused);
      EXPECT_FALSE(db.in_transaction());
      break;
    }
    EXPECT_EQ(failure.outcome(), Outcome::unknown) << bytes;
    ASSERT_LT(bytes, 1000U);
  }
  EXPECT_TRUE(testing::eventually([&] { return keys() == "2"; }));
}

TEST_F(MysqlFaults, AServerThatSaysNothingIsGivenUp) {
  for (const bool commits : {true, false}) {
    for (const std::size_t bytes : {0U, 3U, 15U}) {
      Connection db{through()};
      proxy->harm("INSERT", bytes, true);
      db.give_up_at(shortly());
      const Failure failure = failure_of([&] { db.send(two(), commits ? Scope::plain : Scope::begins); });
      EXPECT_TRUE(failure.timed_out());
      EXPECT_EQ(failure.outcome(), commits ? Outcome::unknown : Outcome::undone);
      EXPECT_FALSE(db.usable());
      proxy->heal();
      EXPECT_TRUE(testing::eventually([&] { return keys() == (commits ? "1,2" : ""); }));
      direct->execute("DELETE FROM main.pair");
    }
  }
}

TEST_F(MysqlFaults, AlsoInTheMiddleOfALongAnswer) {
  direct->execute("INSERT INTO main.pair VALUES (1, REPEAT('x', 1000000)), (2, REPEAT('y', 1000000))");
  Connection db{through()};
  proxy->harm("SELECT", 70'000, true);
  db.give_up_at(shortly());
  EXPECT_TRUE(failure_of([&] { db.query(read_all); }).timed_out());
  proxy->heal();
  Connection again{through()};
  again.give_up_at(soon());
  EXPECT_EQ(again.query(read_all).rows(), 2);
}

TEST_F(MysqlFaults, AServerThatReadsNothingIsGivenUp) {
  testing::MysqlServer own;
  Connection db{parse_url(own.url())};
  db.execute("CREATE TABLE main.pair (`key` BIGINT PRIMARY KEY, value LONGBLOB)");
  ::kill(own.pid(), SIGSTOP);
  db.give_up_at(shortly());
  static constexpr Sql insert{"INSERT INTO main.pair (`key`, value) VALUES ($1, $2)"};
  const Failure failure = failure_of([&] { db.run(insert, 1, Blob{std::string(15'000'000, 'x')}); });
  EXPECT_TRUE(failure.timed_out());
  EXPECT_EQ(failure_of([&] { Connection(parse_url(own.url("connect_timeout=300ms"))); }).timed_out(), true);
  ::kill(own.pid(), SIGCONT);
}

TEST_F(MysqlFaults, NorIsConnectingWaitedForLong) {
  proxy->harm_always("root", 0, true);
  const Failure late = failure_of([&] { Connection(through(), "x", shortly()); });
  EXPECT_TRUE(late.timed_out());
  EXPECT_EQ(late.outcome(), Outcome::undone);
  EXPECT_THAT(late.what(), ::testing::HasSubstr("in time"));
  proxy->harm_always("SESSION", 0, true);
  const Failure later = failure_of([&] { Connection(through(), "x", shortly()); });
  EXPECT_TRUE(later.timed_out());
  EXPECT_EQ(later.outcome(), Outcome::undone);
}

TEST_F(MysqlFaults, AConnectionIsKilledWhileIdle) {
  for (const bool open : {false, true}) {
    Connection db{options(server().url())};
    db.run(insert_key, 1);
    if (open) db.begin();
    direct->execute("KILL " + std::to_string(db.id()));
    ASSERT_TRUE(ends(db));
    // Nothing was sent any more, or the server says so, so nothing is in doubt.
    const Failure failure = failure_of([&] {
      EXPECT_TRUE(testing::eventually([&] {
        if (open) db.run(insert_key, 2);
        db.query(read_all);
        return false;
      }));
    });
    EXPECT_EQ(failure.outcome(), Outcome::undone);
    EXPECT_FALSE(db.usable());
    EXPECT_EQ(keys(), "1");
    direct->execute("DELETE FROM main.pair");
  }
}

TEST_F(MysqlFaults, AConnectionIsKilledInTheMiddle) {
  Connection db{options(server().url())};
  static constexpr Sql kill_me{"KILL CONNECTION_ID()"};
  const Failure failure = failure_of([&] { db.send(two().add(kill_me).add(insert_key, 3)); });
  EXPECT_TRUE(failure.lost());
  EXPECT_FALSE(db.usable());
  EXPECT_TRUE(testing::eventually([&] { return keys().empty(); }));
}

TEST_F(MysqlFaults, AServerIsStoppedAndComesBack) {
  testing::MysqlServer own;
  const Options at = parse_url(own.url());
  Connection{at}.execute("CREATE TABLE main.pair (`key` BIGINT PRIMARY KEY)");
  for (const int signal : {SIGTERM, SIGKILL}) {
    Connection before{at};
    before.run(insert_key, signal);
    own.stop(signal);
    EXPECT_TRUE(failure_of([&] { before.run(insert_key, -signal); }).lost());
    const Failure nobody = failure_of([&] { Connection late{at}; });
    EXPECT_EQ(nobody.outcome(), Outcome::undone);
    EXPECT_EQ(nobody.state(), "");
    own.start();
    Connection after{at};
    static constexpr Sql there{"SELECT 1 FROM main.pair WHERE `key` = $1"};
    EXPECT_TRUE(after.any(there, signal));
    EXPECT_FALSE(after.any(there, -signal));
  }
}

}  // namespace tidemill::mysql::tests
