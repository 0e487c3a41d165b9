// What has no code of its own here.
#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

namespace {

// Whoever comes second waits for the first, and changes nothing.
constexpr Sql put{
    "INSERT INTO main.tidemill_lock AS l (name, owner, fence, until) VALUES ($1, $2, $3, $4) ON CONFLICT "
    "(name) DO UPDATE SET owner = excluded.owner, fence = excluded.fence, until = excluded.until WHERE "
    "l.until <= $5"};

constexpr auto next_text = join("SELECT ", job_columns,
                                " FROM main.tidemill_job j WHERE (j.line, j.at, j.seq) > ($1, $2, $3) AND "
                                "j.line <= $4 ORDER BY j.line, j.at, j.seq LIMIT $5");

}  // namespace

const sql_store::LockStatements Postgres::locks{
    .get = {"SELECT name, owner, fence, until FROM main.tidemill_lock WHERE name = $1 AND until > $2"},
    .get_held = {"SELECT name, owner, fence, until FROM main.tidemill_lock WHERE name > $1 AND until > $2 "
                 "ORDER BY name LIMIT $3"},
    .set_until = {"UPDATE main.tidemill_lock SET until = $5 WHERE name = $1 AND owner = $2 AND fence = $3 "
                  "AND until > $4"},
    .drop = {"DELETE FROM main.tidemill_lock WHERE name = $1 AND owner = $2 AND fence = $3 AND until > $4"},
};

bool Postgres::put_lock(Write& write, std::string_view name, std::string_view owner, std::int64_t fence,
                        TimePoint until, TimePoint now) {
  return write.run(put, Blob{name}, Blob{owner}, fence, stored(until), stored(now)) > 0;
}

const sql_store::DocumentStatements Postgres::documents{
    .get_some = {"SELECT t.n, d.name, d.text, d.version, d.expires_at FROM unnest($1::bigint[], $2::bytea[], "
                 "$3::bytea[]) AS t(n, folder, name) JOIN main.tidemill_document d ON d.folder = t.folder "
                 "AND d.name = t.name WHERE d.expires_at IS NULL OR d.expires_at > $4"},
    .get_folder = {"SELECT name, text, version, expires_at FROM main.tidemill_document WHERE folder = $1 AND "
                   "name > $2 AND (expires_at IS NULL OR expires_at > $3) ORDER BY name LIMIT $4"},
    .lock_versions = {"SELECT d.folder, d.name, d.version, d.expires_at FROM unnest($1::bytea[], "
                      "$2::bytea[]) AS t(folder, name) JOIN main.tidemill_document d ON d.folder = t.folder "
                      "AND d.name = t.name ORDER BY d.folder, d.name FOR UPDATE OF d"},
    .lock_counter = {"SELECT value FROM main.tidemill_meta WHERE name = 'version' FOR UPDATE"},
    .set_counter = {"UPDATE main.tidemill_meta SET value = $1 WHERE name = 'version'"},
    .put = {"INSERT INTO main.tidemill_document (folder, name, version, expires_at, text) VALUES ($1, $2, "
            "$3, $4, $5) ON CONFLICT (folder, name) DO UPDATE SET version = excluded.version, expires_at = "
            "excluded.expires_at, text = excluded.text"},
    .drop = {"DELETE FROM main.tidemill_document WHERE folder = $1 AND name = $2"},
};

const sql_store::ScheduleStatements Postgres::schedules{
    .get_all = {"SELECT id, owner, rule, paused, next, last FROM main.tidemill_schedule ORDER BY id"},
    .get_due = {"SELECT id, owner, rule, paused, next, last FROM main.tidemill_schedule WHERE NOT paused AND "
                "next <= $1 ORDER BY id"},
    .put_new = {"INSERT INTO main.tidemill_schedule (id, owner, rule, paused, next, last) VALUES ($1, $2, "
                "$3, $4, $5, $6) ON CONFLICT (id) DO NOTHING"},
    .put_over = {"UPDATE main.tidemill_schedule SET owner = $2, rule = $3, paused = $4, next = $5, last = $6 "
                 "WHERE id = $1 AND next = $7"},
    .erase = {"DELETE FROM main.tidemill_schedule WHERE id = ANY($1::bytea[])"},
};

const sql_store::EditStatements Postgres::edit{
    .edit_task = {"UPDATE main.tidemill_job SET line = $2, kind = $3, payload = $4, priority = $5, "
                  "retries_max = $6, crashes_max = $7, timeout = $8, retention = $9, deadline = $10, "
                  "expires_at = $11, headers = $12, key = $13 WHERE seq = $1"},
    .move_to_queue = {"UPDATE main.tidemill_job SET queue = $2, line = $3, at = $4, since = $4, was_due = "
                      "NULL WHERE seq = $1"},
    .holds_key = {"SELECT 1 FROM main.tidemill_key WHERE queue = $1 AND key = $2 AND seq = $3 AND (until IS "
                  "NULL OR until > $4) FOR UPDATE"},
    .has_key = {"SELECT 1 FROM main.tidemill_key WHERE queue = $1 AND key = $2"},
    .forget_key = {"DELETE FROM main.tidemill_key WHERE queue = $1 AND key = $2 AND until <= $3"},
    .pass_key_on = {"UPDATE main.tidemill_key SET queue = $3, key = $4 WHERE queue = $1 AND key = $2"},
};

const sql_store::FindStatements Postgres::find{
    .all_queues = {"SELECT id, name FROM main.tidemill_queue ORDER BY name"},
    .one_queue = {"SELECT id, name FROM main.tidemill_queue WHERE name = $1"},
    .seen_states =
        {"SELECT queue, state FROM main.tidemill_count GROUP BY queue, state HAVING sum(tasks) > 0"},
    .next_rows = {next_text.data()},
};

}  // namespace tidemill::postgres_store
