#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace tidemill {

/// What a cron spec's fields let through, as sets of numbers: bit n stands for the value n. No set is empty,
/// except in the dialect of robfig.
struct CronFields {
  std::uint64_t second = 1;   ///< 0-59
  std::uint64_t minute = 0;   ///< 0-59
  std::uint64_t hour = 0;     ///< 0-23
  std::uint64_t day = 0;      ///< 1-31
  std::uint64_t month = 0;    ///< 1-12
  std::uint64_t weekday = 0;  ///< 0-6, from Sunday.
  bool last_day = false;      ///< The last day of a month is one of `day`.
  bool either = false;        ///< A date matches if day or weekday does; otherwise both must.

  /// Whether the date matches by day and weekday, whatever its month.
  bool matches_day(std::chrono::local_days date) const;
  /// Whether the date matches.
  bool matches(std::chrono::local_days date) const;
  /// The first time of day that matches, from `from` on.
  std::optional<std::chrono::seconds> first_time(std::chrono::seconds from) const;
  /// The first local time from `begin` to just before `end` that matches, by the calendar alone. No set may
  /// be empty. Costs a step a month that does not match and a step a day in those that do.
  std::optional<std::chrono::local_seconds> first_in(std::chrono::local_seconds begin,
                                                     std::chrono::local_seconds end) const;
};

constexpr bool has(std::uint64_t set, unsigned value) { return ((set >> value) & 1U) != 0; }

/// All numbers from `least` to `most`, which is below 64.
constexpr std::uint64_t every_from_to(unsigned least, unsigned most) {
  return (~std::uint64_t{0} >> (63 - most)) & (~std::uint64_t{0} << least);
}

}  // namespace tidemill
