// Beats, and what they bring back.
#include <algorithm>

#include "stores/redis/keys.hpp"
#include "stores/redis/lease.hpp"
#include "stores/redis/scripts.hpp"
#include "stores/redis/servers.hpp"
#include "stores/redis/statistics.hpp"
#include "stores/redis/store_impl.hpp"
#include "stores/redis/workers.hpp"

namespace tidemill::redis_store {

bool RedisStore::cancelled_by_go(const Lease& lease, TimePoint now) {
  const auto ago = waiter_.cancelled(lease.task.ref.id);
  // One that came before the claim was for another attempt.
  return ago && now - *ago >= lease.task.started_at.value_or(TimePoint{});
}

Renewed RedisStore::renew(const tidemill::WorkerInfo& worker, std::span<const Beat> beats, Duration lease,
                          std::span<const Stat> stats, const Call& call) {
  Renewed answer;
  answer.leases.assign(beats.size(), Signal::lost);
  // One node of a cluster may be away: what the others say must come in time for their leases.
  Batch batch{client_, share_of(call, 2)};
  std::size_t part = 0;
  for (std::size_t i = 0; i < beats.size(); ++i) {
    const Beat& beat = beats[i];
    if (beat.lease == nullptr) continue;
    const Ref& ref = beat.lease->task.ref;
    redis::Command& command = batch.take(i, ref.queue, beat_script(), [&] {
      auto begun = script(beat_script(), ref.queue, call, part++);
      begun.add(seconds_up(call.now + lease));
      return begun;
    });
    const auto token = token_of(*beat.lease);
    command.add(ref.id).add(token.since).add(token.nonce).add(beat.started ? "1" : "");
    command.add(beat.progress ? "1" : "").add(beat.progress.value_or("")).add(write_lines(beat.logs));
  }
  const std::size_t scripts = batch.commands.size();
  auto& commands = batch.commands;
  commands.push_back(beat_command(worker, call.now));
  for (auto& command : stat_commands(stats)) commands.push_back(std::move(command));
  for (auto& command : register_commands(worker, beats, call.now)) commands.push_back(std::move(command));
  commands.push_back(time_command());

  const auto replies = batch.finish();
  // Without any of these the store is away. They stand before the worker's own beat, which is the last.
  const auto whole = replies.begin() + static_cast<std::ptrdiff_t>(scripts) + 1;
  if (std::none_of(replies.begin(), whole, [](const redis::Reply& reply) { return reply.ok(); }))
    checked(replies.front());
  for (std::size_t at = 0; at < scripts; ++at) {
    const redis::Reply& reply = replies[at];
    for (std::size_t n = 0; n < batch.items[at].size(); ++n) {
      if (!reply.ok()) {
        answer.leases[batch.items[at][n]] = Signal::unknown;
        continue;
      }
      const std::string& verdict = reply.items.at(n).text;
      if (verdict == "l") continue;
      const std::size_t at_beat = batch.items[at][n];
      auto signal = static_cast<Signal>(to_number(verdict));
      if (signal == Signal::none && cancelled_by_go(*beats[at_beat].lease, call.now)) signal = Signal::cancel;
      answer.leases[at_beat] = signal;
    }
  }
  if (replies[scripts].ok()) answer.worker = static_cast<Signal>(to_number(replies[scripts].text));
  answer.now = replies.back().ok() ? time_of(replies.back()) : now();
  return answer;
}

}  // namespace tidemill::redis_store
