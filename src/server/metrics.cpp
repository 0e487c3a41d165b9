#include "server/metrics.hpp"

#include <fmt/format.h>

#include <tidemill/version.hpp>

namespace tidemill::server {

namespace {

using namespace std::chrono_literals;

/// The engine claims every second at least, also when there is nothing to do.
constexpr auto ready_within = 15s;

}  // namespace

void Metrics::add_routes(Routes& routes) {
  routes.add({.method = "GET",
              .pattern = "/metrics",
              .summary = "Depths, times and outcomes, as Prometheus reads them",
              .roles = viewers,
              .all_queues = true,  // Counters are of all queues together.
              .handle = [this](const Ask&) { return metrics(); }});
  routes.add({.method = "GET",
              .pattern = "/readyz",
              .summary = "Whether a claim has succeeded of late",
              .handle = [this](const Ask&) { return ready(); }});
}

http::Response Metrics::ready() const {
  const auto last = meter_ == nullptr ? std::chrono::steady_clock::time_point{} : meter_->last_claim();
  if (last == std::chrono::steady_clock::time_point{} ||
      std::chrono::steady_clock::now() - last > ready_within)
    throw Problem{503, "store_unready", "no claim has succeeded of late"};
  return {200, "text/plain", {}, "ok\n"};
}

http::Response Metrics::metrics() const {
  std::string out = fmt::format(
      "# HELP tidemill_info The server's version.\n# TYPE tidemill_info gauge\n"
      "tidemill_info{{version=\"{}\"}} 1\n",
      version());
  const auto to = std::back_inserter(out);
  const auto queues = service_.inspector.queues();
  fmt::format_to(
      to, "# HELP tidemill_queue_tasks Tasks of a queue, by state.\n# TYPE tidemill_queue_tasks gauge\n");
  for (const QueueInfo& queue : queues) {
    for (unsigned i = 1; i < state_count; ++i) {
      const State state{static_cast<std::uint8_t>(i)};
      fmt::format_to(to, "tidemill_queue_tasks{{queue=\"{}\",state=\"{}\"}} {}\n", label_value(queue.name),
                     to_string(state), queue.count(state));
    }
  }
  fmt::format_to(
      to,
      "# HELP tidemill_queue_oldest_seconds How long the longest-waiting pending task has waited.\n"
      "# TYPE tidemill_queue_oldest_seconds gauge\n");
  for (const QueueInfo& queue : queues) {
    fmt::format_to(to, "tidemill_queue_oldest_seconds{{queue=\"{}\"}} {}\n", label_value(queue.name),
                   std::chrono::duration<double>(queue.oldest).count());
  }
  fmt::format_to(to,
                 "# HELP tidemill_queue_paused Whether nothing is claimed from the queue.\n"
                 "# TYPE tidemill_queue_paused gauge\n");
  for (const QueueInfo& queue : queues) {
    fmt::format_to(to, "tidemill_queue_paused{{queue=\"{}\"}} {}\n", label_value(queue.name),
                   queue.paused ? 1 : 0);
  }
  const auto alive = service_.inspector.workers();
  std::int64_t slots = 0;
  std::int64_t busy = 0;
  for (const WorkerInfo& worker : alive) {
    slots += worker.slots;
    busy += worker.busy;
  }
  fmt::format_to(to,
                 "# HELP tidemill_workers Workers that have beaten of late.\n# TYPE tidemill_workers gauge\n"
                 "tidemill_workers {}\n# HELP tidemill_slots Their slots.\n# TYPE tidemill_slots gauge\n"
                 "tidemill_slots {}\n# HELP tidemill_slots_busy Their slots that run a task.\n"
                 "# TYPE tidemill_slots_busy gauge\ntidemill_slots_busy {}\n",
                 alive.size(), slots, busy);
  for (const Gauge& gauge : service_.store.gauges()) {
    fmt::format_to(to,
                   "# HELP tidemill_store_{0} {1}\n# TYPE tidemill_store_{0} gauge\ntidemill_store_{0} {2}\n",
                   gauge.name, gauge.help, gauge.value);
  }
  if (meter_ != nullptr) out += meter_->text();
  return {200, "text/plain; version=0.0.4", {}, std::move(out)};
}

}  // namespace tidemill::server
