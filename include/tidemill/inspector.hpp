#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/client.hpp>
#include <tidemill/schedule.hpp>
#include <tidemill/store.hpp>

namespace tidemill {

/// What an operator can do to a task. From which states, and to which: docs/states.md.
enum class Act : std::uint8_t {
  run,         ///< Make it pending now, with fresh retries if it was archived or completed.
  hold,        ///< Stop it until resumed; a running one is stopped by its stop token.
  resume,      ///< Make a held one pending.
  cancel,      ///< Archive it as "cancelled"; a running one is stopped by its stop token.
  archive,     ///< Move one that doesn't run to the archive.
  erase,       ///< Delete one that doesn't run.
  reschedule,  ///< Make one that waits due at another time.
  move,        ///< Put one that waits into another queue, with its id, key and history.
};
std::string_view to_string(Act act) noexcept;
std::optional<Act> parse_act(std::string_view name) noexcept;

/// An act with what it needs to know; most need nothing.
struct Action {
  Act act = Act::run;
  std::optional<TimePoint> run_at = {};  ///< reschedule: when it is due.
  std::string queue = {};                ///< move: where to.

  Action(Act a) : act(a) {}  // NOLINT(google-explicit-constructor): meant to be implicit
  static Action reschedule(TimePoint run_at);
  static Action move(std::string queue);
};

struct TaskQuery {
  Filter filter = {};
  std::string cursor = {};                           ///< `Page::next` of the page before.
  std::size_t limit = 50;                            ///< 1 to 1000.
  Duration budget = std::chrono::milliseconds{200};  ///< How long the store may look for one page.
};

struct BulkResult {
  struct Failure {
    Ref ref = {};
    Changed why = Changed::failed;  ///< failed, exists or conflict.
  };

  std::size_t changed = 0;             ///< Moved, or signalled if they run.
  std::size_t unchanged = 0;           ///< Gone, in a state that the act does not apply to, or failed.
  std::size_t failed = 0;              ///< Of these: the act applies to them, and could not be carried out.
  std::vector<Failure> failures = {};  ///< The first 1000 that have failed.
  std::size_t step = 0;                ///< Of the next step; `progress` may change it.

  /// Counts what became of a task.
  void add(const Ref& ref, Changed answer);
};

/// Looks into the queues of a store and operates on them. All that command line, server and console do goes
/// through this class.
///
/// Thread safety: all members may be called from any thread.
class Inspector {
 public:
  /// `store` must outlive the inspector. Throws Error{unsupported} when it can't list tasks.
  explicit Inspector(Store& store);
  ~Inspector();
  Inspector(const Inspector&) = delete;
  Inspector& operator=(const Inspector&) = delete;

  std::vector<QueueInfo> queues();
  void pause(std::string_view queue);
  void resume(std::string_view queue);
  /// Takes a queue off the list, with its pause; the next task puts it there again. `absent` when it isn't
  /// listed, `wrong_state` when it has tasks. With `force` its tasks are erased first, as `act` does: then
  /// only those that run, that are in a worker's hands with their group, or that come meanwhile are
  /// `wrong_state`. If some run at the beginning, nothing is erased.
  Changed erase_queue(std::string_view queue, bool force = false);
  /// Groups of the queue that have tasks, by name, after the name `after`; at most `limit`, 1 to 1000.
  std::vector<GroupInfo> groups(std::string_view queue, std::string_view after = {}, std::size_t limit = 100);

  Page tasks(const TaskQuery& query);
  std::optional<Task> task(const Ref& ref);
  /// One answer each, in their order.
  std::vector<std::optional<Task>> tasks(std::span<const Ref> refs);
  /// The attempts that are kept, oldest first, with their errors and log lines.
  std::vector<Attempt> attempts(const Ref& ref);

  /// Changed or signalled, or why not. Throws Error{invalid} when a reschedule has no time, or a move no
  /// queue or that in which the task is.
  Changed act(const Action& action, const Ref& ref);
  std::vector<Changed> act(const Action& action, std::span<const Ref> refs);
  /// All tasks that match now, in steps of at most `step`: tasks that come later are left alone. `progress`
  /// is called after each step; when it returns false, the rest is left.
  BulkResult act(const Action& action, const Filter& filter, std::size_t step = 500,
                 const std::function<bool(BulkResult&)>& progress = {});
  /// Overwrites a task that doesn't run and has not succeeded. `change` gets it as it is and makes it what it
  /// shall be: kind, payload, headers, priority, retries_max, crashes_max, timeout, retention, deadline and
  /// expires_at count, all else is left as it is. A key that was made from kind and payload is made anew.
  ///
  /// With `expected`, the `etag` of the task as somebody saw it, an edit of any other answers `stale`;
  /// without, `change` is called again when the task changes meanwhile. Throws Error{invalid} for what could
  /// not be enqueued either.
  Changed edit(const Ref& ref, const std::function<void(NewTask&)>& change, std::string_view expected = {});

  /// Outcomes a minute or day, by queue and kind; an empty queue: all. At most one beat (8 s) of a killed
  /// worker is missing in them; the counts of `queues` are exact.
  std::vector<Stat> stats(Span span, TimePoint from, TimePoint to, std::string_view queue = {});

  std::vector<WorkerInfo> workers();
  /// quiet, resume or stop. False when there is no such worker.
  bool signal_worker(std::string_view id, Signal signal);

  /// Also those of other programs' schedulers that share the store. They are read-only: to change, pause,
  /// erase or fire one is an Error{conflict} that names its scheduler.
  std::vector<ScheduleInfo> schedules();
  std::optional<ScheduleInfo> schedule(std::string_view id);
  /// Makes or changes a schedule; its next instant is computed anew from the last one that fired. Throws
  /// Error{invalid} for a spec, zone or task that isn't right.
  void put_schedule(const Schedule& schedule);
  /// All schedules of `owner` become these; others of that owner are erased. Answers how many changed.
  std::size_t sync_schedules(std::string_view owner, std::span<const Schedule> schedules);
  /// False when there is no such schedule.
  bool pause_schedule(std::string_view id, bool paused);
  bool erase_schedule(std::string_view id);
  /// Enqueues the schedule's task now, besides its instants. None when there is no such schedule.
  std::optional<Enqueued> fire_schedule(std::string_view id);
  /// What became of the last instants of each of these schedules, the newest first, `firings_max` of each at
  /// most. They are written after the task is: what a scheduler did just before it was killed may be missing.
  /// Throws Error{unsupported} when the store has no documents.
  std::vector<std::vector<FiringInfo>> schedule_firings(std::span<const std::string> ids);
  /// The instants of a schedule from `from` to before `to`, `count_max` at most: what it would have fired
  /// for, had nothing been missed. Throws Error{invalid} for one of `@every`, whose instants hang on when it
  /// began.
  static std::vector<TimePoint> schedule_instants(const Schedule& schedule, TimePoint from, TimePoint to,
                                                  std::size_t count_max);
  /// Enqueues the schedule's task once for each of these instants, besides those that fire and whatever its
  /// overlap says; the task's header "schedule-instant" has the instant, in RFC 3339. Its id is made from
  /// schedule and instant, and its unique key, unless the schedule has one, is kept for a day: a repeat makes
  /// none twice. One answer each, in their order; none when there is no such schedule.
  std::optional<std::vector<Enqueued>> backfill_schedule(std::string_view id,
                                                         std::span<const TimePoint> instants);

  /// The store's time.
  TimePoint now();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill
