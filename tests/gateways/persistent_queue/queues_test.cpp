// The C++ face of PersistentQueue's configuration: what it refuses and in which words, its logger, its pool,
// several queues in a process, the enqueue helper, the lock by itself, and the store behind the port.
#include <set>
#include <thread>

#include <tidemill/client.hpp>
#include <tidemill/worker.hpp>

#include "fixture.hpp"
#include "gateways/persistent_queue/pool.hpp"
#include "refusal.hpp"

namespace tidemill::persistent_queue {

struct Mail {
  std::string to = {};
  int size = 0;
};
TIDEMILL_FIELDS(Mail, to, size)

namespace {

class PersistentQueues : public Tables {
 protected:
  /// Why these are refused.
  static std::string refusal(std::vector<QueueConfig> configs) {
    return tests::refusal([&] { init(std::move(configs), Logger{}); });
  }
  static std::string refusal(QueueConfig one) {
    std::vector<QueueConfig> configs;
    configs.push_back(std::move(one));
    return refusal(std::move(configs));
  }
};

TEST_F(PersistentQueues, BadConfigurationsAreRefusedInItsWords) {
  using ::testing::HasSubstr;
  QueueConfig bad = config();
  bad.handler = nullptr;
  EXPECT_THAT(refusal(bad), HasSubstr("handJobFunc is nil"));
  bad = config();
  bad.db = {};
  EXPECT_THAT(refusal(bad), HasSubstr("wrong db engine"));
  bad = config();
  bad.db.close();
  EXPECT_THAT(refusal(bad), HasSubstr("wrong db engine"));
  bad = config();
  bad.service_name = "";
  EXPECT_THAT(refusal(bad), HasSubstr("empty service name"));
  bad = config();
  bad.table.lease = 1s;
  EXPECT_THAT(refusal(bad), HasSubstr("lock second less than 1"));
  bad = config();
  bad.table.renew_interval = 20s;
  EXPECT_THAT(refusal(bad), HasSubstr("too short for renewals every 20000 ms"));
  EXPECT_THAT(refusal(std::vector<QueueConfig>{}), HasSubstr("no queue"));
  EXPECT_THAT(refusal({config("a"), config("b")}), HasSubstr("job type 7 is configured for two services"));
  EXPECT_THAT(refusal({config("a"), config("a")}), HasSubstr("configured twice"));
}

TEST_F(PersistentQueues, TheDefaultsAreThoseOfTheReadme) {
  const QueueConfig made;
  EXPECT_EQ(made.worker_pool_capacity, 100);
  EXPECT_EQ(made.worker_expiry, 60s);
  EXPECT_EQ(made.first_pull_days.days(), 7);
  EXPECT_EQ(made.queue_max_size, 50'000U);
  EXPECT_EQ(made.load_limit, 10'000U);
  EXPECT_EQ(made.table.lease, 30s);
  EXPECT_EQ(made.table.renew_interval, 8s);
  EXPECT_NO_THROW(worker_lease(table_options()));
}

TEST_F(PersistentQueues, ATableThatIsAnothersIsLeftAlone) {
  db.execute("DROP TABLE async_job_tab");
  db.execute("CREATE TABLE async_job_tab (id int PRIMARY KEY, what text)");
  try {
    start(config());
    FAIL() << "it was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("it has the columns id integer, what text"));
  }
}

TEST_F(PersistentQueues, BothTablesAreMadeAsPersistentQueueHasThemAndGosSelectStillFits) {
  db.execute("DROP TABLE async_job_tab");
  db.execute("DROP TABLE shedlock_tab");
  const auto queues = start(config());
  EXPECT_TRUE(ends_as(insert("ok"), 1));
  const SqlRow row = db.query("SELECT * FROM async_job_tab").at(0);
  ASSERT_EQ(row.size(), 7U);
  EXPECT_EQ(row[1], "ok");
  EXPECT_EQ(row[2], "7");
  EXPECT_EQ(db.query("SELECT * FROM shedlock_tab").at(0).size(), 4U);
  // Without lock_until an UPDATE must not drop a lease, so it has the column's rule.
  EXPECT_EQ(number("SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND "
                   "COLUMN_NAME = 'lock_until' AND EXTRA LIKE 'on update%'"),
            1);
}

TEST_F(PersistentQueues, SeveralQueuesOfTwoServicesInOneProcess) {
  std::vector<QueueConfig> configs{config("one"), config("one"), config("two")};
  configs[1].job_type = 8;
  configs[2].job_type = 9;
  const auto queues = init(std::move(configs), Logger::to(lines.log()));
  std::vector<std::uint64_t> ids;
  for (const std::int32_t each : {7, 8, 9}) ids.push_back(insert("ok", 0, each));
  for (const std::uint64_t id : ids) EXPECT_TRUE(ends_as(id, 1)) << lines.all();
  EXPECT_EQ(runs.size(), 3U);
  EXPECT_TRUE(queues->leads("two"));
}

TEST_F(PersistentQueues, TheLoggersContextGoesToLinesAndHandlers) {
  std::mutex mutex;
  int contexts = 0;
  std::vector<std::string> said;
  Logger logger;
  logger.new_context = [&](const std::string& service) {
    const std::lock_guard lock{mutex};
    return std::any{fmt::format("{}#{}", service, ++contexts)};
  };
  const auto line = [&](const std::any& context, std::string_view text) {
    const std::lock_guard lock{mutex};
    said.push_back(fmt::format("{}: {}", std::any_cast<std::string>(context), text));
  };
  logger.info = logger.warn = logger.error = logger.debug = line;
  std::vector<QueueConfig> configs{config()};
  std::string seen;
  configs[0].handler = [&](Job& job) {
    seen = std::any_cast<std::string>(job.context);
    throw std::runtime_error{"so that it is logged"};
  };
  auto queues = init(std::move(configs), logger);
  EXPECT_TRUE(ends_as(insert("x"), 2));
  queues.reset();
  EXPECT_EQ(seen, "svc#2");
  EXPECT_THAT(said, ::testing::Contains(::testing::HasSubstr("svc#1: [svc] holds the lease")));
  EXPECT_THAT(said, ::testing::Contains(::testing::HasSubstr("so that it is logged")));
}

TEST_F(PersistentQueues, HandlersSeeTheJobAsItIs) {
  std::vector<Status> statuses;
  std::vector<std::int32_t> retries;
  std::int64_t start_time = -1;
  std::int64_t next = -1;
  QueueConfig seeing = config();
  seeing.need_retry = true;
  seeing.max_retries = 1;
  seeing.handler = [&](Job& job) {
    statuses.push_back(job.status);
    retries.push_back(job.retries);
    start_time = job.start_time;
    next = job.next_execute_time;
    EXPECT_EQ(job.job_type, 7);
    EXPECT_EQ(job.params, R"({"to":"ada","size":3})");
    job.status = job.retries == 0 ? Status::retry : Status::success;
  };
  const auto queues = start(std::move(seeing));
  const std::int64_t at = now() - 5;
  EXPECT_TRUE(ends_as(add_job(db, type, Mail{"ada", 3}, at), 1)) << lines.all();
  EXPECT_EQ(statuses, (std::vector{Status::init, Status::retry}));
  EXPECT_EQ(retries, (std::vector<std::int32_t>{0, 1}));
  EXPECT_EQ(start_time, at);
  EXPECT_EQ(next, at);
}

TEST_F(PersistentQueues, TheHelperWritesWhatGosWrites) {
  const std::uint64_t id = add_job(db, type, nullptr);
  const SqlRow row = db.query(
                           "SELECT params, job_status, start_time, create_time = update_time, "
                           "ABS(create_time - UNIX_TIMESTAMP()) <= 5 FROM async_job_tab WHERE id = " +
                           std::to_string(id))
                         .at(0);
  EXPECT_EQ(row, (SqlRow{"null", "0", "0", "1", "1"}));
  EXPECT_EQ(insert(std::string(4096, 'x')), id + 1);
  std::string wide;
  for (int i = 0; i < 4096; ++i) wide += "ü";
  EXPECT_EQ(insert(wide), id + 2);
  for (const std::string& params : {std::string(4097, 'x'), std::string{"\xff"}}) {
    try {
      insert(params);
      FAIL() << "it was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid);
      EXPECT_THAT(error.what(), ::testing::StartsWith("add async job error: params "));
    }
  }
  db.execute("DROP TABLE async_job_tab");
  EXPECT_THROW(insert("x"), Error);
}

TEST_F(PersistentQueues, ThePoolIsFullAtItsCapacityAndNothingIsLost) {
  QueueConfig narrow = config();
  narrow.worker_pool_capacity = 3;
  std::atomic<bool> go_on{false};
  narrow.handler = [&](Job& job) {
    runs.add(job);
    eventually([&] { return go_on.load(); });
    job.status = Status::success;
  };
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 200; ++i) ids.push_back(insert("x"));
  const auto queues = start(std::move(narrow));
  ASSERT_TRUE(eventually([&] { return runs.size() == 3; })) << lines.all();
  const std::int64_t end = now() + 2;  // It would find more of them ten times a second.
  ASSERT_TRUE(eventually([&] { return now() >= end; }));
  EXPECT_EQ(runs.size(), 3U);
  go_on = true;
  for (const std::uint64_t id : ids) EXPECT_TRUE(ends_as(id, 1)) << lines.all();
  EXPECT_EQ(runs.size(), 200U);
}

TEST(PersistentQueuePool, ThreadsComeWithWorkAreUsedAgainAndGoWhenIdle) {
  Pool pool{1s};
  EXPECT_EQ(pool.threads(), 0U);
  std::mutex mutex;
  std::set<std::thread::id> ids;
  std::atomic<int> done{0};
  for (int i = 0; i < 20; ++i) {
    pool.submit([&] {
      const std::lock_guard lock{mutex};
      ids.insert(std::this_thread::get_id());
      ++done;
    });
    ASSERT_TRUE(eventually([&] { return done == i + 1; }));
  }
  EXPECT_LT(ids.size(), 20U);
  EXPECT_GE(pool.threads(), 1U);
  EXPECT_TRUE(eventually([&] { return pool.threads() == 0; }));
}

// ---- The store behind the port

TEST_F(PersistentQueues, OurClientAndWorkerRunOnTheTables) {
  const TableOptions options = table_options();
  const auto store = open_tables(options);
  Router router;
  std::atomic<int> ran{0};
  router.handle("7", [&](Context& context) {
    EXPECT_EQ(context.task().payload, "hello");
    return ++ran < 2 ? Outcome::failure("once more") : Outcome::success();
  });
  const WorkerLease lease = worker_lease(options);
  WorkerOptions worker_options;
  worker_options.queues = {{.name = queue_name(options)}};
  worker_options.lease = lease.lease;
  worker_options.beat = lease.beat;
  worker_options.margin = lease.margin;
  worker_options.log = lines.log();
  Client client{*store};
  client.enqueue("7", "hello", {.queue = queue_name(options)});
  Worker worker{*store, router, worker_options};
  worker.start();
  EXPECT_TRUE(ends_as(1, 2)) << lines.all();  // TableOptions::retries_max is 0.
  worker.stop();
  EXPECT_EQ(ran, 1);
}

TEST_F(PersistentQueues, WhatTheTablesLackIsSaid) {
  const auto store = open_tables(table_options());
  Client client{*store};
  const std::string queue = queue_name(table_options());
  EXPECT_THROW(client.enqueue("7", "x", {.queue = queue, .priority = 3}), Error);
  try {
    client.enqueue("7", "x", {.queue = queue, .group = "g"});
    FAIL() << "it was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("async_job_tab has no groups"));
  }
  EXPECT_THROW(client.enqueue("8", "x", {.queue = queue}), Error);
  for (const auto& [feature, limit] : store->capabilities().limits) EXPECT_FALSE(limit.text.empty());
  {
    db.execute("START TRANSACTION");
    SqlTransaction transaction{db};
    client.enqueue(transaction, "7", "x", {.queue = queue});
    db.execute("ROLLBACK");
  }
  EXPECT_EQ(number("SELECT COUNT(*) FROM async_job_tab"), 0);
}

// ---- Several queues of one service

class PersistentQueueShared : public Tables {
 protected:
  TableOptions options_of(std::int32_t job_type, const std::string& service = "svc") {
    TableOptions options = table_options(service);
    options.job_type = job_type;
    return options;
  }
  static std::size_t claimed(Store& store, const TableOptions& options) {
    const std::string queue = queue_name(options);
    const Want want{queue, 10};
    const Claim claim{
        .worker = "w", .wants = {&want, 1}, .count_max = 10, .lease = worker_lease(options).lease};
    return store.claim(claim, {}).leases.size();
  }
  static bool claims(Store& store, const TableOptions& options) {
    return eventually([&] { return claimed(store, options) > 0; });
  }
  static std::string refusal(std::vector<TableOptions> options) {
    return tests::refusal([&] { open_tables(std::move(options)); });
  }
};

TEST_F(PersistentQueueShared, OpenedTogetherTheyShareTheLeaseUntilTheLastHasGone) {
  const TableOptions first = options_of(7);
  const TableOptions second = options_of(8);
  insert("ok", 0, 7);
  insert("ok", 0, 8);
  auto stores = open_tables({first, second});
  EXPECT_TRUE(claims(*stores[0], first)) << lines.all();
  EXPECT_TRUE(claims(*stores[1], second)) << lines.all();
  EXPECT_EQ(lines.count("holds the lease"), 1U);
  stores[0].reset();
  EXPECT_NE(holder(), "");
  insert("ok", 0, 8);
  EXPECT_TRUE(claims(*stores[1], second)) << lines.all();
  stores[1].reset();
  EXPECT_EQ(holder(), "");
}

TEST_F(PersistentQueueShared, OpenedApartOneWaitsForTheOtherAndTheLogSaysSo) {
  const TableOptions first = options_of(7);
  const TableOptions second = options_of(8);
  insert("ok", 0, 7);
  insert("ok", 0, 8);
  auto leads = open_tables(first);
  ASSERT_TRUE(claims(*leads, first));
  const auto waits = open_tables(second);
  EXPECT_EQ(claimed(*waits, second), 0U);
  EXPECT_TRUE(eventually([&] { return lines.has("another holds the lease owner=svc-"); })) << lines.all();
  EXPECT_EQ(claimed(*waits, second), 0U);
  leads.reset();
  EXPECT_TRUE(claims(*waits, second)) << lines.all();
}

TEST_F(PersistentQueueShared, WhatCantBeBesideEachOtherIsRefused) {
  EXPECT_THAT(refusal({options_of(7), options_of(7)}), ::testing::HasSubstr("configured twice"));
  EXPECT_THAT(refusal({options_of(7), options_of(7, "other")}),
              ::testing::HasSubstr("configured for two services, \"svc\" and \"other\""));
  TableOptions longer = options_of(8);
  longer.lease = 9s;
  EXPECT_THAT(refusal({options_of(7), longer}), ::testing::HasSubstr("differ between job types 7 and 8"));
  // By whatever name the server is known.
  TableOptions by_name = options_of(7, "other");
  by_name.db = SqlHandle::mysql(
      fmt::format("mysql://root@localhost:{}{}", testing::shared_mysql().port(), url.substr(url.rfind('/'))));
  EXPECT_THAT(refusal({options_of(7), by_name}), ::testing::HasSubstr("configured for two services"));
}

TEST_F(PersistentQueueShared, InTwoDatabasesAServiceHasTwoLeases) {
  const std::string there = url + "_too";
  db.execute("CREATE DATABASE " + there.substr(there.rfind('/') + 1));
  const SqlHandle other = SqlHandle::mysql(there);
  std::vector<QueueConfig> configs{config(), config()};
  configs[1].db = SqlHandle::mysql(there);
  configs[1].table.lease_db = SqlHandle::mysql(there);
  const auto queues = init(std::move(configs), Logger::to(lines.log()));
  EXPECT_TRUE(ends_as(insert("ok"), 1)) << lines.all();
  add_job(other, {type, "ok"});
  EXPECT_TRUE(eventually([&] {
    return other.query("SELECT job_status FROM async_job_tab").at(0).at(0) == "1";
  })) << lines.all();
  EXPECT_EQ(other.query("SELECT COUNT(*) FROM shedlock_tab WHERE lock_until > NOW()").at(0).at(0), "1");
}

// ---- The lock by itself

class PersistentQueueLock : public Tables {
 protected:
  LockConfig lock_config(const std::string& name = "job") {
    return {.db = SqlHandle::mysql(url), .service_name = name, .lock_seconds = 3s, .log = lines.log()};
  }
};

TEST_F(PersistentQueueLock, OneHoldsItAndTheOtherGetsItAfterTheMinimum) {
  ShedLock one{lock_config()};
  ShedLock other{lock_config()};
  EXPECT_TRUE(one.try_lock());
  EXPECT_TRUE(one.held());
  EXPECT_FALSE(other.try_lock());
  one.unlock();
  EXPECT_FALSE(one.held());
  // By default it is held for a second less than its length, if that is 5 s or shorter.
  EXPECT_EQ(number("SELECT lock_until = locked_at + INTERVAL 2 SECOND FROM shedlock_tab"), 1);
  EXPECT_FALSE(other.try_lock());
  EXPECT_TRUE(other.lock_with_timeout(20ms, 20s));
}

TEST_F(PersistentQueueLock, ItIsRenewedForLongerThanItsLength) {
  LockConfig quick = lock_config();
  quick.min_lock_seconds = 0s;
  ShedLock one{quick};
  ASSERT_TRUE(one.try_lock());
  ShedLock other{quick};
  const std::int64_t end = now() + 5;
  bool taken = false;
  ASSERT_TRUE(eventually([&] {
    taken = taken || other.try_lock();
    return now() >= end;
  }));
  EXPECT_FALSE(taken);
  EXPECT_TRUE(one.held());
  EXPECT_FALSE(one.extend_failed().stop_requested());
  one.unlock();
  EXPECT_TRUE(other.lock(10ms));
}

TEST_F(PersistentQueueLock, ItSaysWhenItIsLostAndLeavesTheNextHoldersAlone) {
  ShedLock one{lock_config()};
  ASSERT_TRUE(one.try_lock());
  give_lease("go", 600, "job");
  EXPECT_TRUE(eventually([&] { return one.extend_failed().stop_requested(); }));
  EXPECT_FALSE(one.held());
  one.unlock();
  EXPECT_EQ(holder(), "go");
  // And it can be taken again.
  give_lease("go", 0, "job");
  EXPECT_TRUE(one.try_lock());
}

TEST_F(PersistentQueueLock, ABlockingOneCanBeStoppedAndAZeroTimeoutIsFalse) {
  give_lease("go", 600, "job");
  ShedLock one{lock_config()};
  EXPECT_FALSE(one.lock_with_timeout(1ms, 0s));
  EXPECT_FALSE(one.lock_with_timeout(1ms, 50ms));
  std::jthread waiting{[&](const std::stop_token& stop) { EXPECT_FALSE(one.lock(1h, stop)); }};
  waiting.request_stop();
  waiting.join();
}

TEST_F(PersistentQueueLock, ItClosesTheConnectionOnlyIfAsked) {
  LockConfig mine = lock_config();
  ShedLock one{mine};
  ASSERT_TRUE(one.try_lock());
  one.unlock();
  EXPECT_NO_THROW(mine.db.ping());
  one.unlock(true);
  EXPECT_THROW(mine.db.ping(), Error);
}

TEST_F(PersistentQueueLock, BadOnesAreRefusedInItsWords) {
  const auto refusal = [](LockConfig bad) { return tests::refusal([&] { ShedLock{std::move(bad)}; }); };
  LockConfig bad = lock_config();
  bad.db = {};
  EXPECT_THAT(refusal(bad), ::testing::HasSubstr("bad session"));
  bad = lock_config("");
  EXPECT_THAT(refusal(bad), ::testing::HasSubstr("empty service name"));
  bad = lock_config();
  bad.lock_seconds = 1s;
  EXPECT_THAT(refusal(bad), ::testing::HasSubstr("lock second less than 1"));
}

}  // namespace
}  // namespace tidemill::persistent_queue
