#include "core/cron_text.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string_view>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/cron_spec.hpp"

namespace tidemill {

namespace {

using std::chrono::local_seconds;
using std::chrono::seconds;
using std::chrono::sys_seconds;
using namespace std::chrono_literals;

constexpr std::uint64_t all_sixty = every_from_to(0, 59);
constexpr std::uint64_t all_hours = every_from_to(0, 23);
constexpr std::uint64_t all_days = every_from_to(1, 31);
constexpr std::uint64_t all_months = every_from_to(1, 12);
constexpr std::uint64_t all_weekdays = every_from_to(0, 6);
/// Longer lists are no help to who reads them.
constexpr int listed_max = 6;

constexpr std::array<std::string_view, 7> weekdays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                      "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 13> months = {"",        "January",  "February", "March",  "April",
                                                     "May",     "June",     "July",     "August", "September",
                                                     "October", "November", "December"};

CronSpec parse(const Schedule& schedule) { return parse_cron_spec(schedule.spec, schedule.zone); }

/// Fields that name every hour are a rhythm, and not times of day.
bool is_rhythm(const CronSpec& spec) {
  return spec.every > Duration::zero() || spec.fields.hour == all_hours;
}

unsigned least(std::uint64_t set) { return static_cast<unsigned>(std::countr_zero(set)); }
unsigned most(std::uint64_t set) { return 63U - static_cast<unsigned>(std::countl_zero(set)); }
bool single(std::uint64_t set) { return std::has_single_bit(set); }
/// One range without a hole.
bool runs(std::uint64_t set) { return set == every_from_to(least(set), most(set)); }

/// The step of a set that begins at 0 and goes on to the end of `count` numbers; 0: it is no such set.
unsigned step_of(std::uint64_t set, unsigned count) {
  if (!has(set, 0) || single(set)) return 0;
  const unsigned step = least(set & (set - 1));
  std::uint64_t wanted = 0;
  for (unsigned n = 0; n < count; n += step) wanted |= std::uint64_t{1} << n;
  return set == wanted ? step : 0;
}

std::string join(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 == words.size() ? " and " : ", ";
    text += words[i];
  }
  return text;
}

/// "1, 5 and 9" of what `name` says of each number.
template <class Name>
std::string list(std::uint64_t set, const Name& name) {
  std::vector<std::string> words;
  for (unsigned n = 0; n < 64; ++n) {
    if (has(set, n)) words.emplace_back(name(n));
  }
  return join(words);
}

std::string many(std::int64_t count, std::string_view unit) {
  return count == 1 ? fmt::format("Every {}", unit) : fmt::format("Every {} {}s", count, unit);
}

std::string interval(Duration every) {
  if (every % 24h == 0s) return many(every / 24h, "day");
  if (every % 1h == 0s) return many(every / 1h, "hour");
  if (every % 1min == 0s) return many(every / 1min, "minute");
  if (every % 1s == 0s) return many(every / 1s, "second");
  if (every % 1ms == 0s) return many(every / 1ms, "millisecond");
  return many(every.count(), "microsecond");
}

/// "Every 5 minutes", "Every second": within an hour that fires. Empty: it isn't as even as that.
std::string beat_of(const CronFields& fields) {
  if (fields.second == 1) {
    const unsigned step = step_of(fields.minute, 60);
    if (step > 0 && 60 % step == 0) return many(step, "minute");
  }
  const unsigned step = step_of(fields.second, 60);
  return fields.minute == all_sixty && step > 0 && 60 % step == 0 ? many(step, "second") : std::string{};
}

struct Times {
  std::string text = {};
  bool of_day = false;  ///< "At …", and a day has to be named.
};

