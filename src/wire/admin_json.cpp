#include "wire/admin_json.hpp"

#include <array>

#include <fmt/format.h>

#include "core/schedule_rule.hpp"
#include "wire/json_write.hpp"
#include "wire/task_json.hpp"
#include "wire/values.hpp"

namespace tidemill::wire {

namespace {

template <class Members, class T>
void braces(json::Writer& writer, Members members, const T& value) {
  writer.open('{');
  members(writer, value);
  writer.close('}');
}

using Member = JsonMember<Schedule>;

void read_task_of(Schedule& schedule, const JsonValue& value) {
  NewTask task = read_task(value);
  schedule.kind = std::move(task.kind);
  schedule.payload = std::move(task.payload);
  schedule.options = std::move(task.options);
}

constexpr std::array schedule_members = {
    Member{"id", [](Schedule& s, const JsonValue& v) { s.id = v.text(); }},
    Member{"spec", [](Schedule& s, const JsonValue& v) { s.spec = v.text(); }},
    Member{"zone", [](Schedule& s, const JsonValue& v) { s.zone = v.text(); }},
    Member{"gap", [](Schedule& s, const JsonValue& v) { s.gap = v.name<Gap>("gap", all_gaps); }},
    Member{"fold", [](Schedule& s, const JsonValue& v) { s.fold = v.name<Fold>("fold", all_folds); }},
    Member{"missed", [](Schedule& s, const JsonValue& v) { s.missed = v.name<Missed>("way", all_missed); }},
    Member{"overlap",
           [](Schedule& s, const JsonValue& v) { s.overlap = v.name<Overlap>("way", all_overlaps); }},
    Member{"jitter", [](Schedule& s, const JsonValue& v) { s.jitter = v.duration(); }},
    Member{"task", read_task_of},
};

}  // namespace

void write_queue_members(json::Writer& writer, const QueueInfo& queue) {
  writer.member("name", queue.name);
  writer.member("paused", queue.paused);
  member_object(writer, "counts", [&] {
    for (unsigned i = 1; i < state_count; ++i) {
      const State state{static_cast<std::uint8_t>(i)};
      const auto found = queue.counts.find(state);
      writer.member(to_string(state), found == queue.counts.end() ? std::uint64_t{0} : found->second);
    }
  });
  writer.member("oldest_pending_ms", milliseconds(queue.oldest));
}

void write_queue(json::Writer& writer, const QueueInfo& queue) { braces(writer, write_queue_members, queue); }

void write_worker_members(json::Writer& writer, const WorkerInfo& worker) {
  writer.member("id", worker.id);
  writer.member("host", worker.host);
  writer.member("pid", worker.pid);
  writer.member("status", worker.state);
  member_time(writer, "started_at", worker.started_at);
  member_time(writer, "beat_at", worker.beat_at);
  writer.key("queues");
  write_array(writer, worker.queues, [](json::Writer& out, const auto& queue) {
    out.open('{');
    out.member("name", queue.first);
    out.member("weight", queue.second);
    out.close('}');
  });
  member_object(writer, "slots", [&] {
    writer.member("busy", worker.busy);
    writer.member("total", worker.slots);
    writer.member("stuck", worker.stuck);
  });
}

void write_worker(json::Writer& writer, const WorkerInfo& worker) {
  braces(writer, write_worker_members, worker);
}

void write_schedule_members(json::Writer& writer, const ScheduleInfo& info) {
  const Schedule& schedule = info.schedule;
  writer.member("id", schedule.id);
  writer.member("spec", schedule.spec);
  writer.member("zone", schedule.zone);
  writer.member("gap", to_string(schedule.gap));
  writer.member("fold", to_string(schedule.fold));
  writer.member("missed", to_string(schedule.missed));
  writer.member("overlap", to_string(schedule.overlap));
  writer.member("jitter", format_duration(schedule.jitter));
  writer.key("task");
  write_new_task(writer, {schedule.kind, schedule.payload, schedule.options});
  writer.member("owner", info.owner);
  writer.member("paused", info.paused);
  member_time(writer, "next_at", info.next);
  member_time(writer, "last_at", info.last);
}

void write_schedule(json::Writer& writer, const ScheduleInfo& info) {
  braces(writer, write_schedule_members, info);
}

Schedule read_schedule(const JsonValue& value) {
  Schedule schedule;
  read_members<Schedule>(value, schedule, schedule_members);
  if (schedule.spec.empty()) throw BadValue{value.pointer() + "/spec", "is missing"};
  if (schedule.kind.empty()) throw BadValue{value.pointer() + "/task", "is missing"};
  return schedule;
}

void write_stat(json::Writer& writer, const Stat& stat) {
  writer.open('{');
  member_time(writer, "at", stat.at);
  writer.member("queue", stat.queue);
  writer.member("kind", stat.kind);
  writer.member("completed", stat.success);
  writer.member("failed", stat.failure);
  writer.member("crashed", stat.crash);
  writer.member("busy_ms", milliseconds(stat.busy));
  writer.close('}');
}

}  // namespace tidemill::wire
