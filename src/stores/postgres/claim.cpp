#include "stores/postgres/claim.hpp"

#include <algorithm>
#include <set>
#include <tuple>

namespace tidemill::postgres_store {

const Sql Postgres::get_time{"SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"};

namespace {

/// How many due tasks a claim makes pending at least, so that few claims make a large number of them ready.
constexpr std::size_t promote_least = 1000;

// 2 is pending: stores/sql/layout.hpp.
constexpr auto look_text = join(
    "SELECT q.id, q.paused, p.line, p.at, p.seq, ", first_dues,
    " FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS t(id, line, at, seq) JOIN "
    "main.tidemill_queue q ON q.id = t.id LEFT JOIN LATERAL (SELECT j.line, j.at, j.seq FROM "
    "main.tidemill_job j WHERE (j.line, j.at, j.seq) >= (t.line, t.at, t.seq) AND j.line <= (q.id::bigint << "
    "16 | 767) ORDER BY j.line, j.at, j.seq LIMIT 1) p ON true");
constexpr Sql look_sql{look_text.data()};

// What was found in a line is met again by its place in the table: how many a planner expects to be found
// depends on what it has last seen, and it may read a whole index to meet them by number.
constexpr Sql promote_jobs{
    "WITH due AS (SELECT d.* FROM unnest($1::bigint[]) AS l(line), LATERAL (SELECT j.ctid AS place, j.seq, "
    "j.line, j.at FROM "
    "main.tidemill_job j WHERE j.line = l.line AND j.at <= $2 ORDER BY j.at, j.seq LIMIT $3 FOR UPDATE SKIP "
    "LOCKED) d ORDER BY d.at, d.seq LIMIT $3), "
    "moved AS (UPDATE main.tidemill_job j SET line = (j.line >> 16 << 16 | 640) - coalesce(j.priority, 0), "
    "was_due = true FROM due WHERE j.ctid = due.place RETURNING due.line, j.at, j.line AS pending_line) "
    "SELECT line, count(*), min(at), min(pending_line) FROM moved GROUP BY line"};

// Whoever is claiming beside us takes others: rows that are locked are skipped. The first of all goes however
// large it is. The last column says how many there were before bytes were counted.
constexpr auto take_text = join(
    "WITH picked AS MATERIALIZED (SELECT ctid AS place, seq, line, at, octet_length(payload) AS size FROM "
    "main.tidemill_job "
    "WHERE (line, at, seq) >= ($1, $12, $13) AND line <= $2 AND NOT (SELECT paused FROM main.tidemill_queue "
    "WHERE id = $3) "
    "ORDER BY line, at, seq LIMIT $4 FOR UPDATE SKIP LOCKED), "
    "summed AS (SELECT place, seq, line, at, sum(size) OVER w AS bytes, row_number() OVER w AS n FROM picked "
    "WINDOW w AS (ORDER BY line, at, seq)), "
    "kept AS MATERIALIZED (SELECT place, line, at FROM summed WHERE bytes <= $5 OR ($6 AND n = 1)) "
    "UPDATE main.tidemill_job j SET line = $7, at = $8, claim = $9, worker = $10, started_at = $11 "
    "FROM kept WHERE j.ctid = kept.place RETURNING ",
    job_columns, ", (SELECT count(*) FROM picked), kept.line, kept.at");
constexpr Sql take{take_text.data()};
constexpr int picked_column = 35;
constexpr int line_column = 36;
constexpr int at_column = 37;

constexpr Sql not_paused{
    "SELECT q.id FROM unnest($1::bigint[]) WITH ORDINALITY AS t(id, n) JOIN main.tidemill_queue q ON "
    "q.id = t.id WHERE NOT q.paused ORDER BY t.n"};

/// And the time.
std::vector<QueueLook> look_at(Scope& scope, std::span<const Want> wants, Fronts& fronts, TimePoint now,
                               TimePoint& time) {
  std::vector<QueueLook> looks;
  Array<std::int64_t> queues, lines, ats, seqs;
  const auto start = std::chrono::steady_clock::now();
  for (const Want& want : wants) {
    const auto queue = scope.find_queue(want.queue);
    if (!queue) continue;
    const auto begin = fronts.begin(*queue, start);
    queues.add(*queue);
    lines.add(begin.place.line);
    ats.add(begin.place.at);
    seqs.add(begin.place.seq);
    looks.push_back({.want = &want, .queue = *queue, .begin = begin});
  }
  Batch batch;
  batch.add(Postgres::get_time);
  batch.add(look_sql, queues, lines, ats, seqs);
  std::vector<Query> answers;
  try {
    answers = scope.ask_all(std::move(batch));
  } catch (const postgres::Failure& failure) {
    const auto end = std::chrono::steady_clock::now();
    for (const QueueLook& look : looks) {
      if (look.begin.whole && failure.timed_out()) fronts.gave_up(look.queue, now, end - start, end);
    }
    throw;
  }
  const auto end = std::chrono::steady_clock::now();
  for (QueueLook& look : looks) {
    look.took = end - start;
    if (look.begin.whole) fronts.looked(look.queue, look.took, end);
  }
  if (answers[0].step()) time = time_of(answers[0].integer(0));
  std::set<std::int64_t> open;
  Query& row = answers[1];
  while (row.step()) {
    if (row.boolean(1)) continue;
    open.insert(row.integer(0));
    for (QueueLook& look : looks) {
      if (look.queue != row.integer(0)) continue;
      look.pending = !row.null(2);
      // What lies before it has been stepped over once; the claim need not do so again.
      if (look.pending) look.begin.place = {row.integer(2), row.integer(3), row.integer(4)};
      for (const int column : {5, 6}) {
        const auto due = time_of(row.optional_integer(column));
        if (due) look.due = std::min(look.due.value_or(*due), *due);
      }
    }
  }
  std::erase_if(looks, [&](const QueueLook& look) { return !open.contains(look.queue); });
  for (QueueLook& look : looks) {
    if (look.pending || look.begin.whole) continue;
    const TimePoint again = time + std::chrono::ceil<Duration>(look.begin.again - end);
    look.due = std::min(look.due.value_or(again), again);
  }
  return looks;
}

void add_dues(ClaimAnswer& answer, std::span<const QueueLook> looks) {
  for (const QueueLook& look : looks) {
    answer.dues.emplace_back(look.want->queue, look.due);
    if (look.due) answer.claimed.next_due = std::min(answer.claimed.next_due.value_or(*look.due), *look.due);
  }
}

struct Promoted {
  std::size_t count = 0;
  std::optional<Fronts::Place> from = {};  ///< None of them stands before.
};

Promoted move_due(Write& write, std::span<const std::int64_t> queues, std::size_t limit, TimePoint now) {
  Array<std::int64_t> lines;
  for (const std::int64_t queue : queues) {
    lines.add(line_of(queue, State::scheduled));
    lines.add(line_of(queue, State::retry));
  }
  Promoted promoted;
  auto row = write.ask(promote_jobs, lines, stored(now), static_cast<std::int64_t>(limit));
  while (row.step()) {
    const std::int64_t line = row.integer(0);
    const std::int64_t count = row.integer(1);
    const std::int64_t at = row.integer(2);
    write.left(queue_of(line), state_of(line), count);
    write.arrived(queue_of(line), State::pending, time_of(at), count);
    promoted.count += static_cast<std::size_t>(count);
    const Fronts::Place from = promoted.from.value_or(Fronts::Place{.line = INT64_MAX, .at = INT64_MAX});
    promoted.from = {.line = std::min(from.line, row.integer(3)), .at = std::min(from.at, at)};
  }
  return promoted;
}

class Taker {
 public:
  Taker(Write& write, const Claim& claim, Fronts& fronts, TimePoint now)
      : write_(write), claim_(claim), fronts_(fronts), now_(now), number_(make_claim()) {}

