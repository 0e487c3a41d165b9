// Tasks overwritten, and moved to other queues.
#include "core/rules.hpp"
#include "core/transitions.hpp"
#include "stores/memory/store_impl.hpp"

namespace tidemill::memory {

Changed MemoryStore::edit(const Edit& edit, const Call& call) {
  const std::lock_guard lock{mutex_};
  const Changed answer = edit_one(edit, call.now);
  changed_.notify_all();
  return answer;
}

Changed MemoryStore::edit_one(const Edit& edit, TimePoint now) {
  Row* const row = rows_.find(edit.task.ref);
  if (row == nullptr) return Changed::absent;
  const State state = row->task.state;
  if (may_be_a_workers(state) || !edit.from.has(state)) return Changed::wrong_state;
  if (etag(row->task) != edit.seen) return Changed::stale;
  if (edit.task.unique && rows_.holds_key(*row, now)) {
    if (!rows_.pass_key(*row, row->task.ref.queue, edit.task.unique->key, now)) return Changed::conflict;
    row->task.unique->key = edit.task.unique->key;
  }
  rows_.edit(*row, [&](Row& edited) { rules::overwrite(edited.task, edit.task); });
  return Changed::changed;
}

std::vector<Changed> MemoryStore::move(std::span<const Ref> refs, States from, std::string_view queue,
                                       const Call& call) {
  const std::lock_guard lock{mutex_};
  std::vector<Changed> answers;
  for (const Ref& ref : refs) answers.push_back(move_one(ref, from, std::string{queue}, call.now));
  changed_.notify_all();
  return answers;
}

Changed MemoryStore::move_one(const Ref& ref, States from, const std::string& queue, TimePoint now) {
  Row* const row = rows_.find(ref);
  if (row == nullptr) return Changed::absent;
  const State state = row->task.state;
  if (may_be_a_workers(state) || !from.has(state)) return Changed::wrong_state;
  if (rows_.find({queue, ref.id}) != nullptr) return Changed::exists;
  if (rows_.holds_key(*row, now) && !rows_.pass_key(*row, queue, row->task.unique->key, now)) {
    return Changed::conflict;
  }
  rows_.move(*row, queue, now);
  return Changed::changed;
}

}  // namespace tidemill::memory
