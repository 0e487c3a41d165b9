#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/sql.hpp>
#include <tidemill/store.hpp>

#include "handles.hpp"

/// Programs whose transactions tasks are enqueued in.
namespace tidemill::contract {

/// A connection such as any program has that knows nothing of Tidemill.
class Application {
 public:
  Application() = default;
  Application(const Application&) = delete;
  Application& operator=(const Application&) = delete;
  virtual ~Application() = default;
  /// The error's text; empty: there was none.
  virtual std::string run(const std::string& sql) = 0;
  /// The first column of all rows.
  virtual std::vector<std::string> rows(const std::string& sql) = 0;
  virtual Transaction* transaction() = 0;

  std::string one(const std::string& sql) {
    const auto fields = rows(sql);
    return fields.size() == 1 ? fields[0] : "not one row";
  }
};

/// On a connection of another library, where statements go one by one.
class OnHandle : public Application {
 public:
  explicit OnHandle(SqlHandle handle) : handle_(std::move(handle)), transaction_(handle_) {}
  std::string run(const std::string& sql) override {
    try {
      for (std::size_t begin = 0; begin < sql.size();) {
        const std::size_t end = std::min(sql.find(';', begin), sql.size());
        handle_.execute(sql.substr(begin, end - begin));
        begin = end + 1;
      }
      return {};
    } catch (const Error& error) {
      return error.what();
    }
  }
  std::vector<std::string> rows(const std::string& sql) override {
    std::vector<std::string> fields;
    for (SqlRow& row : handle_.query(sql)) fields.push_back(row.at(0).value_or("NULL"));
    return fields;
  }
  Transaction* transaction() override { return &transaction_; }

 private:
  SqlHandle handle_;
  SqlTransaction transaction_;
};

}  // namespace tidemill::contract
