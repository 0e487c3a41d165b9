#pragma once

#include "server/routes.hpp"

namespace tidemill::server {

/// The part of an answer that the request's Range names (RFC 9110, 14): one part, as 206; the whole when
/// there is no Range, or several, or one that doesn't read. Throws Problem{416} for one beyond the end.
http::Response part_of(const Ask& ask, http::Response&& whole);

}  // namespace tidemill::server
