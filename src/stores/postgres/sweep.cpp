#include <algorithm>

#include "stores/postgres/claim.hpp"
#include "stores/postgres/database.hpp"
#include "stores/postgres/sweep.hpp"
#include "stores/sql/groups.hpp"

namespace tidemill::postgres_store {

namespace {

using namespace std::chrono_literals;

constexpr auto silent_max = 1h;
constexpr auto minutes_kept = 48h;
constexpr auto days_kept = 366 * 24h;
/// Rows of what is not counted in the answer that one sweep deletes of each sort.
constexpr std::int64_t leftovers_max = 1000;

constexpr Sql queues_with{
    "SELECT state, queue FROM main.tidemill_count WHERE state IN (1, 3, 4) GROUP BY state, queue HAVING "
    "sum(tasks) > 0 ORDER BY queue"};
constexpr Sql any_past{
    "SELECT 1 FROM unnest($1::bigint[]) AS l(line) WHERE EXISTS (SELECT 1 FROM main.tidemill_job j "
    "WHERE j.line = l.line AND j.at <= $2) LIMIT 1"};
// Times: now, since when workers are silent, before which minutes and days go.
constexpr Sql any_leftover{
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM main.tidemill_job WHERE purge_at IS NOT NULL AND purge_at <= $1) "
    "OR EXISTS (SELECT 1 FROM main.tidemill_set WHERE until <= $1) "
    "OR EXISTS (SELECT 1 FROM main.tidemill_key WHERE until IS NOT NULL AND until <= $1) "
    "OR EXISTS (SELECT 1 FROM main.tidemill_lock WHERE until <= $1) "
    "OR EXISTS (SELECT 1 FROM main.tidemill_document WHERE expires_at IS NOT NULL AND expires_at <= $1) "
    "OR EXISTS (SELECT 1 FROM main.tidemill_worker WHERE beat_at <= $2) "
    "OR EXISTS (SELECT 1 FROM main.tidemill_stat WHERE span = 0 AND at < $3) "
    "OR EXISTS (SELECT 1 FROM main.tidemill_stat WHERE span = 1 AND at < $4) "
    "OR EXISTS (SELECT 1 FROM main.tidemill_delta) "
    "OR EXISTS (SELECT 1 FROM main.tidemill_joined) "
    "OR EXISTS (SELECT 1 FROM main.tidemill_session WHERE used_at < now() - interval '1 day')"};

constexpr auto lapsed_text =
    join("SELECT ", job_columns,
         " FROM main.tidemill_job j JOIN (SELECT d.seq, d.at FROM unnest($1::bigint[]) AS l(line), LATERAL "
         "(SELECT i.seq, i.at FROM main.tidemill_job i WHERE i.line = l.line AND i.at <= $2 ORDER BY i.at, "
         "i.seq LIMIT $3) d ORDER BY d.at, d.seq LIMIT $3) e ON e.seq = j.seq WHERE j.at <= $2 "
         "ORDER BY j.at, j.seq FOR UPDATE OF j SKIP LOCKED");
constexpr Sql get_lapsed{lapsed_text.data()};
constexpr Sql take_over{
    "UPDATE main.tidemill_job j SET at = $3, claim = t.claim, worker = $4 FROM unnest($1::bigint[], "
    "$2::bigint[]) AS t(seq, claim) WHERE j.seq = t.seq"};
constexpr auto past_retention_text =
    join("SELECT ", job_columns,
         " FROM main.tidemill_job j WHERE j.purge_at IS NOT NULL AND j.purge_at <= $1 "
         "ORDER BY j.purge_at, j.seq LIMIT $2 FOR UPDATE OF j SKIP LOCKED");
constexpr Sql past_retention{past_retention_text.data()};

constexpr Sql drop_keys{
    "DELETE FROM main.tidemill_key WHERE (queue, key) IN (SELECT queue, key FROM main.tidemill_key "
    "WHERE until IS NOT NULL AND until <= $1 LIMIT $2) AND until <= $1"};
constexpr Sql drop_workers{
    "DELETE FROM main.tidemill_worker WHERE id IN (SELECT id FROM main.tidemill_worker WHERE beat_at <= $1 "
    "LIMIT $2) AND beat_at <= $1"};
constexpr Sql drop_stats{
    "DELETE FROM main.tidemill_stat WHERE (span, at, queue, kind) IN (SELECT span, at, queue, kind "
    "FROM main.tidemill_stat WHERE span = $1 AND at < $2 LIMIT $3)"};
constexpr Sql drop_locks{
    "DELETE FROM main.tidemill_lock WHERE name IN (SELECT name FROM main.tidemill_lock WHERE until <= $1 "
    "LIMIT $2) AND until <= $1"};
constexpr Sql drop_documents{
    "DELETE FROM main.tidemill_document WHERE (folder, name) IN (SELECT folder, name FROM "
    "main.tidemill_document WHERE expires_at IS NOT NULL AND expires_at <= $1 LIMIT $2) AND expires_at <= "
    "$1"};
constexpr Sql drop_sessions{"DELETE FROM main.tidemill_session WHERE used_at < now() - interval '1 day'"};
constexpr Sql fold_deltas{
    "WITH gone AS (DELETE FROM main.tidemill_delta RETURNING queue, state, tasks) "
    "INSERT INTO main.tidemill_counter AS c (queue, state, lane, tasks) SELECT queue, state, 0, sum(tasks) "
    "FROM gone GROUP BY queue, state ORDER BY queue, state "
    "ON CONFLICT (queue, state, lane) DO UPDATE SET tasks = c.tasks + excluded.tasks"};

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
  auto rows = read_rows(write.ask(get_lapsed, lines, stored(now), static_cast<std::int64_t>(limit)), write);
  if (rows.empty()) return leases;
  std::vector<Row*> all;
  for (Row& row : rows) all.push_back(&row);
  add_uniques(write, all, now);
  Array<std::int64_t> seqs, claims;
  for (Row& row : rows) {
    const std::int64_t claim = make_claim();
    seqs.add(row.seq);
    claims.add(claim);
    if (row.was_due) row.task.run_at = row.since;
    // The answer names the worker that lost the lease: that is whose death core writes down.
    leases.push_back({std::move(row.task), token_text({row.seq, claim}), length, row.marked});
  }
  write.tell(take_over, seqs, claims, stored(now + length), Blob{stored_id(worker)});
  return leases;
}

