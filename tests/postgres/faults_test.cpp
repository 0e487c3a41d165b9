// Connections that end at every step, and servers that do. What is said of a write must be true: undone is
// not there, and what is there or not is unknown.
#include <signal.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixture.hpp"
#include "proxy.hpp"

namespace tidemill::postgres::tests {

namespace {

constexpr Sql kill_backend{"SELECT pg_terminate_backend($1::int)"};
constexpr Sql sleep{"SELECT pg_sleep(600)"};
constexpr Sql sleeps{"SELECT 1 FROM pg_stat_activity WHERE pid = $1::int AND wait_event = 'PgSleep'"};
constexpr Sql kill_me{"SELECT pg_terminate_backend(pg_backend_pid())"};

}  // namespace

class PostgresFaults : public PostgresTest {
 protected:
  void SetUp() override {
    PostgresTest::SetUp();
    if (!IsSkipped()) proxy.emplace(server().port());
  }
  /// Through the proxy. Statements travel with their texts each time, so that it can find them.
  Options through() const {
    return options(
        testing::PostgresServer::url_at(proxy->port(), "prepared=no&sslmode=disable&gssencmode=disable"));
  }
  Batch two() const {
    Batch batch;
    return batch.add(insert_key, 1).add(insert_key, 2);
  }

  /// The server's own list leaves a process out before its socket is closed.
  static bool ends(int backend) {
    const std::string process = "/proc/" + std::to_string(backend);
    return testing::eventually([&] { return !std::filesystem::exists(process); });
  }

