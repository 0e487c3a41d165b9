#include <algorithm>
#include <map>

#include <fmt/format.h>

#include <tidemill/json.hpp>

#include "server/routes.hpp"
#include "wire/json_write.hpp"

namespace tidemill::server {

namespace {

void write_parameter(json::Writer& writer, std::string_view name, std::string_view in) {
  writer.open('{');
  writer.member("name", name);
  writer.member("in", in);
  writer.member("required", in == "path");
  wire::member_object(writer, "schema", [&] { writer.member("type", "string"); });
  writer.close('}');
}

void write_parameters(json::Writer& writer, const Route& route) {
  writer.key("parameters");
  writer.open('[');
  for (std::size_t at = route.pattern.find('{'); at != std::string::npos;
       at = route.pattern.find('{', at + 1)) {
    writer.comma();
    write_parameter(
        writer, std::string_view{route.pattern}.substr(at + 1, route.pattern.find('}', at) - at - 1), "path");
  }
  for (const std::string& name : route.parameters) {
    writer.comma();
    write_parameter(writer, name, "query");
  }
  writer.close(']');
}

void write_body(json::Writer& writer, const Route& route) {
  if (route.body.empty()) return;
  wire::member_object(writer, "requestBody", [&] {
    wire::member_object(writer, "content", [&] {
      wire::member_object(writer, "application/json", [&] {
        writer.key("example");
        writer.raw(route.body);
      });
    });
  });
}

void write_security(json::Writer& writer, const Route& route) {
  std::vector<std::string> roles;
  for (const config::Role role : config::all_roles) {
    if (route.roles.has(role)) roles.emplace_back(to_string(role));
  }
  writer.key("security");
  writer.open('[');
  if (!roles.empty()) {
    writer.comma();
    writer.open('{');
    writer.member("token", roles);
    writer.close('}');
  }
  writer.close(']');
}

void write_operation(json::Writer& writer, const Route& route) {
  std::string method = route.method;
  std::ranges::transform(method, method.begin(), [](char c) { return static_cast<char>(c - 'A' + 'a'); });
  wire::member_object(writer, method, [&] {
    writer.member("summary", route.summary);
    write_parameters(writer, route);
    write_body(writer, route);
    write_security(writer, route);
    wire::member_object(writer, "responses", [&] {
      const auto answer = [&](std::string_view status, std::string_view what) {
        wire::member_object(writer, status, [&] { writer.member("description", what); });
      };
      answer("2XX", "Done");
      answer("default", "An RFC 9457 problem, as application/problem+json");
    });
  });
}

}  // namespace

std::string openapi(const Routes& routes, std::string_view version) {
  std::map<std::string, std::vector<const Route*>> paths;
  for (const Route& route : routes.all()) paths[route.pattern].push_back(&route);
  return wire::object([&](json::Writer& writer) {
    writer.member("openapi", "3.1.0");
    wire::member_object(writer, "info", [&] {
      writer.member("title", "Tidemill");
      writer.member("version", version);
    });
    wire::member_object(writer, "components", [&] {
      wire::member_object(writer, "securitySchemes", [&] {
        wire::member_object(writer, "token", [&] {
          writer.member("type", "http");
          writer.member("scheme", "bearer");
        });
      });
    });
    wire::member_object(writer, "paths", [&] {
      for (const auto& [pattern, all] : paths) {
        wire::member_object(writer, pattern, [&] {
          for (const Route* route : all) write_operation(writer, *route);
        });
      }
    });
  });
}

}  // namespace tidemill::server
