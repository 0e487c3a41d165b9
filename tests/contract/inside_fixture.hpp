#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/store.hpp>

#include "application.hpp"
#include "contract/contract.hpp"
#include "handles.hpp"
#include "refusal.hpp"

namespace tidemill::contract {

using tests::refusal;

/// A database where an application has its tables, a store beside them, and what is said there in its own
/// way.
class Database {
 public:
  Database() = default;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  virtual ~Database() = default;

  virtual std::string url() const = 0;
  /// Of tables that no other test has.
  virtual std::unique_ptr<Store> open_store() const = 0;
  /// By the database's own library.
  virtual std::unique_ptr<Application> connect() const = 0;
  /// For each new connection, until the tables are found and nothing is said that nobody wants to know.
  virtual std::string greeting() const { return "SELECT 1"; }
  /// In front of the names of the store's tables; `task` is for plain INSERTs.
  virtual std::string prefix() const = 0;
  /// Begins a transaction that waits for locks for a short time only.
  virtual std::string begin_impatiently() const = 0;
  virtual std::string begin_read_only() const = 0;
  /// Of the class that callers hand over.
  virtual std::string transaction() const = 0;
};

/// An application's library, and where it connects to.
struct Program {
  const char* name;
  /// Null: there is no server, and the test is skipped.
  std::unique_ptr<Database> (*database)();
  SqlHandle (*connect)(const std::string& url);  ///< Null: the database's own library.
};

inline std::string program_name(const ::testing::TestParamInfo<Program>& its) { return its.param.name; }

/// A store, and an application that knows nothing of it but its handle for transactions.
class SqlInside : public ::testing::TestWithParam<Program> {
 protected:
  void SetUp() override {
    database_ = GetParam().database();
    if (!database_) GTEST_SKIP() << "the server is not installed; ./dev test installs it";
    if (GetParam().connect != nullptr) TIDEMILL_NEEDS_HANDLE(GetParam().connect(database_->url()));
    store_ = database_->open_store();
    app_ = connect();
    app_->run("DROP TABLE IF EXISTS orders; CREATE TABLE orders (id integer PRIMARY KEY)");
  }

  std::unique_ptr<Application> connect() const {
    std::unique_ptr<Application> made;
    if (GetParam().connect == nullptr) {
      made = database_->connect();
    } else {
      made = std::make_unique<OnHandle>(GetParam().connect(database_->url()));
    }
    EXPECT_EQ(made->run(database_->greeting()), "");
    return made;
  }
  /// As long as a test waits that must not wait.
  Call call(std::chrono::milliseconds patience = std::chrono::seconds{10}) {
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
  /// What a worker that waits gets while `body` runs beside it. It may be woken for nothing, too.
  template <class F>
  std::vector<std::string> claimed_beside(F&& body) {
    const std::vector<std::string_view> queues{"q"};
    std::vector<std::string> ids = claim();
    EXPECT_THAT(ids, ::testing::IsEmpty());
    std::thread waiter{[&] {
      const auto until = std::chrono::steady_clock::now() + std::chrono::minutes{1};
      while (ids.empty() && std::chrono::steady_clock::now() < until) {
        store_->wait("w", queues, std::chrono::minutes{1}, {});
        ids = claim();
      }
    }};
    body();
    waiter.join();
    return ids;
  }

  std::unique_ptr<Database> database_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Application> app_;
};

/// Its tests are those of what all such databases do alike: inside_test.cpp.
class EachInside : public SqlInside {};

}  // namespace tidemill::contract
