#pragma once

#include <memory>

#include <tidemill/sql.hpp>

#include "drivers/sql/session.hpp"

namespace tidemill::sql_store {

/// The application's connection, as drivers know such. Nobody else's call comes between as long as it lives.
/// Throws Error{closed} for an empty handle.
std::unique_ptr<sql::Session> session_of(SqlHandle handle);

}  // namespace tidemill::sql_store
