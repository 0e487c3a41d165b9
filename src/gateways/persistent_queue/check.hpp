#pragma once

#include <tidemill/persistent_queue.hpp>

namespace tidemill::persistent_queue {

/// Throws Error{invalid} for options that make no sense, before any database is asked; then for a connection
/// that isn't one: "wrong db engine".
void check(const TableOptions& options);

}  // namespace tidemill::persistent_queue
