#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/mysql/database.hpp"
#include "stores/mysql/keyed.hpp"

namespace tidemill::mysql_store {

/// What is wrong with the task itself; empty: nothing.
std::string fault_of(const Task& task, std::size_t task_bytes_max);

/// Makes the names of their queues and kinds, which is best done before a transaction begins.
void intern_names(Write& write, std::span<const Task> tasks);

/// What one call enqueues. All calls of a transaction share one INSERT, if each gathers before any is put:
/// they are in order of the gathering. Expected conflicts raise no error in the database.
class Enqueuing {
 public:
  /// The tasks must outlive it.
  Enqueuing(std::span<const Task> tasks, TimePoint now, std::size_t task_bytes_max)
      : tasks_(tasks), now_(now), task_bytes_max_(task_bytes_max) {}
  Enqueuing(const Enqueuing&) = delete;
  Enqueuing& operator=(const Enqueuing&) = delete;

  /// Checks them, and leaves them to the first `put` of the transaction. May be called again in another one.
  void gather(Write& write);
  /// Once for each `gather`. Later tasks see earlier ones.
  std::vector<Enqueued> put(Write& write);

 private:
  const std::span<const Task> tasks_;
  const TimePoint now_;
  const std::size_t task_bytes_max_;
  std::vector<Entry> entries_;
  std::vector<Entry*> in_order_;  // Those that must look at each other.
};

/// Enqueues what nobody else's call comes with.
std::vector<Enqueued> enqueue_all(Write& write, std::span<const Task> tasks, TimePoint now,
                                  std::size_t task_bytes_max);

/// Whether the task will be created once those that leave, by the numbers of their rows, are erased: nobody
/// else has its id or its unique key.
bool fits_in(Write& write, const Task& task, std::span<const std::int64_t> leaving, TimePoint now,
             std::size_t task_bytes_max);

}  // namespace tidemill::mysql_store
