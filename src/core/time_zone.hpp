#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace tidemill {

/// A time zone of the system's IANA database. Immutable.
///
/// Thread safety: all calls may be made from any thread.
class TimeZone {
 public:
  /// What stands for "always" in periods; far enough from the type's ends that offsets may be added.
  static constexpr std::chrono::sys_seconds always_begin =
      std::chrono::sys_days{std::chrono::year::min() / 1 / 1};
  static constexpr std::chrono::sys_seconds always_end =
      std::chrono::sys_days{std::chrono::year::max() / 1 / 1};

  /// A stretch of time in which the offset from UTC does not change: from `begin` to just before `end`.
  struct Period {
    std::chrono::sys_seconds begin{};
    std::chrono::sys_seconds end{};
    std::chrono::seconds offset{};  ///< Local time less UTC.
  };

  virtual ~TimeZone() = default;
  /// The period that `at` falls into. Neighbours may have the same offset.
  virtual Period period(std::chrono::sys_seconds at) const = 0;

  /// "UTC" needs no database. Never null. Throws Error{invalid} that names the zone and shows a right name.
  static std::shared_ptr<const TimeZone> find(std::string_view name);
};

/// All names that `TimeZone::find` takes, in order. Throws Error{invalid} when there is no database.
std::vector<std::string> time_zone_names();

}  // namespace tidemill
