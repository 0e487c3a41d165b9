// A caller's own transaction on MariaDB: what inside_test.cpp has, on each library, and what is its own.
#include <mysql.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <tidemill/mysql.hpp>

#include "contract/inside_fixture.hpp"
#include "mysql_server.hpp"

namespace tidemill::contract {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

namespace {

class OnLibmariadb : public Application {
 public:
  OnLibmariadb() : db_(mysql_init(nullptr), &mysql_close), transaction_(db_.get()) {
    mysql_options(db_.get(), MYSQL_SET_CHARSET_NAME, "utf8mb4");
    const unsigned int tcp = MYSQL_PROTOCOL_TCP;
    mysql_options(db_.get(), MYSQL_OPT_PROTOCOL, &tcp);
    EXPECT_NE(mysql_real_connect(db_.get(), "127.0.0.1", "root", "", "test",
                                 tidemill::testing::shared_mysql().port(), nullptr, CLIENT_MULTI_STATEMENTS),
              nullptr)
        << mysql_error(db_.get());
  }
  std::string run(const std::string& sql) override {
    if (mysql_query(db_.get(), sql.c_str()) != 0) return mysql_error(db_.get());
    for (;;) {
      mysql_free_result(mysql_store_result(db_.get()));
      const int next = mysql_next_result(db_.get());
      if (next != 0) return next > 0 ? mysql_error(db_.get()) : "";
    }
  }
  std::vector<std::string> rows(const std::string& sql) override {
    EXPECT_EQ(mysql_query(db_.get(), sql.c_str()), 0) << sql << ": " << mysql_error(db_.get());
    const std::unique_ptr<MYSQL_RES, decltype(&mysql_free_result)> result{mysql_store_result(db_.get()),
                                                                          &mysql_free_result};
    std::vector<std::string> fields;
    while (MYSQL_ROW row = mysql_fetch_row(result.get())) fields.emplace_back(row[0]);
    return fields;
  }
  Transaction* transaction() override { return &transaction_; }

 private:
  std::unique_ptr<MYSQL, decltype(&mysql_close)> db_;
  MysqlTransaction transaction_;
};

class InMysql : public Database {
 public:
  InMysql() {
    static int count = 0;
    prefix_ = "inside" + std::to_string(++count) + "_";
  }
  std::string url() const override { return tidemill::testing::shared_mysql().url(); }
  std::unique_ptr<Store> open_store() const override {
    return open(tidemill::testing::shared_mysql().url("prefix=" + prefix_));
  }
  std::unique_ptr<Application> connect() const override { return std::make_unique<OnLibmariadb>(); }
  std::string prefix() const override { return prefix_; }
  std::string begin_impatiently() const override { return "SET innodb_lock_wait_timeout = 1; BEGIN"; }
  std::string begin_read_only() const override { return "START TRANSACTION READ ONLY"; }
  std::string transaction() const override { return "MysqlTransaction"; }

 private:
  std::string prefix_;
};

std::unique_ptr<Database> mysql_database() {
  if (access(tidemill::testing::mariadb_program, X_OK) != 0) return {};
  return std::make_unique<InMysql>();
}

class MysqlInside : public SqlInside {};

// Why: the caller's transaction sees others' rows as they were when it began, and a unique key that was taken
// since is taken all the same.
TEST_P(MysqlInside, AKeyThatWasTakenSinceTheTransactionBeganIsSeen) {
  put(task("first"));
  app_->run("START TRANSACTION WITH CONSISTENT SNAPSHOT");
  Task keyed = task("theirs");
  keyed.unique = Unique{.key = "k"};
  EXPECT_EQ(put(keyed).put, Put::created);
  keyed.ref.id = "ours";
  const Enqueued answer = put(keyed, app_->transaction());
  EXPECT_EQ(answer.put, Put::exists);
  EXPECT_EQ(answer.id, "theirs");
  EXPECT_EQ(put(task("theirs"), app_->transaction()).put, Put::exists);
  EXPECT_EQ(put(task("another"), app_->transaction()).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_THAT(claim(), UnorderedElementsAre("first", "theirs", "another"));
}

// Why: the server rolls back all of a transaction that meets a deadlock, and then nothing of it may be
// written. How: two transactions, each of which wants the key that the other has.
TEST_P(MysqlInside, ADeadlockIsToldAndLeavesNothing) {
  const auto keyed = [](std::string id, std::string key) {
    Task one = task(std::move(id));
    one.unique = Unique{.key = std::move(key)};
    return one;
  };
  const auto second = connect();
  app_->run("BEGIN");
  second->run("BEGIN; INSERT INTO orders VALUES (1), (2), (3)");
  EXPECT_EQ(put(keyed("a", "k1"), app_->transaction()).put, Put::created);
  EXPECT_EQ(put(keyed("b", "k2"), second->transaction()).put, Put::created);
  std::optional<Error> failed[2];
  const auto wants = [&](std::string id, std::string key, Transaction& transaction,
                         std::optional<Error>& error) {
    try {
      put(keyed(std::move(id), std::move(key)), &transaction);
    } catch (const Error& thrown) {
      error = thrown;
    }
  };
  {
    const std::jthread beside{[&] {
      wants("c", "k1", *second->transaction(), failed[1]);
      if (failed[1]) second->run("ROLLBACK");
    }};
    wants("d", "k2", *app_->transaction(), failed[0]);
    app_->run("ROLLBACK");
  }
  ASSERT_TRUE(failed[0] || failed[1]);
  EXPECT_THAT((failed[0] ? failed[0] : failed[1])->what(), HasSubstr("begin it again"));
  second->run("ROLLBACK");
  for (const char* const id : {"a", "b", "c", "d"}) EXPECT_FALSE(get(id)) << id;
  EXPECT_EQ(count(State::pending), 0U);
}

const auto programs = ::testing::Values(Program{"libmariadb", &mysql_database, nullptr},
                                        Program{"SOCI", &mysql_database, &soci_mysql_handle});
INSTANTIATE_TEST_SUITE_P(Mysql, EachInside, programs, &program_name);
INSTANTIATE_TEST_SUITE_P(Each, MysqlInside, programs, &program_name);

}  // namespace

}  // namespace tidemill::contract
