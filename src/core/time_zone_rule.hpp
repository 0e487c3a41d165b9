#pragma once

#include <array>
#include <chrono>
#include <optional>
#include <string_view>

#include "core/time_zone.hpp"

namespace tidemill {

/// A zone's rule for the years that its file does not list: the last line of the file.
///
/// The line is written as the POSIX variable TZ, with the extension of RFC 9636, section 3.3.1, that hours go
/// from -167 to 167: "CET-1CEST,M3.5.0,M10.5.0/3" is one hour east of UTC, and two from the last Sunday in
/// March, 02:00, to the last Sunday in October, 03:00.
class TimeZoneRule {
 public:
  /// None when `text` is no such rule.
  static std::optional<TimeZoneRule> parse(std::string_view text);

  /// The period that `at` falls into. Offsets that differ from year to year are not known to such rules.
  TimeZone::Period period(std::chrono::sys_seconds at) const;

 private:
  /// A day of each year, and the local time of the change on it.
  struct Change {
    enum class Kind : unsigned char {
      weekday,        ///< Mm.w.d: the w-th `weekday` of a month, where the fifth is the last.
      day_of_365,     ///< Jn: from 1, 29 February is never counted.
      day_from_zero,  ///< n: from 0, 29 February is counted.
    };
    Kind kind = Kind::weekday;
    unsigned month = 1;
    unsigned week = 1;
    unsigned day = 0;
    std::chrono::seconds time = std::chrono::hours{2};

    /// The change's local time in `year`, by the clock that runs until then.
    std::chrono::sys_seconds in(std::chrono::year year) const;
  };
  class Reader;

  std::chrono::seconds standard_{};
  std::chrono::seconds daylight_{};
  std::optional<std::array<Change, 2>> changes_ = {};  ///< To daylight saving and back; none: never.
};

}  // namespace tidemill
