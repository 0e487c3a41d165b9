#include <algorithm>
#include <map>
#include "stores/mysql/database.hpp"

namespace tidemill::mysql_store {

namespace {

constexpr auto get_queues_text = join(
    "SELECT q.id, q.name, q.paused, c.state, SUM(c.tasks) FROM ", all_counts,
    " JOIN main.queue q ON q.id = c.queue GROUP BY q.id, q.name, q.paused, c.state ORDER BY q.name, c.state");
constexpr Sql get_queues{get_queues_text.data()};
// The first of the next lane of pending tasks.
constexpr Sql next_lane{
    "SELECT line, at FROM main.job FORCE INDEX (line) WHERE line > $1 AND line <= $2 ORDER BY line, at, seq "
    "LIMIT 1"};
constexpr auto count_all_text =
    join("SELECT COUNT(*), COALESCE(SUM(tasks), 0) FROM ", all_counts, " WHERE queue = $1");

/// How long the oldest pending task has waited: each lane's first is its oldest.
void read_oldest(Scope& scope, const std::map<std::int64_t, QueueInfo*>& queues, TimePoint now) {
  std::vector<std::pair<std::int64_t, std::int64_t>> behind;  // Of each queue, the last lane that was seen.
  for (const auto& [queue, info] : queues) behind.emplace_back(queue, first_line(queue, State::pending) - 1);
  while (!behind.empty()) {
    Batch batch;
    for (const auto& [queue, line] : behind) batch.add(next_lane, line, last_line(queue, State::pending));
    auto answers = scope.ask_all(std::move(batch));
    std::vector<std::pair<std::int64_t, std::int64_t>> more;
    for (std::size_t i = 0; i < behind.size(); ++i) {
      if (!answers[i].step()) continue;
      const std::int64_t queue = behind[i].first;
      more.emplace_back(queue, answers[i].integer(0));
      queues.at(queue)->oldest = std::max(queues.at(queue)->oldest, now - time_of(answers[i].integer(1)));
    }
    behind = std::move(more);
  }
}

}  // namespace

const sql_store::CatalogStatements Mysql::catalog{
    .get_attempts = {"SELECT a.number, a.started_at, a.ended_at, a.worker, a.error, a.logs FROM main.attempt "
                     "a WHERE a.seq = (SELECT seq FROM main.job WHERE queue = $1 AND id = $2) ORDER BY a.n"},
    .set_paused = {"UPDATE main.queue SET paused = $2 WHERE id = $1"},
    // Locked first, and summed up by a statement that sees what was written meanwhile.
    .lock_counts = {"SELECT 1 FROM main.counter WHERE queue = $1 ORDER BY state, lane FOR UPDATE"},
    .count_all = {count_all_text.data()},
    .erase_counts = {"DELETE FROM main.counter WHERE queue = $1"},
    .erase_deltas = {"DELETE FROM main.delta WHERE queue = $1"},
    .get_workers = {"SELECT id, host, state, queues, pid, slots, busy, stuck, started_at, beat_at FROM "
                    "main.worker WHERE beat_at >= $1 ORDER BY id"},
    .signal_worker = {"UPDATE main.worker SET asked = $2 WHERE id = $1"},
    .get_stats = {"SELECT at, queue, kind, success, failure, crash, busy FROM main.stat WHERE span = $1 AND "
                  "at >= $2 AND at < $3"},
};

std::vector<QueueInfo> Mysql::read_queues(Scope& scope, TimePoint now) {
  std::vector<QueueInfo> infos;
  std::map<std::int64_t, std::size_t> with_pending;
  auto row = scope.ask(get_queues);
  while (row.step()) {
    if (infos.empty() || infos.back().name != row.bytes(1)) {
      infos.emplace_back();
      infos.back().name = row.bytes(1);
      infos.back().paused = row.boolean(2);
    }
    if (row.integer(4) <= 0) continue;
    const auto state = static_cast<State>(row.integer(3));
    infos.back().counts[state] = static_cast<std::uint64_t>(row.integer(4));
    if (state == State::pending) with_pending[row.integer(0)] = infos.size() - 1;
  }
  std::map<std::int64_t, QueueInfo*> queues;
  for (const auto& [queue, place] : with_pending) queues[queue] = &infos[place];
  read_oldest(scope, queues, now);
  return infos;
}

}  // namespace tidemill::mysql_store
