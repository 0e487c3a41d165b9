#include "stores/redis/message.hpp"

#include <algorithm>
#include <concepts>
#include <type_traits>
#include <utility>

#include "stores/redis/protobuf.hpp"

namespace tidemill::redis_store {

namespace {

using protobuf::Reader;
using protobuf::Writer;

/// More than a number takes, and more than what is before a text.
constexpr std::size_t field_bytes = 20;

// What others may write is more than the library's times can hold.
constexpr std::int64_t year_1 = -62'135'596'800;
constexpr std::int64_t year_9999 = 253'402'300'799;
constexpr std::int64_t seconds_most = 315'576'000'000;  ///< Ten thousand years.

std::int64_t seconds_of(const std::optional<TimePoint>& at) {
  return at ? std::chrono::floor<std::chrono::seconds>(at->time_since_epoch()).count() : 0;
}

// ---- What may be done with the fields of a message: sum up their room, write them, read one.

struct Size {
  std::size_t room = 0;

  void text(std::uint32_t, const std::string& value) { room += field_bytes + value.size(); }
  void bytes(std::uint32_t, const std::string& value) { room += field_bytes + value.size(); }
  void integer(std::uint32_t, std::int64_t) { room += field_bytes; }
  void boolean(std::uint32_t, bool) { room += field_bytes; }
  void seconds(std::uint32_t, std::chrono::seconds) { room += field_bytes; }
  void point(std::uint32_t, const std::optional<TimePoint>&) { room += field_bytes; }
  void timestamp(std::uint32_t, const std::optional<TimePoint>&) { room += 2 * field_bytes; }
  void elements(std::uint32_t, const std::vector<std::string>& values) {
    for (const std::string& value : values) room += field_bytes + value.size();
  }
  void map(std::uint32_t, const std::map<std::string, std::string>& values) {
    for (const auto& [key, value] : values) room += 3 * field_bytes + key.size() + value.size();
  }
  void map(std::uint32_t, const std::map<std::string, std::int32_t>& values) {
    for (const auto& [key, value] : values) room += 3 * field_bytes + key.size();
  }
};

struct Write {
  Writer to;

  void text(std::uint32_t field, const std::string& value) { to.text(field, value); }
  void bytes(std::uint32_t field, const std::string& value) { to.bytes(field, value); }
  void integer(std::uint32_t field, std::int64_t value) { to.integer(field, value); }
  void boolean(std::uint32_t field, bool value) { to.boolean(field, value); }
  void seconds(std::uint32_t field, std::chrono::seconds value) { to.integer(field, value.count()); }
  void point(std::uint32_t field, const std::optional<TimePoint>& at) { to.integer(field, seconds_of(at)); }
  void timestamp(std::uint32_t field, const std::optional<TimePoint>& at) { to.timestamp(field, at); }
  void elements(std::uint32_t field, const std::vector<std::string>& values) {
    for (const std::string& value : values) to.element(field, value);
  }
  template <class Value>
  void map(std::uint32_t field, const std::map<std::string, Value>& values) {
    for (const auto& [key, value] : values) to.entry(field, key, value);
  }
};

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

/// Takes the field that the reader stands at, and leaves all others as they are.
struct Read {
  Reader& in;

