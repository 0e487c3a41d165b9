#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "drivers/sql/session.hpp"

namespace tidemill::mysql {

enum class Tls : std::uint8_t {
  none,
  require,  ///< Encrypted, whoever it is.
  verify,  ///< Encrypted, by a certificate of the server's that an authority of ours has signed for its name.
};

/// Which server, and how to speak to it.
struct Options {
  std::string host = "localhost";  ///< Always by TCP.
  std::uint16_t port = 3306;
  std::string socket = {};  ///< A path; if there is one, host and port mean nothing.
  std::string user = {};
  std::string password = {};
  std::string database = {};
  std::string prefix = "tidemill_";  ///< What statements call `main.`: the names of all tables begin with it.
  Tls tls = Tls::none;
  std::string tls_ca = {}, tls_certificate = {}, tls_key = {};  ///< Files; without an authority the system's.
  std::chrono::milliseconds connect_timeout{5000};
  /// Somebody else's connections, in place of those that the library would make. They are of one database.
  sql::Sessions sessions = {};
};

/// Reads `mysql://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?name=value&…]` or `mariadb://…`, which are the same.
/// Names are prefix (of letters a to z, digits and _, at most 30), socket, tls (no, require, verify), tls_ca,
/// tls_cert, tls_key, connect_timeout (`5s`, `500ms`). User, password, database and values may hold %XX.
/// Throws Failure: what is wrong, and what would be right; never with the password in it.
Options parse_url(std::string_view url);

/// The URL as it may be shown: without password.
std::string shown(const Options& options);

}  // namespace tidemill::mysql
