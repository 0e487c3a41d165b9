#include "server/routes.hpp"

#include <algorithm>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "core/url.hpp"
#include "server/fields.hpp"
#include "server/problem.hpp"
#include "wire/values.hpp"

namespace tidemill::server {

namespace {

std::string decoded(std::string_view text, bool plus_is_blank) {
  std::string plain{text};
  if (plus_is_blank) std::ranges::replace(plain, '+', ' ');
  auto result = percent_decoded(plain);
  if (!result)
    throw Problem{400, "invalid", fmt::format("\"{}\" has a wrong percent escape; write % as %25", text)};
  return std::move(*result);
}

/// What a route doesn't read must not be taken for something that it does.
void check_no_body(const Route& route, const http::Request& request) {
  constexpr std::string_view blanks = " \t\r\n";
  if (!route.body.empty() || route.method == "GET") return;
  if (request.body.find_first_not_of(blanks) == std::string::npos || request.body == "{}") return;
  throw Problem{400, "invalid", fmt::format("{} {} takes no body; send none", route.method, route.pattern)};
}

/// What stands for each {name} of the pattern; none when the path is another one.
std::optional<std::vector<std::string_view>> match(std::string_view pattern, std::string_view path) {
  std::vector<std::string_view> found;
  while (!pattern.empty() && !path.empty()) {
    const std::size_t wanted = pattern.find('/', 1);
    const std::size_t given = path.find('/', 1);
    const std::string_view part = path.substr(0, given);
    if (pattern.starts_with("/{")) {
      if (part.size() < 2) return {};
      found.push_back(part.substr(1));
    } else if (pattern.substr(0, wanted) != part) {
      return {};
    }
    pattern.remove_prefix(std::min(wanted, pattern.size()));
    path.remove_prefix(std::min(given, path.size()));
  }
  if (!pattern.empty() || !path.empty()) return {};
  return found;
}

std::vector<std::pair<std::string, std::string>> parse_query(std::string_view query) {
  std::vector<std::pair<std::string, std::string>> found;
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    if (part.empty()) continue;
    const std::size_t sign = part.find('=');
    found.emplace_back(decoded(part.substr(0, sign), true),
                       sign == std::string_view::npos ? "" : decoded(part.substr(sign + 1), true));
  }
  return found;
}

void check_query(const Route& route, const Ask& ask) {
  std::set<std::string_view> names;
  for (const auto& [name, value] : ask.query) {
    // Which one of them counts would be a guess.
    if (!names.insert(name).second)
      throw Problem{400, "invalid", fmt::format("parameter \"{}\" is there twice", name)};
    if (std::ranges::find(route.parameters, name) != route.parameters.end()) continue;
    throw Problem{
        400, "invalid",
        fmt::format("there is no parameter \"{}\" here{}", name, wire::suggestion(name, route.parameters))};
  }
}

std::string_view without_port(std::string_view host) {
  const std::size_t colon = host.rfind(':');
  return colon == std::string_view::npos || host.ends_with(']') ? host : host.substr(0, colon);
}

}  // namespace

void refuse_other_sites(const http::Request& request, std::span<const std::string> hosts) {
  const std::string_view host = request.header("host");
  if (!hosts.empty() && std::ranges::find(hosts, http::lower_case(without_port(host))) == hosts.end()) {
    throw Problem{403, "bad_host", fmt::format("this server is not known as \"{}\"", host)};
  }
  const std::string_view origin = request.header("origin");
  if (origin.empty() || origin.substr(std::min(origin.find("//") + 2, origin.size())) == host) return;
  throw Problem{403, "forbidden", fmt::format("pages of {} must not send requests here", origin)};
}

void check_open_routes(const Routes& routes, std::span<const std::string> open_routes) {
  std::vector<std::string> names;
  for (const Route& route : routes.all()) names.push_back(name_of(route));
  for (const std::string& open : open_routes) {
    if (std::ranges::find(names, open) != names.end()) continue;
    throw Error{ErrorKind::invalid,
                fmt::format("open_routes: there is no route \"{}\"{}", open, wire::suggestion(open, names))};
  }
}

std::string_view Ask::parameter(std::string_view name, std::string_view otherwise) const {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return otherwise;
}

std::int64_t Ask::number(std::string_view name, std::int64_t otherwise, std::int64_t least,
                         std::int64_t most) const {
  const std::string_view text = parameter(name);
  if (text.empty()) return otherwise;
  try {
    return wire::parse_integer(text, least, most);
  } catch (const Error& error) {
    throw Problem{400, "invalid", fmt::format("{}: {}", name, error.what())};
  }
}

TimePoint Ask::time(std::string_view name, TimePoint otherwise) const {
  const std::string_view text = parameter(name);
  if (text.empty()) return otherwise;
  try {
    return wire::parse_time(text);
  } catch (const Error& error) {
    throw Problem{400, "invalid", fmt::format("{}: {}", name, error.what())};
  }
}

wire::JsonDocument Ask::body() const {
  if (!http::is_media_type(request->header("content-type"), "application/json")) {
    throw Problem{415, "unsupported_media_type", "send the body with Content-Type: application/json"};
  }
  return wire::JsonDocument{request->body};
}

Match Routes::find(const http::Request& request) const {
  std::vector<std::string> allowed;
  for (const Route& route : routes_) {
    auto parts = match(route.pattern, request.path);
    if (!parts) continue;
    // Whoever may GET may ask for the head of it.
    if (route.method == request.method || (route.method == "GET" && request.method == "HEAD"))
      return {&route, std::move(*parts)};
    allowed.push_back(route.method);
  }
  if (allowed.empty()) {
    throw Problem{
        404, "not_found",
        fmt::format("there is nothing at {}; /api/v1/openapi.json lists what there is", request.path)};
  }
  const std::string allow = fmt::format("{}", fmt::join(allowed, ", "));
  Problem problem{405, "method_not_allowed",
                  fmt::format("{} takes {} and not {}", request.path, allow, request.method)};
  problem.headers.emplace_back("Allow", allow);
  throw problem;
}

Ask Routes::ask(const Match& match, std::shared_ptr<const http::Request> request, Caller caller) {
  Ask ask{.caller = std::move(caller)};
  for (const std::string_view part : match.parts) ask.path.push_back(decoded(part, false));
  ask.query = parse_query(request->query);
  check_query(*match.route, ask);
  Fields{ask.parameter("fields")}.check(match.route->fields);
  check_no_body(*match.route, *request);
  ask.request = std::move(request);
  return ask;
}

std::string name_of(const Route& route) { return fmt::format("{} {}", route.method, route.pattern); }

http::Response json_answer(int status, std::string body) {
  return {status, "application/json", {}, std::move(body)};
}

http::Response nothing(int status) { return {status, "", {}, ""}; }

}  // namespace tidemill::server