  bool at(std::uint32_t field) const { return in.field() == field; }
  void text(std::uint32_t field, std::string& value) {
    if (at(field)) in.text(value);
  }
  void bytes(std::uint32_t field, std::string& value) {
    if (at(field)) in.bytes(value);
  }
  template <class Integer>
  void integer(std::uint32_t field, Integer& value) {
    if (at(field)) in.integer(value);
  }
  void boolean(std::uint32_t field, bool& value) {
    if (at(field)) in.boolean(value);
  }
  void seconds(std::uint32_t field, std::chrono::seconds& length) {
    if (!at(field)) return;
    std::int64_t seconds = length.count();
    in.integer(seconds);
    length = std::chrono::seconds{std::clamp(seconds, -seconds_most, seconds_most)};
  }
  void point(std::uint32_t field, std::optional<TimePoint>& at_time) {
    if (!at(field)) return;
    std::int64_t seconds = seconds_of(at_time);
    in.integer(seconds);
    at_time.reset();
    if (seconds == 0) return;
    at_time = std::chrono::sys_seconds{std::chrono::seconds{std::clamp(seconds, year_1, year_9999)}};
  }
  void timestamp(std::uint32_t field, std::optional<TimePoint>& value) {
    if (at(field)) in.timestamp(value);
  }
  void elements(std::uint32_t field, std::vector<std::string>& values) {
    if (at(field) && in.inside()) in.text(values.emplace_back());
  }
  template <class Value>
  void map(std::uint32_t field, std::map<std::string, Value>& values) {
    if (at(field)) read_entry(in, values);
  }
};

// ---- The messages: one list of fields each, for all three.

template <class Message, class Wanted>
concept Is = std::same_as<std::remove_const_t<Message>, Wanted>;

template <class Act>
void each_field(Act& act, Is<TaskMessage> auto& message) {
  act.text(1, message.type);
  act.bytes(2, message.payload);
  act.text(3, message.id);
  act.text(4, message.queue);
  act.integer(5, message.max_retry);
  act.integer(6, message.retried);
  act.text(7, message.error);
  act.seconds(8, message.timeout);
  act.point(9, message.deadline);
  act.text(10, message.unique_key);
  act.point(11, message.last_failed_at);
  act.seconds(12, message.retention);
  act.point(13, message.completed_at);
  act.text(14, message.group);
  act.map(15, message.headers);
}

template <class Act>
void each_field(Act& act, Is<ServerInfo> auto& info) {
  act.text(1, info.host);
  act.integer(2, info.pid);
  act.text(3, info.server_id);
  act.integer(4, info.concurrency);
  act.map(5, info.queues);
  act.boolean(6, info.strict_priority);
  act.text(7, info.status);
  act.timestamp(8, info.started_at);
  act.integer(9, info.active_workers);
}

template <class Act>
void each_field(Act& act, Is<WorkerInfo> auto& info) {
  act.text(1, info.host);
  act.integer(2, info.pid);
  act.text(3, info.server_id);
  act.text(4, info.task_id);
  act.text(5, info.task_type);
  act.bytes(6, info.task_payload);
  act.text(7, info.queue);
  act.timestamp(8, info.started_at);
  act.timestamp(9, info.deadline);
}

template <class Act>
void each_field(Act& act, Is<SchedulerEntry> auto& entry) {
  act.text(1, entry.id);
  act.text(2, entry.spec);
  act.text(3, entry.task_type);
  act.bytes(4, entry.task_payload);
  act.elements(5, entry.options);
  act.timestamp(6, entry.next_at);
  act.timestamp(7, entry.previous_at);
}

template <class Act>
void each_field(Act& act, Is<SchedulerEnqueueEvent> auto& event) {
  act.text(1, event.task_id);
  act.timestamp(2, event.enqueued_at);
}

template <class Message>
std::string encoded(const Message& message) {
  Size size;
  each_field(size, message);
  std::string out;
  out.reserve(size.room);
  Write write{Writer{out}};
  each_field(write, message);
  return out;
}

template <class Message>
std::optional<Message> decoded(std::string_view bytes) {
  std::optional<Message> message{std::in_place};
  Reader in{bytes};
  Read read{in};
  while (in.next()) each_field(read, *message);
  if (!in.ok()) message.reset();
  return message;
}

}  // namespace

std::string encode(const TaskMessage& message) { return encoded(message); }
std::string encode(const ServerInfo& info) { return encoded(info); }
std::string encode(const WorkerInfo& info) { return encoded(info); }
std::string encode(const SchedulerEntry& entry) { return encoded(entry); }
std::string encode(const SchedulerEnqueueEvent& event) { return encoded(event); }

std::optional<TaskMessage> decode_task(std::string_view bytes) { return decoded<TaskMessage>(bytes); }
std::optional<ServerInfo> decode_server(std::string_view bytes) { return decoded<ServerInfo>(bytes); }
std::optional<WorkerInfo> decode_worker(std::string_view bytes) { return decoded<WorkerInfo>(bytes); }
std::optional<SchedulerEntry> decode_scheduler_entry(std::string_view bytes) {
  return decoded<SchedulerEntry>(bytes);
}
std::optional<SchedulerEnqueueEvent> decode_enqueue_event(std::string_view bytes) {
  return decoded<SchedulerEnqueueEvent>(bytes);
}

}  // namespace tidemill::redis_store
