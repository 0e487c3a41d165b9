// How groups become single tasks.
#include <algorithm>

#include "core/rules.hpp"
#include "core/transitions.hpp"
#include "stores/memory/store_impl.hpp"

namespace tidemill::memory {

namespace {

/// By the rule alone.
TimePoint due_at(std::span<Row* const> rows, const GroupRule& rule, TimePoint now) {
  if (rows.size() >= rule.size_max) return now;
  TimePoint due = rows.back()->place + rule.grace;
  if (rule.delay_max > Duration::zero()) due = std::min(due, rows.front()->place + rule.delay_max);
  return due;
}

/// How many of them one set takes.
std::size_t share(std::span<Row* const> rows, const Gather& gather) {
  std::size_t count = 0;
  std::size_t bytes = 0;
  for (; count < std::min(rows.size(), gather.rule.size_max); ++count) {
    bytes += rules::bytes_of(rows[count]->task);
    if (count > 0 && gather.bytes_max > 0 && bytes > gather.bytes_max) break;
  }
  return count;
}

}  // namespace

Gathered MemoryStore::gather(const Gather& gather, const Call& call) {
  const std::lock_guard lock{mutex_};
  Gathered answer;
  const auto due_later = [&](TimePoint due) {
    answer.next_due = std::min(answer.next_due.value_or(TimePoint::max()), std::max(due, call.now));
  };
  for (const std::string_view queue : gather.queues) {
    if (rows_.paused(queue)) continue;
    for (const auto& [name, rows] : rows_.waiting(queue)) {
      auto& not_before = rows_.group(queue, name)->not_before;
      if (not_before && *not_before <= call.now) not_before.reset();
      if (not_before) {
        due_later(*not_before);
        continue;
      }
      std::span<Row* const> left = rows;
      const TimePoint due = due_at(left, gather.rule, call.now);
      if (due <= call.now && answer.sets.size() < gather.count_max) {
        const std::size_t count = share(left, gather);
        answer.sets.push_back(lease_set(left.first(count), gather, call.now));
        left = left.subspan(count);
      }
      if (!left.empty()) due_later(due_at(left, gather.rule, call.now));
    }
  }
  answer.now = clock_.now();
  return answer;
}

TaskSet MemoryStore::lease_set(std::span<Row* const> rows, const Gather& gather, TimePoint now) {
  const Task& first = rows.front()->task;
  TaskSet set{first.ref.queue, first.group, {}, make_token(), gather.lease};
  for (Row* row : rows) {
    rows_.edit(*row, [&](Row& edited) { edited.set = set.token; });
    set.tasks.push_back(shown(*row, now));
  }
  sets_[set.token] = {set.queue, set.group, now + gather.lease};
  return set;
}

std::vector<Reported> MemoryStore::settle(std::span<const Settle> ends, const Call& call) {
  const std::lock_guard lock{mutex_};
  std::vector<Reported> answers;
  for (const Settle& end : ends) answers.push_back(settle_one(end, call.now));
  changed_.notify_all();
  return answers;
}

Reported MemoryStore::settle_one(const Settle& end, TimePoint now) {
  if (end.set == nullptr) return Reported::failed;
  const auto leased = sets_.find(end.set->token);
  if (leased == sets_.end()) return Reported::lost;
  const auto [queue, group, lease_end] = leased->second;
  const std::vector<Row*> rows = rows_.in_set(queue, end.set->token);
  if (!end.merged) {
    regroup(rows);
    if (end.delay > Duration::zero() && !rows.empty())
      rows_.group(queue, group)->not_before = now + end.delay;
  } else {
    const Task& task = *end.merged;
    if (task.ref.queue != queue || !rules::fault_of(task, capabilities_.task_bytes_max).empty() ||
        rows_.find(task.ref) != nullptr)
      return Reported::failed;
    if (const Key* key = task.unique ? rows_.holder(queue, task.unique->key, now) : nullptr) {
      const Row* holder = rows_.find({queue, key->holder});
      const bool goes = holder != nullptr && holder->sequence == key->sequence &&
                        holder->set == end.set->token && !key->outlives_task;
      if (!goes) return Reported::failed;
    }
    for (Row* row : rows) rows_.erase(*row);
    create(task, now);
  }
  sets_.erase(leased);
  return Reported::applied;
}

void MemoryStore::regroup(std::span<Row* const> rows) {
  for (Row* row : rows) rows_.edit(*row, [](Row& edited) { edited.set.clear(); });
}

void MemoryStore::regroup_lapsed(TimePoint now) {
  std::erase_if(sets_, [&](const auto& entry) {
    const auto& [token, set] = entry;
    if (set.lease_end > now) return false;
    regroup(rows_.in_set(set.queue, token));
    return true;
  });
}

}  // namespace tidemill::memory
