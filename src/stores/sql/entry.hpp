#pragma once

#include <cstdint>

#include <tidemill/store.hpp>

namespace tidemill::sql_store {

/// A task that is to be taken in, and what became of it.
struct Entry {
  const Task* task = nullptr;
  TimePoint now{};
  Enqueued answer = {};
  std::int64_t queue = 0, kind = 0;
  std::int64_t seq = 0;  ///< That it will have; 0: the next.
};

inline void exists(Entry& entry) {
  entry.answer = {Put::exists, entry.task->ref.id, "a task with this id is there already"};
}

}  // namespace tidemill::sql_store
