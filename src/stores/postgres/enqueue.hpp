#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/postgres/write.hpp"

namespace tidemill::postgres_store {

/// Whether the task can be taken in without a look at others: it has no unique key, and no schedule fires it.
bool plain(const Task& task);

/// Makes the names of their queues and kinds, which is best done before a transaction begins.
void intern_names(Write& write, std::span<const Task> tasks);

/// Enqueues in order, so that later ones see earlier ones. Expected conflicts raise no error in the database.
std::vector<Enqueued> enqueue_all(Write& write, std::span<const Task> tasks, TimePoint now,
                                  std::size_t task_bytes_max);

/// Whether the task will be created once those that leave, by the numbers of their rows, are erased: nobody
/// else has its id or its unique key.
bool fits_in(Write& write, const Task& task, std::span<const std::int64_t> leaving, TimePoint now,
             std::size_t task_bytes_max);

/// For the size of a transaction.
std::size_t bytes_of(std::span<const Task> tasks);

}  // namespace tidemill::postgres_store