  /// True when no more fits.
  bool take_from(const QueueLook& look) {
    std::vector<Lease>& leases = answer.claimed.leases;
    const std::size_t most = std::min(look.want->count_max, claim_.count_max - leases.size());
    if (most == 0) return leases.size() == claim_.count_max;
    const std::int64_t bytes_left =
        claim_.bytes_max == 0 ? INT64_MAX : static_cast<std::int64_t>(claim_.bytes_max - bytes_);
    const Fronts::Place& from = look.begin.place;
    const auto start = std::chrono::steady_clock::now();
    auto columns =
        write_.ask(take, from.line, last_line(look.queue, State::pending), look.queue, most, bytes_left,
                   leases.empty(), line_of(look.queue, State::active), stored(now_ + claim_.lease), number_,
                   Blob{worker_}, stored(now_), from.at, from.seq);
    const auto end = std::chrono::steady_clock::now();
    if (look.begin.whole) fronts_.looked(look.queue, look.took + (end - start), end);
    const auto count = static_cast<std::size_t>(columns.rows());
    std::size_t picked = 0;
    Fronts::Place last = from;
    std::vector<Row> rows;
    rows.reserve(count);
    while (columns.step()) {
      picked = static_cast<std::size_t>(columns.integer(picked_column));
      rows.push_back(read_row(columns, write_));
      last = std::max(last, {columns.integer(line_column), columns.integer(at_column), rows.back().seq});
    }
    if (count > 0) fronts_.claimed(look.queue, count, last, picked > count || picked == most);
    const bool none_fits = count == 0 && claim_.bytes_max > 0 && !leases.empty();
    add(std::move(rows), look.queue);
    return none_fits || picked > count || leases.size() == claim_.count_max ||
           (claim_.bytes_max > 0 && bytes_ > claim_.bytes_max);
  }

