#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <tidemill/store.hpp>

#include "drivers/redis/command.hpp"

/// Our schedules as Go's tools list them, with what they have fired, and the entries of Go's schedulers as
/// ours do.
namespace tidemill::redis_store {

/// Shows the schedules that aren't paused as entries of one scheduler, whoever runs it, in place of those
/// shown before. Go's readers forget them 30 s later.
std::vector<redis::Command> show_commands(std::span<const StoredSchedule> schedules, TimePoint now);
/// Adds a firing to a schedule's history, of which the last thousand are kept.
std::vector<redis::Command> history_commands(std::string_view schedule, std::string_view task, TimePoint now);
redis::Command forget_history_command(std::string_view schedule);

/// Answers the keys of the lists of entries of schedulers that are alive.
redis::Command scheduler_keys_command(TimePoint now);
/// Whether the list is the one that `show_commands` writes.
bool is_ours(std::string_view scheduler_key);
/// None for what is no entry's text.
std::optional<StoredSchedule> read_go_entry(std::string_view scheduler_key, std::string_view text);

}  // namespace tidemill::redis_store
