#pragma once

#include <string>

#include <tidemill/store.hpp>

#include "drivers/mysql/mysql.hpp"

/// The tables in a database of MariaDB or MySQL, and how those of an older version come up to date.
/// Applications share the database: all names begin with the URL's prefix.
namespace tidemill::mysql_store {

/// The version that this library reads and writes.
int schema_version() noexcept;

/// Applies what is missing. Several processes may do so at once. `where` names the place in messages. Throws
/// Error{unavailable} for a newer schema, or for tables that aren't ours, and `Failure` for what the server
/// refuses.
Migration migrate_schema(mysql::Connection& db, const std::string& where);

/// Throws Error{unavailable} that says what to do, unless the schema is as `schema_version` says.
void check_schema(mysql::Connection& db, const std::string& where);

}  // namespace tidemill::mysql_store