  ClaimAnswer answer;

 private:
  void add(std::vector<Row> rows, std::int64_t queue) {
    if (rows.empty()) return;
    // By place in the line: an UPDATE returns its rows in any order.
    std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
      return std::tuple{-a.task.priority, a.since, a.seq} < std::tuple{-b.task.priority, b.since, b.seq};
    });
    std::vector<Row*> all;
    for (Row& row : rows) all.push_back(&row);
    add_uniques(write_, all, now_);
    write_.left(queue, State::pending, static_cast<std::int64_t>(rows.size()));
    write_.count(queue, State::active, static_cast<std::int64_t>(rows.size()));
    for (Row& row : rows) {
      bytes_ += row.task.payload.size();
      if (row.was_due) row.task.run_at = row.since;
      answer.claimed.leases.push_back({std::move(row.task), token_text({row.seq, number_}), claim_.lease});
    }
  }

  Write& write_;
  const Claim& claim_;
  Fronts& fronts_;
  const TimePoint now_;
  const std::int64_t number_;
  const std::string worker_ = stored_id(claim_.worker);
  std::size_t bytes_ = 0;
};

}  // namespace

bool claim_nothing(Scope& scope, const Claim& claim, Fronts& fronts, TimePoint now, ClaimAnswer& answer) {
  answer = {};
  answer.looks = look_at(scope, claim.wants, fronts, now, answer.time);
  for (const QueueLook& look : answer.looks) {
    if (look.due && *look.due <= now) return false;
    if (look.pending && look.want->count_max > 0 && claim.count_max > 0) return false;
  }
  add_dues(answer, answer.looks);
  return true;
}

ClaimAnswer claim_tasks(Write& write, const Claim& claim, Fronts& fronts, ClaimAnswer looked, TimePoint now) {
  if (looked.looks.empty()) looked.looks = look_at(write, claim.wants, fronts, now, looked.time);
  bool had_due = false;
  for (QueueLook& look : looked.looks) {
    if (!look.due || *look.due > now) continue;
    had_due = true;
    const Promoted promoted =
        move_due(write, {&look.queue, 1}, std::max(promote_least, claim.count_max), now);
    // Their places are the times when they were due.
    if (promoted.from && !(look.pending && look.begin.place < *promoted.from))
      look.begin.place = *promoted.from;
    look.pending = true;
  }
  Taker taker{write, claim, fronts, now};
  bool pending = false;
  for (const QueueLook& look : looked.looks) {
    pending = pending || (look.pending && look.want->count_max > 0);
    if (look.pending && taker.take_from(look)) break;
  }
  if (had_due) looked.looks = look_at(write, claim.wants, fronts, now, looked.time);
  ClaimAnswer& answer = taker.answer;
  answer.time = looked.time;
  answer.found_locked = pending && answer.claimed.leases.empty() && claim.count_max > 0;
  add_dues(answer, looked.looks);
  return std::move(answer);
}

std::size_t promote(Write& write, std::span<const std::int64_t> queues, std::size_t limit, TimePoint now) {
  return move_due(write, queues, limit, now).count;
}

std::vector<std::int64_t> unpaused(Scope& scope, std::span<const std::int64_t> queues) {
  std::vector<std::int64_t> open;
  auto row = scope.ask(not_paused, queues);
  while (row.step()) open.push_back(row.integer(0));
  return open;
}

}  // namespace tidemill::postgres_store
