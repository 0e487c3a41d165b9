#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <tidemill/store.hpp>

#include "drivers/redis/command.hpp"
#include "drivers/redis/reply.hpp"

/// Outcomes by kind, minute and day: a hash for each hour's minutes and for each day, whose fields are minute
/// (or day), counter and kind. Asynq's own counters are elsewhere, in the scripts that end attempts.
namespace tidemill::redis_store {

/// What adds these up: a command for each, to be sent in one batch.
std::vector<redis::Command> stat_commands(std::span<const Stat> stats);

/// Answers the queues that have statistics.
redis::Command counted_queues_command();
/// The commands that read a queue's statistics from `from` to before `to`.
std::vector<redis::Command> read_stats_commands(std::string_view queue, Span span, TimePoint from,
                                                TimePoint to, TimePoint now);
/// Adds what one of these was answered.
void read_stats(const redis::Reply& reply, std::string_view queue, TimePoint from, TimePoint to,
                std::vector<Stat>& into);

}  // namespace tidemill::redis_store
