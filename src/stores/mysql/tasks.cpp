#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr auto get_text =
    join("SELECT ", job_columns,
         " FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (id) ON j.queue = t.queue AND j.id = t.id");
constexpr auto lock_text = join(get_text, " FOR UPDATE");
constexpr char joined_keys[] =
    "$1 AS t STRAIGHT_JOIN main.key k FORCE INDEX (PRIMARY) ON k.queue = t.queue AND k.unique_key = "
    "t.unique_key AND k.seq = t.seq";
constexpr auto get_keys_text =
    join("SELECT k.seq, k.length, k.outlives FROM ", joined_keys, " WHERE k.until IS NULL OR k.until > $2");
constexpr auto free_keys_text = join("DELETE k FROM ", joined_keys, " WHERE NOT k.outlives");
constexpr auto orphan_keys_text = join("UPDATE ", joined_keys, " SET k.seq = NULL");
constexpr Sql get_logs{
    "SELECT l.seq, l.n, l.text FROM $1 AS t STRAIGHT_JOIN main.log l FORCE INDEX (PRIMARY) ON l.seq = t.seq"};

}  // namespace

const sql_store::TaskStatements Mysql::tasks{
    .get_refs = {get_text.data()},
    .lock_refs = {lock_text.data()},
    .get_keys = {get_keys_text.data()},
    .free_keys = {free_keys_text.data()},
    .orphan_keys = {orphan_keys_text.data()},
    .erase_tasks = {"DELETE j FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq"},
    .erase_attempts =
        {"DELETE a FROM $1 AS t STRAIGHT_JOIN main.attempt a FORCE INDEX (PRIMARY) ON a.seq = t.seq"},
    .erase_logs = {"DELETE l FROM $1 AS t STRAIGHT_JOIN main.log l FORCE INDEX (PRIMARY) ON l.seq = t.seq"},
};

Query Mysql::take_logs(Write& write, const Table<sql_store::Number<"seq">>& seqs) {
  auto logs = write.ask(get_logs, seqs);
  write.tell(tasks.erase_logs, seqs);
  return logs;
}

}  // namespace tidemill::mysql_store
