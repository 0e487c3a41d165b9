#include "server/deliveries.hpp"

#include <fmt/format.h>

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

Deliveries::Deliveries(Store& store, const config::Config& config, Log log)
    : client_(client_options(config.outgoing)), commands_(static_cast<std::size_t>(config.commands)) {
  const std::vector<std::string> secrets = config::secret_variables(config);
  for (const config::Delivery& delivery : config.deliveries) {
    for (const std::string& kind : delivery.kinds) {
      try {
        Handler handler;
        if (delivery.http) {
          handler = deliver::http_handler(*delivery.http, client_);
        } else {
          deliver::CommandDelivery command = *delivery.command;
          command.withheld = secrets;
          handler = commands_.handler(std::move(command));
        }
        router_.handle(kind, std::move(handler),
                       {.retry = delivery.retry, .isolated = delivery.http.has_value()});
      } catch (const Error& error) {
        throw Error{error.kind(), fmt::format("the delivery of {}: {}", kind, error.what())};
      }
    }
  }
  worker_ = std::make_unique<Worker>(store, router_,
                                     WorkerOptions{.queues = config.queues,
                                                   .strict = config.strict,
                                                   .concurrency = config.concurrency,
                                                   .threads = std::min(threads, config.concurrency),
                                                   .shutdown_timeout = config.shutdown_timeout,
                                                   .log = std::move(log)});
}

Deliveries::~Deliveries() { stop(); }

void Deliveries::stop() {
  worker_->stop();
  client_.stop();
}

}  // namespace tidemill::server
