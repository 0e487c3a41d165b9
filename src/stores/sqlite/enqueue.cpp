#include "stores/sqlite/enqueue.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "core/rules.hpp"
#include "core/transitions.hpp"
#include "stores/sql/task.hpp"
#include "stores/sqlite/groups.hpp"
#include "stores/sqlite/layout.hpp"
#include "stores/sqlite/tasks.hpp"

namespace tidemill::sqlite_store {

using sql_store::at_of;
using sql_store::fault_of;
using sql_store::usual;

namespace {

constexpr sqlite::Sql insert_usual{
    "INSERT INTO main.tidemill_job (id, queue, line, at, since, kind, created_at, payload) "
    "VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING"};
constexpr sqlite::Sql insert_any{
    "INSERT INTO main.tidemill_job (id, queue, line, at, since, kind, created_at, payload, priority, "
    "retries_max, "
    "crashes_max, timeout, retention, deadline, expires_at, key, task_group, headers) "
    "VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17) ON CONFLICT DO "
    "NOTHING"};
constexpr sqlite::Sql overwrite{
    "UPDATE main.tidemill_job SET line = ?2, at = ?3, since = ?3, was_due = NULL, kind = ?4, payload = ?5, "
    "priority = "
    "?6, retries_max = ?7, "
    "crashes_max = ?8, timeout = ?9, retention = ?10, deadline = ?11, expires_at = ?12, task_group = ?13, "
    "headers = ?14 WHERE seq = ?1"};

constexpr sqlite::Sql get_holder{
    "SELECT k.id, k.seq, j.line, j.priority, r.attempt, r.crashes, j.task_group, k.outlives FROM "
    "main.tidemill_key k "
    "LEFT JOIN main.tidemill_job j ON j.seq = k.seq LEFT JOIN main.tidemill_run r ON r.seq = k.seq "
    "WHERE k.queue = ?1 AND k.key = ?2 AND (k.until IS NULL OR k.until > ?3)"};
constexpr sqlite::Sql put_key{
    "INSERT INTO main.tidemill_key (queue, key, id, seq, until, length, outlives) VALUES (?1, ?2, ?3, ?4, "
    "?5, ?6, ?7) "
    "ON CONFLICT (queue, key) DO UPDATE SET id = excluded.id, seq = excluded.seq, until = excluded.until, "
    "length = excluded.length, outlives = excluded.outlives"};

constexpr sqlite::Sql get_schedule{"SELECT next, paused FROM main.tidemill_schedule WHERE id = ?1"};
constexpr sqlite::Sql move_schedule{"UPDATE main.tidemill_schedule SET next = ?2, last = ?3 WHERE id = ?1"};

/// False when there is a task with that id.
bool insert(Write& write, const Task& task, std::int64_t queue, TimePoint now) {
  const StoredId id{task.ref.id};
  const TimePoint at = at_of(task, now);
  const std::int64_t kind = write.intern_kind(task.kind);
  const std::int64_t line = line_of(queue, task.state, task.priority);
  const std::int64_t created = stored(task.created_at.value_or(now));
  const sqlite::Blob payload{task.payload};
  int inserted = 0;
  if (usual(task)) {
    inserted = write.db.run(insert_usual, id, queue, line, stored(at), kind, created, payload);
  } else {
    const std::string headers = task.headers.empty() ? std::string{} : write_map(task.headers);
    inserted =
        write.db.run(insert_any, id, queue, line, stored(at), kind, created, payload,
                     unless(0, task.priority), unless(usual_retries_max, task.retries_max),
                     unless(usual_crashes_max, task.crashes_max), unless(usual_timeout, stored(task.timeout)),
                     unless(0, stored(task.retention)), stored(task.deadline), stored(task.expires_at),
                     task.unique ? std::optional<std::string_view>{task.unique->key} : std::nullopt,
                     unless_empty(task.group), unless_empty(headers));
  }
  if (inserted == 0) return false;
  write.arrived(queue, task.state, at);
  if (task.state == State::aggregating) join_group(write, queue, task.group, at);
  return true;
}

Enqueued exists(std::string id) {
  return {Put::exists, std::move(id), "a task with this id is there already"};
}

void take_key(Write& write, const Unique& unique, std::int64_t queue, std::string_view holder,
              std::int64_t seq, TimePoint now) {
  std::optional<std::int64_t> until;
  if (unique.window > Duration::zero()) until = stored(now + unique.window);
  const StoredId id{holder};
  write.db.run(put_key, queue, std::string_view{unique.key}, id, seq, until, stored(unique.window),
               unique.outlives_task);
}

struct Holder {
  std::string id = {};
  Row row = {};
  bool gone = false;
  bool outlives_task = false;
};

std::optional<Holder> holder_of(Write& write, std::int64_t queue, std::string_view key, TimePoint now) {
  auto columns = write.db.query(get_holder, queue, key, stored(now));
  if (!columns.step()) return {};
  Holder holder;
  holder.id = id_at(columns, 0);
  holder.gone = columns.null(1) || columns.null(2);
  holder.row.seq = columns.integer(1);
  holder.row.line = columns.integer(2);
  holder.row.task.priority = static_cast<std::int32_t>(columns.integer(3));
  holder.row.task.attempt = static_cast<std::int32_t>(columns.integer(4));
  holder.row.task.crashes = static_cast<std::int32_t>(columns.integer(5));
  holder.row.task.group = columns.bytes(6);
  holder.outlives_task = columns.integer(7) != 0;
  return holder;
}

bool ended(const Holder& holder) { return holder.gone || is_over(holder.row.state()); }

bool started(const Holder& holder) {
  constexpr States waiting =
      States{State::scheduled} + State::pending + State::aggregating + State::held + State::blocked;
  return !waiting.has(holder.row.state()) || holder.row.in_set() || holder.row.task.attempt != 0 ||
         holder.row.task.crashes != 0;
}

Enqueued replace(Write& write, const Task& task, const Holder& holder, TimePoint now) {
  const std::int64_t queue = holder.row.queue();
  const TimePoint at = at_of(task, now);
  const std::string headers = task.headers.empty() ? std::string{} : write_map(task.headers);
  leave_group(write, holder.row);
  write.db.run(overwrite, holder.row.seq, line_of(queue, task.state, task.priority), stored(at),
               write.intern_kind(task.kind), sqlite::Blob{task.payload}, unless(0, task.priority),
               unless(usual_retries_max, task.retries_max), unless(usual_crashes_max, task.crashes_max),
               unless(usual_timeout, stored(task.timeout)), unless(0, stored(task.retention)),
               stored(task.deadline), stored(task.expires_at), unless_empty(task.group),
               unless_empty(headers));
  write.left(queue, holder.row.state());
  write.arrived(queue, task.state, at);
  if (task.state == State::aggregating) join_group(write, queue, task.group, at);
  take_key(write, *task.unique, queue, holder.id, holder.row.seq, now);
  return {Put::replaced, holder.id, "it took the place of the task that had this unique key"};
}

Enqueued put_unique(Write& write, const Task& task, std::int64_t queue, TimePoint now) {
  const StoredId id{task.ref.id};
  if (has_id(write, queue, id)) return exists(task.ref.id);
  const auto holder = holder_of(write, queue, task.unique->key, now);
  if (!holder) {
    insert(write, task, queue, now);
    take_key(write, *task.unique, queue, task.ref.id, write.db.last_row(), now);
    return {Put::created, task.ref.id};
  }
  if (task.unique->on_conflict != OnConflict::replace || ended(*holder)) {
    return {Put::exists, holder->id, fmt::format("task {} has this unique key", holder->id)};
  }
  if (started(*holder)) {
    return {Put::busy, holder->id, fmt::format("task {} has this unique key and has started", holder->id)};
  }
  return replace(write, task, *holder, now);
}

/// Why the instant must not fire; empty: it may.
std::string refusal(Write& write, const Firing& firing) {
  auto row = write.db.query(get_schedule, std::string_view{firing.schedule});
  if (!row.step()) return fmt::format("there is no schedule {}", firing.schedule);
  if (row.integer(1) != 0) return fmt::format("schedule {} is paused", firing.schedule);
  if (time_of(row.integer(0)) == firing.instant) return {};
  return fmt::format("schedule {} has fired at this instant, or was changed", firing.schedule);
}

Enqueued put(Write& write, const Task& task, TimePoint now, std::size_t bytes_max) {
  if (std::string fault = fault_of(task, bytes_max); !fault.empty()) {
    return {Put::invalid, {}, std::move(fault)};
  }
  if (task.firing) {
    if (std::string why = refusal(write, *task.firing); !why.empty()) return {Put::fired, {}, std::move(why)};
  }
  const std::int64_t queue = write.intern_queue(task.ref.queue);
  Enqueued answer;
  if (task.unique) {
    answer = put_unique(write, task, queue, now);
  } else if (insert(write, task, queue, now)) {
    answer.id = task.ref.id;
  } else {
    answer = exists(task.ref.id);
  }
  if (task.firing) {
    const bool done = answer.put == Put::created || answer.put == Put::replaced;
    if (done || !task.firing->only_if_created) {
      write.db.run(move_schedule, std::string_view{task.firing->schedule}, stored(task.firing->next),
                   stored(task.firing->instant));
    }
  }
  return answer;
}

}  // namespace

bool fits_in(Write& write, const Task& task, std::span<const std::int64_t> leaving, TimePoint now,
             std::size_t task_bytes_max) {
  if (!fault_of(task, task_bytes_max).empty()) return false;
  const std::int64_t queue = write.intern_queue(task.ref.queue);
  const StoredId id{task.ref.id};
  if (has_id(write, queue, id)) return false;
  const auto holder = task.unique ? holder_of(write, queue, task.unique->key, now) : std::nullopt;
  return !holder || (!holder->gone && !holder->outlives_task &&
                     std::ranges::find(leaving, holder->row.seq) != leaving.end());
}

std::vector<Enqueued> enqueue_all(Write& write, std::span<const Task> tasks, TimePoint now,
                                  std::size_t task_bytes_max) {
  std::vector<Enqueued> answers;
  answers.reserve(tasks.size());
  for (const Task& task : tasks) answers.push_back(put(write, task, now, task_bytes_max));
  return answers;
}

std::size_t bytes_of(std::span<const Task> tasks) {
  std::size_t bytes = 0;
  for (const Task& task : tasks) bytes += rules::bytes_of(task);
  return bytes;
}

}  // namespace tidemill::sqlite_store
