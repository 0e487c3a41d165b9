// A database that is in trouble, or not as it should be: connections that are cut, before and after the
// server has done what was asked; locks of others; a server that takes no writes; rights that are missing;
// tables that are another's; odd rows and time zones. Nothing is lost, nothing runs twice, and the log says
// why.
#include "fixture.hpp"
#include "proxy.hpp"

namespace tidemill::persistent_queue {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::MysqlServer;
using testing::Proxy;

class PersistentQueueFaults : public Tables {
 protected:
  std::string database() const { return url.substr(url.rfind('/') + 1); }
  std::string url_at(std::uint16_t port, const std::string& user = "root") const {
    return fmt::format("mysql://{}@127.0.0.1:{}/{}", user, port, database());
  }
  /// All tests have tables in a database of the shared server; these need one for themselves. Not its
  /// database test: there everybody may do everything.
  void use(const MysqlServer& server) {
    mysql::Connection{mysql::parse_url(server.url())}.execute("CREATE DATABASE jobs");
    url = fmt::format("mysql://root@127.0.0.1:{}/jobs", server.port());
    db = SqlHandle::mysql(url);
    db.execute(std::string{async_job_table()});
    db.execute(std::string{shedlock_table()});
  }
  /// Its statements go through the proxy, those of its lease don't.
  QueueConfig through(const Proxy& proxy) {
    QueueConfig made = config();
    made.db = SqlHandle::mysql(url_at(proxy.port()));
    return made;
  }
  /// Of this user for all that it does.
  QueueConfig as(const std::string& user_url) {
    QueueConfig made = config();
    made.db = SqlHandle::mysql(user_url);
    made.table.lease_db = SqlHandle::mysql(user_url);
    return made;
  }
  std::vector<std::uint64_t> insert_many(int count, const std::string& params = "ok") {
    std::vector<std::uint64_t> ids;
    for (int i = 0; i < count; ++i) ids.push_back(insert(params));
    return ids;
  }
  void expect_each_once(const std::vector<std::uint64_t>& ids) const {
    for (const std::uint64_t id : ids) {
      EXPECT_TRUE(ends_as(id, 1)) << id << "\n" << lines.all();
      EXPECT_EQ(runs.count(id), 1U) << id << "\n" << lines.all();
    }
  }
  /// So that what becomes of all of them is written in one transaction.
  QueueConfig together(QueueConfig made, std::size_t count) {
    made.handler = [this, count](Job& job) {
      runs.add(job);
      testing::eventually([&] { return runs.size() >= count; });
      job.status = Status::success;
    };
    return made;
  }
  std::optional<Error> error_of_start(const QueueConfig& one) {
    try {
      start(one);
    } catch (const Error& error) {
      return error;
    }
    return {};
  }
};

// ---- Connections that are cut

/// What the statements of each step have in their texts.
constexpr const char* of_load = "GREATEST(j.create_time";
constexpr const char* of_claim = "INSERT INTO tidemill_async_job";
constexpr const char* of_claimed = "s.epoch = ";
constexpr const char* of_mark = "SET j.job_status = 3";
constexpr const char* of_end = "s.last_error = ";
constexpr const char* of_commit = "COMMIT";

TEST_F(PersistentQueueFaults, AConnectionIsCutAtEachStepAndEachJobRunsOnce) {
  for (const ClaimMode mode : {ClaimMode::none, ClaimMode::mark}) {
    Proxy proxy{testing::shared_mysql().port()};
    QueueConfig cut = through(proxy);
    cut.table.claim_mode = mode;
    const auto queues = start(std::move(cut));
    expect_each_once(insert_many(1));
    for (const char* const step : {of_load, of_claim, of_claimed, of_mark, of_end}) {
      if (step == of_mark && mode == ClaimMode::none) continue;
      // The server has done it and nobody hears of it; then it never gets it.
      for (const bool arrives : {true, false}) {
        if (arrives) {
          proxy.harm(step, 0);
        } else {
          proxy.swallow(step);
        }
        const std::vector<std::uint64_t> ids = insert_many(1);
        EXPECT_TRUE(eventually([&] { return proxy.harmed(); })) << step;
        proxy.heal();
        expect_each_once(ids);
      }
    }
    EXPECT_TRUE(lines.has("can't claim tasks")) << lines.all();
    EXPECT_TRUE(lines.has("can't report outcomes")) << lines.all();
  }
  EXPECT_FALSE(lines.has("lost the lease")) << lines.all();
}

TEST_F(PersistentQueueFaults, ACommitInDoubtIsWrittenOnce) {
  Proxy proxy{testing::shared_mysql().port()};
  for (const bool arrives : {true, false}) {
    const std::size_t before = runs.size();
    auto queues = start(together(through(proxy), before + 8));
    if (arrives) {
      proxy.harm(of_commit, 0);
    } else {
      proxy.swallow(of_commit);
    }
    const std::vector<std::uint64_t> ids = insert_many(8);
    EXPECT_TRUE(eventually([&] { return proxy.harmed(); })) << lines.all();
    proxy.heal();
    expect_each_once(ids);
  }
  EXPECT_FALSE(lines.has("too late")) << lines.all();
}

TEST_F(PersistentQueueFaults, AServerThatSaysNothingIsGivenUpAndAskedAgain) {
  Proxy proxy{testing::shared_mysql().port()};
  const auto queues = start(through(proxy));
  expect_each_once(insert_many(1));
  proxy.harm(of_end, 0, true);
  const std::vector<std::uint64_t> ids = insert_many(1);
  EXPECT_TRUE(eventually([&] { return proxy.harmed(); }));
  expect_each_once(ids);
  // The lease has a connection of its own, so it was renewed meanwhile.
  EXPECT_TRUE(queues->leads("svc"));
  EXPECT_FALSE(lines.has("lost the lease")) << lines.all();
}

// ---- Locks of others

TEST_F(PersistentQueueFaults, ARowThatSomebodyHasLockedDelaysNoOther) {
  for (const ClaimMode mode : {ClaimMode::none, ClaimMode::mark}) {
    const std::size_t before = runs.size();
    QueueConfig held_up = together(config(), before + 4);
    held_up.table.claim_mode = mode;
    held_up.db.execute("SET SESSION innodb_lock_wait_timeout = 1");
    const auto queues = start(std::move(held_up));
    const std::vector<std::uint64_t> ids = insert_many(3);
    ASSERT_TRUE(eventually([&] { return runs.size() == before + 3; }));
    mysql::Connection other{mysql::parse_url(url)};
    other.begin();
    other.execute(fmt::format("SELECT id FROM async_job_tab WHERE id = {} FOR UPDATE", ids[1]));
    const std::vector<std::uint64_t> last = insert_many(1);  // Now all four end.
    EXPECT_TRUE(ends_as(ids[0], 1)) << lines.all();
    EXPECT_TRUE(ends_as(ids[2], 1));
    EXPECT_TRUE(ends_as(last[0], 1));
    EXPECT_TRUE(eventually([&] { return lines.has("Lock wait timeout"); })) << lines.all();
    EXPECT_NE(status(ids[1]), 1);
    other.rollback();
    expect_each_once(ids);
  }
}

TEST_F(PersistentQueueFaults, ALockedRowIsNotMarkedAndTheOthersAre) {
  QueueConfig marking = config();
  marking.table.claim_mode = ClaimMode::mark;
  const auto queues = start(std::move(marking));
  expect_each_once(insert_many(1));
  mysql::Connection other{mysql::parse_url(url)};
  other.begin();
  const std::uint64_t locked = insert("ok", now() + 2);
  other.execute(fmt::format("SELECT id FROM async_job_tab WHERE id = {} FOR UPDATE", locked));
  const std::int64_t end = now() + 3;
  ASSERT_TRUE(eventually([&] { return now() >= end; }));
  expect_each_once(insert_many(5));
  EXPECT_EQ(status(locked), 0);
  other.rollback();
  expect_each_once({locked});
}

TEST_F(PersistentQueueFaults, ADeadlockIsBegunAgain) {
  // Ours has the job's row and waits for the one beside it; the other one, which has done more and so is not
  // the victim, then wants the job's.
  mysql::Connection other{mysql::parse_url(url)};
  std::atomic<bool> go_on{false};
  QueueConfig waiting = config();
  waiting.handler = [&](Job& job) {
    runs.add(job);
    testing::eventually([&] { return go_on.load(); });
    job.status = Status::success;
  };
  const auto queues = start(std::move(waiting));
  const std::vector<std::uint64_t> ids = insert_many(1);
  ASSERT_TRUE(eventually([&] { return runs.size() == 1; }));
  db.execute("CREATE TABLE ballast (n int AUTO_INCREMENT PRIMARY KEY, what int)");
  other.begin();
  for (int i = 0; i < 20; ++i) other.execute("INSERT INTO ballast (what) VALUES (1), (2), (3), (4), (5)");
  other.execute(fmt::format("SELECT 1 FROM tidemill_async_job WHERE job_id = {} FOR UPDATE", ids[0]));
  go_on = true;
  ASSERT_TRUE(eventually([&] {
    return number(
               "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND TIME_MS > 100 "
               "AND INFO LIKE '%last_error%' AND ID <> CONNECTION_ID()") > 0;
  }));
  other.execute(fmt::format("UPDATE async_job_tab SET update_time = update_time + 1 WHERE id = {}", ids[0]));
  other.commit();
  expect_each_once(ids);
  EXPECT_TRUE(lines.has("Deadlock")) << lines.all();
}

// ---- A server that takes no writes, and rights that are missing

TEST_F(PersistentQueueFaults, AServerThatTurnsReadOnlyStopsTheQueueAndNothingIsLost) {
  MysqlServer server;
  use(server);
  db.execute("CREATE USER app");
  db.execute("GRANT ALL ON jobs.* TO app");
  const std::string app = url_at(server.port(), "app");
  std::atomic<bool> go_on{true};
  QueueConfig own = as(app);
  own.handler = [&](Job& job) {
    runs.add(job);
    testing::eventually([&] { return go_on.load(); });
    job.status = Status::success;
  };
  const auto queues = start(own);
  expect_each_once(insert_many(2));
  // Shortly: a job that ends meanwhile is written after.
  go_on = false;
  std::vector<std::uint64_t> ids = insert_many(1);
  ASSERT_TRUE(eventually([&] { return runs.count(ids[0]) == 1; }));
  db.execute("SET GLOBAL read_only = 1");
  go_on = true;
  EXPECT_TRUE(eventually([&] { return lines.has("can't report outcomes"); })) << lines.all();
  db.execute("SET GLOBAL read_only = 0");
  expect_each_once(ids);
  // For longer than a lease: nothing runs, and a node that starts says why it can't.
  db.execute("SET GLOBAL read_only = 1");
  ids = insert_many(3);
  EXPECT_TRUE(eventually([&] { return lines.has("the lease can't be renewed"); })) << lines.all();
  EXPECT_TRUE(eventually([&] { return !queues->leads("svc"); })) << lines.all();
  const std::optional<Error> refused = error_of_start(own);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->kind(), ErrorKind::unavailable);
  EXPECT_THAT(refused->what(), AllOf(HasSubstr("read-only"), HasSubstr("can't be written")));
  for (const std::uint64_t id : ids) EXPECT_EQ(status(id), 0);
  db.execute("SET GLOBAL read_only = 0");
  expect_each_once(ids);
  EXPECT_TRUE(queues->leads("svc"));
  EXPECT_TRUE(lines.has("--read-only")) << lines.all();
}

