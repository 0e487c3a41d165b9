#pragma once

#include <tidemill/locks.hpp>

#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

class PostgresLocks final : public Locks {
 public:
  /// `renewals` is for what must not be late. All must outlive it.
  PostgresLocks(Lane& lane, Lane& renewals, Readers& readers)
      : lane_(lane), renewals_(renewals), readers_(readers) {}

  LockInfo acquire(std::string_view name, std::string_view owner, Duration length, const Call& call) override;
  bool extend(std::string_view name, std::string_view owner, std::uint64_t fence, Duration length,
              const Call& call) override;
  bool release(std::string_view name, std::string_view owner, std::uint64_t fence, const Call& call) override;
  std::vector<LockInfo> list(std::string_view after, std::size_t limit, const Call& call) override;

 private:
  Lane& lane_;
  Lane& renewals_;
  Readers& readers_;
};

}  // namespace tidemill::postgres_store
