#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "drivers/sql/session.hpp"

namespace tidemill::postgres {

/// Which server, and how to speak to it.
struct Options {
  /// libpq's names and values: host, port, user, password, dbname, sslmode … What is missing libpq takes
  /// from its own places (PGUSER, PGPASSFILE …).
  std::vector<std::pair<std::string, std::string>> parameters = {};
  std::string schema = "public";  ///< What the statements call `main`.
  bool prepared = true;           ///< False: each statement is parsed each time, as some poolers want it.
  std::chrono::milliseconds connect_timeout{5000};
  /// Somebody else's connections, in place of those that libpq would make. They are of one database.
  sql::Sessions sessions = {};
};

/// Reads `postgres://[USER[:PASSWORD]@][HOST[:PORT][,…]][/DATABASE][?name=value&…]` or `postgresql://…`.
/// Names are libpq's, and `schema` (up to 63 bytes) and `prepared` (yes, no). User, password, database and
/// values may hold %XX; connect_timeout is in seconds, as libpq has it. Throws Failure: what is wrong, and
/// what would be right; never with the password in it.
Options parse_url(std::string_view url);

/// The URL as it may be shown: without password.
std::string shown(const Options& options);

}  // namespace tidemill::postgres
