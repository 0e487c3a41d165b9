#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include <tidemill/store.hpp>

#include "engine/attempt.hpp"
#include "engine/store_clock.hpp"
#include "engine/worker_trouble.hpp"

namespace tidemill::engine {

class WorkerCore;
using AttemptPtr = std::shared_ptr<detail::Attempt>;

/// The one thread that reports: while one batch is in flight, the next gathers. What the store could not take
/// is tried again until it answers, since a lease that has run out may still be good. Owned by the core.
///
/// Thread safety: all members may be called from any thread, but for start and finish.
class WorkerReporter {
 public:
  explicit WorkerReporter(WorkerCore& core);
  void start();
  /// Sends what is left, but gives up if the store doesn't take it by then. Nothing may be added any more.
  void finish(Steady until);

  /// `report.lease` is the attempt's.
  void add(const AttemptPtr& attempt, Report report);
  /// So much waits that no more should be claimed.
  bool is_behind() const noexcept { return waiting_.load(std::memory_order_relaxed) >= behind; }
  /// Those whose report the store has not taken: their leases are still to be renewed.
  std::vector<AttemptPtr> held();

 private:
  static constexpr std::size_t behind = 4096;

  struct Batch {
    std::vector<AttemptPtr> attempts;
    std::vector<Report> reports;  ///< One each.
    std::vector<int> tries;       ///< One each: how often the store has failed this one item.
    bool empty() const { return attempts.empty(); }
    std::size_t size() const { return attempts.size(); }
    void add(AttemptPtr attempt, Report report, int tried);
  };

  void loop();
  /// False when it is over.
  bool gather();
  void send_all();
  /// Sends reports of `sending_` from `begin` on; the answer is where it stopped.
  std::size_t send(std::size_t begin);
  std::vector<Reported> call(std::span<const Report> reports);
  void settle(std::size_t at, Reported answer);
  void count(const detail::Attempt& attempt, const Report& report);
  bool given_up();
  void pause(Duration length);

  WorkerCore& core_;
  Lane lane_;
  Trouble trouble_;
  std::atomic<std::size_t> waiting_{0};

  std::mutex mutex_;
  std::condition_variable more_;
  Batch gathered_;          // Guarded by mutex_.
  Batch sending_;           // Changed under mutex_, and by the reporter only: so that one reads it without.
  bool asleep_ = false;     // Guarded by mutex_.
  bool finishing_ = false;  // Guarded by mutex_.
  Steady until_{};          // Guarded by mutex_.
  Batch failed_;            // The reporter's own, for one round.
  std::thread thread_;
};

}  // namespace tidemill::engine
