#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <fmt/format.h>

#include "drivers/mysql/mysql.hpp"
#include "mysql_server.hpp"
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
  void SetUp() override {
    TIDEMILL_NEEDS_MYSQL();
    static int count = 0;
    prefix_ = "store" + std::to_string(++count) + "_";
    direct_.emplace(mysql::parse_url(url()));
    store_ = open(url());
  }

  std::string query() const { return "prefix=" + prefix_; }
  std::string url(const std::string& more = {}) const { return testing::shared_mysql().url(query() + more); }

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
