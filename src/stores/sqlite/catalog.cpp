// The operator's side.
#include <algorithm>

#include <tidemill/error.hpp>

#include "stores/sqlite/edit.hpp"
#include "stores/sqlite/find.hpp"
#include "stores/sqlite/groups.hpp"
#include "stores/sqlite/report.hpp"
#include "stores/sqlite/store_impl.hpp"
#include "stores/sqlite/tasks.hpp"

namespace tidemill::sqlite_store {

namespace {

using namespace std::chrono_literals;

/// A worker that has been silent for longer is taken for dead.
constexpr auto worker_alive = 1min;

constexpr sqlite::Sql get_attempts{
    "SELECT a.number, a.started_at, a.ended_at, a.worker, a.error, a.logs FROM main.tidemill_attempt a "
    "WHERE a.seq = (SELECT seq FROM main.tidemill_job WHERE queue = ?1 AND id = ?2) ORDER BY a.n"};

constexpr sqlite::Sql get_queues{"SELECT id, name, paused FROM main.tidemill_queue ORDER BY name"};
constexpr sqlite::Sql get_counts{"SELECT state, tasks FROM main.tidemill_counter WHERE queue = ?1"};
// One step from lane to lane of the pending tasks: the first row of a lane is its oldest.
constexpr sqlite::Sql next_lane{
    "SELECT line, at FROM main.tidemill_job WHERE line > ?1 AND line <= ?2 ORDER BY line, at LIMIT 1"};
constexpr sqlite::Sql set_paused{"UPDATE main.tidemill_queue SET paused = ?2 WHERE id = ?1"};

constexpr sqlite::Sql count_all{
    "SELECT coalesce(sum(tasks), -1) FROM main.tidemill_counter WHERE queue = ?1"};
constexpr sqlite::Sql erase_counts{"DELETE FROM main.tidemill_counter WHERE queue = ?1"};

constexpr sqlite::Sql get_workers{
    "SELECT id, host, state, queues, pid, slots, busy, stuck, started_at, beat_at FROM main.tidemill_worker "
    "WHERE beat_at >= ?1 ORDER BY +id"};  // The plus: by the index of beats, then sorted.
constexpr sqlite::Sql signal_worker{"UPDATE main.tidemill_worker SET signal = ?2 WHERE id = ?1"};

constexpr sqlite::Sql get_stats{
    "SELECT at, queue, kind, success, failure, crash, busy FROM main.tidemill_stat "
    "WHERE span = ?1 AND at >= ?2 AND at < ?3"};

Duration oldest(Scope& scope, std::int64_t queue, TimePoint now) {
  std::optional<TimePoint> least;
  std::int64_t line = first_line(queue, State::pending) - 1;
  for (;;) {
    auto row = scope.db.query(next_lane, line, last_line(queue, State::pending));
    if (!row.step()) break;
    line = row.integer(0);
    least = std::min(least.value_or(TimePoint::max()), time_of(row.integer(1)));
  }
  return least ? std::max(now - *least, Duration::zero()) : Duration::zero();
}

std::vector<QueueInfo> read_queues(Scope& scope, TimePoint now) {
  std::vector<QueueInfo> infos;
  auto row = scope.db.query(get_queues);
  while (row.step()) {
    QueueInfo info;
    const std::int64_t queue = row.integer(0);
    info.name = row.bytes(1);
    info.paused = row.integer(2) != 0;
    bool used = false;
    auto count = scope.db.query(get_counts, queue);
    while (count.step()) {
      used = true;
      if (count.integer(1) > 0) {
        info.counts[static_cast<State>(count.integer(0))] = static_cast<std::uint64_t>(count.integer(1));
      }
    }
    if (!used) continue;  // Only its name is known, from a pause or from statistics.
    info.oldest = oldest(scope, queue, now);
    infos.push_back(std::move(info));
  }
  return infos;
}

/// The name stays: statistics and keys are by its number, and other processes remember that.
Changed erase_line(Write& write, std::string_view queue) {
  const auto number = write.find_queue(queue);
  if (!number) return Changed::absent;
  {
    auto row = write.db.query(count_all, *number);
    row.step();
    if (row.integer(0) < 0) return Changed::absent;
    if (row.integer(0) > 0) return Changed::wrong_state;
  }
  write.db.run(erase_counts, *number);
  write.db.run(set_paused, *number, false);
  return Changed::changed;
}

std::vector<WorkerInfo> read_workers(Scope& scope, TimePoint now) {
  std::vector<WorkerInfo> infos;
  auto row = scope.db.query(get_workers, stored(now - worker_alive));
  while (row.step()) {
    WorkerInfo info;
    info.id = row.bytes(0);
    info.host = row.bytes(1);
    info.state = row.bytes(2);
    for (const auto& [name, weight] : read_map(row.bytes(3))) info.queues[name] = std::stoi(weight);
    info.pid = row.integer(4);
    info.slots = static_cast<std::int32_t>(row.integer(5));
    info.busy = static_cast<std::int32_t>(row.integer(6));
    info.stuck = static_cast<std::int32_t>(row.integer(7));
    info.started_at = time_of(row.integer(8));
    info.beat_at = time_of(row.integer(9));
    infos.push_back(std::move(info));
  }
  return infos;
}

std::vector<Stat> read_stats(Scope& scope, std::string_view queue, Span span, TimePoint from, TimePoint to) {
  std::vector<Stat> stats;
  auto row = scope.db.query(get_stats, span, stored(from), stored(to));
  while (row.step()) {
    Stat stat;
    stat.queue = scope.queue_name(row.integer(1));
    if (!queue.empty() && stat.queue != queue) continue;
    stat.at = time_of(row.integer(0));
    stat.kind = scope.kind_name(row.integer(2));
    stat.success = static_cast<std::uint64_t>(row.integer(3));
    stat.failure = static_cast<std::uint64_t>(row.integer(4));
    stat.crash = static_cast<std::uint64_t>(row.integer(5));
    stat.busy = Duration{row.integer(6)};
    stats.push_back(std::move(stat));
  }
  std::sort(stats.begin(), stats.end(), [](const Stat& a, const Stat& b) {
    return std::tie(a.at, a.queue, a.kind) < std::tie(b.at, b.queue, b.kind);
  });
  return stats;
}

std::vector<Attempt> read_attempts(Scope& scope, const Ref& ref) {
  std::vector<Attempt> attempts;
  const auto queue = scope.find_queue(ref.queue);
  if (!queue) return attempts;
  const StoredId id{ref.id};
  auto row = scope.db.query(get_attempts, *queue, id);
  while (row.step()) {
    Attempt attempt;
    attempt.number = static_cast<std::int32_t>(row.integer(0));
    attempt.started_at = time_of(row.integer(1));
    attempt.ended_at = time_of(row.integer(2));
    attempt.worker = id_at(row, 3);
    attempt.error = row.bytes(4);
    read_lines(row.bytes(5), attempt.logs);
    attempts.push_back(std::move(attempt));
  }
  return attempts;
}

}  // namespace

Page SqliteStore::find(const Filter& filter, std::string_view cursor, std::size_t limit, Duration budget,
                       const Call& call) {
  return readers_.read([&](Scope& scope) {
    return find_tasks(scope, filter, cursor, limit, budget, *options_.clock, call.now);
  });
}

std::vector<std::optional<Task>> SqliteStore::get(std::span<const Ref> refs, const Call& call) {
  return readers_.read([&](Scope& scope) {
    std::vector<std::optional<Task>> tasks;
    for (const Ref& ref : refs) {
      auto row = find_row(scope, ref);
      if (row) row->task.unique = read_unique(scope, *row, call.now);
      tasks.push_back(row ? std::optional{std::move(row->task)} : std::nullopt);
    }
    return tasks;
  });
}

std::vector<Attempt> SqliteStore::attempts(const Ref& ref, const Call&) {
  return readers_.read([&](Scope& scope) { return read_attempts(scope, ref); });
}

std::vector<Changed> SqliteStore::change(std::span<const Ref> refs, const Change& change, const Call& call) {
  if (refs.empty()) return {};
  std::vector<Changed> answers;
  lane_.run({.apply = [&](Write& write) { answers = change_all(write, refs, change, call.now); },
             .tasks = refs.size(),
             .deadline = call.deadline});
  return answers;
}

Changed SqliteStore::edit(const Edit& edit, const Call& call) {
  Changed answer = Changed::failed;
  lane_.run({.apply = [&](Write& write) { answer = edit_task(write, edit, call.now); },
             .bytes = edit.task.payload.size(),
             .deadline = call.deadline});
  return answer;
}

std::vector<Changed> SqliteStore::move(std::span<const Ref> refs, States from, std::string_view queue,
                                       const Call& call) {
  if (refs.empty()) return {};
  std::vector<Changed> answers;
  lane_.run({.apply = [&](Write& write) { answers = move_all(write, refs, from, queue, call.now); },
             .tasks = refs.size(),
             .deadline = call.deadline});
  return answers;
}

std::vector<QueueInfo> SqliteStore::queues(const Call& call) {
  return readers_.read([&](Scope& scope) { return read_queues(scope, call.now); });
}

void SqliteStore::pause(std::string_view queue, bool paused, const Call& call) {
  lane_.run({.apply =
                 [&](Write& write) {
                   const std::int64_t number = write.intern_queue(queue);
                   write.db.run(set_paused, number, paused);
                   if (!paused) write.unpaused(number);
                 },
             .deadline = call.deadline});
}

Changed SqliteStore::erase_queue(std::string_view queue, const Call& call) {
  Changed answer = Changed::failed;
  lane_.run({.apply = [&](Write& write) { answer = erase_line(write, queue); }, .deadline = call.deadline});
  return answer;
}

std::vector<GroupInfo> SqliteStore::groups(std::string_view queue, std::string_view after, std::size_t limit,
                                           const Call&) {
  return readers_.read([&](Scope& scope) { return list_groups(scope, queue, after, limit); });
}

std::vector<WorkerInfo> SqliteStore::workers(const Call& call) {
  return readers_.read([&](Scope& scope) { return read_workers(scope, call.now); });
}

bool SqliteStore::signal(std::string_view worker, Signal signal, const Call& call) {
  bool found = false;
  lane_.run({.apply =
                 [&](Write& write) {
                   found = write.db.run(signal_worker, worker, signal) > 0;
                   if (found) write.signalled(worker);
                 },
             .deadline = call.deadline});
  return found;
}

std::vector<Stat> SqliteStore::stats(std::string_view queue, Span span, TimePoint from, TimePoint to,
                                     const Call&) {
  return readers_.read([&](Scope& scope) { return read_stats(scope, queue, span, from, to); });
}

}  // namespace tidemill::sqlite_store