std::optional<Times> times_of(const CronFields& fields) {
  const std::string beat = beat_of(fields);
  if (!beat.empty()) {
    if (fields.hour == all_hours) return Times{beat};
    if (!runs(fields.hour)) return {};
    return Times{fmt::format("{} from {:02}:00 to {:02}:59", beat, least(fields.hour), most(fields.hour))};
  }
  if (!single(fields.minute) || !single(fields.second)) return {};
  const unsigned minute = least(fields.minute);
  const std::string end = fields.second == 1 ? "" : fmt::format(":{:02}", least(fields.second));
  const auto time = [&](unsigned hour) { return fmt::format("{:02}:{:02}{}", hour, minute, end); };
  if (std::popcount(fields.hour) <= listed_max) return Times{"At " + list(fields.hour, time), true};
  std::string text;
  if (runs(fields.hour)) {
    text = "Every hour";
  } else if (const unsigned step = step_of(fields.hour, 24); step > 0 && 24 % step == 0) {
    text = many(step, "hour");
  } else {
    return {};
  }
  if (fields.hour != all_hours && runs(fields.hour))
    return Times{fmt::format("{} from {} to {}", text, time(least(fields.hour)), time(most(fields.hour)))};
  if (minute > 0 || !end.empty()) text += fmt::format(", at {:02}{} past", minute, end);
  return Times{text};
}

std::string weekdays_of(std::uint64_t set) {
  const auto name = [](unsigned day) { return std::string{weekdays[day]}; };
  if (single(set)) return "every " + name(least(set));
  if (runs(set) && std::popcount(set) > 2)
    return fmt::format("from {} to {}", name(least(set)), name(most(set)));
  // Of a week that begins with Monday.
  std::vector<std::string> words;
  for (const unsigned day : {1U, 2U, 3U, 4U, 5U, 6U, 0U}) {
    if (has(set, day)) words.push_back(name(day));
  }
  return "on " + join(words);
}

/// "on day 1", "on days 1 to 7", "on the last day"; none where that would be long.
std::optional<std::string> days_of(const CronFields& fields) {
  if (fields.day == 0) return "on the last day of the month";
  std::string text;
  if (single(fields.day)) {
    text = fmt::format("on day {}", least(fields.day));
  } else if (runs(fields.day) && std::popcount(fields.day) > 2) {
    text = fmt::format("on days {} to {}", least(fields.day), most(fields.day));
  } else if (std::popcount(fields.day) <= listed_max) {
    text = "on days " + list(fields.day, [](unsigned day) { return std::to_string(day); });
  } else {
    return {};
  }
  return text + (fields.last_day ? " and the last day of the month" : " of the month");
}

/// With a blank before it; empty: every day of every month.
std::optional<std::string> dates_of(const CronFields& fields) {
  const bool by_day = fields.day != all_days;
  const bool by_weekday = fields.weekday != all_weekdays;
  const auto month = [](unsigned n) { return std::string{months[n]}; };
  std::string text;
  if (by_day && !by_weekday && single(fields.day) && !fields.last_day && single(fields.month))
    return fmt::format(" on {} {}", least(fields.day), month(least(fields.month)));
  if (by_day) {
    const auto days = days_of(fields);
    if (!days || (by_weekday && !fields.either)) return {};
    text = " " + *days;
  }
  if (by_weekday) text += (by_day ? " and " : " ") + weekdays_of(fields.weekday);
  if (fields.month == all_months) return text;
  if (runs(fields.month) && std::popcount(fields.month) > 2)
    return text + fmt::format(" from {} to {}", month(least(fields.month)), month(most(fields.month)));
  if (std::popcount(fields.month) > listed_max) return {};
  return text + " in " + list(fields.month, month);
}

// ---- Clocks

local_seconds local(sys_seconds at, seconds offset) { return local_seconds{at.time_since_epoch() + offset}; }

std::string wall(local_seconds time) {
  const auto of_day = time - std::chrono::floor<std::chrono::days>(time);
  return of_day % 1min == 0s ? fmt::format("{:%H:%M}", of_day) : fmt::format("{:%H:%M:%S}", of_day);
}

/// The clocks change at `at`: what becomes of the times in between.
void add_gap(const Schedule& schedule, const CronFields& fields, sys_seconds at, seconds before,
             seconds after, std::vector<ClockChange>& changes) {
  const auto lost = fields.first_in(local(at, before), local(at, after));
  if (!lost) return;
  const std::string what = wall(*lost) + " does not exist on this day; ";
  if (schedule.gap == Gap::skip) changes.push_back({at, what + "does not run"});
  if (schedule.gap == Gap::after) changes.push_back({at, what + "runs at " + wall(local(at, after))});
  if (schedule.gap == Gap::before)
    changes.push_back({at - 1s, what + "runs at " + wall(local(at - 1s, before))});
}

