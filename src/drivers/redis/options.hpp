#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tidemill::redis {

struct Address {
  std::string host = {};  ///< A name, an address, or with port 0 the path of a unix socket.
  std::uint16_t port = 6379;
  auto operator<=>(const Address&) const = default;
};

enum class Topology : std::uint8_t { single, sentinel, cluster };

/// Which servers, and how to speak to them.
struct Options {
  Topology topology = Topology::single;
  std::vector<Address> addresses = {};  ///< The server; or some sentinels, or some nodes of the cluster.
  std::string master = {};              ///< Sentinel: the name under which it watches the servers.
  std::string user = {}, password = {};
  std::string sentinel_user = {}, sentinel_password = {};
  int database = 0;
  bool tls = false;
  bool tls_verify = true;
  std::string tls_ca = {}, tls_certificate = {}, tls_key = {};  ///< Files; without an authority the system's.
  std::chrono::milliseconds connect_timeout{2000};
  std::chrono::milliseconds timeout{5000};  ///< For one round trip, where a call gives no deadline.
  int replicas = 0;                         ///< Writes are answered when so many replicas have them (WAIT).
};

/// Reads `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, `rediss://` for TLS, `redis+unix:///PATH`,
/// `redis+sentinel://HOST:PORT,HOST:PORT/MASTER[/DATABASE]`, `redis+cluster://HOST:PORT,HOST:PORT`, each with
/// `?name=value&…`: database, wait (`replicas`), timeout and connect_timeout (`5s`, `500ms`), tls (true for
/// sentinel and cluster), tls_ca, tls_cert, tls_key, tls_verify, sentinel_user, sentinel_password. User and
/// password, the path and the values may hold %XX. Throws Failure: what is wrong where, and what would be
/// right; never with the password in it.
Options parse_url(std::string_view url);

}  // namespace tidemill::redis
