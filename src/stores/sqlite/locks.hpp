#pragma once

#include <tidemill/locks.hpp>

#include "stores/sqlite/lane.hpp"
#include "stores/sqlite/readers.hpp"

namespace tidemill::sqlite_store {

class SqliteLocks final : public Locks {
 public:
  /// Both must outlive it.
  SqliteLocks(Lane& lane, Readers& readers) : lane_(lane), readers_(readers) {}

  LockInfo acquire(std::string_view name, std::string_view owner, Duration length, const Call& call) override;
  bool extend(std::string_view name, std::string_view owner, std::uint64_t fence, Duration length,
              const Call& call) override;
  bool release(std::string_view name, std::string_view owner, std::uint64_t fence, const Call& call) override;
  std::vector<LockInfo> list(std::string_view after, std::size_t limit, const Call& call) override;

 private:
  Lane& lane_;
  Readers& readers_;
};

}  // namespace tidemill::sqlite_store
