#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/sql/ids.hpp"
#include "stores/sql/layout.hpp"
#include "stores/sql/row.hpp"

/// What the answers of servers become. A `Query` is the driver's, of rows that are walked once; a `Scope`
/// knows the names of queues and kinds by their numbers.
namespace tidemill::sql_store {

/// The whole task as the catalogue shows it, but for `unique`. The first columns are
///
///   seq, line, at, since, claim, was_due, id, kind, created_at, priority, retries_max, crashes_max, timeout,
///   retention, deadline, expires_at, the unique key, the group, headers, payload, worker, started_at,
///   marked, the signal, attempt, retries, crashes, deferrals, attempts_kept, logs_kept, ended_at, reason,
///   progress, error, result
template <class Query, class Scope>
Row read_row(const Query& columns, Scope& scope) {
  const auto number = [&](int column, std::int64_t usual) {
    return static_cast<std::int32_t>(columns.optional_integer(column).value_or(usual));
  };
  Row row;
  Task& task = row.task;
  row.seq = columns.integer(0);
  row.line = columns.integer(1);
  row.at = time_of(columns.integer(2));
  row.since = time_of(columns.integer(3));
  row.claim = columns.integer(4);
  row.was_due = columns.boolean(5);
  task.ref.queue = scope.queue_name(row.queue());
  task.ref.id = id_text(columns.bytes(6));
  task.state = row.state();
  if (task.state == State::scheduled || task.state == State::retry) task.run_at = row.at;
  task.kind = scope.kind_name(columns.integer(7));
  task.created_at = time_of(columns.integer(8));
  task.priority = number(9, 0);
  task.retries_max = number(10, usual_retries_max);
  task.crashes_max = number(11, usual_crashes_max);
  task.timeout = Duration{columns.optional_integer(12).value_or(usual_timeout)};
  task.retention = Duration{columns.optional_integer(13).value_or(0)};
  task.deadline = time_of(columns.optional_integer(14));
  task.expires_at = time_of(columns.optional_integer(15));
  row.key = columns.bytes(16);
  task.group = columns.bytes(17);
  if (!columns.null(18)) task.headers = read_map(columns.bytes(18));
  task.payload = columns.bytes(19);
  if (!columns.null(20)) task.worker = id_text(columns.bytes(20));
  task.started_at = time_of(columns.optional_integer(21));
  row.marked = columns.boolean(22);
  row.signal = static_cast<Signal>(columns.integer(23));
  task.attempt = number(24, 0);
  task.retries = number(25, 0);
  task.crashes = number(26, 0);
  task.deferrals = number(27, 0);
  row.attempts_kept = columns.integer(28);
  row.logs_kept = columns.integer(29);
  task.ended_at = time_of(columns.optional_integer(30));
  task.reason = columns.bytes(31);
  task.progress = columns.bytes(32);
  task.error = columns.bytes(33);
  task.result = columns.bytes(34);
  return row;
}

template <class Query, class Scope>
std::vector<Row> read_rows(Query columns, Scope& scope) {
  std::vector<Row> rows;
  rows.reserve(static_cast<std::size_t>(columns.rows()));
  while (columns.step()) rows.push_back(read_row(columns, scope));
  return rows;
}

/// One for each ref. The refs must not hold one twice if rows are moved from.
template <class Query, class Scope>
std::vector<std::optional<Row>> match_rows(Query columns, std::span<const Ref> refs, Scope& scope) {
  std::vector<std::optional<Row>> rows(refs.size());
  std::multimap<Ref, std::size_t> places;
  for (std::size_t i = 0; i < refs.size(); ++i) places.emplace(refs[i], i);
  while (columns.step()) {
    Row row = read_row(columns, scope);
    const auto [first, last] = places.equal_range(row.task.ref);
    for (auto at = first; at != last; ++at) rows[at->second] = row;
  }
  return rows;
}

/// Of id, host, state, queues, pid, slots, busy, stuck, started_at and beat_at.
template <class Query>
std::vector<WorkerInfo> read_workers(Query row) {
  std::vector<WorkerInfo> infos;
  while (row.step()) {
    WorkerInfo info;
    info.id = row.bytes(0);
    info.host = row.bytes(1);
    info.state = row.bytes(2);
    for (const auto& [name, weight] : read_map(row.bytes(3))) info.queues[name] = std::stoi(weight);
    info.pid = row.integer(4);
    info.slots = static_cast<std::int32_t>(row.integer(5));
    info.busy = static_cast<std::int32_t>(row.integer(6));
    info.stuck = static_cast<std::int32_t>(row.integer(7));
    info.started_at = time_of(row.integer(8));
    info.beat_at = time_of(row.integer(9));
    infos.push_back(std::move(info));
  }
  return infos;
}

/// Of at, queue, kind, success, failure, crash and busy: those of `queue`; empty: of all.
template <class Query, class Scope>
std::vector<Stat> read_stats(Query row, Scope& scope, std::string_view queue) {
  std::vector<Stat> stats;
  while (row.step()) {
    Stat stat;
    stat.queue = scope.queue_name(row.integer(1));
    if (!queue.empty() && stat.queue != queue) continue;
    stat.at = time_of(row.integer(0));
    stat.kind = scope.kind_name(row.integer(2));
    stat.success = static_cast<std::uint64_t>(row.integer(3));
    stat.failure = static_cast<std::uint64_t>(row.integer(4));
    stat.crash = static_cast<std::uint64_t>(row.integer(5));
    stat.busy = Duration{row.integer(6)};
    stats.push_back(std::move(stat));
  }
  std::sort(stats.begin(), stats.end(), [](const Stat& a, const Stat& b) {
    return std::tie(a.at, a.queue, a.kind) < std::tie(b.at, b.queue, b.kind);
  });
  return stats;
}

/// Of number, started_at, ended_at, worker, error and logs.
template <class Query>
std::vector<Attempt> read_attempts(Query row) {
  std::vector<Attempt> attempts;
  while (row.step()) {
    Attempt attempt;
    attempt.number = static_cast<std::int32_t>(row.integer(0));
    attempt.started_at = time_of(row.integer(1));
    attempt.ended_at = time_of(row.integer(2));
    attempt.worker = id_text(row.bytes(3));
    attempt.error = row.bytes(4);
    read_lines(row.bytes(5), attempt.logs);
    attempts.push_back(std::move(attempt));
  }
  return attempts;
}

/// Of id, owner, rule, paused, next and last.
template <class Query>
std::vector<StoredSchedule> read_schedules(Query row) {
  std::vector<StoredSchedule> schedules;
  while (row.step()) {
    StoredSchedule schedule;
    schedule.id = row.bytes(0);
    schedule.owner = row.bytes(1);
    schedule.rule = row.bytes(2);
    schedule.paused = row.boolean(3);
    schedule.next = time_of(row.integer(4));
    schedule.last = time_of(row.optional_integer(5));
    schedules.push_back(std::move(schedule));
  }
  return schedules;
}

}  // namespace tidemill::sql_store
