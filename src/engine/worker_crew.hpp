#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/store_clock.hpp"

namespace tidemill::engine {

/// Threads that run user code, and so may never end: those that don't are left behind.
///
/// Thread safety: none.
class WorkerCrew {
 public:
  WorkerCrew() = default;
  WorkerCrew(const WorkerCrew&) = delete;
  WorkerCrew& operator=(const WorkerCrew&) = delete;
  /// As `leave`, without waiting.
  ~WorkerCrew();

  /// `body` must keep alive what it needs, and must not throw. `name` is for debuggers: 15 characters at
  /// most.
  void add(const char* name, std::function<void()> body);
  std::size_t size() const noexcept { return members_.size(); }
  /// Waits for the threads to end, and lets go of those that haven't by then. The answer is how many those
  /// are.
  std::size_t leave(Steady until);

 private:
  struct Ends {
    std::mutex mutex;
    std::condition_variable one_more;
  };
  struct Member {
    std::thread thread;
    std::shared_ptr<bool> ended;  // Guarded by Ends::mutex.
  };
  std::shared_ptr<Ends> ends_ = std::make_shared<Ends>();
  std::vector<Member> members_;
};

/// Names the calling thread for debuggers.
void name_thread(const char* name) noexcept;

}  // namespace tidemill::engine
