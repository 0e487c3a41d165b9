// Connections of any kind: libmariadb's own and SOCI's, both the application's, which goes on using them.
#include <mysql.h>

#include <soci/mysql/soci-mysql.h>

#include "fixture.hpp"
#include "soci.hpp"

namespace tidemill::persistent_queue {
namespace {

class PersistentQueueHandle : public Tables {
 protected:
  std::string database() const { return url.substr(url.rfind('/') + 1); }
  /// As an application makes it, without flags that we'd like.
  MYSQL* connect() const {
    MYSQL* const made = mysql_init(nullptr);
    mysql_options(made, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    return mysql_real_connect(made, "127.0.0.1", "root", "", database().c_str(),
                              testing::shared_mysql().port(), nullptr, 0);
  }
  void try_kill(const std::string& id) const {
    try {
      db.execute("KILL " + id);
    } catch (const Error&) {
      // Gone by itself.
    }
  }
  std::string soci_options() const {
    return fmt::format("host=127.0.0.1 port={} user=root db={} charset=utf8mb4",
                       testing::shared_mysql().port(), database());
  }
};

TEST_F(PersistentQueueHandle, TextsIntegersAndNullGoThroughUnharmed) {
  soci::session session{soci::mysql, soci_options()};
  testing::Soci wrapped{session};
  MYSQL* const plain = connect();
  const std::string text = "it's \\ a \"text\" with ? and ü, 中";
  for (const SqlHandle& handle : {db, SqlHandle::mysql(plain), SqlHandle::borrow(wrapped)}) {
    const std::vector<SqlValue> values{SqlValue{text}, SqlValue{std::int64_t{-5}}, SqlValue{nullptr}};
    handle.execute("CREATE TABLE IF NOT EXISTS tried (a varchar(100), b bigint, c int) CHARSET utf8mb4");
    EXPECT_EQ(handle.execute("INSERT INTO tried VALUES (?, ?, ?)", values), 1);
    const std::vector<SqlRow> rows = handle.query("SELECT a, b, c FROM tried");
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0], (SqlRow{text, "-5", std::nullopt}));
    EXPECT_EQ(handle.execute("DELETE FROM tried WHERE a = ?", {values.data(), 1}), 1);
    EXPECT_NO_THROW(handle.ping());
    try {
      handle.execute("no SQL");
      FAIL() << "it took that";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unavailable);
    }
    EXPECT_NO_THROW(handle.ping());
  }
  mysql_close(plain);
}

TEST_F(PersistentQueueHandle, AQueueRunsOnTheApplicationsMysqlConnection) {
  MYSQL* const mine = connect();
  const SqlHandle handle = SqlHandle::mysql(mine);
  QueueConfig on_mine = config();
  on_mine.db = handle;
  on_mine.table.lease_db = {};
  auto queues = start(std::move(on_mine));
  EXPECT_TRUE(ends_as(insert("ok"), 1)) << lines.all();
  {
    // The application's own business, and a job in its transaction.
    const auto lock = handle.lock();
    ASSERT_EQ(mysql_query(mine, "START TRANSACTION"), 0);
    add_job(handle, {type, "ok"});
    ASSERT_EQ(mysql_query(mine, "ROLLBACK"), 0);
    ASSERT_EQ(mysql_query(mine, "START TRANSACTION"), 0);
    add_job(handle, {type, "ok"});
    ASSERT_EQ(mysql_query(mine, "COMMIT"), 0);
  }
  EXPECT_TRUE(eventually([&] { return runs.size() == 2; }));
  queues.reset();
  // It was shared and is not closed.
  EXPECT_EQ(mysql_ping(mine), 0);
  EXPECT_EQ(number("SELECT COUNT(*) FROM async_job_tab"), 2);
  mysql_close(mine);
}

TEST_F(PersistentQueueHandle, AQueueRunsOnSociSessions) {
  soci::session session{soci::mysql, soci_options()};
  soci::session for_lease{soci::mysql, soci_options()};
  testing::Soci wrapped{session};
  testing::Soci wrapped_lease{for_lease};
  QueueConfig on_soci = config();
  on_soci.db = SqlHandle::borrow(wrapped);
  on_soci.table.lease_db = SqlHandle::borrow(wrapped_lease);
  on_soci.need_retry = true;
  on_soci.max_retries = 1;
  auto queues = start(std::move(on_soci));
  const std::uint64_t ok = insert("ok");
  const std::uint64_t retried = insert("retry");
  const std::uint64_t delayed = insert("ok", now() + 2);
  EXPECT_TRUE(ends_as(ok, 1)) << lines.all();
  EXPECT_TRUE(ends_as(retried, 2));
  EXPECT_TRUE(ends_as(delayed, 1));
  EXPECT_EQ(runs.count(retried), 2U);
  queues.reset();
  EXPECT_EQ(holder(), "") << lines.all();
  int one = 0;
  session << "SELECT 1", soci::into(one);
  EXPECT_EQ(one, 1);
}

TEST_F(PersistentQueueHandle, AJobIsEnqueuedInASociTransactionOrNot) {
  soci::session session{soci::mysql, soci_options()};
  testing::Soci wrapped{session};
  const SqlHandle handle = SqlHandle::borrow(wrapped);
  {
    soci::transaction transaction{session};
    add_job(handle, {type, "ok"});
    transaction.rollback();
  }
  EXPECT_EQ(number("SELECT COUNT(*) FROM async_job_tab"), 0);
  {
    soci::transaction transaction{session};
    add_job(handle, {type, "ok"});
    transaction.commit();
  }
  EXPECT_EQ(number("SELECT COUNT(*) FROM async_job_tab"), 1);
}

TEST_F(PersistentQueueHandle, AnEmptyOneSaysSo) {
  EXPECT_THROW(SqlHandle{}.ping(), Error);
  EXPECT_THROW(SqlHandle::mysql("http://nowhere"), Error);
}

TEST_F(PersistentQueueHandle, ALostConnectionIsMadeAnewAndNothingRunsTwice) {
  const auto queues = start(config());
  ASSERT_TRUE(ends_as(insert("ok"), 1));
  for (int i = 0; i < 3; ++i) {
    for (const SqlRow& row : db.query("SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() "
                                      "AND ID <> CONNECTION_ID()"))
      try_kill(*row[0]);
    EXPECT_TRUE(ends_as(insert("ok"), 1)) << lines.all();
  }
  EXPECT_EQ(runs.size(), 4U);
  EXPECT_TRUE(queues->leads("svc"));
}

}  // namespace
}  // namespace tidemill::persistent_queue
