#pragma once

#include <tidemill/locks.hpp>

#include "drivers/redis/client.hpp"

namespace tidemill::redis_store {

/// All locks are in one hash slot, so that fences of all names go up together.
///
/// Thread safety: all members may be called from any thread.
class RedisLocks final : public Locks {
 public:
  explicit RedisLocks(redis::Client& client) : client_(client) {}

  LockInfo acquire(std::string_view name, std::string_view owner, Duration length, const Call& call) override;
  bool extend(std::string_view name, std::string_view owner, std::uint64_t fence, Duration length,
              const Call& call) override;
  bool release(std::string_view name, std::string_view owner, std::uint64_t fence, const Call& call) override;
  std::vector<LockInfo> list(std::string_view after, std::size_t limit, const Call& call) override;

  /// Deletes those that have run out, `limit` at most, and answers how many.
  std::size_t purge(std::size_t limit, const Call& call);

 private:
  /// Until then; empty: no longer.
  bool keep(std::string_view name, std::string_view owner, std::uint64_t fence, std::string_view until,
            const Call& call);

  redis::Client& client_;
};

}  // namespace tidemill::redis_store
