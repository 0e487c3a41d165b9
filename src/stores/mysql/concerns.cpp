// How the server is set up and used where that endangers or slows tasks, and the numbers behind that.
#include <fmt/format.h>

#include "stores/mysql/store_impl.hpp"

namespace tidemill::mysql_store {

namespace {

/// Old versions of rows that are no trouble yet.
constexpr std::int64_t history_least = 1'000'000;
constexpr std::int64_t transaction_seconds = 300;

constexpr Sql get_settings{
    "SELECT @@innodb_flush_log_at_trx_commit, @@log_bin, @@sync_binlog, @@read_only, @@binlog_format"};
constexpr Sql count_refused{"SELECT COUNT(*), MIN(seq) FROM main.task WHERE error IS NOT NULL"};
// The two that follow are for users with the right PROCESS.
constexpr Sql may_process{
    "SELECT 1 FROM information_schema.user_privileges WHERE privilege_type = 'PROCESS' AND grantee = "
    "CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')"};
constexpr Sql get_history{
    "SELECT CAST(count AS SIGNED) FROM information_schema.innodb_metrics WHERE name = "
    "'trx_rseg_history_len'"};
constexpr Sql get_oldest{
    "SELECT TIMESTAMPDIFF(SECOND, trx_started, NOW()), CAST(trx_mysql_thread_id AS SIGNED) FROM "
    "information_schema.innodb_trx ORDER BY trx_started LIMIT 1"};

void look_at_settings(Query& row, std::vector<Concern>& concerns) {
  if (!row.step()) return;
  if (row.integer(0) != 1) {
    concerns.push_back({fmt::format("innodb_flush_log_at_trx_commit is {}: what was acknowledged in the last "
                                    "second goes with the server or its machine",
                                    row.integer(0)),
                        "SET GLOBAL innodb_flush_log_at_trx_commit = 1, and in the server's configuration"});
  }
  if (row.boolean(1) && row.integer(2) != 1) {
    concerns.push_back({fmt::format("sync_binlog is {}: after a power failure replicas may have other tasks "
                                    "than this server",
                                    row.integer(2)),
                        "SET GLOBAL sync_binlog = 1, and in the server's configuration"});
  }
  if (row.boolean(3)) {
    concerns.push_back({"read_only is on: this server takes no tasks", "name the primary in the URL"});
  }
  if (row.boolean(1) && row.bytes(4) == "STATEMENT") {
    concerns.push_back({"binlog_format is STATEMENT: the server refuses every write of Tidemill's",
                        "SET GLOBAL binlog_format = ROW, or MIXED"});
  }
}

void look_at_refused(Query& row, std::vector<Concern>& concerns) {
  if (!row.step() || row.integer(0) == 0) return;
  concerns.push_back(
      {fmt::format("{} rows of the table task, the first of them with seq {}, can't become tasks",
                   row.integer(0), row.integer(1)),
       "their column error says why: correct them and set it to NULL, or delete them"});
}

void look_at_history(Query row, std::vector<Concern>& concerns) {
  if (!row.step() || row.integer(0) < history_least) return;
  concerns.push_back(
      {fmt::format("{} changes have not been purged (history list length): claims have to step over what "
                   "has long been deleted",
                   row.integer(0)),
       "look for a transaction that has been open for long, which purge must wait for"});
}

void look_at_transactions(Query row, std::vector<Concern>& concerns) {
  if (!row.step() || row.integer(0) < transaction_seconds) return;
  concerns.push_back({fmt::format("a transaction of connection {} has been open for {} s: what is deleted "
                                  "meanwhile can't be purged, and claims get slower",
                                  row.integer(1), row.integer(0)),
                      fmt::format("end it, or KILL {}", row.integer(1))});
}

}  // namespace

std::vector<Concern> MysqlStore::concerns() {
  return readers_.read({}, [](Scope& scope) {
    Batch batch;
    batch.add(get_settings);
    batch.add(count_refused);
    batch.add(may_process);
    auto answers = scope.ask_all(std::move(batch));
    std::vector<Concern> concerns;
    look_at_settings(answers[0], concerns);
    look_at_refused(answers[1], concerns);
    if (!answers[2].step()) return concerns;
    look_at_history(scope.ask(get_history), concerns);
    look_at_transactions(scope.ask(get_oldest), concerns);
    return concerns;
  });
}

std::vector<Gauge> MysqlStore::gauges() {
  return readers_.read({}, [](Scope& scope) {
    std::vector<Gauge> gauges;
    if (!scope.ask(may_process).step()) return gauges;
    if (Query row = scope.ask(get_history); row.step()) {
      gauges.push_back(
          {"history_list_length", "Changes that have not been purged.", static_cast<double>(row.integer(0))});
    }
    Query row = scope.ask(get_oldest);
    gauges.push_back({"oldest_transaction_seconds",
                      "How long the oldest transaction of the server has been open.",
                      row.step() ? static_cast<double>(row.integer(0)) : 0});
    return gauges;
  });
}

}  // namespace tidemill::mysql_store
