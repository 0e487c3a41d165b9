#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <tidemill/error.hpp>
#include <tidemill/store.hpp>

#include "drivers/mysql/mysql.hpp"
#include "mysql_server.hpp"

namespace tidemill::contract {

inline Task plain_task(std::string id, std::string queue = "q") {
  Task task;
  task.ref = {std::move(queue), std::move(id)};
  task.kind = "kind";
  task.payload = "payload";
  return task;
}

inline Task keyed_task(std::string id, std::string key) {
  Task one = plain_task(std::move(id));
  one.unique = Unique{.key = std::move(key)};
  return one;
}

/// Each test has a prefix of its own, and a connection such as any program has that knows nothing of
/// Tidemill.
class MysqlStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    TIDEMILL_NEEDS_MYSQL();
    static int count = 0;
    prefix_ = "store" + std::to_string(++count) + "_";
    direct_.emplace(mysql::parse_url(url()));
    store_ = open(url());
  }

  std::string query() const { return "prefix=" + prefix_; }
  std::string url(const std::string& more = {}) const { return testing::shared_mysql().url(query() + more); }

  static Call call_of(Store& store) {
    static std::atomic<std::uint64_t> calls{0};
    return {.now = store.now(), .session = 7, .number = ++calls, .deadline = {}};
  }
  Call call() { return call_of(*store_); }
  static Enqueued put(Store& store, const Task& task) {
    return store.enqueue({&task, 1}, call_of(store)).at(0);
  }
  Enqueued put(const Task& task) { return put(*store_, task); }
  static Claimed claim(Store& store, std::size_t most = 10, std::string_view queue = "q") {
    const Want want{queue, most};
    return store.claim(
        {.worker = "w", .wants = {&want, 1}, .count_max = most, .lease = std::chrono::seconds{25}},
        call_of(store));
  }
  std::map<State, std::uint64_t> counts(const std::string& queue = "q") {
    for (const QueueInfo& info : store_->catalog()->queues(call())) {
      if (info.name == queue) return info.counts;
    }
    return {};
  }

  void run(const std::string& sql) { direct_->execute(sql); }
  /// The message of what MariaDB refuses.
  std::string refusal(const std::string& sql) {
    try {
      direct_->execute(sql);
    } catch (const mysql::Failure& failure) {
      return failure.what();
    }
    return {};
  }
  /// Ends all other connections to the server.
  void kill_others() {
    static constexpr mysql::Sql others{
        "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'root'"};
    auto row = direct_->query(others);
    while (row.step()) (void)refusal(fmt::format("KILL {}", row.integer(0)));
  }
  /// The one field of the one row.
  std::string one(const std::string& sql) {
    texts_.push_back("SELECT (" + sql + ")");
    sqls_.push_back(std::make_unique<mysql::Sql>(mysql::Sql{texts_.back().c_str()}));
    auto row = direct_->query(*sqls_.back());
    return row.step() ? std::string{row.bytes(0)} : std::string{"no row"};
  }
  static std::optional<Error> error_of(const auto& what) {
    try {
      what();
    } catch (const Error& error) {
      return error;
    }
    return {};
  }

  std::string prefix_;
  std::optional<mysql::Connection> direct_;
  std::unique_ptr<Store> store_;

 private:
  std::list<std::string> texts_;
  std::vector<std::unique_ptr<mysql::Sql>> sqls_;
};

}  // namespace tidemill::contract
