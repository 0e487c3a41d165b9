// Other libraries' connections as their users have them: transactions of libpqxx and SOCI, and workers on
// stores that have no connections but the application's.
#if __has_include(<pqxx/pqxx>) && __has_include(<soci/soci.h>)

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <soci/mysql/soci-mysql.h>
#include <soci/postgresql/soci-postgresql.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <tidemill/mysql.hpp>
#include <tidemill/postgres.hpp>
#include <tidemill/sql.hpp>
#include <tidemill/tidemill.hpp>

#include "handles.hpp"
#include "mysql_server.hpp"
#include "postgres_server.hpp"
#include "pqxx.hpp"
#include "refusal.hpp"
#include "soci.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using tests::refusal;

namespace {

std::string postgres_words() {
  return fmt::format("host=127.0.0.1 port={} user=postgres dbname=postgres",
                     tidemill::testing::shared_postgres().port());
}

std::uint64_t pending(Store& store) {
  Inspector inspector{store};
  std::uint64_t count = 0;
  for (QueueInfo& queue : inspector.queues()) count += queue.counts[State::pending];
  return count;
}

/// Runs tasks of which each is put off once, until all are done.
void expect_work_is_done(Store& store) {
  constexpr std::size_t tasks = 40;
  Client client{store};
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::string> begun, done;
  Router router;
  router.handle("work", [&](Context& context) -> Outcome {
    const std::lock_guard guard{mutex};
    if (begun.insert(context.task().ref.id).second) return Outcome::snooze(10ms);
    done.insert(context.task().ref.id);
    changed.notify_one();
    return Outcome::success();
  });
  WorkerOptions options{.queues = {{"default", 1}}, .concurrency = 4};
  Worker worker{store, router, options};
  worker.start();
  for (std::size_t i = 0; i < tasks; ++i) client.enqueue("work", "it's ? and :x");
  {
    std::unique_lock lock{mutex};
    changed.wait_for(lock, 60s, [&] { return done.size() == tasks; });
  }
  worker.stop();
  EXPECT_EQ(done.size(), tasks);
  EXPECT_EQ(pending(store), 0U);
}

}  // namespace

// Why: this is what a user of libpqxx writes. How: a work that is given up, and one that is committed.
TEST(Handles, ATaskSharesTheFateOfAWorkOfLibpqxx) {
  TIDEMILL_NEEDS_POSTGRES();
  const auto store = open(tidemill::testing::shared_postgres().url("schema=pqxx_work"));
  Client client{*store};
  pqxx::connection connection{postgres_words()};
  {
    pqxx::work work{connection};
    tidemill::testing::Pqxx calls{work};
    SqlTransaction transaction{SqlHandle::borrow(calls)};
    client.enqueue(transaction, "order:confirm", "{}");
  }
  EXPECT_EQ(pending(*store), 0U);
  // [libpqxx]
  pqxx::work work{connection};
  work.exec("CREATE TABLE teapots (name text)");
  tidemill::testing::Pqxx calls{work};
  tidemill::SqlTransaction transaction{tidemill::SqlHandle::borrow(calls)};
  client.enqueue(transaction, "order:confirm", R"({"item":"teapot"})");
  work.commit();  // The table and the task exist from here on, or neither.
  // [libpqxx]
  EXPECT_EQ(pending(*store), 1U);
}

TEST(Handles, ATaskSharesTheFateOfATransactionOfSoci) {
  TIDEMILL_NEEDS_POSTGRES();
  TIDEMILL_NEEDS_MYSQL();
  const auto expect_it = [](Store& store, soci::session& session) {
    Client client{store};
    tidemill::testing::Soci calls{session};
    SqlTransaction inside{SqlHandle::borrow(calls)};
    {
      soci::transaction transaction{session};
      client.enqueue(inside, "order:confirm", "{}");
    }
    EXPECT_EQ(pending(store), 0U);
    soci::transaction transaction{session};
    client.enqueue(inside, "order:confirm", "{}");
    transaction.commit();
    EXPECT_EQ(pending(store), 1U);
    // Nothing but the exception is known of an error here.
    EXPECT_THAT(refusal([&] { client.enqueue(inside, "order:confirm", "{}"); }, ErrorKind::invalid),
                HasSubstr("BEGIN"));
    EXPECT_EQ(pending(store), 1U);
  };
  const auto postgres = open(tidemill::testing::shared_postgres().url("schema=soci_transaction"));
  soci::session on_postgres{soci::postgresql, postgres_words()};
  expect_it(*postgres, on_postgres);
  const auto mysql = open(tidemill::testing::shared_mysql().url("prefix=soci_transaction_"));
  soci::session on_mysql{soci::mysql, fmt::format("host=127.0.0.1 port={} user=root db=test charset=utf8mb4",
                                                  tidemill::testing::shared_mysql().port())};
  expect_it(*mysql, on_mysql);
}

