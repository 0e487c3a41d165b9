#pragma once

#include <string>
#include <string_view>

#include "server/routes.hpp"

namespace tidemill::server {

/// The reference of all routes for people: one HTML page without scripts, that loads nothing. Its answer
/// allows the page its own style and nothing else.
http::Response reference(const Routes& routes, std::string_view version);

/// GET /api/v1/docs. `routes` is asked at each request, and must outlive them.
void add_reference_route(Routes& routes);

}  // namespace tidemill::server
