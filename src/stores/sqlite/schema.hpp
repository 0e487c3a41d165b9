#pragma once

#include <string>

#include <tidemill/store.hpp>

#include "drivers/sqlite/sqlite.hpp"

/// The tables in an SQLite file, and how a file of an older version comes up to date. Applications share the
/// file: all names begin with tidemill_, and nothing of the file as a whole (application_id, user_version) is
/// ours.
namespace tidemill::sqlite_store {

/// The version that this library reads and writes.
int schema_version() noexcept;

/// The version of the file; zero: there is nothing of ours.
int read_schema_version(sqlite::Connection& db);

/// Turns on the write-ahead log and applies what is missing. Several processes may do so at once.
/// Throws Error{unavailable} for a newer schema, and `Failure` for what SQLite refuses.
Migration migrate_schema(sqlite::Connection& db, const std::string& path);

/// Throws Error{unavailable} that says what to do, unless the schema is as `schema_version` says.
void check_schema(sqlite::Connection& db, const std::string& path);

/// The view `tidemill_task` with its INSTEAD OF trigger, as version 1 has it.
std::string plain_sql_view();

}  // namespace tidemill::sqlite_store
