#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/sql/row.hpp"
#include "stores/sqlite/layout.hpp"
#include "stores/sqlite/write.hpp"

/// Tasks as rows: how they are read, and the few ways in which they move and go. All of these run inside the
/// caller's transaction.
namespace tidemill::sqlite_store {

/// What `read_job` reads: the first columns of a SELECT from `tidemill_job j`.
inline constexpr char job_columns[] =
    "j.seq, j.line, j.at, j.since, j.claim, j.was_due, j.has_run, j.id, j.kind, j.created_at, j.priority, "
    "j.retries_max, j.crashes_max, j.timeout, j.retention, j.deadline, j.expires_at, j.key, j.task_group, "
    "j.headers, j.payload";

/// What `read_run` reads, from `tidemill_run r`.
inline constexpr char run_columns[] =
    "r.worker, r.started_at, r.marked, r.signal, r.attempt, r.retries, r.crashes, r.deferrals, "
    "r.attempts_kept, "
    "r.logs_kept, r.ended_at, r.reason, r.progress, r.error, r.result";

/// What `read_row` reads: both, and who has the lease.
inline constexpr auto row_columns = sqlite::join(job_columns, ", ", run_columns, ", c.worker, c.started_at");
/// Where it reads them from.
inline constexpr char row_tables[] =
    " FROM main.tidemill_job j LEFT JOIN main.tidemill_run r ON r.seq = j.seq "
    "LEFT JOIN main.tidemill_claim c ON c.id = j.claim ";

struct Row : sql_store::Row {
  bool has_run = false;  ///< There is a row of its run.
};

/// The whole task as the catalogue shows it, but for `unique`.
void read_row(const sqlite::Query& columns, Scope& scope, Row& row);
void read_job(const sqlite::Query& columns, Scope& scope, Row& row);
void read_run(const sqlite::Query& columns, int first, Row& row);

/// None when there is no such task.
std::optional<Row> find_row(Scope& scope, const Ref& ref);

/// Whether the queue has a task of this id.
bool has_id(Scope& scope, std::int64_t queue, const StoredId& id);

/// The unique key of a task that it holds at `now`.
std::optional<Unique> read_unique(Scope& scope, const sql_store::Row& row, TimePoint now);

/// Makes sure that there is a run to write into.
void need_run(Write& write, const Row& row);

/// The task comes into another state, or to another place in the same; if it was leased, it is no longer.
void move_row(Write& write, const Row& row, State to, TimePoint at);

/// The task goes, with its attempts, lines of log and unique key, unless that outlives it.
void erase_row(Write& write, const Row& row);

/// The unique key is free again, unless it outlives the task.
void release_key(Write& write, const Row& row);

/// All lines that beats have brought for the running attempt, which are dropped.
std::vector<LogLine> take_logs(Write& write, const Row& row);

}  // namespace tidemill::sqlite_store
