// A task is overwritten.
#include <tidemill/error.hpp>

#include "core/rules.hpp"
#include "core/transitions.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/scripts.hpp"
#include "stores/redis/shared.hpp"
#include "stores/redis/store_impl.hpp"

namespace tidemill::redis_store {

redis::Command RedisStore::edit_command(const Seen& seen, const Edit& edit, const Call& call,
                                        std::size_t part) {
  const Task& before = *seen.task;
  Task task = before;
  rules::overwrite(task, edit.task);
  if (task.unique && edit.task.unique) task.unique->key = edit.task.unique->key;

  const bool front = task.priority > 0;
  const bool moves = task.state == State::pending && front != (before.priority > 0);
  auto command = script(edit_script(), task.ref.queue, call, part);
  command.add(micros(call.now)).add(task.ref.id);
  command.add(seen.fields.state).add(seen.fields.msg).add(seen.fields.x);
  command.add(write_message(task, seen.fields.msg)).add(write_extras(task)).add(front ? "1" : "");
  command.add(!moves ? "" : front ? "front" : "pending");
  command.add(task.unique ? lock_of(before) : std::string{});
  command.add(task.unique ? lock_of(task) : std::string{});
  command.add(task.unique && task.unique->outlives_task ? "k" : "unique_key");
  return command;
}

Changed RedisStore::edit(const Edit& edit, const Call& call) {
  Task fresh = edit.task;
  fresh.state = State::pending;
  if (const std::string why = refusal(fresh); !why.empty()) throw Error{ErrorKind::invalid, why};
  for (int round = 0; round < tries_max; ++round) {
    const Seen seen = std::move(look({&edit.task.ref, 1}, call).front());
    if (!seen.task) return Changed::absent;
    if (may_be_a_workers(seen.task->state) || !edit.from.has(seen.task->state)) return Changed::wrong_state;
    if (etag(*seen.task) != edit.seen) return Changed::stale;
    const redis::Reply reply = ask(edit_command(seen, edit, call, static_cast<std::size_t>(round)), call);
    const std::string verdict = reply.items.at(0).text;
    if (verdict == "c") return Changed::changed;
    if (verdict == "k") return Changed::conflict;
  }
  return Changed::failed;
}

}  // namespace tidemill::redis_store
