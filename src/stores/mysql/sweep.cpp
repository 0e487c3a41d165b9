#include <algorithm>
#include <utility>

#include "stores/mysql/claim.hpp"
#include "stores/mysql/database.hpp"
#include "stores/mysql/plain_sql.hpp"
#include "stores/mysql/sweep.hpp"
#include "stores/sql/groups.hpp"

namespace tidemill::mysql_store {

namespace {

using namespace std::chrono_literals;

constexpr auto silent_max = 1h;
constexpr auto minutes_kept = 48h;
constexpr auto days_kept = 366 * 24h;
/// Rows of what is not counted in the answer that one sweep deletes of each sort.
constexpr std::int64_t leftovers_max = 1000;

constexpr auto queues_with_text =
    join("SELECT state, queue FROM ", all_counts,
         " WHERE state IN (1, 3, 4) GROUP BY state, queue HAVING SUM(tasks) > 0 ORDER BY queue, state");
constexpr Sql queues_with{queues_with_text.data()};
constexpr Sql any_past{"SELECT EXISTS (SELECT 1 FROM main.job WHERE line = $1 AND at <= $2)"};
// Times: now, since when workers are silent, before which minutes and days go.
constexpr Sql any_leftover{
    "SELECT EXISTS (SELECT 1 FROM main.purge WHERE at <= $1) "
    "OR EXISTS (SELECT 1 FROM main.set WHERE until <= $1) "
    "OR EXISTS (SELECT 1 FROM main.key WHERE until <= $1) "
    "OR EXISTS (SELECT 1 FROM main.lock WHERE until <= $1) "
    "OR EXISTS (SELECT 1 FROM main.document WHERE expires_at <= $1) "
    "OR EXISTS (SELECT 1 FROM main.worker WHERE beat_at <= $2) "
    "OR EXISTS (SELECT 1 FROM main.stat WHERE span = 0 AND at < $3) "
    "OR EXISTS (SELECT 1 FROM main.stat WHERE span = 1 AND at < $4) "
    "OR EXISTS (SELECT 1 FROM main.delta) "
    "OR EXISTS (SELECT 1 FROM main.joined) "
    "OR EXISTS (SELECT 1 FROM main.task WHERE error IS NULL) "
    "OR EXISTS (SELECT 1 FROM main.session WHERE used_at < UNIX_TIMESTAMP() - 86400)"};

constexpr auto lapsed_text =
    join("SELECT ", job_columns,
         " FROM main.job j FORCE INDEX (line) WHERE j.line = $1 AND j.at <= $2 ORDER BY j.line, j.at, j.seq "
         "LIMIT $3 FOR UPDATE SKIP LOCKED");
constexpr Sql get_lapsed{lapsed_text.data()};
constexpr Sql take_over{
    "UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET j.at = $2, "
    "j.claim = t.claim, j.worker = $3"};
constexpr Sql get_purges{
    "SELECT at, seq FROM main.purge WHERE at <= $1 ORDER BY at, seq LIMIT $2 FOR UPDATE SKIP LOCKED"};
constexpr auto past_retention_text = join(
    "SELECT ", job_columns,
    " FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq AND j.purge_at = t.at "
    "FOR UPDATE");
constexpr Sql past_retention{past_retention_text.data()};
constexpr Sql drop_purges{
    "DELETE p FROM $1 AS t STRAIGHT_JOIN main.purge p FORCE INDEX (PRIMARY) ON p.at = t.at AND p.seq = "
    "t.seq"};

constexpr Sql drop_keys{"DELETE FROM main.key WHERE until <= $1 ORDER BY until LIMIT $2"};
constexpr Sql drop_workers{"DELETE FROM main.worker WHERE beat_at <= $1 ORDER BY beat_at LIMIT $2"};
constexpr Sql drop_stats{
    "DELETE FROM main.stat WHERE span = $1 AND at < $2 ORDER BY span, at, queue, kind LIMIT $3"};
constexpr Sql drop_locks{"DELETE FROM main.lock WHERE until <= $1 ORDER BY until LIMIT $2"};
constexpr Sql drop_documents{"DELETE FROM main.document WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2"};
constexpr Sql drop_sessions{"DELETE FROM main.session WHERE used_at < UNIX_TIMESTAMP() - 86400"};
// What others' open transactions have appended is locked.
constexpr Sql get_deltas{
    "SELECT id, queue, state, tasks FROM main.delta ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED"};
constexpr Sql drop_deltas{
    "DELETE d FROM $1 AS t STRAIGHT_JOIN main.delta d FORCE INDEX (PRIMARY) ON d.id = t.id"};

/// Counters are exact, so a sweep need not look into the queues that have no task in a state.
struct Queues {
  std::vector<std::int64_t> active_lines, waiting_lines, waiting;
};

Queues queues_in(Scope& scope) {
  Queues queues;
  auto row = scope.ask(queues_with);
  while (row.step()) {
    const auto state = static_cast<State>(row.integer(0));
    const std::int64_t queue = row.integer(1);
    (state == State::active ? queues.active_lines : queues.waiting_lines).push_back(line_of(queue, state));
    if (state != State::active && std::ranges::find(queues.waiting, queue) == queues.waiting.end())
      queues.waiting.push_back(queue);
  }
  return queues;
}

/// Each has a claim of its own, as each keeps the time at which its attempt began.
std::vector<Lease> take_leases(Write& write, const std::vector<std::int64_t>& lines, std::string_view worker,
                               Duration length, std::size_t limit, TimePoint now) {
  std::vector<Lease> leases;
  if (lines.empty()) return leases;
  Batch batch;
  for (const std::int64_t line : lines) batch.add(get_lapsed, line, stored(now), limit);
  std::vector<Row> rows;
  for (Query& each : write.ask_all(std::move(batch))) {
    for (Row& row : read_rows(std::move(each), write)) rows.push_back(std::move(row));
  }
  std::ranges::sort(
      rows, [](const Row& a, const Row& b) { return std::pair{a.at, a.seq} < std::pair{b.at, b.seq}; });
  if (rows.size() > limit) rows.resize(limit);
  if (rows.empty()) return leases;
  std::vector<Row*> all;
  for (Row& row : rows) all.push_back(&row);
  add_uniques(write, all, now);
  Table table{"seq", "claim"};
  for (Row& row : rows) {
    const std::int64_t claim = make_claim();
    table.add(row.seq, claim);
    if (row.was_due) row.task.run_at = row.since;
    // The answer names the worker that lost the lease: that is whose death core writes down.
    leases.push_back({std::move(row.task), token_text({row.seq, claim}), length, row.marked});
  }
  write.tell(take_over, table, stored(now + length), Blob{stored_id(worker)});
  return leases;
}

/// What is over for long enough goes; and what is noted of a time that was another by then.
void purge(Write& write, std::size_t limit, TimePoint now, Swept& answer) {
  while (answer.purged < limit) {
    const std::size_t most = limit - answer.purged;
    Table table{"at", "seq"};
    auto purges = write.ask(get_purges, stored(now), most);
    while (purges.step()) table.add(purges.integer(0), purges.integer(1));
    if (table.empty()) return;
    const auto rows = read_rows(write.ask(past_retention, table), write);
    std::vector<const Row*> all;
    for (const Row& row : rows) all.push_back(&row);
    erase_rows(write, all);
    write.tell(drop_purges, table);
    answer.purged += rows.size();
    if (table.size() < most) return;
  }
  answer.more = true;
}

void fold_deltas(Write& write) {
  Table table{"id"};
  auto row = write.ask(get_deltas, leftovers_max);
  while (row.step()) {
    write.count(row.integer(1), static_cast<State>(row.integer(2)), row.integer(3));
    table.add(row.integer(0));
  }
  if (!table.empty()) write.tell(drop_deltas, table);
}

}  // namespace

bool sweep_nothing(Scope& scope, TimePoint now) {
  Queues queues = queues_in(scope);
  std::vector<std::int64_t> lines = std::move(queues.active_lines);
  lines.insert(lines.end(), queues.waiting_lines.begin(), queues.waiting_lines.end());
  Batch batch;
  batch.add(any_leftover, stored(now), stored(now - silent_max), stored(now - minutes_kept),
            stored(now - days_kept));
  for (const std::int64_t line : lines) batch.add(any_past, line, stored(now));
  return std::ranges::none_of(scope.ask_all(std::move(batch)),
                              [](Query& row) { return row.step() && row.boolean(0); });
}

Swept sweep_all(Write& write, std::string_view worker, Duration lease, std::size_t limit, TimePoint now,
                std::size_t task_bytes_max) {
  Swept answer;
  const auto most = static_cast<std::int64_t>(limit);
  take_inbox(write, now, task_bytes_max);
  const Queues queues = queues_in(write);
  answer.taken = take_leases(write, queues.active_lines, worker, lease, limit, now);
  regroup_lapsed(write, now);
  fold_joined(write);
  fold_deltas(write);
  if (!queues.waiting.empty()) answer.promoted = promote(write, queues.waiting, limit, now);
  purge(write, limit, now, answer);
  write.tell(drop_keys, stored(now), leftovers_max);
  write.tell(drop_workers, stored(now - silent_max), leftovers_max);
  write.tell(drop_stats, Span::minute, stored(now - minutes_kept), leftovers_max);
  write.tell(drop_stats, Span::day, stored(now - days_kept), leftovers_max);
  write.tell(drop_sessions);
  Batch batch;
  batch.add(drop_locks, stored(now), most);
  batch.add(drop_documents, stored(now), most);
  auto answers = write.ask_all(std::move(batch));
  answer.more = answer.more || answer.taken.size() == limit || answer.promoted == limit ||
                answers[0].changes() == most || answers[1].changes() == most;
  return answer;
}

}  // namespace tidemill::mysql_store