TEST_F(PersistentQueueFaults, MissingRightsAreNamedAtTheStart) {
  MysqlServer server;
  use(server);
  const std::string app = url_at(server.port(), "app");
  const auto refusal = [&] {
    const std::optional<Error> error = error_of_start(as(app));
    EXPECT_TRUE(!error || error->kind() == ErrorKind::unavailable);
    return std::string{error ? error->what() : ""};
  };
  db.execute("CREATE USER app");
  db.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON jobs.* TO app");
  // Not even the right to make what is missing: then somebody else has to.
  EXPECT_THAT(refusal(), AllOf(HasSubstr("tidemill_async_job is missing"), HasSubstr("CREATE command denied"),
                               HasSubstr("CREATE TABLE IF NOT EXISTS")));
  db.execute(std::string{tidemill_async_job_table()});
  db.execute(std::string{tidemill_shedlock_table()});
  {
    const auto queues = start(as(app));
    expect_each_once(insert_many(2));
    EXPECT_TRUE(lines.has("the index tidemill_due could not be made")) << lines.all();
  }
  const auto grant_all_but = [&](const std::string& table, const std::string& rights) {
    db.execute("REVOKE ALL PRIVILEGES, GRANT OPTION FROM app");
    for (const char* const each :
         {"async_job_tab", "shedlock_tab", "tidemill_async_job", "tidemill_shedlock"})
      db.execute(fmt::format("GRANT {} ON jobs.{} TO app",
                             each == table ? rights : "SELECT, INSERT, UPDATE, DELETE", each));
  };
  grant_all_but("tidemill_async_job", "SELECT, UPDATE, DELETE");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("INSERT command denied"), HasSubstr("tidemill_async_job"),
                               HasSubstr("the user needs SELECT, INSERT")));
  grant_all_but("async_job_tab", "INSERT, UPDATE, DELETE");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("SELECT"), HasSubstr("denied"), HasSubstr("async_job_tab")));
  grant_all_but("shedlock_tab", "SELECT, INSERT");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("UPDATE command denied"), HasSubstr("shedlock_tab")));
}

