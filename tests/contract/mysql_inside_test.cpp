// The caller's own transaction on MariaDB, and plain INSERTs: a task exists if and only if they commit,
// nobody waits for them meanwhile, and workers are woken.
#include <mysql.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/groups.hpp>
#include <tidemill/mysql.hpp>
#include <tidemill/store.hpp>

#include "contract/contract.hpp"
#include "mysql_server.hpp"
#include "process.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

namespace {

/// A connection such as any program has that knows nothing of Tidemill.
class Application {
 public:
  explicit Application(const std::string& database = "test") : db_(mysql_init(nullptr), &mysql_close) {
    mysql_options(db_.get(), MYSQL_SET_CHARSET_NAME, "utf8mb4");
    const unsigned int tcp = MYSQL_PROTOCOL_TCP;
    mysql_options(db_.get(), MYSQL_OPT_PROTOCOL, &tcp);
    EXPECT_NE(mysql_real_connect(db_.get(), "127.0.0.1", "root", "", database.c_str(),
                                 tidemill::testing::shared_mysql().port(), nullptr, CLIENT_MULTI_STATEMENTS),
              nullptr)
        << mysql_error(db_.get());
  }
  /// The error's text; empty: there was none.
  std::string run(const std::string& sql) {
    if (mysql_query(db_.get(), sql.c_str()) != 0) return mysql_error(db_.get());
    for (;;) {
      mysql_free_result(mysql_store_result(db_.get()));
      const int next = mysql_next_result(db_.get());
      if (next != 0) return next > 0 ? mysql_error(db_.get()) : "";
    }
  }
  /// The first column of all rows.
  std::vector<std::string> rows(const std::string& sql) {
    EXPECT_EQ(mysql_query(db_.get(), sql.c_str()), 0) << sql << ": " << mysql_error(db_.get());
    const std::unique_ptr<MYSQL_RES, decltype(&mysql_free_result)> result{mysql_store_result(db_.get()),
                                                                          &mysql_free_result};
    std::vector<std::string> fields;
    while (MYSQL_ROW row = mysql_fetch_row(result.get())) fields.emplace_back(row[0]);
    return fields;
  }
  std::string one(const std::string& sql) {
    const auto fields = rows(sql);
    return fields.size() == 1 ? fields[0] : "not one row";
  }
  MYSQL* handle() const { return db_.get(); }

 private:
  std::unique_ptr<MYSQL, decltype(&mysql_close)> db_;
};

}  // namespace

class MysqlInside : public ::testing::Test {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_MYSQL();
    static int count = 0;
    prefix_ = "inside" + std::to_string(++count) + "_";
    store_ = open(url("prefix=" + prefix_));
    app_.emplace();
    app_->run("DROP TABLE IF EXISTS orders; CREATE TABLE orders (id INT PRIMARY KEY)");
  }

  static std::string url(const std::string& query = {}) {
    return tidemill::testing::shared_mysql().url(query);
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

  std::string prefix_;
  std::unique_ptr<Store> store_;
  std::optional<Application> app_;
};

