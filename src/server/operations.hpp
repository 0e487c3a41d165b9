#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include <tidemill/router.hpp>
#include <tidemill/worker.hpp>

#include "server/idempotency.hpp"
#include "server/operation_notes.hpp"
#include "server/service.hpp"

namespace tidemill::server {

struct Plan;

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
  struct UnderWay {
    std::set<std::string> ids = {};                 ///< Of those that have not ended, a hundred at most.
    std::map<std::string, std::string> texts = {};  ///< What there is to say of these, and of `also`.
  };
  UnderWay under_way(const std::set<std::string>& also) const;

  void start() { worker_->start(); }
  /// Gives back what it works on. May be called twice.
  void close();

 private:
  http::Response create(const Ask& ask);
  http::Response backfill(const Ask& ask);
  http::Response enqueue(const Ask& ask, const Plan& plan);
  http::Response list(const Ask& ask);
  http::Response show(const Ask& ask);
  http::Response control(const Ask& ask, Act act);
  http::Response set_rate(const Ask& ask);
  http::Response list_failures(const Ask& ask);
  http::Response retry_failed(const Ask& ask);
  void write(json::Writer& writer, const Task& task, const OperationNote& note) const;
  std::string describe(const Task& task) const;
  Task find(const Ask& ask) const;
  Outcome carry_out(Context& context) const;
  Outcome carry_out_backfill(Context& context) const;

  Service& service_;
  Idempotency idempotency_;
  OperationNotes notes_;
  Router router_;
  std::unique_ptr<Worker> worker_;
};

}  // namespace tidemill::server
