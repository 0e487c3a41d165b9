#include <array>
#include <map>

#include <fmt/format.h>

#include "config/sections.hpp"
#include "deliver/http_delivery.hpp"

namespace tidemill::config {

namespace {

using namespace std::chrono_literals;
using deliver::CommandDelivery;
using deliver::HttpDelivery;

std::string secret_of(Delivery& delivery, const Node& node) {
  Secret secret = read_secret(node);
  if (!secret.variable.empty()) delivery.secret_variables.push_back(std::move(secret.variable));
  return std::move(secret.text);
}

void read_secrets(Delivery& delivery, const Node& node) {
  if (node.is_scalar()) {
    delivery.http->secrets = {node.text()};
    return;
  }
  for (const Node& each : node.elements()) delivery.http->secrets.push_back(secret_of(delivery, each));
}

using Each = Setting<Delivery>;
constexpr std::array http_settings = {
    Each{"url", [](Delivery& d, const Node& n) { d.http->url = n.text(); }},
    Each{"method", [](Delivery& d, const Node& n) { d.http->method = n.text(); }},
    Each{"headers", [](Delivery& d, const Node& n) { d.http->headers = n.text_map(); }},
    Each{"body", [](Delivery& d, const Node& n) { d.http->body = n.text(); }},
    Each{"secrets", read_secrets},
    Each{"timeout", [](Delivery& d, const Node& n) { d.http->timeout = n.duration(1ms, 1h); }},
    Each{"response_max",
         [](Delivery& d, const Node& n) { d.http->response_bytes_max = n.size(0, 16U << 20U); }},
};

}  // namespace

void read_http(Delivery& delivery, const Node& node) {
  HttpDelivery& http = delivery.http.emplace();
  if (node.is_scalar()) {
    http.url = node.text();
  } else {
    read_settings<Delivery>(node, delivery, http_settings);
  }
  HttpDelivery rest = http;
  if (http.url.empty()) {
    node.wrong("has no url");
    rest.url = "http://localhost/";
  }
  for (const std::string& fault : deliver::faults_of(rest)) node.wrong(fault);
}

namespace {

/// Values are texts or secrets.
void read_environment(Delivery& delivery, const Node& node) {
  for (const auto& [name, value] : node.members())
    delivery.command->environment[name] = secret_of(delivery, value);
}

constexpr std::array command_settings = {
    Each{"argv", [](Delivery& d, const Node& n) { d.command->argv = n.texts(); }},
    Each{"shell", [](Delivery& d, const Node& n) { d.command->shell = n.text(); }},
    Each{"environment", read_environment},
    Each{"directory", [](Delivery& d, const Node& n) { d.command->directory = n.text(); }},
    Each{"output_max",
         [](Delivery& d, const Node& n) { d.command->output_bytes_max = n.size(0, 16U << 20U); }},
    Each{"grace", [](Delivery& d, const Node& n) { d.command->grace = n.duration(); }},
    Each{"snooze", [](Delivery& d, const Node& n) { d.command->snooze = n.duration(1ms); }},
    Each{"memory_max", [](Delivery& d, const Node& n) { d.command->memory_bytes_max = n.size(1U << 20U); }},
    Each{"cpu_max", [](Delivery& d, const Node& n) { d.command->cpu_max = n.duration(1s); }},
    Each{"files_max",
         [](Delivery& d, const Node& n) {
           d.command->files_max = static_cast<std::size_t>(n.integer(8, 1'000'000));
         }},
};

}  // namespace

void read_command(Delivery& delivery, const Node& node) {
  CommandDelivery& command = delivery.command.emplace();
  if (node.is_scalar()) {
    command.shell = node.text();
  } else if (node.is_list()) {
    command.argv = node.texts();
  } else {
    read_settings<Delivery>(node, delivery, command_settings);
  }
  if (command.argv.empty() == command.shell.empty()) node.wrong("needs one of argv and shell");
}

namespace {

constexpr std::array delivery_settings = {
    Each{"kinds", [](Delivery& d, const Node& n) { d.kinds = n.texts(); }},
    Each{"http", read_http},
    Each{"command", read_command},
    Each{"retry", [](Delivery& d, const Node& n) { d.retry = read_retry(n); }},
};

/// A kind, or a prefix with '*' at its end.
bool is_pattern(const std::string& kind) { return !kind.empty() && kind.find('*') >= kind.size() - 1; }

}  // namespace

std::optional<RetryPolicy> read_retry(const Node& node) {
  if (!node.is_map()) {
    std::vector<Duration> delays;
    for (const Node& each : node.elements()) delays.push_back(each.duration());
    if (delays.empty()) {
      node.wrong("needs at least one delay, such as [5s, 1m, 1h]");
      return {};
    }
    return RetryPolicy::table(std::move(delays));
  }
  struct Exponential {
    Duration base = 5s, most = 6h;
    double factor = 2, jitter = 0.2;
  };
  using Part = Setting<Exponential>;
  static constexpr std::array settings = {
      Part{"base", [](Exponential& e, const Node& n) { e.base = n.duration(1ms); }},
      Part{"factor", [](Exponential& e, const Node& n) { e.factor = n.number(1, 100); }},
      Part{"most", [](Exponential& e, const Node& n) { e.most = n.duration(1ms); }},
      Part{"jitter", [](Exponential& e, const Node& n) { e.jitter = n.number(0, 1); }},
  };
  Exponential policy;
  read_settings<Exponential>(node, policy, settings);
  return RetryPolicy::exponential(policy.base, policy.factor, policy.most, policy.jitter);
}

void read_deliveries(Config& config, const Node& node) {
  std::map<std::string, std::string> seen;
  for (const Node& each : node.elements()) {
    Delivery delivery;
    read_settings<Delivery>(each, delivery, delivery_settings);
    if (delivery.kinds.empty()) each.wrong(R"(has no kinds; write for instance kinds: ["mail:*"])");
    if (delivery.http.has_value() == delivery.command.has_value())
      each.wrong("needs one of http and command");
    for (const std::string& kind : delivery.kinds) {
      if (!is_pattern(kind))
        each.wrong(fmt::format("\"{}\" is no kind, nor a prefix with one * at its end", kind));
      const auto [first, fresh] = seen.emplace(kind, each.place());
      if (!fresh) each.wrong(fmt::format("\"{}\" is delivered at {} already", kind, first->second));
    }
    config.deliveries.push_back(std::move(delivery));
  }
}

}  // namespace tidemill::config
