#pragma once

#include <functional>
#include <memory>

#include <tidemill/sql.hpp>

#include "drivers/sql/session.hpp"

namespace tidemill::sql_store {

/// The application's connection, as drivers know such, for a transaction of the application's: nobody else's
/// call comes between as long as it lives. Throws Error{closed} for an empty handle.
std::unique_ptr<sql::Session> session_of(const SqlHandle& handle);

/// Those that `connect` gives, for a driver that would connect by itself. What throws there can't be reached;
/// a connection that is given twice at a time is Error{invalid}.
sql::Sessions sessions_of(std::function<SqlHandle()> connect);

}  // namespace tidemill::sql_store
