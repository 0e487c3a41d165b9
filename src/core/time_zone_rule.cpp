#include "core/time_zone_rule.hpp"

#include <algorithm>
#include <string_view>

namespace tidemill {

namespace {

using std::chrono::days;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;
using std::chrono::year;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

}  // namespace

/// Takes the rule apart from left to right; once something did not fit, `ok` is false and stays so.
class TimeZoneRule::Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }
  bool next_is(char c) const { return !rest_.empty() && rest_.front() == c; }

  /// A zone's abbreviation, which is of no use here: letters, or anything in angle brackets.
  void skip_name() {
    if (accept('<')) {
      const std::size_t end = rest_.find('>');
      if (end == std::string_view::npos) return fail();
      return rest_.remove_prefix(end + 1);
    }
    const auto end = std::find_if_not(rest_.begin(), rest_.end(), is_letter);
    if (end - rest_.begin() < 3) return fail();
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.begin()));
  }

  /// [+|-]hh[:mm[:ss]]
  seconds time() {
    const bool negative = accept('-');
    if (!negative) accept('+');
    seconds sum = hours{number(167)};
    if (accept(':')) sum += minutes{number(59)};
    if (accept(':')) sum += seconds{number(59)};
    return negative ? -sum : sum;
  }

  Change change() {
    Change change;
    expect(',');
    if (accept('M')) {
      change.month = in_range(1, 12);
      expect('.');
      change.week = in_range(1, 5);
      expect('.');
      change.day = in_range(0, 6);
    } else if (accept('J')) {
      change.kind = Change::Kind::day_of_365;
      change.day = in_range(1, 365);
    } else {
      change.kind = Change::Kind::day_from_zero;
      change.day = in_range(0, 365);
    }
    if (accept('/')) change.time = time();
    return change;
  }

 private:
  void fail() { ok_ = false; }

  bool accept(char c) {
    if (!next_is(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  void expect(char c) {
    if (!accept(c)) fail();
  }

  unsigned number(unsigned most) {
    if (rest_.empty() || !is_digit(rest_.front())) fail();
    unsigned value = 0;
    while (!rest_.empty() && is_digit(rest_.front()) && value <= most) {
      value = value * 10 + static_cast<unsigned>(rest_.front() - '0');
      rest_.remove_prefix(1);
    }
    if (value > most) fail();
    return value;
  }

  unsigned in_range(unsigned least, unsigned most) {
    const unsigned value = number(most);
    if (value < least) fail();
    return value;
  }

  std::string_view rest_;
  bool ok_ = true;
};

std::optional<TimeZoneRule> TimeZoneRule::parse(std::string_view text) {
  Reader reader{text};
  TimeZoneRule rule;
  reader.skip_name();
  rule.standard_ = -reader.time();  // POSIX counts what is missing to UTC.
  rule.daylight_ = rule.standard_;
  if (reader.ok() && !reader.at_end()) {
    reader.skip_name();
    rule.daylight_ = reader.next_is(',') ? rule.standard_ + hours{1} : -reader.time();
    const Change to_daylight = reader.change();
    rule.changes_ = {to_daylight, reader.change()};
  }
  if (!reader.ok() || !reader.at_end()) return {};
  return rule;
}

sys_seconds TimeZoneRule::Change::in(year y) const {
  using std::chrono::January;
  const sys_days first_day{y / January / 1};
  if (kind == Kind::day_from_zero) return first_day + days{day} + time;
  if (kind == Kind::day_of_365) return first_day + days{day - (y.is_leap() && day >= 60 ? 0U : 1U)} + time;
  const std::chrono::month m{month};
  const std::chrono::weekday wanted{day};
  if (week == 5) return sys_days{y / m / wanted[std::chrono::last]} + time;
  return sys_days{y / m / wanted[week]} + time;
}

TimeZone::Period TimeZoneRule::period(sys_seconds at) const {
  if (!changes_) return {TimeZone::always_begin, TimeZone::always_end, standard_};
  struct Instant {
    sys_seconds at;
    seconds offset;  // From then on.
  };
  // A change may lie a week outside its year; the years around hold the neighbours at any rate.
  std::array<Instant, 6> instants{};
  const auto [to_daylight, to_standard] = *changes_;
  const year middle = std::chrono::year_month_day{std::chrono::floor<days>(at)}.year();
  std::size_t count = 0;
  for (year y = middle - std::chrono::years{1}; count < instants.size(); ++y) {
    const sys_seconds begin = to_daylight.in(y);
    const sys_seconds end = to_standard.in(y);
    instants[count++] = {begin - standard_, daylight_};
    instants[count++] = {end - daylight_, standard_};
  }
  std::sort(instants.begin(), instants.end(), [](const Instant& a, const Instant& b) { return a.at < b.at; });
  const auto after =
      std::find_if(instants.begin(), instants.end(), [at](const Instant& i) { return i.at > at; });
  if (after == instants.begin() || after == instants.end())
    return {TimeZone::always_begin, TimeZone::always_end, standard_};
  return {std::prev(after)->at, after->at, std::prev(after)->offset};
}

}  // namespace tidemill
