#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/inspector.hpp>

/// What can be wrong with a store, and what to do about it: for `tidemill doctor`, and what the API calls
/// attention.
namespace tidemill::server {

enum class Verdict : std::uint8_t { fine, warning, problem };
std::string_view to_string(Verdict verdict) noexcept;

/// All codes that findings have: with what is not well.
inline constexpr std::array<std::string_view, 13> finding_codes = {
    "store_slow",    "store_setting",    "clocks_apart", "worker_silent",  "worker_stuck",
    "worker_quiet",  "tasks_stuck",      "queue_paused", "queue_unserved", "queue_slow",
    "archive_large", "schedule_overdue", "poison"};

struct Finding {
  Verdict verdict = Verdict::fine;
  std::string check = {};   ///< Which check it is of: for programs.
  std::string what = {};    ///< What is so.
  std::string advice = {};  ///< What to do; empty when all is well.
  std::string code = {};    ///< Which of the check's findings it is; empty when all is well.
  std::string target = {};  ///< The queue, worker or schedule that it is about, if it is about one.
  std::optional<TimePoint> since = {};
};

/// What a store says when it is asked for its time.
struct StoreTime {
  TimePoint now = {};    ///< By the store.
  Duration ahead = {};   ///< How far the store's clock is before this machine's.
  Duration answer = {};  ///< How long the store took to tell it.
};

StoreTime ask_time(Inspector& inspector);

/// What is known of a store at one time.
struct Snapshot {
  TimePoint now = {};  ///< These three as in StoreTime.
  Duration ahead = {};
  Duration answer = {};
  std::vector<QueueInfo> queues = {};
  std::vector<WorkerInfo> workers = {};
  std::vector<ScheduleInfo> schedules = {};
  std::vector<Task> active = {};  ///< Those whose leases end first.
  std::vector<Task> archived = {};
};

/// With `tasks_max` tasks of a state at most.
Snapshot look(Inspector& inspector);

/// Whether it is taken for dead: its leases are over.
bool is_silent(const WorkerInfo& worker, TimePoint now);
/// Whether it claims from this queue.
bool serves(const WorkerInfo& worker, const std::string& queue, TimePoint now);

/// What the store says of its own settings.
std::vector<Finding> store_findings(Store& store);

/// At least one finding for each check.
std::vector<Finding> examine(const Snapshot& snapshot);

}  // namespace tidemill::server
