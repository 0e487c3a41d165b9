#include "gateways/persistent_queue/lease_row.hpp"

#include <utility>
#include <vector>

#include "gateways/persistent_queue/rows.hpp"

namespace tidemill::persistent_queue {

namespace {

const std::string read_row =
    "SELECT locked_by, UNIX_TIMESTAMP(lock_until) - UNIX_TIMESTAMP() FROM shedlock_tab WHERE lock_name = ?";
const std::string create_row =
    "INSERT IGNORE INTO shedlock_tab (lock_name, lock_until, locked_at, locked_by) "
    "VALUES (?, NOW(), NOW(), ?)";
const std::string acquire_row =
    "UPDATE shedlock_tab SET lock_until = NOW() + INTERVAL ? SECOND, locked_at = NOW(), locked_by = ? "
    "WHERE lock_name = ? AND lock_until <= NOW()";
const std::string renew_row =
    "UPDATE shedlock_tab SET lock_until = NOW() + INTERVAL ? SECOND, locked_at = NOW() "
    "WHERE lock_name = ? AND locked_by = ? AND lock_until > NOW()";
const std::string resume_row =
    "UPDATE shedlock_tab SET lock_until = NOW() + INTERVAL ? SECOND, locked_at = NOW() "
    "WHERE lock_name = ? AND locked_by = ?";
const std::string release_row =
    "UPDATE shedlock_tab SET lock_until = GREATEST(locked_at + INTERVAL ? SECOND, NOW()) "
    "WHERE lock_name = ? AND locked_by = ?";

/// While it lives, no other thread has the connection, and its session is in UTC.
class InUtc {
 public:
  explicit InUtc(const SqlHandle& db) : db_(db), lock_(db.lock()) {
    before_ = text_of(db_.query("SELECT @@session.time_zone").at(0), 0);
    if (before_ != utc) set(utc);
  }
  ~InUtc() {
    if (before_ == utc) return;
    try {
      set(before_);
    } catch (const std::exception&) {
      // The connection is gone, and its session with it.
    }
  }
  InUtc(const InUtc&) = delete;
  InUtc& operator=(const InUtc&) = delete;

 private:
  static constexpr std::string_view utc = "+00:00";
  void set(std::string_view zone) {
    const SqlValue value{std::string{zone}};
    db_.execute("SET SESSION time_zone = ?", {&value, 1});
  }

  const SqlHandle& db_;
  std::unique_lock<std::recursive_mutex> lock_;
  std::string before_;
};

}  // namespace

std::optional<LeaseRow::State> LeaseRow::read() {
  const SqlValue name{name_};
  const std::vector<SqlRow> rows = db_.query(read_row, {&name, 1});
  if (rows.empty()) return {};
  return State{text_of(rows[0], 0), integer_of(rows[0], 1)};
}

std::int64_t LeaseRow::change(const std::string& text, std::vector<SqlValue> values) {
  const InUtc utc{db_};
  return db_.execute(text, values);
}

/// A connection may count the rows that are no longer as before, instead of those that match; so a count of
/// zero says nothing where the values may be the same: the row does.
bool LeaseRow::is_mine(bool must_last) {
  const std::optional<State> row = read();
  return row && row->owner == owner_ && (!must_last || row->seconds_left > 0);
}

bool LeaseRow::acquire() {
  if (!read()) change(create_row, {name_, owner_});
  if (change(acquire_row, {length_.count(), owner_, name_}) > 0) return true;
  // It may be ours from before; then it shall last from now on.
  return is_mine(true) && renew() == Renewal::renewed;
}

LeaseRow::Renewal LeaseRow::renew() {
  const bool matched = change(renew_row, {length_.count(), name_, owner_}) > 0 || is_mine(true);
  if (matched) return Renewal::renewed;
  // Whoever takes it writes his name: so if it is still ours nobody has had it.
  const bool resumed = change(resume_row, {length_.count(), name_, owner_}) > 0 || is_mine(true);
  return resumed ? Renewal::renewed : Renewal::lost;
}

bool LeaseRow::release(std::chrono::seconds least) {
  return change(release_row, {least.count(), name_, owner_}) > 0 || is_mine(false);
}

}  // namespace tidemill::persistent_queue
