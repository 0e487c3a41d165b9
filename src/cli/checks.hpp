#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/inspector.hpp>

/// What can be wrong with a store, and what to do about it: the parts of `tidemill doctor`.
namespace tidemill::cli {

enum class Verdict : std::uint8_t { fine, warning, problem };
std::string_view to_string(Verdict verdict) noexcept;

struct Finding {
  Verdict verdict = Verdict::fine;
  std::string check = {};   ///< Which check it is of: for programs.
  std::string what = {};    ///< What is so.
  std::string advice = {};  ///< What to do; empty when all is well.
};

/// What is known of a store at one time.
struct Snapshot {
  TimePoint now = {};    ///< By the store.
  Duration ahead = {};   ///< How far the store's clock is before this machine's.
  Duration answer = {};  ///< How long the store took to tell its time.
  std::vector<QueueInfo> queues = {};
  std::vector<WorkerInfo> workers = {};
  std::vector<ScheduleInfo> schedules = {};
  std::vector<Task> active = {};  ///< Those whose leases end first.
  std::vector<Task> archived = {};
};

/// Looks at `tasks_max` tasks of a state at most.
Snapshot look(Inspector& inspector);

/// At least one finding for each check.
std::vector<Finding> examine(const Snapshot& snapshot);

/// Of the file of an SQLite store and the disk below it; the file need not be there. `full_sync`: the store
/// is used with synchronous=full.
std::vector<Finding> examine_file(const std::filesystem::path& file, bool full_sync);

}  // namespace tidemill::cli
