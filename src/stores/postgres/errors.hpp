#pragma once

#include <string>
#include <string_view>

#include <tidemill/error.hpp>

#include "drivers/postgres/failure.hpp"

namespace tidemill::postgres_store {

// SQLSTATEs that mean something of their own here.
inline constexpr std::string_view lock_not_available = "55P03";
inline constexpr std::string_view unique_violation = "23505";

/// PostgreSQL's refusal, or its silence, in the words of the port. `where` names the place.
Error to_error(const postgres::Failure& failure, const std::string& where);

}  // namespace tidemill::postgres_store
