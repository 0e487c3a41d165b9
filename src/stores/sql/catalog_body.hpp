#pragma once

#include <tidemill/error.hpp>

#include "stores/sql/edit.hpp"
#include "stores/sql/find.hpp"
#include "stores/sql/groups.hpp"
#include "stores/sql/report.hpp"
#include "stores/sql/server_store.hpp"

/// The operator's side, and schedules at rest.
namespace tidemill::sql_store {

/// The name stays: statistics and keys are by its number, and other processes remember that.
template <class Database>
Changed erase_counts_of(Write<Database>& write, std::string_view queue) {
  const auto number = write.find_queue(queue);
  if (!number) return Changed::absent;
  write.tell(Database::catalog.lock_counts, *number);
  auto row = write.ask(Database::catalog.count_all, *number);
  row.step();
  if (row.integer(0) == 0) return Changed::absent;
  if (row.integer(1) > 0) return Changed::wrong_state;
  write.tell(Database::catalog.erase_counts, *number);
  write.tell(Database::catalog.erase_deltas, *number);
  write.tell(Database::catalog.set_paused, *number, false);
  return Changed::changed;
}

template <class Database>
bool put_schedule(Write<Database>& write, const PutSchedule& given) {
  const StoredSchedule& schedule = given.schedule;
  const auto put = [&](const Sql& sql, const auto&... more) {
    return write.run(sql, Blob{schedule.id}, Blob{schedule.owner}, Blob{schedule.rule}, schedule.paused,
                     stored(schedule.next), stored(schedule.last), more...) > 0;
  };
  return given.expected_next ? put(Database::schedules.put_over, stored(*given.expected_next))
                             : put(Database::schedules.put_new);
}

template <class Database>
Page ServerStore<Database>::find(const Filter& filter, std::string_view cursor, std::size_t limit,
                                 Duration budget, const Call& call) {
  const Clock& clock = clock_ != nullptr ? *clock_ : Clock::system();
  return readers_.read(
      call, [&](Scope& scope) { return find_tasks(scope, filter, cursor, limit, budget, clock, call.now); });
}

template <class Database>
std::vector<std::optional<Task>> ServerStore<Database>::get(std::span<const Ref> refs, const Call& call) {
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

template <class Database>
std::vector<Attempt> ServerStore<Database>::attempts(const Ref& ref, const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    const auto queue = scope.find_queue(ref.queue);
    if (!queue) return std::vector<Attempt>{};
    return read_attempts(scope.ask(Database::catalog.get_attempts, *queue, Blob{stored_id(ref.id)}));
  });
}

template <class Database>
std::vector<Changed> ServerStore<Database>::change(std::span<const Ref> refs, const Change& change,
                                                   const Call& call) {
  if (refs.empty()) return {};
  return rest_.run(call, {.tasks = refs.size()},
                   [&](Write& write) { return change_all(write, refs, change, call.now); });
}

template <class Database>
Changed ServerStore<Database>::edit(const Edit& edit, const Call& call) {
  return rest_.run(call, {.bytes = edit.task.payload.size()},
                   [&](Write& write) { return edit_task(write, edit, call.now); });
}

template <class Database>
std::vector<Changed> ServerStore<Database>::move(std::span<const Ref> refs, States from,
                                                 std::string_view queue, const Call& call) {
  if (refs.empty()) return {};
  return rest_.run(call, {.tasks = refs.size()},
                   [&](Write& write) { return move_all(write, refs, from, queue, call.now); });
}

template <class Database>
std::vector<QueueInfo> ServerStore<Database>::queues(const Call& call) {
  return readers_.read(call, [&](Scope& scope) { return Database::read_queues(scope, call.now); });
}

template <class Database>
void ServerStore<Database>::pause(std::string_view queue, bool paused, const Call& call) {
  rest_.run(call, {}, [&](Write& write) {
    const std::int64_t number = write.intern_queue(queue);
    write.tell(Database::catalog.set_paused, number, paused);
    if (!paused) write.unpaused(number);
    return paused;
  });
}

template <class Database>
Changed ServerStore<Database>::erase_queue(std::string_view queue, const Call& call) {
  return rest_.run(call, {}, [&](Write& write) { return erase_counts_of(write, queue); });
}

template <class Database>
std::vector<GroupInfo> ServerStore<Database>::groups(std::string_view queue, std::string_view after,
                                                     std::size_t limit, const Call& call) {
  return readers_.read(call, [&](Scope& scope) { return list_groups(scope, queue, after, limit); });
}

template <class Database>
std::vector<WorkerInfo> ServerStore<Database>::workers(const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    return read_workers(scope.ask(Database::catalog.get_workers, stored(call.now - worker_alive)));
  });
}

template <class Database>
bool ServerStore<Database>::signal(std::string_view worker, Signal signal, const Call& call) {
  return rest_.run(call, {}, [&](Write& write) {
    const bool found = write.run(Database::catalog.signal_worker, Blob{worker}, signal) > 0;
    if (found) write.signalled(worker);
    return found;
  });
}

template <class Database>
std::vector<Stat> ServerStore<Database>::stats(std::string_view queue, Span span, TimePoint from,
                                               TimePoint to, const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    return read_stats(scope.ask(Database::catalog.get_stats, span, stored(from), stored(to)), scope, queue);
  });
}

template <class Database>
std::vector<StoredSchedule> ServerStore<Database>::schedules(std::optional<TimePoint> due_by,
                                                             const Call& call) {
  return readers_.read(call, [&](Scope& scope) {
    return read_schedules(due_by ? scope.ask(Database::schedules.get_due, stored(*due_by))
                                 : scope.ask(Database::schedules.get_all));
  });
}

template <class Database>
std::vector<bool> ServerStore<Database>::put_schedules(std::span<const PutSchedule> puts, const Call& call) {
  if (puts.empty()) return {};
  return rest_.run(call, {.tasks = puts.size()}, [&](Write& write) {
    std::vector<bool> answers;
    for (const PutSchedule& each : puts) answers.push_back(put_schedule(write, each));
    return answers;
  });
}

template <class Database>
std::size_t ServerStore<Database>::erase_schedules(std::span<const std::string> ids, const Call& call) {
  if (ids.empty()) return 0;
  std::vector<Blob> all;
  for (const std::string& id : ids) all.push_back(Blob{id});
  return rest_.run(call, {.tasks = ids.size()}, [&](Write& write) {
    return static_cast<std::size_t>(write.run(Database::schedules.erase, all));
  });
}

}  // namespace tidemill::sql_store
