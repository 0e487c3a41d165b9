#pragma once

#include <span>
#include <string_view>
#include <vector>

#include <tidemill/store.hpp>

#include "core/transitions.hpp"
#include "stores/sql/tasks.hpp"

/// Tasks that an operator changes or moves to another queue.
namespace tidemill::sql_store {

template <class Database>
bool holds(Write<Database>& write, const Row& row, TimePoint now) {
  return !row.key.empty() &&
         write.any(Database::edit.holds_key, row.queue(), Blob{row.key}, row.seq, stored(now));
}

/// The key that the row holds becomes this one, with what is left of its window. False when another task
/// holds that.
template <class Database>
bool pass_key(Write<Database>& write, const Row& row, std::int64_t queue, const std::string& key,
              TimePoint now) {
  if (queue == row.queue() && key == row.key) return true;
  write.tell(Database::edit.forget_key, queue, Blob{key}, stored(now));
  if (write.any(Database::edit.has_key, queue, Blob{key})) return false;
  write.tell(Database::edit.pass_key_on, row.queue(), Blob{row.key}, queue, Blob{key});
  return true;
}

template <class Database>
Changed move_task(Write<Database>& write, const Ref& ref, States from, std::string_view to, TimePoint now) {
  const auto row = find_rows(write, {&ref, 1}, true).front();
  if (!row) return Changed::absent;
  const State state = row->state();
  if (may_be_a_workers(state) || !from.has(state)) return Changed::wrong_state;
  const Ref there{std::string{to}, ref.id};
  if (find_rows(write, {&there, 1}, false).front()) return Changed::exists;
  const std::int64_t queue = write.intern_queue(to);
  if (holds(write, *row, now)) {
    if (!pass_key(write, *row, queue, row->key, now)) return Changed::conflict;
  } else if (!row->key.empty()) {
    write.tell(Database::edit.forget_key, row->queue(), Blob{row->key}, stored(now));
  }
  const bool waits = state == State::scheduled || state == State::retry;
  const TimePoint at = waits ? row->at : now;
  write.tell(Database::edit.move_to_queue, row->seq, queue, line_of(queue, state, row->task.priority),
             stored(at));
  write.left(row->queue(), state);
  write.arrived(queue, state, at);
  return Changed::changed;
}

template <class Database>
Changed edit_task(Write<Database>& write, const Edit& edit, TimePoint now) {
  const std::int64_t kind =
      write.intern_kind(edit.task.kind);  // Names are made before the transaction begins.
  const auto row = find_rows(write, {&edit.task.ref, 1}, true).front();
  if (!row) return Changed::absent;
  if (may_be_a_workers(row->state()) || !edit.from.has(row->state())) return Changed::wrong_state;
  if (etag(row->task) != edit.seen) return Changed::stale;
  const Task& task = edit.task;
  std::string key = row->key;
  if (task.unique && holds(write, *row, now)) {
    key = task.unique->key;
    if (!pass_key(write, *row, row->queue(), key, now)) return Changed::conflict;
  }
  const std::string headers = task.headers.empty() ? std::string{} : write_map(task.headers);
  write.tell(Database::edit.edit_task, row->seq, line_of(row->queue(), row->state(), task.priority), kind,
             Blob{task.payload}, unless(0, task.priority), unless(usual_retries_max, task.retries_max),
             unless(usual_crashes_max, task.crashes_max), unless(usual_timeout, stored(task.timeout)),
             unless(0, stored(task.retention)), stored(task.deadline), stored(task.expires_at),
             blob_unless_empty(headers), blob_unless_empty(key));
  return Changed::changed;
}

template <class Database>
std::vector<Changed> move_all(Write<Database>& write, std::span<const Ref> refs, States from,
                              std::string_view queue, TimePoint now) {
  write.intern_queue(queue);  // First, as no transaction is open yet.
  std::vector<Changed> answers;
  answers.reserve(refs.size());
  for (const Ref& ref : refs) answers.push_back(move_task(write, ref, from, queue, now));
  return answers;
}

}  // namespace tidemill::sql_store
