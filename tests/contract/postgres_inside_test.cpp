// A caller's own transaction on PostgreSQL: what inside_test.cpp has, on each library, and what is its own.
#include <libpq-fe.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include <tidemill/postgres.hpp>

#include "contract/inside_fixture.hpp"
#include "postgres_server.hpp"
#include "process.hpp"

namespace tidemill::contract {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace {

class OnLibpq : public Application {
 public:
  explicit OnLibpq(const std::string& url)
      : db_(PQconnectdb(url.c_str()), &PQfinish), transaction_(db_.get()) {
    EXPECT_EQ(PQstatus(db_.get()), CONNECTION_OK) << PQerrorMessage(db_.get());
  }
  std::string run(const std::string& sql) override {
    const Result result{PQexec(db_.get(), sql.c_str()), &PQclear};
    return PQresultErrorMessage(result.get());
  }
  std::vector<std::string> rows(const std::string& sql) override {
    const Result result{PQexec(db_.get(), sql.c_str()), &PQclear};
    EXPECT_STREQ(PQresultErrorMessage(result.get()), "") << sql;
    std::vector<std::string> fields;
    for (int row = 0; row < PQntuples(result.get()); ++row)
      fields.emplace_back(PQgetvalue(result.get(), row, 0));
    return fields;
  }
  Transaction* transaction() override { return &transaction_; }

 private:
  using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;
  std::unique_ptr<PGconn, decltype(&PQfinish)> db_;
  PostgresTransaction transaction_;
};

class InPostgres : public Database {
 public:
  InPostgres() {
    static int count = 0;
    schema_ = "inside" + std::to_string(++count);
  }
  std::string url() const override { return tidemill::testing::shared_postgres().url(); }
  std::unique_ptr<Store> open_store() const override {
    return open(tidemill::testing::shared_postgres().url("schema=" + schema_));
  }
  std::unique_ptr<Application> connect() const override { return std::make_unique<OnLibpq>(url()); }
  std::string greeting() const override {
    return "SET search_path TO \"" + schema_ + "\"; SET client_min_messages TO error";
  }
  std::string prefix() const override { return schema_ + ".tidemill_"; }
  std::string begin_impatiently() const override { return "BEGIN; SET LOCAL lock_timeout = '20ms'"; }
  std::string begin_read_only() const override { return "BEGIN READ ONLY"; }
  std::string transaction() const override { return "PostgresTransaction"; }
  const std::string& schema() const noexcept { return schema_; }

