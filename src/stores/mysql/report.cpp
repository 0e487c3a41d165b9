#include "stores/mysql/report.hpp"

#include <algorithm>
#include <set>

#include "core/transitions.hpp"
#include "stores/mysql/enqueue.hpp"
#include "stores/mysql/groups.hpp"
#include "stores/mysql/tasks.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr std::int64_t attempts_max = 100;

// The most frequent report by far: a success that is not kept, of a task without key and history. Only so
// much of it is read.
constexpr Sql lock_simple{
    "SELECT j.seq FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq WHERE "
    "j.claim = t.claim AND j.queue = t.queue AND j.id = t.id AND j.unique_key IS NULL AND "
    "j.attempts_kept IS NULL AND j.logs_kept IS NULL FOR UPDATE"};
constexpr Sql erase_simple{
    "DELETE j FROM $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq"};

constexpr Sql end_attempts{
    "UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET j.line = t.line, "
    "j.at = t.at, j.since = t.at, j.claim = $2, j.was_due = NULL, j.marked = NULL, j.asked = NULL, "
    "j.logs_kept = NULL, j.attempt = t.attempt, j.retries = t.retries, j.crashes = t.crashes, "
    "j.deferrals = t.deferrals, j.attempts_kept = t.attempts_kept, j.ended_at = t.ended_at, "
    "j.purge_at = t.purge_at, j.reason = t.reason, j.error = t.error, j.result = t.result"};
constexpr Sql add_attempts{
    "INSERT INTO main.attempt (seq, n, number, started_at, ended_at, worker, error, logs) VALUES $1"};
constexpr Sql drop_attempts{"DELETE FROM main.attempt WHERE seq = $1 AND n <= $2"};
// What is there already is from an earlier end of the same task.
constexpr Sql add_purges{"INSERT IGNORE INTO main.purge (at, seq) VALUES $1"};

constexpr Sql change_jobs{
    "UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET j.line = t.line, "
    "j.at = $2, j.since = $2, j.claim = $3, j.was_due = NULL, j.ended_at = $4, j.purge_at = $5, j.reason = "
    "$6, j.retries = CASE WHEN NOT $7 THEN j.retries END, j.crashes = CASE WHEN NOT $7 THEN j.crashes END, "
    "j.deferrals = CASE WHEN NOT $7 THEN j.deferrals END"};
constexpr Sql set_signals{
    "UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET j.asked = $2"};

/// A statement of about so much is sent by itself.
constexpr std::size_t statement_bytes = 1U << 20U;

/// A report that is sound, and its answer's place.
struct Item {
  const Report* report = nullptr;
  Reported* answer = nullptr;
  std::optional<Token> token = {};
  std::optional<Row> row = {};
};

/// The end of rows that stay.
class Ends {
 public:
  explicit Ends(TimePoint now) : now_(now) {}

  void add(Write& write, const Row& row, const Report& report, std::vector<LogLine> logs) {
    const TimePoint at = at_of(report, row);
    std::optional<std::int64_t> ended_at, purge_at;
    if (is_over(report.to)) {
      ended_at = stored(now_);
      if (report.keep) purge_at = stored(now_ + *report.keep);
    }
    if (purge_at) purges_.add(*purge_at, row.seq);
    rows_.add(row.seq, line_of(row.queue(), report.to, row.task.priority), stored(at),
              unless(0, report.attempt), unless(0, report.retries), unless(0, report.crashes),
              unless(0, report.deferrals), unless(0, row.attempts_kept + (report.record ? 1 : 0)), ended_at,
              purge_at, unless_empty(report.reason),
              unless_empty(report.error.empty() && !report.record ? row.task.error : report.error),
              unless_empty(report.result));
    if (rows_.bytes() >= statement_bytes) tell(write);
    count_move(write, {&row, report.to, at});
    if (report.record) record(write, row, report, std::move(logs));
  }

  void tell(Write& write) {
    if (!rows_.empty()) write.tell(end_attempts, rows_, no_claim);
    rows_.clear();
    if (!purges_.empty()) write.tell(add_purges, purges_);
    purges_.clear();
    if (!attempts_.empty()) write.tell(add_attempts, attempts_);
    attempts_.clear();
  }

