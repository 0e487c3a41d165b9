#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/sql/entry.hpp"
#include "stores/sql/scope.hpp"
#include "stores/sql/tally.hpp"

namespace tidemill::sql_store {

/// Where numbers come from that never come twice.
enum class Counter : std::uint8_t { fence, version };

/// One write transaction: what its operations share. Counts are written at its end, so that their rows are
/// locked for as short as can be.
template <class Database>
class Write : public Scope<Database>, public Tally {
 public:
  using Connection = typename Database::Connection;
  using Naming = sql_store::Naming<Database>;
  using Batch = typename Database::Batch;

  /// In a transaction of our own; `lane` is where its counts go.
  Write(Connection& connection, Naming& naming, Batch opening, std::int64_t lane)
      : Scope<Database>(connection, naming, Scope<Database>::Mode::transaction, std::move(opening)),
        lane_(lane) {}
  /// In the caller's: counts are deltas, as no row may be locked that others need.
  Write(Connection& connection, Naming& naming)
      : Scope<Database>(connection, naming, Scope<Database>::Mode::callers, {}) {}

  std::int64_t intern_queue(std::string_view name) { return this->intern(NameTable::queue, name); }
  std::int64_t intern_kind(std::string_view name) { return this->intern(NameTable::kind, name); }

  /// Greater than all that the counter has given, and not less than `now` in microseconds. Whoever else wants
  /// one waits until this transaction ends.
  std::int64_t next_number(Counter counter, TimePoint now);

  /// Nothing may be told that the server could refuse: either such a thing has just failed, or the
  /// transaction is the caller's.
  bool careful() const noexcept { return careful_ || callers(); }
  void be_careful() noexcept { careful_ = true; }

  /// For one INSERT of all that has gathered; whoever takes them inserts them.
  void gather(std::span<Entry* const> tasks) {
    gathered_.insert(gathered_.end(), tasks.begin(), tasks.end());
  }
  std::vector<Entry*> take_gathered() { return std::exchange(gathered_, {}); }

  /// A task has come into the group.
  void joined(std::int64_t queue, std::string_view group, TimePoint at);
  /// Tells of all that have joined so far.
  void tell_joined();

  /// Tells what has gathered. Comes last before the commit.
  void finish();
  /// How many rows of tasks have been written over or deleted, as far as that was counted. After `finish`.
  std::int64_t died() const noexcept { return died_; }
  /// What others may wait for, once it is committed.
  News news();
  /// No row may be locked that others need.
  bool callers() const noexcept { return !lane_; }

 private:
  struct Joined {
    std::int64_t tasks = 0;
    TimePoint first = TimePoint::max(), last = TimePoint::min();
  };

  const std::optional<std::int64_t> lane_;
  std::map<std::pair<std::int64_t, std::string>, Joined> joined_;
  std::vector<Entry*> gathered_;
  std::int64_t died_ = 0;
  bool careful_ = false;
};

}  // namespace tidemill::sql_store