std::size_t purge(Write& write, std::size_t limit, TimePoint now) {
  const auto rows =
      read_rows(write.ask(past_retention, stored(now), static_cast<std::int64_t>(limit)), write);
  std::vector<const Row*> all;
  for (const Row& row : rows) all.push_back(&row);
  erase_rows(write, all);
  return rows.size();
}

}  // namespace

bool sweep_nothing(Scope& scope, TimePoint now) {
  Queues queues = queues_in(scope);
  std::vector<std::int64_t> lines = std::move(queues.active_lines);
  lines.insert(lines.end(), queues.waiting_lines.begin(), queues.waiting_lines.end());
  Batch batch;
  batch.add(any_past, lines, stored(now));
  batch.add(any_leftover, stored(now), stored(now - silent_max), stored(now - minutes_kept),
            stored(now - days_kept));
  auto answers = scope.ask_all(std::move(batch));
  return !answers[0].step() && !answers[1].step();
}

Swept sweep_all(Write& write, std::string_view worker, Duration lease, std::size_t limit, TimePoint now) {
  Swept answer;
  const auto most = static_cast<std::int64_t>(limit);
  const Queues queues = queues_in(write);
  answer.taken = take_leases(write, queues.active_lines, worker, lease, limit, now);
  regroup_lapsed(write, now);
  fold_joined(write);
  if (!queues.waiting.empty()) answer.promoted = promote(write, queues.waiting, limit, now);
  answer.purged = purge(write, limit, now);
  write.tell(drop_keys, stored(now), leftovers_max);
  write.tell(drop_workers, stored(now - silent_max), leftovers_max);
  write.tell(drop_stats, Span::minute, stored(now - minutes_kept), leftovers_max);
  write.tell(drop_stats, Span::day, stored(now - days_kept), leftovers_max);
  write.tell(drop_sessions);
  Batch batch;
  batch.add(drop_locks, stored(now), most);
  batch.add(drop_documents, stored(now), most);
  batch.add(fold_deltas);
  auto answers = write.ask_all(std::move(batch));
  answer.more = answer.taken.size() == limit || answer.promoted == limit || answer.purged == limit ||
                answers[0].changes() == most || answers[1].changes() == most;
  return answer;
}

}  // namespace tidemill::postgres_store
