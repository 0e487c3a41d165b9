// What only the store on MariaDB can meet: other hands in its tables, prefixes, and size.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "mysql_fixture.hpp"

namespace tidemill::contract {

namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using testing::eventually;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::MysqlServer;
using ::testing::Not;
using testing::shared_mysql;
using ::testing::SizeIs;

// ---- Plain SQL ----

TEST_F(MysqlStoreTest, APlainInsertIsATaskLikeAnyOther) {
  run("INSERT INTO main.task (kind, payload) VALUES ('mail', '{\"to\": \"ä\"}')");
  run("INSERT INTO main.task (kind, id, queue, priority, retries_max, timeout_seconds, retention_seconds, "
      "headers) VALUES ('mail', 'sixteen-letters!', 'low', 5, 2, 60, 3600.5, '{\"a\": \"b\"}')");
  run("SET time_zone = '+05:30'; INSERT INTO main.task (kind, id, run_at) VALUES ('mail', "
      "'01890a5d-ac96-774b-bcce-b302099a8057', NOW() + INTERVAL 1 HOUR)");

  const Claimed first = claim(*store_, 10, "default");
  ASSERT_THAT(first.leases, SizeIs(1));
  EXPECT_EQ(first.leases[0].task.kind, "mail");
  EXPECT_EQ(first.leases[0].task.payload, "{\"to\": \"ä\"}");
  EXPECT_EQ(first.leases[0].task.retries_max, 25);
  EXPECT_EQ(first.leases[0].task.timeout, 30min);
  EXPECT_THAT(first.leases[0].task.ref.id, SizeIs(36)) << "a UUID";
  ASSERT_TRUE(first.next_due);
  EXPECT_GT(*first.next_due, first.now + 50min);
  EXPECT_LT(*first.next_due, first.now + 70min);

  const Claimed second = claim(*store_, 10, "low");
  ASSERT_THAT(second.leases, SizeIs(1));
  const Task& low = second.leases[0].task;
  EXPECT_EQ(low.ref.id, "sixteen-letters!");
  EXPECT_EQ(low.priority, 5);
  EXPECT_EQ(low.retries_max, 2);
  EXPECT_EQ(low.timeout, 1min);
  EXPECT_EQ(low.retention, 1h + 500ms);
  EXPECT_THAT(low.headers, ElementsAre(std::pair{"a", "b"}));
  EXPECT_EQ(counts("default")[State::scheduled], 1U);
  EXPECT_EQ(one("SELECT COUNT(*) FROM main.task"), "0");
}

TEST_F(MysqlStoreTest, APlainInsertBelongsToItsTransaction) {
  run("BEGIN; INSERT INTO main.task (kind) VALUES ('mail')");
  EXPECT_THAT(claim(*store_, 10, "default").leases, IsEmpty()) << "nor does anybody wait for it";
  run("ROLLBACK");
  EXPECT_THAT(claim(*store_, 10, "default").leases, IsEmpty());
  EXPECT_EQ(counts("default")[State::pending], 0U);
}

// Why: who INSERTs can't be told, and what is wrong must not hold up the rest. How: some wrong rows between
// right ones; they stay, with the reason, until somebody corrects them.
TEST_F(MysqlStoreTest, ARowThatCanBeNoTaskStaysAndSaysWhy) {
  const auto insert = [&](const std::string& columns, const std::string& values) {
    run("INSERT INTO main.task (" + columns + ") VALUES (" + values + ")");
  };
  insert("kind, queue", "'', 'q'");
  insert("kind, queue", "'k', ''");
  insert("kind, priority", "'k', 101");
  insert("kind, timeout_seconds", "'k', -1");
  insert("kind, headers", "'k', '[1]'");
  insert("kind, queue, id", "'k', 'q', 'a'");
  insert("kind, queue, id", "'k', 'q', 'a'");
  const Claimed claimed = claim(*store_);
  ASSERT_THAT(claimed.leases, SizeIs(1));
  EXPECT_EQ(claimed.leases[0].task.ref.id, "a");
  const auto error = [&](int seq) {
    return one(fmt::format("SELECT error FROM main.task WHERE seq = {}", seq));
  };
  EXPECT_THAT(error(1), HasSubstr("kind"));
  EXPECT_THAT(error(2), HasSubstr("queue"));
  EXPECT_THAT(error(3), HasSubstr("priority"));
  EXPECT_THAT(error(4), HasSubstr("timeout"));
  EXPECT_THAT(error(5), HasSubstr("JSON object"));
  EXPECT_THAT(error(7), HasSubstr("a task with this id is there already"));
  EXPECT_EQ(one("SELECT COUNT(*) FROM main.task"), "6");
  std::string all;
  for (const Concern& concern : store_->concerns()) all += concern.what + "\n";
  EXPECT_THAT(all, HasSubstr("6 rows of the table task"));

  run("UPDATE main.task SET kind = 'k', error = NULL WHERE seq = 1");
  EXPECT_THAT(claim(*store_).leases, SizeIs(1));
}

// Why: a worker must not sleep until it looks by itself. How: a wait that is longer than any look.
TEST_F(MysqlStoreTest, APlainInsertWakesAWorker) {
  const std::string_view queue = "default";
  EXPECT_THAT(claim(*store_, 10, queue).leases, IsEmpty());
  std::atomic<int> woken{0};
  std::jthread waiter{[&](const std::stop_token& stop) {
    while (claim(*store_, 10, queue).leases.empty() && !stop.stop_requested())
      store_->wait("w", {&queue, 1}, 60s, stop);
    ++woken;
  }};
  run("INSERT INTO main.task (kind) VALUES ('mail')");
  EXPECT_TRUE(eventually([&] { return woken == 1; }));
}

TEST_F(MysqlStoreTest, AnotherProcessIsWoken) {
  const auto other = open(url());
  const std::string_view queue = "q";
  put(plain_task("known"));
  EXPECT_THAT(claim(*other).leases, SizeIs(1));
  std::atomic<int> woken{0};
  std::jthread waiter{[&](const std::stop_token& stop) {
    while (claim(*other).leases.empty() && !stop.stop_requested()) other->wait("w", {&queue, 1}, 60s, stop);
    ++woken;
  }};
  put(plain_task("a"));
  EXPECT_TRUE(eventually([&] { return woken == 1; }));
}

TEST_F(MysqlStoreTest, BytesOfAnySortGoThrough) {
  Task odd = plain_task(std::string("\xff\0id", 4), std::string("q\xfe\0", 3));
  odd.kind = "k\xc3";
  odd.payload = std::string("\0\xff\xfe", 3);
  odd.headers = {{"h\xff", "\x80"}};
  EXPECT_EQ(put(odd).put, Put::created);
  const Claimed claimed = claim(*store_, 1, odd.ref.queue);
  ASSERT_THAT(claimed.leases, SizeIs(1));
  EXPECT_EQ(claimed.leases[0].task.ref, odd.ref);
  EXPECT_EQ(claimed.leases[0].task.kind, odd.kind);
  EXPECT_EQ(claimed.leases[0].task.payload, odd.payload);
  EXPECT_EQ(claimed.leases[0].task.headers, odd.headers);
  EXPECT_EQ(one("SELECT HEX(payload) FROM main.job"), "00FFFE");
}

TEST_F(MysqlStoreTest, IdsThatLookLikeStoredOnesStayApart) {
  const std::string uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
  const std::string raw = "\x01\x89\x0a\x5d\xac\x96\x77\x4b\xbc\xce\xb3\x02\x09\x9a\x80\x57";
  for (const std::string& id : {uuid, raw, raw + '\0', raw + std::string(2, '\0')})
    EXPECT_EQ(put(plain_task(id)).put, Put::created);
  std::vector<std::string> ids;
  for (const Lease& lease : claim(*store_).leases) ids.push_back(lease.task.ref.id);
  EXPECT_THAT(ids, ElementsAre(uuid, raw, raw + '\0', raw + std::string(2, '\0')));
}

// Why: what has been claimed is found by its token, and must not be handed over twice in one answer.
TEST_F(MysqlStoreTest, AQueueThatIsWantedTwiceGivesEachTaskOnce) {
  for (const char* const id : {"a", "b", "c"}) put(plain_task(id));
  const Want wants[] = {{"q", 1}, {"q", 1}};
  const Claimed claimed =
      store_->claim({.worker = "w", .wants = wants, .count_max = 3, .lease = 25s}, call());
  ASSERT_THAT(claimed.leases, SizeIs(2));
  EXPECT_EQ(claimed.leases[0].task.ref.id, "a");
  EXPECT_EQ(claimed.leases[1].task.ref.id, "b");
  EXPECT_EQ(counts()[State::active], 2U);
}

// ---- Tables ----

TEST_F(MysqlStoreTest, MigratesOnceAndManyAtATime) {
  EXPECT_EQ(migrate(url()).from, migrate(url()).to);
  const std::string fresh = shared_mysql().url("prefix=many_" + prefix_);
  std::atomic<int> created{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&] { created += migrate(fresh).from == 0 ? 1 : 0; });
  }
  EXPECT_EQ(created, 1);
}

