#include "stores/memory/locks.hpp"

#include <algorithm>

#include "core/named.hpp"

namespace tidemill::memory {

LockInfo* MemoryLocks::find(std::string_view name, std::string_view owner, std::uint64_t fence,
                            TimePoint now) {
  const auto found = locks_.find(name);
  if (found == locks_.end()) return nullptr;
  LockInfo& lock = found->second;
  return lock.owner == owner && lock.fence == fence && lock.until > now ? &lock : nullptr;
}

LockInfo MemoryLocks::acquire(std::string_view name, std::string_view owner, Duration length,
                              const Call& call) {
  rules::check_lock(name, owner, length);
  const std::lock_guard guard{mutex_};
  LockInfo& lock = locks_[std::string{name}];
  const bool held = lock.fence != 0 && lock.until > call.now;
  if (held && lock.owner != owner) return lock;
  if (!held) {
    fence_ = static_cast<std::uint64_t>(
        std::max<std::int64_t>(static_cast<std::int64_t>(fence_) + 1, call.now.time_since_epoch().count()));
    lock = {.name = std::string{name}, .owner = std::string{owner}, .fence = fence_};
  }
  lock.until = call.now + length;
  return lock;
}

bool MemoryLocks::extend(std::string_view name, std::string_view owner, std::uint64_t fence, Duration length,
                         const Call& call) {
  rules::check_lock(name, owner, length);
  const std::lock_guard guard{mutex_};
  LockInfo* const lock = find(name, owner, fence, call.now);
  if (lock != nullptr) lock->until = call.now + length;
  return lock != nullptr;
}

bool MemoryLocks::release(std::string_view name, std::string_view owner, std::uint64_t fence,
                          const Call& call) {
  rules::check_lock(name, owner);
  const std::lock_guard guard{mutex_};
  if (find(name, owner, fence, call.now) == nullptr) return false;
  locks_.erase(locks_.find(name));
  return true;
}

std::vector<LockInfo> MemoryLocks::list(std::string_view after, std::size_t limit, const Call& call) {
  const std::lock_guard guard{mutex_};
  std::vector<LockInfo> held;
  for (auto at = locks_.upper_bound(after); at != locks_.end() && held.size() < limit; ++at) {
    if (at->second.until > call.now) held.push_back(at->second);
  }
  return held;
}

std::size_t MemoryLocks::purge(TimePoint now, std::size_t limit) {
  const std::lock_guard guard{mutex_};
  std::size_t left = limit;
  return std::erase_if(locks_, [&](const auto& entry) {
    const bool purged = left > 0 && entry.second.until <= now;
    if (purged) --left;
    return purged;
  });
}

}  // namespace tidemill::memory
