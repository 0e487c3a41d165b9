#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <tidemill/log.hpp>
#include <tidemill/schedule.hpp>
#include <tidemill/store.hpp>

namespace tidemill {

struct PeriodicTaskManagerOptions {
  /// Needed. Gives all periodic tasks that there are to be, each time that it is asked: at start, on the
  /// caller's thread, and every `sync_interval`, on the manager's. A task without an id gets one that is made
  /// of its spec, zone, kind, payload and queue.
  std::function<std::vector<Schedule>()> provider = {};
  /// Names the provider's tasks in the store: what it leaves out is erased, and others' are left alone.
  /// Managers with one owner must be given the same tasks.
  std::string owner = "periodic";
  Duration sync_interval = std::chrono::minutes{3};
  /// The longest sleep between two looks at what is due.
  Duration poll = std::chrono::seconds{1};
  Log log = {};
};

/// Keeps the periodic tasks of a store as a provider says, which may read them from a file, a database or any
/// other place, and fires them.
///
///     PeriodicTaskManager manager{*store, {.provider = [] { return read_periodic_file("periodic.yaml"); }}};
///     manager.start();
///
/// A task that stays the same keeps its next instant; one that is new, or has changed, is taken over with the
/// next sync. When the provider throws, or gives what isn't right, all stays as it was, and the log says why:
/// it is all of its answer or nothing. Any number of managers and schedulers may run on one store; an instant
/// fires once.
///
/// It is a `Scheduler` with a source, which begins with a sync that must succeed.
///
/// Thread safety: start and stop from one thread; `sync` from any.
class PeriodicTaskManager {
 public:
  /// `store` must outlive the manager. Throws Error{invalid} for options that make no sense, and
  /// Error{unsupported} when the store can't keep schedules.
  PeriodicTaskManager(Store& store, PeriodicTaskManagerOptions options);
  /// As `stop`.
  ~PeriodicTaskManager();
  PeriodicTaskManager(const PeriodicTaskManager&) = delete;
  PeriodicTaskManager& operator=(const PeriodicTaskManager&) = delete;

  /// Throws what the provider throws, Error{invalid} for a task that isn't right, Error{conflict} for an id
  /// that is another owner's, and what the store throws; then nothing runs.
  void start();
  /// The tasks stay in the store, and fire while any scheduler runs.
  void stop();

  /// Asks the provider now, in the caller's thread, and answers how many tasks have changed. What the
  /// provider throws is logged; otherwise it throws as `start`.
  std::size_t sync();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill
