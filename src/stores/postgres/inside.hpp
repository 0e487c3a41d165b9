#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

/// The store that a caller's transaction must belong to.
struct Place {
  std::string schema = {};
  std::string where = {};     ///< For messages.
  std::int64_t identity = 0;  ///< Made with the tables: wherever it is read, there they are.
};

/// The store's identity. Throws Error{corrupt} when it is gone, and Failure.
std::int64_t identity_of(Scope& scope);

/// Enqueues on the caller's connection, in the transaction that is open there. Throws Error, and leaves the
/// transaction as it was.
std::vector<Enqueued> enqueue_inside(Transaction& transaction, const Place& place, Naming& naming,
                                     std::span<const Task> tasks, TimePoint now, std::size_t task_bytes_max);

}  // namespace tidemill::postgres_store
