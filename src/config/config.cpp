#include "config/config.hpp"

#include <array>
#include <set>

#include <fmt/format.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "config/sections.hpp"
#include "deliver/http_delivery.hpp"

namespace tidemill::config {

namespace {

using namespace std::chrono_literals;

constexpr Duration timeout_least = 1s;
constexpr Duration timeout_most = 1h;

void read_roles(Config& config, const Node& node) {
  static const std::vector<std::string> all = {"api", "worker", "scheduler"};
  config.roles.clear();
  for (const std::string& role : node.texts()) {
    if (std::ranges::find(all, role) == all.end())
      node.checked([&] { wire::refuse_name("role", role, all); });
    config.roles.push_back(role);
  }
  if (config.roles.empty()) node.wrong("names no role; there are api, worker and scheduler");
}

void read_open_routes(Config& config, const Node& node) {
  config.open_routes = node.texts();
  for (const std::string& route : config.open_routes) {
    const std::size_t blank = route.find(' ');
    if (blank == std::string::npos || blank == 0 || blank + 1 >= route.size() || route[blank + 1] != '/')
      node.wrong(fmt::format("\"{}\" is no route; write for instance POST /api/v1/tasks", route));
  }
}

void read_queues(Config& config, const Node& node) {
  config.queues.clear();
  if (node.is_map()) {
    for (const auto& [name, weight] : node.members()) {
      config.queues.push_back({name, static_cast<std::int32_t>(weight.integer(1, 1000))});
    }
  } else {
    for (const std::string& name : node.texts()) config.queues.push_back({name, 1});
  }
  std::set<std::string> names;
  for (const QueueWeight& queue : config.queues) {
    if (!names.insert(queue.name).second) node.wrong(fmt::format("queue \"{}\" is there twice", queue.name));
    if (queue.name.empty()) node.wrong("a queue has no name");
  }
  if (config.queues.empty()) node.wrong("names no queue");
}

void read_limits(Config& config, const Node& node) {
  using Limit = Setting<Limits>;
  static constexpr std::array settings = {
      Limit{"body", [](Limits& l, const Node& n) { l.body_bytes = n.size(1024, std::size_t{1} << 30U); }},
      Limit{"headers", [](Limits& l, const Node& n) { l.header_bytes = n.size(1024, 1U << 20U); }},
      Limit{"connections",
            [](Limits& l, const Node& n) {
              l.connections = static_cast<std::size_t>(n.integer(1, 1'000'000));
            }},
      Limit{"tasks_per_request",
            [](Limits& l, const Node& n) {
              l.tasks_per_request = static_cast<std::size_t>(n.integer(1, 100'000));
            }},
      Limit{"idle_timeout",
            [](Limits& l, const Node& n) { l.idle_timeout = n.duration(timeout_least, timeout_most); }},
      Limit{"headers_timeout",
            [](Limits& l, const Node& n) { l.headers_timeout = n.duration(timeout_least, timeout_most); }},
      Limit{"body_timeout",
            [](Limits& l, const Node& n) { l.body_timeout = n.duration(timeout_least, timeout_most); }},
  };
  read_settings<Limits>(node, config.limits, settings);
}

void read_outgoing(Config& config, const Node& node) {
  using Out = Setting<Outgoing>;
  static constexpr std::array settings = {
      Out{"in_flight",
          [](Outgoing& o, const Node& n) {
            o.in_flight_max = static_cast<std::size_t>(n.integer(1, 100'000));
          }},
      Out{"per_host",
          [](Outgoing& o, const Node& n) {
            o.per_host_max = static_cast<std::size_t>(n.integer(1, 100'000));
          }},
      Out{"connect_timeout",
          [](Outgoing& o, const Node& n) { o.connect_timeout = n.duration(100ms, timeout_most); }},
      Out{"allow_networks",
          [](Outgoing& o, const Node& n) {
            o.allow_networks = n.texts();
            for (const std::string& network : o.allow_networks)
              n.checked([&] { deliver::check_network(network); });
          }},
  };
  read_settings<Outgoing>(node, config.outgoing, settings);
}

using Top = Setting<Config>;
constexpr std::array top_settings = {
    Top{"store", [](Config& c, const Node& n) { c.store = n.text(); }},
    Top{"listen",
        [](Config& c, const Node& n) {
          c.listen = n.text();
          n.checked([&] { (void)parse_place(c.listen); });
        }},
    Top{"roles", read_roles},
    Top{"tokens", read_tokens},
    Top{"open_routes", read_open_routes},
    Top{"limits", read_limits},
    Top{"queues", read_queues},
    Top{"strict", [](Config& c, const Node& n) { c.strict = n.truth(); }},
    Top{"concurrency",
        [](Config& c, const Node& n) { c.concurrency = static_cast<std::int32_t>(n.integer(1, 100'000)); }},
    Top{"commands",
        [](Config& c, const Node& n) { c.commands = static_cast<std::int32_t>(n.integer(1, 10'000)); }},
    Top{"shutdown_timeout", [](Config& c, const Node& n) { c.shutdown_timeout = n.duration(); }},
    Top{"outgoing", read_outgoing},
    Top{"deliveries", read_deliveries},
    Top{"gateways", read_gateways},
    Top{"schedules", read_schedules},
    Top{"log", read_logging},
};

}  // namespace

std::vector<std::string> secret_variables(const Config& config) {
  std::vector<std::string> names;
  for (const Token& token : config.tokens) {
    if (!token.secret_variable.empty()) names.push_back(token.secret_variable);
  }
  for (const Delivery& delivery : config.deliveries)
    names.insert(names.end(), delivery.secret_variables.begin(), delivery.secret_variables.end());
  for (const PersistentQueue& queue : config.persistent_queues) {
    const std::vector<std::string>& its = queue.delivery.secret_variables;
    names.insert(names.end(), its.begin(), its.end());
  }
  return names;
}

Place parse_place(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) {
    throw Error{ErrorKind::invalid,
                fmt::format("listen: \"{}\" is no HOST:PORT; write for instance 127.0.0.1:8470", text)};
  }
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  const std::string bare = host.substr(0, host.find('%'));  // Without a zone such as %eth0.
  if (inet_pton(AF_INET, host.c_str(), bytes.data()) != 1 &&
      inet_pton(AF_INET6, bare.c_str(), bytes.data()) != 1) {
    throw Error{
        ErrorKind::invalid,
        fmt::format("listen: \"{}\" is no address; write for instance 127.0.0.1:8470, 0.0.0.0:8470 or "
                    "[::1]:8470",
                    host)};
  }
  const auto port = static_cast<std::uint16_t>(wire::parse_integer(text.substr(colon + 1), 0, 65535));
  const bool loopback = host == "::1" || host.starts_with("127.");
  return {std::move(host), port, loopback};
}

void check_reach(const Config& config) {
  const Place place = parse_place(config.listen);
  const bool answers = std::ranges::find(config.roles, "api") != config.roles.end();
  if (!answers || place.loopback || !config.tokens.empty()) return;
  throw Error{
      ErrorKind::invalid,
      fmt::format("\"{}\" may be reached from other machines, and there are no tokens; add some to the "
                  "configuration, or listen on 127.0.0.1",
                  place.host)};
}

Config parse(std::string_view text, const std::string& file) {
  Mistakes mistakes;
  Config config;
  if (const auto root = yaml::parse_yaml(text, file, mistakes))
    read_settings<Config>(*root, config, top_settings);
  mistakes.throw_if_any();
  return config;
}

Config load(const std::string& file) {
  const auto text = yaml::read_file(file);
  if (!text) throw Error{ErrorKind::invalid, fmt::format("{}: can't be read", file)};
  return parse(*text, file);
}

}  // namespace tidemill::config
