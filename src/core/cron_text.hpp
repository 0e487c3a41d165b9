#pragma once

#include <string>
#include <vector>

#include <tidemill/schedule.hpp>

/// What people want to know of a schedule's spec before they trust it.
namespace tidemill {

/// The spec in a sentence: "At 02:30 every day, Europe/Berlin". The spec itself where there is no short one,
/// or it can't be read.
std::string describe(const Schedule& schedule);

/// A firing that a change of the clocks moves, doubles or leaves out.
struct ClockChange {
  TimePoint at{};         ///< When it fires; if it doesn't, when the clocks change.
  std::string note = {};  ///< "02:30 does not exist on this day; runs at 03:00".
};

/// Those of the firings from `from` to `to`, both included. None for a rhythm, which goes by the clock on the
/// wall as it is. Throws Error{invalid} as Cron::parse.
std::vector<ClockChange> clock_changes(const Schedule& schedule, TimePoint from, TimePoint to);

/// What may be other than meant: a date that never comes, months that lack the day. Throws as Cron::parse.
std::vector<std::string> warnings_of(const Schedule& schedule);

}  // namespace tidemill
