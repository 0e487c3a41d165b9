#pragma once

#include "engine/store_clock.hpp"
#include "server/service.hpp"

namespace tidemill {
class Locks;
}

namespace tidemill::server {

/// Named locks over HTTP.
class LockRoutes {
 public:
  /// `service` must outlive it.
  explicit LockRoutes(Service& service);
  void add_routes(Routes& routes);

 private:
  Locks& locks() const;
  http::Response acquire(const Ask& ask);
  http::Response extend(const Ask& ask);
  http::Response release(const Ask& ask);
  http::Response list(const Ask& ask);

  Service& service_;
  engine::StoreClock clock_;
};

}  // namespace tidemill::server
