#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tidemill::http {

/// What a request asks for.
struct RequestTarget {
  std::string path = {};   ///< As sent, up to the '?'.
  std::string query = {};  ///< As sent, after the '?'.
  std::string host = {};   ///< With its port; empty unless the target is a whole URL.
};

/// Of "/path?query", or of "http://HOST/path?query" as it is sent to a proxy, which a server has to take too
/// (RFC 9112, section 3.2.2). None for a URL that names no host, or a user beside it.
std::optional<RequestTarget> parse_request_target(std::string_view text);

/// Whether one of these lines of a header begins with a blank (RFC 9112, section 5.2): to some it goes on
/// with the line before, to others it is a header of its own.
bool is_folded(std::string_view lines);

}  // namespace tidemill::http
