#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

namespace {

// The most frequent report by far: a success that is not kept, of a task without key and history. Only so
// much of it is read.
constexpr Sql lock_simple{
    "SELECT j.seq FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq WHERE j.claim "
    "= t.claim AND j.queue = t.queue AND j.id = t.id AND j.unique_key IS NULL AND j.attempts_kept IS NULL "
    "AND j.logs_kept IS NULL FOR UPDATE"};
constexpr Sql erase_simple{
    "DELETE j FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq"};
// What is there already is from an earlier end of the same task.
constexpr Sql add_purges{"INSERT IGNORE INTO main.purge (at, seq) VALUES $1"};

}  // namespace

const sql_store::ReportStatements Mysql::report{
    .end_attempts =
        {"UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET j.line = "
         "t.line, j.at = t.at, j.since = t.at, j.claim = $2, j.was_due = NULL, j.marked = NULL, j.asked = "
         "NULL, j.logs_kept = NULL, j.attempt = t.attempt, j.retries = t.retries, j.crashes = t.crashes, "
         "j.deferrals = t.deferrals, j.attempts_kept = t.attempts_kept, j.ended_at = t.ended_at, j.purge_at "
         "= t.purge_at, j.reason = t.reason, j.error = t.error, j.result = t.result"},
    .add_attempts =
        {"INSERT INTO main.attempt (seq, n, number, started_at, ended_at, worker, error, logs) VALUES $1"},
    .drop_attempts = {"DELETE FROM main.attempt WHERE seq = $1 AND n <= $2"},
    .change_tasks =
        {"UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET j.line = "
         "t.line, j.at = $2, j.since = $2, j.claim = $3, j.was_due = NULL, j.ended_at = $4, j.purge_at = $5, "
         "j.reason = $6, j.retries = CASE WHEN NOT $7 THEN j.retries END, j.crashes = CASE WHEN NOT $7 THEN "
         "j.crashes END, j.deferrals = CASE WHEN NOT $7 THEN j.deferrals END"},
    .set_signals =
        {"UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET j.asked = $2"},
};

std::set<std::int64_t> Mysql::end_simple(Write& write, const sql_store::SimpleEnds<Table>& ends) {
  std::set<std::int64_t> gone;
  Table<sql_store::Number<"seq">> erased;
  auto row = write.ask(lock_simple, ends);
  while (row.step()) {
    gone.insert(row.integer(0));
    erased.add(row.integer(0));
  }
  if (!erased.empty()) write.tell(erase_simple, erased);
  return gone;
}

void Mysql::Purges::tell(Write& write) {
  if (!rows_.empty()) write.tell(add_purges, rows_);
  rows_.clear();
}

}  // namespace tidemill::mysql_store
