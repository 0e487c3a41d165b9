#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

namespace {

// The most frequent report by far: a success that is not kept, of a task without key and history. It is
// deleted without being read before.
constexpr Sql finish_jobs{
    "DELETE FROM main.tidemill_job j USING unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[]) AS "
    "t(seq, claim, queue, id) WHERE j.seq = t.seq AND j.claim = t.claim AND j.queue = t.queue AND j.id = "
    "t.id AND j.key IS NULL AND j.attempts_kept IS NULL AND j.logs_kept IS NULL RETURNING j.seq"};

}  // namespace

const sql_store::ReportStatements Postgres::report{
    .end_attempts =
        {"UPDATE main.tidemill_job j SET line = t.line, at = t.at, since = t.at, claim = $14, was_due = "
         "NULL, marked = NULL, signal = NULL, logs_kept = NULL, attempt = t.attempt, retries = t.retries, "
         "crashes = t.crashes, deferrals = t.deferrals, attempts_kept = t.attempts_kept, ended_at = "
         "t.ended_at, purge_at = t.purge_at, reason = t.reason, error = t.error, result = t.result FROM "
         "unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], "
         "$7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bytea[], $12::bytea[], $13::bytea[]) "
         "AS t(seq, line, at, attempt, retries, crashes, deferrals, attempts_kept, ended_at, purge_at, "
         "reason, error, result) WHERE j.seq = t.seq"},
    .add_attempts = {"INSERT INTO main.tidemill_attempt (seq, n, number, started_at, ended_at, worker, "
                     "error, logs) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], "
                     "$4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[], $8::bytea[])"},
    .drop_attempts = {"DELETE FROM main.tidemill_attempt WHERE seq = $1 AND n <= $2"},
    .change_tasks =
        {"UPDATE main.tidemill_job j SET line = t.line, at = $3, since = $3, claim = $4, was_due = NULL, "
         "ended_at = $5, purge_at = $6, reason = $7, retries = CASE WHEN NOT $8 THEN retries END, crashes = "
         "CASE WHEN NOT $8 THEN crashes END, deferrals = CASE WHEN NOT $8 THEN deferrals END FROM "
         "unnest($1::bigint[], $2::bigint[]) AS t(seq, line) WHERE j.seq = t.seq"},
    .set_signals = {"UPDATE main.tidemill_job SET signal = $2 WHERE seq = ANY($1::bigint[])"},
};

std::set<std::int64_t> Postgres::end_simple(Write& write, const sql_store::SimpleEnds<Table>& ends) {
  std::set<std::int64_t> gone;
  auto row = write.ask(finish_jobs, ends);
  while (row.step()) gone.insert(row.integer(0));
  return gone;
}

}  // namespace tidemill::postgres_store
