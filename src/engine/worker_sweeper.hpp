#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include <tidemill/store.hpp>

#include "engine/store_clock.hpp"
#include "engine/worker_trouble.hpp"

namespace tidemill::engine {

class WorkerCore;

/// The one thread that takes over the leases of dead workers, and has due tasks promoted and old ones purged.
/// Does nothing while the holders of leases may not have been able to renew them. Owned by the core.
///
/// Thread safety: start and finish from one thread.
class WorkerSweeper {
 public:
  explicit WorkerSweeper(WorkerCore& core);
  void start();
  void finish();

 private:
  void loop();
  /// True if there is more.
  bool sweep();
  void take_over(Lease lease, Steady sent);
  /// True at the end.
  bool sleep(Duration length);

  WorkerCore& core_;
  Lane lane_;
  Trouble trouble_;
  std::mutex mutex_;
  std::condition_variable wakes_;
  bool finishing_ = false;  // Guarded by mutex_.
  std::thread thread_;
};

}  // namespace tidemill::engine
