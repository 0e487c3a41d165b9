#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tidemill/error.hpp>
#include <tidemill/store.hpp>

#include "core/group_commit.hpp"
#include "drivers/sqlite/sqlite.hpp"
#include "stores/sql/hub.hpp"
#include "stores/sqlite/write.hpp"

namespace tidemill::sqlite_store {

/// Opens the file as the store uses it; errors are `Error`s that say what would be right.
std::unique_ptr<sqlite::Connection> open_connection(const std::string& path,
                                                    const sqlite::ConnectionOptions& options);

/// SQLite's refusal in the words of the port.
Error to_error(const sqlite::Failure& failure, const std::string& path);

/// What one caller wants written.
struct Operation {
  /// Writes, and puts down the answer. May be run again after a rollback, so it must set its answer anew.
  std::function<void(Write&)> apply;
  /// Answers by reading alone and returns true, if there is nothing to write.
  std::function<bool(Scope&)> read = {};
  std::size_t tasks = 1;
  std::size_t bytes = 0;
  bool sync = true;  ///< False: a power failure may undo it even after it was acknowledged.
  bool urgent = false;
  std::chrono::steady_clock::time_point deadline = {};  ///< The epoch: none but the store's own.
  std::exception_ptr error = {};
};

/// The one writer of a store object. Callers' operations gather while a transaction is under way, and the
/// next one takes what has gathered; each caller gets its answer when that has been committed.
///
/// Thread safety: all members may be called from any thread.
class Lane {
 public:
  struct Options {
    std::string path = {};
    bool full_sync = true;
    std::chrono::milliseconds busy_timeout{5000};
  };

  /// `cache` and `hub` must outlive it.
  Lane(Options options, NameCache& cache, Hub& hub);

  /// Returns when it is committed. Throws its error.
  void run(Operation operation);

  /// Finds out whether others have written, unless a transaction is under way: that will.
  void look() noexcept;

 private:
  using Steady = std::chrono::steady_clock;

  static bool fits(std::span<Operation* const> gathered, const Operation& next);
  void flush(std::span<Operation* const> operations) noexcept;
  /// Takes out those whose callers must give up; true if there were any.
  bool expire(std::vector<Operation*>& operations) const;
  /// Takes out those that need no write.
  void answer_by_reading(std::vector<Operation*>& operations);
  /// Takes out the first operations, those that went into one transaction.
  void write_some(std::vector<Operation*>& operations);
  std::size_t transaction(std::span<Operation* const> operations);
  void begin(std::span<Operation* const> operations);
  void each_alone(std::span<Operation* const> operations);
  void publish() noexcept;
  void roll_back() noexcept;
  void open();
  void set_sync(bool full);
  void notice_foreign_writes();
  void recover(const sqlite::Failure& failure);

  const Options options_;
  NameCache& cache_;
  Hub& hub_;
  // All below belongs to whoever leads.
  std::unique_ptr<sqlite::Connection> db_;
  std::unique_ptr<Write> write_;
  std::optional<bool> synced_;
  Steady::time_point patience_end_{};  // When a flush that meets another's lock gives up.
  std::optional<std::int64_t> data_version_;
  std::optional<sqlite::LogHeader> log_header_;  // As it was before data_version_ was read.
  std::int64_t signals_ = 0;
  GroupCommit<Operation> group_;
};

}  // namespace tidemill::sqlite_store
