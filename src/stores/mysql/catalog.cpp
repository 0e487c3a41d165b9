// The operator's side.
#include <algorithm>
#include <map>

#include <tidemill/error.hpp>

#include "stores/mysql/edit.hpp"
#include "stores/mysql/find.hpp"
#include "stores/mysql/groups.hpp"
#include "stores/mysql/report.hpp"
#include "stores/mysql/store_impl.hpp"
#include "stores/mysql/tasks.hpp"

namespace tidemill::mysql_store {

namespace {

using namespace std::chrono_literals;

/// A worker that has been silent for longer is taken for dead.
constexpr auto worker_alive = 1min;

constexpr Sql get_attempts{
    "SELECT a.number, a.started_at, a.ended_at, a.worker, a.error, a.logs FROM main.attempt a "
    "WHERE a.seq = (SELECT seq FROM main.job WHERE queue = $1 AND id = $2) ORDER BY a.n"};

constexpr auto get_queues_text =
    join("SELECT q.id, q.name, q.paused, c.state, SUM(c.tasks) FROM ", all_counts,
         " JOIN main.queue q ON q.id = c.queue GROUP BY q.id, q.name, q.paused, c.state "
         "ORDER BY q.name, c.state");
constexpr Sql get_queues{get_queues_text.data()};
// The first of the next lane of pending tasks.
constexpr Sql next_lane{
    "SELECT line, at FROM main.job FORCE INDEX (line) WHERE line > $1 AND line <= $2 "
    "ORDER BY line, at, seq LIMIT 1"};
constexpr Sql set_paused{"UPDATE main.queue SET paused = $2 WHERE id = $1"};

// Locked first, and summed up by a statement that sees what was written meanwhile.
constexpr Sql lock_counts{"SELECT 1 FROM main.counter WHERE queue = $1 ORDER BY state, lane FOR UPDATE"};
constexpr auto count_all_text =
    join("SELECT COUNT(*), COALESCE(SUM(tasks), 0) FROM ", all_counts, " WHERE queue = $1");
constexpr Sql count_all{count_all_text.data()};
constexpr Sql erase_counts{"DELETE FROM main.counter WHERE queue = $1"};
constexpr Sql erase_deltas{"DELETE FROM main.delta WHERE queue = $1"};

constexpr Sql get_workers{
    "SELECT id, host, state, queues, pid, slots, busy, stuck, started_at, beat_at FROM main.worker "
    "WHERE beat_at >= $1 ORDER BY id"};
constexpr Sql signal_worker{"UPDATE main.worker SET asked = $2 WHERE id = $1"};

constexpr Sql get_stats{
    "SELECT at, queue, kind, success, failure, crash, busy FROM main.stat "
    "WHERE span = $1 AND at >= $2 AND at < $3"};

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

std::vector<QueueInfo> read_queues(Scope& scope, TimePoint now) {
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

Page MysqlStore::find(const Filter& filter, std::string_view cursor, std::size_t limit, Duration budget,
                      const Call& call) {
  const Clock& clock = clock_ != nullptr ? *clock_ : Clock::system();
  return readers_.read(
      call, [&](Scope& scope) { return find_tasks(scope, filter, cursor, limit, budget, clock, call.now); });
}

std::vector<std::optional<Task>> MysqlStore::get(std::span<const Ref> refs, const Call& call) {
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

std::vector<Attempt> MysqlStore::attempts(const Ref& ref, const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    const auto queue = scope.find_queue(ref.queue);
    if (!queue) return std::vector<Attempt>{};
    return sql_store::read_attempts(scope.ask(get_attempts, *queue, Blob{stored_id(ref.id)}));
  });
}

std::vector<Changed> MysqlStore::change(std::span<const Ref> refs, const Change& change, const Call& call) {
  if (refs.empty()) return {};
  return rest_.run(call, {.tasks = refs.size()},
                   [&](Write& write) { return change_all(write, refs, change, call.now); });
}

Changed MysqlStore::edit(const Edit& edit, const Call& call) {
  return rest_.run(call, {.bytes = edit.task.payload.size()},
                   [&](Write& write) { return edit_task(write, edit, call.now); });
}

std::vector<Changed> MysqlStore::move(std::span<const Ref> refs, States from, std::string_view queue,
                                      const Call& call) {
  if (refs.empty()) return {};
  return rest_.run(call, {.tasks = refs.size()},
                   [&](Write& write) { return move_all(write, refs, from, queue, call.now); });
}

std::vector<QueueInfo> MysqlStore::queues(const Call& call) {
  return readers_.read(call, [&](Scope& scope) { return read_queues(scope, call.now); });
}

void MysqlStore::pause(std::string_view queue, bool paused, const Call& call) {
  rest_.run(call, {}, [&](Write& write) {
    const std::int64_t number = write.intern_queue(queue);
    write.tell(set_paused, number, paused);
    if (!paused) write.unpaused(number);
    return paused;
  });
}

Changed MysqlStore::erase_queue(std::string_view queue, const Call& call) {
  return rest_.run(call, {}, [&](Write& write) { return erase_line(write, queue); });
}

std::vector<GroupInfo> MysqlStore::groups(std::string_view queue, std::string_view after, std::size_t limit,
                                          const Call& call) {
  return readers_.read(call, [&](Scope& scope) { return list_groups(scope, queue, after, limit); });
}

std::vector<WorkerInfo> MysqlStore::workers(const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    return sql_store::read_workers(scope.ask(get_workers, stored(call.now - worker_alive)));
  });
}

bool MysqlStore::signal(std::string_view worker, Signal signal, const Call& call) {
  return rest_.run(call, {}, [&](Write& write) {
    const bool found = write.run(signal_worker, Blob{worker}, signal) > 0;
    if (found) write.signalled(worker);
    return found;
  });
}

std::vector<Stat> MysqlStore::stats(std::string_view queue, Span span, TimePoint from, TimePoint to,
                                    const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    return sql_store::read_stats(scope.ask(get_stats, span, stored(from), stored(to)), scope, queue);
  });
}

}  // namespace tidemill::mysql_store
