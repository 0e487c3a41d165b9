// The dialect of robfig/cron v3.0.0 (github.com/robfig/cron, MIT), as its parser with five fields and no
// descriptors behaves. The code is ours; the checks come in its order and the search goes its way, because
// which error is reported and what happens around daylight saving follow from that.
// tests/golden/cron-robfig-v3.0.0.jsonl has answers of the original.
//
//   spec  = [ ("CRON_TZ=" | "TZ=") zone " " ] minute hour day month weekday
//   field = { "," } item { "," { "," } item }       a field of commas alone matches nothing
//   item  = ( "*" | "?" | value [ "-" value ] ) [ "/" step ]
//
// A "*" or "?" may be followed by "-" and anything. Numbers are Go's: "+1" and "01" are 1. `a/n` runs to the
// field's end. Sunday is 0 and never 7. A day must match by both its fields when one of them has a star whose
// step is 1; otherwise by either.
#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include <fmt/format.h>

#include "core/cron_spec.hpp"

namespace tidemill {

namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::local_days;
using std::chrono::local_seconds;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_seconds;
using std::chrono::year;

struct Bounds {
  unsigned least;
  unsigned most;
  std::string_view names;  ///< Three letters each, from `least` on.
};

constexpr Bounds minute_bounds{0, 59, ""};
constexpr Bounds hour_bounds{0, 23, ""};
constexpr Bounds day_bounds{1, 31, ""};
constexpr Bounds month_bounds{1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"};
constexpr Bounds weekday_bounds{0, 6, "sunmontuewedthufrisat"};

[[noreturn]] void fail(std::string message) { throw Error{ErrorKind::invalid, std::move(message)}; }

/// The length of the white space that `text` begins with, as Go's unicode.IsSpace has it; zero when it begins
/// with none.
std::size_t space_length(std::string_view text) {
  constexpr std::array<std::string_view, 25> spaces = {
      "\t",           "\n",           "\v",           "\f",           "\r",           " ",
      "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81", "\xE2\x80\x82",
      "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86", "\xE2\x80\x87", "\xE2\x80\x88",
      "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F",
      "\xE3\x80\x80"};
  const auto space = std::find_if(spaces.begin(), spaces.end(),
                                  [text](std::string_view candidate) { return text.starts_with(candidate); });
  return space == spaces.end() ? 0 : space->size();
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> out;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size();) {
    const std::size_t space = i == text.size() ? 1 : space_length(text.substr(i));
    if (space == 0) {
      ++i;
      continue;
    }
    if (i > begin) out.push_back(text.substr(begin, i - begin));
    i += space;
    begin = i;
  }
  return out;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> out;
  for (;;) {
    const std::size_t end = text.find(separator);
    out.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return out;
    text.remove_prefix(end + 1);
  }
}

/// As Go quotes a string in an error: what can be printed stays, and every other byte is escaped. (Of
/// characters beyond ASCII, all that are well-formed count as printable here.)
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    constexpr std::string_view named = "\a\b\f\n\r\t\v\"\\";
    constexpr std::string_view letters = "abfnrtv\"\\";
    const std::size_t i = named.find(c);
    if (i != std::string_view::npos) {
      out += {'\\', letters[i]};
    } else if (static_cast<unsigned char>(c) < ' ' || c == '\x7F') {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::uint64_t number(std::string_view text) {
  const auto refuse = [text](std::string_view reason) {
    fail(
        fmt::format("failed to parse int from {}: strconv.Atoi: parsing {}: {}", text, quoted(text), reason));
  };
  constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::string_view digits = text;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.empty()) refuse("invalid syntax");
  std::uint64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') refuse("invalid syntax");
    const auto digit = static_cast<std::uint64_t>(c - '0');
    // Go reads on beyond the signed range, and stops at once beyond the unsigned one.
    if (value > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) refuse("value out of range");
    value = value * 10 + digit;
  }
  if (value > most + (negative ? 1 : 0)) refuse("value out of range");
  if (negative && value > 0) fail(fmt::format("negative number (-{}) not allowed: {}", value, text));
  return value;
}

std::uint64_t number_or_name(std::string_view text, const Bounds& bounds) {
  if (text.size() == 3) {
    std::string lower{text};
    for (char& c : lower) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    for (std::size_t i = 0; i < bounds.names.size(); i += 3) {
      if (bounds.names.substr(i, 3) == lower) return bounds.least + i / 3;
    }
  }
  return number(text);
}

