#include <fmt/format.h>

#include <tidemill/store.hpp>

#include "core/digest.hpp"

namespace tidemill {

std::string etag(const Task& task) {
  const auto milliseconds = [](Duration duration) {
    return std::chrono::floor<std::chrono::milliseconds>(duration).count();
  };
  const auto micros = [](const std::optional<TimePoint>& time) {
    return time ? fmt::format("{}", time->time_since_epoch().count()) : std::string{};
  };
  // Each text with its length before it: no two tasks come to the same.
  std::string text =
      fmt::format("{} {} {} {} {} {} {} {} ", static_cast<int>(task.state), task.priority, task.retries_max,
                  task.crashes_max, milliseconds(task.timeout), milliseconds(task.retention),
                  micros(task.deadline), micros(task.expires_at));
  const auto add = [&](std::string_view part) { text.append(fmt::format("{}:", part.size())).append(part); };
  add(task.kind);
  add(task.payload);
  for (const auto& [name, value] : task.headers) {
    add(name);
    add(value);
  }
  return sha256_hex(text).substr(0, 32);
}

}  // namespace tidemill
