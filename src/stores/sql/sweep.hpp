#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/sql/groups.hpp"
#include "stores/sql/tasks.hpp"

/// What has run out: leases, waits, retentions, and all else that is kept for a time.
namespace tidemill::sql_store {

/// A worker that has been silent for longer is forgotten.
inline constexpr std::chrono::hours silent_max{1};
/// How long statistics are kept.
inline constexpr std::chrono::hours minutes_kept{48}, days_kept{366 * 24};
/// Rows of what is not counted in the answer that one sweep deletes of each sort.
inline constexpr std::int64_t leftovers_max = 1000;

/// Counters are exact, so a sweep need not look into the queues that have no task in a state.
struct SweptQueues {
  std::vector<std::int64_t> active_lines, waiting_lines, waiting;
};

template <class Database>
SweptQueues queues_in(Scope<Database>& scope) {
  SweptQueues queues;
  auto row = scope.ask(Database::sweep.queues_with);
  while (row.step()) {
    const auto state = static_cast<State>(row.integer(0));
    const std::int64_t queue = row.integer(1);
    (state == State::active ? queues.active_lines : queues.waiting_lines).push_back(line_of(queue, state));
    if (state != State::active && std::ranges::find(queues.waiting, queue) == queues.waiting.end())
      queues.waiting.push_back(queue);
  }
  return queues;
}

/// Each has a claim of its own, as each keeps the time at which its attempt began.
template <class Database>
std::vector<Lease> take_leases(Write<Database>& write, const std::vector<std::int64_t>& lines,
                               std::string_view worker, Duration length, std::size_t limit, TimePoint now) {
  std::vector<Lease> leases;
  if (lines.empty()) return leases;
  std::vector<Row> rows = Database::lapsed_rows(write, lines, limit, now);
  if (rows.empty()) return leases;
  std::vector<Row*> all;
  for (Row& row : rows) all.push_back(&row);
  add_uniques(write, all, now);
  typename Database::template Table<Number<"seq">, Number<"claim">> table;
  for (Row& row : rows) {
    const std::int64_t claim = make_claim();
    table.add(row.seq, claim);
    if (row.was_due) row.task.run_at = row.since;
    // The answer names the worker that lost the lease: that is whose death core writes down.
    leases.push_back({std::move(row.task), token_text({row.seq, claim}), length, row.marked});
  }
  write.tell(Database::sweep.take_over, table, stored(now + length), Blob{stored_id(worker)});
  return leases;
}

/// True when nothing has run out, so that a sweep would write nothing.
template <class Database>
bool sweep_nothing(Scope<Database>& scope, TimePoint now) {
  SweptQueues queues = queues_in(scope);
  std::vector<std::int64_t> lines = std::move(queues.active_lines);
  lines.insert(lines.end(), queues.waiting_lines.begin(), queues.waiting_lines.end());
  typename Database::Batch batch;
  batch.add(Database::sweep.any_leftover, stored(now), stored(now - silent_max), stored(now - minutes_kept),
            stored(now - days_kept));
  Database::add_any_past(batch, lines, now);
  return std::ranges::none_of(scope.ask_all(std::move(batch)),
                              [](auto& row) { return row.step() && row.boolean(0); });
}

template <class Database>
Swept sweep_all(Write<Database>& write, std::string_view worker, Duration lease, std::size_t limit,
                TimePoint now, std::size_t task_bytes_max) {
  Swept answer;
  const auto most = static_cast<std::int64_t>(limit);
  const auto& statements = Database::sweep;
  Database::take_inbox(write, now, task_bytes_max);
  const SweptQueues queues = queues_in(write);
  answer.taken = take_leases(write, queues.active_lines, worker, lease, limit, now);
  regroup_lapsed(write, now);
  fold_joined(write);
  if (!queues.waiting.empty()) answer.promoted = promote(write, queues.waiting, limit, now);
  answer.purged = Database::purge(write, limit, now);
  write.tell(statements.drop_keys, stored(now), leftovers_max);
  write.tell(statements.drop_workers, stored(now - silent_max), leftovers_max);
  write.tell(statements.drop_stats, Span::minute, stored(now - minutes_kept), leftovers_max);
  write.tell(statements.drop_stats, Span::day, stored(now - days_kept), leftovers_max);
  write.tell(statements.drop_sessions);
  typename Database::Batch batch;
  batch.add(statements.drop_locks, stored(now), most);
  batch.add(statements.drop_documents, stored(now), most);
  auto answers = write.ask_all(std::move(batch));
  Database::fold_deltas(write);
  answer.more = answer.taken.size() == limit || answer.promoted == limit || answer.purged == limit ||
                answers[0].changes() == most || answers[1].changes() == most;
  return answer;
}

}  // namespace tidemill::sql_store