 private:
  std::string schema_;
};

std::unique_ptr<Database> postgres_database() {
  if (tidemill::testing::postgres_directory().empty()) return {};
  return std::make_unique<InPostgres>();
}

class PostgresInside : public SqlInside {
 protected:
  static std::unique_ptr<Application> connect_to(const std::string& url) {
    if (GetParam().connect == nullptr) return std::make_unique<OnLibpq>(url);
    return std::make_unique<OnHandle>(GetParam().connect(url));
  }
};

// Why: what the caller has set is his. How: an error of ours in a transaction with a setting of its own.
TEST_P(PostgresInside, AnErrorLeavesTheSettingsAsTheyWere) {
  Task unique = task("one");
  unique.unique = Unique{.key = "k"};
  const auto other = connect();
  other->run("BEGIN");
  EXPECT_EQ(put(unique, other->transaction()).put, Put::created);
  app_->run(database_->begin_impatiently());
  unique.ref.id = "two";
  refusal([&] { put(unique, app_->transaction()); }, ErrorKind::timed_out);
  EXPECT_EQ(app_->one("SHOW lock_timeout"), "20ms");
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_EQ(other->run("ROLLBACK"), "");
}

TEST_P(PostgresInside, ATransactionThatHasFailedIsRefused) {
  app_->run("BEGIN; SELECT 1/0");
  EXPECT_THAT(refusal([&] { put(task("a"), app_->transaction()); }), HasSubstr("ROLLBACK"));
}

// How: another database, without tables of ours and with.
TEST_P(PostgresInside, ATransactionOfAnotherDatabaseIsRefused) {
  const std::string schema = dynamic_cast<const InPostgres&>(*database_).schema();
  const std::string name = "elsewhere_" + schema;
  app_->run("CREATE DATABASE " + name);
  const std::string there =
      "postgres://postgres@127.0.0.1:" + std::to_string(tidemill::testing::shared_postgres().port()) + "/" +
      name;
  for (const bool with_tables : {false, true}) {
    if (with_tables) open(there + "?schema=" + schema);
    const std::unique_ptr<Application> elsewhere = connect_to(there);
    elsewhere->run(
        "SET client_min_messages TO error; CREATE TABLE IF NOT EXISTS t (x integer); BEGIN; INSERT INTO t "
        "VALUES (1)");
    const std::string why = refusal([&] { put(task("a"), elsewhere->transaction()); });
    EXPECT_THAT(why, HasSubstr(name));
    EXPECT_THAT(why, HasSubstr(schema));
    EXPECT_EQ(elsewhere->run("COMMIT"), "");
    EXPECT_EQ(elsewhere->one("SELECT count(*) FROM t"), with_tables ? "2" : "1");
  }
  EXPECT_FALSE(get("a"));
}

// Why: nobody may learn a name's number from a transaction that is rolled back. How: a plain INSERT makes the
// name in it, and an enqueue beside it uses that.
TEST_P(PostgresInside, NamesThatAreRolledBackAreForgotten) {
  app_->run("BEGIN");
  EXPECT_EQ(app_->run("INSERT INTO tidemill_task (queue, kind) VALUES ('fresh', 'fresh:kind')"), "");
  Task one = task("one", "fresh");
  one.kind = "fresh:kind";
  EXPECT_EQ(put(one, app_->transaction()).put, Put::created);
  app_->run("ROLLBACK");
  put(task("taker", "other queue"));  // Would take their numbers, were they free.
  EXPECT_EQ(put(one).put, Put::created);
  ASSERT_TRUE(get("one", "fresh"));
  EXPECT_EQ(get("one", "fresh")->kind, "fresh:kind");
  EXPECT_THAT(claim("fresh"), ElementsAre("one"));
  EXPECT_THAT(claim("other queue"), ElementsAre("taker"));
}

// Why: any program may enqueue that speaks SQL. How: psql itself, in a transaction that is rolled back and in
// one that is not.
TEST_P(PostgresInside, PsqlInsertsTasksAndWakesAWorker) {
  if (access("/usr/bin/psql", X_OK) != 0) GTEST_SKIP() << "psql is not installed; ./dev test installs it";
  const auto psql = [&](const std::string& sql) {
    tidemill::testing::Process process{
        {"/usr/bin/psql", database_->url(), "-v", "ON_ERROR_STOP=1", "-c", sql}, {}};
    return process.wait();
  };
  const std::string insert = "INSERT INTO " + database_->prefix() +
                             "task (queue, id, kind, payload) VALUES ('q', 'by hand', 'k', 'hello')";
  EXPECT_EQ(psql("BEGIN; " + insert + "; ROLLBACK"), 0);
  EXPECT_FALSE(get("by hand"));
  EXPECT_THAT(claimed_beside([&] { EXPECT_EQ(psql(insert), 0); }), ElementsAre("by hand"));
  EXPECT_EQ(count(State::active), 1U);
  ASSERT_TRUE(get("by hand"));
  EXPECT_EQ(get("by hand")->payload, "hello");
  EXPECT_NE(psql("INSERT INTO " + database_->prefix() + "task (payload) VALUES ('no kind')"), 0);
}

const auto programs = ::testing::Values(Program{"libpq", &postgres_database, nullptr},
                                        Program{"libpqxx", &postgres_database, &pqxx_handle},
                                        Program{"SOCI", &postgres_database, &soci_postgres_handle});
INSTANTIATE_TEST_SUITE_P(Postgres, EachInside, programs, &program_name);
INSTANTIATE_TEST_SUITE_P(Each, PostgresInside, programs, &program_name);

}  // namespace

}  // namespace tidemill::contract