 private:
  TimePoint at_of(const Report& report, const Row& row) const {
    if (report.to == State::scheduled || report.to == State::retry) return now_ + report.delay;
    if (report.to == State::pending && report.front) return row.since;
    return now_;
  }

  void record(Write& write, const Row& row, const Report& report, std::vector<LogLine> logs) {
    logs.insert(logs.end(), report.logs.begin(), report.logs.end());
    const std::int64_t n = row.attempts_kept + 1;
    attempts_.add(row.seq, n, report.attempt, stored(report.started_at), stored(now_),
                  Blob{stored_id(row.task.worker)}, unless_empty(report.error),
                  unless_empty(write_lines(logs)));
    if (attempts_.bytes() >= statement_bytes) tell(write);
    if (n > attempts_max) write.tell(drop_attempts, row.seq, n - attempts_max);
  }

  const TimePoint now_;
  Table rows_{"seq",           "line",     "at",       "attempt", "retries", "crashes", "deferrals",
              "attempts_kept", "ended_at", "purge_at", "reason",  "error",   "result"};
  Rows purges_, attempts_;
};

/// What need not be read: deletes them, and answers those that were as expected; the others' rows are read.
void finish_or_read(Write& write, std::vector<Item>& items) {
  std::vector<std::pair<std::int64_t, Item*>> simple;
  std::vector<Item*> rest;
  for (Item& item : items) {
    const bool finishes = item.report->to == State::gone && item.report->then.empty() && item.token &&
                          write.find_queue(item.report->lease->task.ref.queue);
    if (finishes) {
      simple.emplace_back(item.token->seq, &item);
    } else {
      rest.push_back(&item);
    }
  }
  // In the order in which everybody locks rows.
  std::sort(simple.begin(), simple.end());
  if (!simple.empty()) {
    Table table{"seq", "claim", "queue", "id"};
    for (const auto& [seq, item] : simple) {
      const Ref& ref = item->report->lease->task.ref;
      table.add(seq, item->token->claim, *write.find_queue(ref.queue), Blob{stored_id(ref.id)});
    }
    std::set<std::int64_t> gone;
    Table erased{"seq"};
    auto row = write.ask(lock_simple, table);
    while (row.step()) {
      gone.insert(row.integer(0));
      erased.add(row.integer(0));
    }
    if (!erased.empty()) write.tell(erase_simple, erased);
    for (const auto& [seq, item] : simple) {
      if (!gone.contains(seq)) {
        rest.push_back(item);
        continue;
      }
      *item->answer = Reported::applied;
      write.left(*write.find_queue(item->report->lease->task.ref.queue), State::active);
    }
  }
  if (rest.empty()) return;
  std::vector<Ref> refs;
  for (const Item* const item : rest) refs.push_back(item->report->lease->task.ref);
  auto rows = find_rows(write, refs, true);
  for (std::size_t i = 0; i < rest.size(); ++i) rest[i]->row = std::move(rows[i]);
}

/// Reports on tasks of which none comes twice.
void report_wave(Write& write, std::vector<Item> items, TimePoint now) {
  if (items.empty()) return;
  finish_or_read(write, items);
  std::vector<const Row*> erased, kept, released;
  std::vector<const Report*> reports;
  for (const Item& item : items) {
    if (*item.answer == Reported::applied) continue;
    const auto& row = item.row;
    if (!row || is_over(row->state())) {
      *item.answer = Reported::ended;
      continue;
    }
    const bool held = item.token && row->state() == State::active && row->seq == item.token->seq &&
                      row->claim == item.token->claim;
    if (!held) {
      *item.answer = Reported::lost;
      continue;
    }
    *item.answer = Reported::applied;
    if (item.report->to == State::gone) {
      erased.push_back(&*row);
      continue;
    }
    if (item.report->release_key) released.push_back(&*row);
    kept.push_back(&*row);
    reports.push_back(item.report);
  }
  release_keys(write, released);
  erase_rows(write, erased);
  auto logs = take_logs(write, kept);
  Ends ends{now};
  for (std::size_t i = 0; i < kept.size(); ++i) ends.add(write, *kept[i], *reports[i], std::move(logs[i]));
  ends.tell(write);
}