TEST_F(PersistentQueueFaults, ARightThatIsTakenAwayMeanwhileIsSaidAndAllGoesOnOnceItIsBack) {
  MysqlServer server;
  use(server);
  db.execute("CREATE USER app");
  db.execute("GRANT ALL ON jobs.* TO app");
  const auto queues = start(as(url_at(server.port(), "app")));
  expect_each_once(insert_many(1));
  db.execute("REVOKE ALL PRIVILEGES, GRANT OPTION FROM app");
  db.execute("GRANT SELECT, INSERT, UPDATE ON jobs.shedlock_tab TO app");
  // Rights of a database hold for a connection until it is made anew.
  for (const SqlRow& row : db.query("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'app'"))
    db.execute("KILL " + row[0].value_or(""));
  const std::vector<std::uint64_t> ids = insert_many(2);
  EXPECT_TRUE(eventually([&] { return lines.has("denied"); })) << lines.all();
  EXPECT_EQ(runs.size(), 1U);
  db.execute("GRANT ALL ON jobs.* TO app");
  for (const SqlRow& row : db.query("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'app'"))
    db.execute("KILL " + row[0].value_or(""));
  expect_each_once(ids);
}

// ---- Tables that are not ours, and odd rows

TEST_F(PersistentQueueFaults, TablesThatAreAnothersAreRefusedByNameAndLeftAlone) {
  const auto refusal = [&](const std::string& table, const std::string& made) {
    db.execute("DROP TABLE IF EXISTS " + table);
    db.execute(made);
    const std::optional<Error> error = error_of_start(config());
    EXPECT_TRUE(!error || error->kind() == ErrorKind::corrupt);
    const auto rows = db.query("SELECT COUNT(*) FROM " + table);
    EXPECT_EQ(rows.at(0)[0], "0");
    db.execute("DROP TABLE " + table);
    return std::string{error ? error->what() : ""};
  };
  // Go's SELECT * would stop at one column more, and so it is refused here too.
  EXPECT_THAT(
      refusal("async_job_tab",
              "CREATE TABLE async_job_tab (id bigint PRIMARY KEY, params text, job_type int, job_status "
              "int, start_time int, create_time int, update_time int, more int)"),
      AllOf(HasSubstr("async_job_tab is another's"), HasSubstr("more integer")));
  EXPECT_THAT(
      refusal("async_job_tab",
              "CREATE TABLE async_job_tab (id bigint PRIMARY KEY, params text, job_type int, job_status "
              "int, start_time datetime, create_time int, update_time int)"),
      AllOf(HasSubstr("start_time datetime"), HasSubstr("right is id integer")));
  EXPECT_THAT(refusal("shedlock_tab",
                      "CREATE TABLE shedlock_tab (lock_name varchar(64) PRIMARY KEY, lock_until datetime, "
                      "locked_at datetime, locked_by varchar(255))"),
              AllOf(HasSubstr("shedlock_tab is another's"), HasSubstr("lock_until datetime")));
  EXPECT_THAT(refusal("tidemill_async_job", "CREATE TABLE tidemill_async_job (id int PRIMARY KEY)"),
              HasSubstr("tidemill_async_job is another's"));
  EXPECT_THAT(refusal("tidemill_shedlock", "CREATE TABLE tidemill_shedlock (id int PRIMARY KEY)"),
              HasSubstr("tidemill_shedlock is another's"));
  // What Go's nodes don't mind either.
  db.execute(
      "CREATE TABLE IF NOT EXISTS async_job_tab (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, params "
      "mediumtext, job_type int, job_status tinyint NOT NULL DEFAULT 0, start_time int unsigned NOT NULL "
      "DEFAULT 0, create_time int unsigned, update_time int unsigned, note int INVISIBLE DEFAULT 3) "
      "CHARSET utf8mb4");
  const auto queues = start(config());
  expect_each_once(insert_many(1));
}

