// Other systems' tables and lists, whose tasks are delivered as those of queues are.
#include <array>
#include <map>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "config/sections.hpp"

namespace tidemill::config {

namespace {

using namespace std::chrono_literals;
using persistent_queue::ClaimMode;
using persistent_queue::FirstPull;
using Each = Setting<PersistentQueue>;

/// A text or a secret, as it may hold a password.
void read_database(PersistentQueue& queue, const Node& node) {
  Secret secret = node.is_scalar() ? Secret{node.text(), {}} : read_secret(node);
  if (!secret.variable.empty()) queue.delivery.secret_variables.push_back(std::move(secret.variable));
  queue.url = std::move(secret.text);
  node.checked([&] {
    queue.table.db = SqlHandle::mysql(queue.url);
    queue.table.lease_db = SqlHandle::mysql(queue.url);
  });
}

void read_first_pull(PersistentQueue& queue, const Node& node) {
  if (node.text() == "none") {
    queue.table.first_pull_days = FirstPull::none();
  } else if (node.text() == "unlimited") {
    queue.table.first_pull_days = FirstPull::unlimited();
  } else {
    queue.table.first_pull_days = static_cast<int>(node.integer(0, 36'500));
  }
}

void read_claim(PersistentQueue& queue, const Node& node) {
  if (node.text() != "none" && node.text() != "mark") node.wrong("is none or mark");
  queue.table.claim_mode = node.text() == "mark" ? ClaimMode::mark : ClaimMode::none;
}

std::chrono::seconds whole_seconds(const Node& node) {
  return std::chrono::floor<std::chrono::seconds>(node.duration(0s, 1h));
}

constexpr std::array settings = {
    Each{"service", [](PersistentQueue& q, const Node& n) { q.table.service_name = n.text(); }},
    Each{"job_type",
         [](PersistentQueue& q, const Node& n) {
           q.table.job_type = static_cast<std::int32_t>(n.integer(-2'147'483'647, 2'147'483'647));
         }},
    Each{"database", read_database},
    Each{"max_retries",
         [](PersistentQueue& q, const Node& n) {
           q.table.retries_max = static_cast<std::int32_t>(n.integer(0, 1'000'000));
         }},
    Each{"wait", [](PersistentQueue& q, const Node& n) { q.wait = n.duration(); }},
    Each{"timeout", [](PersistentQueue& q, const Node& n) { q.table.handler_timeout = n.duration(1ms); }},
    Each{"concurrency",
         [](PersistentQueue& q, const Node& n) {
           q.concurrency = static_cast<std::int32_t>(n.integer(1, 10'000));
         }},
    Each{"first_pull_days", read_first_pull},
    Each{"queue_max_size",
         [](PersistentQueue& q, const Node& n) {
           q.table.queue_size_max = static_cast<std::size_t>(n.integer(1, 10'000'000));
         }},
    Each{"load_limit",
         [](PersistentQueue& q, const Node& n) {
           q.table.load_limit = static_cast<std::size_t>(n.integer(1, 1'000'000));
         }},
    Each{"claim", read_claim},
    Each{"lease", [](PersistentQueue& q, const Node& n) { q.table.lease = whole_seconds(n); }},
    Each{"lease_min", [](PersistentQueue& q, const Node& n) { q.table.lease_min = whole_seconds(n); }},
    Each{"renew", [](PersistentQueue& q, const Node& n) { q.table.renew_interval = n.duration(1ms); }},
    Each{"takeover_grace", [](PersistentQueue& q, const Node& n) { q.table.takeover_grace = n.duration(); }},
    Each{"poll", [](PersistentQueue& q, const Node& n) { q.table.poll_interval = n.duration(1ms); }},
    Each{"create_tables", [](PersistentQueue& q, const Node& n) { q.table.create_tables = n.truth(); }},
    Each{"create_index", [](PersistentQueue& q, const Node& n) { q.table.create_index = n.truth(); }},
    Each{"http", [](PersistentQueue& q, const Node& n) { read_http(q.delivery, n); }},
    Each{"command", [](PersistentQueue& q, const Node& n) { read_command(q.delivery, n); }},
};

void read_persistent_queues(Config& config, const Node& node) {
  std::map<std::pair<std::string, std::int32_t>, std::string> services;
  for (const Node& each : node.elements()) {
    PersistentQueue queue;
    // What an attempt may take at most, if nothing is said.
    queue.table.handler_timeout = 30min;
    read_settings<PersistentQueue>(each, queue, settings);
    if (queue.delivery.http.has_value() == queue.delivery.command.has_value())
      each.wrong("needs one of http and command");
    if (queue.url.empty()) {
      each.wrong("has no database; write for instance database: mysql://user@host/name");
    } else if (queue.table.db) {
      each.checked([&] { (void)persistent_queue::worker_lease(queue.table); });
    }
    const auto [found, first] =
        services.emplace(std::pair{queue.url, queue.table.job_type}, queue.table.service_name);
    if (!first) {
      each.wrong(fmt::format("has job type {}, which service \"{}\" has already: every job would run twice",
                             queue.table.job_type, found->second));
    }
    config.persistent_queues.push_back(std::move(queue));
  }
}

struct Gateways {
  Config& config;
};
using Kind = Setting<Gateways>;
constexpr std::array kinds = {
    Kind{"persistent_queue", [](Gateways& g, const Node& n) { read_persistent_queues(g.config, n); }},
};

}  // namespace

void read_gateways(Config& config, const Node& node) {
  Gateways gateways{config};
  read_settings<Gateways>(node, gateways, kinds);
}

}  // namespace tidemill::config
