#include "wire/values.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>
#include <optional>

#include <fmt/format.h>

#include <tidemill/error.hpp>

namespace tidemill::wire {

namespace {

struct Unit {
  std::string_view name;
  std::int64_t microseconds;
};
constexpr std::array units = {Unit{"d", 86'400'000'000}, Unit{"h", 3'600'000'000}, Unit{"m", 60'000'000},
                              Unit{"s", 1'000'000},      Unit{"ms", 1000},         Unit{"us", 1}};

/// Longer ones are mistakes; and sums of some of them stay far from the end of 64 bits.
constexpr Duration duration_most = std::chrono::hours{24 * 366 * 1000};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

template <class Is>
std::string_view take_while(std::string_view& text, Is is) {
  const auto end = std::find_if_not(text.begin(), text.end(), is);
  const std::string_view taken = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(taken.size());
  return taken;
}

/// One number with its unit.
std::optional<Duration> take_part(std::string_view& text) {
  const std::string_view digits = take_while(text, is_digit);
  const std::string_view name = take_while(text, [](char c) { return !is_digit(c); });
  const auto unit = std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == name; });
  if (digits.empty() || digits.size() > 12 || unit == units.end()) return {};
  std::int64_t number = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (number > duration_most.count() / unit->microseconds) return {};
  return Duration{number * unit->microseconds};
}

/// Takes apart what has places for digits and fixed signs between them.
class Fields {
 public:
  explicit Fields(std::string_view text) : text_(text) {}

  int number(std::size_t digits) {
    int value = 0;
    if (text_.size() < digits ||
        !std::all_of(text_.begin(), text_.begin() + static_cast<long>(digits), is_digit)) {
      good_ = false;
      return 0;
    }
    std::from_chars(text_.data(), text_.data() + digits, value);
    text_.remove_prefix(digits);
    return value;
  }

  bool skip(std::string_view any_of) {
    if (text_.empty() || any_of.find(text_.front()) == std::string_view::npos) return false;
    last_ = text_.front();
    text_.remove_prefix(1);
    return true;
  }
  void expect(std::string_view any_of) { good_ = skip(any_of) && good_; }

  /// The digits after a point as microseconds; further ones are dropped.
  Duration fraction() {
    if (!skip(".")) return {};
    const std::string_view digits = take_while(text_, is_digit);
    good_ = good_ && !digits.empty();
    std::int64_t value = 0;
    for (std::size_t i = 0; i < 6; ++i) value = value * 10 + (i < digits.size() ? digits[i] - '0' : 0);
    return Duration{value};
  }

  char last() const { return last_; }
  bool good() const { return good_; }
  bool done() const { return good_ && text_.empty(); }

 private:
  std::string_view text_;
  char last_ = '\0';
  bool good_ = true;
};

