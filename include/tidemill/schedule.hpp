#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <tidemill/cron.hpp>
#include <tidemill/log.hpp>
#include <tidemill/store.hpp>

namespace tidemill {

/// What to do about instants that passed while no scheduler ran, or while the schedule was paused.
enum class Missed : std::uint8_t {
  skip,  ///< Nothing: go on with the next one to come. An instant less than a minute late still fires.
  once,  ///< Fire once for all of them.
  all,   ///< Fire each of them, up to 100; older ones are skipped.
};

/// What to do when the schedule's last task has not ended yet.
enum class Overlap : std::uint8_t {
  allow,  ///< Enqueue another.
  skip,   ///< Let this instant pass.
  queue,  ///< Let this instant wait until that task has ended.
};

std::string_view to_string(Missed missed) noexcept;
std::string_view to_string(Overlap overlap) noexcept;
std::string_view to_string(Gap gap) noexcept;
std::string_view to_string(Fold fold) noexcept;

/// A rule that enqueues a task again and again.
struct Schedule {
  std::string id = {};    ///< Names it in its store.
  std::string spec = {};  ///< "0 9 * * MON-FRI", "@daily", "@every 90s": docs/cron.md.
  std::string zone = "UTC";
  Gap gap = Gap::after;
  Fold fold = Fold::first;
  Missed missed = Missed::once;
  Overlap overlap = Overlap::allow;
  Duration jitter{};  ///< Each firing is late by a share of it that hangs on schedule and instant alone.

  std::string kind = {};
  std::string payload = {};
  EnqueueOptions options = {};  ///< `id`, `run_at` and, unless overlap is `allow`, `unique` must be empty.
};

/// A schedule as it stands in the store.
struct ScheduleInfo {
  Schedule schedule = {};
  std::string owner = {};
  bool paused = false;
  TimePoint next{};
  std::optional<TimePoint> last = {};
  bool read_only = false;  ///< It is of another program's scheduler, which `owner` names.
};

/// What became of an instant of a schedule.
enum class Fate : std::uint8_t {
  enqueued,
  late,             ///< Enqueued, more than a minute after it was due.
  skipped_overlap,  ///< The last task had not ended, or another one has the unique key.
  skipped_missed,   ///< Nobody was there to fire it, nor those up to the next one that is told of.
  failed,           ///< The store refused the task; it is tried again.
};
std::string_view to_string(Fate fate) noexcept;

/// Of how many instants a schedule knows what became of them.
inline constexpr std::size_t firings_max = 20;

/// One instant that is over.
struct FiringInfo {
  TimePoint instant{};
  TimePoint fired_at{};  ///< When that became of it.
  Fate fate = Fate::enqueued;
  std::string task = {};  ///< The id of the one that was enqueued, or that stood in the way.
  std::string why = {};   ///< For people, when it failed.
};

/// The next `count` instants of a schedule after `after`, jitter left out. Throws Error{invalid} as
/// Cron::parse.
std::vector<TimePoint> preview(const Schedule& schedule, TimePoint after, std::size_t count);

struct SchedulerOptions {
  /// Gives all schedules of `owner`; asked at start and every `sync_interval`. What it throws is logged and
  /// changes nothing.
  std::function<std::vector<Schedule>()> source = {};
  std::string owner = "scheduler";  ///< Needed with a source: what the source leaves out is erased.
  Duration sync_interval = std::chrono::minutes{3};
  /// The longest sleep between two looks at the schedules.
  Duration poll = std::chrono::seconds{1};
  Log log = {};
};

/// Fires the schedules of a store. Any number may run on one store, without a leader: a firing enqueues its
/// task and moves the stored next instant on in one write, if it is still the one expected.
///
/// Schedules are put, changed and paused through `Inspector`, at any time.
///
/// Thread safety: start and stop from one thread; `fire_due` from any.
class Scheduler {
 public:
  /// `store` must outlive the scheduler. Throws Error{unsupported} when it can't keep schedules.
  explicit Scheduler(Store& store, SchedulerOptions options = {});
  /// As `stop`.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  void start();
  void stop();

  /// Fires what is due now, in the caller's thread, and answers how many tasks it enqueued. `start` does so
  /// on a thread of its own; this is for tests and for programs with a loop of their own.
  std::size_t fire_due();
  /// Asks the source and brings the store in line, in the caller's thread; answers how many changed.
  std::size_t sync();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill
