#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <tidemill/store.hpp>

#include "drivers/sqlite/sqlite.hpp"
#include "stores/sql/tally.hpp"
#include "stores/sqlite/names.hpp"

namespace tidemill::sqlite_store {

using sql_store::Hub;
using sql_store::News;

/// Where numbers come from that never come twice.
enum class Counter : std::uint8_t { fence, version };

/// One write transaction: what its operations share. Counts are written at its end.
class Write : public Scope, public sql_store::Tally {
 public:
  using Scope::Scope;

  std::int64_t intern_queue(std::string_view name) { return intern(NameTable::queue, name); }
  std::int64_t intern_kind(std::string_view name) { return intern(NameTable::kind, name); }

  /// One of the leases of this claim has ended.
  void lease_ended(std::int64_t claim);
  /// Greater than all that the counter has given, and not less than `now` in microseconds.
  std::int64_t next_number(Counter counter, TimePoint now);

  /// Writes what has gathered. Comes last before the commit.
  void finish();
  /// After the commit: what we know is now true for all.
  News committed();
  /// After a rollback: forgets everything.
  void rolled_back();

 private:
  std::unordered_map<std::int64_t, std::int64_t> ended_;  // Leases by claim.
  std::int64_t last_claim_ = 0;
  std::int64_t* last_ended_ = nullptr;  // Its number in `ended_`.
};

}  // namespace tidemill::sqlite_store
