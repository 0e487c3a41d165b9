#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/clock.hpp>

/// Asynq's messages, as its processes leave them in Redis.
///
/// `encode` puts U+FFFD for bytes of a text that are no UTF-8, since Go can't read a message with such bytes,
/// nor then those beside it. Payloads may have any bytes. Times have microseconds, where Go's have
/// nanoseconds. `decode_…` is none for what is no such message; a field of a later version is dropped.
namespace tidemill::redis_store {

/// What a task's hash has as `msg`. Its points in time are of whole seconds: encoded, a fraction is cut off,
/// and the first second of 1970 means none.
struct TaskMessage {
  std::string type = {};
  std::string payload = {};
  std::string id = {};
  std::string queue = {};
  std::int32_t max_retry = 0;
  std::int32_t retried = 0;
  std::string error = {};           ///< The last one's text.
  std::chrono::seconds timeout{0};  ///< Zero: none.
  std::optional<TimePoint> deadline = {};
  std::string unique_key = {};  ///< The whole key of the lock; empty: none.
  std::optional<TimePoint> last_failed_at = {};
  std::chrono::seconds retention{0};  ///< Zero: a task that has succeeded is deleted.
  std::optional<TimePoint> completed_at = {};
  std::string group = {};
  std::map<std::string, std::string> headers = {};

  bool operator==(const TaskMessage&) const = default;
};

/// A process that runs tasks. None for a time means never, here and below.
struct ServerInfo {
  std::string host = {};
  std::int32_t pid = 0;
  std::string server_id = {};
  std::int32_t concurrency = 0;
  std::map<std::string, std::int32_t> queues = {};  ///< With their weights.
  bool strict_priority = false;
  std::string status = {};  ///< `new`, `active`, `stopped` or `closed`.
  std::optional<TimePoint> started_at = {};
  std::int32_t active_workers = 0;

  bool operator==(const ServerInfo&) const = default;
};

/// A task that a server runs.
struct WorkerInfo {
  std::string host = {};
  std::int32_t pid = 0;
  std::string server_id = {};
  std::string task_id = {};
  std::string task_type = {};
  std::string task_payload = {};
  std::string queue = {};
  std::optional<TimePoint> started_at = {};
  std::optional<TimePoint> deadline = {};

  bool operator==(const WorkerInfo&) const = default;
};

/// A schedule, as a running scheduler shows it.
struct SchedulerEntry {
  std::string id = {};
  std::string spec = {};
  std::string task_type = {};
  std::string task_payload = {};
  std::vector<std::string> options = {};  ///< Texts as `write_options` makes them.
  std::optional<TimePoint> next_at = {};
  std::optional<TimePoint> previous_at = {};

  bool operator==(const SchedulerEntry&) const = default;
};

/// A task that a schedule has made.
struct SchedulerEnqueueEvent {
  std::string task_id = {};
  std::optional<TimePoint> enqueued_at = {};

  bool operator==(const SchedulerEnqueueEvent&) const = default;
};

std::string encode(const TaskMessage& message);
std::string encode(const ServerInfo& info);
std::string encode(const WorkerInfo& info);
std::string encode(const SchedulerEntry& entry);
std::string encode(const SchedulerEnqueueEvent& event);

std::optional<TaskMessage> decode_task(std::string_view bytes);
std::optional<ServerInfo> decode_server(std::string_view bytes);
std::optional<WorkerInfo> decode_worker(std::string_view bytes);
std::optional<SchedulerEntry> decode_scheduler_entry(std::string_view bytes);
std::optional<SchedulerEnqueueEvent> decode_enqueue_event(std::string_view bytes);

}  // namespace tidemill::redis_store
