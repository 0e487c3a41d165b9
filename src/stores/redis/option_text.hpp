#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tidemill/clock.hpp>

namespace tidemill::redis_store {

/// The options of a task, as a scheduler's entry has them.
struct EnqueueOptions {
  std::optional<std::int32_t> max_retry = {};
  std::optional<std::string> queue = {};
  std::optional<std::string> task_id = {};
  std::optional<Duration> timeout = {};
  std::optional<TimePoint> deadline = {};
  std::optional<Duration> unique = {};
  std::optional<TimePoint> process_at = {};
  std::optional<Duration> process_in = {};
  std::optional<Duration> retention = {};
  std::optional<std::string> group = {};
  std::map<std::string, std::string> headers = {};

  bool operator==(const EnqueueOptions&) const = default;
};

/// One text an option: `MaxRetry(3)`, `Queue("low")`.
std::vector<std::string> write_options(const EnqueueOptions& options);
/// Drops what Go's inspector drops: TaskID, Group and Header, names it does not know, and arguments that it
/// can't read, as those with a closing parenthesis in them.
EnqueueOptions read_options(std::span<const std::string> texts);

}  // namespace tidemill::redis_store
