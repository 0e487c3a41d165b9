#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <tidemill/json.hpp>
#include <tidemill/task.hpp>

namespace tidemill::server {

/// A line of the log of a task's attempts.
struct Logged {
  std::int32_t attempt = 0;
  std::int64_t seq = 0;  ///< Grows from line to line, and stays when older attempts are no longer kept.
  const LogLine* line = nullptr;
};

/// In their order. `attempts` must outlive it.
std::vector<Logged> lines_of(std::span<const Attempt> attempts);
void write_logged(json::Writer& writer, const Logged& logged);

}  // namespace tidemill::server
