#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <tidemill/store.hpp>

#include "core/transitions.hpp"
#include "stores/sql/entry.hpp"
#include "stores/sql/task.hpp"
#include "stores/sql/tasks.hpp"

/// Tasks with unique keys, and those that schedules fire. A batch of them goes in waves, each without an id
/// or a key that comes twice: the next wave sees what the one before did.
namespace tidemill::sql_store {

/// Who has a unique key.
struct Holder {
  std::string id = {};
  std::int64_t seq = 0;
  State state = State::gone;
  bool started = false;  ///< So that it can't be replaced any more.
  bool outlives_task = false;
};

inline bool waits(State state) {
  constexpr States waiting =
      States{State::scheduled} + State::pending + State::aggregating + State::held + State::blocked;
  return waiting.has(state);
}

/// When the key's window ends.
inline std::optional<std::int64_t> until_of(const Unique& unique, TimePoint now) {
  return unique.window > Duration::zero() ? std::optional{stored(now + unique.window)} : std::nullopt;
}

/// One for each key of a queue; none: it is free. `current`: as others have committed it by now, which locks
/// what is found.
template <class Database>
std::vector<std::optional<Holder>> find_holders(Write<Database>& write,
                                                const std::vector<const Entry*>& entries, TimePoint now,
                                                bool current = false) {
  std::vector<std::optional<Holder>> holders(entries.size());
  typename Database::template Table<Number<"n">, Number<"queue">, Bytes<"unique_key">> keys;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (const auto& unique = entries[i]->task->unique) keys.add(i, entries[i]->queue, Blob{unique->key});
  }
  if (keys.empty()) return holders;
  auto row =
      write.ask(current ? Database::keys.get_holders_now : Database::keys.get_holders, keys, stored(now));
  while (row.step()) {
    Holder holder;
    holder.id = id_text(row.bytes(1));
    holder.seq = row.integer(2);
    if (!row.null(3)) {
      const std::int64_t line = row.integer(3);
      holder.state = state_of(line);
      holder.started = !waits(holder.state) || line == set_line(queue_of(line)) || row.integer(4) != 0 ||
                       row.integer(5) != 0;
    }
    holder.outlives_task = row.boolean(6);
    holders[static_cast<std::size_t>(row.integer(0))] = std::move(holder);
  }
  return holders;
}

/// False when the holder is no longer as it was seen.
template <class Database>
bool replace(Write<Database>& write, Entry& entry, const Holder& holder, TimePoint now) {
  const Task& task = *entry.task;
  auto rows = read_rows(write.ask(Database::keys.lock_task, holder.seq), write);
  if (rows.empty()) return false;
  const Row& row = rows.front();
  if (!waits(row.state()) || row.in_set() || row.task.attempt != 0 || row.task.crashes != 0) return false;
  if (!Database::renew_key(write, entry, holder.seq, now)) return false;
  const TimePoint at = at_of(task, now);
  leave_group(write, row);
  write.tell(Database::keys.overwrite, row.seq, line_of(entry.queue, task.state, task.priority), stored(at),
             entry.kind, Blob{task.payload}, unless(0, task.priority),
             unless(usual_retries_max, task.retries_max), unless(usual_crashes_max, task.crashes_max),
             unless(usual_timeout, stored(task.timeout)), unless(0, stored(task.retention)),
             stored(task.deadline), stored(task.expires_at), blob_unless_empty(task.group),
             blob_unless_empty(task.headers.empty() ? std::string{} : write_map(task.headers)));
  write.left(entry.queue, row.state());
  write.arrived(entry.queue, task.state, at);
  if (task.state == State::aggregating && !task.group.empty()) {
    write.joined(entry.queue, task.group, at);
    Database::join_members(write, entry, row.seq, at);
  }
  entry.answer = {Put::replaced, holder.id, "it took the place of the task that had this unique key"};
  return true;
}

