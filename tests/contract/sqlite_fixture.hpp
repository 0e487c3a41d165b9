#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/store.hpp>

#include "contract/contract.hpp"
#include "core/uuid.hpp"
#include "refusal.hpp"
#include "stores/sqlite/sqlite_store.hpp"

namespace tidemill::contract {

using tests::refusal;

/// A connection such as any program has that knows nothing of Tidemill.
class PlainSql {
 public:
  explicit PlainSql(const std::filesystem::path& path) {
    EXPECT_EQ(sqlite3_open(path.c_str(), &db_), SQLITE_OK);
    sqlite3_busy_timeout(db_, 5000);
  }
  PlainSql(const PlainSql&) = delete;
  PlainSql& operator=(const PlainSql&) = delete;
  ~PlainSql() { sqlite3_close(db_); }

  /// The error's text; empty: there was none.
  std::string run(const std::string& sql) {
    char* message = nullptr;
    sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, &message);
    std::string text = message == nullptr ? "" : message;
    sqlite3_free(message);
    return text;
  }

  /// All fields of all rows; NULL as "NULL".
  std::vector<std::string> rows(const std::string& sql) {
    std::vector<std::string> fields;
    const auto add = [](void* to, int count, char** values, char**) {
      for (int i = 0; i < count; ++i) {
        static_cast<std::vector<std::string>*>(to)->emplace_back(values[i] == nullptr ? "NULL" : values[i]);
      }
      return 0;
    };
    char* message = nullptr;
    sqlite3_exec(db_, sql.c_str(), add, &fields, &message);
    EXPECT_EQ(message, nullptr) << message;
    sqlite3_free(message);
    return fields;
  }
  std::string one(const std::string& sql) {
    const auto fields = rows(sql);
    return fields.size() == 1 ? fields[0] : "not one field";
  }

  sqlite3* handle() const { return db_; }

 private:
  sqlite3* db_ = nullptr;
};

/// What only the SQLite store has. Its tests use the machine's clock, as SQL does.
class SqliteStoreTest : public testing::Test {
 protected:
  std::filesystem::path path(const std::string& name = "jobs.db") const { return directory_.path() / name; }
  SqliteOptions options() const {
    // What is lost with the power is not what most of these tests are about.
    return {.path = path().string(), .full_sync = false};
  }
  Store& store() {
    if (!store_) store_ = open_sqlite(options());
    return *store_;
  }
  Catalog& catalog() { return *store().catalog(); }
  void close() { store_.reset(); }

  static Call call() { return {.now = Clock::system().now(), .deadline = {}}; }
  static Task task(std::string id, std::string queue = "q") {
    Task task;
    task.ref = {std::move(queue), std::move(id)};
    task.kind = "test:kind";
    task.payload = "payload";
    return task;
  }
  static Put put(Store& store, const Task& task, Transaction* inside = nullptr) {
    return store.enqueue({&task, 1}, call(), inside).at(0).put;
  }
  static std::vector<Lease> claim(Store& store, std::size_t most = 10, std::string_view queue = "q",
                                  std::string_view worker = "w") {
    const Want want{queue, most};
    const Claim claim{
        .worker = worker, .wants = {&want, 1}, .count_max = most, .lease = std::chrono::seconds{25}};
    return store.claim(claim, call()).leases;
  }
  static Reported end(Store& store, const Lease& lease, State to = State::gone) {
    Report report;
    report.lease = &lease;
    report.to = to;
    return store.report({&report, 1}, call()).at(0);
  }
  std::optional<Task> get(const std::string& id, const std::string& queue = "q") {
    const Ref ref{queue, id};
    return catalog().get({&ref, 1}, call()).at(0);
  }
  std::uint64_t count(State state, const std::string& queue = "q") {
    for (QueueInfo& info : catalog().queues(call())) {
      if (info.name == queue) return info.counts[state];
    }
    return 0;
  }

 private:
  Directory directory_;
  std::unique_ptr<Store> store_;
};

}  // namespace tidemill::contract
