#include "stores/redis/statistics.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "stores/redis/keys.hpp"
#include "stores/redis/record.hpp"

namespace tidemill::redis_store {

namespace {

using namespace std::chrono;

constexpr auto minutes_kept = 48h;
constexpr auto days_kept = 366 * 24h;

/// ARGV[1]: the hash's name behind the prefix; ARGV[2]: when it goes; then field and by how much.
constexpr std::string_view add = R"lua(
local P = string.sub(KEYS[1], 1, -8)
for i = 3, #ARGV, 2 do redis.call('HINCRBY', P .. ARGV[1], ARGV[i], ARGV[i + 1]) end
redis.call('ZADD', P .. 'x:stats', ARGV[2], ARGV[1])
return 1
)lua";

/// The hash that an instant's counters are in, and when it goes.
std::string name_of(Span span, TimePoint at) {
  if (span == Span::day) return fmt::format("x:stats:d:{}", floor<days>(at).time_since_epoch().count());
  return fmt::format("x:stats:m:{}", floor<hours>(at).time_since_epoch().count());
}

TimePoint goes_at(Span span, TimePoint at) {
  if (span == Span::day) return floor<days>(at) + 24h + days_kept;
  return floor<hours>(at) + 1h + minutes_kept;
}

redis::Command add_command(const Stat& stat, Span span) {
  static const redis::Script script{add};
  const TimePoint at =
      span == Span::day ? TimePoint{floor<days>(stat.at)} : TimePoint{floor<minutes>(stat.at)};
  redis::Command command{script, pending_key(stat.queue)};
  command.add(name_of(span, at)).add(micros(goes_at(span, at)));
  const auto field = [&](char counter, std::int64_t by) {
    if (by != 0) command.add(fmt::format("{}:{}:{}", micros(at), counter, stat.kind)).add(by);
  };
  field('s', static_cast<std::int64_t>(stat.success));
  field('f', static_cast<std::int64_t>(stat.failure));
  field('c', static_cast<std::int64_t>(stat.crash));
  field('b', stat.busy.count());
  return command;
}

}  // namespace

std::vector<redis::Command> stat_commands(std::span<const Stat> stats) {
  std::vector<redis::Command> commands;
  if (stats.empty()) return commands;
  redis::Command names{"SADD", shared_key("counted")};
  for (const Stat& stat : stats) names.add(stat.queue);
  commands.push_back(std::move(names.repeatable()));
  for (const Stat& stat : stats) {
    commands.push_back(add_command(stat, Span::minute));
    commands.push_back(add_command(stat, Span::day));
  }
  return commands;
}

redis::Command counted_queues_command() {
  return std::move(redis::Command{"SMEMBERS", shared_key("counted")}.reads());
}

std::vector<redis::Command> read_stats_commands(std::string_view queue, Span span, TimePoint from,
                                                TimePoint to, TimePoint now) {
  const bool day = span == Span::day;
  const Duration step = day ? Duration{24h} : Duration{1h};
  const Duration kept = day ? Duration{days_kept} : Duration{minutes_kept};
  std::vector<redis::Command> commands;
  // What is older is gone or about to go; nobody counts ahead of time by more than a day.
  const TimePoint first = std::max(from, now - kept - step);
  const TimePoint last = std::min(to, now + 24h);
  TimePoint at = day ? TimePoint{floor<days>(first)} : TimePoint{floor<hours>(first)};
  for (; at < last; at += step) {
    redis::Command command{"HGETALL", queue_prefix(queue) + name_of(span, at)};
    commands.push_back(std::move(command.reads()));
  }
  return commands;
}

void read_stats(const redis::Reply& reply, std::string_view queue, TimePoint from, TimePoint to,
                std::vector<Stat>& into) {
  std::map<std::tuple<TimePoint, std::string>, Stat> sums;
  for (std::size_t i = 0; i + 1 < reply.items.size(); i += 2) {
    const std::string_view field = reply.items[i].text;
    const std::size_t colon = field.find(':');
    if (colon == field.npos || field.size() < colon + 3) continue;
    const TimePoint at = from_micros(to_number(field.substr(0, colon)));
    if (at < from || at >= to) continue;
    const std::string kind{field.substr(colon + 3)};
    Stat& stat = sums[{at, kind}];
    stat.queue = queue;
    stat.kind = kind;
    stat.at = at;
    const std::int64_t count = to_number(reply.items[i + 1].text);
    switch (field[colon + 1]) {
      case 's':
        stat.success = static_cast<std::uint64_t>(count);
        break;
      case 'f':
        stat.failure = static_cast<std::uint64_t>(count);
        break;
      case 'c':
        stat.crash = static_cast<std::uint64_t>(count);
        break;
      default:
        stat.busy = Duration{count};
        break;
    }
  }
  for (auto& [name, stat] : sums) into.push_back(std::move(stat));
}

}  // namespace tidemill::redis_store
