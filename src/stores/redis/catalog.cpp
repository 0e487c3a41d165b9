// Queues, workers and statistics.
#include <algorithm>
#include <tuple>

#include "stores/redis/keys.hpp"
#include "stores/redis/servers.hpp"
#include "stores/redis/statistics.hpp"
#include "stores/redis/store_impl.hpp"
#include "stores/redis/workers.hpp"

namespace tidemill::redis_store {

namespace {

using namespace std::chrono_literals;

/// A worker that has been silent for longer is taken for dead.
constexpr auto worker_alive = 1min;

/// All of a queue's counts: pending, active, scheduled, held, blocked, retry, completed, archived,
/// aggregating (in groups, and gathered from them); whether it is paused; and since when its oldest pending
/// task waits.
constexpr std::string_view count = R"lua(
local P = string.sub(KEYS[1], 1, -8)
local call = redis.call
local groups = 0
for _, name in ipairs(call('SMEMBERS', P .. 'groups')) do groups = groups + call('ZCARD', P .. 'g:' .. name) end
for _, key in ipairs(call('ZRANGE', P .. 'aggregation_sets', 0, -1)) do groups = groups + call('ZCARD', key) end
local oldest = call('LINDEX', P .. 'pending', -1)
return {call('LLEN', P .. 'pending'), call('LLEN', P .. 'active'),
        call('ZCOUNT', P .. 'scheduled', '-inf', '(' .. ARGV[1]),
        call('ZCOUNT', P .. 'scheduled', ARGV[1], ARGV[1]), call('ZCOUNT', P .. 'scheduled', ARGV[2], ARGV[2]),
        call('ZCARD', P .. 'retry'), call('ZCARD', P .. 'completed'), call('ZCARD', P .. 'archived'), groups,
        call('EXISTS', P .. 'paused'), oldest and call('HGET', P .. 't:' .. oldest, 'pending_since') or ''}
)lua";

/// Erases what is left of a queue without tasks, but for statistics and what keeps a late repeat or a key
/// from doing harm. Answers 0, and does nothing, when it has some.
constexpr std::string_view erase_if_empty = R"lua(
local P = string.sub(KEYS[1], 1, -8)
local call = redis.call
if call('EXISTS', P .. 'pending', P .. 'active', P .. 'scheduled', P .. 'retry', P .. 'completed', P .. 'archived') > 0
then return 0 end
for _, name in ipairs(call('SMEMBERS', P .. 'groups')) do
  if call('EXISTS', P .. 'g:' .. name) == 1 then return 0 end
end
for _, key in ipairs(call('ZRANGE', P .. 'aggregation_sets', 0, -1)) do
  if call('EXISTS', key) == 1 then return 0 end
end
call('DEL', P .. 'lease', P .. 'groups', P .. 'aggregation_sets', P .. 'paused', P .. 'x:groups', P .. 'x:due')
return 1
)lua";

constexpr std::array counted = {State::pending,   State::active,   State::scheduled,
                                State::held,      State::blocked,  State::retry,
                                State::completed, State::archived, State::aggregating};

}  // namespace

std::vector<QueueInfo> RedisStore::queues(const Call& call) {
  static const redis::Script script{count};
  const auto names = queue_names(call);
  std::vector<redis::Command> commands;
  for (const std::string& name : names) {
    redis::Command command{script, pending_key(name)};
    commands.push_back(std::move(command.add(held_score).add(blocked_score).reads()));
  }
  const auto replies = exec(commands, call);
  std::vector<QueueInfo> infos;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto& items = checked(replies[i]).items;
    QueueInfo info;
    info.name = names[i];
    for (std::size_t n = 0; n < counted.size(); ++n) {
      const auto number = static_cast<std::uint64_t>(items.at(n).integer);
      if (number > 0) info.counts[counted[n]] = number;
    }
    info.paused = items.at(counted.size()).integer != 0;
    const std::int64_t since = to_number(items.at(counted.size() + 1).text);
    if (since > 0) info.oldest = std::max(Duration::zero(), call.now - from_micros(since / 1000));
    infos.push_back(std::move(info));
  }
  return infos;
}

void RedisStore::pause(std::string_view queue, bool paused, const Call& call) {
  redis::Command command{paused ? "SET" : "DEL", queue_prefix(queue) + "paused"};
  if (paused) command.add(seconds_down(call.now)).add("NX");
  ask(command.repeatable(), call);
  if (!paused) waiter_.ring(queue);
}

Changed RedisStore::erase_queue(std::string_view queue, const Call& call) {
  static const redis::Script script{erase_if_empty};
  auto listed = redis::Command{"SISMEMBER", queues_key};
  if (ask(listed.add(queue).reads(), call).integer == 0) return Changed::absent;
  const auto is_erased = [&] {
    return ask(redis::Command{script, pending_key(queue)}.repeatable(), call).integer == 1;
  };
  if (!is_erased()) return Changed::wrong_state;
  ask(redis::Command{"SREM", queues_key}.add(queue).repeatable(), call);
  forget_names({queue});
  // One that came meanwhile may have been named before that.
  if (!is_erased()) ask(redis::Command{"SADD", queues_key}.add(queue).repeatable(), call);
  return Changed::changed;
}

std::vector<tidemill::WorkerInfo> RedisStore::workers(const Call& call) {
  const redis::Reply reply = ask(workers_command(call.now - worker_alive), call);
  std::vector<tidemill::WorkerInfo> infos;
  for (std::size_t i = 0; i + 1 < reply.items.size(); i += 2) {
    auto info = read_worker(reply.items[i].text);
    if (!info) continue;
    info->beat_at = from_micros(to_number(reply.items[i + 1].text));
    infos.push_back(std::move(*info));
  }
  std::vector<redis::Command> commands;
  for (const redis::Reply& key : ask(server_keys_command(call.now), call).items)
    commands.push_back(std::move(redis::Command{"GET", key.text}.reads()));
  for (const redis::Reply& text : exec(commands, call)) {
    auto info = read_go_server(checked(text).text);
    if (!info) continue;
    info->beat_at = call.now;
    infos.push_back(std::move(*info));
  }
  return infos;
}

bool RedisStore::signal(std::string_view worker, Signal signal, const Call& call) {
  return ask(signal_command(worker, signal), call).integer != 0;
}

std::vector<Stat> RedisStore::stats(std::string_view queue, Span span, TimePoint from, TimePoint to,
                                    const Call& call) {
  std::vector<std::string> queues;
  if (queue.empty()) {
    for (const redis::Reply& item : ask(counted_queues_command(), call).items) queues.push_back(item.text);
  } else {
    queues.emplace_back(queue);
  }
  std::vector<redis::Command> commands;
  std::vector<std::string_view> names;
  for (const std::string& name : queues) {
    for (auto& command : read_stats_commands(name, span, from, to, call.now)) {
      commands.push_back(std::move(command));
      names.push_back(name);
    }
  }
  const auto replies = exec(commands, call);
  std::vector<Stat> stats;
  for (std::size_t i = 0; i < replies.size(); ++i) read_stats(checked(replies[i]), names[i], from, to, stats);
  std::ranges::sort(stats, {}, [](const Stat& stat) { return std::tie(stat.at, stat.queue, stat.kind); });
  return stats;
}

}  // namespace tidemill::redis_store
