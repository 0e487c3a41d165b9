#include "core/cron_fields.hpp"

#include <bit>

namespace tidemill {

namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::local_days;
using std::chrono::local_seconds;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::year_month_day;

/// The smallest member that is `from` or more.
std::optional<unsigned> first_member(std::uint64_t set, unsigned from) {
  const std::uint64_t rest = from < 64 ? set & (~std::uint64_t{0} << from) : 0;
  if (rest == 0) return {};
  return static_cast<unsigned>(std::countr_zero(rest));
}

}  // namespace

bool CronFields::matches_day(local_days date) const {
  const year_month_day ymd{date};
  const bool last = last_day && ymd.day() == (ymd.year() / ymd.month() / std::chrono::last).day();
  const bool by_day = last || has(day, static_cast<unsigned>(ymd.day()));
  const bool by_weekday = has(weekday, std::chrono::weekday{date}.c_encoding());
  return either ? by_day || by_weekday : by_day && by_weekday;
}

bool CronFields::matches(local_days date) const {
  return has(month, static_cast<unsigned>(year_month_day{date}.month())) && matches_day(date);
}

std::optional<seconds> CronFields::first_time(seconds from) const {
  const std::chrono::hh_mm_ss clock{from};
  const auto from_hour = static_cast<unsigned>(clock.hours().count());
  const auto from_minute = static_cast<unsigned>(clock.minutes().count());
  const auto from_second = static_cast<unsigned>(clock.seconds().count());
  const auto time = [](unsigned h, unsigned m, unsigned s) { return hours{h} + minutes{m} + seconds{s}; };
  // From the longest common beginning with `from` to the shortest.
  if (has(hour, from_hour)) {
    if (has(minute, from_minute)) {
      if (const auto s = first_member(second, from_second)) return time(from_hour, from_minute, *s);
    }
    if (const auto m = first_member(minute, from_minute + 1))
      return time(from_hour, *m, *first_member(second, 0));
  }
  const auto h = first_member(hour, from_hour + 1);
  if (!h) return {};
  return time(*h, *first_member(minute, 0), *first_member(second, 0));
}

std::optional<local_seconds> CronFields::first_in(local_seconds begin, local_seconds end) const {
  local_days date = std::chrono::floor<days>(begin);
  if (begin < end && matches(date)) {
    if (const auto time = first_time(begin - date)) {
      if (date + *time < end) return date + *time;
      return {};
    }
  }
  const seconds earliest =
      hours{*first_member(hour, 0)} + minutes{*first_member(minute, 0)} + seconds{*first_member(second, 0)};
  for (date += days{1}; date + earliest < end;) {
    const year_month_day ymd{date};
    if (!has(month, static_cast<unsigned>(ymd.month()))) {
      date = local_days{(ymd.year() / ymd.month() + std::chrono::months{1}) / 1};
    } else if (matches_day(date)) {
      return date + earliest;
    } else {
      date += days{1};
    }
  }
  return {};
}

}  // namespace tidemill
