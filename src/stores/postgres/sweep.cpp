#include <algorithm>
#include <utility>

#include "stores/postgres/database.hpp"
#include "stores/sql/sweep.hpp"

namespace tidemill::postgres_store {

namespace {

constexpr Sql any_past{
    "SELECT 1 FROM unnest($1::bigint[]) AS l(line) WHERE EXISTS (SELECT 1 FROM main.tidemill_job j WHERE "
    "j.line = l.line AND j.at <= $2) LIMIT 1"};
constexpr auto lapsed_text =
    join("SELECT ", job_columns,
         " FROM main.tidemill_job j JOIN (SELECT d.place FROM unnest($1::bigint[]) AS l(line), LATERAL "
         "(SELECT i.ctid AS place, i.seq, i.at FROM main.tidemill_job i WHERE i.line = l.line AND i.at <= $2 "
         "ORDER BY i.at, i.seq LIMIT $3) d ORDER BY d.at, d.seq LIMIT $3) e ON e.place = j.ctid WHERE j.at "
         "<= $2 ORDER BY j.at, j.seq FOR UPDATE OF j SKIP LOCKED");
constexpr Sql get_lapsed{lapsed_text.data()};
constexpr auto past_retention_text =
    join("SELECT ", job_columns,
         " FROM main.tidemill_job j WHERE j.purge_at IS NOT NULL AND j.purge_at <= $1 ORDER BY j.purge_at, "
         "j.seq LIMIT $2 FOR UPDATE OF j SKIP LOCKED");
constexpr Sql past_retention{past_retention_text.data()};
constexpr Sql fold_all{
    "WITH gone AS (DELETE FROM main.tidemill_delta RETURNING queue, state, tasks) INSERT INTO "
    "main.tidemill_counter AS c (queue, state, lane, tasks) SELECT queue, state, 0, sum(tasks) FROM gone "
    "GROUP BY queue, state ORDER BY queue, state ON CONFLICT (queue, state, lane) DO UPDATE SET tasks = "
    "c.tasks + excluded.tasks"};

}  // namespace

const sql_store::SweepStatements Postgres::sweep{
    .queues_with = {"SELECT state, queue FROM main.tidemill_count WHERE state IN (1, 3, 4) GROUP BY state, "
                    "queue HAVING sum(tasks) > 0 ORDER BY queue"},
    // Times: now, since when workers are silent, before which minutes and days go.
    .any_leftover =
        {"SELECT 1 WHERE EXISTS (SELECT 1 FROM main.tidemill_job WHERE purge_at IS NOT NULL AND purge_at <= "
         "$1) OR EXISTS (SELECT 1 FROM main.tidemill_set WHERE until <= $1) OR EXISTS (SELECT 1 FROM "
         "main.tidemill_key WHERE until IS NOT NULL AND until <= $1) OR EXISTS (SELECT 1 FROM "
         "main.tidemill_lock WHERE until <= $1) OR EXISTS (SELECT 1 FROM main.tidemill_document WHERE "
         "expires_at IS NOT NULL AND expires_at <= $1) OR EXISTS (SELECT 1 FROM main.tidemill_worker WHERE "
         "beat_at <= $2) OR EXISTS (SELECT 1 FROM main.tidemill_stat WHERE span = 0 AND at < $3) OR EXISTS "
         "(SELECT 1 FROM main.tidemill_stat WHERE span = 1 AND at < $4) OR EXISTS (SELECT 1 FROM "
         "main.tidemill_delta) OR EXISTS (SELECT 1 FROM main.tidemill_joined) OR EXISTS (SELECT 1 FROM "
         "main.tidemill_session WHERE used_at < now() - interval '1 day')"},
    .take_over = {"UPDATE main.tidemill_job j SET at = $3, claim = t.claim, worker = $4 FROM "
                  "unnest($1::bigint[], $2::bigint[]) AS t(seq, claim) WHERE j.seq = t.seq"},
    .drop_keys = {"DELETE FROM main.tidemill_key WHERE (queue, key) IN (SELECT queue, key FROM "
                  "main.tidemill_key WHERE until IS NOT NULL AND until <= $1 LIMIT $2) AND until <= $1"},
    .drop_workers = {"DELETE FROM main.tidemill_worker WHERE id IN (SELECT id FROM main.tidemill_worker "
                     "WHERE beat_at <= $1 LIMIT $2) AND beat_at <= $1"},
    .drop_stats = {"DELETE FROM main.tidemill_stat WHERE (span, at, queue, kind) IN (SELECT span, at, queue, "
                   "kind FROM main.tidemill_stat WHERE span = $1 AND at < $2 LIMIT $3)"},
    .drop_locks = {"DELETE FROM main.tidemill_lock WHERE name IN (SELECT name FROM main.tidemill_lock WHERE "
                   "until <= $1 LIMIT $2) AND until <= $1"},
    .drop_documents = {"DELETE FROM main.tidemill_document WHERE (folder, name) IN (SELECT folder, name FROM "
                       "main.tidemill_document WHERE expires_at IS NOT NULL AND expires_at <= $1 LIMIT $2) "
                       "AND expires_at <= $1"},
    .drop_sessions = {"DELETE FROM main.tidemill_session WHERE used_at < now() - interval '1 day'"},
};

void Postgres::add_any_past(Batch& batch, const std::vector<std::int64_t>& lines, TimePoint now) {
  batch.add(any_past, lines, stored(now));
}

std::vector<Row> Postgres::lapsed_rows(Write& write, const std::vector<std::int64_t>& lines,
                                       std::size_t limit, TimePoint now) {
  return read_rows(write.ask(get_lapsed, lines, stored(now), static_cast<std::int64_t>(limit)), write);
}

std::size_t Postgres::purge(Write& write, std::size_t limit, TimePoint now) {
  const auto rows =
      read_rows(write.ask(past_retention, stored(now), static_cast<std::int64_t>(limit)), write);
  std::vector<const Row*> all;
  for (const Row& row : rows) all.push_back(&row);
  erase_rows(write, all);
  return rows.size();
}

void Postgres::fold_deltas(Write& write) { write.tell(fold_all); }

}  // namespace tidemill::postgres_store
