#pragma once

#include <chrono>
#include <string_view>

#include <tidemill/store.hpp>

#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

/// The `find` of the catalogue: `sql_store::find_page` over this database.
Page find_tasks(Scope& scope, const Filter& filter, std::string_view cursor, std::size_t limit,
                Duration budget, const Clock& clock, TimePoint now);

}  // namespace tidemill::postgres_store
