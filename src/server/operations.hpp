#pragma once

#include <memory>

#include <tidemill/router.hpp>
#include <tidemill/worker.hpp>

#include "server/idempotency.hpp"
#include "server/service.hpp"

namespace tidemill::server {

/// Acts on many tasks at once. An operation is itself a task, of the queue "tidemill": it survives a restart,
/// is carried on by another server when its own dies, and is held, resumed and cancelled as any other.
///
/// The worker that carries them out also takes over the leases of dead workers and purges.
class Operations {
 public:
  /// `service` must outlive it.
  explicit Operations(Service& service);
  ~Operations();
  Operations(const Operations&) = delete;
  Operations& operator=(const Operations&) = delete;

  void add_routes(Routes& routes);
  void start() { worker_->start(); }
  /// Gives back what it works on. May be called twice.
  void close();

 private:
  http::Response create(const Ask& ask);
  http::Response backfill(const Ask& ask);
  http::Response enqueue(const std::string& plan, const std::string& seed);
  http::Response list(const Ask& ask);
  http::Response show(const Ask& ask);
  http::Response control(const Ask& ask, Act act);
  Task find(const Ask& ask) const;
  Outcome carry_out(Context& context) const;
  Outcome carry_out_backfill(Context& context) const;

  Service& service_;
  Idempotency idempotency_;
  Router router_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace tidemill::server
