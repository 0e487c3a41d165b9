#include "stores/mysql/schema.hpp"

#include <array>
#include <chrono>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <tidemill/error.hpp>

namespace tidemill::mysql_store {

namespace {

using mysql::Sql;

// How to change the schema: append a step to `steps`, never edit one that was released. Each statement of it
// is committed by itself, and a crash may come between any two: so a step must be such that it can be done
// again when a part of it is there. It must also leave what older processes do valid, as they may run on
// beside newer ones: add tables, columns that may be NULL, indexes.
//
// job: a task. NULL stands for what most tasks have, and takes no room.
//   line, at    where it stands: stores/sql/layout.hpp
//   since       the place in line to give it back to, while it is leased; else as `at`
//   claim       the claim that leased it, the secret part of its token, or the set that it is in; else
//               `no_claim`
//   was_due     true: `since` is the time for which it had been scheduled
//   unique_key  the unique key that it was given, whether it still holds it or not
//   asked       the signal for the holder of its lease
// attempt, log: kept attempts; lines of the running one.
// purge: when tasks are to go. Rows whose task has another `purge_at`, or is gone, mean nothing. It is no
// index
//   of the tasks, as most have none, and an index here has a place for each.
// key: unique keys. `seq` is the task, unless that is gone; below zero while it is being taken in.
// counter: tasks by queue and state, exact at every commit. Each connection has a lane of its own as far as
//   there are enough, so that none waits for another's commit; the sum over all lanes counts, and one lane's
//   number may be negative. delta: the same, written where a row must not be locked: in transactions of
//   others. A sweep adds them up.
// session: of a connection that writes, with the number of its last transaction: lane.hpp.
// group: tasks that wait in a group and in no set; found by index when they are many, or the first or the
//   last is old. `not_before` is there while it isn't due at all. member: these tasks, and those of sets, by
//   the set's number; `holder` is `no_claim` while they wait. It is no index of the tasks either.
// joined: what others' transactions have brought to groups, or with a negative size taken. A sweep folds it
// in. set: gathered tasks' lease; the tasks have its number in `claim`.
// lock, document: by digests of their names, as those are longer than a key can be.
// task: where people and programs that speak SQL put tasks: plain_sql.cpp.

constexpr std::string_view tables = R"sql(
CREATE TABLE IF NOT EXISTS main.queue (
  id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARBINARY(1024) NOT NULL,
  paused BOOLEAN NOT NULL DEFAULT FALSE,
  UNIQUE KEY name (name)
) %;

CREATE TABLE IF NOT EXISTS main.kind (
  id INT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  name VARBINARY(1024) NOT NULL,
  UNIQUE KEY name (name)
) %;

CREATE TABLE IF NOT EXISTS main.job (
  seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  line BIGINT NOT NULL,
  at BIGINT NOT NULL,
  since BIGINT NOT NULL,
  claim BIGINT NOT NULL DEFAULT 4611686018427387904,
  created_at BIGINT NOT NULL,
  queue INT NOT NULL,
  kind INT NOT NULL,
  was_due BOOLEAN,
  marked BOOLEAN,
  asked TINYINT,
  priority SMALLINT,
  retries_max INT,
  crashes_max INT,
  attempt INT,
  retries INT,
  crashes INT,
  deferrals INT,
  attempts_kept INT,
  logs_kept INT,
  timeout BIGINT,
  retention BIGINT,
  deadline BIGINT,
  expires_at BIGINT,
  started_at BIGINT,
  ended_at BIGINT,
  purge_at BIGINT,
  id VARBINARY(1024) NOT NULL,
  worker VARBINARY(1024),
  unique_key VARBINARY(1024),
  task_group VARBINARY(1024),
  headers LONGBLOB,
  reason LONGBLOB,
  progress LONGBLOB,
  error LONGBLOB,
  result LONGBLOB,
  payload LONGBLOB NOT NULL,
  KEY line (line, at, seq),
  UNIQUE KEY id (queue, id)
) %;

CREATE TABLE IF NOT EXISTS main.attempt (
  seq BIGINT NOT NULL,
  n INT NOT NULL,
  number INT NOT NULL,
  started_at BIGINT NOT NULL,
  ended_at BIGINT NOT NULL,
  worker VARBINARY(1024),
  error LONGBLOB,
  logs LONGBLOB,
  PRIMARY KEY (seq, n)
) %;

CREATE TABLE IF NOT EXISTS main.log (
  seq BIGINT NOT NULL,
  n INT NOT NULL,
  text LONGBLOB NOT NULL,
  PRIMARY KEY (seq, n)
) %;

CREATE TABLE IF NOT EXISTS main.purge (
  at BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  PRIMARY KEY (at, seq)
) %;

CREATE TABLE IF NOT EXISTS main.key (
  queue INT NOT NULL,
  unique_key VARBINARY(1024) NOT NULL,
  id VARBINARY(1024) NOT NULL,
  seq BIGINT,
  until BIGINT,
  length BIGINT NOT NULL,
  outlives BOOLEAN NOT NULL,
  PRIMARY KEY (queue, unique_key),
  KEY until (until)
) %;

CREATE TABLE IF NOT EXISTS main.counter (
  queue INT NOT NULL,
  state SMALLINT NOT NULL,
  lane SMALLINT NOT NULL,
  tasks BIGINT NOT NULL,
  PRIMARY KEY (queue, state, lane)
) %;

CREATE TABLE IF NOT EXISTS main.delta (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  queue INT NOT NULL,
  state SMALLINT NOT NULL,
  tasks BIGINT NOT NULL
) %;

CREATE TABLE IF NOT EXISTS main.session (
  id BIGINT NOT NULL PRIMARY KEY,
  number BIGINT NOT NULL,
  used_at BIGINT NOT NULL
) %;

CREATE TABLE IF NOT EXISTS main.stat (
  span SMALLINT NOT NULL,
  at BIGINT NOT NULL,
  queue INT NOT NULL,
  kind INT NOT NULL,
  success BIGINT NOT NULL,
  failure BIGINT NOT NULL,
  crash BIGINT NOT NULL,
  busy BIGINT NOT NULL,
  PRIMARY KEY (span, at, queue, kind)
) %;

CREATE TABLE IF NOT EXISTS main.worker (
  id VARBINARY(1024) NOT NULL PRIMARY KEY,
  host LONGBLOB NOT NULL,
  state LONGBLOB NOT NULL,
  queues LONGBLOB NOT NULL,
  pid BIGINT NOT NULL,
  slots INT NOT NULL,
  busy INT NOT NULL,
  stuck INT NOT NULL,
  started_at BIGINT NOT NULL,
  beat_at BIGINT NOT NULL,
  asked TINYINT NOT NULL DEFAULT 0,
  KEY beat_at (beat_at)
) %;

CREATE TABLE IF NOT EXISTS main.schedule (
  id VARBINARY(1024) NOT NULL PRIMARY KEY,
  owner LONGBLOB NOT NULL,
  rule LONGBLOB NOT NULL,
  paused BOOLEAN NOT NULL,
  next BIGINT NOT NULL,
  last BIGINT,
  KEY next (paused, next)
) %;

CREATE TABLE IF NOT EXISTS main.lock (
  digest BINARY(32) NOT NULL PRIMARY KEY,
  name VARBINARY(4096) NOT NULL,
  owner VARBINARY(4096) NOT NULL,
  fence BIGINT NOT NULL,
  until BIGINT NOT NULL,
  KEY name (name(255)),
  KEY until (until)
) %;

CREATE TABLE IF NOT EXISTS main.document (
  folder_digest BINARY(32) NOT NULL,
  digest BINARY(32) NOT NULL,
  folder VARBINARY(4096) NOT NULL,
  name VARBINARY(4096) NOT NULL,
  version BIGINT NOT NULL,
  expires_at BIGINT,
  text LONGBLOB NOT NULL,
  PRIMARY KEY (folder_digest, digest),
  KEY name (folder_digest, name(255)),
  KEY expires_at (expires_at)
) %;

CREATE TABLE IF NOT EXISTS main.group (
  queue INT NOT NULL,
  name VARBINARY(1024) NOT NULL,
  size BIGINT NOT NULL,
  first_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  not_before BIGINT,
  PRIMARY KEY (queue, name),
  KEY size (queue, not_before, size),
  KEY first_at (queue, not_before, first_at),
  KEY last_at (queue, not_before, last_at)
) %;

CREATE TABLE IF NOT EXISTS main.member (
  queue INT NOT NULL,
  name VARBINARY(1024) NOT NULL,
  holder BIGINT NOT NULL,
  at BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  PRIMARY KEY (queue, name, holder, at, seq)
) %;

CREATE TABLE IF NOT EXISTS main.joined (
  id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  queue INT NOT NULL,
  name VARBINARY(1024) NOT NULL,
  size BIGINT NOT NULL,
  first_at BIGINT,
  last_at BIGINT,
  KEY name (queue, name)
) %;

CREATE TABLE IF NOT EXISTS main.set (
  id BIGINT NOT NULL PRIMARY KEY,
  queue INT NOT NULL,
  task_group VARBINARY(1024) NOT NULL,
  until BIGINT NOT NULL,
  KEY until (until)
) %;

CREATE TABLE IF NOT EXISTS main.task (
  seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
  kind VARCHAR(255) NOT NULL,
  payload LONGTEXT,
  queue VARCHAR(255) NOT NULL DEFAULT 'default',
  id VARCHAR(255),
  run_at TIMESTAMP(6) NULL DEFAULT NULL,
  priority INT NOT NULL DEFAULT 0,
  retries_max INT,
  crashes_max INT,
  timeout_seconds DECIMAL(18, 6),
  retention_seconds DECIMAL(18, 6),
  deadline TIMESTAMP(6) NULL DEFAULT NULL,
  expires_at TIMESTAMP(6) NULL DEFAULT NULL,
  headers LONGTEXT,
  error VARCHAR(1000),
  KEY error (error(1), seq)
) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin %;

INSERT IGNORE INTO main.meta (name, value) VALUES ('fence', 0), ('version', 0), ('signals', 0),
  ('identity', CONV(LEFT(SHA2(CONCAT(UUID(), RAND(), CONNECTION_ID()), 256), 15), 16, 10));
)sql";

/// What all our tables are told from others by.
constexpr std::string_view mark = "Tidemill";

/// Each `%` stands for the options that all tables have.
std::string step_1() {
  std::string script;
  for (const char c : tables) {
    if (c == '%') {
      script += fmt::format("ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = '{}'", mark);
    } else {
      script += c;
    }
  }
  return script;
}

constexpr std::array steps = {&step_1};

constexpr const char* make_meta =
    "CREATE TABLE IF NOT EXISTS main.meta (name VARBINARY(64) NOT NULL PRIMARY KEY, value BIGINT NOT NULL) "
    "ENGINE = InnoDB ROW_FORMAT = DYNAMIC COMMENT = 'Tidemill'";

// Names of tables of the database that begin as ours do.
constexpr Sql find_tables{
    "SELECT table_name, table_comment FROM information_schema.tables WHERE table_schema = DATABASE() AND "
    "table_name IN $1"};
constexpr Sql get_version{"SELECT value FROM main.meta WHERE name = 'schema'"};
constexpr Sql set_version{
    "INSERT INTO main.meta (name, value) VALUES ('schema', $1) ON DUPLICATE KEY UPDATE value = $1"};
// For who migrates, of all databases of the server: migrations are short and rare.
constexpr Sql take_turn{"SELECT GET_LOCK('tidemill_migration', $1)"};
constexpr Sql end_turn{"SELECT RELEASE_LOCK('tidemill_migration')"};
constexpr std::chrono::seconds turn_time{60};

constexpr std::array all_tables = {"meta", "queue",    "kind",  "job",     "attempt", "log",    "purge",
                                   "key",  "counter",  "delta", "session", "stat",    "worker", "schedule",
                                   "lock", "document", "group", "member",  "joined",  "set",    "task"};

[[noreturn]] void refuse_newer(int version, const std::string& where) {
  throw Error{ErrorKind::unavailable,
              fmt::format("{} has schema version {}, and this program knows versions up to {}: use a newer "
                          "version of the program, or another prefix (?prefix=NAME_)",
                          where, version, schema_version())};
}

[[noreturn]] void refuse_foreign(const std::string& where, std::string_view table) {
  throw Error{ErrorKind::unavailable,
              fmt::format("{} has a table {} that is not Tidemill's: name another prefix (?prefix=NAME_), or "
                          "rename that table",
                          where, table)};
}

/// False: there is nothing of ours.
bool has_meta(mysql::Connection& db, const std::string& where) {
  std::vector<std::string> names;
  for (const char* const table : all_tables) names.push_back(db.main() + table);
  bool found = false;
  auto row = db.query(find_tables, names);
  while (row.step()) {
    if (!row.bytes(1).starts_with(mark)) refuse_foreign(where, row.bytes(0));
    found = found || row.bytes(0) == names.front();
  }
  return found;
}

/// Zero: there is nothing of ours, or not all of it.
int read_schema_version(mysql::Connection& db, const std::string& where) {
  if (!has_meta(db, where)) return 0;
  auto row = db.query(get_version);
  return row.step() ? static_cast<int>(row.integer(0)) : 0;
}

/// Nobody else migrates as long as it lives.
class Turn {
 public:
  Turn(mysql::Connection& db, const std::string& where) : db_(db) {
    auto row = db_.query(take_turn, turn_time.count());
    if (row.step() && row.integer(0) == 1) return;
    throw Error{ErrorKind::timed_out, where + " is being migrated by another program, which takes its time"};
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    try {
      if (db_.usable()) db_.query(end_turn);
    } catch (const std::exception&) {
      // It ends with the connection.
    }
  }

