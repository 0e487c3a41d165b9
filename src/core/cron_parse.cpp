// The parser of our own dialect; include/tidemill/cron.hpp has the grammar and what it means.
#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/cron_spec.hpp"

namespace tidemill {

namespace {

constexpr std::size_t spec_bytes_max = 1000;
constexpr Duration every_least = std::chrono::milliseconds{1};
constexpr Duration every_most = std::chrono::hours{87'600};

struct FieldKind {
  std::string_view name;
  unsigned least;
  unsigned most;
  std::string_view names = {};  ///< Three letters each, from `least` on.
  std::string_view range;       ///< What may be written, in words.

  unsigned count() const { return most - least + 1; }
};

// 7 is Sunday, too; it is taken apart where it is read.
constexpr FieldKind weekday{"day of the week", 0, 6, "SUNMONTUEWEDTHUFRISAT",
                            "0-7 (0 and 7 are Sunday) or SUN-SAT"};
constexpr FieldKind day{"day of the month", 1, 31, "", "1-31 or L (the last day)"};
constexpr std::array<FieldKind, 6> kinds = {
    FieldKind{"second", 0, 59, "", "0-59"},
    FieldKind{"minute", 0, 59, "", "0-59"},
    FieldKind{"hour", 0, 23, "", "0-23"},
    day,
    FieldKind{"month", 1, 12, "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC", "1-12 or JAN-DEC"},
    weekday};

struct Nickname {
  std::string_view name;
  std::string_view fields;
};
constexpr std::array<Nickname, 7> nicknames = {
    Nickname{"@YEARLY", "0 0 1 1 *"}, Nickname{"@ANNUALLY", "0 0 1 1 *"}, Nickname{"@MONTHLY", "0 0 1 * *"},
    Nickname{"@WEEKLY", "0 0 * * 0"}, Nickname{"@DAILY", "0 0 * * *"},    Nickname{"@MIDNIGHT", "0 0 * * *"},
    Nickname{"@HOURLY", "0 * * * *"}};
constexpr std::string_view names_in_words =
    "@yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly or @every with a duration";

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

std::string upper(std::string_view text) {
  std::string out;
  std::transform(text.begin(), text.end(), std::back_inserter(out), [](char c) { return upper(c); });
  return out;
}

/// For a message: without line breaks and other control characters.
std::string printable(std::string_view text) {
  std::string out{text};
  std::replace_if(
      out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7F'; }, ' ');
  return out;
}

/// Reads from left to right; `at_` is where it is, and errors point there.
class Parser {
 public:
  Parser(std::string_view spec, const std::string& zone) : spec_(spec) { out_.zone_name = zone; }

  CronSpec parse();

 private:
  [[noreturn]] void fail(std::size_t at, const std::string& reason) const;
  /// Says that what stands at `at_` can't stand there.
  [[noreturn]] void fail_here(const std::string& right) const;

  bool done() const { return at_ == spec_.size(); }
  char here() const { return done() ? '\0' : spec_[at_]; }
  bool at_word_end() const { return done() || is_space(here()); }
  void skip_spaces() { at_ = skip(is_space); }
  /// Where the run of such characters that begins here ends.
  std::size_t skip(bool (*belongs)(char)) const {
    const auto begin = spec_.begin() + static_cast<std::ptrdiff_t>(at_);
    return static_cast<std::size_t>(std::find_if_not(begin, spec_.end(), belongs) - spec_.begin());
  }
  std::string_view word() const {
    const std::size_t end = skip([](char c) { return !is_space(c); });
    return spec_.substr(at_, end - at_);
  }

  void parse_zone(std::string_view prefix);
  void parse_name();
  void parse_every();
  Duration parse_amount();
  void parse_fields();
  std::uint64_t parse_field(const FieldKind& kind);
  std::uint64_t parse_item(const FieldKind& kind);
  unsigned parse_value(const FieldKind& kind);
  unsigned parse_step(const FieldKind& kind);
  std::uint64_t parse_digits(std::size_t most);

  std::string_view spec_;
  std::size_t at_ = 0;
  CronSpec out_ = {};
  bool prefixed_ = false;
};

void Parser::fail(std::size_t at, const std::string& reason) const {
  // Characters, not bytes: what continues one in UTF-8 does not count.
  const std::string_view before = spec_.substr(0, at);
  const auto column = static_cast<std::size_t>(1 + std::count_if(before.begin(), before.end(), [](char c) {
                                                 return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
                                               }));
  throw CronError{column, fmt::format("cron spec \"{}\", column {}: {}", printable(spec_), column, reason)};
}

void Parser::fail_here(const std::string& right) const {
  if (at_word_end()) fail(at_, fmt::format("something is missing; {}", right));
  std::size_t end = at_ + 1;
  while (end < spec_.size() && (static_cast<unsigned char>(spec_[end]) & 0xC0U) == 0x80U) ++end;
  fail(at_, fmt::format("\"{}\" can't stand here; {}", printable(spec_.substr(at_, end - at_)), right));
}

CronSpec Parser::parse() {
  if (spec_.size() > spec_bytes_max) {
    throw CronError{spec_bytes_max + 1,
                    fmt::format("cron spec: it has {} bytes; {} are allowed", spec_.size(), spec_bytes_max)};
  }
  skip_spaces();
  for (const std::string_view prefix : {"CRON_TZ=", "TZ="}) {
    if (!prefixed_ && spec_.substr(at_).starts_with(prefix)) parse_zone(prefix);
  }
  if (!out_.zone) out_.zone = TimeZone::find(out_.zone_name);
  if (here() == '@') {
    parse_name();
  } else {
    parse_fields();
  }
  return std::move(out_);
}

void Parser::parse_zone(std::string_view prefix) {
  prefixed_ = true;
  at_ += prefix.size();
  out_.zone_name = word();
  try {
    out_.zone = TimeZone::find(out_.zone_name);
  } catch (const Error& error) {
    fail(at_, error.what());
  }
  at_ += out_.zone_name.size();
  skip_spaces();
}

void Parser::parse_name() {
  const std::size_t begin = at_;
  const std::string name = upper(word());
  if (name == "@EVERY") return parse_every();
  const auto known =
      std::find_if(nicknames.begin(), nicknames.end(), [&](const Nickname& n) { return n.name == name; });
  if (known == nicknames.end()) {
    fail(begin, fmt::format("\"{}\" is no name; write {}", printable(word()), names_in_words));
  }
  at_ += name.size();
  skip_spaces();
  if (!done()) fail(at_, fmt::format("nothing may follow {}", spec_.substr(begin, name.size())));
  out_.fields = Parser{known->fields, "UTC"}.parse().fields;
}

void Parser::parse_every() {
  if (prefixed_) fail(at_, "@every counts real time and has no zone; leave the prefix away");
  at_ += word().size();
  skip_spaces();
  const std::size_t begin = at_;
  if (done()) fail(at_, "a duration is missing; write for example @every 1h30m or @every 90s");
  while (!at_word_end()) {
    out_.every += parse_amount();
    if (out_.every > every_most) fail(begin, "a duration is 87600h (ten years) at most");
  }
  skip_spaces();
  if (!done())
    fail(at_, "a duration has no spaces in it, and nothing may follow it; write for example 1h30m");
  if (out_.every < every_least) fail(begin, "a duration is 1ms at least");
}

Duration Parser::parse_amount() {
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 5> units = {
      {{"h", 3'600'000'000}, {"m", 60'000'000}, {"s", 1'000'000}, {"ms", 1'000}, {"us", 1}}};
  const std::size_t begin = at_;
  if (!is_digit(here())) fail_here("a duration is numbers with units, for example 1h30m, 1.5h, 90s or 500ms");
  // Nine digits of hours are within 64 bits of microseconds.
  const auto whole = static_cast<std::int64_t>(parse_digits(9));
  std::int64_t fraction = 0;
  std::int64_t parts = 1;
  if (here() == '.') {
    ++at_;
    const std::size_t point = at_;
    if (!is_digit(here())) fail_here("digits follow a point, for example 1.5h");
    fraction = static_cast<std::int64_t>(parse_digits(9));
    for (std::size_t i = point; i < at_; ++i) parts *= 10;
  }
  const std::string_view name = spec_.substr(at_, skip(is_letter) - at_);
  const auto unit =
      std::find_if(units.begin(), units.end(), [name](const auto& u) { return u.first == name; });
  if (unit == units.end()) {
    if (name.empty()) fail_here("a number needs a unit: h, m, s, ms or us");
    fail(at_, fmt::format("\"{}\" is no unit; write h, m, s, ms or us{}", name,
                          name == "d" ? " (a day is 24h)" : ""));
  }
  at_ += name.size();
  if (fraction * unit->second % parts != 0) fail(begin, "a duration is a whole number of microseconds");
  const std::int64_t amount = whole * unit->second + fraction * unit->second / parts;
  if (amount > every_most.count()) fail(begin, "a duration is 87600h (ten years) at most");
  return Duration{amount};
}

void Parser::parse_fields() {
  constexpr std::string_view order = "minute hour day-of-month month day-of-week";
  const std::size_t begin = at_;
  std::vector<std::size_t> starts;
  for (; !done(); skip_spaces()) {
    starts.push_back(at_);
    at_ += word().size();
  }
  if (starts.size() == 7) fail(starts[6], "a seventh field; years can't be given");
  if (starts.size() < 5 || starts.size() > 6) {
    fail(starts.size() > 6 ? starts[6] : at_,
         fmt::format("{} fields, and 5 are needed: {}; or 6 with the second first; or a name such as @daily",
                     starts.size(), order));
  }
  at_ = begin;
  std::array<std::uint64_t, 6> sets = {1, 0, 0, 0, 0, 0};
  for (std::size_t i = 0; i < starts.size(); ++i) {
    at_ = starts[i];
    const std::size_t k = i + kinds.size() - starts.size();
    sets[k] = parse_field(kinds[k]);
  }
  CronFields& fields = out_.fields;
  std::tie(fields.second, fields.minute, fields.hour) = std::tie(sets[0], sets[1], sets[2]);
  std::tie(fields.day, fields.month, fields.weekday) = std::tie(sets[3], sets[4], sets[5]);
  const bool any_day = fields.day == every_from_to(1, 31);
  const bool any_weekday = fields.weekday == every_from_to(0, 6);
  fields.either = !any_day && !any_weekday;
}

std::uint64_t Parser::parse_field(const FieldKind& kind) {
  std::uint64_t set = parse_item(kind);
  while (here() == ',') {
    ++at_;
    set |= parse_item(kind);
  }
  if (!at_word_end())
    fail_here(fmt::format("the {} is {}, *, a range, a list or a step such as */5", kind.name, kind.range));
  return set;
}

std::uint64_t Parser::parse_item(const FieldKind& kind) {
  const std::size_t begin = at_;
  unsigned first = kind.least;
  unsigned last = kind.most;
  if (here() == '*' || here() == '?') {
    ++at_;
  } else if (kind.name == day.name && upper(here()) == 'L') {
    ++at_;
    out_.fields.last_day = true;
    return 0;
  } else {
    first = parse_value(kind);
    last = first;
    if (here() == '-') {
      ++at_;
      last = parse_value(kind);
    } else if (here() == '/') {
      last = kind.most;
    }
  }
  // Sunday begins the week, except at a range's end.
  if (kind.name == weekday.name && first == 7) {
    first = 0;
    if (last == 7) last = 0;
  }
  const unsigned step = here() == '/' ? parse_step(kind) : 1;
  if (last < first) {
    if (kind.name != weekday.name) {
      fail(begin, fmt::format("the range {}-{} runs backwards; write {}-{},{}-{}", first, last, first,
                              kind.most, kind.least, last));
    }
    last += 7;
  }
  std::uint64_t set = 0;
  for (unsigned value = first; value <= last; value += step) {
    set |= std::uint64_t{1} << (kind.name == weekday.name ? value % 7 : value);
  }
  return set;
}

unsigned Parser::parse_value(const FieldKind& kind) {
  const std::size_t begin = at_;
  if (is_letter(here()) && !kind.names.empty()) {
    const std::string_view text = spec_.substr(at_, skip(is_letter) - at_);
    const std::string name = upper(text);
    const std::size_t i = name.size() == 3 ? kind.names.find(name) : std::string_view::npos;
    if (i == std::string_view::npos || i % 3 != 0) {
      fail(begin, fmt::format("\"{}\" is no {}; write {}", text, kind.name, kind.range));
    }
    at_ += name.size();
    return kind.least + static_cast<unsigned>(i / 3);
  }
  if (!is_digit(here()))
    fail_here(fmt::format("the {} is {}, *, a range, a list or a step such as */5", kind.name, kind.range));
  const std::uint64_t value = parse_digits(9);
  const unsigned most = kind.name == weekday.name ? 7 : kind.most;
  if (value < kind.least || value > most) {
    fail(begin, fmt::format("there is no {} {}; write {}", kind.name, value, kind.range));
  }
  return static_cast<unsigned>(value);
}

unsigned Parser::parse_step(const FieldKind& kind) {
  const std::size_t begin = ++at_;
  if (!is_digit(here())) fail_here("a step is a number, for example */5");
  const std::uint64_t step = parse_digits(9);
  if (step == 0) fail(begin, "a step is 1 or more");
  if (step > kind.count()) {
    fail(begin,
         fmt::format("a step of {} never comes round among {} values; for other intervals write for example "
                     "@every 90m",
                     step, kind.count()));
  }
  return static_cast<unsigned>(step);
}

std::uint64_t Parser::parse_digits(std::size_t most) {
  const std::size_t begin = at_;
  at_ = skip(is_digit);
  if (at_ - begin > most) fail(begin, fmt::format("a number has {} digits at most", most));
  return std::accumulate(
      spec_.begin() + static_cast<std::ptrdiff_t>(begin), spec_.begin() + static_cast<std::ptrdiff_t>(at_),
      std::uint64_t{0},
      [](std::uint64_t sum, char c) { return sum * 10 + static_cast<std::uint64_t>(c - '0'); });
}

}  // namespace

CronSpec parse_cron_spec(std::string_view spec, const std::string& zone) {
  return Parser{spec, zone}.parse();
}

}  // namespace tidemill
