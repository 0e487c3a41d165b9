// What has no code of its own here.
#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

namespace {

// Whoever comes second waits for the first, and changes nothing. `until` comes last, as what follows an
// assignment sees it.
constexpr Sql put{
    "INSERT INTO main.lock (digest, name, owner, fence, until) VALUES (UNHEX(SHA2($1, 256)), $1, $2, $3, $4) "
    "ON DUPLICATE KEY UPDATE owner = IF(until <= $5, $2, owner), fence = IF(until <= $5, $3, fence), until = "
    "IF(until <= $5, $4, until)"};
constexpr Sql is_held{"SELECT 1 FROM main.lock WHERE digest = UNHEX(SHA2($1, 256)) AND fence = $2"};

constexpr char named[] =
    "$1 AS t STRAIGHT_JOIN main.document d FORCE INDEX (PRIMARY) ON d.folder_digest = UNHEX(SHA2(t.folder, "
    "256)) AND d.digest = UNHEX(SHA2(t.name, 256))";
constexpr auto get_some_text = join("SELECT t.n, d.name, d.text, d.version, d.expires_at FROM ", named,
                                    " WHERE d.expires_at IS NULL OR d.expires_at > $2");
constexpr auto lock_versions_text =
    join("SELECT d.folder, d.name, d.version, d.expires_at FROM ", named, " FOR UPDATE");

constexpr auto seen_states_text =
    join("SELECT queue, state FROM ", all_counts, " GROUP BY queue, state HAVING SUM(tasks) > 0");

// Three ranges of the index, one behind the other: the optimizer takes (line, at, seq) > (…) for none.
constexpr auto next_text =
    join("SELECT ", job_columns,
         " FROM main.job j FORCE INDEX (line) WHERE (j.line = $1 AND j.at = $2 AND j.seq > $3) OR (j.line = "
         "$1 AND j.at > $2) OR (j.line > $1 AND j.line <= $4) ORDER BY j.line, j.at, j.seq LIMIT $5");

}  // namespace

const sql_store::LockStatements Mysql::locks{
    .get = {"SELECT name, owner, fence, until FROM main.lock WHERE digest = UNHEX(SHA2($1, 256)) AND until > "
            "$2"},
    .get_held = {"SELECT name, owner, fence, until FROM main.lock WHERE name > $1 AND until > $2 ORDER BY "
                 "name LIMIT $3"},
    .set_until = {"UPDATE main.lock SET until = $5 WHERE digest = UNHEX(SHA2($1, 256)) AND owner = $2 AND "
                  "fence = $3 AND until > $4"},
    .drop = {"DELETE FROM main.lock WHERE digest = UNHEX(SHA2($1, 256)) AND owner = $2 AND fence = $3 AND "
             "until > $4"},
};

bool Mysql::put_lock(Write& write, std::string_view name, std::string_view owner, std::int64_t fence,
                     TimePoint until, TimePoint now) {
  write.tell(put, Blob{name}, Blob{owner}, fence, stored(until), stored(now));
  return write.any(is_held, Blob{name}, fence);
}

const sql_store::DocumentStatements Mysql::documents{
    .get_some = {get_some_text.data()},
    .get_folder =
        {"SELECT name, text, version, expires_at FROM main.document WHERE folder_digest = UNHEX(SHA2($1, "
         "256)) AND name > $2 AND (expires_at IS NULL OR expires_at > $3) ORDER BY name LIMIT $4"},
    .lock_versions = {lock_versions_text.data()},
    .lock_counter = {"SELECT value FROM main.meta WHERE name = 'version' FOR UPDATE"},
    .set_counter = {"UPDATE main.meta SET value = $1 WHERE name = 'version'"},
    .put = {"INSERT INTO main.document (folder_digest, digest, folder, name, version, expires_at, text) "
            "VALUES (UNHEX(SHA2($1, 256)), UNHEX(SHA2($2, 256)), $1, $2, $3, $4, $5) ON DUPLICATE KEY UPDATE "
            "version = VALUES(version), expires_at = VALUES(expires_at), text = VALUES(text)"},
    .drop = {"DELETE FROM main.document WHERE folder_digest = UNHEX(SHA2($1, 256)) AND digest = "
             "UNHEX(SHA2($2, 256))"},
};

const sql_store::ScheduleStatements Mysql::schedules{
    .get_all = {"SELECT id, owner, rule, paused, next, last FROM main.schedule ORDER BY id"},
    .get_due = {"SELECT id, owner, rule, paused, next, last FROM main.schedule WHERE NOT paused AND next <= "
                "$1 ORDER BY id"},
    .put_new = {"INSERT IGNORE INTO main.schedule (id, owner, rule, paused, next, last) VALUES ($1, $2, $3, "
                "$4, $5, $6)"},
    .put_over = {"UPDATE main.schedule SET owner = $2, rule = $3, paused = $4, next = $5, last = $6 WHERE id "
                 "= $1 AND next = $7"},
    .erase = {"DELETE FROM main.schedule WHERE id IN $1"},
};

const sql_store::EditStatements Mysql::edit{
    .edit_task = {"UPDATE main.job SET line = $2, kind = $3, payload = $4, priority = $5, retries_max = $6, "
                  "crashes_max = $7, timeout = $8, retention = $9, deadline = $10, expires_at = $11, headers "
                  "= $12, unique_key = $13 WHERE seq = $1"},
    .move_to_queue =
        {"UPDATE main.job SET queue = $2, line = $3, at = $4, since = $4, was_due = NULL WHERE seq = $1"},
    .holds_key = {"SELECT 1 FROM main.key WHERE queue = $1 AND unique_key = $2 AND seq = $3 AND (until IS "
                  "NULL OR until > $4) FOR UPDATE"},
    .has_key = {"SELECT 1 FROM main.key WHERE queue = $1 AND unique_key = $2"},
    .forget_key = {"DELETE FROM main.key WHERE queue = $1 AND unique_key = $2 AND until <= $3"},
    .pass_key_on = {"UPDATE main.key SET queue = $3, unique_key = $4 WHERE queue = $1 AND unique_key = $2"},
};

const sql_store::FindStatements Mysql::find{
    .all_queues = {"SELECT id, name FROM main.queue ORDER BY name"},
    .one_queue = {"SELECT id, name FROM main.queue WHERE name = $1"},
    .seen_states = {seen_states_text.data()},
    .next_rows = {next_text.data()},
};

}  // namespace tidemill::mysql_store
