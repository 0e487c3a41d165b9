#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "engine/attempt.hpp"

namespace tidemill::engine {

/// Lets one suspect of a process run at a time: a task that a worker died with. When the process dies again
/// it is then plain which task it was (docs/architecture.md, rule 3). One gate for all workers of the
/// process.
///
/// Thread safety: all members may be called from any thread.
class SuspectGate {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    /// Nobody is inside any more. Called without locks.
    virtual void gate_is_free() = 0;
  };

  static SuspectGate& of_process();

  void listen(const std::weak_ptr<Listener>& listener);
  /// True if it was free, or is the attempt's already.
  bool enter(const detail::Attempt& attempt);
  /// Does nothing if the attempt isn't inside. Must be called without locks: listeners take theirs.
  void leave(const detail::Attempt& attempt);

 private:
  std::mutex mutex_;
  const detail::Attempt* inside_ = nullptr;         // Guarded by mutex_.
  std::vector<std::weak_ptr<Listener>> listeners_;  // Guarded by mutex_.
};

}  // namespace tidemill::engine
