#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <tidemill/store.hpp>

#include "drivers/sqlite/sqlite.hpp"
#include "stores/sql/hub.hpp"
#include "stores/sqlite/names.hpp"

namespace tidemill::sqlite_store {

using sql_store::Hub;
using sql_store::News;

/// Where numbers come from that never come twice.
enum class Counter : std::uint8_t { fence, version };

/// One write transaction: what its operations share. Counts, and what others may wait for, gather in memory;
/// counts are written once, at its end.
class Write : public Scope {
 public:
  using Scope::Scope;

  std::int64_t intern_queue(std::string_view name) { return intern(NameTable::queue, name); }
  std::int64_t intern_kind(std::string_view name) { return intern(NameTable::kind, name); }

  void count(std::int64_t queue, State state, std::int64_t tasks);
  /// A task has come into `state` at `at`: counts it, and tells those who wait for such.
  void arrived(std::int64_t queue, State state, TimePoint at);
  void left(std::int64_t queue, State state) { count(queue, state, -1); }
  /// One of the leases of this claim has ended.
  void lease_ended(std::int64_t claim);
  void unpaused(std::int64_t queue) { touched(queue).ready = true; }
  /// Greater than all that the counter has given, and not less than `now` in microseconds.
  std::int64_t next_number(Counter counter, TimePoint now);
  /// There is a signal for this worker, or for the holder of a lease.
  void signalled(std::string_view worker);

  /// Writes what has gathered. Comes last before the commit.
  void finish();
  /// After the commit: what we know is now true for all.
  News committed();
  /// After a rollback: forgets everything.
  void rolled_back();

 private:
  struct Touched {
    std::int64_t queue = 0;
    std::int64_t tasks[state_count] = {};
    bool ready = false;
    std::optional<TimePoint> due = {};
  };
  Touched& touched(std::int64_t queue);

  std::vector<Touched> touched_;
  std::size_t last_ = 0;                                  // Index of the queue that was asked for last.
  std::unordered_map<std::int64_t, std::int64_t> ended_;  // Leases by claim.
  std::int64_t last_claim_ = 0;
  std::int64_t* last_ended_ = nullptr;  // Its number in `ended_`.
  std::vector<std::string> workers_;
};

}  // namespace tidemill::sqlite_store
