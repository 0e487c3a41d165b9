#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <fmt/format.h>

#include "drivers/mysql/mysql.hpp"
#include "mysql_server.hpp"
#include "proxy.hpp"
#include "sql_store_fixture.hpp"

namespace tidemill::contract {

struct MysqlDriver {
  using Connection = mysql::Connection;
  using Failure = mysql::Failure;
  static constexpr char as_text[] = "";
};

/// Each test has a prefix of its own, and a connection such as any program has that knows nothing of
/// Tidemill.
class MysqlStoreTest : public SqlStoreTest<MysqlDriver> {
 protected:
  using Server = testing::MysqlServer;
  /// The end of a text as it travels.
  static inline const std::string commit{";COMMIT"};
  /// Somebody has the unique key "held" of the queue "q".
  static constexpr char take_key[] =
      "INSERT INTO main.key (queue, unique_key, id, length, outlives) SELECT id, 'held', 'x', 0, FALSE FROM "
      "main.queue WHERE name = 'q'";

  void SetUp() override {
    TIDEMILL_NEEDS_MYSQL();
    static int count = 0;
    prefix_ = "store" + std::to_string(++count) + "_";
    direct_.emplace(mysql::parse_url(url()));
    store_ = open(url());
  }

  std::string query() const { return "prefix=" + prefix_; }
  std::string url(const std::string& more = {}) const { return testing::shared_mysql().url(query() + more); }

  static testing::MysqlServer& shared_server() { return testing::shared_mysql(); }
  std::string url_by(const testing::Proxy& proxy) const { return Server::url_at(proxy.port(), query()); }
  mysql::Connection connect() const { return mysql::Connection{mysql::parse_url(url())}; }
  /// Of all queues; or those with this id.
  std::string count_tasks(const std::string& id = {}) {
    return one("SELECT COUNT(*) FROM main.job" + (id.empty() ? id : " WHERE id = '" + id + "'"));
  }
  /// Ends all other connections to the server.
  void kill_others() {
    static constexpr mysql::Sql others{
        "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'"};
    auto row = direct_->query(others);
    while (row.step()) (void)refusal(fmt::format("KILL {}", row.integer(0)));
  }

  std::string prefix_;
};

}  // namespace tidemill::contract
