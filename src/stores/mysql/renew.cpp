#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr char held[] =
    "$1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq AND j.claim = t.claim AND j.id "
    "= t.id";
constexpr auto extend_text = join("UPDATE ", held,
                                  " SET j.at = $2, j.marked = CASE WHEN t.started THEN TRUE ELSE j.marked "
                                  "END, j.progress = COALESCE(t.progress, j.progress)");
constexpr Sql extend_jobs{extend_text.data()};
constexpr auto get_held_text = join("SELECT j.seq, j.claim, j.asked, j.logs_kept FROM ", held);
constexpr Sql get_held{get_held_text.data()};

}  // namespace

const sql_store::RenewalStatements Mysql::renewal{
    .get_signal = {"SELECT asked FROM main.worker WHERE id = $1 FOR UPDATE"},
    .put_worker = {"INSERT INTO main.worker (id, host, state, queues, pid, slots, busy, stuck, started_at, "
                   "beat_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON DUPLICATE KEY UPDATE host = "
                   "$2, state = $3, queues = $4, pid = $5, slots = $6, busy = $7, stuck = $8, started_at = "
                   "$9, beat_at = $10, asked = 0"},
    .erase_worker = {"DELETE FROM main.worker WHERE id = $1"},
    .add_logs = {"INSERT INTO main.log (seq, n, text) VALUES $1"},
    .count_logs = {"UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET "
                   "j.logs_kept = t.n"},
    .add_stats = {"INSERT INTO main.stat (span, at, queue, kind, success, failure, crash, busy) VALUES $1 ON "
                  "DUPLICATE KEY UPDATE success = success + VALUES(success), failure = failure + "
                  "VALUES(failure), crash = crash + VALUES(crash), busy = busy + VALUES(busy)"},
};

void Mysql::add_extension(Batch& batch, const sql_store::Extensions<Table>& leases, TimePoint until) {
  batch.add(extend_jobs, leases, stored(until));
  batch.add(get_held, leases);
}

}  // namespace tidemill::mysql_store