/// Looks, and takes in what can be. What another process has changed between look and write stays in
/// `entries`.
template <class Database>
void put_once(Write<Database>& write, std::vector<Entry*>& entries, TimePoint now, bool current) {
  typename Database::template Table<Number<"n">, Number<"queue">, Bytes<"id">> ids;
  for (std::size_t i = 0; i < entries.size(); ++i)
    ids.add(i, entries[i]->queue, Blob{stored_id(entries[i]->task->ref.id)});
  std::set<std::size_t> there;
  auto row = write.ask(Database::keys.has_ids, ids);
  while (row.step()) there.insert(static_cast<std::size_t>(row.integer(0)));
  const auto holders = find_holders(write, {entries.begin(), entries.end()}, now, current);

  std::vector<Entry*> again, keyed, inserts;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    Entry& entry = *entries[i];
    const auto& holder = holders[i];
    if (there.contains(i)) {
      exists(entry);
    } else if (!entry.task->unique) {
      inserts.push_back(&entry);
    } else if (!holder) {
      keyed.push_back(&entry);
    } else if (entry.task->unique->on_conflict != OnConflict::replace || holder->state == State::gone ||
               is_over(holder->state)) {
      entry.answer = {Put::exists, holder->id, fmt::format("task {} has this unique key", holder->id)};
    } else if (holder->started) {
      entry.answer = {Put::busy, holder->id,
                      fmt::format("task {} has this unique key and has started", holder->id)};
    } else if (!replace(write, entry, *holder, now)) {
      again.push_back(&entry);
    }
  }
  typename Database::KeyTaking taking{write, now};
  if (!keyed.empty()) taking.take(std::move(keyed), inserts, again);
  std::ranges::sort(inserts);  // In the order in which they came.
  Database::insert_tasks(write, inserts);
  taking.settle(inserts);
  entries = std::move(again);
}

template <class Database>
void put_wave(Write<Database>& write, std::vector<Entry*> wave, TimePoint now) {
  /// How often keys are looked up anew, because others took them or let them go between look and write.
  constexpr int tries_max = 10;
  for (int tries = 0; !wave.empty() && tries < tries_max; ++tries)
    put_once(write, wave, now, tries > 0 && write.callers());
  for (Entry* const entry : wave) {
    entry->answer = {Put::failed, {}, "others took and freed its unique key all the time; repeat the call"};
  }
}

/// Why the instant must not fire; empty: it may.
template <class Database>
std::string refusal(Write<Database>& write, const Firing& firing) {
  auto row = write.ask(Database::keys.get_schedule, Blob{firing.schedule});
  if (!row.step()) return fmt::format("there is no schedule {}", firing.schedule);
  if (row.boolean(1)) return fmt::format("schedule {} is paused", firing.schedule);
  if (time_of(row.integer(0)) == firing.instant) return {};
  return fmt::format("schedule {} has fired at this instant, or was changed", firing.schedule);
}

template <class Database>
void fire(Write<Database>& write, Entry& entry, TimePoint now) {
  const Firing& firing = *entry.task->firing;
  if (std::string why = refusal(write, firing); !why.empty()) {
    entry.answer = {Put::fired, {}, std::move(why)};
    return;
  }
  put_wave(write, {&entry}, now);
  const bool done = entry.answer.put == Put::created || entry.answer.put == Put::replaced;
  const bool known = done || entry.answer.put == Put::exists || entry.answer.put == Put::busy;
  if (done || (known && !firing.only_if_created))
    write.tell(Database::keys.move_schedule, Blob{firing.schedule}, stored(firing.next),
               stored(firing.instant));
}

/// Takes in tasks of which some have unique keys or are fired by schedules, in order.
template <class Database>
void enqueue_in_order(Write<Database>& write, const std::vector<Entry*>& entries, TimePoint now) {
  std::vector<Entry*> wave;
  std::set<std::pair<std::int64_t, std::string_view>> ids, keys;
  const auto flush = [&] {
    put_wave(write, std::exchange(wave, {}), now);
    ids.clear();
    keys.clear();
  };
  Database::number(write, entries);
  for (Entry* const entry : entries) {
    const Task& task = *entry->task;
    const bool met = ids.contains({entry->queue, task.ref.id}) ||
                     (task.unique && keys.contains({entry->queue, task.unique->key}));
    if (met || task.firing) flush();
    if (task.firing) {
      fire(write, *entry, now);
      continue;
    }
    ids.emplace(entry->queue, task.ref.id);
    if (task.unique) keys.emplace(entry->queue, task.unique->key);
    wave.push_back(entry);
  }
  flush();
}

}  // namespace tidemill::sql_store
