#include "wire/admin_json.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

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

std::uint64_t count_of(const JsonValue& value) {
  return static_cast<std::uint64_t>(value.integer(0, std::numeric_limits<std::int64_t>::max()));
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

/// Its counts are an object by state; those of states that this version doesn't know are left out.
void read_counts(QueueInfo& queue, const JsonValue& value) {
  for (const auto& [name, count] : value.members()) {
    for (unsigned i = 1; i < state_count; ++i) {
      const State state{static_cast<std::uint8_t>(i)};
      if (to_string(state) == name) queue.counts[state] = count_of(count);
    }
  }
}

using QueueMember = JsonMember<QueueInfo>;
constexpr std::array queue_members = {
    QueueMember{"name", [](QueueInfo& q, const JsonValue& v) { q.name = v.text(); }},
    QueueMember{"paused", [](QueueInfo& q, const JsonValue& v) { q.paused = v.truth(); }},
    QueueMember{"counts", read_counts},
    QueueMember{"oldest_pending_ms", [](QueueInfo& q, const JsonValue& v) { q.oldest = v.duration(); }},
};

void read_weights(WorkerInfo& worker, const JsonValue& value) {
  using Pair = std::pair<std::string, int>;
  static constexpr std::array members = {
      JsonMember<Pair>{"name", [](Pair& p, const JsonValue& v) { p.first = v.text(); }},
      JsonMember<Pair>{"weight", [](Pair& p, const JsonValue& v) { p.second = v.small(); }},
  };
  for (const JsonValue& each : value.elements()) {
    Pair pair;
    read_members<Pair>(each, pair, members);
    worker.queues.insert(std::move(pair));
  }
}

void read_slots(WorkerInfo& worker, const JsonValue& value) {
  static constexpr std::array members = {
      JsonMember<WorkerInfo>{"busy", [](WorkerInfo& w, const JsonValue& v) { w.busy = v.small(); }},
      JsonMember<WorkerInfo>{"total", [](WorkerInfo& w, const JsonValue& v) { w.slots = v.small(); }},
      JsonMember<WorkerInfo>{"stuck", [](WorkerInfo& w, const JsonValue& v) { w.stuck = v.small(); }},
  };
  read_members<WorkerInfo>(value, worker, members);
}

using WorkerMember = JsonMember<WorkerInfo>;
constexpr std::array worker_members = {
    WorkerMember{"id", [](WorkerInfo& w, const JsonValue& v) { w.id = v.text(); }},
    WorkerMember{"host", [](WorkerInfo& w, const JsonValue& v) { w.host = v.text(); }},
    WorkerMember{"pid", [](WorkerInfo& w, const JsonValue& v) { w.pid = v.small(); }},
    WorkerMember{"status", [](WorkerInfo& w, const JsonValue& v) { w.state = v.text(); }},
    WorkerMember{"started_at", [](WorkerInfo& w, const JsonValue& v) { w.started_at = v.time(); }},
    WorkerMember{"beat_at", [](WorkerInfo& w, const JsonValue& v) { w.beat_at = v.time(); }},
    WorkerMember{"queues", read_weights},
    WorkerMember{"slots", read_slots},
};

using GroupMember = JsonMember<GroupInfo>;
constexpr std::array group_members = {
    GroupMember{"group", [](GroupInfo& g, const JsonValue& v) { g.name = v.text(); }},
    GroupMember{"size", [](GroupInfo& g, const JsonValue& v) { g.size = count_of(v); }},
    GroupMember{"first_at", [](GroupInfo& g, const JsonValue& v) { g.first_at = v.time(); }},
    GroupMember{"last_at", [](GroupInfo& g, const JsonValue& v) { g.last_at = v.time(); }},
};

using InfoMember = JsonMember<ScheduleInfo>;
constexpr std::array info_members = {
    InfoMember{"owner", [](ScheduleInfo& i, const JsonValue& v) { i.owner = v.text(); }},
    InfoMember{"paused", [](ScheduleInfo& i, const JsonValue& v) { i.paused = v.truth(); }},
    InfoMember{"next_at", [](ScheduleInfo& i, const JsonValue& v) { i.next = v.time(); }},
    InfoMember{"last_at", [](ScheduleInfo& i, const JsonValue& v) { i.last = v.time(); }},
    InfoMember{"read_only", [](ScheduleInfo& i, const JsonValue& v) { i.read_only = v.truth(); }},
};

using StatMember = JsonMember<Stat>;
constexpr std::array stat_members = {
    StatMember{"at", [](Stat& s, const JsonValue& v) { s.at = v.time(); }},
    StatMember{"queue", [](Stat& s, const JsonValue& v) { s.queue = v.text(); }},
    StatMember{"kind", [](Stat& s, const JsonValue& v) { s.kind = v.text(); }},
    StatMember{"completed", [](Stat& s, const JsonValue& v) { s.success = count_of(v); }},
    StatMember{"failed", [](Stat& s, const JsonValue& v) { s.failure = count_of(v); }},
    StatMember{"crashed", [](Stat& s, const JsonValue& v) { s.crash = count_of(v); }},
    StatMember{"busy_ms", [](Stat& s, const JsonValue& v) { s.busy = v.duration(); }},
};

}  // namespace

