#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "drivers/http/server.hpp"

namespace tidemill::server {

/// A page of another site can make a browser of this machine send requests here: by a form, or by a name of
/// its own that leads to us. `hosts` are the names that are ours, without port; none: any. Throws Problem.
void refuse_other_sites(const http::Request& request, std::span<const std::string> hosts);

/// A request with the parts of its path and query, decoded.
struct Ask {
  const http::Request& request;
  std::vector<std::string> path = {};  ///< What stands for each {name}, in order.
  std::vector<std::pair<std::string, std::string>> query = {};

  /// The first one of that name; `otherwise` when there is none.
  std::string_view parameter(std::string_view name, std::string_view otherwise = "") const;
};

/// One thing that the API can do. What it says of itself is what OpenAPI says of it.
struct Route {
  std::string method = {};
  std::string pattern = {};  ///< "/api/v1/tasks/{id}".
  std::string summary = {};
  std::vector<std::string> parameters = {};  ///< Of the query: any other is a mistake.
  std::function<http::Response(const Ask&)> handle = {};
};

/// All routes. Add them first; then const members may be called from any thread.
class Routes {
 public:
  void add(Route route) { routes_.push_back(std::move(route)); }

  /// Throws Problem: not_found, method_not_allowed, or invalid for a query that isn't right.
  http::Response dispatch(const http::Request& request) const;

  const std::vector<Route>& all() const noexcept { return routes_; }
  /// The OpenAPI 3.1 document of the routes.
  std::string openapi(std::string_view version) const;

 private:
  std::vector<Route> routes_;
};

}  // namespace tidemill::server