void change_rows(Write& write, std::span<const Row* const> rows, const Change& change, TimePoint now) {
  if (rows.empty()) return;
  if (change.to == State::gone) return erase_rows(write, rows);
  if (change.release_key) release_keys(write, rows);
  std::optional<std::int64_t> ended_at, purge_at;
  if (is_over(change.to)) {
    ended_at = stored(now);
    if (change.keep) purge_at = stored(now + *change.keep);
  }
  const TimePoint at = change.to == State::scheduled ? change.run_at.value_or(now) : now;
  Table table{"seq", "line"};
  Rows purges;
  for (const Row* const row : rows) {
    leave_group(write, *row);
    table.add(row->seq, line_of(row->queue(), change.to, row->task.priority));
    if (purge_at) purges.add(*purge_at, row->seq);
    count_move(write, {row, change.to, at});
  }
  write.tell(change_jobs, table, stored(at), no_claim, ended_at, purge_at, unless_empty(change.reason),
             change.fresh);
  if (!purges.empty()) write.tell(add_purges, purges);
}

/// Refs of which none comes twice.
void change_wave(Write& write, std::span<const Ref> refs, const Change& change, TimePoint now,
                 std::vector<Changed>& answers) {
  const auto rows = find_rows(write, refs, true);
  std::vector<const Row*> changed;
  std::vector<std::int64_t> signalled;
  for (const auto& row : rows) {
    if (!row) {
      answers.push_back(Changed::absent);
    } else if (!change.from.has(row->state()) || row->in_set() ||
               (row->state() == State::active && change.signal == Signal::none)) {
      answers.push_back(Changed::wrong_state);
    } else if (row->state() == State::active) {
      answers.push_back(Changed::signalled);
      signalled.push_back(row->seq);
      write.signalled(row->task.worker);
    } else if (change.to == State::active || !allowed(row->state(), change.to)) {
      answers.push_back(Changed::failed);  // Only a claim makes a task active, as it has a lease to give.
    } else {
      answers.push_back(Changed::changed);
      changed.push_back(&*row);
    }
  }
  if (!signalled.empty()) write.tell(set_signals, table_of(signalled), change.signal);
  change_rows(write, changed, change, now);
}

}  // namespace

std::vector<Reported> report_all(Write& write, std::span<const Report> reports, TimePoint now,
                                 std::size_t task_bytes_max) {
  for (const Report& report : reports) intern_names(write, report.then);
  std::vector<Reported> answers(reports.size(), Reported::failed);
  std::vector<Item> wave;
  std::set<Ref> refs;
  const auto flush = [&] {
    report_wave(write, std::exchange(wave, {}), now);
    refs.clear();
  };
  for (std::size_t i = 0; i < reports.size(); ++i) {
    const Report& report = reports[i];
    if (report.lease == nullptr || !allowed(State::active, report.to)) continue;
    if (!refs.insert(report.lease->task.ref).second) {
      flush();
      refs.insert(report.lease->task.ref);
    }
    answers[i] = Reported::unknown;
    wave.push_back({&report, &answers[i], parse_token(report.lease->token)});
    if (report.then.empty()) continue;
    // What follows a task comes after it and before what else is reported.
    flush();
    if (answers[i] == Reported::applied) enqueue_all(write, report.then, now, task_bytes_max);
  }
  flush();
  return answers;
}

std::vector<Changed> change_all(Write& write, std::span<const Ref> refs, const Change& change,
                                TimePoint now) {
  std::vector<Changed> answers;
  answers.reserve(refs.size());
  std::size_t begin = 0;
  std::set<Ref> met;
  for (std::size_t i = 0; i < refs.size(); ++i) {
    if (met.insert(refs[i]).second) continue;
    change_wave(write, refs.subspan(begin, i - begin), change, now, answers);
    begin = i;
    met = {refs[i]};
  }
  if (begin < refs.size()) change_wave(write, refs.subspan(begin), change, now, answers);
  return answers;
}

}  // namespace tidemill::mysql_store