TEST_F(PersistentQueueFaults, ParamsOfAnyBytesAndNullsInAnyColumnHarmNoOther) {
  db.execute(
      "ALTER TABLE async_job_tab MODIFY params blob NULL, MODIFY create_time int unsigned NULL, "
      "MODIFY update_time int unsigned NULL");
  std::mutex mutex;
  std::map<std::uint64_t, std::string> seen;  // Guarded by mutex.
  QueueConfig seeing = config();
  seeing.handler = [&](Job& job) {
    runs.add(job);
    const std::lock_guard lock{mutex};
    seen[job.id] = job.params;
    job.error = job.params;
    job.status = Status::success;
  };
  seeing.first_pull_days = FirstPull::unlimited();
  const auto queues = start(std::move(seeing));
  const std::vector<std::uint64_t> before = insert_many(1);
  db.execute(
      "INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, update_time) VALUES "
      "(x'ff00fe27', 7, 0, 0, UNIX_TIMESTAMP(), 0), (NULL, 7, NULL, NULL, NULL, NULL)");
  const std::vector<std::uint64_t> after = insert_many(1);
  expect_each_once({before[0], before[0] + 1, before[0] + 2, after[0]});
  const std::lock_guard lock{mutex};
  EXPECT_EQ(seen[before[0] + 1], (std::string{"\xff\x00\xfe'", 4}));
  EXPECT_EQ(seen[before[0] + 2], "");
}

