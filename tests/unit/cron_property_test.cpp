// Random specs in random zones, compared with a reference that knows nothing of calendars, periods or specs:
// it asks the C library what the clock on the wall shows at every single instant around a change of the
// clocks, and applies the policies to that table. A failure prints the seed; TIDEMILL_SEED=<n> repeats it.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <tidemill/cron.hpp>

namespace {

using tidemill::Cron;
using tidemill::CronDialect;
using tidemill::Fold;
using tidemill::Gap;
using tidemill::TimePoint;

constexpr long day_seconds = 86'400;

/// What the clock on the wall shows, read as if it were UTC: the C library's answer.
class WallClock {
 public:
  explicit WallClock(const std::string& zone) {
    ::setenv("TZ", (":" + zone).c_str(), 1);
    ::tzset();
  }
  ~WallClock() {
    ::unsetenv("TZ");
    ::tzset();
  }
  WallClock(const WallClock&) = delete;
  WallClock& operator=(const WallClock&) = delete;

  std::tm read(long at) const {
    const std::time_t time = at;
    std::tm out{};
    ::localtime_r(&time, &out);
    return out;
  }
  long offset(long at) const { return read(at).tm_gmtoff; }
};

/// The sets that a spec stands for, made before its text.
struct Rule {
  std::array<std::set<int>, 6> sets = {};  // Second, minute, hour, day, month, weekday.
  bool last_day = false;

  bool day_matches(const std::tm& t) const {
    std::tm tomorrow = t;
    tomorrow.tm_mday += 1;
    tomorrow.tm_hour = 12;
    ::timegm(&tomorrow);
    const bool by_day = sets[3].contains(t.tm_mday) || (last_day && tomorrow.tm_mday == 1);
    const bool by_weekday = sets[5].contains(t.tm_wday);
    if (sets[3].size() == 31) return by_weekday;
    if (sets[5].size() == 7) return by_day;
    return by_day || by_weekday;
  }
  bool matches(const std::tm& t) const {
    return sets[0].contains(t.tm_sec) && sets[1].contains(t.tm_min) && sets[2].contains(t.tm_hour) &&
           sets[4].contains(t.tm_mon + 1) && day_matches(t);
  }
  /// Of a local time, as seconds since 1970 of that clock.
  bool matches_local(long local) const {
    std::tm t{};
    const std::time_t time = local;
    ::gmtime_r(&time, &t);
    return matches(t);
  }
};

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  int number(int least, int most) { return std::uniform_int_distribution<int>{least, most}(random_); }
  bool chance(int percent) { return number(1, 100) <= percent; }
  template <class T>
  const T& one_of(const std::vector<T>& all) {
    return all[static_cast<std::size_t>(number(0, static_cast<int>(all.size()) - 1))];
  }

  /// A field's text, whose meaning is added to `set`.
  std::string field(int least, int most, std::set<int>& set) {
    std::string text = item(least, most, set);
    while (chance(25)) text += "," + item(least, most, set);
    return text;
  }

  std::string spec(Rule& rule, bool seconds) {
    auto& sets = rule.sets;
    const auto star_or_field = [this](int percent, int least, int most, std::set<int>& set) {
      if (!chance(percent)) return field(least, most, set);
      for (int i = least; i <= most; ++i) set.insert(i);
      return std::string{chance(80) ? "*" : "?"};
    };
    std::string text;
    if (seconds) {
      text = field(0, 59, sets[0]) + " ";
    } else {
      sets[0] = {0};
    }
    text += star_or_field(20, 0, 59, sets[1]) + " ";
    text += (chance(60) ? field(0, 3, sets[2]) : star_or_field(50, 0, 23, sets[2])) + " ";
    text += star_or_field(60, 1, 31, sets[3]);
    if (chance(10)) {
      text += ",L";
      rule.last_day = true;
    }
    text += " " + star_or_field(80, 1, 12, sets[4]);
    return text + " " + star_or_field(60, 0, 6, sets[5]);
  }

 private:
  std::string item(int least, int most, std::set<int>& set) {
    const int a = number(least, most);
    const int b = number(a, most);
    switch (number(0, 3)) {
      case 0: {
        const int step = number(1, most - least + 1);
        // The hours here may end before the field does, so the range is written out.
        for (int i = least; i <= most; i += step) set.insert(i);
        return fmt::format("{}-{}/{}", least, most, step);
      }
      case 1:
        for (int i = a; i <= b; ++i) set.insert(i);
        return fmt::format("{}-{}", a, b);
      default:
        set.insert(a);
        return std::to_string(a);
    }
  }

  std::mt19937_64 random_;
};

