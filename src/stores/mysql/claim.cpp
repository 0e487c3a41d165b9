#include "stores/mysql/claim.hpp"

#include <algorithm>
#include <compare>

#include "stores/mysql/plain_sql.hpp"

namespace tidemill::mysql_store {

const Sql Mysql::get_time{"SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"};

namespace {

/// How many due tasks a claim makes pending at least, so that few claims make a large number of them ready.
constexpr std::size_t promote_least = 1000;

// Of one queue: a range that depends on another table's row would be read from end to end.
constexpr Sql look_at_queue{
    "SELECT q.paused, EXISTS (SELECT 1 FROM main.job WHERE line >= $2 AND line <= $3), "
    "(SELECT MIN(at) FROM main.job WHERE line = $4), (SELECT MIN(at) FROM main.job WHERE line = $5) "
    "FROM main.queue q WHERE q.id = $1"};

constexpr Sql get_due{
    "SELECT at, seq, line, priority FROM main.job FORCE INDEX (line) WHERE line = $1 AND at <= $2 "
    "ORDER BY line, at, seq LIMIT $3 FOR UPDATE SKIP LOCKED"};
constexpr Sql promote_jobs{
    "UPDATE $1 AS t STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = t.seq SET j.line = t.line, "
    "j.was_due = TRUE"};

// Whoever is claiming beside us takes others: rows that are locked are skipped.
constexpr char picked[] =
    "FROM main.job FORCE INDEX (line) WHERE line >= $1 AND line <= $2 AND "
    "NOT (SELECT paused FROM main.queue WHERE id = $3) ORDER BY line, at, seq LIMIT $4 FOR UPDATE SKIP "
    "LOCKED";
constexpr char lease_it[] =
    " AS x STRAIGHT_JOIN main.job j FORCE INDEX (PRIMARY) ON j.seq = x.seq SET j.line = $5, j.at = $6, "
    "j.claim = $7, j.worker = $8, j.started_at = $9";
constexpr auto take_text = join("UPDATE (SELECT seq ", picked, ")", lease_it);
constexpr Sql take{take_text.data()};
// The same, as far as the bytes go. The first of all goes however large it is.
constexpr auto take_bytes_text = join(
    "UPDATE (SELECT seq FROM (SELECT seq, SUM(size) OVER w AS bytes, ROW_NUMBER() OVER w AS n FROM "
    "(SELECT seq, line, at, LENGTH(payload) AS size ",
    picked, ") AS p WINDOW w AS (ORDER BY line, at, seq)) AS s WHERE bytes <= $10 OR ($11 AND n = 1))",
    lease_it);
constexpr Sql take_bytes{take_bytes_text.data()};
constexpr auto get_taken_text =
    join("SELECT ", job_columns,
         " FROM main.job j FORCE INDEX (line) WHERE j.line = $1 AND j.at = $2 AND j.claim = $3 "
         "ORDER BY COALESCE(j.priority, 0) DESC, j.since, j.seq");
constexpr Sql get_taken{get_taken_text.data()};
constexpr Sql any_in{"SELECT 1 FROM main.job WHERE line >= $1 AND line <= $2 LIMIT 1"};

constexpr Sql not_paused{"SELECT id FROM main.queue WHERE id IN $1 AND NOT paused"};

/// Each wanted queue, the inbox, and the time.
void look_at(Scope& scope, std::span<const Want> wants, ClaimAnswer& answer) {
  std::vector<QueueLook> looks;
  Batch batch;
  batch.add(Mysql::get_time);
  batch.add(any_in_inbox);
  for (const Want& want : wants) {
    const auto queue = scope.find_queue(want.queue);
    if (!queue) continue;
    add_look(batch, *queue);
    looks.push_back({.want = &want, .queue = *queue});
  }
  auto answers = scope.ask_all(std::move(batch));
  if (answers[0].step()) answer.time = time_of(answers[0].integer(0));
  answer.inbox = answers[1].step();
  answer.looks.clear();
  for (std::size_t i = 0; i < looks.size(); ++i) {
    Query& row = answers[i + 2];
    if (!row.step() || row.boolean(0)) continue;
    QueueLook& look = looks[i];
    look.pending = row.boolean(1);
    for (const int column : {2, 3}) {
      const auto due = time_of(row.optional_integer(column));
      if (due) look.due = std::min(look.due.value_or(*due), *due);
    }
    answer.looks.push_back(look);
  }
}

void add_dues(ClaimAnswer& answer, std::span<const QueueLook> looks) {
  for (const QueueLook& look : looks) {
    answer.dues.emplace_back(look.want->queue, look.due);
    if (look.due) answer.claimed.next_due = std::min(answer.claimed.next_due.value_or(*look.due), *look.due);
  }
}

class Taker {
 public:
  Taker(Write& write, const Claim& claim, TimePoint now) : write_(write), claim_(claim), now_(now) {}

