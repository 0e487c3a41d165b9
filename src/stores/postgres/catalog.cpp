// The operator's side.
#include <algorithm>

#include <tidemill/error.hpp>

#include "stores/postgres/edit.hpp"
#include "stores/postgres/find.hpp"
#include "stores/postgres/groups.hpp"
#include "stores/postgres/report.hpp"
#include "stores/postgres/store_impl.hpp"
#include "stores/postgres/tasks.hpp"

namespace tidemill::postgres_store {

namespace {

using namespace std::chrono_literals;

/// A worker that has been silent for longer is taken for dead.
constexpr auto worker_alive = 1min;

constexpr Sql get_attempts{
    "SELECT a.number, a.started_at, a.ended_at, a.worker, a.error, a.logs FROM main.tidemill_attempt a "
    "WHERE a.seq = (SELECT seq FROM main.tidemill_job WHERE queue = $1 AND id = $2) ORDER BY a.n"};

// The oldest of each lane of pending tasks is its first; 2 is pending: stores/sql/layout.hpp.
constexpr Sql get_queues{
    "WITH counts AS (SELECT queue, state, sum(tasks)::bigint AS tasks FROM main.tidemill_count "
    "GROUP BY queue, state) "
    "SELECT q.name, q.paused, c.state, c.tasks, CASE WHEN c.state = 2 AND c.tasks > 0 THEN (WITH RECURSIVE "
    "lane AS ((SELECT line, at FROM main.tidemill_job WHERE line >= (q.id::bigint << 16 | 512) AND line <= "
    "(q.id::bigint << 16 | 767) ORDER BY line, at, seq LIMIT 1) UNION ALL SELECT n.line, n.at FROM lane, "
    "LATERAL (SELECT j.line, j.at FROM main.tidemill_job j WHERE j.line > lane.line AND j.line <= "
    "(q.id::bigint << 16 | 767) ORDER BY j.line, j.at, j.seq LIMIT 1) n) SELECT min(at) FROM lane) END "
    "FROM counts c JOIN main.tidemill_queue q ON q.id = c.queue ORDER BY q.name, c.state"};
constexpr Sql set_paused{"UPDATE main.tidemill_queue SET paused = $2 WHERE id = $1"};

// Locked first, and summed up by a statement that sees what was written meanwhile.
constexpr Sql lock_counts{
    "SELECT 1 FROM main.tidemill_counter WHERE queue = $1 ORDER BY state, lane FOR UPDATE"};
constexpr Sql count_all{
    "SELECT count(*), coalesce(sum(tasks), 0)::bigint FROM main.tidemill_count WHERE queue = $1"};
constexpr Sql erase_counts{"DELETE FROM main.tidemill_counter WHERE queue = $1"};
constexpr Sql erase_deltas{"DELETE FROM main.tidemill_delta WHERE queue = $1"};

constexpr Sql get_workers{
    "SELECT id, host, state, queues, pid, slots, busy, stuck, started_at, beat_at FROM main.tidemill_worker "
    "WHERE beat_at >= $1 ORDER BY id"};
constexpr Sql signal_worker{"UPDATE main.tidemill_worker SET signal = $2 WHERE id = $1"};

constexpr Sql get_stats{
    "SELECT at, queue, kind, success, failure, crash, busy FROM main.tidemill_stat "
    "WHERE span = $1 AND at >= $2 AND at < $3"};

std::vector<QueueInfo> read_queues(Scope& scope, TimePoint now) {
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

/// The name stays: statistics and keys are by its number, and other processes remember that.
Changed erase_line(Write& write, std::string_view queue) {
  const auto number = write.find_queue(queue);
  if (!number) return Changed::absent;
  write.tell(lock_counts, *number);
  auto row = write.ask(count_all, *number);
  row.step();
  if (row.integer(0) == 0) return Changed::absent;
  if (row.integer(1) > 0) return Changed::wrong_state;
  write.tell(erase_counts, *number);
  write.tell(erase_deltas, *number);
  write.tell(set_paused, *number, false);
  return Changed::changed;
}

}  // namespace

Page PostgresStore::find(const Filter& filter, std::string_view cursor, std::size_t limit, Duration budget,
                         const Call& call) {
  const Clock& clock = clock_ != nullptr ? *clock_ : Clock::system();
  return readers_.read(
      call, [&](Scope& scope) { return find_tasks(scope, filter, cursor, limit, budget, clock, call.now); });
}

std::vector<std::optional<Task>> PostgresStore::get(std::span<const Ref> refs, const Call& call) {
  if (refs.empty()) return {};
  return readers_.read(call, [&](Scope& scope) {
    auto rows = find_rows(scope, refs, false);
    std::vector<Row*> there;
    for (auto& row : rows) {
      if (row) there.push_back(&*row);
    }
    add_uniques(scope, there, call.now);
    std::vector<std::optional<Task>> tasks;
    for (auto& row : rows) tasks.push_back(row ? std::optional{std::move(row->task)} : std::nullopt);
    return tasks;
  });
}

std::vector<Attempt> PostgresStore::attempts(const Ref& ref, const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    const auto queue = scope.find_queue(ref.queue);
    if (!queue) return std::vector<Attempt>{};
    return sql_store::read_attempts(scope.ask(get_attempts, *queue, Blob{stored_id(ref.id)}));
  });
}

