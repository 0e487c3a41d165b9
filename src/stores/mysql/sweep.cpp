#include <algorithm>
#include <utility>

#include "stores/mysql/database.hpp"
#include "stores/mysql/plain_sql.hpp"
#include "stores/sql/sweep.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr auto queues_with_text =
    join("SELECT state, queue FROM ", all_counts,
         " WHERE state IN (1, 3, 4) GROUP BY state, queue HAVING SUM(tasks) > 0 ORDER BY queue, state");
constexpr Sql any_past{"SELECT EXISTS (SELECT 1 FROM main.job WHERE line = $1 AND at <= $2)"};
constexpr auto lapsed_text = join("SELECT ", job_columns,
                                  " FROM main.job j FORCE INDEX (line) WHERE j.line = $1 AND j.at <= $2 "
                                  "ORDER BY j.line, j.at, j.seq LIMIT $3 FOR UPDATE SKIP LOCKED");
constexpr Sql get_lapsed{lapsed_text.data()};
constexpr Sql get_purges{
    "SELECT at, seq FROM main.purge WHERE at <= $1 ORDER BY at, seq LIMIT $2 FOR UPDATE SKIP LOCKED"};
constexpr auto past_retention_text = join("SELECT ", job_columns,
                                          " FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON "
                                          "j.seq = t.seq AND j.purge_at = t.at FOR UPDATE");
constexpr Sql past_retention{past_retention_text.data()};
constexpr Sql drop_purges{
    "DELETE p FROM $1 AS t STRAIGHT_JOIN main.purge p FORCE INDEX (PRIMARY) ON p.at = t.at AND p.seq = "
    "t.seq"};
// What others' open transactions have appended is locked.
constexpr Sql get_deltas{
    "SELECT id, queue, state, tasks FROM main.delta ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED"};
constexpr Sql drop_deltas{
    "DELETE d FROM $1 AS t STRAIGHT_JOIN main.delta d FORCE INDEX (PRIMARY) ON d.id = t.id"};

}  // namespace

const sql_store::SweepStatements Mysql::sweep{
    .queues_with = {queues_with_text.data()},
    // Times: now, since when workers are silent, before which minutes and days go.
    .any_leftover =
        {"SELECT EXISTS (SELECT 1 FROM main.purge WHERE at <= $1) OR EXISTS (SELECT 1 FROM main.set WHERE "
         "until <= $1) OR EXISTS (SELECT 1 FROM main.key WHERE until <= $1) OR EXISTS (SELECT 1 FROM "
         "main.lock WHERE until <= $1) OR EXISTS (SELECT 1 FROM main.document WHERE expires_at <= $1) OR "
         "EXISTS (SELECT 1 FROM main.worker WHERE beat_at <= $2) OR EXISTS (SELECT 1 FROM main.stat WHERE "
         "span = 0 AND at < $3) OR EXISTS (SELECT 1 FROM main.stat WHERE span = 1 AND at < $4) OR EXISTS "
         "(SELECT 1 FROM main.delta) OR EXISTS (SELECT 1 FROM main.joined) OR EXISTS (SELECT 1 FROM "
         "main.task WHERE error IS NULL) OR EXISTS (SELECT 1 FROM main.session WHERE used_at < "
         "UNIX_TIMESTAMP() - 86400)"},
    .take_over = {"UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET j.at = "
                  "$2, j.claim = t.claim, j.worker = $3"},
    .drop_keys = {"DELETE FROM main.key WHERE until <= $1 ORDER BY until LIMIT $2"},
    .drop_workers = {"DELETE FROM main.worker WHERE beat_at <= $1 ORDER BY beat_at LIMIT $2"},
    .drop_stats =
        {"DELETE FROM main.stat WHERE span = $1 AND at < $2 ORDER BY span, at, queue, kind LIMIT $3"},
    .drop_locks = {"DELETE FROM main.lock WHERE until <= $1 ORDER BY until LIMIT $2"},
    .drop_documents = {"DELETE FROM main.document WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2"},
    .drop_sessions = {"DELETE FROM main.session WHERE used_at < UNIX_TIMESTAMP() - 86400"},
};

void Mysql::take_inbox(Write& write, TimePoint now, std::size_t task_bytes_max) {
  mysql_store::take_inbox(write, now, task_bytes_max);
}

void Mysql::add_any_past(Batch& batch, const std::vector<std::int64_t>& lines, TimePoint now) {
  for (const std::int64_t line : lines) batch.add(any_past, line, stored(now));
}

std::vector<Row> Mysql::lapsed_rows(Write& write, const std::vector<std::int64_t>& lines, std::size_t limit,
                                    TimePoint now) {
  Batch batch;
  for (const std::int64_t line : lines) batch.add(get_lapsed, line, stored(now), limit);
  std::vector<Row> rows;
  for (Query& each : write.ask_all(std::move(batch))) {
    for (Row& row : read_rows(std::move(each), write)) rows.push_back(std::move(row));
  }
  std::ranges::sort(
      rows, [](const Row& a, const Row& b) { return std::pair{a.at, a.seq} < std::pair{b.at, b.seq}; });
  if (rows.size() > limit) rows.resize(limit);
  return rows;
}

/// And what is noted of a time that was another by then.
std::size_t Mysql::purge(Write& write, std::size_t limit, TimePoint now) {
  std::size_t purged = 0;
  while (purged < limit) {
    const std::size_t most = limit - purged;
    Table<sql_store::Number<"at">, sql_store::Number<"seq">> table;
    auto purges = write.ask(get_purges, stored(now), most);
    while (purges.step()) table.add(purges.integer(0), purges.integer(1));
    if (table.empty()) break;
    const auto rows = read_rows(write.ask(past_retention, table), write);
    std::vector<const Row*> all;
    for (const Row& row : rows) all.push_back(&row);
    erase_rows(write, all);
    write.tell(drop_purges, table);
    purged += rows.size();
    if (table.size() < most) break;
  }
  return purged;
}

void Mysql::fold_deltas(Write& write) {
  Table<sql_store::Number<"id">> table;
  auto row = write.ask(get_deltas, sql_store::leftovers_max);
  while (row.step()) {
    write.count(row.integer(1), static_cast<State>(row.integer(2)), row.integer(3));
    table.add(row.integer(0));
  }
  if (!table.empty()) write.tell(drop_deltas, table);
}

}  // namespace tidemill::mysql_store
