#pragma once

#include "server/meter.hpp"
#include "server/service.hpp"

namespace tidemill::server {

/// /metrics and /readyz.
class Metrics {
 public:
  /// Both must outlive it; without a meter there is less to tell.
  Metrics(Service& service, const Meter* meter) : service_(service), meter_(meter) {}

  void add_routes(Routes& routes);

 private:
  http::Response metrics() const;
  http::Response ready() const;

  Service& service_;
  const Meter* meter_;
};

}  // namespace tidemill::server
