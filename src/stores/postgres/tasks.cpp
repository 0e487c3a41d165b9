#include "stores/postgres/tasks.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "stores/postgres/groups.hpp"

namespace tidemill::postgres_store {

namespace {

// In the order of their numbers, in which everybody locks rows, so that no two wait for each other.
constexpr auto lock_text =
    join("SELECT ", job_columns,
         " FROM unnest($1::bigint[], $2::bytea[]) AS t(queue, id) "
         "JOIN main.tidemill_job j ON j.queue = t.queue AND j.id = t.id ORDER BY j.seq FOR UPDATE OF j");
constexpr Sql lock_refs{lock_text.data()};
constexpr auto get_text = join("SELECT ", job_columns,
                               " FROM unnest($1::bigint[], $2::bytea[]) AS t(queue, id) "
                               "JOIN main.tidemill_job j ON j.queue = t.queue AND j.id = t.id");
constexpr Sql get_refs{get_text.data()};

constexpr Sql get_keys{
    "SELECT k.seq, k.length, k.outlives FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS "
    "t(queue, key, seq) JOIN main.tidemill_key k ON k.queue = t.queue AND k.key = t.key AND k.seq = t.seq "
    "WHERE k.until IS NULL OR k.until > $4"};
constexpr Sql free_keys{
    "DELETE FROM main.tidemill_key k USING unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS "
    "t(queue, key, seq) WHERE k.queue = t.queue AND k.key = t.key AND k.seq = t.seq AND NOT k.outlives"};
constexpr Sql orphan_keys{
    "UPDATE main.tidemill_key k SET seq = NULL FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS "
    "t(queue, key, seq) WHERE k.queue = t.queue AND k.key = t.key AND k.seq = t.seq"};

constexpr Sql move_jobs{
    "UPDATE main.tidemill_job j SET line = t.line, at = t.at, since = t.at, claim = $4, was_due = NULL "
    "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS t(seq, line, at) WHERE j.seq = t.seq"};
constexpr Sql erase_jobs{"DELETE FROM main.tidemill_job WHERE seq = ANY($1::bigint[])"};
constexpr Sql erase_attempts{"DELETE FROM main.tidemill_attempt WHERE seq = ANY($1::bigint[])"};
constexpr Sql erase_logs{"DELETE FROM main.tidemill_log WHERE seq = ANY($1::bigint[])"};
constexpr Sql take_logs_sql{
    "DELETE FROM main.tidemill_log WHERE seq = ANY($1::bigint[]) RETURNING seq, n, lines"};

std::int32_t number(const Query& row, int column, std::int64_t usual) {
  return static_cast<std::int32_t>(row.optional_integer(column).value_or(usual));
}

/// Of the rows that were given a unique key; false if there are none.
struct Keys {
  Array<std::int64_t> queues, seqs;
  Array<Blob> keys;

