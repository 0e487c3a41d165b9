#include "stores/sqlite/claim.hpp"

#include <algorithm>

namespace tidemill::sqlite_store {

namespace {

/// How many due tasks a claim makes pending at least, so that few claims make a large number of them ready.
constexpr std::size_t promote_least = 1000;

constexpr sqlite::Sql is_paused{"SELECT paused FROM main.tidemill_queue WHERE id = ?1"};
constexpr sqlite::Sql first_at{"SELECT at FROM main.tidemill_job WHERE line = ?1 ORDER BY at LIMIT 1"};
constexpr sqlite::Sql any_in{"SELECT 1 FROM main.tidemill_job WHERE line >= ?1 AND line <= ?2 LIMIT 1"};

constexpr sqlite::Sql get_due{
    "SELECT at, seq, line, priority FROM main.tidemill_job WHERE line = ?1 AND at <= ?2 ORDER BY at, seq "
    "LIMIT ?3"};
constexpr sqlite::Sql promote_job{"UPDATE main.tidemill_job SET line = ?2, was_due = 1 WHERE seq = ?1"};

constexpr auto take_text = sqlite::join("SELECT ", job_columns,
                                        " FROM main.tidemill_job j WHERE j.line >= ?1 AND j.line <= ?2 "
                                        "ORDER BY j.line, j.at, j.seq LIMIT ?3");
constexpr sqlite::Sql take{take_text.data()};
constexpr sqlite::Sql lease_job{"UPDATE main.tidemill_job SET line = ?2, at = ?3, claim = ?4 WHERE seq = ?1"};
constexpr sqlite::Sql add_claim{
    "INSERT INTO main.tidemill_claim (id, worker, started_at, held) VALUES (?1, ?2, ?3, ?4)"};
constexpr auto get_run_text =
    sqlite::join("SELECT ", run_columns, " FROM main.tidemill_run r WHERE r.seq = ?1");
constexpr sqlite::Sql get_run{get_run_text.data()};
constexpr sqlite::Sql restart_run{
    "UPDATE main.tidemill_run SET marked = NULL, signal = NULL, logs_kept = NULL WHERE seq = ?1"};

std::optional<TimePoint> next_due(Scope& scope, std::int64_t queue) {
  std::optional<TimePoint> least;
  for (const State state : {State::scheduled, State::retry}) {
    auto row = scope.db.query(first_at, line_of(queue, state));
    if (!row.step()) continue;
    const TimePoint at = time_of(row.integer(0));
    least = std::min(least.value_or(at), at);
  }
  return least;
}

void add_due(ClaimAnswer& answer, std::string_view queue, std::optional<TimePoint> due) {
  answer.dues.emplace_back(queue, due);
  if (due) answer.claimed.next_due = std::min(answer.claimed.next_due.value_or(*due), *due);
}

class Taker {
 public:
  Taker(Write& write, const Claim& claim, TimePoint now)
      : write_(write), claim_(claim), now_(now), number_(make_claim()) {}

  ClaimAnswer take_all() {
    for (const Want& want : claim_.wants) take_from(want);
    const std::size_t held = answer_.claimed.leases.size();
    if (held > 0) write_.db.run(add_claim, number_, StoredId{claim_.worker}, stored(now_), held);
    return std::move(answer_);
  }

 private:
  void take_from(const Want& want) {
    const auto queue = write_.find_queue(want.queue);
    if (!queue || paused(write_, *queue)) return;
    std::vector<Due> due;
    const std::size_t bound = std::max(promote_least, claim_.count_max);
    find_due(write_, *queue, now_, bound, due);
    promote(write_, due, bound);
    std::vector<Lease>& leases = answer_.claimed.leases;
    if (!full_ && leases.size() < claim_.count_max) {
      read(*queue, std::min(want.count_max, claim_.count_max - leases.size()));
      leases.reserve(leases.size() + rows_.size());
      for (Row& row : rows_) lease(row);
    }
    add_due(answer_, want.queue, next_due(write_, *queue));
  }

