#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "drivers/postgres/postgres.hpp"
#include "postgres_server.hpp"

namespace tidemill::postgres::tests {

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
  return {Outcome::refused, {}, "none"};
}

/// A connection to a server that all tests share, with a table in a schema of the test's own.
class PostgresTest : public ::testing::Test {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_POSTGRES();
    static int count = 0;
    schema = "Test " + std::to_string(++count);
    direct.emplace(options(server().url()));
    direct->execute("CREATE SCHEMA \"" + schema +
                    "\"; CREATE TABLE main.pair (key bigint PRIMARY KEY, value text)");
  }

  static testing::PostgresServer& server() { return testing::shared_postgres(); }
  Options options(const std::string& url) const {
    Options parsed = parse_url(url);
    parsed.schema = schema;
    return parsed;
  }
  /// What other connections see.
  std::string keys() {
    static constexpr Sql read{"SELECT string_agg(key::text, ',' ORDER BY key) FROM main.pair"};
    Query row = direct->query(read);
    row.step();
    return std::string{row.bytes(0)};
  }

  std::string schema;
  std::optional<Connection> direct;
};

inline constexpr Sql insert_key{"INSERT INTO main.pair (key) VALUES ($1)"};
inline constexpr Sql read_all{"SELECT key, value FROM main.pair ORDER BY key"};

}  // namespace tidemill::postgres::tests
