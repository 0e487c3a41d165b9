#pragma once

#include <memory>
#include <string_view>

#include <tidemill/clock.hpp>
#include <tidemill/store.hpp>

namespace tidemill {

/// Throws Error{invalid} that says what is wrong with the URL. Asks nobody.
void check_mysql_url(std::string_view url);

/// Opens the store in a database of MariaDB, version 10.6 or later, or MySQL, 8.0.19 or later. The database
/// may be the application's own: the names of all that is made in it begin with the URL's prefix. `clock` is
/// where the store's time comes from, and must outlive it; null: the server's. Without `migrate` an older
/// schema is an error. Throws Error{invalid} or {unavailable}.
std::unique_ptr<Store> open_mysql(std::string_view url, const Clock* clock, bool migrate);

/// Brings the schema up to date, and says what was done. Throws as `open_mysql` does.
Migration migrate_mysql(std::string_view url);

}  // namespace tidemill
