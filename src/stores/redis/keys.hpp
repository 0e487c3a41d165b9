#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

/// The names of keys. Asynq's own are in its format (see docs/redis.md); ours begin with `x:` behind the
/// queue's prefix, in the same hash slot, so that a script may touch them all.
namespace tidemill::redis_store {

inline constexpr std::string_view queues_key = "asynq:queues";
inline constexpr std::string_view cancel_channel = "asynq:cancel";
/// Tells waiting workers that there is a signal: a message is a worker's id.
inline constexpr std::string_view signal_channel = "asynq:x:signals";

/// Before all keys of a queue: `asynq:{mail}:`.
inline std::string queue_prefix(std::string_view queue) { return fmt::format("asynq:{{{}}}:", queue); }
/// The declared key of every script: it says which queue, and in a cluster which node.
inline std::string pending_key(std::string_view queue) { return fmt::format("asynq:{{{}}}:pending", queue); }
inline std::string task_key(std::string_view queue, std::string_view id) {
  return fmt::format("asynq:{{{}}}:t:{}", queue, id);
}
inline std::string lock_key(std::string_view queue, std::string_view key) {
  return fmt::format("asynq:{{{}}}:unique:{}", queue, key);
}
/// What belongs to no queue: workers, named locks, documents.
inline std::string shared_key(std::string_view name) { return fmt::format("asynq:x:{{tidemill}}:{}", name); }

/// Held tasks wait among the scheduled ones at this second (the year 3000), blocked ones at the next: the
/// score says it, since Go's "run all" moves them and would leave a field behind.
inline constexpr long long held_score = 32'503'680'000;
inline constexpr long long blocked_score = held_score + 1;
/// What is kept for good among the completed ones, whose score is the second at which they go.
inline constexpr long long never_score = held_score;

}  // namespace tidemill::redis_store
