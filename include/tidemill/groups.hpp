#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/clock.hpp>
#include <tidemill/store.hpp>
#include <tidemill/task.hpp>

/// Groups of tasks that become one task each: an optional part of the port. Programs use
/// `WorkerOptions::groups`, worker.hpp, on top of it.
namespace tidemill {

/// When a group is due: one of these is enough.
struct GroupRule {
  std::size_t size_max = 1;  ///< It has so many tasks; no set has more. 1 or more.
  Duration delay_max{};      ///< Its first task has waited for so long; zero: no such limit.
  Duration grace{};          ///< No task has come for so long.
};

struct Gather {
  std::string_view worker;
  std::span<const std::string_view> queues;
  GroupRule rule = {};
  std::size_t count_max = 1;  ///< Sets, in one call; of one group one at most.
  std::size_t bytes_max = 0;  ///< Of one set, about; the first task comes however large; zero: no limit.
  Duration lease{};
};

/// A group's oldest tasks, under one lease. They stay `aggregating`, and until the set is settled, or its
/// lease runs out, nobody can change them.
struct TaskSet {
  std::string queue = {}, group = {};
  std::vector<Task> tasks = {};  ///< In the order in which they came; never empty.
  std::string token = {};        ///< New with every set and never a counter; opaque to all but the store.
  Duration length{};
};

struct Gathered {
  std::vector<TaskSet> sets = {};
  TimePoint now{};
  /// No group of these queues falls due sooner by the same rule, unless tasks come. None: there is no group.
  std::optional<TimePoint> next_due = {};
};

/// The end of a set.
struct Settle {
  const TaskSet* set = nullptr;
  /// Takes the place of all the set's tasks, in one write: they are gone, their unique keys are free (but for
  /// those that outlive their task), and it is there. Of the set's queue. None: they go back to their group,
  /// with the times at which they came.
  std::optional<Task> merged = {};
  /// Of what goes back: the group isn't due again before. Counted from `Call::now`.
  Duration delay{};
};

/// Thread safety: all members may be called from any thread.
class Groups {
 public:
  virtual ~Groups() = default;

  /// Leases due groups of queues that aren't paused. No task is in two sets. A set whose lease has run out
  /// goes back to its group in `Store::sweep`.
  virtual Gathered gather(const Gather& gather, const Call& call) = 0;
  /// Answers one item each. `lost`: the set went back to its group, or was settled before. `failed`: nothing
  /// was written, since a task with the merged one's id is there, or another than the set's holds its unique
  /// key, or the store can't take it.
  virtual std::vector<Reported> settle(std::span<const Settle> ends, const Call& call) = 0;
};

}  // namespace tidemill