/// All firings from `begin` to just before `end`, found by looking at every `step`-th second.
std::set<long> reference(const WallClock& clock, const Rule& rule, Gap gap, Fold fold, long begin, long end,
                         long step) {
  constexpr long margin = 2 * 3600;
  const bool rhythm = rule.sets[2].size() == 24;
  std::set<long> firings;
  std::map<long, std::vector<long>> instants;  // Of each local time.
  // More on both sides, so that every fold is seen as a whole.
  long offset = clock.offset(begin - margin - step);
  for (long at = begin - margin; at < end + margin; at += step) {
    const long before = std::exchange(offset, clock.offset(at));
    instants[at + offset].push_back(at);
    if (rhythm || gap == Gap::skip) continue;
    bool missed = false;
    for (long local = at + before; local < at + offset; local += step)
      missed = missed || rule.matches_local(local);
    if (missed) firings.insert(gap == Gap::after ? at : at - 1);
  }
  for (const auto& [local, all] : instants) {
    if (!rule.matches_local(local)) continue;
    if (rhythm || fold == Fold::both) {
      firings.insert(all.begin(), all.end());
    } else {
      firings.insert(fold == Fold::first ? all.front() : all.back());
    }
  }
  firings.erase(firings.begin(), firings.lower_bound(begin));
  firings.erase(firings.lower_bound(end), firings.end());
  return firings;
}

/// The next change of the clocks after `from`, to the step, or `from` when there is none within a year.
long next_change(const WallClock& clock, long from) {
  for (long at = from; at < from + 370 * day_seconds; at += 6 * 3600) {
    if (clock.offset(at) == clock.offset(at + 6 * 3600)) continue;
    while (clock.offset(at) == clock.offset(at + 60)) at += 60;
    return at + 60;
  }
  return from;
}

std::uint64_t seed() {
  const char* given = std::getenv("TIDEMILL_SEED");
  return given != nullptr ? std::stoull(given) : std::random_device{}();
}

TimePoint point(long at) { return TimePoint{std::chrono::seconds{at}}; }

void compare(Generator& generator, bool seconds) {
  // The last three have no changes, odd offsets, and changes at a missing midnight.
  const std::vector<std::string> zones = {"Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
                                          "Europe/Dublin", "America/Santiago", "Pacific/Chatham",
                                          "Asia/Tokyo",    "Asia/Kathmandu",   "Africa/Cairo"};
  Rule rule;
  const std::string spec = generator.spec(rule, seconds);
  const std::string zone = generator.one_of(zones);
  const auto gap = static_cast<Gap>(generator.number(0, 2));
  const auto fold = static_cast<Fold>(generator.number(0, 2));
  SCOPED_TRACE(fmt::format("\"{}\" in {}, gap {}, fold {}", spec, zone, static_cast<int>(gap),
                           static_cast<int>(fold)));

  const WallClock clock{zone};
  // 2000 to 2100: past the lists of zone files, too. Whole minutes, as the offsets of these zones are by
  // then.
  const long start = 946'684'800L + generator.number(0, 100 * 365) * day_seconds;
  const long change = generator.chance(85) ? next_change(clock, start) : start;
  const long step = seconds ? 1 : 60;
  const long reach = seconds ? 3600 : 2 * day_seconds;
  const long begin = change - reach;
  const long end = change + reach;
  const std::set<long> expected = reference(clock, rule, gap, fold, begin, end, step);

  const Cron cron = Cron::parse(spec, {.zone = zone, .gap = gap, .fold = fold});
  std::set<long> answers;
  for (auto at = cron.next(point(begin - 1)); at && *at < point(end); at = cron.next(*at)) {
    answers.insert(std::chrono::floor<std::chrono::seconds>(*at).time_since_epoch().count());
  }
  ASSERT_EQ(answers, expected) << "around " << change;
  // From anywhere, not only from firing to firing.
  for (int i = 0; i < 20; ++i) {
    const long from = generator.number(0, static_cast<int>(2 * reach) - 1) + begin;
    const auto first = expected.upper_bound(from);
    const auto answer = cron.next(point(from));
    if (first != expected.end()) {
      ASSERT_EQ(answer, point(*first)) << "from " << from;
    } else {
      ASSERT_TRUE(!answer || *answer >= point(end)) << "from " << from;
    }
  }
}

TEST(CronProperty, AgreesWithAReferenceThatStepsThroughTime) {
  const std::uint64_t used = seed();
  SCOPED_TRACE(fmt::format("TIDEMILL_SEED={}", used));
  Generator generator{used};
  for (int i = 0; i < 200 && !HasFatalFailure(); ++i) compare(generator, false);
  for (int i = 0; i < 50 && !HasFatalFailure(); ++i) compare(generator, true);
}

}  // namespace
