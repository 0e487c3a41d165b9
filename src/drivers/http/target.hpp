#pragma once

#include <string>

namespace tidemill::http {

/// Where a URL leads, without what may be secret in it.
struct Target {
  std::string scheme = {};  ///< http or https.
  std::string host = {};    ///< In lower case; IPv6 addresses in brackets.
  std::string port = {};    ///< Always there.
  std::string path = {};    ///< As sent, at least "/", without the query.
  bool credentials = false;

  /// Calls with the same key share connections: "http://host:80".
  std::string key() const;
  /// For people: without credentials, query and a port that goes without saying.
  std::string shown() const;
};

/// Throws std::invalid_argument that says what is wrong, and quotes nothing of the URL but its scheme.
///
/// Thread safety: may be called from any thread.
Target parse_target(const std::string& url);

}  // namespace tidemill::http
