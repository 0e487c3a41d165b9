#include "wire/task_json.hpp"

#include <algorithm>
#include <array>

#include "wire/json_write.hpp"
#include "wire/value_json.hpp"
#include "wire/values.hpp"

namespace tidemill::wire {

namespace {

/// Of a payload, in lists.
constexpr std::size_t preview_bytes = 256;

using UniqueMember = JsonMember<Unique>;
constexpr std::array unique_members = {
    UniqueMember{"key", [](Unique& u, const JsonValue& v) { u.key = v.text(); }},
    UniqueMember{"for", [](Unique& u, const JsonValue& v) { u.window = v.duration(); }},
    UniqueMember{"outlives_task", [](Unique& u, const JsonValue& v) { u.outlives_task = v.truth(); }},
    UniqueMember{"on_conflict",
                 [](Unique& u, const JsonValue& v) {
                   static constexpr std::array all = {OnConflict::keep, OnConflict::reject,
                                                      OnConflict::replace};
                   u.on_conflict = v.name<OnConflict>("way out of a conflict", all);
                 }},
};

void read_payload_once(NewTask& task, const JsonValue& value, std::string payload) {
  if (!task.payload.empty()) value.refuse("there is another payload as well; give one of them");
  task.payload = std::move(payload);
}

using Member = JsonMember<NewTask>;
constexpr std::array members = {
    Member{"kind", [](NewTask& t, const JsonValue& v) { t.kind = v.text(); }},
    Member{"payload", [](NewTask& t, const JsonValue& v) { read_payload_once(t, v, std::string{v.raw()}); }},
    Member{"payload_text", [](NewTask& t, const JsonValue& v) { read_payload_once(t, v, v.text()); }},
    Member{"payload_base64", [](NewTask& t, const JsonValue& v) { read_payload_once(t, v, v.base64()); }},
    Member{"queue", [](NewTask& t, const JsonValue& v) { t.options.queue = v.text(); }},
    Member{"id",
           [](NewTask& t, const JsonValue& v) {
             t.options.id = v.text();
             if (t.options.id.empty()) v.refuse("is empty; leave it out, and the task gets one");
           }},
    Member{"delay", [](NewTask& t, const JsonValue& v) { t.options.delay = v.duration(); }},
    Member{"run_at", [](NewTask& t, const JsonValue& v) { t.options.run_at = v.time(); }},
    Member{"priority", [](NewTask& t, const JsonValue& v) { t.options.priority = v.small(); }},
    Member{"retries_max", [](NewTask& t, const JsonValue& v) { t.options.retries_max = v.small(); }},
    Member{"crashes_max", [](NewTask& t, const JsonValue& v) { t.options.crashes_max = v.small(); }},
    Member{"timeout", [](NewTask& t, const JsonValue& v) { t.options.timeout = v.duration(); }},
    Member{"deadline", [](NewTask& t, const JsonValue& v) { t.options.deadline = v.time(); }},
    Member{"expires_at", [](NewTask& t, const JsonValue& v) { t.options.expires_at = v.time(); }},
    Member{"unique",
           [](NewTask& t, const JsonValue& v) {
             if (!v.is_object()) v.refuse(R"(must be an object such as {"key":"invoice-7","for":"1h"})");
             read_members<Unique>(v, t.options.unique.emplace(), unique_members);
           }},
    Member{"group", [](NewTask& t, const JsonValue& v) { t.options.group = v.text(); }},
    Member{"retention", [](NewTask& t, const JsonValue& v) { t.options.retention = v.duration(); }},
    Member{"hold", [](NewTask& t, const JsonValue& v) { t.options.held = v.truth(); }},
    Member{"headers", [](NewTask& t, const JsonValue& v) { t.options.headers = v.text_map(); }},
};

std::optional<TimePoint> time_or_none(const JsonValue& value) {
  return value.is_null() ? std::nullopt : std::optional{value.time()};
}

constexpr std::array<Member, 2> edit_times = {
    Member{"deadline", [](NewTask& t, const JsonValue& v) { t.options.deadline = time_or_none(v); }},
    Member{"expires_at", [](NewTask& t, const JsonValue& v) { t.options.expires_at = time_or_none(v); }},
};
constexpr std::array<std::string_view, 10> edit_names = {
    "kind",        "payload",     "payload_text", "payload_base64", "priority",
    "retries_max", "crashes_max", "timeout",      "retention",      "headers"};
/// The members of a new task that an edit may have, too.
constexpr auto edit_members = [] {
  std::array<Member, edit_names.size() + edit_times.size()> found{};
  std::size_t count = 0;
  for (const Member& each : edit_times) found[count++] = each;
  for (const Member& each : members) {
    if (std::ranges::find(edit_names, each.name) != edit_names.end()) found[count++] = each;
  }
  return found;
}();
static_assert(std::ranges::none_of(edit_members, [](const Member& each) { return each.read == nullptr; }));

void member_duration(json::Writer& writer, std::string_view name, Duration duration) {
  writer.member(name, format_duration(duration));
}

void write_unique(json::Writer& writer, const Unique& unique) {
  member_object(writer, "unique", [&] {
    writer.member("key", unique.key);
    if (unique.window > Duration::zero()) member_duration(writer, "for", unique.window);
    if (unique.outlives_task) writer.member("outlives_task", true);
    if (unique.on_conflict != OnConflict::keep) writer.member("on_conflict", to_string(unique.on_conflict));
  });
}

void write_preview(json::Writer& writer, std::string_view payload) {
  std::size_t end = std::min(payload.size(), preview_bytes);
  while (end < payload.size() && end > 0 && (static_cast<unsigned char>(payload[end]) & 0xc0U) == 0x80U)
    --end;
  member_object(writer, "preview", [&] {
    writer.member("text", payload.substr(0, end));
    writer.member("bytes", payload.size());
    writer.member("truncated", end < payload.size());
  });
}

using ShownMember = JsonMember<Task>;
constexpr std::array shown_members = {
    ShownMember{"id", [](Task& t, const JsonValue& v) { t.ref.id = v.text(); }},
    ShownMember{"kind", [](Task& t, const JsonValue& v) { t.kind = v.text(); }},
    ShownMember{"queue", [](Task& t, const JsonValue& v) { t.ref.queue = v.text(); }},
    ShownMember{"state", [](Task& t, const JsonValue& v) { t.state = read_state(v); }},
    ShownMember{"priority", [](Task& t, const JsonValue& v) { t.priority = v.small(); }},
    ShownMember{"attempt", [](Task& t, const JsonValue& v) { t.attempt = v.small(); }},
    ShownMember{"retries", [](Task& t, const JsonValue& v) { t.retries = v.small(); }},
    ShownMember{"retries_max", [](Task& t, const JsonValue& v) { t.retries_max = v.small(); }},
    ShownMember{"crashes", [](Task& t, const JsonValue& v) { t.crashes = v.small(); }},
    ShownMember{"crashes_max", [](Task& t, const JsonValue& v) { t.crashes_max = v.small(); }},
    ShownMember{"deferrals", [](Task& t, const JsonValue& v) { t.deferrals = v.small(); }},
    ShownMember{"created_at", [](Task& t, const JsonValue& v) { t.created_at = v.time(); }},
    ShownMember{"run_at", [](Task& t, const JsonValue& v) { t.run_at = v.time(); }},
    ShownMember{"started_at", [](Task& t, const JsonValue& v) { t.started_at = v.time(); }},
    ShownMember{"finished_at", [](Task& t, const JsonValue& v) { t.ended_at = v.time(); }},
    ShownMember{"deadline", [](Task& t, const JsonValue& v) { t.deadline = v.time(); }},
    ShownMember{"expires_at", [](Task& t, const JsonValue& v) { t.expires_at = v.time(); }},
    ShownMember{"timeout_ms", [](Task& t, const JsonValue& v) { t.timeout = v.duration(); }},
    ShownMember{"retention_ms", [](Task& t, const JsonValue& v) { t.retention = v.duration(); }},
    ShownMember{"worker_id", [](Task& t, const JsonValue& v) { t.worker = v.text(); }},
    ShownMember{"progress", [](Task& t, const JsonValue& v) { t.progress = v.text(); }},
    ShownMember{"error", [](Task& t, const JsonValue& v) { t.error = v.text(); }},
    ShownMember{"reason", [](Task& t, const JsonValue& v) { t.reason = v.text(); }},
    ShownMember{"group", [](Task& t, const JsonValue& v) { t.group = v.text(); }},
    ShownMember{
        "unique",
        [](Task& t, const JsonValue& v) { read_members<Unique>(v, t.unique.emplace(), unique_members); }},
    ShownMember{"payload", [](Task& t, const JsonValue& v) { t.payload = read_body(v); }},
    ShownMember{"result", [](Task& t, const JsonValue& v) { t.result = read_body(v); }},
    ShownMember{"headers", [](Task& t, const JsonValue& v) { t.headers = v.text_map(); }},
};

using AttemptMember = JsonMember<Attempt>;
constexpr std::array attempt_members = {
    AttemptMember{"n", [](Attempt& a, const JsonValue& v) { a.number = v.small(); }},
    AttemptMember{"worker_id", [](Attempt& a, const JsonValue& v) { a.worker = v.text(); }},
    AttemptMember{"started_at", [](Attempt& a, const JsonValue& v) { a.started_at = v.time(); }},
    AttemptMember{"ended_at", [](Attempt& a, const JsonValue& v) { a.ended_at = v.time(); }},
    AttemptMember{"error", [](Attempt& a, const JsonValue& v) { a.error = v.text(); }},
    AttemptMember{"logs", [](Attempt& a, const JsonValue& v) { a.logs = read_logs(v); }},
};

using RefMember = JsonMember<Ref>;
constexpr std::array ref_members = {
    RefMember{"queue", [](Ref& r, const JsonValue& v) { r.queue = v.text(); }},
    RefMember{"id", [](Ref& r, const JsonValue& v) { r.id = v.text(); }},
};

}  // namespace

std::int64_t milliseconds(Duration duration) {
  return std::chrono::floor<std::chrono::milliseconds>(duration).count();
}

std::span<const JsonMember<NewTask>> task_members() { return members; }

NewTask read_task(const JsonValue& value) {
  if (!value.is_object()) value.refuse(R"(must be an object such as {"kind":"mail:send","payload":{}})");
  NewTask task;
  read_members<NewTask>(value, task, members);
  if (task.kind.empty()) throw BadValue{value.pointer() + "/kind", "is missing"};
  return task;
}

void write_new_task(json::Writer& writer, const NewTask& task) {
  const EnqueueOptions& options = task.options;
  const EnqueueOptions usual;
  writer.open('{');
  writer.member("kind", task.kind);
  writer.member("queue", options.queue);
  member_payload_exactly(writer, task.payload);
  member_text(writer, "id", options.id);
  if (options.delay > Duration::zero()) member_duration(writer, "delay", options.delay);
  member_time(writer, "run_at", options.run_at);
  if (options.priority != usual.priority) writer.member("priority", options.priority);
  if (options.retries_max != usual.retries_max) writer.member("retries_max", options.retries_max);
  if (options.crashes_max != usual.crashes_max) writer.member("crashes_max", options.crashes_max);
  if (options.timeout != usual.timeout) member_duration(writer, "timeout", options.timeout);
  member_time(writer, "deadline", options.deadline);
  member_time(writer, "expires_at", options.expires_at);
  if (options.unique) write_unique(writer, *options.unique);
  member_text(writer, "group", options.group);
  if (options.retention > Duration::zero()) member_duration(writer, "retention", options.retention);
  if (options.held) writer.member("hold", true);
  if (!options.headers.empty()) writer.member("headers", options.headers);
  writer.close('}');
}

void read_edit(const JsonValue& value, NewTask& task) {
  if (!value.is_object()) value.refuse(R"(must be an object such as {"priority":5,"payload":{}})");
  for (const auto& [name, each] : value.members()) {
    if (name.starts_with("payload")) task.payload.clear();
  }
  read_members<NewTask>(value, task, edit_members);
}

void write_edit(json::Writer& writer, const Task& task) {
  const auto time = [&](std::string_view name, const std::optional<TimePoint>& at) {
    at ? member_time(writer, name, at) : writer.member(name, std::optional<std::string>{});
  };
  writer.open('{');
  writer.member("kind", task.kind);
  member_payload_exactly(writer, task.payload);
  writer.member("priority", task.priority);
  writer.member("retries_max", task.retries_max);
  writer.member("crashes_max", task.crashes_max);
  member_duration(writer, "timeout", task.timeout);
  member_duration(writer, "retention", task.retention);
  time("deadline", task.deadline);
  time("expires_at", task.expires_at);
  writer.member("headers", task.headers);
  writer.close('}');
}

void write_task_members(json::Writer& writer, const Task& task, Detail detail) {
  writer.member("id", task.ref.id);
  writer.member("kind", task.kind);
  writer.member("queue", task.ref.queue);
  writer.member("state", to_string(task.state));
  writer.member("priority", task.priority);
  writer.member("attempt", task.attempt);
  writer.member("retries", task.retries);
  writer.member("retries_max", task.retries_max);
  writer.member("crashes", task.crashes);
  writer.member("crashes_max", task.crashes_max);
  writer.member("deferrals", task.deferrals);
  member_time(writer, "created_at", task.created_at);
  member_time(writer, "run_at", task.run_at);
  member_time(writer, "started_at", task.started_at);
  member_time(writer, "finished_at", task.ended_at);
  member_time(writer, "deadline", task.deadline);
  member_time(writer, "expires_at", task.expires_at);
  writer.member("timeout_ms", milliseconds(task.timeout));
  writer.member("retention_ms", milliseconds(task.retention));
  member_text(writer, "worker_id", task.worker);
  member_text(writer, "progress", task.progress);
  member_text(writer, "error", task.error);
  member_text(writer, "reason", task.reason);
  member_text(writer, "group", task.group);
  if (task.unique) write_unique(writer, *task.unique);
  if (detail == Detail::brief) {
    write_preview(writer, task.payload);
    return;
  }
  member_body(writer, "payload", task.payload);
  if (!task.result.empty()) member_body(writer, "result", task.result);
  writer.member("headers", task.headers);
}

void write_task(json::Writer& writer, const Task& task, Detail detail) {
  writer.open('{');
  write_task_members(writer, task, detail);
  writer.close('}');
}

void write_attempt(json::Writer& writer, const Attempt& attempt) {
  writer.open('{');
  writer.member("n", attempt.number);
  writer.member("worker_id", attempt.worker);
  member_time(writer, "started_at", attempt.started_at);
  member_time(writer, "ended_at", attempt.ended_at);
  member_text(writer, "error", attempt.error);
  member_logs(writer, attempt.logs);
  writer.close('}');
}

Task read_shown_task(const JsonValue& value) {
  Task task;
  read_members<Task>(value, task, shown_members);
  return task;
}

std::vector<std::string> task_fields() { return names_of(shown_members); }
std::vector<std::string> attempt_fields() { return names_of(attempt_members); }

Attempt read_attempt(const JsonValue& value) {
  Attempt attempt;
  read_members<Attempt>(value, attempt, attempt_members);
  return attempt;
}

void write_ref(json::Writer& writer, const Ref& ref) {
  writer.open('{');
  writer.member("queue", ref.queue);
  writer.member("id", ref.id);
  writer.close('}');
}

Ref read_ref(const JsonValue& value) {
  Ref ref;
  read_members<Ref>(value, ref, ref_members);
  if (ref.queue.empty()) throw BadValue{value.pointer() + "/queue", "is missing"};
  if (ref.id.empty()) throw BadValue{value.pointer() + "/id", "is missing"};
  return ref;
}

}  // namespace tidemill::wire
