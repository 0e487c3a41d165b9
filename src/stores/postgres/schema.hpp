#pragma once

#include <string>

#include <tidemill/store.hpp>

#include "drivers/postgres/postgres.hpp"

/// The tables in a schema of a PostgreSQL database, and how those of an older version come up to date.
/// Applications share the schema: all names begin with tidemill_.
namespace tidemill::postgres_store {

/// The version that this library reads and writes.
int schema_version() noexcept;

/// Applies what is missing, the schema itself too. Several processes may do so at once. `where` names the
/// place in messages. Throws Error{unavailable} for a newer schema, or for tables that aren't ours, and
/// `Failure` for what PostgreSQL refuses.
Migration migrate_schema(postgres::Connection& db, const std::string& where);

/// Throws Error{unavailable} that says what to do, unless the schema is as `schema_version` says.
void check_schema(postgres::Connection& db, const std::string& where);

/// The view `tidemill_task` with its INSTEAD OF trigger, as version 1 has it.
std::string plain_sql_view();

/// What the processes on this schema tell each other by NOTIFY: a database's channels are shared by all its
/// schemas.
std::string channel_of(const std::string& quoted_schema);

}  // namespace tidemill::postgres_store
