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
