#pragma once

#include <string_view>

namespace tidemill::server {

/// Whether an answer of this type is one that the request's Accept (RFC 9110, 12.5.1) allows. One that is
/// empty allows all.
bool accepts(std::string_view accept, std::string_view content_type);

}  // namespace tidemill::server
