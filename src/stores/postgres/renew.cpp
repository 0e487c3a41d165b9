#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

namespace {

constexpr Sql extend_jobs{
    "UPDATE main.tidemill_job j SET at = $6, marked = CASE WHEN t.started THEN true ELSE j.marked END, "
    "progress = CASE WHEN t.progress IS NULL THEN j.progress ELSE t.progress END FROM unnest($1::bigint[], "
    "$2::bigint[], $3::bytea[], $4::boolean[], $5::bytea[]) AS t(seq, claim, id, started, progress) WHERE "
    "j.seq = t.seq AND j.claim = t.claim AND j.id = t.id RETURNING j.seq, j.claim, j.signal, j.logs_kept"};

}  // namespace

const sql_store::RenewalStatements Postgres::renewal{
    .get_signal = {"SELECT signal FROM main.tidemill_worker WHERE id = $1 FOR UPDATE"},
    .put_worker =
        {"INSERT INTO main.tidemill_worker (id, host, state, queues, pid, slots, busy, stuck, started_at, "
         "beat_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (id) DO UPDATE SET host = "
         "excluded.host, state = excluded.state, queues = excluded.queues, pid = excluded.pid, slots = "
         "excluded.slots, busy = excluded.busy, stuck = excluded.stuck, started_at = excluded.started_at, "
         "beat_at = excluded.beat_at, signal = 0"},
    .erase_worker = {"DELETE FROM main.tidemill_worker WHERE id = $1"},
    .add_logs = {"INSERT INTO main.tidemill_log (seq, n, lines) SELECT * FROM unnest($1::bigint[], "
                 "$2::bigint[], $3::bytea[])"},
    .count_logs = {"UPDATE main.tidemill_job j SET logs_kept = t.n FROM unnest($1::bigint[], $2::bigint[]) "
                   "AS t(seq, n) WHERE j.seq = t.seq"},
    .add_stats = {"INSERT INTO main.tidemill_stat AS s (span, at, queue, kind, success, failure, crash, "
                  "busy) SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], "
                  "$5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]) ON CONFLICT (span, at, queue, "
                  "kind) DO UPDATE SET success = s.success + excluded.success, failure = s.failure + "
                  "excluded.failure, crash = s.crash + excluded.crash, busy = s.busy + excluded.busy"},
};

void Postgres::add_extension(Batch& batch, const sql_store::Extensions<Table>& leases, TimePoint until) {
  batch.add(extend_jobs, leases, stored(until));
}

}  // namespace tidemill::postgres_store
