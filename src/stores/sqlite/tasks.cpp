#include "stores/sqlite/tasks.hpp"

#include "stores/sqlite/groups.hpp"

namespace tidemill::sqlite_store {

namespace {

constexpr int run_column = 21;  // The first of `run_columns` among `row_columns`.
constexpr int claim_column = run_column + 15;

constexpr auto find_row_text =
    sqlite::join("SELECT ", row_columns, row_tables, "WHERE j.queue = ?1 AND j.id = ?2");
constexpr sqlite::Sql find_row_sql{find_row_text.data()};

constexpr sqlite::Sql has_id_sql{"SELECT 1 FROM main.tidemill_job WHERE queue = ?1 AND id = ?2"};

constexpr sqlite::Sql get_key{
    "SELECT length, outlives FROM main.tidemill_key WHERE queue = ?1 AND key = ?2 AND seq = ?3 "
    "AND (until IS NULL OR until > ?4)"};
constexpr sqlite::Sql free_key{
    "DELETE FROM main.tidemill_key WHERE queue = ?1 AND key = ?2 AND seq = ?3 AND outlives = 0"};
constexpr sqlite::Sql orphan_key{
    "UPDATE main.tidemill_key SET seq = NULL WHERE queue = ?1 AND key = ?2 AND seq = ?3"};

constexpr sqlite::Sql move_job{
    "UPDATE main.tidemill_job SET line = ?2, at = ?3, since = ?3, claim = ?4, was_due = NULL WHERE seq = ?1"};
constexpr sqlite::Sql add_run{"INSERT INTO main.tidemill_run (seq) VALUES (?1)"};
constexpr sqlite::Sql flag_run{"UPDATE main.tidemill_job SET has_run = 1 WHERE seq = ?1"};
constexpr sqlite::Sql erase_job{"DELETE FROM main.tidemill_job WHERE seq = ?1"};
constexpr sqlite::Sql erase_run{"DELETE FROM main.tidemill_run WHERE seq = ?1"};
constexpr sqlite::Sql erase_attempts{"DELETE FROM main.tidemill_attempt WHERE seq = ?1"};
constexpr sqlite::Sql get_logs{"SELECT lines FROM main.tidemill_log WHERE seq = ?1 ORDER BY n"};
constexpr sqlite::Sql erase_logs{"DELETE FROM main.tidemill_log WHERE seq = ?1"};

std::int32_t number(const sqlite::Query& row, int column, std::int64_t usual) {
  return static_cast<std::int32_t>(row.optional_integer(column).value_or(usual));
}

}  // namespace

void read_job(const sqlite::Query& columns, Scope& scope, Row& row) {
  Task& task = row.task;
  row.seq = columns.integer(0);
  row.line = columns.integer(1);
  row.at = time_of(columns.integer(2));
  row.since = time_of(columns.integer(3));
  row.claim = columns.integer(4);
  row.was_due = columns.integer(5) != 0;
  row.has_run = columns.integer(6) != 0;
  task.ref.queue = scope.queue_name(row.queue());
  task.ref.id = id_at(columns, 7);
  task.state = row.state();
  if (task.state == State::scheduled || task.state == State::retry) task.run_at = row.at;
  task.kind = scope.kind_name(columns.integer(8));
  task.created_at = time_of(columns.integer(9));
  task.priority = number(columns, 10, 0);
  task.retries_max = number(columns, 11, usual_retries_max);
  task.crashes_max = number(columns, 12, usual_crashes_max);
  task.timeout = Duration{columns.optional_integer(13).value_or(usual_timeout)};
  task.retention = Duration{columns.optional_integer(14).value_or(0)};
  task.deadline = time_of(columns.optional_integer(15));
  task.expires_at = time_of(columns.optional_integer(16));
  row.key = columns.bytes(17);
  task.group = columns.bytes(18);
  if (!columns.null(19)) task.headers = read_map(columns.bytes(19));
  task.payload = columns.bytes(20);
}

void read_run(const sqlite::Query& columns, int first, Row& row) {
  Task& task = row.task;
  if (!columns.null(first)) task.worker = id_at(columns, first);
  task.started_at = time_of(columns.optional_integer(first + 1));
  row.marked = columns.integer(first + 2) != 0;
  row.signal = static_cast<Signal>(columns.integer(first + 3));
  task.attempt = number(columns, first + 4, 0);
  task.retries = number(columns, first + 5, 0);
  task.crashes = number(columns, first + 6, 0);
  task.deferrals = number(columns, first + 7, 0);
  row.attempts_kept = columns.integer(first + 8);
  row.logs_kept = columns.integer(first + 9);
  task.ended_at = time_of(columns.optional_integer(first + 10));
  task.reason = columns.bytes(first + 11);
  task.progress = columns.bytes(first + 12);
  task.error = columns.bytes(first + 13);
  task.result = columns.bytes(first + 14);
}

void read_row(const sqlite::Query& columns, Scope& scope, Row& row) {
  read_job(columns, scope, row);
  if (row.has_run) read_run(columns, run_column, row);
  if (row.state() != State::active) return;
  row.task.worker = id_at(columns, claim_column);
  row.task.started_at = time_of(columns.optional_integer(claim_column + 1));
}

std::optional<Row> find_row(Scope& scope, const Ref& ref) {
  const auto queue = scope.find_queue(ref.queue);
  if (!queue) return {};
  const StoredId id{ref.id};
  auto columns = scope.db.query(find_row_sql, *queue, id);
  if (!columns.step()) return {};
  Row row;
  read_row(columns, scope, row);
  return row;
}

bool has_id(Scope& scope, std::int64_t queue, const StoredId& id) {
  return scope.db.any(has_id_sql, queue, id);
}

std::optional<Unique> read_unique(Scope& scope, const sql_store::Row& row, TimePoint now) {
  if (row.key.empty()) return {};
  auto columns = scope.db.query(get_key, row.queue(), std::string_view{row.key}, row.seq, stored(now));
  if (!columns.step()) return {};
  Unique unique;
  unique.key = row.key;
  unique.window = Duration{columns.integer(0)};
  unique.outlives_task = columns.integer(1) != 0;
  return unique;
}

void need_run(Write& write, const Row& row) {
  if (row.has_run) return;
  write.db.run(add_run, row.seq);
  write.db.run(flag_run, row.seq);
}

void move_row(Write& write, const Row& row, State to, TimePoint at) {
  leave_group(write, row);
  write.db.run(move_job, row.seq, line_of(row.queue(), to, row.task.priority), stored(at), no_claim);
  if (row.state() == State::active) write.lease_ended(row.claim);
  write.left(row.queue(), row.state());
  write.arrived(row.queue(), to, at);
}

void erase_row(Write& write, const Row& row) {
  leave_group(write, row);
  release_key(write, row);
  if (!row.key.empty()) write.db.run(orphan_key, row.queue(), std::string_view{row.key}, row.seq);
  if (row.attempts_kept > 0) write.db.run(erase_attempts, row.seq);
  if (row.logs_kept > 0) write.db.run(erase_logs, row.seq);
  if (row.has_run) write.db.run(erase_run, row.seq);
  write.db.run(erase_job, row.seq);
  if (row.state() == State::active) write.lease_ended(row.claim);
  write.left(row.queue(), row.state());
}

void release_key(Write& write, const Row& row) {
  if (!row.key.empty()) write.db.run(free_key, row.queue(), std::string_view{row.key}, row.seq);
}

std::vector<LogLine> take_logs(Write& write, const Row& row) {
  std::vector<LogLine> lines;
  if (row.logs_kept == 0) return lines;
  {
    auto chunk = write.db.query(get_logs, row.seq);
    while (chunk.step()) read_lines(chunk.bytes(0), lines);
  }
  write.db.run(erase_logs, row.seq);
  return lines;
}

}  // namespace tidemill::sqlite_store
