#include "server/config_json.hpp"

#include <algorithm>

#include "server/token_limits.hpp"
#include "wire/json_write.hpp"
#include "wire/values.hpp"

namespace tidemill::server {

namespace {

/// What stands between the scheme and the host goes, and values of the query that are secret.
std::string without_secrets(std::string url) {
  const std::size_t begin = url.find("://");
  if (begin == std::string::npos) return url;
  const std::size_t end = std::min(url.find_first_of("/?", begin + 3), url.size());
  const std::size_t at = url.rfind('@', end);
  if (at != std::string::npos && at > begin) url.erase(begin + 3, at + 1 - (begin + 3));
  for (std::size_t name = url.find("password="); name != std::string::npos;
       name = url.find("password=", name + 1)) {
    const std::size_t value = name + std::string_view{"password="}.size();
    url.replace(value, std::min(url.find('&', value), url.size()) - value, "***");
  }
  return url;
}

template <class Map>
std::vector<std::string> names_of(const Map& map) {
  std::vector<std::string> names;
  for (const auto& [name, value] : map) names.push_back(name);
  return names;
}

void member_duration(json::Writer& out, std::string_view name, Duration duration) {
  out.member(name, wire::format_duration(duration));
}

void write_token(json::Writer& out, const config::Token& token) {
  out.open('{');
  out.member("name", token.name);
  write_limits(out, token);
  out.close('}');
}

void write_http(json::Writer& out, const deliver::HttpDelivery& http) {
  wire::member_object(out, "http", [&] {
    out.member("url", without_secrets(http.url));
    out.member("method", http.method);
    out.member("headers", names_of(http.headers));
    out.member("body", http.body);
    out.member("signed", !http.secrets.empty());
    member_duration(out, "timeout", http.timeout);
    out.member("response_max", http.response_bytes_max);
  });
}

void write_command(json::Writer& out, const deliver::CommandDelivery& command) {
  wire::member_object(out, "command", [&] {
    if (!command.argv.empty()) out.member("argv", command.argv);
    wire::member_text(out, "shell", command.shell);
    out.member("environment", names_of(command.environment));
    wire::member_text(out, "directory", command.directory);
    out.member("output_max", command.output_bytes_max);
    member_duration(out, "grace", command.grace);
    member_duration(out, "snooze", command.snooze);
    if (command.memory_bytes_max > 0) out.member("memory_max", command.memory_bytes_max);
    if (command.cpu_max > Duration{}) member_duration(out, "cpu_max", command.cpu_max);
    if (command.files_max > 0) out.member("files_max", command.files_max);
  });
}

void write_delivery(json::Writer& out, const config::Delivery& delivery) {
  out.open('{');
  out.member("kinds", delivery.kinds);
  if (delivery.http) write_http(out, *delivery.http);
  if (delivery.command) write_command(out, *delivery.command);
  if (delivery.retry) out.member("retry", "own");
  out.close('}');
}

void write_persistent_queue(json::Writer& out, const config::PersistentQueue& queue) {
  out.open('{');
  out.member("service", queue.table.service_name);
  out.member("job_type", queue.table.job_type);
  out.member("database", without_secrets(queue.url));
  out.member("max_retries", queue.table.retries_max);
  member_duration(out, "wait", queue.wait);
  out.member("concurrency", queue.concurrency);
  if (queue.delivery.http) write_http(out, *queue.delivery.http);
  if (queue.delivery.command) write_command(out, *queue.delivery.command);
  out.close('}');
}

void write_limits(json::Writer& out, const config::Limits& limits) {
  out.member("body", limits.body_bytes);
  out.member("headers", limits.header_bytes);
  out.member("connections", limits.connections);
  out.member("tasks_per_request", limits.tasks_per_request);
  member_duration(out, "idle_timeout", limits.idle_timeout);
  member_duration(out, "headers_timeout", limits.headers_timeout);
  member_duration(out, "body_timeout", limits.body_timeout);
}

void write_outgoing(json::Writer& out, const config::Outgoing& outgoing) {
  out.member("in_flight", outgoing.in_flight_max);
  out.member("per_host", outgoing.per_host_max);
  member_duration(out, "connect_timeout", outgoing.connect_timeout);
  out.member("allow_networks", outgoing.allow_networks);
}

void member_file(json::Writer& out, std::string_view name, const LogFileOptions& file) {
  wire::member_object(out, name, [&] {
    out.member("path", file.path);
    out.member("size", file.bytes_max);
    member_duration(out, "age", file.age_max);
    out.member("keep", file.keep);
    out.member("gzip", file.gzip);
  });
}

void write_logging(json::Writer& out, const config::Logging& log) {
  out.member("level", to_string(log.level));
  out.member("format", log.format == LogFormat::json ? "json" : "text");
  out.member("source", log.source);
  if (log.file) member_file(out, "file", *log.file);
  if (log.statements_file) {
    member_file(out, "statements", *log.statements_file);
  } else {
    out.member("statements", log.statements);
  }
}

void write_schedules(json::Writer& out, const config::Config& config) {
  out.member("count", config.schedules->size());
  if (!config.schedule_file) return;
  out.member("file", config.schedule_file->path);
  member_duration(out, "sync_interval", config.schedule_file->sync_interval);
}

}  // namespace

std::string to_json(const config::Config& config) {
  return wire::object([&](json::Writer& out) {
    out.member("store", without_secrets(config.store));
    out.member("listen", config.listen);
    out.member("roles", config.roles);
    out.key("tokens");
    wire::write_array(out, config.tokens, write_token);
    out.member("open_routes", config.open_routes);
    wire::member_object(out, "limits", [&] { write_limits(out, config.limits); });
    wire::member_object(out, "queues", [&] {
      for (const QueueWeight& queue : config.queues) out.member(queue.name, queue.weight);
    });
    out.member("strict", config.strict);
    out.member("concurrency", config.concurrency);
    out.member("commands", config.commands);
    member_duration(out, "shutdown_timeout", config.shutdown_timeout);
    wire::member_object(out, "outgoing", [&] { write_outgoing(out, config.outgoing); });
    out.key("deliveries");
    wire::write_array(out, config.deliveries, write_delivery);
    if (!config.persistent_queues.empty()) {
      wire::member_object(out, "gateways", [&] {
        out.key("persistent_queue");
        wire::write_array(out, config.persistent_queues, write_persistent_queue);
      });
    }
    if (config.schedules) wire::member_object(out, "schedules", [&] { write_schedules(out, config); });
    wire::member_object(out, "log", [&] { write_logging(out, config.log); });
  });
}

}  // namespace tidemill::server