void write_queue_members(json::Writer& writer, const QueueInfo& queue) {
  writer.member("name", queue.name);
  writer.member("paused", queue.paused);
  member_object(writer, "counts", [&] {
    for (unsigned i = 1; i < state_count; ++i) {
      const State state{static_cast<std::uint8_t>(i)};
      writer.member(to_string(state), queue.count(state));
    }
  });
  writer.member("oldest_pending_ms", milliseconds(queue.oldest));
}

void write_queue(json::Writer& writer, const QueueInfo& queue) { braces(writer, write_queue_members, queue); }

void write_group(json::Writer& writer, const GroupInfo& group) {
  writer.open('{');
  writer.member("group", group.name);
  writer.member("size", group.size);
  member_time(writer, "first_at", group.first_at);
  member_time(writer, "last_at", group.last_at);
  writer.close('}');
}

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

void write_schedule_rule(json::Writer& writer, const Schedule& schedule) {
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
}

void write_schedule_members(json::Writer& writer, const ScheduleInfo& info) {
  write_schedule_rule(writer, info.schedule);
  writer.member("owner", info.owner);
  writer.member("paused", info.paused);
  member_time(writer, "next_at", info.next);
  member_time(writer, "last_at", info.last);
  writer.member("read_only", info.read_only);
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

std::vector<std::string> queue_fields() { return names_of(queue_members); }
std::vector<std::string> worker_fields() { return names_of(worker_members); }
std::vector<std::string> schedule_fields() {
  std::vector<std::string> names = names_of(schedule_members);
  for (const InfoMember& each : info_members) names.emplace_back(each.name);
  return names;
}

QueueInfo read_queue(const JsonValue& value) {
  QueueInfo queue;
  read_members<QueueInfo>(value, queue, queue_members);
  return queue;
}

GroupInfo read_group(const JsonValue& value) {
  GroupInfo group;
  read_members<GroupInfo>(value, group, group_members);
  return group;
}

WorkerInfo read_worker(const JsonValue& value) {
  WorkerInfo worker;
  read_members<WorkerInfo>(value, worker, worker_members);
  return worker;
}

ScheduleInfo read_schedule_info(const JsonValue& value) {
  ScheduleInfo info;
  for (const auto& [name, each] : value.members()) {
    const std::string_view wanted = name;
    const auto member = std::ranges::find(schedule_members, wanted, &Member::name);
    const auto more = std::ranges::find(info_members, wanted, &InfoMember::name);
    if (more != info_members.end()) more->read(info, each);
    // Without a spec it is one that could not be read, and its task is none.
    if (member == schedule_members.end() || (wanted == "task" && info.schedule.spec.empty())) continue;
    member->read(info.schedule, each);
  }
  return info;
}

Stat read_stat(const JsonValue& value) {
  Stat stat;
  read_members<Stat>(value, stat, stat_members);
  return stat;
}

}  // namespace tidemill::wire
