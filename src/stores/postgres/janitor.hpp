#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <stop_token>
#include <thread>

#include "drivers/postgres/postgres.hpp"

namespace tidemill::postgres_store {

/// Has dead rows of the table of tasks cleared away. Whatever looks for the first task of a line steps over
/// all that were first since the last vacuum, and autovacuum looks once a minute: by then a busy queue has a
/// million of them.
///
/// Thread safety: all members may be called from any thread.
class Janitor {
 public:
  /// Nothing is begun before it is needed.
  explicit Janitor(postgres::Options server) : server_(std::move(server)) {}
  ~Janitor();
  Janitor(const Janitor&) = delete;
  Janitor& operator=(const Janitor&) = delete;

  /// So many rows have been written over or deleted.
  void died(std::int64_t rows);

 private:
  void work(const std::stop_token& stop);

  const postgres::Options server_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::int64_t dead_ = 0;  // Guarded by mutex_.
  std::jthread thread_;    // Guarded by mutex_.
};

}  // namespace tidemill::postgres_store
