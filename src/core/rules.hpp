#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/client.hpp>
#include <tidemill/groups.hpp>
#include <tidemill/handler.hpp>
#include <tidemill/inspector.hpp>
#include <tidemill/retry.hpp>
#include <tidemill/store.hpp>

/// What becomes of a task, decided in one place and told to the store, so that every store behaves alike.
/// Functions here are pure: time and chance come in as parameters. docs/outcomes.md is generated from them.
namespace tidemill::rules {

// ---- How a task begins

/// Longest names, in bytes.
inline constexpr std::size_t name_bytes_max = 255;

/// The task that a producer asks for, ready for the store. Throws Error{invalid} that names the field, its
/// value and what would be right.
Task admit(std::string_view kind, std::string payload, const EnqueueOptions& options,
           const Capabilities& capabilities);

/// What `Capabilities::task_bytes_max` bounds: kind, payload and headers.
std::size_t bytes_of(const Task& task) noexcept;
/// All that `admit` would refuse of these, but for what the store can't do.
std::vector<std::string> faults_of(std::string_view kind, const EnqueueOptions& options);
/// What is wrong with a task that a store is to take in, of at most so many bytes; empty: nothing.
std::string fault_of(const Task& task, std::size_t bytes_max);
/// The unique key of a task that names none: of one length, whatever kind and payload; SHA-256, as two that
/// meet would lose a task.
std::string key_of(std::string_view kind, std::string_view payload);

/// What `admit` asks of all names, since they go into logs, tables and URLs: none is empty or too long, has
/// control characters, or blanks at either end. `what` says in the message whose name it is.
void check_name(std::string_view what, std::string_view name);
/// For queue names that come by other ways.
void check_queue_name(std::string_view queue);

/// Throws Error{unsupported} with the store's own words when it lacks the feature.
void require(const Capabilities& capabilities, Feature feature);

// ---- How an attempt ends

struct Policy {
  const RetryPolicy& retry;
  std::int32_t deferrals_max = 1000;
  /// Whether an error after which the task is tried again counts as a failure; empty: each one does.
  std::function<bool(std::string_view error)> is_failure = {};
};

/// The attempt as the worker saw it.
struct Ended {
  const Lease& lease;
  const Outcome& outcome;
  StopReason stopped = StopReason::none;
  TimePoint started_at{};
  double random = 0.0;  ///< From [0, 1), for the retry policy's jitter.
};

/// The report of an attempt that ran. Must not be asked for a deferred outcome, nor when the lease is lost.
Report conclude(const Ended& ended, const Policy& policy);

/// Whether the task may not start any more: the report that archives it as "deadline" or "expired".
std::optional<Report> refuse(const Lease& lease, TimePoint now);

/// Not started, and back to its place in the line: no attempt used.
Report give_back(const Lease& lease);

/// Nobody here handles its kind: back with a pause that doubles from a second to a minute.
Report unknown_kind(const Lease& lease);

/// Cancelled or held before its handler started. `signal` is cancel or hold.
Report withdraw(const Lease& lease, Signal signal);

/// Its worker died: `lease` was taken over by a sweep. The first crash is charged to every lease that the
/// dead process held, later ones only to attempts marked as started; at the task's limit it is archived as
/// "poison".
Report crashed(const Lease& lease, TimePoint now);

/// Whether the attempt must be marked as started, durably, before it runs: a suspect, or a task that one
/// crash would end.
bool must_mark(const Task& task) noexcept;
/// Whether a worker died while it held this task: a process runs one such at a time.
bool suspect(const Task& task) noexcept;

// ---- How a group becomes one task

/// The task that takes a set's place, of its queue. Throws Error{invalid} as `admit` does, and for one that
/// would wait in a group again.
Task merge(NewTask merged, const TaskSet& set, const Capabilities& capabilities);

/// For how long a group rests that could not be merged, so many times in a row: a second at first, twice as
/// long each time, a minute at most.
Duration group_pause(int failures) noexcept;

// ---- What operators do

/// All acts, in the order in which they are listed.
std::span<const Act> acts();
/// The states of the tasks that an act is for.
States states_of(Act act);
/// The changes that an act comes to, for disjoint sets of states: to be tried one after the other on what the
/// one before answered with `wrong_state`. A move is none.
std::span<const Change> changes(Act act);

/// The states of the tasks that may be edited.
States editable();
/// The task as somebody might enqueue it once more.
NewTask draft_of(const Task& task);
/// Writes what an edit may change, but for the unique key.
void overwrite(Task& task, const Task& wanted);
/// What becomes of `seen` when it is edited. Checks as `admit` does.
Task edited(const Task& seen, NewTask wanted, const Capabilities& capabilities);

}  // namespace tidemill::rules
