#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "drivers/http/server.hpp"
#include "server/access.hpp"
#include "wire/json_read.hpp"

namespace tidemill::server {

/// A page of another site can make a browser of this machine send requests here: by a form, or by a name of
/// its own that leads to us. `hosts` are the names that are ours, without port; none: any. Throws Problem.
void refuse_other_sites(const http::Request& request, std::span<const std::string> hosts);

/// A request with the parts of its path and query, decoded, and who sent it.
struct Ask {
  std::shared_ptr<const http::Request> request = {};
  Caller caller = {};
  std::vector<std::string> path = {};  ///< What stands for each {name}, in order.
  std::vector<std::pair<std::string, std::string>> query = {};

  /// The first one of that name; `otherwise` when there is none.
  std::string_view parameter(std::string_view name, std::string_view otherwise = "") const;
  /// Throws Problem when it is no number of that range.
  std::int64_t number(std::string_view name, std::int64_t otherwise, std::int64_t least,
                      std::int64_t most) const;
  /// An RFC 3339 time. Throws Problem when it is none.
  TimePoint time(std::string_view name, TimePoint otherwise) const;
  /// The body as JSON. Throws Problem{415} when it is said to be something else.
  wire::JsonDocument body() const;
  bool has_body() const { return !request->body.empty(); }
};

/// One thing that the API can do. What it says of itself is what OpenAPI says of it.
struct Route {
  std::string method = {};
  std::string pattern = {};  ///< "/api/v1/tasks/{id}".
  std::string summary = {};
  Roles roles = {};                          ///< None: for anybody, without a token.
  bool all_queues = false;                   ///< Only for who may use all queues there are and will be.
  std::vector<std::string> parameters = {};  ///< Of the query: any other is a mistake.
  std::vector<std::string> fields = {};      ///< What the parameter `fields` may name.
  std::string body = {};                     ///< An example of what is sent; empty: nothing is.
  /// Answers, in a thread that may wait for the store. Throws Problem, wire::BadValue or Error.
  std::function<http::Response(const Ask&)> handle = {};
  /// Or this, on the connections' thread: must not block, and answers later. Throws likewise.
  std::function<void(Ask&&, const http::Answer&)> begin = {};
};

/// A route and what its pattern found in a path.
struct Match {
  const Route* route = nullptr;
  std::vector<std::string_view> parts = {};
};

/// All routes. Add them first; then const members may be called from any thread.
class Routes {
 public:
  void add(Route route) { routes_.push_back(std::move(route)); }

  /// The parts are of the request's own path. Throws Problem: not_found, or method_not_allowed with `allow`.
  Match find(const http::Request& request) const;
  /// Throws Problem for a query or escapes that aren't right.
  static Ask ask(const Match& match, std::shared_ptr<const http::Request> request, Caller caller);

  const std::vector<Route>& all() const noexcept { return routes_; }

 private:
  std::vector<Route> routes_;
};

/// Throws Error{invalid} for the name of a route that there is not.
void check_open_routes(const Routes& routes, std::span<const std::string> open_routes);
/// "POST /api/v1/tasks".
std::string name_of(const Route& route);
/// The OpenAPI 3.1 document of the routes.
std::string openapi(const Routes& routes, std::string_view version);

http::Response json_answer(int status, std::string body);
http::Response nothing(int status = 204);

}  // namespace tidemill::server
