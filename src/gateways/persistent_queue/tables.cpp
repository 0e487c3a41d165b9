#include "gateways/persistent_queue/tables.hpp"

#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <tidemill/persistent_queue.hpp>

#include "gateways/persistent_queue/rows.hpp"

namespace tidemill::persistent_queue {

namespace {

constexpr std::string_view async_job_text =
    "CREATE TABLE IF NOT EXISTS `async_job_tab` (\n"
    "  `id` bigint(20) unsigned NOT NULL AUTO_INCREMENT,\n"
    "  `params` varchar(4096) COLLATE utf8mb4_unicode_ci NOT NULL DEFAULT '',\n"
    "  `job_type` int(11) NOT NULL,\n"
    "  `job_status` tinyint(4) DEFAULT NULL,\n"
    "  `start_time` int(11) unsigned DEFAULT 0,\n"
    "  `create_time` int(11) unsigned NOT NULL,\n"
    "  `update_time` int(11) unsigned NOT NULL,\n"
    "  PRIMARY KEY (`id`)\n"
    ") ENGINE=InnoDB AUTO_INCREMENT=1 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci";

constexpr std::string_view shedlock_text =
    "CREATE TABLE IF NOT EXISTS `shedlock_tab` (\n"
    "  `lock_name` varchar(64) NOT NULL,\n"
    "  `lock_until` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,\n"
    "  `locked_at` timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,\n"
    "  `locked_by` varchar(255) NOT NULL,\n"
    "  PRIMARY KEY (`lock_name`)\n"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4";

constexpr std::string_view side_text =
    "CREATE TABLE IF NOT EXISTS tidemill_async_job ("
    "job_id bigint unsigned NOT NULL PRIMARY KEY, job_type int NOT NULL, "
    "attempts int NOT NULL DEFAULT 0, retries int NOT NULL DEFAULT 0, deferrals int NOT NULL DEFAULT 0, "
    "next_due bigint NOT NULL DEFAULT 0 COMMENT 'microseconds since 1970, 0 is at once', "
    "last_error text, owner varchar(255) NOT NULL DEFAULT '', epoch bigint unsigned NOT NULL DEFAULT 0, "
    "updated_at int unsigned NOT NULL COMMENT 'Unix seconds, 0 once it has succeeded', KEY tidemill_updated "
    "(job_type, updated_at)"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";

constexpr std::string_view term_text =
    "CREATE TABLE IF NOT EXISTS tidemill_shedlock ("
    "lock_name varchar(64) NOT NULL PRIMARY KEY, epoch bigint unsigned NOT NULL, "
    "owner varchar(255) NOT NULL, clean tinyint NOT NULL COMMENT '1: released by that owner'"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";

const std::string index_text =
    "ALTER TABLE async_job_tab ADD INDEX tidemill_due (job_type, job_status, start_time, id), "
    "ALGORITHM=INPLACE, LOCK=NONE";
/// While a statement waits for the table, others' transactions that use it, all that come meanwhile wait too.
const std::string table_wait_seconds = "2";

/// A table, as it must be. Types may be wider than in the statement that makes it, but of the same sort.
struct Table {
  const char* name;
  std::string_view text;     ///< The statement that makes it.
  std::string_view columns;  ///< "NAME SORT" each; the sorts are those of `sort`.
};
constexpr Table async_job{"async_job_tab", async_job_text,
                          "id integer, params text, job_type integer, job_status integer, start_time "
                          "integer, create_time integer, update_time integer"};
constexpr Table shedlock{"shedlock_tab", shedlock_text,
                         "lock_name text, lock_until timestamp, locked_at timestamp, locked_by text"};
constexpr Table side{
    "tidemill_async_job", side_text,
    "job_id integer, job_type integer, attempts integer, retries integer, deferrals integer, "
    "next_due integer, last_error text, owner text, epoch integer, updated_at integer"};
constexpr Table terms{"tidemill_shedlock", term_text,
                      "lock_name text, epoch integer, owner text, clean integer"};

/// What counts of a type: a DATETIME, say, in the place of a TIMESTAMP is another instant in each time zone.
constexpr const char* sort =
    "CASE WHEN DATA_TYPE LIKE '%int' THEN 'integer' WHEN DATA_TYPE REGEXP 'char|text|blob|binary' THEN "
    "'text' "
    "ELSE DATA_TYPE END";

/// The columns that `SELECT *` gives, in their order: invisible ones are not among them. Empty: there is no
/// such table, or the user may do nothing with it.
std::string columns_of(const SqlHandle& db, const Table& table) {
  const SqlValue name{std::string{table.name}};
  std::string found;
  for (const SqlRow& row :
       db.query(fmt::format("SELECT COLUMN_NAME, {} FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = "
                            "DATABASE() AND TABLE_NAME = ? AND EXTRA NOT LIKE '%INVISIBLE%' "
                            "ORDER BY ORDINAL_POSITION",
                            sort),
                {&name, 1}))
    found += fmt::format("{}{} {}", found.empty() ? "" : ", ", text_of(row, 0), text_of(row, 1));
  return found;
}

/// Creates nothing where the table is there: so a user without that right, or a server that takes no writes
/// now, is no hindrance by itself.
void prepare(const SqlHandle& db, const Table& table, bool create) {
  std::string found = columns_of(db, table);
  if (found.empty() && !create) {
    throw Error{
        ErrorKind::unavailable,
        fmt::format("there is no table {} in this database, or its user may not see it; create_tables "
                    "would make it",
                    table.name)};
  }
  if (found.empty()) {
    try {
      db.execute(std::string{table.text});
    } catch (const Error& error) {
      throw Error{error.kind(),
                  fmt::format("the table {} is missing and can't be made: {}; let a user who may "
                              "do so make it: {}",
                              table.name, error.what(), table.text)};
    }
    found = columns_of(db, table);
  }
  if (found == table.columns) return;
  throw Error{ErrorKind::corrupt, fmt::format("the table {} is another's: it has the columns {}; right is {}",
                                              table.name, found, table.columns)};
}

void add_index(const SqlHandle& db, const Log& log) {
  const auto lock = db.lock();
  const std::string before = text_of(db.query("SELECT @@session.lock_wait_timeout").at(0), 0);
  db.execute("SET SESSION lock_wait_timeout = " + table_wait_seconds);
  std::string why;
  try {
    db.execute(index_text);
  } catch (const Error& error) {
    why = error.what();
  }
  db.execute("SET SESSION lock_wait_timeout = " + before);
  if (why.empty() || has_index(db)) return;  // Another node was quicker.
  log.warning("the index tidemill_due could not be made; each load of jobs reads the whole table",
              {{"error", why}});
}

}  // namespace

std::string_view async_job_table() { return async_job_text; }
std::string_view shedlock_table() { return shedlock_text; }
std::string_view tidemill_async_job_table() { return side_text; }
std::string_view tidemill_shedlock_table() { return term_text; }

bool has_index(const SqlHandle& db) {
  // Whatever its name: what counts is that it begins with these three.
  const std::vector<SqlRow> rows = db.query(
      "SELECT 1 FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND "
      "TABLE_NAME = 'async_job_tab' GROUP BY INDEX_NAME HAVING "
      "GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX) LIKE 'job_type,job_status,start_time%'");
  return !rows.empty();
}

void prepare_lock_table(const SqlHandle& db) { prepare(db, shedlock, true); }

void prepare_tables(const SqlHandle& db, bool create, bool create_index, const Log& log) {
  for (const Table& table : {async_job, shedlock, side, terms}) prepare(db, table, create);
  check_rights(db);
  if (create_index && !has_index(db)) add_index(db, log);
}

void check_rights(const SqlHandle& db) {
  try {
    // Each changes nothing, and is refused as one that changes something would be. The lease is the keeper's:
    // it goes on asking.
    for (
        const char* const text :
        {"UPDATE async_job_tab SET job_status = job_status, update_time = update_time WHERE FALSE",
         "INSERT IGNORE INTO shedlock_tab (lock_name, locked_by) SELECT '', '' FROM DUAL WHERE FALSE",
         "UPDATE shedlock_tab SET lock_until = lock_until WHERE FALSE",
         "INSERT INTO tidemill_async_job (job_id, job_type, updated_at) SELECT 0, 0, 0 FROM DUAL WHERE FALSE",
         "UPDATE tidemill_async_job SET owner = owner WHERE FALSE",
         "DELETE FROM tidemill_async_job WHERE FALSE",
         "INSERT INTO tidemill_shedlock (lock_name, epoch, owner, clean) SELECT '', 0, '', 0 FROM DUAL WHERE "
         "FALSE",
         "UPDATE tidemill_shedlock SET owner = owner WHERE FALSE"})
      db.execute(text);
  } catch (const Error& error) {
    throw Error{error.kind(),
                fmt::format("PersistentQueue's tables can't be written: {}; the user needs SELECT, INSERT, "
                            "UPDATE and DELETE on async_job_tab, shedlock_tab, tidemill_async_job and "
                            "tidemill_shedlock, of a server that is not read-only",
                            error.what())};
  }
}

std::int64_t repair_nulls(const SqlHandle& db) {
  return db.execute(
      "UPDATE async_job_tab SET job_status = IFNULL(job_status, 0), start_time = IFNULL(start_time, 0) "
      "WHERE job_status IS NULL OR start_time IS NULL");
}

}  // namespace tidemill::persistent_queue
