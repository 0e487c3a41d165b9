#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/problem.hpp"
#include "server/routes.hpp"

namespace tidemill::server {

/// A strong entity tag, without its quotes: another one for any other `content`.
std::string etag_of(std::string_view content);

/// As `json_answer`, with the tag as a header.
http::Response tagged_answer(int status, std::string body, std::string_view etag);

/// 412 "changed", with the tag of what is there now; none: nothing is.
Problem changed_since(const std::optional<std::string>& current);

/// Of a request that changes something: its If-Match must name what is there now; none: nothing is. Without
/// the header all is well. Throws `changed_since`.
void check_if_match(const Ask& ask, const std::optional<std::string>& current);

}  // namespace tidemill::server
