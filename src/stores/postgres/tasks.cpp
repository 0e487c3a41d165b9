#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

namespace {

// In the order of their numbers, in which everybody locks rows, so that no two wait for each other.
constexpr auto lock_text =
    join("SELECT ", job_columns,
         " FROM unnest($1::bigint[], $2::bytea[]) AS t(queue, id) JOIN main.tidemill_job j ON j.queue = "
         "t.queue AND j.id = t.id ORDER BY j.seq FOR UPDATE OF j");
constexpr auto get_text = join("SELECT ", job_columns,
                               " FROM unnest($1::bigint[], $2::bytea[]) AS t(queue, id) JOIN "
                               "main.tidemill_job j ON j.queue = t.queue AND j.id = t.id");
constexpr Sql take_logs_sql{
    "DELETE FROM main.tidemill_log WHERE seq = ANY($1::bigint[]) RETURNING seq, n, lines"};

}  // namespace

const sql_store::TaskStatements Postgres::tasks{
    .get_refs = {get_text.data()},
    .lock_refs = {lock_text.data()},
    .get_keys = {"SELECT k.seq, k.length, k.outlives FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS "
                 "t(queue, key, seq) JOIN main.tidemill_key k ON k.queue = t.queue AND k.key = t.key AND "
                 "k.seq = t.seq WHERE k.until IS NULL OR k.until > $4"},
    .free_keys =
        {"DELETE FROM main.tidemill_key k USING unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS t(queue, "
         "key, seq) WHERE k.queue = t.queue AND k.key = t.key AND k.seq = t.seq AND NOT k.outlives"},
    .orphan_keys =
        {"UPDATE main.tidemill_key k SET seq = NULL FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS "
         "t(queue, key, seq) WHERE k.queue = t.queue AND k.key = t.key AND k.seq = t.seq"},
    .erase_tasks = {"DELETE FROM main.tidemill_job WHERE seq = ANY($1::bigint[])"},
    .erase_attempts = {"DELETE FROM main.tidemill_attempt WHERE seq = ANY($1::bigint[])"},
    .erase_logs = {"DELETE FROM main.tidemill_log WHERE seq = ANY($1::bigint[])"},
};

Query Postgres::take_logs(Write& write, const Table<sql_store::Number<"seq">>& seqs) {
  return write.ask(take_logs_sql, seqs);
}

}  // namespace tidemill::postgres_store
