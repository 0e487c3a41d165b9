#include "stores/sqlite/schema.hpp"

#include <sqlite3.h>

#include <array>
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include <tidemill/error.hpp>

namespace tidemill::sqlite_store {

namespace {

// How to change the schema: append a step to `steps`, never edit one that was released. A step must leave
// what older processes do valid, as they may run on beside newer ones: add tables, columns that may be NULL,
// indexes.
//
// job: a task. NULL stands for what most tasks have. A claim rewrites its row in place, because all that
// changes has the same width before and after; a row that grew would split the full page that it lies in.
//   line, at    where it stands: layout.hpp
//   since       the place in line to give it back to, while it is leased; else as `at`
//   claim       the claim that leased it; else `no_claim`
//   was_due     1: `since` is the time for which it had been scheduled
//   has_run     1: it has a row in `run`
//   payload     last, as what lies behind a long one is slow to reach
// claim: one call's worth of leases. `id` is the secret part of their tokens; `held` counts them.
// run: what there is to know of a task that an attempt or an operator has touched.
// attempt, log: kept attempts; lines of the running one.
// key: unique keys. `seq` is the task, unless that is gone.
// counter: tasks by queue and state, exact at every commit.
// lock: those that are held or have run out; one that is released goes.
// group: tasks that wait in a group and in no set; found by index when they are many, or the first or the
// last
//   is old. `not_before` is there while it isn't due at all. A process of version 2 adds tasks without
//   counting them here; they go with the next of their group.
// set: gathered tasks' lease; the tasks have its number in `claim`.
// document: has a rowid, as a text may fill many pages.

constexpr std::string_view tables = R"sql(
CREATE TABLE tidemill_queue (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  paused INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE tidemill_kind (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;

CREATE TABLE tidemill_job (
  seq INTEGER PRIMARY KEY,
  id ANY NOT NULL,
  queue INTEGER NOT NULL,
  line INTEGER NOT NULL,
  at INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  since INTEGER NOT NULL,
  claim INTEGER NOT NULL DEFAULT 4611686018427387904,
  was_due INTEGER,
  has_run INTEGER,
  priority INTEGER,
  retries_max INTEGER,
  crashes_max INTEGER,
  timeout INTEGER,
  retention INTEGER,
  deadline INTEGER,
  expires_at INTEGER,
  key TEXT,
  task_group TEXT,
  headers TEXT,
  payload BLOB NOT NULL
) STRICT;
CREATE INDEX tidemill_job_line ON tidemill_job (line, at);
CREATE UNIQUE INDEX tidemill_job_id ON tidemill_job (queue, id);

CREATE TABLE tidemill_claim (
  id INTEGER PRIMARY KEY,
  worker ANY NOT NULL,
  started_at INTEGER,
  held INTEGER NOT NULL
) STRICT;

CREATE TABLE tidemill_run (
  seq INTEGER PRIMARY KEY,
  worker ANY,
  started_at INTEGER,
  marked INTEGER,
  signal INTEGER,
  attempt INTEGER,
  retries INTEGER,
  crashes INTEGER,
  deferrals INTEGER,
  attempts_kept INTEGER,
  logs_kept INTEGER,
  ended_at INTEGER,
  purge_at INTEGER,
  reason TEXT,
  progress TEXT,
  error TEXT,
  result BLOB
) STRICT;
CREATE INDEX tidemill_run_purge ON tidemill_run (purge_at) WHERE purge_at IS NOT NULL;

CREATE TABLE tidemill_attempt (
  seq INTEGER NOT NULL,
  n INTEGER NOT NULL,
  number INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  worker ANY,
  error TEXT,
  logs BLOB,
  PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE tidemill_log (
  seq INTEGER NOT NULL,
  n INTEGER NOT NULL,
  lines BLOB NOT NULL,
  PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE tidemill_key (
  queue INTEGER NOT NULL,
  key TEXT NOT NULL,
  id ANY NOT NULL,
  seq INTEGER,
  until INTEGER,
  length INTEGER NOT NULL,
  outlives INTEGER NOT NULL,
  PRIMARY KEY (queue, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX tidemill_key_until ON tidemill_key (until) WHERE until IS NOT NULL;

CREATE TABLE tidemill_counter (
  queue INTEGER NOT NULL,
  state INTEGER NOT NULL,
  tasks INTEGER NOT NULL,
  PRIMARY KEY (queue, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE tidemill_stat (
  span INTEGER NOT NULL,
  at INTEGER NOT NULL,
  queue INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  success INTEGER NOT NULL,
  failure INTEGER NOT NULL,
  crash INTEGER NOT NULL,
  busy INTEGER NOT NULL,
  PRIMARY KEY (span, at, queue, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE tidemill_worker (
  id TEXT PRIMARY KEY,
  host TEXT NOT NULL,
  state TEXT NOT NULL,
  queues TEXT NOT NULL,
  pid INTEGER NOT NULL,
  slots INTEGER NOT NULL,
  busy INTEGER NOT NULL,
  stuck INTEGER NOT NULL,
  started_at INTEGER NOT NULL,
  beat_at INTEGER NOT NULL,
  signal INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX tidemill_worker_beat ON tidemill_worker (beat_at);

CREATE TABLE tidemill_schedule (
  id TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  rule TEXT NOT NULL,
  paused INTEGER NOT NULL,
  next INTEGER NOT NULL,
  last INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX tidemill_schedule_next ON tidemill_schedule (next) WHERE paused = 0;

INSERT INTO tidemill_meta VALUES ('signals', 0);
)sql";

std::string step_1() { return std::string{tables} + plain_sql_view(); }

std::string step_2() {
  return R"sql(
CREATE TABLE tidemill_lock (
  name TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  fence INTEGER NOT NULL,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tidemill_lock_until ON tidemill_lock (until);

CREATE TABLE tidemill_document (
  id INTEGER PRIMARY KEY,
  folder TEXT NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  expires_at INTEGER,
  text TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX tidemill_document_name ON tidemill_document (folder, name);
CREATE INDEX tidemill_document_expires ON tidemill_document (expires_at) WHERE expires_at IS NOT NULL;

INSERT INTO tidemill_meta VALUES ('fence', 0), ('version', 0);
)sql";
}

std::string step_3() {
  return R"sql(
CREATE INDEX tidemill_job_group ON tidemill_job (line, task_group, claim, at) WHERE task_group IS NOT NULL;

CREATE TABLE tidemill_group (
  queue INTEGER NOT NULL,
  name TEXT NOT NULL,
  size INTEGER NOT NULL,
  first_at INTEGER NOT NULL,
  last_at INTEGER NOT NULL,
  not_before INTEGER,
  PRIMARY KEY (queue, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tidemill_group_size ON tidemill_group (queue, size) WHERE not_before IS NULL;
CREATE INDEX tidemill_group_first ON tidemill_group (queue, first_at) WHERE not_before IS NULL;
CREATE INDEX tidemill_group_last ON tidemill_group (queue, last_at) WHERE not_before IS NULL;
CREATE INDEX tidemill_group_later ON tidemill_group (queue, not_before) WHERE not_before IS NOT NULL;

CREATE TABLE tidemill_set (
  id INTEGER PRIMARY KEY,
  queue INTEGER NOT NULL,
  task_group TEXT NOT NULL,
  until INTEGER NOT NULL
) STRICT;
CREATE INDEX tidemill_set_until ON tidemill_set (until);

INSERT INTO tidemill_group SELECT line >> 16, task_group, count(*), min(at), max(at), NULL FROM tidemill_job
WHERE task_group IS NOT NULL AND (line >> 8 & 255) = 7 GROUP BY 1, 2;
)sql";
}

constexpr std::array steps = {&step_1, &step_2, &step_3};

constexpr sqlite::Sql has_meta{
    "SELECT 1 FROM main.sqlite_master WHERE type = 'table' AND name = 'tidemill_meta'"};
constexpr sqlite::Sql get_version{"SELECT value FROM main.tidemill_meta WHERE name = 'schema'"};
constexpr sqlite::Sql set_version{
    "INSERT INTO main.tidemill_meta VALUES ('schema', ?1) ON CONFLICT (name) DO UPDATE SET value = "
    "excluded.value"};
constexpr sqlite::Sql journal_mode{"PRAGMA main.journal_mode"};

[[noreturn]] void refuse_newer(int version, const std::string& path) {
  throw Error{
      ErrorKind::unavailable,
      fmt::format(
          "{} has schema version {}, and this program knows versions up to {}: use a newer version of "
          "the program, or another file",
          path, version, schema_version())};
}

bool in_wal_mode(sqlite::Connection& db) {
  auto row = db.query(journal_mode);
  return row.step() && row.bytes(0) == "wal";
}

/// To turn it on takes a lock for which SQLite asks no busy handler.
void use_write_ahead_log(sqlite::Connection& db, const std::string& path) {
  const auto until = std::chrono::steady_clock::now() + db.busy_timeout();
  for (;;) {
    try {
      if (in_wal_mode(db)) return;
      db.execute("PRAGMA main.journal_mode = wal");
      if (in_wal_mode(db)) return;
      throw Error{
          ErrorKind::unavailable,
          fmt::format("{} can't use a write-ahead log (journal mode wal), as its file system has no shared "
                      "memory: put the file on a local disk",
                      path)};
    } catch (const sqlite::Failure& failure) {
      if (failure.code() != SQLITE_BUSY || std::chrono::steady_clock::now() >= until) throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
}

void apply_steps(sqlite::Connection& db, const std::string& path, Migration& migration) {
  for (;;) {
    db.execute("BEGIN IMMEDIATE");
    try {
      const int version = read_schema_version(db);  // Again: another process may have been faster.
      if (migration.to < 0) migration.from = version;
      migration.to = version;
      if (version > schema_version()) refuse_newer(version, path);
      if (version == schema_version()) {
        db.execute("ROLLBACK");
        return;
      }
      if (version == 0) {
        db.execute(
            "CREATE TABLE main.tidemill_meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT "
            "ROWID");
      }
      db.execute(steps[static_cast<std::size_t>(version)]());
      db.run(set_version, version + 1);
      db.execute("COMMIT");
    } catch (...) {
      if (db.in_transaction()) db.execute("ROLLBACK");
      throw;
    }
  }
}

}  // namespace

int schema_version() noexcept { return static_cast<int>(steps.size()); }

int read_schema_version(sqlite::Connection& db) {
  if (!db.any(has_meta)) return 0;
  auto row = db.query(get_version);
  return row.step() ? static_cast<int>(row.integer(0)) : 0;
}

Migration migrate_schema(sqlite::Connection& db, const std::string& path) {
  Migration migration{0, -1};
  const int version =
      read_schema_version(db);  // Also finds out whether it is a database, before changing it.
  if (version > schema_version()) refuse_newer(version, path);
  use_write_ahead_log(db, path);
  if (version == schema_version()) return {version, version};
  // A step is whole or not there; that it is there survives a power failure with the first task that does.
  db.execute("PRAGMA main.synchronous = normal");
  apply_steps(db, path, migration);
  return migration;
}

void check_schema(sqlite::Connection& db, const std::string& path) {
  const int version = read_schema_version(db);
  if (version > schema_version()) refuse_newer(version, path);
  if (version == schema_version()) return;
  throw Error{
      ErrorKind::unavailable,
      fmt::format("{} has {}, and this program needs version {}: run `tidemill migrate`, or let it migrate "
                  "when it opens the file",
                  path, version == 0 ? "no tables of Tidemill" : fmt::format("schema version {}", version),
                  schema_version())};
}

}  // namespace tidemill::sqlite_store
