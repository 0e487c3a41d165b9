#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <tidemill/groups.hpp>

#include "core/rules.hpp"
#include "stores/sql/enqueue.hpp"
#include "stores/sql/tasks.hpp"

/// Groups of tasks, and the sets that workers gather from them.
namespace tidemill::sql_store {

/// How many groups or sets a sweep sees to.
inline constexpr std::int64_t regrouped_max = 100;

struct SetRow {
  std::int64_t id = 0;
  std::int64_t queue = 0;
  std::string group = {};
};

/// When the queue's next group falls due, or before.
template <class Database>
std::optional<TimePoint> next_due(Scope<Database>& scope, std::int64_t queue, const GroupRule& rule,
                                  TimePoint now) {
  auto row = scope.ask(Database::groups.least_times, queue, rule.size_max);
  row.step();
  if (row.boolean(0)) return now;
  std::optional<TimePoint> least;
  const auto add = [&](int column, Duration wait) {
    const auto time = time_of(row.optional_integer(column));
    if (time) least = std::min(least.value_or(TimePoint::max()), std::max(*time + wait, now));
  };
  add(1, {});
  add(2, rule.grace);
  if (rule.delay_max > Duration::zero()) add(3, rule.delay_max);
  return least;
}

inline void add_due(Gathered& answer, std::optional<TimePoint> due) {
  if (due) answer.next_due = std::min(answer.next_due.value_or(*due), *due);
}

/// The numbers of the queues that there are and that aren't paused.
template <class Database>
std::vector<std::int64_t> open_queues(Scope<Database>& scope, const Gather& gather) {
  std::vector<std::int64_t> queues;
  for (const std::string_view name : gather.queues) {
    if (const auto queue = scope.find_queue(name)) queues.push_back(*queue);
  }
  return queues.empty() ? queues : unpaused(scope, queues);
}

/// Names of due groups.
template <class Database>
std::vector<std::string> due_groups(Scope<Database>& scope, std::int64_t queue, const GroupRule& rule,
                                    std::size_t limit, TimePoint now) {
  std::vector<std::string> names;
  if (limit == 0) return names;
  // What one query has found the next may find again, so each may find that many.
  typename Database::Batch batch;
  batch.add(Database::groups.full, queue, rule.size_max, limit);
  if (rule.delay_max > Duration::zero())
    batch.add(Database::groups.long_waiting, queue, stored(now - rule.delay_max), limit);
  batch.add(Database::groups.quiet, queue, stored(now - rule.grace), limit);
  for (auto& row : scope.ask_all(std::move(batch))) {
    while (names.size() < limit && row.step()) {
      if (std::ranges::find(names, row.bytes(0)) == names.end()) names.emplace_back(row.bytes(0));
    }
  }
  return names;
}

/// Whether it is still due, and nobody else gathers from it meanwhile.
template <class Database>
bool lock_due(Write<Database>& write, std::int64_t queue, const std::string& group, const GroupRule& rule,
              TimePoint now) {
  auto row = write.ask(Database::groups.take, queue, Blob{group});
  if (!row.step()) return false;
  const TimePoint first = time_of(row.integer(1));
  const TimePoint last = time_of(row.integer(2));
  return row.integer(0) >= static_cast<std::int64_t>(rule.size_max) ||
         (rule.delay_max > Duration::zero() && first + rule.delay_max <= now) || last + rule.grace <= now;
}

/// The oldest tasks of a group, as many as one set may have.
template <class Database>
std::vector<Row> read_oldest(Write<Database>& write, std::int64_t queue, std::string_view group,
                             const Gather& gather) {
  auto rows = read_rows(Database::oldest_members(write, queue, group, gather.rule.size_max), write);
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    bytes += rules::bytes_of(rows[i].task);
    if (gather.bytes_max > 0 && i > 0 && bytes > gather.bytes_max) {
      rows.resize(i);
      break;
    }
  }
  return rows;
}

template <class Database>
void take_set(Write<Database>& write, std::int64_t queue, const std::string& group, const Gather& gather,
              TimePoint now, Gathered& answer) {
  if (!lock_due(write, queue, group, gather.rule, now)) return;
  auto rows = read_oldest(write, queue, group, gather);
  if (rows.empty()) return;
  const std::int64_t id = make_claim();
  TaskSet set{write.queue_name(queue), group, {}, token_text({queue, id}), gather.lease};
  std::vector<Row*> all;
  for (Row& row : rows) all.push_back(&row);
  add_uniques(write, all, now);
  Database::into_set(write, queue, group, rows, id);
  shrink_group(write, queue, group, rows.size());
  write.tell(Database::groups.add_set, id, queue, Blob{group}, stored(now + gather.lease));
  for (Row& row : rows) set.tasks.push_back(std::move(row.task));
  answer.sets.push_back(std::move(set));
}

