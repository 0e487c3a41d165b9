#pragma once

#include <span>
#include <string_view>

#include <tidemill/store.hpp>

#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

/// True when nothing has run out, so that a sweep would write nothing.
bool sweep_nothing(Scope& scope, TimePoint now);

Swept sweep_all(Write& write, std::string_view worker, Duration lease, std::size_t limit, TimePoint now,
                std::size_t task_bytes_max);

}  // namespace tidemill::mysql_store
