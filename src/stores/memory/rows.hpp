#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tidemill/store.hpp>

namespace tidemill::memory {

/// A task at rest, with what only the store knows of it.
struct Row {
  Task task = {};  ///< `run_at` is when it is or was due; `unique` is as given, whether it still holds the
                   ///< key or not.
  std::uint64_t sequence = 0;  ///< Of its insertion: decides where times are equal.
  TimePoint place{};  ///< Since when it is pending, also while active; else when it came into its state.
  TimePoint lease_end{};
  std::optional<TimePoint> purge_at = {};
  std::string token = {};
  std::string set = {};  ///< The token of the set that it is in; empty: none.
  bool started = false;
  Signal signal = Signal::none;
  std::vector<LogLine> logs = {};  ///< Of the running attempt, as beats brought them.
  std::vector<Attempt> attempts = {};
};

/// Where a task stands in the catalogue's order. Within one queue and state this is also the order in which
/// tasks are claimed, fall due, or lose their leases.
struct Position {
  std::string queue = {};
  State state = State::gone;
  std::int64_t rank = 0;  ///< Pending: the priority, negated; 1 in a set; else zero.
  TimePoint at{};
  std::uint64_t sequence = 0;
  auto operator<=>(const Position&) const = default;
};

Position position(const Row& row);

/// What is known of a queue besides its tasks.
struct Line {
  bool used = false;  ///< It has had a task.
  bool paused = false;
  std::uint64_t rung = 0;  ///< The number of the last change that a waiting worker should know of.
};

/// Who has a unique key, and for how long.
struct Key {
  std::string holder = {};
  std::uint64_t sequence = 0;  ///< The holder's: an id may come again, a sequence doesn't.
  std::optional<TimePoint> until = {};
  bool outlives_task = false;
};

/// A group with tasks that wait in it.
struct Group {
  std::size_t size = 0;
  std::optional<TimePoint> not_before = {};  ///< It isn't due before.
};

/// All tasks, in order, with the unique keys that they hold and the queues that they stand in.
///
/// Thread safety: none; the store's mutex guards it.
class Rows {
 public:
  Row* find(const Ref& ref);
  Row& insert(Row row);
  /// The key goes with the task, unless it was told to outlive it.
  void erase(Row& row);
  /// Into another queue, which must have no task of that id, as a new arrival; the key must have been passed.
  void move(Row& row, const std::string& queue, TimePoint now);

  /// Every change that may move a row goes through here. A row that may be claimed now, or at another time
  /// than before, rings its queue.
  template <class Edit>
  void edit(Row& row, Edit&& change) {
    leave(row);
    std::forward<Edit>(change)(row);
    enter(row);
  }

  /// Rows in one of these states whose time has come (due, or the lease's end), by that time; `limit` at
  /// most. An empty queue: all.
  std::vector<Row*> past(States states, TimePoint now, std::size_t limit, std::string_view queue);
  /// Ended tasks past their retention, the oldest first.
  std::vector<Row*> to_purge(TimePoint now, std::size_t limit);
  /// The first in line; null when none is pending.
  Row* front(std::string_view queue);
  /// When the next task of the queue falls due.
  std::optional<TimePoint> next_due(std::string_view queue) const;

  using Order = std::map<Position, Row*>;
  const Order& order() const noexcept { return order_; }

  // ---- Queues ----
  const std::map<std::string, Line, std::less<>>& lines() const noexcept { return lines_; }
  Line& line(std::string_view queue);
  bool paused(std::string_view queue) const;
  void ring(std::string_view queue) { line(queue).rung = ++changes_; }
  std::uint64_t changes() const noexcept { return changes_; }

  // ---- Groups ----
  /// Null when no task waits in it.
  Group* group(std::string_view queue, std::string_view name);
  /// The tasks that wait in the queue's groups, by group, in the order in which they came.
  std::map<std::string, std::vector<Row*>> waiting(std::string_view queue) const;
  /// The tasks of a set.
  std::vector<Row*> in_set(std::string_view queue, std::string_view token) const;

  // ---- Unique keys ----
  /// The holder; null when the key is free.
  const Key* holder(std::string_view queue, std::string_view key, TimePoint now) const;
  /// The row takes the key of its task, from whoever had it; the window begins now.
  void take_key(const Row& row, TimePoint now);
  /// Gives the key back, if the row still has it and it doesn't outlive the task.
  void release_key(const Row& row);
  bool holds_key(const Row& row, TimePoint now) const;
  /// The key that the row holds becomes this one, with what is left of its window. False when another task
  /// holds that.
  bool pass_key(const Row& row, const std::string& queue, const std::string& key, TimePoint now);
  /// Forgets keys that have run out and whose tasks are gone.
  void purge_keys(TimePoint now);

 private:
  using KeyName = std::pair<std::string, std::string>;
  using GroupName = std::pair<std::string, std::string>;

  void leave(const Row& row);
  void enter(Row& row);

  std::map<Ref, Row> rows_;
  Order order_;
  std::map<std::pair<TimePoint, std::uint64_t>, Row*> purges_;
  std::map<std::string, Line, std::less<>> lines_;
  std::map<GroupName, Group> groups_;
  std::map<KeyName, Key> keys_;
  std::uint64_t sequence_ = 0;
  std::uint64_t changes_ = 0;
};

}  // namespace tidemill::memory
