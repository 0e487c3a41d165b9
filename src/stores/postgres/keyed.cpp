#include "stores/postgres/keyed.hpp"

#include <algorithm>
#include <set>

#include "stores/sql/keyed.hpp"

namespace tidemill::postgres_store {

using sql_store::Bytes;
using sql_store::Flag;
using sql_store::Number;

namespace {

constexpr Sql next_seqs{"SELECT nextval('main.tidemill_job_seq_seq') FROM generate_series(1, $1::bigint)"};
// A key whose window has run out is anybody's.
constexpr Sql take_keys{
    "INSERT INTO main.tidemill_key AS k (queue, key, id, seq, until, length, outlives) SELECT t.queue, "
    "t.key, t.id, t.seq, t.until, t.length, t.outlives FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], "
    "$4::bigint[], $5::bigint[], $6::bigint[], $7::boolean[]) AS t(queue, key, id, seq, until, length, "
    "outlives) ORDER BY t.queue, t.key ON CONFLICT (queue, key) DO UPDATE SET id = excluded.id, seq = "
    "excluded.seq, until = excluded.until, length = excluded.length, outlives = excluded.outlives WHERE "
    "k.until <= $8 RETURNING k.seq"};
constexpr Sql drop_key{"DELETE FROM main.tidemill_key WHERE queue = $1 AND key = $2 AND seq = $3"};
constexpr auto lock_text =
    join("SELECT ", job_columns, " FROM main.tidemill_job j WHERE j.seq = $1 FOR UPDATE OF j");
constexpr Sql renew_held{
    "UPDATE main.tidemill_key SET until = $4, length = $5, outlives = $6 WHERE queue = $1 AND key = $2 AND "
    "seq = $3 AND (until IS NULL OR until > $7)"};
constexpr char holders_text[] =
    "SELECT t.n, k.id, k.seq, j.line, j.attempt, j.crashes, k.outlives FROM unnest($1::bigint[], "
    "$2::bigint[], $3::bytea[]) AS t(n, queue, key) JOIN main.tidemill_key k ON k.queue = t.queue AND k.key "
    "= t.key LEFT JOIN main.tidemill_job j ON j.seq = k.seq WHERE k.until IS NULL OR k.until > $4";

}  // namespace

const sql_store::KeyStatements Postgres::keys{
    .has_ids = {"SELECT t.n FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) AS t(n, queue, id) JOIN "
                "main.tidemill_job j ON j.queue = t.queue AND j.id = t.id"},
    .get_holders = {holders_text},
    .get_holders_now = {holders_text},  // Each statement sees what is committed by then.
    .lock_task = {lock_text.data()},
    .overwrite = {"UPDATE main.tidemill_job SET line = $2, at = $3, since = $3, was_due = NULL, kind = $4, "
                  "payload = $5, priority = $6, retries_max = $7, crashes_max = $8, timeout = $9, retention "
                  "= $10, deadline = $11, expires_at = $12, task_group = $13, headers = $14 WHERE seq = $1"},
    .get_schedule = {"SELECT next, paused FROM main.tidemill_schedule WHERE id = $1 FOR UPDATE"},
    .move_schedule = {"UPDATE main.tidemill_schedule SET next = $2, last = $3 WHERE id = $1"},
};

void Postgres::number(Write& write, const std::vector<Entry*>& entries) {
  auto seqs = write.ask(next_seqs, static_cast<std::int64_t>(entries.size()));
  for (Entry* const entry : entries) {
    seqs.step();
    entry->seq = seqs.integer(0);
  }
}

bool Postgres::renew_key(Write& write, const Entry& entry, std::int64_t holder, TimePoint now) {
  const Unique& unique = *entry.task->unique;
  return write.run(renew_held, entry.queue, Blob{unique.key}, holder, sql_store::until_of(unique, now),
                   stored(unique.window), unique.outlives_task, stored(now)) > 0;
}

void KeyTaking::take(const std::vector<Entry*>& entries, std::vector<Entry*>& to,
                     std::vector<Entry*>& again) {
  Arrays<Number<"queue">, Bytes<"key">, Bytes<"id">, Number<"seq">, Number<"until">, Number<"length">,
         Flag<"outlives">>
      rows;
  for (const Entry* const entry : entries) {
    const Unique& unique = *entry->task->unique;
    rows.add(entry->queue, Blob{unique.key}, Blob{stored_id(entry->task->ref.id)}, entry->seq,
             sql_store::until_of(unique, now_), stored(unique.window), unique.outlives_task);
  }
  std::set<std::int64_t> taken;
  auto row = write_.ask(take_keys, rows, stored(now_));
  while (row.step()) taken.insert(row.integer(0));
  for (Entry* const entry : entries) (taken.contains(entry->seq) ? to : again).push_back(entry);
}

void KeyTaking::settle(const std::vector<Entry*>& entries) {
  for (const Entry* const entry : entries) {
    if (entry->answer.put == Put::created || !entry->task->unique) continue;
    write_.tell(drop_key, entry->queue, Blob{entry->task->unique->key}, entry->seq);  // Its id was taken.
  }
}

}  // namespace tidemill::postgres_store