  explicit Keys(auto&& rows) {
    for (const Row* const row : rows) {
      if (row->key.empty()) continue;
      queues.add(row->queue());
      keys.add(Blob{row->key});
      seqs.add(row->seq);
    }
  }
};

}  // namespace

Row read_row(const Query& columns, Scope& scope) {
  Row row;
  Task& task = row.task;
  row.seq = columns.integer(0);
  row.line = columns.integer(1);
  row.at = time_of(columns.integer(2));
  row.since = time_of(columns.integer(3));
  row.claim = columns.integer(4);
  row.was_due = columns.boolean(5);
  task.ref.queue = scope.queue_name(row.queue());
  task.ref.id = id_text(columns.bytes(6));
  task.state = row.state();
  if (task.state == State::scheduled || task.state == State::retry) task.run_at = row.at;
  task.kind = scope.kind_name(columns.integer(7));
  task.created_at = time_of(columns.integer(8));
  task.priority = number(columns, 9, 0);
  task.retries_max = number(columns, 10, usual_retries_max);
  task.crashes_max = number(columns, 11, usual_crashes_max);
  task.timeout = Duration{columns.optional_integer(12).value_or(usual_timeout)};
  task.retention = Duration{columns.optional_integer(13).value_or(0)};
  task.deadline = time_of(columns.optional_integer(14));
  task.expires_at = time_of(columns.optional_integer(15));
  row.key = columns.bytes(16);
  task.group = columns.bytes(17);
  if (!columns.null(18)) task.headers = read_map(columns.bytes(18));
  task.payload = columns.bytes(19);
  if (!columns.null(20)) task.worker = id_text(columns.bytes(20));
  task.started_at = time_of(columns.optional_integer(21));
  row.marked = columns.boolean(22);
  row.signal = static_cast<Signal>(columns.integer(23));
  task.attempt = number(columns, 24, 0);
  task.retries = number(columns, 25, 0);
  task.crashes = number(columns, 26, 0);
  task.deferrals = number(columns, 27, 0);
  row.attempts_kept = columns.integer(28);
  row.logs_kept = columns.integer(29);
  task.ended_at = time_of(columns.optional_integer(30));
  task.reason = columns.bytes(31);
  task.progress = columns.bytes(32);
  task.error = columns.bytes(33);
  task.result = columns.bytes(34);
  return row;
}

std::vector<Row> read_rows(Query columns, Scope& scope) {
  std::vector<Row> rows;
  rows.reserve(static_cast<std::size_t>(columns.rows()));
  while (columns.step()) rows.push_back(read_row(columns, scope));
  return rows;
}

void add_refs(Scope& scope, std::span<const Ref> refs, Batch& batch, bool lock) {
  Array<std::int64_t> queues;
  Array<Blob> ids;
  for (const Ref& ref : refs) {
    const auto queue = scope.find_queue(ref.queue);
    if (!queue) continue;
    queues.add(*queue);
    ids.add(Blob{stored_id(ref.id)});
  }
  batch.add(lock ? lock_refs : get_refs, queues, ids);
}

std::vector<std::optional<Row>> match_rows(Query columns, std::span<const Ref> refs, Scope& scope) {
  std::vector<std::optional<Row>> rows(refs.size());
  std::multimap<Ref, std::size_t> places;
  for (std::size_t i = 0; i < refs.size(); ++i) places.emplace(refs[i], i);
  while (columns.step()) {
    Row row = read_row(columns, scope);
    const auto [first, last] = places.equal_range(row.task.ref);
    for (auto at = first; at != last; ++at) rows[at->second] = row;
  }
  return rows;
}

std::vector<std::optional<Row>> find_rows(Scope& scope, std::span<const Ref> refs, bool lock) {
  Batch batch;
  add_refs(scope, refs, batch, lock);
  return match_rows(std::move(scope.ask_all(std::move(batch)).front()), refs, scope);
}

void add_uniques(Scope& scope, std::span<Row* const> rows, TimePoint now) {
  const Keys given{rows};
  if (given.seqs.empty()) return;
  std::unordered_map<std::int64_t, Unique> held;
  auto columns = scope.ask(get_keys, given.queues, given.keys, given.seqs, stored(now));
  while (columns.step()) {
    held[columns.integer(0)] = {.window = Duration{columns.integer(1)}, .outlives_task = columns.boolean(2)};
  }
  for (Row* const row : rows) {
    const auto found = held.find(row->seq);
    if (found == held.end()) continue;
    row->task.unique = found->second;
    row->task.unique->key = row->key;
  }
}

void count_move(Write& write, const Move& move) {
  write.left(move.row->queue(), move.row->state());
  write.arrived(move.row->queue(), move.to, move.at);
}

void move_rows(Write& write, std::span<const Move> moves) {
  Array<std::int64_t> seqs, lines, ats;
  for (const Move& move : moves) {
    leave_group(write, *move.row);
    seqs.add(move.row->seq);
    lines.add(line_of(move.row->queue(), move.to, move.row->task.priority));
    ats.add(stored(move.at));
    count_move(write, move);
  }
  if (!seqs.empty()) write.tell(move_jobs, seqs, lines, ats, no_claim);
}

void erase_rows(Write& write, std::span<const Row* const> rows) {
  if (rows.empty()) return;
  Array<std::int64_t> all, with_attempts, with_logs;
  for (const Row* const row : rows) {
    leave_group(write, *row);
    all.add(row->seq);
    if (row->attempts_kept > 0) with_attempts.add(row->seq);
    if (row->logs_kept > 0) with_logs.add(row->seq);
    write.left(row->queue(), row->state());
  }
  release_keys(write, rows);
  if (const Keys given{rows}; !given.seqs.empty())
    write.tell(orphan_keys, given.queues, given.keys, given.seqs);
  if (!with_attempts.empty()) write.tell(erase_attempts, with_attempts);
  if (!with_logs.empty()) write.tell(erase_logs, with_logs);
  write.tell(erase_jobs, all);
}

void release_keys(Write& write, std::span<const Row* const> rows) {
  const Keys given{rows};
  if (!given.seqs.empty()) write.tell(free_keys, given.queues, given.keys, given.seqs);
}

std::vector<std::vector<LogLine>> take_logs(Write& write, std::span<const Row* const> rows) {
  std::vector<std::vector<LogLine>> all(rows.size());
  Array<std::int64_t> seqs;
  for (const Row* const row : rows) {
    if (row->logs_kept > 0) seqs.add(row->seq);
  }
  if (seqs.empty()) return all;
  std::map<std::pair<std::int64_t, std::int64_t>, std::string> chunks;
  auto chunk = write.ask(take_logs_sql, seqs);
  while (chunk.step()) chunks[{chunk.integer(0), chunk.integer(1)}] = chunk.bytes(2);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (auto at = chunks.lower_bound({rows[i]->seq, 0});
         at != chunks.end() && at->first.first == rows[i]->seq; ++at) {
      read_lines(at->second, all[i]);
    }
  }
  return all;
}

}  // namespace tidemill::postgres_store
