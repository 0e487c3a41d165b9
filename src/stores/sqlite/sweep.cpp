#include <algorithm>

#include "stores/sqlite/claim.hpp"
#include "stores/sqlite/groups.hpp"
#include "stores/sqlite/renew.hpp"
#include "stores/sqlite/tasks.hpp"

namespace tidemill::sqlite_store {

namespace {

using namespace std::chrono_literals;

constexpr auto silent_max = 1h;
constexpr auto minutes_kept = 48h;
constexpr auto days_kept = 366 * 24h;
/// Rows of what is not counted in the answer that one sweep deletes of each sort.
constexpr std::int64_t leftovers_max = 1000;

constexpr sqlite::Sql queues_with{"SELECT queue FROM main.tidemill_counter WHERE state = ?1 AND tasks > 0"};
constexpr sqlite::Sql past{
    "SELECT at, seq FROM main.tidemill_job WHERE line = ?1 AND at <= ?2 ORDER BY at, seq LIMIT ?3"};
constexpr sqlite::Sql past_retention{
    "SELECT seq FROM main.tidemill_run WHERE purge_at IS NOT NULL AND purge_at <= ?1 ORDER BY purge_at, seq "
    "LIMIT ?2"};

constexpr auto get_row_text = sqlite::join("SELECT ", row_columns, row_tables, "WHERE j.seq = ?1");
constexpr sqlite::Sql get_row{get_row_text.data()};
constexpr sqlite::Sql add_claim{
    "INSERT INTO main.tidemill_claim (id, worker, started_at, held) VALUES (?1, ?2, ?3, 1)"};
constexpr sqlite::Sql take_over{"UPDATE main.tidemill_job SET at = ?2, claim = ?3 WHERE seq = ?1"};

constexpr sqlite::Sql drop_keys{
    "DELETE FROM main.tidemill_key WHERE (queue, key) IN (SELECT queue, key FROM main.tidemill_key "
    "WHERE until IS NOT NULL AND until <= ?1 LIMIT ?2)"};
constexpr sqlite::Sql drop_workers{
    "DELETE FROM main.tidemill_worker WHERE id IN (SELECT id FROM main.tidemill_worker WHERE beat_at <= ?1 "
    "LIMIT ?2)"};
constexpr sqlite::Sql drop_stats{
    "DELETE FROM main.tidemill_stat WHERE (span, at, queue, kind) IN (SELECT span, at, queue, kind "
    "FROM main.tidemill_stat WHERE span = ?1 AND at < ?2 LIMIT ?3)"};
constexpr sqlite::Sql drop_locks{
    "DELETE FROM main.tidemill_lock WHERE name IN (SELECT name FROM main.tidemill_lock WHERE until <= ?1 "
    "LIMIT ?2)"};
constexpr sqlite::Sql drop_documents{
    "DELETE FROM main.tidemill_document WHERE id IN (SELECT id FROM main.tidemill_document "
    "WHERE expires_at IS NOT NULL AND expires_at <= ?1 LIMIT ?2)"};
constexpr sqlite::Sql any_lock{"SELECT 1 FROM main.tidemill_lock WHERE until <= ?1 LIMIT 1"};
constexpr sqlite::Sql any_document{
    "SELECT 1 FROM main.tidemill_document WHERE expires_at IS NOT NULL AND expires_at <= ?1 LIMIT 1"};
constexpr sqlite::Sql any_key{
    "SELECT 1 FROM main.tidemill_key WHERE until IS NOT NULL AND until <= ?1 LIMIT 1"};
constexpr sqlite::Sql any_worker{"SELECT 1 FROM main.tidemill_worker WHERE beat_at <= ?1 LIMIT 1"};
constexpr sqlite::Sql any_stat{"SELECT 1 FROM main.tidemill_stat WHERE span = ?1 AND at < ?2 LIMIT 1"};

/// Counters are exact, so a sweep need not look into the queues that have no task in this state.
std::vector<std::int64_t> queues_in(Scope& scope, State state) {
  std::vector<std::int64_t> queues;
  auto row = scope.db.query(queues_with, state);
  while (row.step()) queues.push_back(row.integer(0));
  return queues;
}

bool any_past(Scope& scope, State state, TimePoint now) {
  for (const std::int64_t queue : queues_in(scope, state)) {
    if (scope.db.any(past, line_of(queue, state), stored(now), 1)) return true;
  }
  return false;
}

std::optional<Row> read(Write& write, std::int64_t seq) {
  auto columns = write.db.query(get_row, seq);
  if (!columns.step()) return {};
  Row row;
  read_row(columns, write, row);
  return row;
}

/// Each has a claim of its own, as each keeps the time at which its attempt began.
Lease take_lease(Write& write, Row row, std::string_view worker, Duration length, TimePoint now) {
  const std::int64_t claim = make_claim();
  write.db.run(add_claim, claim, StoredId{worker}, stored(row.task.started_at));
  write.db.run(take_over, row.seq, stored(now + length), claim);
  write.lease_ended(row.claim);
  if (row.was_due) row.task.run_at = row.since;
  row.task.unique = read_unique(write, row, now);
  // The answer names the worker that lost the lease: that is whose death core writes down.
  return {std::move(row.task), token_text({row.seq, claim}), length, row.marked};
}

std::vector<Lease> take_leases(Write& write, std::string_view worker, Duration length, std::size_t limit,
                               TimePoint now) {
  std::vector<std::pair<std::int64_t, std::int64_t>> expired;
  for (const std::int64_t queue : queues_in(write, State::active)) {
    auto row = write.db.query(past, line_of(queue, State::active), stored(now), limit);
    while (row.step()) expired.emplace_back(row.integer(0), row.integer(1));
  }
  std::sort(expired.begin(), expired.end());
  if (expired.size() > limit) expired.resize(limit);
  std::vector<Lease> leases;
  for (const auto& [end, seq] : expired) {
    if (auto row = read(write, seq))
      leases.push_back(take_lease(write, std::move(*row), worker, length, now));
  }
  return leases;
}

std::size_t promote_all(Write& write, std::size_t limit, TimePoint now) {
  std::vector<std::int64_t> queues = queues_in(write, State::scheduled);
  for (const std::int64_t queue : queues_in(write, State::retry)) queues.push_back(queue);
  std::sort(queues.begin(), queues.end());
  queues.erase(std::unique(queues.begin(), queues.end()), queues.end());
  std::vector<Due> due;
  for (const std::int64_t queue : queues) find_due(write, queue, now, limit, due);
  return promote(write, due, limit);
}

std::size_t purge(Write& write, std::size_t limit, TimePoint now) {
  std::vector<std::int64_t> seqs;
  {
    auto row = write.db.query(past_retention, stored(now), limit);
    while (row.step()) seqs.push_back(row.integer(0));
  }
  for (const std::int64_t seq : seqs) {
    if (const auto row = read(write, seq)) erase_row(write, *row);
  }
  return seqs.size();
}

}  // namespace

bool sweep_nothing(Scope& scope, TimePoint now) {
  return !any_past(scope, State::active, now) && !any_set_lapsed(scope, now) &&
         !any_past(scope, State::scheduled, now) && !any_past(scope, State::retry, now) &&
         !scope.db.any(past_retention, stored(now), 1) && !scope.db.any(any_key, stored(now)) &&
         !scope.db.any(any_worker, stored(now - silent_max)) &&
         !scope.db.any(any_stat, Span::minute, stored(now - minutes_kept)) &&
         !scope.db.any(any_stat, Span::day, stored(now - days_kept)) &&
         !scope.db.any(any_lock, stored(now)) && !scope.db.any(any_document, stored(now));
}

Swept sweep_all(Write& write, std::string_view worker, Duration lease, std::size_t limit, TimePoint now) {
  Swept answer;
  answer.taken = take_leases(write, worker, lease, limit, now);
  regroup_lapsed(write, now);
  answer.promoted = promote_all(write, limit, now);
  answer.purged = purge(write, limit, now);
  write.db.run(drop_keys, stored(now), leftovers_max);
  write.db.run(drop_workers, stored(now - silent_max), leftovers_max);
  write.db.run(drop_stats, Span::minute, stored(now - minutes_kept), leftovers_max);
  write.db.run(drop_stats, Span::day, stored(now - days_kept), leftovers_max);
  const auto locks = static_cast<std::size_t>(write.db.run(drop_locks, stored(now), limit));
  const auto documents = static_cast<std::size_t>(write.db.run(drop_documents, stored(now), limit));
  answer.more = answer.taken.size() == limit || answer.promoted == limit || answer.purged == limit ||
                locks == limit || documents == limit;
  return answer;
}

}  // namespace tidemill::sqlite_store
