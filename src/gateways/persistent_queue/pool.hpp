#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <vector>

namespace tidemill::persistent_queue {

/// Threads that come when there is work and go when they have been idle for a time. The one that became idle
/// last works next, so that the others can go. Who submits keeps to the capacity by himself: the worker has
/// that many slots.
///
/// Thread safety: all members may be called from any thread.
class Pool {
 public:
  using Work = std::function<void()>;

  explicit Pool(std::chrono::seconds expiry) : expiry_(expiry) {}
  /// Waits for all work.
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// Never waits. What the work throws is nobody's.
  void submit(Work work);
  /// How many threads there are.
  std::size_t threads() const;

 private:
  struct Idle {
    std::condition_variable wakes = {};
    Work work = {};
  };
  void loop(Work first);

  const std::chrono::seconds expiry_;
  mutable std::mutex mutex_;
  std::condition_variable gone_;
  // Guarded by mutex_:
  std::vector<Idle*> idle_;  // The last is the one that became idle last.
  std::size_t threads_ = 0;
  bool closing_ = false;
};

}  // namespace tidemill::persistent_queue
