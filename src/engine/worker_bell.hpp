#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string_view>

#include <tidemill/store.hpp>

namespace tidemill::engine {

/// Wakes the fetcher wherever it waits: in here, or inside the store.
///
/// Thread safety: `ring` may be called from any thread, the others from one.
class WorkerBell {
 public:
  /// Ends the wait under way, or the next one at once.
  void ring();
  /// True if it was rung.
  bool nap(Duration longest);
  Wake wait(Store& store, std::string_view worker, std::span<const std::string_view> queues,
            Duration longest);

 private:
  std::mutex mutex_;
  std::condition_variable rings_;
  bool rung_ = false;                       // Guarded by mutex_.
  std::optional<std::stop_source> inside_;  // While it waits inside the store. Guarded by mutex_.
};

}  // namespace tidemill::engine
