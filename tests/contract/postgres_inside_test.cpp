// The caller's own transaction on PostgreSQL, and plain INSERTs: a task exists if and only if they commit,
// nobody waits for them meanwhile, and workers are woken.
#include <libpq-fe.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/groups.hpp>
#include <tidemill/postgres.hpp>
#include <tidemill/sql.hpp>
#include <tidemill/store.hpp>

#include "application.hpp"
#include "contract/contract.hpp"
#include "handles.hpp"
#include "postgres_server.hpp"
#include "process.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

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

}  // namespace

class PostgresInside : public ::testing::TestWithParam<Library> {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_POSTGRES();
    if (GetParam().connect != nullptr) TIDEMILL_NEEDS_HANDLE(GetParam().connect(url()));
    static int count = 0;
    schema_ = "inside" + std::to_string(++count);
    store_ = open(url("schema=" + schema_));
    app_ = connect();
    app_->run("CREATE TABLE orders (id integer PRIMARY KEY)");
  }

  static std::string url(const std::string& query = {}) {
    return tidemill::testing::shared_postgres().url(query);
  }
  std::unique_ptr<Application> connect() const {
    auto made = connect_to(url());
    EXPECT_EQ(made->run("SET search_path TO \"" + schema_ + "\"; SET client_min_messages TO error"), "");
    return made;
  }
  static std::unique_ptr<Application> connect_to(const std::string& where) {
    std::unique_ptr<Application> made;
    if (GetParam().connect == nullptr) {
      made = std::make_unique<OnLibpq>(where);
    } else {
      made = std::make_unique<OnHandle>(GetParam().connect(where));
    }
    return made;
  }
  /// As long as a test waits that must not wait.
  Call call(std::chrono::milliseconds patience = 10s) {
    return {.now = store_->now(), .deadline = std::chrono::steady_clock::now() + patience};
  }
  static Task task(std::string id, std::string queue = "q") {
    Task task;
    task.ref = {std::move(queue), std::move(id)};
    task.kind = "test:kind";
    task.payload = "payload";
    return task;
  }
  Enqueued put(const Task& task, Transaction* inside = nullptr) {
    return store_->enqueue({&task, 1}, call(), inside).at(0);
  }
  std::vector<std::string> claim(std::string_view queue = "q") {
    const Want want{queue, 100};
    std::vector<std::string> ids;
    for (const Lease& lease :
         store_->claim({.worker = "w", .wants = {&want, 1}, .count_max = 100, .lease = lease_length}, call())
             .leases)
      ids.push_back(lease.task.ref.id);
    return ids;
  }
  std::optional<Task> get(const std::string& id, const std::string& queue = "q") {
    const Ref ref{queue, id};
    return store_->catalog()->get({&ref, 1}, call()).at(0);
  }
  std::uint64_t count(State state, const std::string& queue = "q") {
    for (QueueInfo& info : store_->catalog()->queues(call())) {
      if (info.name == queue) return info.counts[state];
    }
    return 0;
  }
  void sweep() { (void)store_->sweep("w", lease_length, 100, call()); }
  /// What the error says that `body` throws.
  template <class F>
  static std::string refusal(F&& body, ErrorKind kind = ErrorKind::invalid) {
    try {
      body();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
  }
  /// What a worker that waits gets while `body` runs beside it. It may be woken for nothing, too.
  template <class F>
  std::vector<std::string> claimed_beside(F&& body) {
    const std::vector<std::string_view> queues{"q"};
    std::vector<std::string> ids = claim();
    EXPECT_THAT(ids, ElementsAre());
    std::thread waiter{[&] {
      const auto until = std::chrono::steady_clock::now() + 60s;
      while (ids.empty() && std::chrono::steady_clock::now() < until) {
        store_->wait("w", queues, 60s, {});
        ids = claim();
      }
    }};
    body();
    waiter.join();
    return ids;
  }

  std::string schema_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Application> app_;
};

