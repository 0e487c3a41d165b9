#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <tidemill/store.hpp>

#include "stores/sql/keyed.hpp"
#include "stores/sql/task.hpp"
#include "stores/sql/tasks.hpp"

/// How new tasks come in. The INSERT itself is the database's.
namespace tidemill::sql_store {

/// Makes the names of their queues and kinds, which is best done before a transaction begins.
template <class Database>
void intern_names(Write<Database>& write, std::span<const Task> tasks) {
  for (const Task& task : tasks) {
    if (!task.ref.queue.empty()) write.intern_queue(task.ref.queue);
    if (!task.kind.empty()) write.intern_kind(task.kind);
  }
}

/// What one call enqueues. All calls of a transaction share one INSERT, if each gathers before any is put:
/// they are in order of the gathering. Expected conflicts raise no error in the database.
template <class Database>
class Enqueuing {
 public:
  using Write = sql_store::Write<Database>;

  /// The tasks must outlive it.
  Enqueuing(std::span<const Task> tasks, TimePoint now, std::size_t task_bytes_max)
      : tasks_(tasks), now_(now), task_bytes_max_(task_bytes_max) {}
  Enqueuing(const Enqueuing&) = delete;
  Enqueuing& operator=(const Enqueuing&) = delete;

  /// Checks them, and leaves them to the first `put` of the transaction. May be called again in another one.
  void gather(Write& write) {
    entries_.assign(tasks_.size(), {});
    in_order_.clear();
    std::vector<Entry*> sound;
    sound.reserve(tasks_.size());
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      const Task& task = tasks_[i];
      Entry& entry = entries_[i];
      entry.task = &task;
      entry.now = now_;
      if (std::string fault = Database::fault_of(task, task_bytes_max_); !fault.empty()) {
        entry.answer = {Put::invalid, {}, std::move(fault)};
        continue;
      }
      entry.queue = write.intern_queue(task.ref.queue);
      entry.kind = write.intern_kind(task.kind);
      sound.push_back(&entry);
    }
    if (std::ranges::all_of(sound, [](const Entry* entry) { return plain(*entry->task); })) {
      write.gather(sound);
    } else {
      in_order_ = std::move(sound);
    }
  }

  /// Once for each `gather`. Later tasks see earlier ones.
  std::vector<Enqueued> put(Write& write) {
    Database::insert_tasks(write, write.take_gathered());
    if (!in_order_.empty()) enqueue_in_order(write, in_order_, now_);
    std::vector<Enqueued> answers;
    answers.reserve(entries_.size());
    for (Entry& entry : entries_) answers.push_back(std::move(entry.answer));
    return answers;
  }

 private:
  const std::span<const Task> tasks_;
  const TimePoint now_;
  const std::size_t task_bytes_max_;
  std::vector<Entry> entries_;
  std::vector<Entry*> in_order_;  // Those that must look at each other.
};

/// Enqueues what nobody else's call comes with.
template <class Database>
std::vector<Enqueued> enqueue_all(Write<Database>& write, std::span<const Task> tasks, TimePoint now,
                                  std::size_t task_bytes_max) {
  Enqueuing<Database> enqueuing{tasks, now, task_bytes_max};
  enqueuing.gather(write);
  return enqueuing.put(write);
}

/// Whether the task will be created once those that leave, by the numbers of their rows, are erased: nobody
/// else has its id or its unique key.
template <class Database>
bool fits_in(Write<Database>& write, const Task& task, std::span<const std::int64_t> leaving, TimePoint now,
             std::size_t task_bytes_max) {
  if (!Database::fault_of(task, task_bytes_max).empty()) return false;
  Entry entry{.task = &task};
  entry.queue = write.intern_queue(task.ref.queue);
  if (find_rows(write, {&task.ref, 1}, false).front()) return false;
  if (!task.unique) return true;
  const auto holder = find_holders(write, {&entry}, now).front();
  return !holder || (holder->state != State::gone && !holder->outlives_task &&
                     std::ranges::find(leaving, holder->seq) != leaving.end());
}

/// For who inserts: it is there now.
template <class Database>
void created(Write<Database>& write, Entry& entry) {
  const Task& task = *entry.task;
  entry.answer = {Put::created, task.ref.id};
  const TimePoint at = at_of(task, entry.now);
  write.arrived(entry.queue, task.state, at);
  if (task.state == State::aggregating && !task.group.empty()) write.joined(entry.queue, task.group, at);
}

}  // namespace tidemill::sql_store