std::vector<Changed> PostgresStore::change(std::span<const Ref> refs, const Change& change,
                                           const Call& call) {
  if (refs.empty()) return {};
  return rest_.run(call, {.tasks = refs.size()},
                   [&](Write& write) { return change_all(write, refs, change, call.now); });
}

Changed PostgresStore::edit(const Edit& edit, const Call& call) {
  return rest_.run(call, {.bytes = edit.task.payload.size()},
                   [&](Write& write) { return edit_task(write, edit, call.now); });
}

std::vector<Changed> PostgresStore::move(std::span<const Ref> refs, States from, std::string_view queue,
                                         const Call& call) {
  if (refs.empty()) return {};
  return rest_.run(call, {.tasks = refs.size()},
                   [&](Write& write) { return move_all(write, refs, from, queue, call.now); });
}

std::vector<QueueInfo> PostgresStore::queues(const Call& call) {
  return readers_.read(call, [&](Scope& scope) { return read_queues(scope, call.now); });
}

void PostgresStore::pause(std::string_view queue, bool paused, const Call& call) {
  rest_.run(call, {}, [&](Write& write) {
    const std::int64_t number = write.intern_queue(queue);
    write.tell(set_paused, number, paused);
    if (!paused) write.unpaused(number);
    return paused;
  });
}

Changed PostgresStore::erase_queue(std::string_view queue, const Call& call) {
  return rest_.run(call, {}, [&](Write& write) { return erase_line(write, queue); });
}

std::vector<GroupInfo> PostgresStore::groups(std::string_view queue, std::string_view after,
                                             std::size_t limit, const Call& call) {
  return readers_.read(call, [&](Scope& scope) { return list_groups(scope, queue, after, limit); });
}

std::vector<WorkerInfo> PostgresStore::workers(const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    return sql_store::read_workers(scope.ask(get_workers, stored(call.now - worker_alive)));
  });
}

bool PostgresStore::signal(std::string_view worker, Signal signal, const Call& call) {
  return rest_.run(call, {}, [&](Write& write) {
    const bool found = write.run(signal_worker, Blob{worker}, signal) > 0;
    if (found) write.signalled(worker);
    return found;
  });
}

std::vector<Stat> PostgresStore::stats(std::string_view queue, Span span, TimePoint from, TimePoint to,
                                       const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    return sql_store::read_stats(scope.ask(get_stats, span, stored(from), stored(to)), scope, queue);
  });
}

}  // namespace tidemill::postgres_store
