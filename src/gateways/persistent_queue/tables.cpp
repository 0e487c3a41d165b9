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

constexpr std::string_view lock_columns = "lock_name, lock_until, locked_at, locked_by";

const std::string side_text =
    "CREATE TABLE IF NOT EXISTS tidemill_async_job ("
    "job_id bigint unsigned NOT NULL PRIMARY KEY, job_type int NOT NULL, "
    "attempts int NOT NULL DEFAULT 0, retries int NOT NULL DEFAULT 0, deferrals int NOT NULL DEFAULT 0, "
    "next_due bigint NOT NULL DEFAULT 0 COMMENT 'microseconds since 1970, 0 is at once', "
    "last_error text, owner varchar(255) NOT NULL DEFAULT '', epoch bigint unsigned NOT NULL DEFAULT 0, "
    "updated_at int unsigned NOT NULL COMMENT 'Unix seconds, 0 once it has succeeded', KEY tidemill_updated "
    "(job_type, updated_at)"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";

const std::string term_text =
    "CREATE TABLE IF NOT EXISTS tidemill_shedlock ("
    "lock_name varchar(64) NOT NULL PRIMARY KEY, epoch bigint unsigned NOT NULL, "
    "owner varchar(255) NOT NULL, clean tinyint NOT NULL COMMENT '1: released by that owner'"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";

const std::string index_text =
    "ALTER TABLE async_job_tab ADD INDEX tidemill_due (job_type, job_status, start_time, id), "
    "ALGORITHM=INPLACE, LOCK=NONE";
/// While a statement waits for the table, others' transactions that use it, all that come meanwhile wait too.
const std::string table_wait_seconds = "2";

/// The columns that `SELECT *` gives, in their order: invisible ones are not among them.
void check_columns(const SqlHandle& db, const std::string& table, std::string_view expected) {
  const SqlValue name{table};
  const std::vector<SqlRow> rows = db.query(
      "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() "
      "AND TABLE_NAME = ? AND EXTRA NOT LIKE '%INVISIBLE%' ORDER BY ORDINAL_POSITION",
      {&name, 1});
  std::string found;
  for (const SqlRow& row : rows) found += (found.empty() ? "" : ", ") + text_of(row, 0);
  if (found == expected) return;
  if (found.empty()) {
    throw Error{ErrorKind::unavailable,
                fmt::format("there is no table {} in this database; create_tables would make it", table)};
  }
  throw Error{ErrorKind::corrupt,
              fmt::format("the table {} is not PersistentQueue's: it has the columns {}; right is {}", table,
                          found, expected)};
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

bool has_index(const SqlHandle& db) {
  // Whatever its name: what counts is that it begins with these three.
  const std::vector<SqlRow> rows = db.query(
      "SELECT 1 FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND "
      "TABLE_NAME = 'async_job_tab' GROUP BY INDEX_NAME HAVING "
      "GROUP_CONCAT(COLUMN_NAME ORDER BY SEQ_IN_INDEX) LIKE 'job_type,job_status,start_time%'");
  return !rows.empty();
}

void prepare_lock_table(const SqlHandle& db) {
  db.execute(std::string{shedlock_text});
  check_columns(db, "shedlock_tab", lock_columns);
}

void prepare_tables(const SqlHandle& db, bool create, bool create_index, const Log& log) {
  if (create) db.execute(std::string{async_job_text});
  check_columns(db, "async_job_tab",
                "id, params, job_type, job_status, start_time, create_time, update_time");
  if (create) prepare_lock_table(db);
  check_columns(db, "shedlock_tab", lock_columns);
  db.execute(side_text);
  db.execute(term_text);
  if (create_index && !has_index(db)) add_index(db, log);
}

std::int64_t repair_nulls(const SqlHandle& db) {
  return db.execute(
      "UPDATE async_job_tab SET job_status = IFNULL(job_status, 0), start_time = IFNULL(start_time, 0) "
      "WHERE job_status IS NULL OR start_time IS NULL");
}

}  // namespace tidemill::persistent_queue
