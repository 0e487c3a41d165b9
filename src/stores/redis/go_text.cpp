#include "stores/redis/go_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>
#include <vector>

#include <fmt/format.h>

#include "core/digest.hpp"
#include "core/utf8.hpp"

namespace tidemill::redis_store {

namespace {

using std::chrono::days;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr std::uint64_t second_nanos = 1'000'000'000;
constexpr std::uint64_t magnitude_most = std::uint64_t{1} << 63U;  ///< Of a negative one.

struct Unit {
  std::string_view name;
  std::uint64_t nanos;
};
constexpr std::array<Unit, 8> units = {{{"ns", 1},
                                        {"us", 1'000},
                                        {"\u00b5s", 1'000},  // Micro sign.
                                        {"\u03bcs", 1'000},  // Greek mu.
                                        {"ms", 1'000'000},
                                        {"s", second_nanos},
                                        {"m", 60 * second_nanos},
                                        {"h", 3600 * second_nanos}}};

constexpr std::array<std::string_view, 7> weekdays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view take_digits(std::string_view& text) {
  const auto end = std::find_if_not(text.begin(), text.end(), is_digit);
  const std::string_view digits = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  text.remove_prefix(digits.size());
  return digits;
}

/// None beyond 2^63.
std::optional<std::uint64_t> number(std::string_view digits) {
  std::uint64_t value = 0;
  for (const char digit : digits) {
    if (value > magnitude_most / 10) return {};
    value = value * 10 + static_cast<std::uint64_t>(digit - '0');
  }
  if (value > magnitude_most) return {};
  return value;
}

/// A number in units of `unit`, as few digits as it takes.
std::string decimal(std::uint64_t value, std::uint64_t unit) {
  std::string text = fmt::format("{}", value / unit);
  std::string fraction;
  for (std::uint64_t rest = value % unit; rest > 0; rest = rest % unit) {
    rest *= 10;
    fraction += static_cast<char>('0' + rest / unit);
  }
  if (!fraction.empty()) text += fmt::format(".{}", fraction);
  return text;
}

/// What a fraction's digits are of a unit, as near as Go comes to it.
std::uint64_t fraction_of(std::string_view digits, std::uint64_t unit) {
  double scale = 1;
  std::uint64_t value = 0;
  for (const char digit : digits) {
    if (value > magnitude_most / 10) break;
    scale *= 10;
    value = value * 10 + static_cast<std::uint64_t>(digit - '0');
  }
  return static_cast<std::uint64_t>(static_cast<double>(value) * (static_cast<double>(unit) / scale));
}

/// Takes `1.5h` from the front.
std::optional<std::uint64_t> take_amount(std::string_view& text) {
  const std::string_view whole = take_digits(text);
  std::string_view fraction;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    fraction = take_digits(text);
  }
  if (whole.empty() && fraction.empty()) return {};
  const auto unit_end =
      std::find_if(text.begin(), text.end(), [](char c) { return c == '.' || is_digit(c); });
  const std::string_view name = text.substr(0, static_cast<std::size_t>(unit_end - text.begin()));
  const auto* const unit =
      std::find_if(units.begin(), units.end(), [&](const Unit& u) { return u.name == name; });
  const auto count = number(whole);
  if (unit == units.end() || !count || *count > magnitude_most / unit->nanos) return {};
  text.remove_prefix(name.size());
  return *count * unit->nanos + fraction_of(fraction, unit->nanos);
}

}  // namespace

std::string format_go_duration(nanoseconds length) {
  const bool negative = length.count() < 0;
  const auto count = static_cast<std::uint64_t>(length.count());
  const std::uint64_t nanos = negative ? 0 - count : count;
  const std::string_view sign = negative ? "-" : "";
  if (nanos == 0) return "0s";
  if (nanos < 1'000) return fmt::format("{}{}ns", sign, nanos);
  if (nanos < 1'000'000) return fmt::format("{}{}\u00b5s", sign, decimal(nanos, 1'000));
  if (nanos < second_nanos) return fmt::format("{}{}ms", sign, decimal(nanos, 1'000'000));
  const std::uint64_t minutes = nanos / (60 * second_nanos);
  const std::string rest = decimal(nanos % (60 * second_nanos), second_nanos);
  if (minutes == 0) return fmt::format("{}{}s", sign, rest);
  if (minutes < 60) return fmt::format("{}{}m{}s", sign, minutes, rest);
  return fmt::format("{}{}h{}m{}s", sign, minutes / 60, minutes % 60, rest);
}

std::optional<nanoseconds> parse_go_duration(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return nanoseconds{0};
  if (text.empty()) return {};
  std::uint64_t sum = 0;
  while (!text.empty()) {
    const auto amount = take_amount(text);
    if (!amount || *amount > magnitude_most - sum) return {};
    sum += *amount;
  }
  if (!negative && sum == magnitude_most) return {};
  return nanoseconds{static_cast<std::int64_t>(negative ? 0 - sum : sum)};
}

std::string day_text(TimePoint at) {
  const std::chrono::year_month_day date{std::chrono::floor<days>(at)};
  return fmt::format("{:04}-{:02}-{:02}", int{date.year()}, unsigned{date.month()}, unsigned{date.day()});
}

std::string format_unix_date(TimePoint at) {
  const auto day = std::chrono::floor<days>(at);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{std::chrono::floor<seconds>(at - day)};
  return fmt::format("{} {} {:2} {:02}:{:02}:{:02} UTC {:04}",
                     weekdays[std::chrono::weekday{day}.c_encoding()], months[unsigned{date.month()} - 1],
                     unsigned{date.day()}, time.hours().count(), time.minutes().count(),
                     time.seconds().count(), int{date.year()});
}

namespace {

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    if (!word.empty()) words.push_back(word);
    text.remove_prefix(std::min(text.size(), word.size() + 1));
  }
  return words;
}

/// A number of so many digits from `least` to `most`.
std::optional<unsigned> whole(std::string_view text, std::size_t digits_min, std::size_t digits_max,
                              unsigned least, unsigned most) {
  if (text.size() < digits_min || text.size() > digits_max) return {};
  if (!std::all_of(text.begin(), text.end(), is_digit)) return {};
  const auto value = static_cast<unsigned>(number(text).value_or(0));
  if (value < least || value > most) return {};
  return value;
}

/// `15:04:05`.
std::optional<seconds> time_of_day(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || text.size() != colon + 6 || text[colon + 3] != ':') return {};
  const auto hour = whole(text.substr(0, colon), 1, 2, 0, 23);
  const auto minute = whole(text.substr(colon + 1, 2), 2, 2, 0, 59);
  const auto second = whole(text.substr(colon + 4), 2, 2, 0, 59);
  if (!hour || !minute || !second) return {};
  return std::chrono::hours{*hour} + std::chrono::minutes{*minute} + seconds{*second};
}

}  // namespace

std::optional<TimePoint> parse_unix_date(std::string_view text) {
  const auto words = words_of(text);
  if (words.size() != 6) return {};
  const auto* const weekday = std::find(weekdays.begin(), weekdays.end(), words[0]);
  const auto* const month = std::find(months.begin(), months.end(), words[1]);
  const auto day = whole(words[2], 1, 2, 1, 31);
  const auto time = time_of_day(words[3]);
  const auto year = whole(words[5], 4, 4, 0, 9999);
  if (weekday == weekdays.end() || month == months.end() || !day || !time || !year) return {};
  const std::chrono::year_month_day date{
      std::chrono::year{static_cast<int>(*year)},
      std::chrono::month{static_cast<unsigned>(month - months.begin()) + 1}, std::chrono::day{*day}};
  if (!date.ok()) return {};
  return std::chrono::sys_days{date} + *time;
}

std::string unique_key(std::string_view queue, std::string_view type,
                       std::optional<std::string_view> payload) {
  return fmt::format("asynq:{{{}}}:unique:{}:{}", queue, type, payload ? md5_hex(*payload) : std::string{});
}

namespace {

struct Range {
  char32_t first, last;
};
/// What prints nothing or takes a place only: controls, spaces but the plain one, formats, private use and
/// what Unicode calls no characters. Sorted.
constexpr std::array<Range, 31> unprintable = {
    {{0x00, 0x1f},       {0x7f, 0xa0},       {0xad, 0xad},       {0x600, 0x605},     {0x61c, 0x61c},
     {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},     {0x8e2, 0x8e2},     {0x1680, 0x1680},
     {0x180e, 0x180e},   {0x2000, 0x200f},   {0x2028, 0x202f},   {0x205f, 0x206f},   {0x3000, 0x3000},
     {0xe000, 0xf8ff},   {0xfdd0, 0xfdef},   {0xfeff, 0xfeff},   {0xfff0, 0xfffb},   {0xfffe, 0xffff},
     {0x110bd, 0x110bd}, {0x110cd, 0x110cd}, {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
     {0x1fffe, 0x1ffff}, {0x2fffe, 0x2ffff}, {0x3fffe, 0x3ffff}, {0xe0000, 0xe007f}, {0xefffe, 0xeffff},
     {0xf0000, 0x10ffff}}};

bool printable(char32_t character) {
  const auto* const range = std::lower_bound(unprintable.begin(), unprintable.end(), character,
                                             [](const Range& r, char32_t c) { return r.last < c; });
  return range == unprintable.end() || character < range->first;
}

/// Of one well-formed character.
char32_t code_of(std::string_view character) {
  const auto lead = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return lead;
  char32_t code = lead & (0x7fU >> character.size());
  for (const char next : character.substr(1)) code = code << 6U | (static_cast<unsigned char>(next) & 0x3fU);
  return code;
}

struct Escape {
  char letter, meaning;
};
constexpr std::array<Escape, 9> escapes = {{{'a', '\a'},
                                            {'b', '\b'},
                                            {'f', '\f'},
                                            {'n', '\n'},
                                            {'r', '\r'},
                                            {'t', '\t'},
                                            {'v', '\v'},
                                            {'\\', '\\'},
                                            {'"', '"'}}};

void append_quoted(std::string& out, std::string_view character) {
  const auto* const escape = std::find_if(escapes.begin(), escapes.end(),
                                          [&](const Escape& e) { return e.meaning == character[0]; });
  const char32_t code = code_of(character);
  const auto value = static_cast<std::uint32_t>(code);
  if (escape != escapes.end()) {
    out += '\\';
    out += escape->letter;
  } else if (printable(code)) {
    out += character;
  } else if (value < 0x80) {
    out += fmt::format("\\x{:02x}", value);
  } else if (value < 0x10000) {
    out += fmt::format("\\u{:04x}", value);
  } else {
    out += fmt::format("\\U{:08x}", value);
  }
}

void append_utf8(std::string& out, std::uint32_t code) {
  const auto byte = [&](std::uint32_t value) { out += static_cast<char>(value); };
  const auto next = [&](std::uint32_t shift) { byte(0x80U | (code >> shift & 0x3fU)); };
  if (code < 0x80) return byte(code);
  if (code < 0x800) {
    byte(0xc0U | code >> 6U);
  } else if (code < 0x10000) {
    byte(0xe0U | code >> 12U);
    next(6);
  } else {
    byte(0xf0U | code >> 18U);
    next(12);
    next(6);
  }
  next(0);
}

/// Takes exactly so many digits.
std::optional<std::uint32_t> take_code(std::string_view& text, std::size_t digits, int base) {
  std::uint32_t value = 0;
  if (text.size() < digits) return {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, value, base);
  if (error != std::errc{} || end != text.data() + digits) return {};
  text.remove_prefix(digits);
  return value;
}

/// Takes what follows a backslash.
bool take_escape(std::string_view& text, std::string& out) {
  if (text.empty()) return false;
  const char letter = text[0];
  if (letter >= '0' && letter <= '7') {
    const auto byte = take_code(text, 3, 8);
    if (byte) out += static_cast<char>(*byte);
    return byte && *byte < 0x100;
  }
  text.remove_prefix(1);
  if (letter == 'x') {
    const auto byte = take_code(text, 2, 16);
    if (byte) out += static_cast<char>(*byte);
    return byte.has_value();
  }
  if (letter == 'u' || letter == 'U') {
    const auto code = take_code(text, letter == 'u' ? 4 : 8, 16);
    if (!code || *code > 0x10ffff || (*code >= 0xd800 && *code < 0xe000)) return false;
    append_utf8(out, *code);
    return true;
  }
  const auto* const escape =
      std::find_if(escapes.begin(), escapes.end(), [&](const Escape& e) { return e.letter == letter; });
  if (escape != escapes.end()) out += escape->meaning;
  return escape != escapes.end();
}

}  // namespace

std::string quote_go(std::string_view text) {
  std::string out{'"'};
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else {
      append_quoted(out, text.substr(0, length));
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  out += '"';
  return out;
}

std::optional<std::string> unquote_go(std::string_view quoted) {
  if (quoted.size() < 2 || !quoted.starts_with('"') || !quoted.ends_with('"')) return {};
  std::string_view text = quoted.substr(1, quoted.size() - 2);
  std::string out;
  while (!text.empty()) {
    const char c = text[0];
    if (c == '"' || c == '\n') return {};
    text.remove_prefix(1);
    if (c != '\\') {
      out += c;
    } else if (!take_escape(text, out)) {
      return {};
    }
  }
  return out;
}

}  // namespace tidemill::redis_store
