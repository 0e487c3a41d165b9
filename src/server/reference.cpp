#include "server/reference.hpp"

#include <algorithm>
#include <charconv>
#include <map>

#include <fmt/format.h>

#include <tidemill/version.hpp>

#include "core/digest.hpp"
#include "wire/base64.hpp"

namespace tidemill::server {

namespace {

constexpr std::string_view style = R"(
:root { color-scheme: light dark; --line: #d5d9e0; --soft: #f4f6f9; --dim: #5a6472; --link: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --line: #353c47; --soft: #1c2129; --dim: #9aa5b4; --link: #7db8f5; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: .5rem 0; border-bottom: 1px solid var(--line); }
h2 { margin: 2.5rem 0 0; }
article { border-top: 1px solid var(--line); padding: .75rem 0; margin-top: .75rem; }
h3 { font: 600 1rem/1.4 ui-monospace, monospace; margin: 0; overflow-wrap: anywhere; }
h3 b { display: inline-block; min-width: 4.5rem; }
p { margin: .25rem 0; }
.dim { color: var(--dim); font-size: .875rem; }
code, pre { font: .875rem/1.45 ui-monospace, monospace; }
pre { background: var(--soft); border-radius: 6px; padding: .6rem .75rem; margin: .5rem 0 0; white-space: pre-wrap;
  overflow-wrap: anywhere; }
)";

std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

/// Of a content security policy: the hash of what stands between the tags.
std::string hash_of(std::string_view text) {
  const std::string hex = sha256_hex(text);
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    unsigned byte = 0;
    std::from_chars(&hex[i], &hex[i] + 2, byte, 16);
    bytes += static_cast<char>(byte);
  }
  return "sha256-" + wire::encode_base64(bytes);
}

/// "tasks" of "/api/v1/tasks/{id}", "healthz" of "/healthz".
std::string_view group_of(std::string_view pattern) {
  constexpr std::string_view base = "/api/v1/";
  pattern.remove_prefix(pattern.starts_with(base) ? base.size() : std::min<std::size_t>(1, pattern.size()));
  return pattern.substr(0, pattern.find('/'));
}

/// What stands between braces.
std::vector<std::string> path_parameters(std::string_view pattern) {
  std::vector<std::string> names;
  for (std::size_t at = pattern.find('{'); at != std::string_view::npos; at = pattern.find('{', at + 1)) {
    names.emplace_back(pattern.substr(at + 1, pattern.find('}', at) - at - 1));
  }
  return names;
}

std::string roles_of(const Route& route) {
  std::vector<std::string_view> names;
  for (const config::Role role : config::all_roles) {
    if (route.roles.has(role)) names.push_back(to_string(role));
  }
  return names.empty() ? "anybody, without a token" : fmt::format("{}", fmt::join(names, ", "));
}

/// As one word of a shell.
std::string quoted(std::string_view text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? R"('\'')" : std::string(1, c);
  return result + "'";
}

/// {id} becomes ID: a word to put something in the place of.
std::string sample_of(std::string_view pattern) {
  std::string path;
  bool inside = false;
  for (const char c : pattern) {
    if (c == '{' || c == '}') {
      inside = c == '{';
    } else {
      path += inside && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
  }
  return path;
}

std::string curl_of(const Route& route) {
  std::string line = "curl";
  if (route.method != (route.body.empty() ? "GET" : "POST")) line += " -X " + route.method;
  line += " http://localhost:8470" + sample_of(route.pattern);
  if (!roles_of(route).starts_with("anybody")) line += " -H 'Authorization: Bearer TOKEN'";
  if (!route.body.empty()) line += " -H 'Content-Type: application/json' -d " + quoted(route.body);
  return line;
}

std::string names_of(std::string_view where, const std::vector<std::string>& names) {
  if (names.empty()) return "";
  std::string list;
  for (const std::string& name : names) list += fmt::format(" <code>{}</code>", escaped(name));
  return fmt::format(" · {}:{}", where, list);
}

std::string article(const Route& route) {
  return fmt::format(
      "<article>\n<h3><b>{}</b> {}</h3>\n<p>{}</p>\n<p class=\"dim\">for: "
      "{}{}{}</p>\n{}<pre>{}</pre>\n</article>\n",
      escaped(route.method), escaped(route.pattern), escaped(route.summary), escaped(roles_of(route)),
      names_of("in the path", path_parameters(route.pattern)), names_of("in the query", route.parameters),
      route.body.empty() ? "" : fmt::format("<pre>{}</pre>\n", escaped(route.body)), escaped(curl_of(route)));
}

}  // namespace

http::Response reference(const Routes& routes, std::string_view version) {
  std::map<std::string_view, std::string> groups;
  for (const Route& route : routes.all()) groups[group_of(route.pattern)] += article(route);
  std::string links;
  std::string sections;
  for (const auto& [name, articles] : groups) {
    links += fmt::format("<a href=\"#{0}\">{0}</a>\n", escaped(name));
    sections += fmt::format("<section id=\"{0}\">\n<h2>{0}</h2>\n{1}</section>\n", escaped(name), articles);
  }
  http::Response response{200, "text/html; charset=utf-8", {}, ""};
  response.body = fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Tidemill "
      "API</title>\n"
      "<style>{}</style>\n</head>\n<body>\n<h1>Tidemill API</h1>\n<p>Version {}. For programs: "
      "<a href=\"openapi.json\">openapi.json</a>.</p>\n<nav>\n{}</nav>\n{}</body>\n</html>\n",
      style, escaped(version), links, sections);
  response.headers.emplace_back(
      "Content-Security-Policy",
      fmt::format(
          "default-src 'none'; style-src '{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
          hash_of(style)));
  return response;
}

void add_reference_route(Routes& routes) {
  routes.add({.method = "GET",
              .pattern = "/api/v1/docs",
              .summary = "This description, for people",
              .handle = [&routes](const Ask&) { return reference(routes, version()); }});
}

}  // namespace tidemill::server