// ---- Time zones

TEST_F(PersistentQueueFaults, NeitherTheServersNorTheSessionsTimeZoneMovesATime) {
  MysqlServer server{{"--default-time-zone=+09:30"}};
  use(server);
  // As an application has it set; and another one for the lease.
  const auto in_zone = [&](const char* zone) {
    auto connection = SqlHandle::mysql(url);
    connection.execute(fmt::format("SET SESSION time_zone = '{}'", zone));
    return connection;
  };
  QueueConfig zoned = config();
  zoned.db = in_zone("-07:00");
  zoned.table.lease_db = in_zone("+05:45");
  zoned.need_retry = true;
  zoned.max_retries = 1;
  zoned.wait_time = 2s;
  // A holder whose session is in the server's zone, as Go's are.
  mysql::Connection go{mysql::parse_url(url)};
  go.execute("SET SESSION time_zone = @@global.time_zone");
  go.execute(
      "INSERT INTO shedlock_tab (lock_name, lock_until, locked_at, locked_by) VALUES (MD5('svc'), "
      "DATE_ADD(NOW(), INTERVAL 3 SECOND), NOW(), 'go')");
  const std::int64_t at = now();
  const std::uint64_t delayed = insert("ok", at + 5);
  const std::uint64_t retried = insert("retry");
  const std::uint64_t hour = insert("ok", at + 3600);
  auto queues = start(std::move(zoned));
  expect_each_once({delayed});
  EXPECT_GE(runs.at(delayed), at + 5);
  EXPECT_GE(runs.at(retried), at + 3);
  EXPECT_TRUE(ends_as(retried, 2)) << lines.all();
  EXPECT_EQ(runs.count(retried), 2U);
  EXPECT_GE(runs.all().back().at, std::min(runs.at(delayed), runs.at(retried) + 2));
  EXPECT_EQ(status(hour), 0);
  // And who asks in the server's zone finds a lease of 4 s.
  static constexpr mysql::Sql read{"SELECT TIMESTAMPDIFF(SECOND, NOW(), lock_until) FROM shedlock_tab"};
  mysql::Query left = go.query(read);
  ASSERT_TRUE(left.step());
  EXPECT_GE(left.integer(0), 0);
  EXPECT_LE(left.integer(0), 4);
}

}  // namespace
}  // namespace tidemill::persistent_queue
