#include "stores/postgres/report.hpp"

#include <algorithm>
#include <set>

#include "core/transitions.hpp"
#include "stores/postgres/enqueue.hpp"
#include "stores/postgres/groups.hpp"
#include "stores/postgres/tasks.hpp"

namespace tidemill::postgres_store {

namespace {

constexpr std::int64_t attempts_max = 100;

// The most frequent report by far: a success that is not kept, of a task without key and history. It is
// deleted without being read before.
constexpr Sql finish_jobs{
    "DELETE FROM main.tidemill_job j USING unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[]) AS "
    "t(seq, claim, queue, id) WHERE j.seq = t.seq AND j.claim = t.claim AND j.queue = t.queue AND "
    "j.id = t.id AND j.key IS NULL AND j.attempts_kept IS NULL AND j.logs_kept IS NULL RETURNING j.seq"};

constexpr Sql end_attempts{
    "UPDATE main.tidemill_job j SET line = t.line, at = t.at, since = t.at, claim = $14, was_due = NULL, "
    "marked = NULL, signal = NULL, logs_kept = NULL, attempt = t.attempt, retries = t.retries, "
    "crashes = t.crashes, deferrals = t.deferrals, attempts_kept = t.attempts_kept, ended_at = t.ended_at, "
    "purge_at = t.purge_at, reason = t.reason, error = t.error, result = t.result FROM "
    "unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], "
    "$7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bytea[], $12::bytea[], $13::bytea[]) "
    "AS t(seq, line, at, attempt, retries, crashes, deferrals, attempts_kept, ended_at, purge_at, reason, "
    "error, result) WHERE j.seq = t.seq"};
constexpr Sql add_attempts{
    "INSERT INTO main.tidemill_attempt (seq, n, number, started_at, ended_at, worker, error, logs) "
    "SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], "
    "$7::bytea[], $8::bytea[])"};
constexpr Sql drop_attempts{"DELETE FROM main.tidemill_attempt WHERE seq = $1 AND n <= $2"};

constexpr Sql change_jobs{
    "UPDATE main.tidemill_job j SET line = t.line, at = $3, since = $3, claim = $4, was_due = NULL, "
    "ended_at = $5, purge_at = $6, reason = $7, retries = CASE WHEN NOT $8 THEN retries END, "
    "crashes = CASE WHEN NOT $8 THEN crashes END, deferrals = CASE WHEN NOT $8 THEN deferrals END "
    "FROM unnest($1::bigint[], $2::bigint[]) AS t(seq, line) WHERE j.seq = t.seq"};
constexpr Sql set_signals{"UPDATE main.tidemill_job SET signal = $2 WHERE seq = ANY($1::bigint[])"};

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
    seqs_.add(row.seq);
    lines_.add(line_of(row.queue(), report.to, row.task.priority));
    ats_.add(stored(at));
    attempts_.add(unless(0, report.attempt));
    retries_.add(unless(0, report.retries));
    crashes_.add(unless(0, report.crashes));
    deferrals_.add(unless(0, report.deferrals));
    kept_.add(unless(0, row.attempts_kept + (report.record ? 1 : 0)));
    ended_.add(ended_at);
    purge_.add(purge_at);
    reasons_.add(unless_empty(report.reason));
    errors_.add(unless_empty(report.error.empty() && !report.record ? row.task.error : report.error));
    results_.add(unless_empty(report.result));
    count_move(write, {&row, report.to, at});
    if (report.record) record(write, row, report, std::move(logs));
  }

  void tell(Write& write) const {
    if (seqs_.empty()) return;
    write.tell(end_attempts, seqs_, lines_, ats_, attempts_, retries_, crashes_, deferrals_, kept_, ended_,
               purge_, reasons_, errors_, results_, no_claim);
    if (numbers_.empty()) return;
    write.tell(add_attempts, recorded_, ns_, numbers_, started_, recorded_at_, workers_, record_errors_,
               logs_);
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
    recorded_.add(row.seq);
    ns_.add(n);
    numbers_.add(static_cast<std::int64_t>(report.attempt));
    started_.add(stored(report.started_at));
    recorded_at_.add(stored(now_));
    workers_.add(Blob{stored_id(row.task.worker)});
    record_errors_.add(unless_empty(report.error));
    logs_.add(unless_empty(write_lines(logs)));
    if (n > attempts_max) write.tell(drop_attempts, row.seq, n - attempts_max);
  }

  const TimePoint now_;
  Array<std::int64_t> seqs_, lines_, ats_, attempts_, retries_, crashes_, deferrals_, kept_, ended_, purge_;
  Array<Blob> reasons_, errors_, results_;
  Array<std::int64_t> recorded_, ns_, numbers_, started_, recorded_at_;
  Array<Blob> workers_, record_errors_, logs_;
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
    Array<std::int64_t> seqs, claims, queues;
    Array<Blob> ids;
    for (const auto& [seq, item] : simple) {
      const Ref& ref = item->report->lease->task.ref;
      seqs.add(seq);
      claims.add(item->token->claim);
      queues.add(write.find_queue(ref.queue));
      ids.add(Blob{stored_id(ref.id)});
    }
    std::set<std::int64_t> gone;
    auto row = write.ask(finish_jobs, seqs, claims, queues, ids);
    while (row.step()) gone.insert(row.integer(0));
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
  Array<std::int64_t> seqs, lines;
  for (const Row* const row : rows) {
    leave_group(write, *row);
    seqs.add(row->seq);
    lines.add(line_of(row->queue(), change.to, row->task.priority));
    count_move(write, {row, change.to, at});
  }
  write.tell(change_jobs, seqs, lines, stored(at), no_claim, ended_at, purge_at, unless_empty(change.reason),
             change.fresh);
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
  if (!signalled.empty()) write.tell(set_signals, signalled, change.signal);
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

}  // namespace tidemill::postgres_store