// Why: client and worker run on what the application has. How: on libpqxx and on SOCI.
TEST(Handles, AWorkerRunsOnLibpqxx) {
  TIDEMILL_NEEDS_POSTGRES();
  const std::string url = tidemill::testing::shared_postgres().url();
  const auto store =
      open_postgres({.connect = [&] { return pqxx_handle(url); }, .schema = "works \"on\" pqxx"});
  expect_work_is_done(*store);
}

TEST(Handles, AWorkerRunsOnSoci) {
  TIDEMILL_NEEDS_POSTGRES();
  TIDEMILL_NEEDS_MYSQL();
  const std::string url = tidemill::testing::shared_postgres().url();
  const auto postgres =
      open_postgres({.connect = [&] { return soci_postgres_handle(url); }, .schema = "works_on_soci"});
  expect_work_is_done(*postgres);
  const std::string mysql_url = tidemill::testing::shared_mysql().url();
  const auto mysql =
      open_mysql({.connect = [&] { return soci_mysql_handle(mysql_url); }, .prefix = "works_on_soci_"});
  expect_work_is_done(*mysql);
}

// Why: connections are lost, and others are to be had. How: all of the store's are ended by the server.
TEST(Handles, ALostConnectionIsAskedForAnew) {
  TIDEMILL_NEEDS_POSTGRES();
  const std::string url = tidemill::testing::shared_postgres().url("application_name=lost");
  std::atomic<int> given = 0;
  const auto store = open_postgres({.connect =
                                        [&] {
                                          ++given;
                                          return pqxx_handle(url);
                                        },
                                    .schema = "lost"});
  Client client{*store};
  client.enqueue("k", "1");
  EXPECT_EQ(pending(*store), 1U);
  const int before = given;
  const SqlHandle other = pqxx_handle(tidemill::testing::shared_postgres().url());
  EXPECT_FALSE(
      other.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lost'")
          .empty());
  client.enqueue("k", "2");
  EXPECT_EQ(pending(*store), 2U);
  EXPECT_GT(given, before);
}

// Why: borrowed connections are the application's again, open and without a transaction.
TEST(Handles, BorrowedConnectionsAreGivenBack) {
  TIDEMILL_NEEDS_POSTGRES();
  struct Owned {
    pqxx::connection connection{postgres_words()};
    pqxx::nontransaction calls{connection};
    tidemill::testing::Pqxx adapter{calls};
  };
  std::mutex mutex;
  std::vector<std::unique_ptr<Owned>> owned;
  {
    const auto store = open_postgres({.connect =
                                          [&] {
                                            const std::lock_guard guard{mutex};
                                            owned.push_back(std::make_unique<Owned>());
                                            return SqlHandle::borrow(owned.back()->adapter);
                                          },
                                      .schema = "borrowed"});
    Client{*store}.enqueue("k", "1");
    EXPECT_EQ(pending(*store), 1U);
  }
  ASSERT_FALSE(owned.empty());
  for (const auto& each : owned) {
    EXPECT_EQ(each->calls.exec("SELECT 1").size(), 1U);
    EXPECT_NO_THROW(each->calls.exec("VACUUM borrowed.tidemill_meta"));  // In no transaction.
  }
}

TEST(Handles, WhatTheApplicationGivesIsChecked) {
  TIDEMILL_NEEDS_POSTGRES();
  EXPECT_THAT(refusal([] { (void)open_postgres({}); }, ErrorKind::invalid), HasSubstr("connect"));
  EXPECT_THAT(refusal([] { (void)open_mysql({}); }, ErrorKind::invalid), HasSubstr("connect"));
  EXPECT_THAT(
      refusal([] { (void)open_postgres({.connect = [] { return SqlHandle{}; }}); }, ErrorKind::unavailable),
      HasSubstr("empty SqlHandle"));
  const auto nobody = []() -> SqlHandle { throw std::runtime_error{"nobody is at home"}; };
  EXPECT_THAT(refusal([&] { (void)open_postgres({.connect = nobody}); }, ErrorKind::unavailable),
              HasSubstr("nobody is at home"));
  EXPECT_THAT(refusal([&] { (void)open_mysql({.connect = nobody}); }, ErrorKind::unavailable),
              HasSubstr("nobody is at home"));
  EXPECT_THAT(
      refusal([&] { (void)open_mysql({.connect = nobody, .prefix = "no prefix"}); }, ErrorKind::invalid),
      HasSubstr("prefix"));

  const SqlHandle only = pqxx_handle(tidemill::testing::shared_postgres().url());
  const auto store = open_postgres({.connect = [&] { return only; }, .schema = "only"});
  EXPECT_THAT(refusal(
                  [&] {
                    Client{*store}.enqueue("k", "1");
                    pending(*store);
                  },
                  ErrorKind::invalid),
              HasSubstr("each must be another"));
}

}  // namespace tidemill::contract

#endif
