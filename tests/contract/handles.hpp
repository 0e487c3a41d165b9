#pragma once

#include <string>

#include <tidemill/sql.hpp>

/// Connections of other libraries, such as applications have them. Each call makes one, which ends with its
/// handle. An empty handle: the library is not installed.
namespace tidemill::contract {

bool has_pqxx() noexcept;
bool has_soci() noexcept;

SqlHandle pqxx_handle(const std::string& url);
SqlHandle soci_postgres_handle(const std::string& url);
SqlHandle soci_mysql_handle(const std::string& url);
SqlHandle soci_sqlite_handle(const std::string& path);

/// The first line of a test that needs the connection.
#define TIDEMILL_NEEDS_HANDLE(handle)                                                            \
  do {                                                                                           \
    if (!(handle)) GTEST_SKIP() << "libpqxx or SOCI is not installed; ./dev test installs them"; \
  } while (false)

}  // namespace tidemill::contract