struct Set {
  std::uint64_t values = 0;
  bool star = false;
};

void add_item(Set& set, std::string_view item, const Bounds& bounds) {
  const auto parts = split(item, '/');
  const auto ends = split(parts[0], '-');
  const bool star = ends[0] == "*" || ends[0] == "?";
  std::uint64_t first = bounds.least;
  std::uint64_t last = bounds.most;
  std::uint64_t step = 1;
  if (!star) {
    first = number_or_name(ends[0], bounds);
    if (ends.size() > 2) fail(fmt::format("too many hyphens: {}", item));
    last = ends.size() == 2 ? number_or_name(ends[1], bounds) : first;
  }
  if (parts.size() > 2) fail(fmt::format("too many slashes: {}", item));
  if (parts.size() == 2) {
    step = number(parts[1]);
    if (ends.size() == 1) last = bounds.most;
  }
  if (first < bounds.least) {
    fail(fmt::format("beginning of range ({}) below minimum ({}): {}", first, bounds.least, item));
  }
  if (last > bounds.most)
    fail(fmt::format("end of range ({}) above maximum ({}): {}", last, bounds.most, item));
  if (first > last)
    fail(fmt::format("beginning of range ({}) beyond end of range ({}): {}", first, last, item));
  if (step == 0) fail(fmt::format("step of range should be a positive number: {}", item));
  for (std::uint64_t value = first; value <= last; value += step) set.values |= std::uint64_t{1} << value;
  set.star = set.star || (star && step == 1);
}

Set set_of(std::string_view field, const Bounds& bounds) {
  Set set;
  for (const std::string_view item : split(field, ',')) {
    if (!item.empty()) add_item(set, item, bounds);
  }
  return set;
}

std::shared_ptr<const TimeZone> prefixed_zone(std::string_view name) {
  const bool outside =
      name.find("..") != std::string_view::npos || name.starts_with('/') || name.starts_with('\\');
  if (outside) fail(fmt::format("provided bad location {}: time: invalid location name", name));
  try {
    return TimeZone::find(name);
  } catch (const Error&) {
    fail(fmt::format("provided bad location {}: unknown time zone {}", name, name));
  }
}

}  // namespace

CronSpec parse_robfig_spec(std::string_view spec, const std::string& zone) {
  if (spec.empty()) fail("empty spec string");
  CronSpec out;
  if (spec.starts_with("TZ=") || spec.starts_with("CRON_TZ=")) {
    const std::size_t begin = spec.find('=') + 1;
    const std::size_t end = spec.find(' ');
    if (end == std::string_view::npos) {
      fail(fmt::format("no fields after the time zone: {}; write for example TZ=UTC 0 9 * * *", spec));
    }
    out.zone_name = spec.substr(begin, end - begin);
    if (out.zone_name.empty()) out.zone_name = "UTC";
    if (out.zone_name != "Local") out.zone = prefixed_zone(out.zone_name);
    spec.remove_prefix(end);
    while (const std::size_t space = space_length(spec)) spec.remove_prefix(space);
  }
  if (!out.zone) {
    out.zone_name = zone;
    out.zone = TimeZone::find(zone);
  }
  if (spec.starts_with('@')) fail(fmt::format("parser does not accept descriptors: {}", spec));
  const auto fields = words(spec);
  if (fields.size() != 5) {
    std::string list;
    for (const std::string_view field : fields) (list += list.empty() ? "" : " ") += field;
    fail(fmt::format("expected exactly 5 fields, found {}: [{}]", fields.size(), list));
  }
  out.fields.minute = set_of(fields[0], minute_bounds).values;
  out.fields.hour = set_of(fields[1], hour_bounds).values;
  const Set day = set_of(fields[2], day_bounds);
  out.fields.month = set_of(fields[3], month_bounds).values;
  const Set weekday = set_of(fields[4], weekday_bounds);
  out.fields.day = day.values;
  out.fields.weekday = weekday.values;
  out.fields.either = !day.star && !weekday.star;
  return out;
}

namespace {

/// A clock that is put forward unit by unit until it shows what the fields ask for. Its local arithmetic is
/// that of Go's package time, because the answers around daylight saving follow from it.
class Walk {
 public:
  Walk(const CronFields& fields, const TimeZone& zone, sys_seconds start) : fields_(fields), zone_(zone) {
    set(start);
  }

