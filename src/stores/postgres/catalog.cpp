#include <algorithm>

#include "stores/postgres/database.hpp"

namespace tidemill::postgres_store {

namespace {

// The oldest of each lane of pending tasks is its first; 2 is pending: stores/sql/layout.hpp.
constexpr Sql get_queues{
    "WITH counts AS (SELECT queue, state, sum(tasks)::bigint AS tasks FROM main.tidemill_count GROUP BY "
    "queue, state) SELECT q.name, q.paused, c.state, c.tasks, CASE WHEN c.state = 2 AND c.tasks > 0 THEN "
    "(WITH RECURSIVE lane AS ((SELECT line, at FROM main.tidemill_job WHERE line >= (q.id::bigint << 16 | "
    "512) AND line <= (q.id::bigint << 16 | 767) ORDER BY line, at, seq LIMIT 1) UNION ALL SELECT n.line, "
    "n.at FROM lane, LATERAL (SELECT j.line, j.at FROM main.tidemill_job j WHERE j.line > lane.line AND "
    "j.line <= (q.id::bigint << 16 | 767) ORDER BY j.line, j.at, j.seq LIMIT 1) n) SELECT min(at) FROM lane) "
    "END FROM counts c JOIN main.tidemill_queue q ON q.id = c.queue ORDER BY q.name, c.state"};

}  // namespace

const sql_store::CatalogStatements Postgres::catalog{
    .get_attempts =
        {"SELECT a.number, a.started_at, a.ended_at, a.worker, a.error, a.logs FROM main.tidemill_attempt a "
         "WHERE a.seq = (SELECT seq FROM main.tidemill_job WHERE queue = $1 AND id = $2) ORDER BY a.n"},
    .set_paused = {"UPDATE main.tidemill_queue SET paused = $2 WHERE id = $1"},
    // Locked first, and summed up by a statement that sees what was written meanwhile.
    .lock_counts = {"SELECT 1 FROM main.tidemill_counter WHERE queue = $1 ORDER BY state, lane FOR UPDATE"},
    .count_all =
        {"SELECT count(*), coalesce(sum(tasks), 0)::bigint FROM main.tidemill_count WHERE queue = $1"},
    .erase_counts = {"DELETE FROM main.tidemill_counter WHERE queue = $1"},
    .erase_deltas = {"DELETE FROM main.tidemill_delta WHERE queue = $1"},
    .get_workers = {"SELECT id, host, state, queues, pid, slots, busy, stuck, started_at, beat_at FROM "
                    "main.tidemill_worker WHERE beat_at >= $1 ORDER BY id"},
    .signal_worker = {"UPDATE main.tidemill_worker SET signal = $2 WHERE id = $1"},
    .get_stats = {"SELECT at, queue, kind, success, failure, crash, busy FROM main.tidemill_stat WHERE span "
                  "= $1 AND at >= $2 AND at < $3"},
};

std::vector<QueueInfo> Postgres::read_queues(Scope& scope, TimePoint now) {
  std::vector<QueueInfo> infos;
  auto row = scope.ask(get_queues);
  while (row.step()) {
    if (infos.empty() || infos.back().name != row.bytes(0)) {
      infos.emplace_back();
      infos.back().name = row.bytes(0);
      infos.back().paused = row.boolean(1);
    }
    QueueInfo& info = infos.back();
    if (row.integer(3) > 0)
      info.counts[static_cast<State>(row.integer(2))] = static_cast<std::uint64_t>(row.integer(3));
    if (!row.null(4)) info.oldest = std::max(now - time_of(row.integer(4)), Duration::zero());
  }
  return infos;
}

}  // namespace tidemill::postgres_store