void add_fold(const Schedule& schedule, const CronFields& fields, sys_seconds at, seconds before,
              seconds after, std::vector<ClockChange>& changes) {
  const local_seconds end = local(at, before);
  for (auto time = fields.first_in(local(at, after), end); time; time = fields.first_in(*time + 1s, end)) {
    const std::string what = wall(*time) + " comes twice on this day; ";
    const sys_seconds first{time->time_since_epoch() - before};
    const sys_seconds second{time->time_since_epoch() - after};
    if (schedule.fold == Fold::first) changes.push_back({first, what + "runs the first time"});
    if (schedule.fold == Fold::last) changes.push_back({second, what + "runs the second time"});
    if (schedule.fold == Fold::both) {
      changes.push_back({first, what + "runs both times"});
      changes.push_back({second, what + "runs both times"});
    }
  }
}

/// Months among these in which none of the days is, as they are in a year of 366 days.
std::uint64_t months_without(const CronFields& fields) {
  std::uint64_t found = 0;
  for (unsigned n = 1; n <= 12; ++n) {
    const auto last =
        std::chrono::year_month_day{std::chrono::year{2024} / static_cast<int>(n) / std::chrono::last};
    if (has(fields.month, n) && least(fields.day) > static_cast<unsigned>(last.day()))
      found |= std::uint64_t{1} << n;
  }
  return found;
}

}  // namespace

std::string describe(const Schedule& schedule) {
  CronSpec spec;
  try {
    spec = parse(schedule);
  } catch (const Error&) {
    return schedule.spec;
  }
  if (spec.every > Duration::zero()) return interval(spec.every);
  const auto times = times_of(spec.fields);
  const auto dates = dates_of(spec.fields);
  if (!times || !dates) return schedule.spec;
  const bool daily = times->of_day && spec.fields.day == all_days && spec.fields.weekday == all_weekdays;
  return fmt::format("{}{}{}, {}", times->text, daily ? " every day" : "", *dates, spec.zone_name);
}

std::vector<ClockChange> clock_changes(const Schedule& schedule, TimePoint from, TimePoint to) {
  const CronSpec spec = parse(schedule);
  std::vector<ClockChange> changes;
  if (is_rhythm(spec)) return changes;
  const sys_seconds last = std::chrono::floor<seconds>(to);
  TimeZone::Period period = spec.zone->period(std::chrono::floor<seconds>(from));
  // A change may lie just behind the window, and the firing that it moves within.
  while (period.end <= last + std::chrono::days{1}) {
    const sys_seconds at = period.end;
    const seconds before = period.offset;
    period = spec.zone->period(at);
    if (before < period.offset) add_gap(schedule, spec.fields, at, before, period.offset, changes);
    if (before > period.offset) add_fold(schedule, spec.fields, at, before, period.offset, changes);
  }
  std::erase_if(changes, [&](const ClockChange& each) { return each.at < from || each.at > to; });
  return changes;
}

std::vector<std::string> warnings_of(const Schedule& schedule) {
  const CronSpec spec = parse(schedule);
  std::vector<std::string> warnings;
  if (spec.every > Duration::zero()) return warnings;
  const CronFields& fields = spec.fields;
  if (fields.either) {
    warnings.emplace_back(
        "day of the month and day of the week are both given: it fires on days that match either");
  } else if (fields.day != 0 && !fields.last_day) {
    const std::uint64_t without = months_without(fields);
    const auto month = [](unsigned n) { return std::string{months[n]}; };
    const unsigned day = least(fields.day);
    const std::string_view verb = single(without) ? "has" : "have";
    if (without == fields.month) {
      warnings.push_back(fmt::format("it never fires: {} {} no day {}", list(without, month), verb, day));
    } else if (without != 0) {
      warnings.push_back(
          fmt::format("it does not fire in {}, which {} no day {}; L is the last day of a month",
                      list(without, month), verb, day));
    }
    if (day == 29 && has(fields.month, 2))
      warnings.emplace_back("29 February comes in leap years only; L is the last day of a month");
  }
  const unsigned step = step_of(fields.minute, 60);
  if (step > 1 && 60 % step != 0)
    warnings.push_back(
        fmt::format("minutes in steps of {} begin anew each hour, so the last step is shorter; "
                    "\"@every {}m\" is even",
                    step, step));
  return warnings;
}

}  // namespace tidemill
