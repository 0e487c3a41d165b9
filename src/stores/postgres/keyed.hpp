#pragma once

#include <cstddef>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

/// A task that is to be taken in, and what became of it.
struct Entry {
  const Task* task = nullptr;
  TimePoint now{};
  Enqueued answer = {};
  std::int64_t queue = 0, kind = 0;
  std::int64_t seq = 0;  ///< That it will have; 0: the next.
};

/// Inserts tasks; the answers are `created` or `exists`. Those whose ids come twice must have a number.
void insert_tasks(Write& write, const std::vector<Entry*>& entries);

/// Takes in tasks of which some have unique keys or are fired by schedules, in order.
void enqueue_in_order(Write& write, const std::vector<Entry*>& entries, TimePoint now);

/// Who has a unique key.
struct Holder {
  std::string id = {};
  std::int64_t seq = 0;
  State state = State::gone;
  bool started = false;  ///< So that it can't be replaced any more.
  bool outlives_task = false;
};
/// One for each key of a queue; none: it is free.
std::vector<std::optional<Holder>> find_holders(Write& write, const std::vector<const Entry*>& entries,
                                                TimePoint now);

}  // namespace tidemill::postgres_store