// Why: the server commits each statement that makes a table, so a crash leaves some of them. How: what is
// there after one, from no table to all but the last word.
TEST_F(MysqlStoreTest, AMigrationThatWasCutOffIsDoneAgain) {
  store_.reset();
  const std::vector<std::string> cuts = {"DROP TABLE main.task, main.set, main.lock",
                                         "DROP TABLE main.queue"};
  for (const std::string& cut : cuts) {
    run("DELETE FROM main.meta WHERE name = 'schema'; " + cut);
    EXPECT_EQ(migrate(url()).from, 0);
    store_ = open(url());
    EXPECT_EQ(put(plain_task("a")).put, Put::created);
    EXPECT_THAT(claim(*store_).leases, SizeIs(1));
    run("DELETE FROM main.job");
    store_.reset();
  }
}

TEST_F(MysqlStoreTest, TablesThatAreNotAsTheyShouldBeAreRefused) {
  const std::string empty = shared_mysql().url("prefix=none_" + prefix_);
  auto error = error_of([&] { (void)open(empty, {.migrate = false}); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::unavailable);
  EXPECT_THAT(error->what(), HasSubstr("run `tidemill migrate`"));

  run("UPDATE main.meta SET value = 99 WHERE name = 'schema'");
  error = error_of([&] { (void)open(url()); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("has schema version 99"));

  run("DROP TABLE main.job; CREATE TABLE main.job (x INT)");
  error = error_of([&] { (void)open(url()); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::unavailable);
  EXPECT_THAT(error->what(), HasSubstr("has a table " + prefix_ + "job that is not Tidemill's"));
}

TEST_F(MysqlStoreTest, AUserWithoutRightsIsToldSo) {
  run("CREATE USER guest@'%'; CREATE DATABASE guarded; GRANT SELECT ON guarded.* TO guest@'%'");
  const auto error =
      error_of([&] { (void)open(fmt::format("mysql://guest@127.0.0.1:{}/guarded", shared_mysql().port())); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::unavailable);
  EXPECT_THAT(error->what(), HasSubstr("lacks a right"));
}

TEST_F(MysqlStoreTest, WhatTakesNoWritesIsNotWrittenTo) {
  MysqlServer server;
  mysql::Connection admin{mysql::parse_url(server.url())};
  admin.execute("CREATE USER app@'%'; GRANT ALL ON test.* TO app@'%'");
  std::string as_app = server.url();
  as_app.replace(as_app.find("root@"), 5, "app@");
  const auto store = open(as_app);
  admin.execute("SET GLOBAL read_only = 1");
  const auto error = error_of([&] { put(*store, plain_task("a")); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::unavailable);
  EXPECT_THAT(error->what(), HasSubstr("takes no writes"));
  std::string all;
  for (const Concern& concern : store->concerns()) all += concern.what + "\n";
  EXPECT_THAT(all, HasSubstr("read_only is on"));
}

TEST_F(MysqlStoreTest, ABinaryLogOfStatementsIsToldWhatToSet) {
  MysqlServer server{{"--log-bin", "--binlog-format=STATEMENT"}};
  const auto error = error_of([&] {
    const auto store = open(server.url());
    put(*store, plain_task("a"));
  });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::unavailable);
  EXPECT_THAT(error->what(), HasSubstr("set it to ROW or MIXED"));
}

TEST_F(MysqlStoreTest, WrongUrlsAreRefusedWithoutASecretInTheMessage) {
  for (const char* wrong :
       {"mysql://u:secret@h/db?prefix=A", "mysql://u:secret@h/db?nonsense=1", "mariadb://u:secret@h"}) {
    const auto error = error_of([&] { (void)open(wrong); });
    ASSERT_TRUE(error) << wrong;
    EXPECT_EQ(error->kind(), ErrorKind::invalid) << wrong;
    EXPECT_THAT(error->what(), Not(HasSubstr("secret")));
  }
  const auto error = error_of([] { (void)open("mysql://u:secret@127.0.0.1:1/db"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::unavailable);
  EXPECT_THAT(error->what(), Not(HasSubstr("secret")));
}

// ---- Size ----

// Why: no call may read a table from end to end, however many tasks there are. How: a hundred thousand of
// them, and the server's own count of the rows that a connection has read one after the other.
TEST_F(MysqlStoreTest, NoCallReadsATableFromEndToEnd) {
  put(plain_task("first"));
  run("INSERT INTO main.job (id, queue, line, at, since, kind, created_at, payload) SELECT CONCAT('n', "
      "s.seq), "
      "j.queue, CASE WHEN s.seq % 2 = 0 THEN j.line ELSE j.queue * 65536 + 384 END, j.at + s.seq, j.at + "
      "s.seq, "
      "j.kind, j.created_at, 'p' FROM main.job j, seq_1_to_100000 s");
  run("INSERT INTO main.delta (queue, state, tasks) SELECT id, 2, 50000 FROM main.queue");
  run("INSERT INTO main.delta (queue, state, tasks) SELECT id, 1, 50000 FROM main.queue");
  const auto rows_read = [&] {
    return std::stoll(
        one("SELECT SUM(variable_value) FROM information_schema.global_status WHERE variable_name "
            "IN ('HANDLER_READ_RND_NEXT', 'HANDLER_READ_NEXT', 'HANDLER_READ_PREV')"));
  };
  const auto before = rows_read();
  const Claimed claimed = claim(*store_, 100);
  ASSERT_THAT(claimed.leases, SizeIs(100));
  std::vector<Report> reports;
  for (const Lease& lease : claimed.leases) {
    Report report{.lease = &lease, .to = State::gone};
    if (reports.size() % 2 == 0) report = {.lease = &lease, .to = State::retry, .delay = 1min};
    reports.push_back(report);
  }
  EXPECT_THAT(store_->report(reports, call()), Each(Reported::applied));
  const Ref last{"q", "n99999"};
  EXPECT_TRUE(store_->catalog()->get({&last, 1}, call()).at(0));
  EXPECT_THAT(store_->catalog()->change({&last, 1}, {.from = States::all(), .to = State::held}, call()),
              ElementsAre(Changed::changed));
  EXPECT_THAT(store_->catalog()->find({.states = State::pending}, "", 50, 10s, call()).tasks, SizeIs(50));
  store_->sweep("w", 25s, 100, call());
  EXPECT_EQ(counts()[State::held], 1U);
  EXPECT_LT(rows_read() - before, 20'000);
}

// ---- Doctor ----

TEST_F(MysqlStoreTest, ConcernsAreToldInWords) {
  MysqlServer server{
      {"--innodb-flush-log-at-trx-commit=2", "--log-bin", "--binlog-format=ROW", "--sync-binlog=0"}};
  const auto store = open(server.url());
  std::string all;
  for (const Concern& concern : store->concerns()) all += concern.what + "\n";
  EXPECT_THAT(all, AllOf(HasSubstr("innodb_flush_log_at_trx_commit is 2"), HasSubstr("sync_binlog is 0")));
  EXPECT_THAT(all, Not(HasSubstr("read_only")));
}

TEST_F(MysqlStoreTest, GaugesShowTheOldestTransaction) {
  mysql::Connection held = connect();
  held.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT");
  EXPECT_TRUE(eventually([&] {
    const auto gauges = store_->gauges();
    return std::ranges::any_of(gauges, [](const Gauge& gauge) {
      return gauge.name == "oldest_transaction_seconds" && gauge.value >= 1;
    });
  }));
}

}  // namespace

}  // namespace tidemill::contract
