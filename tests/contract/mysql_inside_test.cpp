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

#include "application.hpp"
#include "contract/contract.hpp"
#include "handles.hpp"
#include "mysql_server.hpp"
#include "process.hpp"

namespace tidemill::contract {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
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

}  // namespace

class MysqlInside : public ::testing::TestWithParam<Library> {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_MYSQL();
    if (GetParam().connect != nullptr) TIDEMILL_NEEDS_HANDLE(GetParam().connect(url()));
    static int count = 0;
    prefix_ = "inside" + std::to_string(++count) + "_";
    store_ = open(url("prefix=" + prefix_));
    app_ = connect();
    app_->run("DROP TABLE IF EXISTS orders; CREATE TABLE orders (id INT PRIMARY KEY)");
  }

  static std::string url(const std::string& query = {}) {
    return tidemill::testing::shared_mysql().url(query);
  }
  static std::unique_ptr<Application> connect() {
    if (GetParam().connect == nullptr) return std::make_unique<OnLibmariadb>();
    return std::make_unique<OnHandle>(GetParam().connect(url()));
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
  std::unique_ptr<Application> app_;
};

// Why: the task exists if and only if the caller's rows do. How: commit and roll back, each with names that
// are new, and use the same names again.
TEST_P(MysqlInside, ATaskSharesTheFateOfTheTransaction) {
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
TEST_P(MysqlInside, AConflictLeavesTheTransactionWhole) {
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
TEST_P(MysqlInside, AnErrorLeavesTheTransactionAsItWas) {
  Task unique = task("one");
  unique.unique = Unique{.key = "k"};
  const auto other = connect();
  other->run("BEGIN");
  EXPECT_EQ(put(unique, other->transaction()).put, Put::created);
  app_->run("SET innodb_lock_wait_timeout = 1; BEGIN; INSERT INTO orders VALUES (1)");
  unique.ref.id = "two";
  EXPECT_THAT(refusal([&] { put(unique, app_->transaction()); }, ErrorKind::timed_out),
              HasSubstr("begin it again"));
  EXPECT_EQ(put(task("three"), app_->transaction()).put, Put::created);
  EXPECT_EQ(app_->run("COMMIT"), "");
  EXPECT_EQ(other->run("ROLLBACK"), "");
  EXPECT_EQ(app_->one("SELECT count(*) FROM orders"), "1");
  EXPECT_TRUE(get("three"));
  EXPECT_FALSE(get("one"));
  EXPECT_FALSE(get("two"));
}

// Why: what can't be right is said before anything is written, and harms nothing.
TEST_P(MysqlInside, AWrongTransactionIsRefused) {
  EXPECT_THAT(refusal([&] { put(task("a"), app_->transaction()); }), HasSubstr("BEGIN"));
  app_->run("START TRANSACTION READ ONLY");
  EXPECT_THAT(refusal([&] { put(task("a"), app_->transaction()); }), HasSubstr("read only"));
  EXPECT_EQ(app_->run("COMMIT"), "");

  class Other : public Transaction {
  } other;
  EXPECT_THAT(refusal([&] { put(task("a"), &other); }), HasSubstr("MysqlTransaction"));
  EXPECT_FALSE(get("a"));
}

// Why: a transaction may stay open for minutes, and the queue must not. How: two of them, with everything
// that a worker does in between, of a plain queue and of a group.
TEST_P(MysqlInside, NobodyWaitsForAnOpenTransaction) {
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

// Why: counts are exact at once, and stay so when a sweep folds the deltas in.
TEST_P(MysqlInside, ASweepFoldsTheDeltasIn) {
  for (int i = 0; i < 3; ++i) {
    app_->run("BEGIN");
    put(task("t" + std::to_string(i)), app_->transaction());
    app_->run("COMMIT");
  }
  EXPECT_EQ(app_->one("SELECT COUNT(*) FROM " + prefix_ + "delta"), "3");
  EXPECT_EQ(count(State::pending), 3U);
  sweep();
  EXPECT_EQ(app_->one("SELECT COUNT(*) FROM " + prefix_ + "delta"), "0");
  EXPECT_EQ(count(State::pending), 3U);
}

TEST_P(MysqlInside, TheCommitWakesAWorker) {
  const auto ids = claimed_beside([&] {
    app_->run("BEGIN");
    put(task("a"), app_->transaction());
    app_->run("COMMIT");
  });
  EXPECT_THAT(ids, ElementsAre("a"));
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

// Why: any program may enqueue that speaks SQL. How: a plain INSERT, in a transaction that is rolled back and
// in one that is not.
TEST_P(MysqlInside, APlainInsertWakesAWorker) {
  const std::string insert =
      "INSERT INTO " + prefix_ + "task (queue, id, kind, payload) VALUES ('q', 'by hand', 'k', 'hello')";
  EXPECT_EQ(app_->run("BEGIN; " + insert + "; ROLLBACK"), "");
  EXPECT_FALSE(get("by hand"));
  EXPECT_THAT(claimed_beside([&] { EXPECT_EQ(app_->run(insert), ""); }), ElementsAre("by hand"));
  EXPECT_EQ(count(State::active), 1U);
  ASSERT_TRUE(get("by hand"));
  EXPECT_EQ(get("by hand")->payload, "hello");
}

// Why: what a task holds is bytes, whatever the library between makes of them. How: all bytes in the payload,
// marks that libraries look for, and ids of both sorts.
TEST_P(MysqlInside, AllOfATaskGetsThere) {
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

INSTANTIATE_TEST_SUITE_P(Each, MysqlInside,
                         ::testing::Values(Library{"libmariadb", nullptr},
                                           Library{"SOCI", &soci_mysql_handle}),
                         &library_name);

}  // namespace tidemill::contract