 private:
  mysql::Connection& db_;
};

}  // namespace

int schema_version() noexcept { return static_cast<int>(steps.size()); }

Migration migrate_schema(mysql::Connection& db, const std::string& where) {
  const int before = read_schema_version(db, where);
  if (before > schema_version()) refuse_newer(before, where);
  if (before == schema_version()) return {before, before};
  const Turn turn{db, where};
  const int from = read_schema_version(db, where);  // Again: another process may have been faster.
  if (from > schema_version()) refuse_newer(from, where);
  if (from == 0) db.execute(make_meta);
  for (int version = from; version < schema_version(); ++version) {
    db.execute(steps[static_cast<std::size_t>(version)]());
    db.run(set_version, version + 1);
  }
  return {from, schema_version()};
}

void check_schema(mysql::Connection& db, const std::string& where) {
  const int version = read_schema_version(db, where);
  if (version > schema_version()) refuse_newer(version, where);
  if (version == schema_version()) return;
  throw Error{
      ErrorKind::unavailable,
      fmt::format("{} has {}, and this program needs version {}: run `tidemill migrate`, or let it "
                  "migrate when it opens the store",
                  where, version == 0 ? "no tables of Tidemill" : fmt::format("schema version {}", version),
                  schema_version())};
}

}  // namespace tidemill::mysql_store
