#pragma once

#include <memory>
#include <string_view>

#include <tidemill/clock.hpp>
#include <tidemill/store.hpp>

namespace tidemill {

/// Throws Error{invalid} that says what is wrong with the URL. Asks nobody.
void check_postgres_url(std::string_view url);

/// Opens the store in a schema of a PostgreSQL database, version 13 or later. The schema may be the
/// application's own: all that is made in it is named tidemill_*. `clock` is where the store's time comes
/// from, and must outlive it; null: the server's. Without `migrate` an older schema is an error. Throws
/// Error{invalid} or {unavailable}.
std::unique_ptr<Store> open_postgres(std::string_view url, const Clock* clock, bool migrate);

/// Brings the schema up to date, and says what was done. Throws as `open_postgres` does.
Migration migrate_postgres(std::string_view url);

}  // namespace tidemill
