// What only the PostgreSQL store can meet: other hands in its tables, schemas, a pooler, and size.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "postgres_fixture.hpp"

namespace tidemill::contract {

namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using testing::eventually;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using testing::PgBouncer;
using testing::PostgresServer;
using testing::shared_postgres;
using ::testing::SizeIs;

// ---- Plain SQL ----

TEST_F(PostgresStoreTest, APlainInsertIsATaskLikeAnyOther) {
  run("INSERT INTO main.tidemill_task (kind, payload) VALUES ('mail', '{\"to\": \"ä\"}')");
  run("INSERT INTO main.tidemill_task (kind, id, queue, priority, retries_max, timeout, retention, headers) "
      "VALUES ('mail', 'sixteen-letters!', 'low', 5, 2, interval '1 minute', '1 hour', '{\"a\": \"b\"}')");
  run("INSERT INTO main.tidemill_task (kind, id, run_at) VALUES ('mail', "
      "'01890a5d-ac96-774b-bcce-b302099a8057', now() + interval '1 hour')");

  const Claimed first = claim(*store_, 10, "default");
  ASSERT_THAT(first.leases, SizeIs(1));
  EXPECT_EQ(first.leases[0].task.kind, "mail");
  EXPECT_EQ(first.leases[0].task.payload, "{\"to\": \"ä\"}");
  EXPECT_EQ(first.leases[0].task.retries_max, 25);
  EXPECT_EQ(first.leases[0].task.timeout, 30min);
  EXPECT_THAT(first.leases[0].task.ref.id, SizeIs(36)) << "a UUID";
  ASSERT_TRUE(first.next_due);
  EXPECT_GT(*first.next_due, first.now + 50min);

  const Claimed second = claim(*store_, 10, "low");
  ASSERT_THAT(second.leases, SizeIs(1));
  const Task& low = second.leases[0].task;
  EXPECT_EQ(low.ref.id, "sixteen-letters!");
  EXPECT_EQ(low.priority, 5);
  EXPECT_EQ(low.retries_max, 2);
  EXPECT_EQ(low.timeout, 1min);
  EXPECT_EQ(low.retention, 1h);
  EXPECT_THAT(low.headers, ElementsAre(std::pair{"a", "b"}));
  EXPECT_EQ(counts("default")[State::scheduled], 1U);
  EXPECT_EQ(one("SELECT id FROM main.tidemill_task WHERE state = 'scheduled'"),
            "01890a5d-ac96-774b-bcce-b302099a8057");
  EXPECT_EQ(one("SELECT string_agg(state, ',' ORDER BY state) FROM main.tidemill_task"),
            "active,active,scheduled");
}

TEST_F(PostgresStoreTest, APlainInsertBelongsToItsTransaction) {
  run("BEGIN; INSERT INTO main.tidemill_task (kind) VALUES ('mail'); ROLLBACK");
  EXPECT_THAT(claim(*store_, 10, "default").leases, IsEmpty());
  EXPECT_EQ(counts("default")[State::pending], 0U);
}

TEST_F(PostgresStoreTest, APlainInsertIsToldWhatIsWrong) {
  const auto insert = [&](const std::string& columns, const std::string& values) {
    return refusal("INSERT INTO main.tidemill_task (" + columns + ") VALUES (" + values + ")");
  };
  EXPECT_THAT(insert("payload", "'x'"), HasSubstr("the kind is missing"));
  EXPECT_THAT(insert("kind, queue", "'k', ''"), HasSubstr("the queue's name is empty"));
  EXPECT_THAT(insert("kind, state", "'k', 'held'"), HasSubstr("an INSERT may give queue, id"));
  EXPECT_THAT(insert("kind, priority", "'k', 101"), HasSubstr("priority must be from -100 to 100"));
  EXPECT_THAT(insert("kind, timeout", "'k', interval '-1 s'"), HasSubstr("must not be negative"));
  EXPECT_THAT(insert("kind, headers", "'k', '[1]'"), HasSubstr("must be a JSON object"));
  EXPECT_THAT(insert("kind, headers", "'k', '{\"a\": {}}'"), HasSubstr("must be a JSON object"));
  EXPECT_THAT(insert("kind, id", "'k', 'a'"), IsEmpty());
  EXPECT_THAT(insert("kind, id", "'k', 'a'"), HasSubstr("tidemill_job_id")) << "its id is there already";
  EXPECT_EQ(one("SELECT count(*) FROM main.tidemill_task"), "1");
}

// Why: a worker must not sleep until it looks by itself. How: a wait that is longer than any look.
TEST_F(PostgresStoreTest, APlainInsertWakesAWorker) {
  const std::string_view queue = "default";
  EXPECT_THAT(claim(*store_, 10, queue).leases, IsEmpty());
  std::atomic<int> woken{0};
  std::jthread waiter{[&](const std::stop_token& stop) {
    while (claim(*store_, 10, queue).leases.empty() && !stop.stop_requested())
      store_->wait("w", {&queue, 1}, 60s, stop);
    ++woken;
  }};
  run("INSERT INTO main.tidemill_task (kind) VALUES ('mail')");
  EXPECT_TRUE(eventually([&] { return woken == 1; }));
}

TEST_F(PostgresStoreTest, AnotherProcessIsWoken) {
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

TEST_F(PostgresStoreTest, WhatWasCountedBesideIsAddedUpByASweep) {
  for (int i = 0; i < 5; ++i) run("INSERT INTO main.tidemill_task (kind, queue) VALUES ('k', 'q')");
  EXPECT_EQ(one("SELECT count(*) FROM main.tidemill_delta"), "5");
  EXPECT_EQ(counts()[State::pending], 5U);
  store_->sweep("w", 25s, 100, call());
  EXPECT_EQ(one("SELECT count(*) FROM main.tidemill_delta"), "0");
  EXPECT_EQ(counts()[State::pending], 5U);
}

TEST_F(PostgresStoreTest, BytesOfAnySortGoThrough) {
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
  EXPECT_EQ(one("SELECT payload FROM main.tidemill_task"), "\\000\\377\\376");
}

TEST_F(PostgresStoreTest, IdsThatLookLikeStoredOnesStayApart) {
  const std::string uuid = "01890a5d-ac96-774b-bcce-b302099a8057";
  const std::string raw = "\x01\x89\x0a\x5d\xac\x96\x77\x4b\xbc\xce\xb3\x02\x09\x9a\x80\x57";
  for (const std::string& id : {uuid, raw, raw + '\0', raw + std::string(2, '\0')})
    EXPECT_EQ(put(plain_task(id)).put, Put::created);
  std::vector<std::string> ids;
  for (const Lease& lease : claim(*store_).leases) ids.push_back(lease.task.ref.id);
  EXPECT_THAT(ids, ElementsAre(uuid, raw, raw + '\0', raw + std::string(2, '\0')));
}

// ---- Schemas ----

TEST_F(PostgresStoreTest, MigratesOnceAndManyAtATime) {
  EXPECT_EQ(migrate(url()).from, migrate(url()).to);
  const std::string fresh = shared_postgres().url("schema=many%20" + schema_.substr(6));
  std::atomic<int> created{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([&] { created += migrate(fresh).from == 0 ? 1 : 0; });
  }
  EXPECT_EQ(created, 1);
}

TEST_F(PostgresStoreTest, ASchemaOfBeforeIsBroughtUpToDate) {
  const std::string ballast = "SELECT count(*) FROM main.tidemill_job";
  EXPECT_EQ(one(ballast), "10000");
  put(plain_task("a"));
  run("DELETE FROM main.tidemill_job WHERE seq < 0; UPDATE main.tidemill_meta SET value = 1 WHERE name = "
      "'schema'");
  const Migration done = migrate(url());
  EXPECT_EQ(done.from, 1);
  EXPECT_EQ(done.to, 2);
  EXPECT_EQ(one(ballast), "10001");
  EXPECT_THAT(claim(*store_).leases, SizeIs(1));
}

TEST_F(PostgresStoreTest, ASchemaThatIsNotAsItShouldBeIsRefused) {
  const std::string empty = shared_postgres().url("schema=none%20" + schema_.substr(6));
  auto error = error_of([&] { (void)open(empty, {.migrate = false}); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::unavailable);
  EXPECT_THAT(error->what(), HasSubstr("run `tidemill migrate`"));

  run("UPDATE main.tidemill_meta SET value = 99 WHERE name = 'schema'");
  error = error_of([&] { (void)open(url()); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("has schema version 99"));

  run("DROP TABLE main.tidemill_meta");
  error = error_of([&] { (void)open(url()); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::unavailable);
  EXPECT_THAT(error->what(), HasSubstr("not Tidemill's"));
  EXPECT_EQ(one("SELECT to_regclass('main.tidemill_meta') IS NULL"), "true") << "nothing was left behind";

  run("CREATE VIEW main.tidemill_meta AS SELECT 1 AS value");
  error = error_of([&] { (void)open(url()); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->what(), HasSubstr("has a table tidemill_meta that is not Tidemill's"));
}

TEST_F(PostgresStoreTest, AUserWithoutRightsIsToldSo) {
  const std::string name = "guest" + schema_.substr(6);
  run("CREATE USER " + name);
  std::string as_guest = url();
  as_guest.replace(as_guest.find("postgres@"), 9, name + "@");
  const auto error = error_of([&] { (void)open(as_guest); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::unavailable);
  EXPECT_THAT(error->what(), HasSubstr("lacks a right"));
}

TEST_F(PostgresStoreTest, WhatTakesNoWritesIsNotWrittenTo) {
  const std::string name = "reader" + schema_.substr(6);
  run("CREATE USER " + name + " SUPERUSER; ALTER USER " + name + " SET default_transaction_read_only = on");
  std::string read_only = url();
  read_only.replace(read_only.find("postgres@"), 9, name + "@");
  const auto store = open(read_only);
  const auto error = error_of([&] { put(*store, plain_task("a")); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::unavailable);
  EXPECT_THAT(error->what(), HasSubstr("takes no writes"));
}

TEST_F(PostgresStoreTest, WrongUrlsAreRefusedWithoutASecretInTheMessage) {
  for (const char* wrong : {"postgres://u:secret@h/db?schema=", "postgres://u:secret@h/db?nonsense=1",
                            "postgres://u:secret@h/db?schema=a'b"}) {
    const auto error = error_of([&] { (void)open(wrong); });
    ASSERT_TRUE(error) << wrong;
    EXPECT_EQ(error->kind(), ErrorKind::invalid) << wrong;
    EXPECT_THAT(error->what(), Not(HasSubstr("secret")));
  }
  const auto error = error_of([] { (void)open("postgres://u:secret@127.0.0.1:1/db"); });
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind(), ErrorKind::unavailable);
  EXPECT_THAT(error->what(), Not(HasSubstr("secret")));
}

// ---- Size ----

// Why: no call may read a table from end to end, whatever the planner has last seen of it. How: a million
// tasks, the plan of a claim as PostgreSQL logs it, and its own count of such reads.
TEST_F(PostgresStoreTest, NoCallReadsAMillionTasksFromEndToEnd) {
  put(plain_task("first"));
  run("SET synchronous_commit = off; INSERT INTO main.tidemill_job (id, queue, line, at, since, kind, "
      "created_at, payload) SELECT convert_to('n' || i, 'UTF8'), j.queue, CASE WHEN i % 2 = 0 THEN j.line "
      "ELSE j.queue::bigint << 16 | 384 END, j.at + i, j.at + i, j.kind, j.created_at, 'p' FROM "
      "main.tidemill_job j, generate_series(1, 1000000) i WHERE j.seq > 0");
  run("INSERT INTO main.tidemill_delta SELECT id, 2, 500000 FROM main.tidemill_queue");
  run("INSERT INTO main.tidemill_delta SELECT id, 1, 500000 FROM main.tidemill_queue");
  const std::string before =
      one("SELECT seq_scan FROM pg_stat_all_tables WHERE relid = to_regclass('main.tidemill_job')");
  const auto explained =
      open(url("&options=-c%20session_preload_libraries%3Dauto_explain%20"
               "-c%20auto_explain.log_min_duration%3D0%20-c%20jit%3Doff"));
  const std::size_t log_begin = testing::shared_postgres().log().size();
  EXPECT_THAT(claim(*explained, 100).leases, SizeIs(100));
  std::string plan;
  EXPECT_TRUE(eventually([&] {
    const std::string log = testing::shared_postgres().log().substr(log_begin);
    const std::size_t from = log.find("CTE picked"), to = log.find("CTE kept");
    if (from == log.npos || to == log.npos) return false;
    plan = log.substr(from, to - from);
    return true;
  }));
  EXPECT_THAT(plan, HasSubstr("Index Scan using tidemill_job_line on tidemill_job"));
  EXPECT_THAT(plan, Not(HasSubstr("Sort"))) << "the index has the order: nobody sorts all that wait";
  const Claimed claimed = claim(*store_, 100);
  ASSERT_THAT(claimed.leases, SizeIs(100));
  std::vector<Report> reports;
  for (const Lease& lease : claimed.leases) {
    Report report{.lease = &lease, .to = State::gone};
    if (reports.size() % 2 == 0) report = {.lease = &lease, .to = State::retry, .delay = 1min};
    reports.push_back(report);
  }
  EXPECT_THAT(store_->report(reports, call()), Each(Reported::applied));
  const Ref last{"q", "n999999"};
  EXPECT_TRUE(store_->catalog()->get({&last, 1}, call()).at(0));
  EXPECT_THAT(store_->catalog()->change({&last, 1}, {.from = States::all(), .to = State::held}, call()),
              ElementsAre(Changed::changed));
  EXPECT_THAT(store_->catalog()->find({.states = State::pending}, "", 50, 10s, call()).tasks, SizeIs(50));
  store_->sweep("w", 25s, 100, call());
  EXPECT_EQ(counts()[State::held], 1U);
  store_.reset();  // PostgreSQL counts what a connection has done at its end, at the latest.
  EXPECT_TRUE(eventually([&] {
    return one("SELECT idx_scan > 50 FROM pg_stat_all_tables WHERE relid = "
               "to_regclass('main.tidemill_job')") == "true";
  }));
  EXPECT_EQ(one("SELECT seq_scan FROM pg_stat_all_tables WHERE relid = to_regclass('main.tidemill_job')"),
            before);
}

// Why: to a planner that has seen no living row, to read a whole index is as good as to look a number up, and
// there are millions of dead ones while any transaction is open for long. How: such a transaction, VACUUM and
// ANALYZE in the moment when all tasks are gone, and what the indexes are read for a few more.
TEST_F(PostgresStoreTest, LooksUpByNumberThoughAllThatThePlannerSawWasDead) {
  postgres::Connection held{postgres::parse_url(url())};
  held.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
  const auto work_off = [&](int count) {
    std::vector<Task> tasks;
    for (int i = 0; i < count; ++i) tasks.push_back(plain_task(fmt::format("{}", i)));
    store_->enqueue(tasks, call());
    for (;;) {
      const Claimed claimed = claim(*store_, 1000);
      if (claimed.leases.empty()) return;
      std::vector<Report> reports;
      for (const Lease& lease : claimed.leases) reports.push_back({.lease = &lease, .to = State::gone});
      EXPECT_THAT(store_->report(reports, call()), Each(Reported::applied));
    }
  };
  const auto reads = [&] {
    store_.reset();  // PostgreSQL counts what a connection has done at its end, at the latest.
    store_ = open(url());
    return std::stoll(
        one("SELECT sum(idx_tup_read)::bigint FROM pg_stat_all_indexes WHERE relid = "
            "to_regclass('main.tidemill_job') AND indexrelname IN ('tidemill_job_pkey', "
            "'tidemill_job_id')"));
  };
  work_off(20'000);
  EXPECT_TRUE(eventually([&] { return reads() >= 20'000; }));
  run("VACUUM ANALYZE main.tidemill_job");
  const auto before = reads();
  work_off(100);
  EXPECT_TRUE(eventually([&] { return reads() >= before + 100; }));
  EXPECT_LT(reads() - before, 20'000) << "an index was read from end to end";
}

// ---- Others in between ----

// Why: behind a pooler in transaction mode each transaction may have another connection, and nobody hears
// messages. How: a real one with few connections, and all verbs through it.
TEST_F(PostgresStoreTest, WorksBehindPgBouncer) {
  TIDEMILL_NEEDS_PGBOUNCER();
  const PgBouncer pooler{shared_postgres(), {"default_pool_size = 3"}};
  const auto store = open(pooler.url(query()));
  const std::string_view queue = "q";
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(put(*store, plain_task(fmt::format("a{}", i))).put, Put::created);
    EXPECT_EQ(put(*store, keyed_task(fmt::format("b{}", i), fmt::format("k{}", i))).put, Put::created);
    const Claimed claimed = claim(*store);
    EXPECT_THAT(claimed.leases, SizeIs(2));
    for (const Lease& lease : claimed.leases) {
      const Report report{.lease = &lease, .to = State::gone};
      EXPECT_THAT(store->report({&report, 1}, call_of(*store)), ElementsAre(Reported::applied));
    }
  }
  std::atomic<int> woken{0};
  std::jthread waiter{[&](const std::stop_token& stop) {
    while (claim(*store).leases.empty() && !stop.stop_requested()) store->wait("w", {&queue, 1}, 60s, stop);
    ++woken;
  }};
  run("INSERT INTO main.tidemill_task (kind, queue) VALUES ('mail', 'q')");
  EXPECT_TRUE(eventually([&] { return woken == 1; }));
}

// ---- Doctor ----

TEST_F(PostgresStoreTest, ConcernsAreToldInWords) {
  PostgresServer server{{"fsync = off", "autovacuum = off"}};
  const auto store = open(server.url());
  std::string all;
  for (const Concern& concern : store->concerns()) all += concern.what + "\n";
  EXPECT_THAT(all, AllOf(HasSubstr("fsync or full_page_writes is off"), HasSubstr("autovacuum is off")));
  EXPECT_THAT(all, Not(HasSubstr("synchronous_commit")));
}

// Why: that rows pile up behind a transaction is seen in a curve before it hurts.
TEST_F(PostgresStoreTest, GaugesShowDeadRowsAndTheOldestTransaction) {
  const auto gauge = [&](std::string_view name) {
    for (const Gauge& each : store_->gauges()) {
      if (each.name == name) return each.value;
    }
    return -1.0;
  };
  EXPECT_GE(gauge("live_rows"), 0);
  EXPECT_GE(gauge("oldest_prepared_transaction_seconds"), 0);
  postgres::Connection held = connect();
  held.execute("BEGIN; SELECT 1");
  EXPECT_TRUE(eventually([&] { return gauge("oldest_transaction_seconds") >= 1; }));
  for (int i = 0; i < 10; ++i) put(plain_task(fmt::format("{}", i)));
  run("DELETE FROM main.tidemill_job WHERE seq > 0");
  // A session tells what it has done with one of its next statements, a second later.
  EXPECT_TRUE(eventually([&] {
    run("SELECT 1");
    return gauge("dead_rows") >= 10;
  }));
}

}  // namespace

}  // namespace tidemill::contract
