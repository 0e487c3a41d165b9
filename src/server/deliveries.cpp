#include "server/deliveries.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <tidemill/persistent_queue.hpp>

#include "deliver/http_delivery.hpp"

namespace tidemill::server {

namespace {

/// Deliveries by HTTP need threads only to begin them.
constexpr std::int32_t threads = 4;

http::ClientOptions client_options(const config::Outgoing& outgoing) {
  return {.in_flight_max = outgoing.in_flight_max,
          .per_host_max = outgoing.per_host_max,
          .connect_timeout = std::chrono::ceil<std::chrono::milliseconds>(outgoing.connect_timeout),
          .allow_networks = outgoing.allow_networks};
}

}  // namespace

Handler Deliveries::handler_of(const config::Delivery& delivery, const std::vector<std::string>& secrets) {
  if (delivery.http) return deliver::http_handler(*delivery.http, client_);
  deliver::CommandDelivery command = *delivery.command;
  command.withheld = secrets;
  return commands_.handler(std::move(command));
}

Deliveries::Deliveries(Store& store, const config::Config& config, Log log)
    : log_(std::move(log)),
      shutdown_timeout_(config.shutdown_timeout),
      client_(client_options(config.outgoing)),
      commands_(static_cast<std::size_t>(config.commands)) {
  const std::vector<std::string> secrets = config::secret_variables(config);
  for (const config::Delivery& delivery : config.deliveries) {
    for (const std::string& kind : delivery.kinds) {
      try {
        router_.handle(kind, handler_of(delivery, secrets),
                       {.retry = delivery.retry, .isolated = delivery.http.has_value()});
      } catch (const Error& error) {
        throw Error{error.kind(), fmt::format("the delivery of {}: {}", kind, error.what())};
      }
    }
  }
  for (const config::PersistentQueue& queue : config.persistent_queues) {
    Gateway& gateway = gateways_.emplace_back();
    gateway.from = queue;
    gateway.router.handle(persistent_queue::kind_name(queue.table.job_type),
                          handler_of(queue.delivery, secrets));
  }
  if (config.deliveries.empty()) return;
  worker_ = std::make_unique<Worker>(store, router_,
                                     WorkerOptions{.queues = config.queues,
                                                   .strict = config.strict,
                                                   .concurrency = config.concurrency,
                                                   .threads = std::min(threads, config.concurrency),
                                                   .shutdown_timeout = config.shutdown_timeout,
                                                   .log = log_});
}

void Deliveries::open_gateways() {
  std::vector<persistent_queue::TableOptions> tables;
  for (Gateway& gateway : gateways_) {
    gateway.from.table.log = log_;
    tables.push_back(gateway.from.table);
  }
  // Together, as those of one service share its lease.
  std::vector<std::unique_ptr<Store>> stores = persistent_queue::open_tables(std::move(tables));
  auto store = stores.begin();
  for (Gateway& gateway : gateways_) {
    gateway.store = std::move(*store++);
    const persistent_queue::TableOptions& table = gateway.from.table;
    const persistent_queue::WorkerLease lease = persistent_queue::worker_lease(table);
    gateway.worker =
        std::make_unique<Worker>(*gateway.store, gateway.router,
                                 WorkerOptions{.queues = {{.name = persistent_queue::queue_name(table)}},
                                               .concurrency = gateway.from.concurrency,
                                               .threads = std::min(threads, gateway.from.concurrency),
                                               .retry = RetryPolicy::table({gateway.from.wait}),
                                               .lease = lease.lease,
                                               .beat = lease.beat,
                                               .margin = lease.margin,
                                               .poll = table.poll_interval,
                                               .shutdown_timeout = shutdown_timeout_,
                                               .log = log_});
  }
}

void Deliveries::start() {
  open_gateways();
  for (Gateway& gateway : gateways_) gateway.worker->start();
  if (worker_) worker_->start();
}

Deliveries::~Deliveries() { stop(); }

void Deliveries::stop() {
  if (worker_) worker_->stop();
  for (Gateway& gateway : gateways_) {
    if (gateway.worker) gateway.worker->stop();
    gateway.worker.reset();
    gateway.store.reset();  // Releases the lease.
  }
  client_.stop();
}

}  // namespace tidemill::server