template <class Database>
void regroup(Write<Database>& write, const SetRow& set) {
  auto row = Database::out_of_set(write, set.queue, set.group, set.id);
  if (row.step() && row.integer(0) > 0) {
    write.tell(Database::groups.grow, set.queue, Blob{set.group}, row.integer(0), row.optional_integer(1),
               row.optional_integer(2));
  }
  write.tell(Database::groups.drop_set, set.id);
}

template <class Database>
bool merge(Write<Database>& write, const SetRow& set, const Task& task, TimePoint now,
           std::size_t task_bytes_max) {
  if (task.ref.queue != write.queue_name(set.queue)) return false;
  const auto rows = read_rows(Database::members_of_set(write, set.queue, set.group, set.id), write);
  std::vector<std::int64_t> leaving;
  std::vector<const Row*> all;
  for (const Row& row : rows) {
    leaving.push_back(row.seq);
    all.push_back(&row);
  }
  if (!fits_in(write, task, leaving, now, task_bytes_max)) return false;
  erase_rows<Database>(write, all);
  Database::drop_members(write, set.queue, set.group, set.id);
  enqueue_all(write, {&task, 1}, now, task_bytes_max);
  write.tell(Database::groups.drop_set, set.id);
  return true;
}

template <class Database>
Reported settle_one(Write<Database>& write, const Settle& end, TimePoint now, std::size_t task_bytes_max) {
  if (end.set == nullptr) return Reported::failed;
  const auto token = parse_token(end.set->token);
  if (!token) return Reported::lost;
  SetRow set{token->claim, token->seq, {}};
  {
    auto row = write.ask(Database::groups.get_set, set.id, set.queue);
    if (!row.step()) return Reported::lost;
    set.group = row.bytes(0);
  }
  if (end.merged)
    return merge(write, set, *end.merged, now, task_bytes_max) ? Reported::applied : Reported::failed;
  regroup(write, set);
  if (end.delay > Duration::zero())
    write.tell(Database::groups.rest, set.queue, Blob{set.group}, stored(now + end.delay));
  return Reported::applied;
}

/// Brings what callers' transactions have noted of groups into their rows.
template <class Database>
void fold_joined(Write<Database>& write) {
  auto row = write.ask(Database::groups.get_joined, regrouped_max);
  while (row.step()) shrink_group(write, row.integer(0), row.bytes(1), 0);
}

/// Answers by reading alone and returns true, if no group is due.
template <class Database>
bool gather_nothing(Scope<Database>& scope, const Gather& gather, TimePoint now, Gathered& answer) {
  answer = {};
  for (const std::int64_t queue : open_queues(scope, gather)) {
    const auto due = next_due(scope, queue, gather.rule, now);
    if (due && *due <= now) return false;
    add_due(answer, due);
  }
  return true;
}

template <class Database>
Gathered gather_sets(Write<Database>& write, const Gather& gather, TimePoint now) {
  Gathered answer;
  for (const std::int64_t queue : open_queues(write, gather)) {
    write.tell(Database::groups.rested, queue, stored(now));
    const std::size_t limit = gather.count_max - answer.sets.size();
    for (const std::string& group : due_groups(write, queue, gather.rule, limit, now))
      take_set(write, queue, group, gather, now, answer);
    add_due(answer, next_due(write, queue, gather.rule, now));
  }
  return answer;
}

template <class Database>
std::vector<Reported> settle_all(Write<Database>& write, std::span<const Settle> ends, TimePoint now,
                                 std::size_t task_bytes_max) {
  for (const Settle& end : ends) {
    if (end.merged) intern_names(write, {&*end.merged, 1});
  }
  std::vector<Reported> answers;
  answers.reserve(ends.size());
  for (const Settle& end : ends) answers.push_back(settle_one(write, end, now, task_bytes_max));
  return answers;
}

/// Sets whose lease has run out go back to their groups, a hundred at most.
template <class Database>
void regroup_lapsed(Write<Database>& write, TimePoint now) {
  std::vector<SetRow> sets;
  auto row = write.ask(Database::groups.get_lapsed, stored(now), regrouped_max);
  while (row.step()) sets.push_back({row.integer(0), row.integer(1), std::string{row.bytes(2)}});
  for (const SetRow& set : sets) regroup(write, set);
}

/// Groups of the queue that have tasks, by name, after the name `after`.
template <class Database>
std::vector<GroupInfo> list_groups(Scope<Database>& scope, std::string_view queue, std::string_view after,
                                   std::size_t limit) {
  std::vector<GroupInfo> infos;
  const auto number = scope.find_queue(queue);
  if (!number) return infos;
  auto row = scope.ask(Database::groups.list, *number, Blob{after}, limit);
  while (row.step()) {
    infos.push_back({std::string{row.bytes(0)}, static_cast<std::uint64_t>(row.integer(1)),
                     time_of(row.integer(2)), time_of(row.integer(3))});
  }
  return infos;
}

}  // namespace tidemill::sql_store
