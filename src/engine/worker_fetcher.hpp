#pragma once

#include <memory>
#include <stop_token>
#include <string_view>
#include <thread>
#include <vector>

#include <tidemill/store.hpp>

#include "engine/store_clock.hpp"
#include "engine/worker_trouble.hpp"

namespace tidemill::engine {

class WorkerCore;

/// The one thread that claims: keeps the pool's line filled, and waits in the store when there is nothing, or
/// for the bell when there is no room. Signals that the store's wait tells of go to the keeper at once. Owned
/// by the core.
///
/// Thread safety: start and join from one thread.
class WorkerFetcher {
 public:
  explicit WorkerFetcher(WorkerCore& core);
  void start();
  /// The core is stopping and the bell was rung.
  void join();

 private:
  void loop();
  void claim_or_wait();
  /// Throws what the store throws. True if there may be more.
  bool claim(std::size_t count, std::size_t bytes);
  void wait_for_tasks();
  void wait_for_room();
  void wait(std::span<const std::string_view> queues, Duration longest);
  /// The queues in the order to try: by chance and weight, or as given.
  void arrange(std::size_t count);

  WorkerCore& core_;
  Lane lane_;
  Trouble trouble_;
  std::vector<std::string_view> names_;
  std::vector<std::pair<double, Want>> draw_;
  std::vector<Want> wants_;
  std::optional<TimePoint> next_due_;
  std::size_t likely_ = 0;  ///< How many the next claim may find.
  std::thread thread_;
};

}  // namespace tidemill::engine