// Why: the task exists if and only if the caller's rows do. How: commit and roll back, each with names that
// are new, and use the same names again.
TEST_P(PostgresInside, ATaskSharesTheFateOfTheTransaction) {
  app_->run("BEGIN; INSERT INTO orders VALUES (1)");
  EXPECT_EQ(put(task("a", "new queue"), app_->transaction()).put, Put::created);
  EXPECT_EQ(put(task("a", "new queue"), app_->transaction()).put, Put::exists);
  EXPECT_FALSE(get("a", "new queue"));
  app_->run("ROLLBACK");
  EXPECT_FALSE(get("a", "new queue"));
  EXPECT_EQ(count(State::pending, "new queue"), 0U);

  EXPECT_EQ(put(task("b", "another")).put, Put::created);
  app_->run("BEGIN; INSERT INTO orders VALUES (2)");
  EXPECT_EQ(put(task("a", "new queue"), app_->transaction()).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_TRUE(get("a", "new queue"));
  EXPECT_EQ(count(State::pending, "new queue"), 1U);
  EXPECT_EQ(count(State::pending, "another"), 1U);
  EXPECT_THAT(claim("new queue"), ElementsAre("a"));
  EXPECT_THAT(app_->rows("SELECT id FROM orders"), ElementsAre("2"));
}

// Why: an expected conflict must not abort the caller's transaction.
TEST_P(PostgresInside, AConflictLeavesTheTransactionWhole) {
  Task holder = task("holder");
  holder.unique = Unique{.key = "k"};
  put(holder);
  app_->run("BEGIN; INSERT INTO orders VALUES (1)");
  Task second = task("second");
  second.unique = Unique{.key = "k", .on_conflict = OnConflict::reject};
  const Enqueued answer = put(second, app_->transaction());
  EXPECT_EQ(answer.put, Put::exists);
  EXPECT_EQ(answer.id, "holder");
  EXPECT_EQ(put(task("holder"), app_->transaction()).put, Put::exists);
  second.unique->key = "free";
  EXPECT_EQ(put(second, app_->transaction()).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_EQ(app_->one("SELECT count(*) FROM orders"), "1");
  EXPECT_TRUE(get("second"));
  EXPECT_EQ(count(State::pending), 2U);
}

// Why: an error of ours is not the caller's. How: another session holds the unique key, and the caller's
// patience ends.
TEST_P(PostgresInside, AnErrorLeavesTheTransactionAsItWas) {
  Task unique = task("one");
  unique.unique = Unique{.key = "k"};
  const auto other = connect();
  other->run("BEGIN");
  EXPECT_EQ(put(unique, other->transaction()).put, Put::created);
  app_->run("BEGIN; SET LOCAL lock_timeout = '20ms'; INSERT INTO orders VALUES (1)");
  unique.ref.id = "two";
  EXPECT_THAT(refusal([&] { put(unique, app_->transaction()); }, ErrorKind::timed_out),
              HasSubstr("begin it again"));
  EXPECT_EQ(put(task("three"), app_->transaction()).put, Put::created);
  EXPECT_EQ(app_->one("SHOW lock_timeout"), "20ms");
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_EQ(other->run("ROLLBACK"), "");
  EXPECT_EQ(app_->one("SELECT count(*) FROM orders"), "1");
  EXPECT_TRUE(get("three"));
  EXPECT_FALSE(get("one"));
  EXPECT_FALSE(get("two"));
}

// Why: what can't be right is said before anything is written, and harms nothing.
TEST_P(PostgresInside, AWrongTransactionIsRefused) {
  EXPECT_THAT(refusal([&] { put(task("a"), app_->transaction()); }), HasSubstr("BEGIN"));
  app_->run("BEGIN; SELECT 1/0");
  EXPECT_THAT(refusal([&] { put(task("a"), app_->transaction()); }), HasSubstr("ROLLBACK"));
  app_->run("ROLLBACK; BEGIN READ ONLY");
  EXPECT_THAT(refusal([&] { put(task("a"), app_->transaction()); }), HasSubstr("read only"));
  EXPECT_EQ(app_->run("COMMIT"), "");

  // Another database, without tables of ours and with.
  const std::string name = "elsewhere_" + schema_;
  app_->run("CREATE DATABASE " + name);
  const std::string there =
      "postgres://postgres@127.0.0.1:" + std::to_string(tidemill::testing::shared_postgres().port()) + "/" +
      name;
  for (const bool with_tables : {false, true}) {
    if (with_tables) open(there + "?schema=" + schema_);
    const auto elsewhere = connect_to(there);
    elsewhere->run("CREATE TABLE IF NOT EXISTS t (x integer); BEGIN; INSERT INTO t VALUES (1)");
    const std::string why = refusal([&] { put(task("a"), elsewhere->transaction()); });
    EXPECT_THAT(why, HasSubstr(name));
    EXPECT_THAT(why, HasSubstr(schema_));
    EXPECT_EQ(elsewhere->run("COMMIT"), "");
    EXPECT_EQ(elsewhere->one("SELECT count(*) FROM t"), with_tables ? "2" : "1");
  }

  class Other : public Transaction {
  } other;
  EXPECT_THAT(refusal([&] { put(task("a"), &other); }), HasSubstr("PostgresTransaction"));
  EXPECT_FALSE(get("a"));
}

// Why: a transaction may stay open for minutes, and the queue must not. How: two of them, with everything
// that a worker does in between, of a plain queue and of a group.
TEST_P(PostgresInside, NobodyWaitsForAnOpenTransaction) {
  put(task("before"));
  Task member = task("member 1");
  member.state = State::aggregating;
  member.group = "g";
  put(member);
  const auto second = connect();
  app_->run("BEGIN");
  second->run("BEGIN");
  const auto grouped = [&](std::string id) {
    member.ref.id = std::move(id);
    return member;
  };
  EXPECT_EQ(put(task("one"), app_->transaction()).put, Put::created);
  EXPECT_EQ(put(grouped("member 2"), app_->transaction()).put, Put::created);
  EXPECT_EQ(put(task("two"), second->transaction()).put, Put::created);
  EXPECT_EQ(put(grouped("member 3"), second->transaction()).put, Put::created);

  EXPECT_EQ(put(task("beside")).put, Put::created);
  EXPECT_EQ(put(grouped("member 4")).put, Put::created);
  sweep();
  EXPECT_THAT(claim(), UnorderedElementsAre("before", "beside"));
  const std::vector<std::string_view> queues{"q"};
  const Gather gather{
      .worker = "w", .queues = queues, .rule = {.size_max = 2}, .count_max = 10, .lease = lease_length};
  const Gathered gathered = store_->groups()->gather(gather, call());
  ASSERT_EQ(gathered.sets.size(), 1U);
  EXPECT_EQ(gathered.sets[0].tasks.size(), 2U);

  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_EQ(second->run("COMMIT"), "");
  EXPECT_EQ(count(State::pending), 2U);
  EXPECT_EQ(count(State::aggregating), 4U);
  sweep();
  EXPECT_EQ(count(State::pending), 2U);
  EXPECT_THAT(claim(), UnorderedElementsAre("one", "two"));
  const Gathered later = store_->groups()->gather(gather, call());
  ASSERT_EQ(later.sets.size(), 1U);
  EXPECT_EQ(later.sets[0].tasks.size(), 2U);
}

// Why: counts are exact at once, and stay so when a sweep folds the deltas in.
TEST_P(PostgresInside, ASweepFoldsTheDeltasIn) {
  for (int i = 0; i < 3; ++i) {
    app_->run("BEGIN");
    put(task("t" + std::to_string(i)), app_->transaction());
    app_->run("COMMIT");
  }
  EXPECT_EQ(app_->one("SELECT count(*) FROM tidemill_delta"), "3");
  EXPECT_EQ(count(State::pending), 3U);
  sweep();
  EXPECT_EQ(app_->one("SELECT count(*) FROM tidemill_delta"), "0");
  EXPECT_EQ(count(State::pending), 3U);
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

TEST_P(PostgresInside, TheCommitWakesAWorker) {
  const auto ids = claimed_beside([&] {
    app_->run("BEGIN");
    put(task("a"), app_->transaction());
    app_->run("COMMIT");
  });
  EXPECT_THAT(ids, ElementsAre("a"));
}

// Why: any program may enqueue that speaks SQL. How: psql itself, in a transaction that is rolled back and in
// one that is not.
TEST_P(PostgresInside, PsqlInsertsTasksAndWakesAWorker) {
  if (access("/usr/bin/psql", X_OK) != 0) GTEST_SKIP() << "psql is not installed; ./dev test installs it";
  const auto psql = [&](const std::string& sql) {
    tidemill::testing::Process process{{"/usr/bin/psql", url(), "-v", "ON_ERROR_STOP=1", "-c", sql}, {}};
    return process.wait();
  };
  const std::string insert =
      "INSERT INTO " + schema_ +
      ".tidemill_task (queue, id, kind, payload) VALUES ('q', 'by hand', 'k', 'hello')";
  EXPECT_EQ(psql("BEGIN; " + insert + "; ROLLBACK"), 0);
  EXPECT_FALSE(get("by hand"));
  EXPECT_THAT(claimed_beside([&] { EXPECT_EQ(psql(insert), 0); }), ElementsAre("by hand"));
  EXPECT_EQ(count(State::active), 1U);
  ASSERT_TRUE(get("by hand"));
  EXPECT_EQ(get("by hand")->payload, "hello");
  EXPECT_NE(psql("INSERT INTO " + schema_ + ".tidemill_task (payload) VALUES ('no kind')"), 0);
}

// Why: what a task holds is bytes, whatever the library between makes of them. How: all bytes in the payload,
// marks that libraries look for, and ids of both sorts.
TEST_P(PostgresInside, AllOfATaskGetsThere) {
  Task every = task("0190b5f0-7f8a-7000-8000-00000000abcd");
  every.kind = "it's :a ?1 $2 \\ \u00fc";
  every.payload.clear();
  for (int c = 0; c < 256; ++c) every.payload += static_cast<char>(c);
  every.headers = {{"a?", ":b"}};
  every.unique = Unique{.key = "k'\\:"};
  Task second = task("second:?'$1");
  second.unique = every.unique;
  app_->run("BEGIN");
  EXPECT_EQ(put(every, app_->transaction()).put, Put::created);
  EXPECT_EQ(put(second, app_->transaction()).id, every.ref.id);
  second.unique.reset();
  EXPECT_EQ(put(second, app_->transaction()).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  const auto found = get(every.ref.id);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kind, every.kind);
  EXPECT_EQ(found->payload, every.payload);
  EXPECT_EQ(found->headers, every.headers);
  EXPECT_TRUE(get(second.ref.id));
}

INSTANTIATE_TEST_SUITE_P(Each, PostgresInside,
                         ::testing::Values(Library{"libpq", nullptr}, Library{"libpqxx", &pqxx_handle},
                                           Library{"SOCI", &soci_postgres_handle}),
                         &library_name);

}  // namespace tidemill::contract
