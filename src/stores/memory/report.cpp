// How attempts end.
#include "core/transitions.hpp"
#include "stores/memory/store_impl.hpp"

namespace tidemill::memory {

namespace {

constexpr std::size_t attempts_max = 100;

void record(Row& row, const Report& report, TimePoint now) {
  Attempt attempt;
  attempt.number = report.attempt;
  attempt.started_at = report.started_at;
  attempt.ended_at = now;
  attempt.worker = row.task.worker;
  attempt.error = report.error;
  attempt.logs = row.logs;
  attempt.logs.insert(attempt.logs.end(), report.logs.begin(), report.logs.end());
  row.attempts.push_back(std::move(attempt));
  if (row.attempts.size() > attempts_max) row.attempts.erase(row.attempts.begin());
}

}  // namespace

std::vector<Reported> MemoryStore::report(std::span<const Report> reports, const Call& call) {
  const std::lock_guard lock{mutex_};
  std::vector<Reported> answers;
  for (const Report& report : reports) answers.push_back(end_attempt(report, call.now));
  changed_.notify_all();
  return answers;
}

Reported MemoryStore::end_attempt(const Report& report, TimePoint now) {
  if (report.lease == nullptr || !allowed(State::active, report.to)) return Reported::failed;
  Row* row = rows_.find(report.lease->task.ref);
  if (row == nullptr || is_over(row->task.state)) return Reported::ended;
  if (row->task.state != State::active || row->token != report.lease->token) return Reported::lost;

  if (report.release_key) rows_.release_key(*row);
  if (report.to == State::gone) {
    rows_.erase(*row);
  } else {
    if (report.record) record(*row, report, now);
    rows_.edit(*row, [&](Row& edited) { enter_state(edited, report, now); });
  }
  for (const Task& task : report.then) put(task, now);
  return Reported::applied;
}

void MemoryStore::enter_state(Row& row, const Report& report, TimePoint now) {
  Task& task = row.task;
  task.state = report.to;
  task.attempt = report.attempt;
  task.retries = report.retries;
  task.crashes = report.crashes;
  task.deferrals = report.deferrals;
  task.result = report.result;
  if (!report.error.empty() || report.record) task.error = report.error;
  task.reason = report.reason;

  // All that belongs to the attempt ends with it, so that the next one begins without.
  row.token.clear();
  row.started = false;
  row.signal = Signal::none;
  row.logs.clear();
  if (report.to != State::pending || !report.front) row.place = now;
  task.run_at.reset();
  if (report.to == State::scheduled || report.to == State::retry) task.run_at = now + report.delay;
  if (is_over(report.to)) {
    task.ended_at = now;
    if (report.keep) row.purge_at = now + *report.keep;
  }
}

}  // namespace tidemill::memory