  std::optional<testing::Proxy> proxy;
};

TEST_F(PostgresFaults, ARequestThatNeverArrivesMayHaveCommittedForAllWeKnow) {
  for (const Scope scope : {Scope::plain, Scope::whole}) {
    Connection db{through()};
    proxy->swallow("INSERT");
    const Failure failure = failure_of([&] { db.send(two(), scope); });
    EXPECT_EQ(failure.outcome(), Outcome::unknown);
    EXPECT_FALSE(failure.timed_out());
    EXPECT_FALSE(failure.retryable());
    EXPECT_FALSE(db.usable());
    EXPECT_EQ(keys(), "");
  }
}

TEST_F(PostgresFaults, WithoutACommitAllIsUndone) {
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
TEST_F(PostgresFaults, AnAnswerIsCutAfterEachByte) {
  bool committed = false;
  int cuts = 0;
  for (std::size_t bytes = 0;; ++bytes) {
    direct->execute("DELETE FROM main.pair");
    Connection db{through()};
    proxy->harm("COMMIT", bytes);
    try {
      EXPECT_EQ(db.send(two(), Scope::whole).size(), 2U);
      committed = true;
      // The server's "ready" comes after, in 6 bytes; with them nothing is cut.
      if (db.usable()) break;
    } catch (const Failure& failure) {
      EXPECT_FALSE(committed) << bytes;
      EXPECT_EQ(failure.outcome(), Outcome::unknown) << bytes;
      ++cuts;
    }
    EXPECT_TRUE(testing::eventually([&] { return keys() == "1,2"; })) << bytes;
    ASSERT_LT(bytes, 1000U);
  }
  EXPECT_GT(cuts, 20);
  EXPECT_TRUE(committed);
}

TEST_F(PostgresFaults, AServerThatSaysNothingIsGivenUp) {
  for (const bool commits : {true, false}) {
    Connection db{through()};
    proxy->harm("INSERT", 3, true);
    db.give_up_at(shortly());
    const Failure failure = failure_of([&] { db.send(two(), commits ? Scope::whole : Scope::begins); });
    EXPECT_TRUE(failure.timed_out());
    EXPECT_EQ(failure.outcome(), commits ? Outcome::unknown : Outcome::undone);
    EXPECT_FALSE(db.usable());
  }
}

TEST_F(PostgresFaults, NorIsConnectingWaitedForLong) {
  // It answers to nothing: neither to the first words, nor to a cancel.
  proxy->harm_always("user", 0, true);
  const Failure late = failure_of([&] { Connection db(through(), "x", shortly()); });
  EXPECT_TRUE(late.timed_out());
  EXPECT_EQ(late.outcome(), Outcome::undone);
  EXPECT_THAT(late.what(), ::testing::HasSubstr("in time"));
}

TEST_F(PostgresFaults, ARefusalThatIsReadBeforeTheCutIsCertain) {
  direct->run(insert_key, 2);
  bool refused = false;
  for (std::size_t bytes = 0;; ++bytes) {
    Connection db{through()};
    proxy->harm("COMMIT", bytes);
    const Failure failure = failure_of([&] { db.send(two(), Scope::whole); });
    if (failure.outcome() == Outcome::refused) break;
    // First nothing is known, then that the server has refused; that the connection was lost as well comes on
    // top.
    if (failure.outcome() == Outcome::undone) refused = true;
    EXPECT_EQ(failure.outcome(), refused ? Outcome::undone : Outcome::unknown) << bytes;
    ASSERT_LT(bytes, 1000U);
  }
  EXPECT_TRUE(refused);
  EXPECT_EQ(keys(), "2");
}

TEST_F(PostgresFaults, ABackendIsEndedWhileIdle) {
  for (const bool open : {false, true}) {
    Connection db{options(server().url())};
    db.run(insert_key, 1);
    if (open) db.begin();
    direct->query(kill_backend, db.backend());
    ASSERT_TRUE(ends(db.backend()));
    // Nothing was sent any more, so nothing is in doubt.
    const Failure failure = failure_of([&] { db.send(two(), Scope::whole); });
    EXPECT_EQ(failure.outcome(), Outcome::undone);
    EXPECT_FALSE(db.usable());
    direct->execute("DELETE FROM main.pair");
  }
}

TEST_F(PostgresFaults, ABackendEndsInTheMiddle) {
  Connection db{options(server().url())};
  Batch batch;
  batch.add(insert_key, 1).add(kill_me).add(insert_key, 2);
  const Failure failure = failure_of([&] { db.send(batch, Scope::whole); });
  EXPECT_TRUE(failure.lost());
  EXPECT_EQ(failure.state(), "57P01");
  EXPECT_THAT(failure.what(), ::testing::HasSubstr("terminating connection"));
  EXPECT_EQ(keys(), "");
}

TEST_F(PostgresFaults, AServerIsStoppedAndComesBack) {
  testing::PostgresServer own;
  const Options at = parse_url(own.url());
  Connection db{at};
  db.execute("CREATE TABLE main.pair (key bigint PRIMARY KEY)");
  for (const int signal : {SIGQUIT, SIGINT, SIGKILL}) {
    Connection before{at};
    before.run(insert_key, signal);
    own.stop(signal);
    EXPECT_TRUE(ends(before.backend()));
    EXPECT_TRUE(failure_of([&] { before.run(insert_key, -signal); }).lost());
    EXPECT_EQ(failure_of([&] { Connection late{at}; }).outcome(), Outcome::undone);
    own.start();
    Connection after{at};
    static constexpr Sql there{"SELECT 1 FROM main.pair WHERE key = $1"};
    EXPECT_TRUE(after.any(there, signal));
    EXPECT_FALSE(after.any(there, -signal));
  }
}

TEST_F(PostgresFaults, AnotherThreadCutsAStatementThatIsUnderWay) {
  Connection db{through()};
  const Scissors scissors{db};
  const int backend = db.backend();
  std::jthread cutter{[&] {
    Connection watch{through()};
    EXPECT_TRUE(testing::eventually([&] { return watch.any(sleeps, backend); }));
    scissors.cut();
  }};
  const Failure failure = failure_of([&] { db.query(sleep); });
  EXPECT_TRUE(failure.lost());
  EXPECT_FALSE(failure.timed_out());
  EXPECT_FALSE(db.usable());
}

}  // namespace tidemill::postgres::tests
