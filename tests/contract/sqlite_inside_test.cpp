// The caller's own transaction on SQLite: a task exists if and only if it commits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include <tidemill/sqlite.hpp>

#include "contract/application.hpp"
#include "contract/sqlite_fixture.hpp"

namespace tidemill::contract {

namespace {

using testing::HasSubstr;

class OnSqlite : public Application {
 public:
  explicit OnSqlite(const std::filesystem::path& path) : db_(path), transaction_(db_.handle()) {}
  std::string run(const std::string& sql) override { return db_.run(sql); }
  std::vector<std::string> rows(const std::string& sql) override { return db_.rows(sql); }
  Transaction* transaction() override { return &transaction_; }

 private:
  PlainSql db_;
  SqliteTransaction transaction_;
};

/// Whose connection it is.
struct Library {
  const char* name;
  SqlHandle (*connect)(const std::string& url);  ///< Null: SQLite's own.
};

std::string library_name(const ::testing::TestParamInfo<Library>& its) { return its.param.name; }

class SqliteInside : public SqliteStoreTest, public testing::WithParamInterface<Library> {
 protected:
  void SetUp() override {
    if (GetParam().connect != nullptr) TIDEMILL_NEEDS_HANDLE(GetParam().connect(path("tried.db")));
  }
  static std::unique_ptr<Application> connect(const std::filesystem::path& path) {
    if (GetParam().connect == nullptr) return std::make_unique<OnSqlite>(path);
    return std::make_unique<OnHandle>(GetParam().connect(path));
  }
};

// Why: the task exists if and only if the caller's rows do. How: commit and roll back, each with names that
// are new, and use the same names again: numbers that were rolled back must not be remembered.
TEST_P(SqliteInside, ATaskSharesTheFateOfTheTransaction) {
  store();
  const auto app = connect(path());
  app->run("CREATE TABLE orders (id INTEGER)");

  app->run("BEGIN IMMEDIATE; INSERT INTO orders VALUES (1)");
  EXPECT_EQ(put(store(), task("a", "new queue"), app->transaction()), Put::created);
  EXPECT_EQ(put(store(), task("a", "new queue"), app->transaction()), Put::exists);
  EXPECT_FALSE(get("a", "new queue"));
  app->run("ROLLBACK");
  EXPECT_FALSE(get("a", "new queue"));

  EXPECT_EQ(put(store(), task("b", "another")), Put::created);  // Takes the number that "new queue" had.
  app->run("BEGIN IMMEDIATE; INSERT INTO orders VALUES (2)");
  EXPECT_EQ(put(store(), task("a", "new queue"), app->transaction()), Put::created);
  EXPECT_EQ(app->run("COMMIT"), "");
  EXPECT_TRUE(get("a", "new queue"));
  EXPECT_EQ(count(State::pending, "new queue"), 1U);
  EXPECT_EQ(count(State::pending, "another"), 1U);
  EXPECT_EQ(claim(store(), 10, "new queue").size(), 1U);
  EXPECT_EQ(app->one("SELECT group_concat(id) FROM orders"), "2");
}

// Why: an expected conflict must not abort the caller's transaction. How: unique keys inside one, then
// COMMIT.
TEST_P(SqliteInside, AConflictLeavesTheTransactionWhole) {
  Task holder = task("holder");
  holder.unique = Unique{.key = "k"};
  put(store(), holder);
  const auto app = connect(path());
  app->run("CREATE TABLE orders (id INTEGER); BEGIN IMMEDIATE; INSERT INTO orders VALUES (1)");
  Task second = task("second");
  second.unique = Unique{.key = "k", .on_conflict = OnConflict::reject};
  const auto answer = store().enqueue({&second, 1}, call(), app->transaction()).at(0);
  EXPECT_EQ(answer.put, Put::exists);
  EXPECT_EQ(answer.id, "holder");
  EXPECT_EQ(put(store(), task("holder"), app->transaction()), Put::exists);
  EXPECT_EQ(app->run("COMMIT"), "");
  EXPECT_EQ(app->one("SELECT count(*) FROM orders"), "1");
}

// Why: an application may have the file attached under a name of its own, beside a database with the same
// tables.
TEST_P(SqliteInside, TheFileMayBeAttached) {
  store();
  const auto other = open_sqlite({.path = path("other.db").string(), .full_sync = false});
  const auto app = connect(path("other.db"));
  ASSERT_EQ(app->run("ATTACH '" + path().string() + "' AS \"my \"\"jobs\"\"\"; BEGIN IMMEDIATE"), "");
  EXPECT_EQ(put(store(), task("a"), app->transaction()), Put::created);
  EXPECT_EQ(put(*other, task("b"), app->transaction()), Put::created);
  EXPECT_EQ(app->run("COMMIT"), "");
  EXPECT_EQ(claim(store()).size(), 1U);
  EXPECT_EQ(claim(*other).at(0).task.ref.id, "b");
}

// Why: what can't be right is said before anything is written. How: no transaction, another file, another
// sort.
TEST_P(SqliteInside, AWrongTransactionIsRefused) {
  store();
  const auto idle = connect(path());
  EXPECT_THAT(refusal([&] { put(store(), task("a"), idle->transaction()); }), HasSubstr("BEGIN IMMEDIATE"));

  const auto elsewhere = connect(path("elsewhere.db"));
  elsewhere->run("CREATE TABLE t (x); BEGIN IMMEDIATE; INSERT INTO t VALUES (1)");
  const std::string why = refusal([&] { put(store(), task("a"), elsewhere->transaction()); });
  EXPECT_THAT(why, HasSubstr("elsewhere.db"));
  EXPECT_THAT(why, HasSubstr("jobs.db"));

  class Other : public Transaction {
  } other;
  EXPECT_THAT(refusal([&] { put(store(), task("a"), &other); }), HasSubstr("SqliteTransaction"));
  EXPECT_FALSE(get("a"));
}

// Why: what a task holds is bytes, whatever the library between makes of them. How: a group, all bytes in the
// payload, marks that libraries look for, and ids of both sorts.
TEST_P(SqliteInside, AllOfATaskGetsThere) {
  store();
  const auto app = connect(path());
  Task every = task("0190b5f0-7f8a-7000-8000-00000000abcd");
  every.kind = "it's :a ?1 $2";
  for (int c = 0; c < 256; ++c) every.payload += static_cast<char>(c);
  every.headers = {{"a?", ":b"}};
  every.unique = Unique{.key = "k'"};
  app->run("BEGIN IMMEDIATE");
  EXPECT_EQ(put(store(), every, app->transaction()), Put::created);
  Task second = task("second");
  second.unique = every.unique;
  EXPECT_EQ(store().enqueue({&second, 1}, call(), app->transaction()).at(0).id, every.ref.id);
  EXPECT_EQ(app->run("COMMIT"), "");
  const auto found = get(every.ref.id);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kind, every.kind);
  EXPECT_EQ(found->payload, every.payload);
  EXPECT_EQ(found->headers, every.headers);
}

INSTANTIATE_TEST_SUITE_P(Each, SqliteInside,
                         testing::Values(Library{"sqlite3", nullptr}, Library{"SOCI", &soci_sqlite_handle}),
                         &library_name);

}  // namespace
}  // namespace tidemill::contract