std::optional<TimePoint> read_time(std::string_view text) {
  Fields fields{text};
  const std::chrono::year year{fields.number(4)};
  fields.expect("-");
  const std::chrono::month month{static_cast<unsigned>(fields.number(2))};
  fields.expect("-");
  const std::chrono::day day{static_cast<unsigned>(fields.number(2))};
  fields.expect("Tt ");
  const int hour = fields.number(2);
  fields.expect(":");
  const int minute = fields.number(2);
  fields.expect(":");
  const int second = fields.number(2);
  const Duration fraction = fields.fraction();
  std::chrono::minutes offset{};
  if (!fields.skip("Zz")) {
    fields.expect("+-");
    const bool west = fields.last() == '-';
    const int hours = fields.number(2);
    fields.expect(":");
    const int minutes = fields.number(2);
    if (hours > 23 || minutes > 59) return {};
    offset = std::chrono::minutes{(west ? -1 : 1) * (hours * 60 + minutes)};
  }
  const std::chrono::year_month_day date{year, month, day};
  if (!fields.done() || !date.ok() || hour > 23 || minute > 59 || second > 60) return {};
  return TimePoint{std::chrono::sys_days{date}} + std::chrono::hours{hour} + std::chrono::minutes{minute} +
         std::chrono::seconds{second} + fraction - offset;
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t change = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({change, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

Duration parse_duration(std::string_view text) {
  if (text == "0") return {};
  Duration sum{};
  std::string_view rest = text;
  do {
    const std::optional<Duration> part = take_part(rest);
    if (part) sum += *part;
    if (!part || sum > duration_most) {
      throw Error{ErrorKind::invalid,
                  fmt::format("\"{}\" is no duration; write for instance 90s, 5m, 1h30m, 500ms or 2d", text)};
    }
  } while (!rest.empty());
  return sum;
}

std::size_t parse_size(std::string_view text) {
  struct Size {
    std::string_view name;
    std::size_t bytes;
  };
  static constexpr std::array sizes = {Size{"", 1},
                                       Size{"B", 1},
                                       Size{"KiB", 1U << 10U},
                                       Size{"MiB", 1U << 20U},
                                       Size{"GiB", 1U << 30U},
                                       Size{"KB", 1'000},
                                       Size{"MB", 1'000'000},
                                       Size{"GB", 1'000'000'000}};
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto unit = std::ranges::find(sizes, text.substr(digits), &Size::name);
  std::size_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + digits, number);
  if (digits == 0 || unit == sizes.end() || failure != std::errc{} ||
      number > (std::size_t{1} << 50U) / unit->bytes)
    throw Error{ErrorKind::invalid,
                fmt::format("\"{}\" is no size; write for instance 4096, 64KiB, 8MiB or 1GiB", text)};
  return number * unit->bytes;
}

TimePoint parse_time(std::string_view text) {
  if (const std::optional<TimePoint> time = read_time(text)) return *time;
  throw Error{
      ErrorKind::invalid,
      fmt::format("\"{}\" is no time; write it as 2027-01-01T00:00:00Z or 2027-01-01T02:00:00+02:00", text)};
}

std::int64_t parse_integer(std::string_view text, std::int64_t least, std::int64_t most) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most) {
    throw Error{ErrorKind::invalid, fmt::format("\"{}\" is not a number from {} to {}", text, least, most)};
  }
  return value;
}

std::string format_duration(Duration duration) {
  if (duration == Duration::zero()) return "0s";
  std::string out{duration < Duration::zero() ? "-" : ""};
  std::int64_t rest = std::abs(duration.count());
  for (const Unit& unit : units) {
    if (rest >= unit.microseconds) out += fmt::format("{}{}", rest / unit.microseconds, unit.name);
    rest %= unit.microseconds;
  }
  return out;
}

std::string format_second(TimePoint time) {
  const auto second = std::chrono::floor<std::chrono::seconds>(time);
  const auto day = std::chrono::floor<std::chrono::days>(second);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{second - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

std::string format_time(TimePoint time) {
  std::string text = format_second(time);
  const Duration fraction = time - std::chrono::floor<std::chrono::seconds>(time);
  if (fraction == Duration::zero()) return text;
  std::string digits = fmt::format("{:06}", fraction.count());
  digits.erase(digits.find_last_not_of('0') + 1);
  text.insert(text.size() - 1, "." + digits);
  return text;
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  // Two letters wrong, or swapped; a beginning counts as well: --prio.
  std::size_t least = word.size() <= 2 ? 2 : 3;
  std::string best;
  for (const std::string& candidate : candidates) {
    if (word.size() >= 4 && candidate.starts_with(word)) return candidate;
    const std::size_t d = distance(word, candidate);
    if (d < least && d < candidate.size()) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

std::string suggestion(std::string_view word, std::span<const std::string> candidates) {
  const std::string near = nearest(word, candidates);
  return near.empty() ? std::string{} : fmt::format("; did you mean \"{}\"?", near);
}

std::string either(std::span<const std::string> names) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += i + 1 == names.size() ? " or " : ", ";
    out += names[i];
  }
  return out;
}

void refuse_name(std::string_view what, std::string_view text, std::span<const std::string> names) {
  throw Error{ErrorKind::invalid, fmt::format("there is no {} \"{}\"; it must be {}{}", what, text,
                                              either(names), suggestion(text, names))};
}

}  // namespace tidemill::wire
