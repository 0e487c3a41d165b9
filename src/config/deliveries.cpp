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

void read_secrets(HttpDelivery& http, const Node& node) {
  if (node.is_scalar()) {
    http.secrets = {node.text()};
    return;
  }
  for (const Node& each : node.elements()) http.secrets.push_back(read_secret(each));
}

using Http = Setting<HttpDelivery>;
constexpr std::array http_settings = {
    Http{"url", [](HttpDelivery& d, const Node& n) { d.url = n.text(); }},
    Http{"method", [](HttpDelivery& d, const Node& n) { d.method = n.text(); }},
    Http{"headers", [](HttpDelivery& d, const Node& n) { d.headers = n.text_map(); }},
    Http{"body", [](HttpDelivery& d, const Node& n) { d.body = n.text(); }},
    Http{"secrets", read_secrets},
    Http{"timeout", [](HttpDelivery& d, const Node& n) { d.timeout = n.duration(1ms, 1h); }},
    Http{"response_max",
         [](HttpDelivery& d, const Node& n) { d.response_bytes_max = n.size(0, 16U << 20U); }},
};

void read_http(Delivery& delivery, const Node& node) {
  HttpDelivery& http = delivery.http.emplace();
  if (node.is_scalar()) {
    http.url = node.text();
  } else {
    read_settings<HttpDelivery>(node, http, http_settings);
  }
  if (http.url.empty())
    node.wrong("has no url");
  else
    node.checked([&] { deliver::check(http); });
}

using Command = Setting<CommandDelivery>;
constexpr std::array command_settings = {
    Command{"argv", [](CommandDelivery& d, const Node& n) { d.argv = n.texts(); }},
    Command{"shell", [](CommandDelivery& d, const Node& n) { d.shell = n.text(); }},
    Command{"environment", [](CommandDelivery& d, const Node& n) { d.environment = n.text_map(); }},
    Command{"directory", [](CommandDelivery& d, const Node& n) { d.directory = n.text(); }},
    Command{"output_max",
            [](CommandDelivery& d, const Node& n) { d.output_bytes_max = n.size(0, 16U << 20U); }},
    Command{"grace", [](CommandDelivery& d, const Node& n) { d.grace = n.duration(); }},
    Command{"snooze", [](CommandDelivery& d, const Node& n) { d.snooze = n.duration(1ms); }},
    Command{"memory_max", [](CommandDelivery& d, const Node& n) { d.memory_bytes_max = n.size(1U << 20U); }},
    Command{"cpu_max", [](CommandDelivery& d, const Node& n) { d.cpu_max = n.duration(1s); }},
    Command{"files_max",
            [](CommandDelivery& d, const Node& n) {
              d.files_max = static_cast<std::size_t>(n.integer(8, 1'000'000));
            }},
};

void read_command(Delivery& delivery, const Node& node) {
  CommandDelivery& command = delivery.command.emplace();
  if (node.is_scalar()) {
    command.shell = node.text();
  } else if (node.is_list()) {
    command.argv = node.texts();
  } else {
    read_settings<CommandDelivery>(node, command, command_settings);
  }
  if (command.argv.empty() == command.shell.empty()) node.wrong("needs one of argv and shell");
}

using Each = Setting<Delivery>;
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
