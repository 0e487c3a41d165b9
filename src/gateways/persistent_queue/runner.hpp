#pragma once

#include <memory>
#include <string>

#include <tidemill/handler.hpp>
#include <tidemill/persistent_queue.hpp>

#include "gateways/persistent_queue/pool.hpp"
#include "gateways/persistent_queue/tables_store.hpp"

namespace tidemill::persistent_queue {

/// What the status that a handler left comes to. Pure.
Outcome outcome_of(Status status, const QueueConfig& config, std::string error);

/// Runs handlers in the pool.
///
/// Thread safety: all members may be called from any thread.
class Runner {
 public:
  /// All must outlive it.
  Runner(const QueueConfig& config, TablesStore& store, Pool& pool, const Logger& logger, Log log)
      : config_(config), store_(store), pool_(pool), logger_(logger), log_(std::move(log)) {}

  /// For the router: hands the job over, and says that its outcome follows.
  Outcome start(Context& context);

 private:
  struct Run;
  void run(Run& run);

  const QueueConfig& config_;
  TablesStore& store_;
  Pool& pool_;
  const Logger logger_;
  const Log log_;
};

}  // namespace tidemill::persistent_queue
