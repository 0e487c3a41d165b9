#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <tidemill/store.hpp>

#include "drivers/redis/command.hpp"

/// Our workers as Go's tools list them, and Go's servers as ours do.
namespace tidemill::redis_store {

/// What writes the worker and the tasks that it runs into Asynq's register, or takes it off when it is gone.
/// Go's readers forget it 30 s later: our beats come every 8 s, where Go's come every 5 s.
std::vector<redis::Command> register_commands(const tidemill::WorkerInfo& worker, std::span<const Beat> beats,
                                              TimePoint now);

/// Answers the keys of the servers that are alive.
redis::Command server_keys_command(TimePoint now);
/// None for what is no server's text, and for our own workers.
std::optional<tidemill::WorkerInfo> read_go_server(std::string_view text);

}  // namespace tidemill::redis_store
