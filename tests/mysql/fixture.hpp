#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "drivers/mysql/mysql.hpp"
#include "mysql_server.hpp"

namespace tidemill::mysql::tests {

inline Deadline soon() { return std::chrono::steady_clock::now() + std::chrono::seconds{30}; }
/// For what can't go well.
inline Deadline shortly() { return std::chrono::steady_clock::now() + std::chrono::milliseconds{300}; }

/// The Failure of what must fail.
template <class Call>
Failure failure_of(Call call) {
  try {
    call();
  } catch (const Failure& failure) {
    return failure;
  }
  ADD_FAILURE() << "nothing has failed";
  return {Outcome::refused, 0, {}, "none"};
}

/// A connection to a server that all tests share, with a table under a prefix of the test's own.
class MysqlTest : public ::testing::Test {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_MYSQL();
    static int count = 0;
    prefix = "t" + std::to_string(++count) + "_";
    direct.emplace(options(server().url()));
    direct->execute("CREATE TABLE main.pair (`key` BIGINT PRIMARY KEY, value LONGBLOB)");
  }

  static testing::MysqlServer& server() { return testing::shared_mysql(); }
  Options options(const std::string& url) const {
    Options parsed = parse_url(url);
    parsed.prefix = prefix;
    return parsed;
  }
  /// What other connections see.
  std::string keys() {
    static constexpr Sql read{"SELECT GROUP_CONCAT(`key` ORDER BY `key`) FROM main.pair"};
    Query row = direct->query(read);
    row.step();
    return std::string{row.bytes(0)};
  }

  std::string prefix;
  std::optional<Connection> direct;
};

inline constexpr Sql insert_key{"INSERT INTO main.pair (`key`) VALUES ($1)"};
inline constexpr Sql read_all{"SELECT `key`, value FROM main.pair ORDER BY `key`"};

}  // namespace tidemill::mysql::tests
