#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/postgres/database.hpp"
#include "stores/postgres/layout.hpp"
#include "stores/sql/read.hpp"

/// Tasks as rows: how they are read, and the few ways in which they move and go. All of these run inside the
/// caller's transaction, and on many rows at once.
namespace tidemill::postgres_store {

/// What `sql_store::read_row` reads: the first columns of a SELECT from `tidemill_job j`.
inline constexpr char job_columns[] =
    "j.seq, j.line, j.at, j.since, j.claim, j.was_due, j.id, j.kind, j.created_at, j.priority, "
    "j.retries_max, j.crashes_max, j.timeout, j.retention, j.deadline, j.expires_at, j.key, j.task_group, "
    "j.headers, j.payload, j.worker, j.started_at, j.marked, j.signal, j.attempt, j.retries, j.crashes, "
    "j.deferrals, j.attempts_kept, j.logs_kept, j.ended_at, j.reason, j.progress, j.error, j.result";

using sql_store::match_rows;
using sql_store::read_row;
using sql_store::read_rows;
using sql_store::Row;

/// What asks for rows by queue and id; those of queues that were never seen aren't asked for.
void add_refs(Scope& scope, std::span<const Ref> refs, Batch& batch, bool lock);
/// And what `match_rows` makes of the answer.
std::vector<std::optional<Row>> find_rows(Scope& scope, std::span<const Ref> refs, bool lock);

/// Gives the tasks the unique keys that they hold at `now`.
void add_uniques(Scope& scope, std::span<Row* const> rows, TimePoint now);

/// The tasks come into another state, or to another place in the same; those leased are no longer.
struct Move {
  const Row* row = nullptr;
  State to = State::pending;
  TimePoint at{};
};
/// Counts a move, which the caller writes: where it came from, and where it goes to.
void count_move(Write& write, const Move& move);
void move_rows(Write& write, std::span<const Move> moves);

/// The tasks go, with their attempts, lines of log and unique keys, unless those outlive them.
void erase_rows(Write& write, std::span<const Row* const> rows);

/// The unique keys are free again, unless they outlive their tasks.
void release_keys(Write& write, std::span<const Row* const> rows);

/// All lines that beats have brought for the running attempts, which are dropped: one list for each row.
std::vector<std::vector<LogLine>> take_logs(Write& write, std::span<const Row* const> rows);

}  // namespace tidemill::postgres_store
