#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "drivers/postgres/postgres.hpp"
#include "postgres_server.hpp"
#include "sql_store_fixture.hpp"

namespace tidemill::contract {

struct PostgresDriver {
  using Connection = postgres::Connection;
  using Failure = postgres::Failure;
  static constexpr char as_text[] = "::text";
};

/// Each test has a schema of its own, and a connection such as any program has that knows nothing of
/// Tidemill.
class PostgresStoreTest : public SqlStoreTest<PostgresDriver> {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_POSTGRES();
    static int count = 0;
    schema_ = "Store " + std::to_string(++count);
    direct_.emplace(postgres::parse_url(url()));
    store_ = open(url());
  }

  std::string query() const { return "schema=Store%20" + schema_.substr(6); }
  std::string url(const std::string& more = {}) const {
    return testing::shared_postgres().url(query() + more);
  }

  std::string schema_;
};

}  // namespace tidemill::contract
