#pragma once

#include <cstddef>

#include <tidemill/clock.hpp>

#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

/// Whether plain SQL has brought tasks: there is a row.
extern const Sql any_in_inbox;

/// Takes in what plain SQL has brought, some hundreds at most. What can't be taken in stays, with the reason
/// in its column `error`, and is not tried again until that is NULL.
void take_inbox(Write& write, TimePoint now, std::size_t task_bytes_max);

}  // namespace tidemill::mysql_store
