#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/store.hpp>

#include "drivers/sql/text.hpp"

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

/// A store in a database server, and a connection such as any program has that knows nothing of Tidemill.
/// `Driver` has Connection and Failure, and `as_text`, which behind a value makes it text.
template <class Driver>
class SqlStoreTest : public ::testing::Test {
 protected:
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
  /// The message of what the server refuses.
  std::string refusal(const std::string& sql) {
    try {
      direct_->execute(sql);
    } catch (const typename Driver::Failure& failure) {
      return failure.what();
    }
    return {};
  }
  /// The one field of the one row.
  std::string one(const std::string& sql) {
    texts_.push_back("SELECT (" + sql + ")" + Driver::as_text);
    sqls_.push_back(std::make_unique<sql::Sql>(sql::Sql{texts_.back().c_str()}));
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

  std::optional<typename Driver::Connection> direct_;
  std::unique_ptr<Store> store_;

 private:
  std::list<std::string> texts_;
  std::vector<std::unique_ptr<sql::Sql>> sqls_;
};

}  // namespace tidemill::contract
