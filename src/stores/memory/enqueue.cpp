// How tasks come in: refusals, firings, ids and unique keys, in this order.
#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/rules.hpp"
#include "core/transitions.hpp"
#include "stores/memory/store_impl.hpp"

namespace tidemill::memory {

namespace {

/// Whether nothing has happened to the task yet that a replacement would undo.
bool replaceable(const Row& row) {
  const States waiting =
      States{State::scheduled} + State::pending + State::aggregating + State::held + State::blocked;
  return waiting.has(row.task.state) && row.set.empty() && row.task.attempt == 0 && row.task.crashes == 0;
}

/// Where the row stands in its first state.
void place(Row& row, const Task& given, TimePoint now) {
  row.task.state = given.state;
  row.place = now;
  row.task.run_at.reset();
  if (given.state == State::scheduled) row.task.run_at = given.run_at.value_or(now + given.delay);
}

}  // namespace

std::vector<Enqueued> MemoryStore::enqueue(std::span<const Task> tasks, const Call& call,
                                           Transaction* inside) {
  if (inside != nullptr) {
    throw Error{ErrorKind::unsupported, "the memory store can't take part in a database's transaction"};
  }
  const std::lock_guard lock{mutex_};
  std::vector<Enqueued> answers;
  for (const Task& task : tasks) answers.push_back(put(task, call.now));
  changed_.notify_all();
  return answers;
}

bool MemoryStore::fires(const Firing& firing) const {
  const auto found = schedules_.find(firing.schedule);
  return found != schedules_.end() && !found->second.paused && found->second.next == firing.instant;
}

Enqueued MemoryStore::put(const Task& task, TimePoint now) {
  if (std::string why = rules::fault_of(task, capabilities_.task_bytes_max); !why.empty())
    return {Put::invalid, {}, std::move(why)};
  if (!task.firing) return put_task(task, now);

  const Firing& firing = *task.firing;
  if (!fires(firing)) {
    return {
        Put::fired, {}, fmt::format("schedule \"{}\" has fired, is paused, or was changed", firing.schedule)};
  }
  Enqueued answer = put_task(task, now);
  const bool put_in = answer.put == Put::created || answer.put == Put::replaced;
  if (put_in || !firing.only_if_created) {
    StoredSchedule& schedule = schedules_.find(firing.schedule)->second;
    schedule.next = firing.next;
    schedule.last = firing.instant;
  }
  return answer;
}

Enqueued MemoryStore::put_task(const Task& task, TimePoint now) {
  if (rows_.find(task.ref) != nullptr)
    return {Put::exists, task.ref.id, "a task with this id is in the queue"};
  if (task.unique) {
    if (auto answer = put_over_key(task, now)) return std::move(*answer);
  }
  create(task, now);
  return {Put::created, task.ref.id, {}};
}

std::optional<Enqueued> MemoryStore::put_over_key(const Task& task, TimePoint now) {
  const Key* key = rows_.holder(task.ref.queue, task.unique->key, now);
  if (key == nullptr) return {};
  const std::string id = key->holder;
  Row* row = rows_.find({task.ref.queue, id});
  const bool ended = row == nullptr || row->sequence != key->sequence || is_over(row->task.state);
  if (ended || task.unique->on_conflict != OnConflict::replace) {
    return Enqueued{Put::exists, id, fmt::format("task {} holds the unique key", id)};
  }
  if (!replaceable(*row)) return Enqueued{Put::busy, id, fmt::format("task {} has started", id)};

  rows_.edit(*row, [&](Row& old) {
    old.task.kind = task.kind;
    old.task.payload = task.payload;
    old.task.group = task.group;
    old.task.headers = task.headers;
    old.task.priority = task.priority;
    old.task.retries_max = task.retries_max;
    old.task.crashes_max = task.crashes_max;
    old.task.timeout = task.timeout;
    old.task.retention = task.retention;
    old.task.deadline = task.deadline;
    old.task.expires_at = task.expires_at;
    old.task.unique = task.unique;
    place(old, task, now);
  });
  rows_.take_key(*row, now);
  return Enqueued{Put::replaced, id, fmt::format("task {} held the unique key and was overwritten", id)};
}

void MemoryStore::create(const Task& task, TimePoint now) {
  Row row;
  row.task = task;
  // A task that comes in has no history, whatever its struct says, and these two are orders, not properties.
  row.task.delay = {};
  row.task.firing.reset();
  row.task.attempt = row.task.retries = row.task.crashes = row.task.deferrals = 0;
  row.task.result = row.task.error = row.task.reason = row.task.progress = row.task.worker = {};
  row.task.started_at = row.task.ended_at = {};
  row.task.created_at = task.created_at.value_or(now);
  place(row, task, now);
  const Row& stored = rows_.insert(std::move(row));
  if (task.unique) rows_.take_key(stored, now);
}

}  // namespace tidemill::memory