  /// True when no more fits.
  bool take_from(const QueueLook& look) {
    std::vector<Lease>& leases = answer.claimed.leases;
    const std::size_t most = std::min(look.want->count_max, claim_.count_max - leases.size());
    if (most == 0) return leases.size() == claim_.count_max;
    const std::int64_t first = first_line(look.queue, State::pending);
    const std::int64_t last = last_line(look.queue, State::pending);
    const std::int64_t line = line_of(look.queue, State::active);
    const std::int64_t until = stored(now_ + claim_.lease);
    const std::int64_t number = make_claim();  // Of this queue alone, which may be wanted twice.
    Batch batch;
    if (claim_.bytes_max == 0) {
      batch.add(take, first, last, look.queue, most, line, until, number, Blob{worker_}, stored(now_));
    } else {
      batch.add(take_bytes, first, last, look.queue, most, line, until, number, Blob{worker_}, stored(now_),
                claim_.bytes_max - std::min(claim_.bytes_max, bytes_), leases.empty());
    }
    batch.add(get_taken, line, until, number);
    if (claim_.bytes_max > 0) batch.add(any_in, first, last);
    auto answers = write_.ask_all(std::move(batch));
    auto rows = read_rows(std::move(answers[1]), write_);
    const bool cut_off = claim_.bytes_max > 0 && rows.size() < most && answers[2].step();
    add(std::move(rows), look.queue, number);
    return cut_off || leases.size() == claim_.count_max ||
           (claim_.bytes_max > 0 && bytes_ > claim_.bytes_max);
  }

  ClaimAnswer answer;

 private:
  void add(std::vector<Row> rows, std::int64_t queue, std::int64_t number) {
    if (rows.empty()) return;
    std::vector<Row*> all;
    for (Row& row : rows) all.push_back(&row);
    add_uniques(write_, all, now_);
    write_.left(queue, State::pending, static_cast<std::int64_t>(rows.size()));
    write_.count(queue, State::active, static_cast<std::int64_t>(rows.size()));
    for (Row& row : rows) {
      bytes_ += row.task.payload.size();
      if (row.was_due) row.task.run_at = row.since;
      answer.claimed.leases.push_back({std::move(row.task), token_text({row.seq, number}), claim_.lease});
    }
  }

  Write& write_;
  const Claim& claim_;
  const TimePoint now_;
  const std::string worker_ = stored_id(claim_.worker);
  std::size_t bytes_ = 0;
};

}  // namespace

void add_look(Batch& batch, std::int64_t queue) {
  batch.add(look_at_queue, queue, first_line(queue, State::pending), last_line(queue, State::pending),
            line_of(queue, State::scheduled), line_of(queue, State::retry));
}

bool claim_nothing(Scope& scope, const Claim& claim, TimePoint now, ClaimAnswer& answer) {
  answer = {};
  look_at(scope, claim.wants, answer);
  if (answer.inbox) return false;
  for (const QueueLook& look : answer.looks) {
    if (look.due && *look.due <= now) return false;
    if (look.pending && look.want->count_max > 0 && claim.count_max > 0) return false;
  }
  add_dues(answer, answer.looks);
  return true;
}

ClaimAnswer claim_tasks(Write& write, const Claim& claim, ClaimAnswer looked, TimePoint now,
                        std::size_t task_bytes_max) {
  if (looked.looks.empty()) look_at(write, claim.wants, looked);
  if (looked.inbox) {
    take_inbox(write, now, task_bytes_max);
    look_at(write, claim.wants, looked);
  }
  std::vector<std::int64_t> with_due;
  for (QueueLook& look : looked.looks) {
    if (!look.due || *look.due > now) continue;
    with_due.push_back(look.queue);
    look.pending = true;
  }
  for (const std::int64_t queue : with_due)
    promote(write, {&queue, 1}, std::max(promote_least, claim.count_max), now);
  Taker taker{write, claim, now};
  bool pending = false;
  for (const QueueLook& look : looked.looks) {
    pending = pending || (look.pending && look.want->count_max > 0);
    if (look.pending && taker.take_from(look)) break;
  }
  if (!with_due.empty()) look_at(write, claim.wants, looked);
  ClaimAnswer& answer = taker.answer;
  answer.time = looked.time;
  answer.found_locked = pending && answer.claimed.leases.empty() && claim.count_max > 0;
  add_dues(answer, looked.looks);
  return std::move(answer);
}

std::size_t promote(Write& write, std::span<const std::int64_t> queues, std::size_t limit, TimePoint now) {
  Batch batch;
  for (const std::int64_t queue : queues) {
    for (const State state : {State::scheduled, State::retry})
      batch.add(get_due, line_of(queue, state), stored(now), limit);
  }
  struct Due {
    std::int64_t at, seq, line, priority;
    auto operator<=>(const Due&) const = default;
  };
  std::vector<Due> due;
  for (Query& row : write.ask_all(std::move(batch))) {
    while (row.step()) due.push_back({row.integer(0), row.integer(1), row.integer(2), row.integer(3)});
  }
  std::sort(due.begin(), due.end());
  if (due.size() > limit) due.resize(limit);
  if (due.empty()) return 0;
  Table table{"seq", "line"};
  for (const Due& task : due) {
    const std::int64_t queue = queue_of(task.line);
    table.add(task.seq, line_of(queue, State::pending, static_cast<std::int32_t>(task.priority)));
    write.left(queue, state_of(task.line));
    write.arrived(queue, State::pending, time_of(task.at));
  }
  write.tell(promote_jobs, table);
  return due.size();
}

std::vector<std::int64_t> unpaused(Scope& scope, std::span<const std::int64_t> queues) {
  std::vector<std::int64_t> open;
  auto row = scope.ask(not_paused, queues);
  while (row.step()) open.push_back(row.integer(0));
  std::ranges::sort(open, {}, [&](std::int64_t queue) { return std::ranges::find(queues, queue); });
  return open;
}

}  // namespace tidemill::mysql_store
