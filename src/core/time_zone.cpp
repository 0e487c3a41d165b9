#include "core/time_zone.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>

#include <date/tz.h>
#include <fmt/format.h>

#include <tidemill/cron.hpp>
#include <tidemill/error.hpp>

#include "core/time_zone_rule.hpp"

// The library must read the system's compiled zone files; otherwise it would look for sources of its own.
static_assert(USE_OS_TZDB == 1, "date/tz.h needs -DUSE_OS_TZDB=1, which CMake's target date::date-tz sets");

namespace tidemill {

namespace {

using std::chrono::seconds;
using std::chrono::sys_seconds;

constexpr std::string_view database_directory = "/usr/share/zoneinfo/";

class Utc final : public TimeZone {
 public:
  Period period(sys_seconds /*at*/) const override { return {always_begin, always_end, seconds{0}}; }
};

/// The rule in the last line of a zone's file, and the last change that the file lists, from which it holds.
struct Tail {
  sys_seconds from = TimeZone::always_begin;
  TimeZoneRule rule;
};

/// The date library knows the changes that a zone's file lists, and takes the last offset for all time to
/// come. Files list changes up to 2037 or so; compact ones only those that the rule does not tell, and that
/// may be none since 1996. So the rule takes over where the list ends.
class ListedZone final : public TimeZone {
 public:
  ListedZone(const date::time_zone& zone, std::optional<Tail> tail) : zone_(zone), tail_(tail) {}

  Period period(sys_seconds at) const override {
    if (tail_ && at >= tail_->from) {
      const Period ruled = tail_->rule.period(at);
      return {std::max(tail_->from, ruled.begin), ruled.end, ruled.offset};
    }
    const date::sys_info info = zone_.get_info(at);
    return {info.begin, tail_ ? std::min(info.end, tail_->from) : info.end, info.offset};
  }

 private:
  const date::time_zone& zone_;  // The database lives as long as the program.
  std::optional<Tail> tail_;
};

/// A zone's file, as RFC 9636 has it: a header, changes in 32 bits, and from version 2 on a second header,
/// the changes in 64 bits, and the rule between two line feeds.
class ZoneFile {
 public:
  explicit ZoneFile(const std::string& name) {
    std::ifstream file{std::string{database_directory} + name, std::ios::binary};
    bytes_.assign(std::istreambuf_iterator<char>{file}, {});
  }

  bool valid() const { return is_header(0); }

  /// None in files of version 1, and where the line is empty or no rule.
  std::optional<Tail> tail() const {
    if (bytes_[4] < '2') return {};
    const std::size_t second = block_end(0, 4);
    if (!is_header(second)) return {};
    const std::size_t line = block_end(second, 8) + 1;
    const std::size_t line_end = bytes_.find('\n', line);
    if (line > bytes_.size() || line_end == std::string::npos) return {};
    const auto rule = TimeZoneRule::parse(std::string_view{bytes_}.substr(line, line_end - line));
    if (!rule) return {};
    const auto changes = static_cast<std::size_t>(number(second + 32, 4));
    if (changes == 0) return Tail{.rule = *rule};
    const sys_seconds last{seconds{number(second + header_bytes + (changes - 1) * 8, 8)}};
    return Tail{.from = std::max(last, TimeZone::always_begin), .rule = *rule};
  }

 private:
  static constexpr std::size_t header_bytes = 44;

  bool is_header(std::size_t at) const {
    return bytes_.size() >= at + header_bytes && bytes_.compare(at, 4, "TZif") == 0;
  }

  /// A signed number, high byte first.
  std::int64_t number(std::size_t at, std::size_t length) const {
    std::uint64_t value = 0;
    for (std::size_t i = at; i < at + length; ++i)
      value = value << 8U | static_cast<unsigned char>(bytes_[i]);
    return static_cast<std::int64_t>(value);
  }

  /// Where the block ends whose header is at `at`, and whose times have `time_bytes` bytes.
  std::size_t block_end(std::size_t at, std::size_t time_bytes) const {
    const auto count = [&](std::size_t i) { return static_cast<std::size_t>(number(at + 20 + i * 4, 4)); };
    // Universal and standard indicators, leap seconds, changes, kinds of time, letters of abbreviations.
    return at + header_bytes + count(0) + count(1) + count(2) * (time_bytes + 4) +
           count(3) * (time_bytes + 1) + count(4) * 6 + count(5);
  }

  std::string bytes_;
};

std::string lower(std::string_view text) {
  std::string out{text};
  std::transform(out.begin(), out.end(), out.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return out;
}

/// A zone that differs in upper and lower case only, or the usual example.
std::string suggestion(const date::tzdb& database, std::string_view name) {
  const std::string wanted = lower(name);
  for (const date::time_zone& zone : database.zones) {
    if (lower(zone.name()) == wanted) return zone.name();
  }
  return "Europe/Berlin";
}

const date::tzdb& database() {
  std::string reason = "it is empty";
  try {
    const date::tzdb& zones = date::get_tzdb();
    if (!zones.zones.empty()) return zones;
  } catch (const std::exception& error) {
    reason = error.what();
  }
  throw Error{
      ErrorKind::invalid,
      fmt::format("the time-zone database can't be read ({}): install the package tzdata, or use the zone "
                  "\"UTC\", which needs none",
                  reason)};
}

}  // namespace

std::shared_ptr<const TimeZone> TimeZone::find(std::string_view name) {
  if (name == "UTC") return std::make_shared<Utc>();
  const auto belongs = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' ||
           c == '_' || c == '+' || c == '-';
  };
  if (name.size() > 64 || !std::all_of(name.begin(), name.end(), belongs)) {
    throw Error{ErrorKind::invalid,
                "a time zone's name is at most 64 letters, digits and /_+-, for example \"Europe/Berlin\""};
  }
  if (name == "localtime") {
    throw Error{ErrorKind::invalid,
                "the zone \"localtime\" is another one on each machine; write its name, for example "
                "\"Europe/Berlin\""};
  }
  const date::tzdb& zones = database();
  try {
    const date::time_zone* zone = date::locate_zone(std::string{name});
    const ZoneFile file{zone->name()};
    // The library goes by the names of files, and reads one only when it is first used.
    if (file.valid()) return std::make_shared<ListedZone>(*zone, file.tail());
  } catch (const std::runtime_error&) {  // NOLINT(bugprone-empty-catch): said below.
  }
  throw Error{ErrorKind::invalid,
              fmt::format("there is no time zone \"{}\"; write an IANA name, for example \"{}\"", name,
                          suggestion(zones, name))};
}

std::vector<std::string> time_zone_names() {
  // The library goes by the names of files, and some of those are no zones. They are read once.
  static const std::vector<std::string> names = [] {
    std::vector<std::string> found{"UTC"};
    for (const date::time_zone& zone : database().zones) {
      if (zone.name() != "UTC" && zone.name() != "localtime" && ZoneFile{zone.name()}.valid())
        found.push_back(zone.name());
    }
    std::sort(found.begin(), found.end());
    return found;
  }();
  return names;
}

std::string_view time_zone_database_version() {
  // The library looks for a file that Debian does not have; the text form of the database says it as well.
  static const std::string version = [] {
    constexpr std::string_view mark = "# version ";
    std::ifstream file{"/usr/share/zoneinfo/tzdata.zi"};
    std::string line;
    std::getline(file, line);
    if (!line.starts_with(mark) || line.size() == mark.size()) return std::string{"unknown"};
    line.erase(0, mark.size());
    return line;
  }();
  return version;
}

}  // namespace tidemill
