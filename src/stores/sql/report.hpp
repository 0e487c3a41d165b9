#pragma once

#include <algorithm>
#include <set>
#include <span>
#include <vector>

#include <tidemill/store.hpp>

#include "core/transitions.hpp"
#include "stores/sql/enqueue.hpp"
#include "stores/sql/tasks.hpp"

/// Reports of workers, and changes by operators. What follows a task is enqueued as the database does that.
namespace tidemill::sql_store {

/// A report that is sound, and its answer's place.
struct Item {
  const Report* report = nullptr;
  Reported* answer = nullptr;
  std::optional<Token> token = {};
  std::optional<Row> row = {};
};

/// The end of rows that stay.
template <class Database>
class Ends {
 public:
  using Write = sql_store::Write<Database>;

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
              purge_at, blob_unless_empty(report.reason),
              blob_unless_empty(report.error.empty() && !report.record ? row.task.error : report.error),
              blob_unless_empty(report.result));
    if (Database::is_long(rows_)) tell(write);
    count_move(write, {&row, report.to, at});
    if (report.record) record(write, row, report, std::move(logs));
  }

  void tell(Write& write) {
    if (!rows_.empty()) write.tell(Database::report.end_attempts, rows_, no_claim);
    rows_.clear();
    purges_.tell(write);
    if (!attempts_.empty()) write.tell(Database::report.add_attempts, attempts_);
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
                  Blob{stored_id(row.task.worker)}, blob_unless_empty(report.error),
                  blob_unless_empty(write_lines(logs)));
    if (Database::is_long(attempts_)) tell(write);
    if (n > attempts_max) write.tell(Database::report.drop_attempts, row.seq, n - attempts_max);
  }

  const TimePoint now_;
  typename Database::template Table<Number<"seq">, Number<"line">, Number<"at">, Number<"attempt">,
                                    Number<"retries">, Number<"crashes">, Number<"deferrals">,
                                    Number<"attempts_kept">, Number<"ended_at">, Number<"purge_at">,
                                    Bytes<"reason">, Bytes<"error">, Bytes<"result">>
      rows_;
  typename Database::template Rows<Number<"seq">, Number<"n">, Number<"number">, Number<"started_at">,
                                   Number<"ended_at">, Bytes<"worker">, Bytes<"error">, Bytes<"logs">>
      attempts_;
  typename Database::Purges purges_;

  static constexpr std::int64_t attempts_max = 100;
};

/// What need not be read: deletes them, and answers those that were as expected; the others' rows are read.
template <class Database>
void finish_or_read(Write<Database>& write, std::vector<Item>& items) {
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
    SimpleEnds<Database::template Table> ends;
    for (const auto& [seq, item] : simple) {
      const Ref& ref = item->report->lease->task.ref;
      ends.add(seq, item->token->claim, *write.find_queue(ref.queue), Blob{stored_id(ref.id)});
    }
    const std::set<std::int64_t> gone = Database::end_simple(write, ends);
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
template <class Database>
void report_wave(Write<Database>& write, std::vector<Item> items, TimePoint now) {
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
  Ends<Database> ends{now};
  for (std::size_t i = 0; i < kept.size(); ++i) ends.add(write, *kept[i], *reports[i], std::move(logs[i]));
  ends.tell(write);
}

template <class Database>
void change_rows(Write<Database>& write, std::span<const Row* const> rows, const Change& change,
                 TimePoint now) {
  if (rows.empty()) return;
  if (change.to == State::gone) return erase_rows<Database>(write, rows);
  if (change.release_key) release_keys(write, rows);
  std::optional<std::int64_t> ended_at, purge_at;
  if (is_over(change.to)) {
    ended_at = stored(now);
    if (change.keep) purge_at = stored(now + *change.keep);
  }
  const TimePoint at = change.to == State::scheduled ? change.run_at.value_or(now) : now;
  typename Database::template Table<Number<"seq">, Number<"line">> table;
  typename Database::Purges purges;
  for (const Row* const row : rows) {
    leave_group(write, *row);
    table.add(row->seq, line_of(row->queue(), change.to, row->task.priority));
    if (purge_at) purges.add(*purge_at, row->seq);
    count_move(write, {row, change.to, at});
  }
  write.tell(Database::report.change_tasks, table, stored(at), no_claim, ended_at, purge_at,
             blob_unless_empty(change.reason), change.fresh);
  purges.tell(write);
}

/// Refs of which none comes twice.
template <class Database>
void change_wave(Write<Database>& write, std::span<const Ref> refs, const Change& change, TimePoint now,
                 std::vector<Changed>& answers) {
  const auto rows = find_rows(write, refs, true);
  std::vector<const Row*> changed;
  typename Database::template Table<Number<"seq">> signalled;
  for (const auto& row : rows) {
    if (!row) {
      answers.push_back(Changed::absent);
    } else if (!change.from.has(row->state()) || row->in_set() ||
               (row->state() == State::active && change.signal == Signal::none)) {
      answers.push_back(Changed::wrong_state);
    } else if (row->state() == State::active) {
      answers.push_back(Changed::signalled);
      signalled.add(row->seq);
      write.signalled(row->task.worker);
    } else if (change.to == State::active || !allowed(row->state(), change.to)) {
      answers.push_back(Changed::failed);  // Only a claim makes a task active, as it has a lease to give.
    } else {
      answers.push_back(Changed::changed);
      changed.push_back(&*row);
    }
  }
  if (!signalled.empty()) write.tell(Database::report.set_signals, signalled, change.signal);
  change_rows(write, changed, change, now);
}

template <class Database>
std::vector<Reported> report_all(Write<Database>& write, std::span<const Report> reports, TimePoint now,
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

template <class Database>
std::vector<Changed> change_all(Write<Database>& write, std::span<const Ref> refs, const Change& change,
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

}  // namespace tidemill::sql_store
