#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <tidemill/task.hpp>

/// Tasks that are to be taken in, as far as no database is asked.
namespace tidemill::sql_store {

/// What is wrong with the task itself; empty: nothing.
std::string fault_of(const Task& task, std::size_t bytes_max);

/// Whether the task can be taken in without a look at others: it has no unique key, and no schedule fires it.
inline bool plain(const Task& task) { return !task.unique && !task.firing; }

/// For the size of a transaction.
std::size_t bytes_of(std::span<const Task> tasks);

/// All that is stored as NULL in most tasks is so in this one.
bool usual(const Task& task);

/// When it is due, or since when it is in its state.
TimePoint at_of(const Task& task, TimePoint now);

}  // namespace tidemill::sql_store
