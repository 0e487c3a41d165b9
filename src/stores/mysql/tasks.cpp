#include "stores/mysql/tasks.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "stores/mysql/groups.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr auto get_text =
    join("SELECT ", job_columns,
         " FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (id) ON j.queue = t.queue AND j.id = t.id");
constexpr Sql get_refs{get_text.data()};
constexpr auto lock_text = join(get_text, " FOR UPDATE");
constexpr Sql lock_refs{lock_text.data()};

constexpr char joined_keys[] =
    "$1 AS t STRAIGHT_JOIN main.key k FORCE INDEX (PRIMARY) ON k.queue = t.queue AND "
    "k.unique_key = t.unique_key AND k.seq = t.seq";
constexpr auto get_keys_text =
    join("SELECT k.seq, k.length, k.outlives FROM ", joined_keys, " WHERE k.until IS NULL OR k.until > $2");
constexpr Sql get_keys{get_keys_text.data()};
constexpr auto free_keys_text = join("DELETE k FROM ", joined_keys, " WHERE NOT k.outlives");
constexpr Sql free_keys{free_keys_text.data()};
constexpr auto orphan_keys_text = join("UPDATE ", joined_keys, " SET k.seq = NULL");
constexpr Sql orphan_keys{orphan_keys_text.data()};

constexpr Sql erase_jobs{
    "DELETE j FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq"};
constexpr Sql erase_attempts{
    "DELETE a FROM $1 AS t STRAIGHT_JOIN main.attempt a FORCE INDEX (PRIMARY) ON a.seq = t.seq"};
constexpr Sql erase_logs{
    "DELETE l FROM $1 AS t STRAIGHT_JOIN main.log l FORCE INDEX (PRIMARY) ON l.seq = t.seq"};
constexpr Sql get_logs{
    "SELECT l.seq, l.n, l.text FROM $1 AS t STRAIGHT_JOIN main.log l FORCE INDEX (PRIMARY) ON l.seq = t.seq"};

/// Of the rows that were given a unique key; there may be none.
Table keys_of(auto&& rows) {
  Table keys{"queue", "unique_key", "seq"};
  for (const Row* const row : rows) {
    if (!row->key.empty()) keys.add(row->queue(), Blob{row->key}, row->seq);
  }
  return keys;
}

}  // namespace

Table table_of(std::span<const std::int64_t> seqs) {
  Table table{"seq"};
  for (const std::int64_t seq : seqs) table.add(seq);
  return table;
}

void add_refs(Scope& scope, std::span<const Ref> refs, Batch& batch, bool lock) {
  Table table{"queue", "id"};
  for (const Ref& ref : refs) {
    if (const auto queue = scope.find_queue(ref.queue)) table.add(*queue, Blob{stored_id(ref.id)});
  }
  batch.add(lock ? lock_refs : get_refs, table);
}

std::vector<std::optional<Row>> find_rows(Scope& scope, std::span<const Ref> refs, bool lock) {
  Batch batch;
  add_refs(scope, refs, batch, lock);
  return match_rows(std::move(scope.ask_all(std::move(batch)).front()), refs, scope);
}

void add_uniques(Scope& scope, std::span<Row* const> rows, TimePoint now) {
  const Table given = keys_of(rows);
  if (given.empty()) return;
  std::unordered_map<std::int64_t, Unique> held;
  auto columns = scope.ask(get_keys, given, stored(now));
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

void erase_rows(Write& write, std::span<const Row* const> rows) {
  if (rows.empty()) return;
  Table all{"seq"}, with_attempts{"seq"}, with_logs{"seq"};
  for (const Row* const row : rows) {
    leave_group(write, *row);
    all.add(row->seq);
    if (row->attempts_kept > 0) with_attempts.add(row->seq);
    if (row->logs_kept > 0) with_logs.add(row->seq);
    write.left(row->queue(), row->state());
  }
  release_keys(write, rows);
  if (const Table given = keys_of(rows); !given.empty()) write.tell(orphan_keys, given);
  if (!with_attempts.empty()) write.tell(erase_attempts, with_attempts);
  if (!with_logs.empty()) write.tell(erase_logs, with_logs);
  write.tell(erase_jobs, all);
}

void release_keys(Write& write, std::span<const Row* const> rows) {
  if (const Table given = keys_of(rows); !given.empty()) write.tell(free_keys, given);
}

std::vector<std::vector<LogLine>> take_logs(Write& write, std::span<const Row* const> rows) {
  std::vector<std::vector<LogLine>> all(rows.size());
  Table with_logs{"seq"};
  for (const Row* const row : rows) {
    if (row->logs_kept > 0) with_logs.add(row->seq);
  }
  if (with_logs.empty()) return all;
  std::map<std::pair<std::int64_t, std::int64_t>, std::string> chunks;
  auto chunk = write.ask(get_logs, with_logs);
  while (chunk.step()) chunks[{chunk.integer(0), chunk.integer(1)}] = chunk.bytes(2);
  write.tell(erase_logs, with_logs);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (auto at = chunks.lower_bound({rows[i]->seq, 0});
         at != chunks.end() && at->first.first == rows[i]->seq; ++at) {
      read_lines(at->second, all[i]);
    }
  }
  return all;
}

}  // namespace tidemill::mysql_store
