#include "stores/redis/message.hpp"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "stores/redis/protobuf.hpp"

namespace tidemill::redis_store {

namespace {

using protobuf::Reader;
using protobuf::Writer;

/// More than a number takes, and more than what is before a text.
constexpr std::size_t field_bytes = 20;
constexpr std::size_t fields_max = 15;

// What others may write is more than the library's times can hold.
constexpr std::int64_t year_1 = -62'135'596'800;
constexpr std::int64_t year_9999 = 253'402'300'799;
constexpr std::int64_t seconds_most = 315'576'000'000;  ///< Ten thousand years.

/// An empty string that will take all fields of a message without growing.
std::string room_for(std::initializer_list<std::string_view> texts,
                     const std::map<std::string, std::string>& map = {}) {
  std::size_t size = fields_max * field_bytes;
  for (const std::string_view text : texts) size += text.size();
  for (const auto& [key, value] : map) size += field_bytes + key.size() + value.size();
  std::string out;
  out.reserve(size);
  return out;
}

std::int64_t seconds_of(const std::optional<TimePoint>& at) {
  return at ? std::chrono::floor<std::chrono::seconds>(at->time_since_epoch()).count() : 0;
}

void read_point(const Reader& in, std::optional<TimePoint>& at) {
  std::int64_t seconds = seconds_of(at);
  in.integer(seconds);
  at.reset();
  if (seconds == 0) return;
  at = std::chrono::sys_seconds{std::chrono::seconds{std::clamp(seconds, year_1, year_9999)}};
}

void read_seconds(const Reader& in, std::chrono::seconds& length) {
  std::int64_t seconds = length.count();
  in.integer(seconds);
  length = std::chrono::seconds{std::clamp(seconds, -seconds_most, seconds_most)};
}

void read_value(Reader& in, std::string& value) { in.text(value); }
void read_value(Reader& in, std::int32_t& value) { in.integer(value); }

template <class Value>
void read_entry(Reader& in, std::map<std::string, Value>& map) {
  auto inside = in.inside();
  if (!inside) return;
  std::string key;
  Value value{};
  while (inside->next()) {
    if (inside->field() == 1) inside->text(key);
    if (inside->field() == 2) read_value(*inside, value);
  }
  if (inside->ok()) {
    map.insert_or_assign(std::move(key), std::move(value));
  } else {
    in.fail();
  }
}

void read_field(Reader& in, TaskMessage& message) {
  switch (in.field()) {
    case 1:
      return in.text(message.type);
    case 2:
      return in.bytes(message.payload);
    case 3:
      return in.text(message.id);
    case 4:
      return in.text(message.queue);
    case 5:
      return in.integer(message.max_retry);
    case 6:
      return in.integer(message.retried);
    case 7:
      return in.text(message.error);
    case 8:
      return read_seconds(in, message.timeout);
    case 9:
      return read_point(in, message.deadline);
    case 10:
      return in.text(message.unique_key);
    case 11:
      return read_point(in, message.last_failed_at);
    case 12:
      return read_seconds(in, message.retention);
    case 13:
      return read_point(in, message.completed_at);
    case 14:
      return in.text(message.group);
    case 15:
      return read_entry(in, message.headers);
    default:
      return;
  }
}

void read_field(Reader& in, ServerInfo& info) {
  switch (in.field()) {
    case 1:
      return in.text(info.host);
    case 2:
      return in.integer(info.pid);
    case 3:
      return in.text(info.server_id);
    case 4:
      return in.integer(info.concurrency);
    case 5:
      return read_entry(in, info.queues);
    case 6:
      return in.boolean(info.strict_priority);
    case 7:
      return in.text(info.status);
    case 8:
      return in.timestamp(info.started_at);
    case 9:
      return in.integer(info.active_workers);
    default:
      return;
  }
}

void read_field(Reader& in, WorkerInfo& info) {
  switch (in.field()) {
    case 1:
      return in.text(info.host);
    case 2:
      return in.integer(info.pid);
    case 3:
      return in.text(info.server_id);
    case 4:
      return in.text(info.task_id);
    case 5:
      return in.text(info.task_type);
    case 6:
      return in.bytes(info.task_payload);
    case 7:
      return in.text(info.queue);
    case 8:
      return in.timestamp(info.started_at);
    case 9:
      return in.timestamp(info.deadline);
    default:
      return;
  }
}

void read_field(Reader& in, SchedulerEntry& entry) {
  switch (in.field()) {
    case 1:
      return in.text(entry.id);
    case 2:
      return in.text(entry.spec);
    case 3:
      return in.text(entry.task_type);
    case 4:
      return in.bytes(entry.task_payload);
    case 5:
      if (in.inside()) in.text(entry.options.emplace_back());
      return;
    case 6:
      return in.timestamp(entry.next_at);
    case 7:
      return in.timestamp(entry.previous_at);
    default:
      return;
  }
}

void read_field(Reader& in, SchedulerEnqueueEvent& event) {
  switch (in.field()) {
    case 1:
      return in.text(event.task_id);
    case 2:
      return in.timestamp(event.enqueued_at);
    default:
      return;
  }
}

template <class Message>
std::optional<Message> decode(std::string_view bytes) {
  std::optional<Message> message{std::in_place};
  Reader in{bytes};
  while (in.next()) read_field(in, *message);
  if (!in.ok()) message.reset();
  return message;
}

}  // namespace

std::string encode(const TaskMessage& message) {
  std::string out = room_for({message.type, message.payload, message.id, message.queue, message.error,
                              message.unique_key, message.group},
                             message.headers);
  Writer to{out};
  to.text(1, message.type);
  to.bytes(2, message.payload);
  to.text(3, message.id);
  to.text(4, message.queue);
  to.integer(5, message.max_retry);
  to.integer(6, message.retried);
  to.text(7, message.error);
  to.integer(8, message.timeout.count());
  to.integer(9, seconds_of(message.deadline));
  to.text(10, message.unique_key);
  to.integer(11, seconds_of(message.last_failed_at));
  to.integer(12, message.retention.count());
  to.integer(13, seconds_of(message.completed_at));
  to.text(14, message.group);
  for (const auto& [key, value] : message.headers) to.entry(15, key, value);
  return out;
}

std::string encode(const ServerInfo& info) {
  std::string out;
  Writer to{out};
  to.text(1, info.host);
  to.integer(2, info.pid);
  to.text(3, info.server_id);
  to.integer(4, info.concurrency);
  for (const auto& [queue, weight] : info.queues) to.entry(5, queue, weight);
  to.boolean(6, info.strict_priority);
  to.text(7, info.status);
  to.timestamp(8, info.started_at);
  to.integer(9, info.active_workers);
  return out;
}

std::string encode(const WorkerInfo& info) {
  std::string out =
      room_for({info.host, info.server_id, info.task_id, info.task_type, info.task_payload, info.queue});
  Writer to{out};
  to.text(1, info.host);
  to.integer(2, info.pid);
  to.text(3, info.server_id);
  to.text(4, info.task_id);
  to.text(5, info.task_type);
  to.bytes(6, info.task_payload);
  to.text(7, info.queue);
  to.timestamp(8, info.started_at);
  to.timestamp(9, info.deadline);
  return out;
}

std::string encode(const SchedulerEntry& entry) {
  std::string out = room_for({entry.id, entry.spec, entry.task_type, entry.task_payload});
  Writer to{out};
  to.text(1, entry.id);
  to.text(2, entry.spec);
  to.text(3, entry.task_type);
  to.bytes(4, entry.task_payload);
  for (const std::string& option : entry.options) to.element(5, option);
  to.timestamp(6, entry.next_at);
  to.timestamp(7, entry.previous_at);
  return out;
}

std::string encode(const SchedulerEnqueueEvent& event) {
  std::string out;
  Writer to{out};
  to.text(1, event.task_id);
  to.timestamp(2, event.enqueued_at);
  return out;
}

std::optional<TaskMessage> decode_task(std::string_view bytes) { return decode<TaskMessage>(bytes); }
std::optional<ServerInfo> decode_server(std::string_view bytes) { return decode<ServerInfo>(bytes); }
std::optional<WorkerInfo> decode_worker(std::string_view bytes) { return decode<WorkerInfo>(bytes); }
std::optional<SchedulerEntry> decode_scheduler_entry(std::string_view bytes) {
  return decode<SchedulerEntry>(bytes);
}
std::optional<SchedulerEnqueueEvent> decode_enqueue_event(std::string_view bytes) {
  return decode<SchedulerEnqueueEvent>(bytes);
}

}  // namespace tidemill::redis_store
