#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include <tidemill/sql.hpp>

namespace tidemill::persistent_queue {

/// The row of `shedlock_tab` of one service, as one owner sees it. All times are the database's; every UPDATE
/// assigns lock_until, which would become "now" otherwise, and none deletes the row.
///
/// NOW() and a TIMESTAMP depend on the session's time zone, which is ambiguous for an hour of each autumn: so
/// each call runs in UTC and sets back what was set.
///
/// Thread safety: all members may be called from any thread. They throw Error.
class LeaseRow {
 public:
  LeaseRow(SqlHandle db, std::string name, std::string owner, std::chrono::seconds length)
      : db_(std::move(db)), name_(std::move(name)), owner_(std::move(owner)), length_(length) {}

  struct State {
    std::string owner = {};
    std::int64_t seconds_left = 0;  ///< Less than 1: it has run out.
  };
  /// None: there is no such row.
  std::optional<State> read();

  /// Statement S1 and S2. True if it is the owner's now, for its whole length; also if it was before.
  bool acquire();
  enum class Renewal : std::uint8_t { renewed, lost };
  /// Statement S3. If the lease has run out and nobody has taken it, it goes on.
  Renewal renew();
  /// Free for others `least` after the last renewal, or at once if that is past; only if it is the owner's.
  /// False if it isn't.
  bool release(std::chrono::seconds least);

  const std::string& name() const noexcept { return name_; }
  const std::string& owner() const noexcept { return owner_; }
  const SqlHandle& db() const noexcept { return db_; }

 private:
  std::int64_t change(const std::string& text, std::vector<SqlValue> values);
  bool is_mine(bool must_last);

  SqlHandle db_;
  std::string name_;
  std::string owner_;
  std::chrono::seconds length_;
};

}  // namespace tidemill::persistent_queue
