#pragma once

#include <map>
#include <mutex>

#include <tidemill/locks.hpp>

namespace tidemill::memory {

/// Thread safety: all members may be called from any thread.
class MemoryLocks final : public Locks {
 public:
  LockInfo acquire(std::string_view name, std::string_view owner, Duration length, const Call& call) override;
  bool extend(std::string_view name, std::string_view owner, std::uint64_t fence, Duration length,
              const Call& call) override;
  bool release(std::string_view name, std::string_view owner, std::uint64_t fence, const Call& call) override;
  std::vector<LockInfo> list(std::string_view after, std::size_t limit, const Call& call) override;

  /// Deletes those that have run out, `limit` at most, and answers how many.
  std::size_t purge(TimePoint now, std::size_t limit);

 private:
  /// Null when it isn't held so. Wants the mutex held.
  LockInfo* find(std::string_view name, std::string_view owner, std::uint64_t fence, TimePoint now);

  std::mutex mutex_;  // Guards all that follows.
  std::map<std::string, LockInfo, std::less<>> locks_;
  std::uint64_t fence_ = 0;  // The last.
};

}  // namespace tidemill::memory
