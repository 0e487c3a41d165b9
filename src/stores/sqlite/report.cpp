#include "stores/sqlite/report.hpp"

#include "core/transitions.hpp"
#include "stores/sqlite/enqueue.hpp"
#include "stores/sqlite/tasks.hpp"

namespace tidemill::sqlite_store {

namespace {

constexpr std::int64_t attempts_max = 100;

// The most frequent report by far: a success that is not kept, of a task without key and run. It is found by
// its row's number and deleted, without being read before.
constexpr sqlite::Sql finish_job{
    "DELETE FROM main.tidemill_job WHERE seq = ?1 AND claim = ?2 AND queue = ?3 AND id = ?4 AND key IS NULL "
    "AND has_run IS NULL"};

constexpr sqlite::Sql end_run{
    "UPDATE main.tidemill_run SET marked = NULL, signal = NULL, logs_kept = NULL, worker = ?2, started_at = "
    "?3, "
    "attempt = ?4, retries = ?5, crashes = ?6, deferrals = ?7, attempts_kept = ?8, ended_at = ?9, purge_at = "
    "?10, "
    "reason = ?11, error = ?12, result = ?13 WHERE seq = ?1"};
constexpr sqlite::Sql add_attempt{
    "INSERT INTO main.tidemill_attempt (seq, n, number, started_at, ended_at, worker, error, logs) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"};
constexpr sqlite::Sql drop_attempts{"DELETE FROM main.tidemill_attempt WHERE seq = ?1 AND n <= ?2"};

constexpr sqlite::Sql change_run{
    "UPDATE main.tidemill_run SET ended_at = ?2, purge_at = ?3, reason = ?4 WHERE seq = ?1"};
constexpr sqlite::Sql start_afresh{
    "UPDATE main.tidemill_run SET retries = NULL, crashes = NULL, deferrals = NULL WHERE seq = ?1"};
constexpr sqlite::Sql set_signal{"UPDATE main.tidemill_run SET signal = ?2 WHERE seq = ?1"};

bool finish(Write& write, const Report& report, const Token& token) {
  if (report.to != State::gone || !report.then.empty()) return false;
  const auto queue = write.find_queue(report.lease->task.ref.queue);
  if (!queue) return false;
  const StoredId id{report.lease->task.ref.id};
  if (write.db.run(finish_job, token.seq, token.claim, *queue, id) == 0) return false;
  write.lease_ended(token.claim);
  write.left(*queue, State::active);
  return true;
}

void record(Write& write, const Row& row, const Report& report, std::vector<LogLine> logs, TimePoint now) {
  logs.insert(logs.end(), report.logs.begin(), report.logs.end());
  const std::int64_t n = row.attempts_kept + 1;
  const std::string lines = write_lines(logs);
  const StoredId worker{row.task.worker};
  write.db.run(add_attempt, row.seq, n, report.attempt, stored(report.started_at), stored(now), worker,
               unless_empty(report.error), lines.empty() ? std::nullopt : std::optional{sqlite::Blob{lines}});
  if (n > attempts_max) write.db.run(drop_attempts, row.seq, n - attempts_max);
}

TimePoint at_of(const Report& report, const Row& row, TimePoint now) {
  if (report.to == State::scheduled || report.to == State::retry) return now + report.delay;
  if (report.to == State::pending && report.front) return row.since;
  return now;
}

void end_attempt(Write& write, const Row& row, const Report& report, TimePoint now) {
  if (report.release_key) release_key(write, row);
  if (report.to == State::gone) {
    erase_row(write, row);
    return;
  }
  std::vector<LogLine> logs = take_logs(write, row);
  if (report.record) record(write, row, report, std::move(logs), now);
  std::optional<std::int64_t> ended_at;
  std::optional<std::int64_t> purge_at;
  if (is_over(report.to)) {
    ended_at = stored(now);
    if (report.keep) purge_at = stored(now + *report.keep);
  }
  const std::string& error = report.error.empty() && !report.record ? row.task.error : report.error;
  const auto result = report.result.empty() ? std::nullopt : std::optional{sqlite::Blob{report.result}};
  need_run(write, row);
  write.db.run(end_run, row.seq, StoredId{row.task.worker}, stored(row.task.started_at),
               unless(0, report.attempt), unless(0, report.retries), unless(0, report.crashes),
               unless(0, report.deferrals), unless(0, row.attempts_kept + (report.record ? 1 : 0)), ended_at,
               purge_at, unless_empty(report.reason), unless_empty(error), result);
  move_row(write, row, report.to, at_of(report, row, now));
}

Reported report_one(Write& write, const Report& report, TimePoint now, std::size_t bytes_max) {
  if (report.lease == nullptr || !allowed(State::active, report.to)) return Reported::failed;
  const auto token = parse_token(report.lease->token);
  if (token && finish(write, report, *token)) return Reported::applied;
  const auto row = find_row(write, report.lease->task.ref);
  if (!row || is_over(row->state())) return Reported::ended;
  const bool held =
      token && row->state() == State::active && row->seq == token->seq && row->claim == token->claim;
  if (!held) return Reported::lost;
  end_attempt(write, *row, report, now);
  enqueue_all(write, report.then, now, bytes_max);
  return Reported::applied;
}

void change_row(Write& write, const Row& row, const Change& change, TimePoint now) {
  if (change.release_key) release_key(write, row);
  if (change.to == State::gone) {
    erase_row(write, row);
    return;
  }
  std::optional<std::int64_t> ended_at;
  std::optional<std::int64_t> purge_at;
  if (is_over(change.to)) {
    ended_at = stored(now);
    if (change.keep) purge_at = stored(now + *change.keep);
  }
  need_run(write, row);
  write.db.run(change_run, row.seq, ended_at, purge_at, unless_empty(change.reason));
  if (change.fresh) write.db.run(start_afresh, row.seq);
  move_row(write, row, change.to, change.to == State::scheduled ? change.run_at.value_or(now) : now);
}

Changed change_one(Write& write, const Ref& ref, const Change& change, TimePoint now) {
  const auto row = find_row(write, ref);
  if (!row) return Changed::absent;
  if (!change.from.has(row->state()) || row->in_set()) return Changed::wrong_state;
  if (row->state() == State::active) {
    if (change.signal == Signal::none) return Changed::wrong_state;
    need_run(write, *row);
    write.db.run(set_signal, row->seq, change.signal);
    write.signalled(row->task.worker);
    return Changed::signalled;
  }
  // Only a claim makes a task active, as only a claim has a lease to give.
  if (change.to == State::active || !allowed(row->state(), change.to)) return Changed::failed;
  change_row(write, *row, change, now);
  return Changed::changed;
}

}  // namespace

std::vector<Reported> report_all(Write& write, std::span<const Report> reports, TimePoint now,
                                 std::size_t task_bytes_max) {
  std::vector<Reported> answers;
  answers.reserve(reports.size());
  for (const Report& report : reports) answers.push_back(report_one(write, report, now, task_bytes_max));
  return answers;
}

std::vector<Changed> change_all(Write& write, std::span<const Ref> refs, const Change& change,
                                TimePoint now) {
  std::vector<Changed> answers;
  answers.reserve(refs.size());
  for (const Ref& ref : refs) answers.push_back(change_one(write, ref, change, now));
  return answers;
}

}  // namespace tidemill::sqlite_store
