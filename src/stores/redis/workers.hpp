#pragma once

#include <optional>
#include <string_view>

#include <tidemill/store.hpp>

#include "drivers/redis/command.hpp"

/// The register of our own workers, in keys of no queue. Go's servers have theirs.
namespace tidemill::redis_store {

/// A sign of life: writes the worker down, or takes it off the list if it is gone, and answers the number of
/// the signal that waited for it.
redis::Command beat_command(const tidemill::WorkerInfo& worker, TimePoint now);
/// Answers two values a worker: its text, and its last sign of life. Those that were silent since `since` are
/// left out.
redis::Command workers_command(TimePoint since);
std::optional<tidemill::WorkerInfo> read_worker(std::string_view text);
/// Answers 1 if there is such a worker.
redis::Command signal_command(std::string_view worker, Signal signal);
/// Forgets whoever was silent since then.
redis::Command forget_command(TimePoint since);

}  // namespace tidemill::redis_store