// Why: the task exists if and only if the caller's rows do. How: commit and roll back, each with names that
// are new, and use the same names again.
TEST_F(MysqlInside, ATaskSharesTheFateOfTheTransaction) {
  MysqlTransaction transaction{app_->handle()};
  app_->run("BEGIN; INSERT INTO orders VALUES (1)");
  EXPECT_EQ(put(task("a", "new queue"), &transaction).put, Put::created);
  EXPECT_EQ(put(task("a", "new queue"), &transaction).put, Put::exists);
  EXPECT_FALSE(get("a", "new queue"));
  app_->run("ROLLBACK");
  EXPECT_FALSE(get("a", "new queue"));
  EXPECT_EQ(count(State::pending, "new queue"), 0U);

  EXPECT_EQ(put(task("b", "another")).put, Put::created);
  app_->run("BEGIN; INSERT INTO orders VALUES (2)");
  EXPECT_EQ(put(task("a", "new queue"), &transaction).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_TRUE(get("a", "new queue"));
  EXPECT_EQ(count(State::pending, "new queue"), 1U);
  EXPECT_EQ(count(State::pending, "another"), 1U);
  EXPECT_THAT(claim("new queue"), ElementsAre("a"));
  EXPECT_THAT(app_->rows("SELECT id FROM orders"), ElementsAre("2"));
}

// Why: an expected conflict must not abort the caller's transaction.
TEST_F(MysqlInside, AConflictLeavesTheTransactionWhole) {
  Task holder = task("holder");
  holder.unique = Unique{.key = "k"};
  put(holder);
  app_->run("BEGIN; INSERT INTO orders VALUES (1)");
  MysqlTransaction transaction{app_->handle()};
  Task second = task("second");
  second.unique = Unique{.key = "k", .on_conflict = OnConflict::reject};
  const Enqueued answer = put(second, &transaction);
  EXPECT_EQ(answer.put, Put::exists);
  EXPECT_EQ(answer.id, "holder");
  EXPECT_EQ(put(task("holder"), &transaction).put, Put::exists);
  second.unique->key = "free";
  EXPECT_EQ(put(second, &transaction).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_EQ(app_->one("SELECT count(*) FROM orders"), "1");
  EXPECT_TRUE(get("second"));
  EXPECT_EQ(count(State::pending), 2U);
}

// Why: an error of ours is not the caller's. How: another session holds the unique key, and the caller's
// patience ends.
TEST_F(MysqlInside, AnErrorLeavesTheTransactionAsItWas) {
  Task unique = task("one");
  unique.unique = Unique{.key = "k"};
  Application other;
  other.run("BEGIN");
  MysqlTransaction theirs{other.handle()};
  EXPECT_EQ(put(unique, &theirs).put, Put::created);
  app_->run("SET innodb_lock_wait_timeout = 1; BEGIN; INSERT INTO orders VALUES (1)");
  MysqlTransaction ours{app_->handle()};
  unique.ref.id = "two";
  EXPECT_THAT(refusal([&] { put(unique, &ours); }, ErrorKind::timed_out), HasSubstr("begin it again"));
  EXPECT_EQ(put(task("three"), &ours).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_EQ(other.run("ROLLBACK"), "");
  EXPECT_EQ(app_->one("SELECT count(*) FROM orders"), "1");
  EXPECT_TRUE(get("three"));
  EXPECT_FALSE(get("one"));
  EXPECT_FALSE(get("two"));
}

// Why: what can't be right is said before anything is written, and harms nothing.
TEST_F(MysqlInside, AWrongTransactionIsRefused) {
  MysqlTransaction transaction{app_->handle()};
  EXPECT_THAT(refusal([&] { put(task("a"), &transaction); }), HasSubstr("BEGIN"));
  app_->run("START TRANSACTION READ ONLY");
  EXPECT_THAT(refusal([&] { put(task("a"), &transaction); }), HasSubstr("read only"));
  EXPECT_EQ(app_->run("COMMIT"), "");

  class Other : public Transaction {
  } other;
  EXPECT_THAT(refusal([&] { put(task("a"), &other); }), HasSubstr("MysqlTransaction"));
  EXPECT_FALSE(get("a"));
}

// Why: a transaction may stay open for minutes, and the queue must not. How: two of them, with everything
// that a worker does in between, of a plain queue and of a group.
TEST_F(MysqlInside, NobodyWaitsForAnOpenTransaction) {
  put(task("before"));
  Task member = task("member 1");
  member.state = State::aggregating;
  member.group = "g";
  put(member);
  Application second;
  app_->run("BEGIN");
  second.run("BEGIN");
  MysqlTransaction first_transaction{app_->handle()};
  MysqlTransaction second_transaction{second.handle()};
  const auto grouped = [&](std::string id) {
    member.ref.id = std::move(id);
    return member;
  };
  EXPECT_EQ(put(task("one"), &first_transaction).put, Put::created);
  EXPECT_EQ(put(grouped("member 2"), &first_transaction).put, Put::created);
  EXPECT_EQ(put(task("two"), &second_transaction).put, Put::created);
  EXPECT_EQ(put(grouped("member 3"), &second_transaction).put, Put::created);

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
  EXPECT_EQ(second.run("COMMIT"), "");
  EXPECT_EQ(count(State::pending), 2U);
  EXPECT_EQ(count(State::aggregating), 4U);
  sweep();
  EXPECT_EQ(count(State::pending), 2U);
  EXPECT_THAT(claim(), UnorderedElementsAre("one", "two"));
  const Gathered later = store_->groups()->gather(gather, call());
  ASSERT_EQ(later.sets.size(), 1U);
  EXPECT_EQ(later.sets[0].tasks.size(), 2U);
}

// Why: the caller's transaction sees others' rows as they were when it began, and a unique key that was taken
// since is taken all the same.
TEST_F(MysqlInside, AKeyThatWasTakenSinceTheTransactionBeganIsSeen) {
  put(task("first"));
  app_->run("START TRANSACTION WITH CONSISTENT SNAPSHOT");
  Task keyed = task("theirs");
  keyed.unique = Unique{.key = "k"};
  EXPECT_EQ(put(keyed).put, Put::created);
  MysqlTransaction transaction{app_->handle()};
  keyed.ref.id = "ours";
  const Enqueued answer = put(keyed, &transaction);
  EXPECT_EQ(answer.put, Put::exists);
  EXPECT_EQ(answer.id, "theirs");
  EXPECT_EQ(put(task("theirs"), &transaction).put, Put::exists);
  EXPECT_EQ(put(task("another"), &transaction).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_THAT(claim(), UnorderedElementsAre("first", "theirs", "another"));
}

// Why: counts are exact at once, and stay so when a sweep folds the deltas in.
TEST_F(MysqlInside, ASweepFoldsTheDeltasIn) {
  MysqlTransaction transaction{app_->handle()};
  for (int i = 0; i < 3; ++i) {
    app_->run("BEGIN");
    put(task("t" + std::to_string(i)), &transaction);
    app_->run("COMMIT");
  }
  EXPECT_EQ(app_->one("SELECT COUNT(*) FROM " + prefix_ + "delta"), "3");
  EXPECT_EQ(count(State::pending), 3U);
  sweep();
  EXPECT_EQ(app_->one("SELECT COUNT(*) FROM " + prefix_ + "delta"), "0");
  EXPECT_EQ(count(State::pending), 3U);
}

TEST_F(MysqlInside, TheCommitWakesAWorker) {
  const auto ids = claimed_beside([&] {
    app_->run("BEGIN");
    MysqlTransaction transaction{app_->handle()};
    put(task("a"), &transaction);
    app_->run("COMMIT");
  });
  EXPECT_THAT(ids, ElementsAre("a"));
}

// Why: the server rolls back all of a transaction that meets a deadlock, and then nothing of it may be
// written. How: two transactions, each of which wants the key that the other has.
TEST_F(MysqlInside, ADeadlockIsToldAndLeavesNothing) {
  const auto keyed = [](std::string id, std::string key) {
    Task one = task(std::move(id));
    one.unique = Unique{.key = std::move(key)};
    return one;
  };
  Application second;
  app_->run("BEGIN");
  second.run("BEGIN; INSERT INTO orders VALUES (1), (2), (3)");
  MysqlTransaction ours{app_->handle()};
  MysqlTransaction theirs{second.handle()};
  EXPECT_EQ(put(keyed("a", "k1"), &ours).put, Put::created);
  EXPECT_EQ(put(keyed("b", "k2"), &theirs).put, Put::created);
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
      wants("c", "k1", theirs, failed[1]);
      if (failed[1]) second.run("ROLLBACK");
    }};
    wants("d", "k2", ours, failed[0]);
    app_->run("ROLLBACK");
  }
  ASSERT_TRUE(failed[0] || failed[1]);
  EXPECT_THAT((failed[0] ? failed[0] : failed[1])->what(), HasSubstr("begin it again"));
  second.run("ROLLBACK");
  for (const char* const id : {"a", "b", "c", "d"}) EXPECT_FALSE(get(id)) << id;
  EXPECT_EQ(count(State::pending), 0U);
}

// Why: any program may enqueue that speaks SQL. How: a plain INSERT, in a transaction that is rolled back and
// in one that is not.
TEST_F(MysqlInside, APlainInsertWakesAWorker) {
  const std::string insert =
      "INSERT INTO " + prefix_ + "task (queue, id, kind, payload) VALUES ('q', 'by hand', 'k', 'hello')";
  EXPECT_EQ(app_->run("BEGIN; " + insert + "; ROLLBACK"), "");
  EXPECT_FALSE(get("by hand"));
  EXPECT_THAT(claimed_beside([&] { EXPECT_EQ(app_->run(insert), ""); }), ElementsAre("by hand"));
  EXPECT_EQ(count(State::active), 1U);
  ASSERT_TRUE(get("by hand"));
  EXPECT_EQ(get("by hand")->payload, "hello");
}

}  // namespace tidemill::contract
