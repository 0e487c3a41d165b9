#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "drivers/postgres/postgres.hpp"
#include "postgres_server.hpp"
#include "proxy.hpp"
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
  using Server = testing::PostgresServer;
  /// The statement as it travels; BEGIN says READ COMMITTED.
  static inline const std::string commit{"COMMIT\0", 7};
  /// Somebody has the unique key "held" of the queue "q".
  static constexpr char take_key[] =
      "INSERT INTO main.tidemill_key (queue, key, id, length, outlives) SELECT id, 'held', 'x', 0, false "
      "FROM "
      "main.tidemill_queue WHERE name = 'q'";

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

  static testing::PostgresServer& shared_server() { return testing::shared_postgres(); }
  std::string url_by(const testing::Proxy& proxy) const {
    return Server::url_at(proxy.port(), query() + "&prepared=no&sslmode=disable&gssencmode=disable");
  }
  postgres::Connection connect() const { return postgres::Connection{postgres::parse_url(url())}; }
  /// Of all queues; or those with this id.
  std::string count_tasks(const std::string& id = {}) {
    return one("SELECT count(*) FROM main.tidemill_task" + (id.empty() ? id : " WHERE id = '" + id + "'"));
  }
  /// Ends all other connections to the server.
  void kill_others() {
    run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND "
        "application_name LIKE 'tidemill%'");
  }

  std::string schema_;
};

}  // namespace tidemill::contract
