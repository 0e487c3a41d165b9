#pragma once

#include <chrono>
#include <string_view>

#include <tidemill/store.hpp>

#include "stores/postgres/scope.hpp"

namespace tidemill::postgres_store {

/// The `find` of the catalogue: reads along the index of places, queue by queue and state by state, and stops
/// at `until` by the steady time of `clock`. Throws Error{invalid} for a cursor that is none.
Page find_tasks(Scope& scope, const Filter& filter, std::string_view cursor, std::size_t limit,
                Duration budget, const Clock& clock, TimePoint now);

}  // namespace tidemill::postgres_store