  sys_seconds now() const { return now_; }
  year current_year() const { return date().year(); }
  /// Whether it has gone on for too long: where a whole day is missing from a zone's calendar, Go's
  /// arithmetic does not get past it. A search of five years takes some 100,000 steps at the most.
  bool lost() const { return steps_ > 200'000; }

  // Each goes on to the first unit that matches, and answers false when a larger unit has changed on the way.
  bool to_month();
  bool to_day();
  bool to_hour();
  bool to_minute();
  bool to_second();

 private:
  /// Counts a step. The first time, `start` is where the walk goes on: the current unit's beginning.
  void begin_step(sys_seconds start) {
    ++steps_;
    if (!aligned_) set(start);
    aligned_ = true;
  }

  void set(sys_seconds at) {
    now_ = at;
    local_ = local_seconds{at.time_since_epoch() + period(at).offset};
  }

  const TimeZone::Period& period(sys_seconds at) {
    if (at < period_.begin || at >= period_.end) period_ = zone_.period(at);
    return period_;
  }

  std::chrono::year_month_day date() const {
    return std::chrono::year_month_day{std::chrono::floor<days>(local_)};
  }
  seconds time() const { return local_ - std::chrono::floor<days>(local_); }
  unsigned hour() const { return static_cast<unsigned>(time() / hours{1}); }
  unsigned minute() const { return static_cast<unsigned>(time() % hours{1} / minutes{1}); }

  /// The instant of a local time, as Go's time.Date finds it: the offset at the same figures in UTC is the
  /// first guess, and the offset at the instant so found is the answer.
  sys_seconds instant(local_seconds local) {
    const sys_seconds figures{local.time_since_epoch()};
    const TimeZone::Period guess = period(figures);
    const sys_seconds at = figures - guess.offset;
    if (guess.offset == seconds{0} || (at >= guess.begin && at < guess.end)) return at;
    return figures - period(at).offset;
  }

  const CronFields& fields_;
  const TimeZone& zone_;
  TimeZone::Period period_{};  ///< The one looked up last.
  sys_seconds now_{};
  local_seconds local_{};
  bool aligned_ = false;
  int steps_ = 0;
};

bool Walk::to_month() {
  while (!has(fields_.month, static_cast<unsigned>(date().month())) && !lost()) {
    begin_step(instant(local_days{date().year() / date().month() / 1}));
    const auto month = date().year() / date().month() + std::chrono::months{1};
    // Day and time stay as they are; a day that the month does not have runs over into the next.
    const auto day = days{static_cast<unsigned>(date().day()) - 1U};
    set(instant(local_days{month / 1} + day + time()));
    if (date().month() == std::chrono::January) return false;
  }
  return true;
}

bool Walk::to_day() {
  while (!fields_.matches_day(std::chrono::floor<days>(local_)) && !lost()) {
    begin_step(instant(std::chrono::floor<days>(local_)));
    set(instant(local_ + days{1}));
    // Where midnight does not exist, the day's beginning is the whole hour that is nearest.
    if (hour() > 12) {
      set(now_ + hours{24 - hour()});
    } else if (hour() != 0) {
      set(now_ - hours{hour()});
    }
    if (date().day() == std::chrono::day{1}) return false;
  }
  return true;
}

bool Walk::to_hour() {
  while (!has(fields_.hour, hour()) && !lost()) {
    begin_step(instant(std::chrono::floor<hours>(local_)));
    set(now_ + hours{1});
    if (hour() == 0) return false;
  }
  return true;
}

bool Walk::to_second() {
  const auto second = time() % minutes{1};
  if (second == seconds{0}) return true;
  begin_step(now_);
  set(now_ + minutes{1} - second);
  return false;
}

bool Walk::to_minute() {
  while (!has(fields_.minute, minute()) && !lost()) {
    begin_step(std::chrono::floor<minutes>(now_));
    set(now_ + minutes{1});
    if (minute() == 0) return false;
  }
  return true;
}

}  // namespace

std::optional<sys_seconds> next_robfig(const CronFields& fields, const TimeZone& zone, sys_seconds after) {
  const bool never = fields.minute == 0 || fields.hour == 0 || fields.month == 0;
  if (never || (fields.day == 0 && fields.weekday == 0)) return {};
  Walk walk{fields, zone, after + seconds{1}};
  const year limit = walk.current_year() + std::chrono::years{5};
  while (walk.current_year() <= limit && !walk.lost()) {
    const bool there =
        walk.to_month() && walk.to_day() && walk.to_hour() && walk.to_minute() && walk.to_second();
    if (there && !walk.lost()) return walk.now();
  }
  return {};
}

}  // namespace tidemill