  /// All first, then they are moved: an index must not be changed under who reads it.
  void read(std::int64_t queue, std::size_t limit) {
    rows_.clear();
    rows_.reserve(std::min(limit, promote_least));
    auto columns =
        write_.db.query(take, first_line(queue, State::pending), last_line(queue, State::pending), limit);
    while (columns.step()) {
      Row& row = rows_.emplace_back();
      read_job(columns, write_, row);
      bytes_ += row.task.payload.size();
      const bool first = answer_.claimed.leases.empty() && rows_.size() == 1;
      if (claim_.bytes_max == 0 || bytes_ <= claim_.bytes_max || first) continue;
      rows_.pop_back();
      full_ = true;
      return;
    }
  }

  void lease(Row& row) {
    if (row.has_run) resume(row);
    write_.db.run(lease_job, row.seq, line_of(row.queue(), State::active), stored(now_ + claim_.lease),
                  number_);
    write_.left(row.queue(), State::pending);
    write_.count(row.queue(), State::active, 1);
    row.task.state = State::active;
    row.task.worker = claim_.worker;
    row.task.started_at = now_;
    if (row.was_due) row.task.run_at = row.since;
    if (!row.key.empty()) row.task.unique = read_unique(write_, row, now_);
    answer_.claimed.leases.push_back({std::move(row.task), token_text({row.seq, number_}), claim_.lease});
  }

  /// It ran before, or an operator touched it.
  void resume(Row& row) {
    {
      auto columns = write_.db.query(get_run, row.seq);
      if (columns.step()) read_run(columns, 0, row);
    }
    take_logs(write_, row);
    write_.db.run(restart_run, row.seq);
  }

  Write& write_;
  const Claim& claim_;
  const TimePoint now_;
  const std::int64_t number_;
  ClaimAnswer answer_;
  std::vector<Row> rows_;
  std::size_t bytes_ = 0;
  bool full_ = false;
};

}  // namespace

bool paused(Scope& scope, std::int64_t queue) {
  auto row = scope.db.query(is_paused, queue);
  return row.step() && row.integer(0) != 0;
}

bool claim_nothing(Scope& scope, const Claim& claim, TimePoint now, ClaimAnswer& answer) {
  answer = {};
  for (const Want& want : claim.wants) {
    const auto queue = scope.find_queue(want.queue);
    if (!queue || paused(scope, *queue)) continue;
    const auto due = next_due(scope, *queue);
    if (due && *due <= now) return false;
    const std::int64_t first = first_line(*queue, State::pending);
    if (want.count_max > 0 && claim.count_max > 0 &&
        scope.db.any(any_in, first, last_line(*queue, State::pending))) {
      return false;
    }
    add_due(answer, want.queue, due);
  }
  return true;
}

ClaimAnswer claim_tasks(Write& write, const Claim& claim, TimePoint now) {
  return Taker{write, claim, now}.take_all();
}

void find_due(Scope& scope, std::int64_t queue, TimePoint now, std::size_t limit, std::vector<Due>& due) {
  for (const State state : {State::scheduled, State::retry}) {
    auto row = scope.db.query(get_due, line_of(queue, state), stored(now), limit);
    while (row.step()) {
      due.push_back(
          {row.integer(0), row.integer(1), row.integer(2), static_cast<std::int32_t>(row.integer(3))});
    }
  }
}

std::size_t promote(Write& write, std::vector<Due>& due, std::size_t limit) {
  std::sort(due.begin(), due.end());
  if (due.size() > limit) due.resize(limit);
  for (const Due& task : due) {
    const std::int64_t queue = queue_of(task.line);
    write.db.run(promote_job, task.seq, line_of(queue, State::pending, task.priority));
    write.left(queue, state_of(task.line));
    write.arrived(queue, State::pending, time_of(task.at));
  }
  return due.size();
}

}  // namespace tidemill::sqlite_store
