#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/sql/columns.hpp"
#include "stores/sql/read.hpp"
#include "stores/sql/statements.hpp"
#include "stores/sql/write.hpp"

/// Tasks as rows: how they are read, and the few ways in which they move and go. All of these run inside the
/// caller's transaction, and on many rows at once.
namespace tidemill::sql_store {

/// What asks for rows by queue and id; those of queues that were never seen aren't asked for.
template <class Database>
void add_refs(Scope<Database>& scope, std::span<const Ref> refs, typename Database::Batch& batch, bool lock) {
  typename Database::template Table<Number<"queue">, Bytes<"id">> table;
  for (const Ref& ref : refs) {
    if (const auto queue = scope.find_queue(ref.queue)) table.add(*queue, Blob{stored_id(ref.id)});
  }
  batch.add(lock ? Database::tasks.lock_refs : Database::tasks.get_refs, table);
}

/// And what `match_rows` makes of the answer.
template <class Database>
std::vector<std::optional<Row>> find_rows(Scope<Database>& scope, std::span<const Ref> refs, bool lock) {
  typename Database::Batch batch;
  add_refs(scope, refs, batch, lock);
  return match_rows(std::move(scope.ask_all(std::move(batch)).front()), refs, scope);
}

/// Of the rows that were given a unique key; there may be none.
template <class Database>
auto keys_of(auto&& rows) {
  typename Database::template Table<Number<"queue">, Bytes<"unique_key">, Number<"seq">> keys;
  for (const Row* const row : rows) {
    if (!row->key.empty()) keys.add(row->queue(), Blob{row->key}, row->seq);
  }
  return keys;
}

/// Gives the tasks the unique keys that they hold at `now`.
template <class Database>
void add_uniques(Scope<Database>& scope, std::span<Row* const> rows, TimePoint now) {
  const auto given = keys_of<Database>(rows);
  if (given.empty()) return;
  std::unordered_map<std::int64_t, Unique> held;
  auto columns = scope.ask(Database::tasks.get_keys, given, stored(now));
  while (columns.step()) {
    held[columns.integer(0)] = {.window = Duration{columns.integer(1)}, .outlives_task = columns.boolean(2)};
  }
  for (Row* const row : rows) {
    const auto found = held.find(row->seq);
    if (found == held.end()) continue;
    row->task.unique = found->second;
    row->task.unique->key = row->key;
  }
}

/// The tasks come into another state, or to another place in the same; those leased are no longer.
struct Move {
  const Row* row = nullptr;
  State to = State::pending;
  TimePoint at{};
};
/// Counts a move, which the caller writes: where it came from, and where it goes to.
inline void count_move(Tally& tally, const Move& move) {
  tally.left(move.row->queue(), move.row->state());
  tally.arrived(move.row->queue(), move.to, move.at);
}

/// Of a group from which so many tasks have gone. Who changes a group's row locks it first in a statement of
/// its own, so that the next one sees all tasks that came and went meanwhile.
template <class Database>
void shrink_group(Write<Database>& write, std::int64_t queue, std::string_view group, std::size_t count) {
  Database::fold_joined(write, queue, group);
  write.tell(Database::groups.lock, queue, Blob{group});
  Database::shrink_group(write, queue, group, count);
  write.tell(Database::groups.end, queue, Blob{group});
}

/// The row is about to leave where it stands: if it waits in a group, that has one task less.
template <class Database>
void leave_group(Write<Database>& write, const Row& row) {
  if (row.state() != State::aggregating || row.in_set() || row.task.group.empty()) return;
  write.tell_joined();
  Database::leave_members(write, row);
  if (write.callers()) {
    write.tell(Database::groups.leave_later, row.queue(), Blob{row.task.group});
  } else {
    shrink_group(write, row.queue(), row.task.group, 1);
  }
}

/// The unique keys are free again, unless they outlive their tasks.
template <class Database>
void release_keys(Write<Database>& write, std::span<const Row* const> rows) {
  if (const auto given = keys_of<Database>(rows); !given.empty())
    write.tell(Database::tasks.free_keys, given);
}

/// The tasks go, with their attempts, lines of log and unique keys, unless those outlive them.
template <class Database>
void erase_rows(Write<Database>& write, std::span<const Row* const> rows) {
  if (rows.empty()) return;
  typename Database::template Table<Number<"seq">> all, with_attempts, with_logs;
  for (const Row* const row : rows) {
    leave_group(write, *row);
    all.add(row->seq);
    if (row->attempts_kept > 0) with_attempts.add(row->seq);
    if (row->logs_kept > 0) with_logs.add(row->seq);
    write.left(row->queue(), row->state());
  }
  release_keys(write, rows);
  if (const auto given = keys_of<Database>(rows); !given.empty())
    write.tell(Database::tasks.orphan_keys, given);
  if (!with_attempts.empty()) write.tell(Database::tasks.erase_attempts, with_attempts);
  if (!with_logs.empty()) write.tell(Database::tasks.erase_logs, with_logs);
  write.tell(Database::tasks.erase_tasks, all);
}

/// All lines that beats have brought for the running attempts, which are dropped: one list for each row.
template <class Database>
std::vector<std::vector<LogLine>> take_logs(Write<Database>& write, std::span<const Row* const> rows) {
  std::vector<std::vector<LogLine>> all(rows.size());
  typename Database::template Table<Number<"seq">> with_logs;
  for (const Row* const row : rows) {
    if (row->logs_kept > 0) with_logs.add(row->seq);
  }
  if (with_logs.empty()) return all;
  std::map<std::pair<std::int64_t, std::int64_t>, std::string> chunks;
  auto chunk = Database::take_logs(write, with_logs);
  while (chunk.step()) chunks[{chunk.integer(0), chunk.integer(1)}] = chunk.bytes(2);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (auto at = chunks.lower_bound({rows[i]->seq, 0});
         at != chunks.end() && at->first.first == rows[i]->seq; ++at) {
      read_lines(at->second, all[i]);
    }
  }
  return all;
}

}  // namespace tidemill::sql_store
