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

/// The date library knows the changes that a zone's file lists, and takes the last offset for all time to
/// come. Files list changes up to 2037 at most; compact ones only those that the rule in their last line does
/// not tell, and that may be none since 1996. So the rule takes over where the list ends.
class ListedZone final : public TimeZone {
 public:
  ListedZone(const date::time_zone& zone, std::optional<TimeZoneRule> rule) : zone_(zone), rule_(rule) {}

  Period period(sys_seconds at) const override {
    const date::sys_info info = zone_.get_info(at);
    Period period{info.begin, info.end, info.offset};
    if (!rule_ || period.end < end_of_list) return period;
    const Period ruled = rule_->period(at);
    return {std::max(period.begin, ruled.begin), ruled.end, ruled.offset};
  }

 private:
  /// The library's answer for "no further change" is in the year 32767.
  static constexpr sys_seconds end_of_list{seconds{900'000'000'000}};

  const date::time_zone& zone_;  // The database lives as long as the program.
  std::optional<TimeZoneRule> rule_;
};

std::optional<TimeZoneRule> rule_of(const std::string& name) {
  std::ifstream file{std::string{database_directory} + name, std::ios::binary};
  const std::string bytes{std::istreambuf_iterator<char>{file}, {}};
  if (bytes.size() < 2 || bytes.back() != '\n') return {};
  const std::size_t before = bytes.rfind('\n', bytes.size() - 2);
  if (before == std::string::npos) return {};
  return TimeZoneRule::parse(std::string_view{bytes}.substr(before + 1, bytes.size() - before - 2));
}

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
  try {
    return date::get_tzdb();
  } catch (const std::exception& error) {
    throw Error{
        ErrorKind::invalid,
        fmt::format("the time-zone database can't be read ({}): install the package tzdata, or use the zone "
                    "UTC, which needs none",
                    error.what())};
  }
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
    return std::make_shared<ListedZone>(*zone, rule_of(zone->name()));
  } catch (const std::runtime_error&) {
    throw Error{ErrorKind::invalid,
                fmt::format("there is no time zone \"{}\"; write an IANA name, for example \"{}\"", name,
                            suggestion(zones, name))};
  }
}

std::string_view time_zone_database_version() {
  // The library looks for a file that Debian does not have; the text form of the database says it as well.
  static const std::string version = [] {
    constexpr std::string_view mark = "# version ";
    std::ifstream file{std::string{database_directory} + "tzdata.zi"};
    std::string line;
    std::getline(file, line);
    return line.starts_with(mark) && line.size() > mark.size() ? line.substr(mark.size())
                                                               : std::string{"unknown"};
  }();
  return version;
}

}  // namespace tidemill
