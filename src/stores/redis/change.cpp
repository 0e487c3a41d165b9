// What operators do to tasks.

#include "core/transitions.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/message.hpp"
#include "stores/redis/scripts.hpp"
#include "stores/redis/store_impl.hpp"

namespace tidemill::redis_store {

std::optional<Changed> RedisStore::refuse_change(const std::optional<Task>& task, const Change& change) {
  if (!task) return Changed::absent;
  if (!change.from.has(task->state)) return Changed::wrong_state;
  if (task->state == State::active) {
    return change.signal == Signal::none ? std::optional{Changed::wrong_state} : std::nullopt;
  }
  // Pending to active is in the table, but claim alone may make that move: it comes with a lease.
  if (change.to == State::active || !allowed(task->state, change.to)) return Changed::failed;
  return {};
}

void RedisStore::add_change(redis::Command& command, const Seen& seen, const Change& change,
                            const Call& call) const {
  Task task = *seen.task;
  command.add(task.ref.id).add(seen.fields.state).add(seen.fields.msg).add(seen.fields.y);
  if (task.state == State::active) {
    command.add("signal").add("").add("").add("").add("").add("");
    command.add(static_cast<std::int64_t>(change.signal));
    return;
  }
  const bool releases = (change.release_key || change.to == State::gone) && task.unique;
  const std::string lock = releases && !task.unique->outlives_task ? lock_of(task) : std::string{};
  task.reason = change.reason;
  if (change.fresh) task.retries = task.crashes = task.deferrals = 0;
  task.run_at.reset();
  task.ended_at.reset();
  std::string_view where = to_string(change.to);
  std::int64_t score = seconds_down(call.now);
  std::string exact;
  switch (change.to) {
    case State::held:
      where = "scheduled";
      score = held_score;
      break;
    case State::scheduled:
      task.run_at = change.run_at.value_or(call.now);
      score = seconds_up(*task.run_at);
      exact = exact_of(task.run_at);
      break;
    case State::archived:
      task.ended_at = call.now;
      if (change.keep) exact = std::to_string(micros(call.now + *change.keep));
      break;
    default:
      break;
  }
  command.add(where).add(score).add(exact);
  if (change.to == State::gone) {
    command.add("").add("");
  } else {
    // Go's own words stay; only what we know better is written anew.
    auto message = decode_task(seen.fields.msg).value_or(TaskMessage{});
    message.retried = task.retries;
    message.completed_at.reset();
    command.add(encode(message)).add(write_history(task));
  }
  command.add(lock).add("");
}

std::vector<Changed> RedisStore::change(std::span<const Ref> refs, const Change& change, const Call& call) {
  std::vector<Changed> answers(refs.size(), Changed::failed);
  std::vector<std::size_t> left(refs.size());
  for (std::size_t i = 0; i < left.size(); ++i) left[i] = i;
  std::size_t part = 0;
  for (int round = 0; !left.empty() && round < tries_max; ++round) {
    std::vector<Ref> wanted;
    for (const std::size_t i : left) wanted.push_back(refs[i]);
    const auto seen = look(wanted, call);
    Batch batch{client_, call};
    std::vector<redis::Command> news;
    for (std::size_t n = 0; n < left.size(); ++n) {
      const std::size_t i = left[n];
      const auto& task = seen[n].task;
      if (const auto refused = refuse_change(task, change)) {
        answers[i] = *refused;
        continue;
      }
      redis::Command& command = batch.take(i, refs[i].queue, change_script(), [&] {
        auto begun = script(change_script(), refs[i].queue, call, part++);
        begun.add(since_of(call.now));
        return begun;
      });
      add_change(command, seen[n], change, call);
      if (task->state != State::active) continue;
      // Go's channel names no queue, so that it is used only where Go's dequeue has taken our number away.
      if (!seen[n].fields.since.empty()) {
        news.push_back(redis::Command{"PUBLISH"}.add(signal_channel).add(task->worker));
      } else if (change.signal == Signal::cancel) {
        news.push_back(redis::Command{"PUBLISH"}.add(cancel_channel).add(refs[i].id));
      }
    }
    const auto replies = batch.finish();
    exec(news, call);
    left.clear();
    for (std::size_t at = 0; at < replies.size(); ++at) {
      for (std::size_t n = 0; n < batch.items[at].size(); ++n) {
        const std::size_t i = batch.items[at][n];
        const std::string verdict = replies[at].ok() ? replies[at].items.at(n).text : "f";
        if (verdict == "c") answers[i] = Changed::changed;
        if (verdict == "s") answers[i] = Changed::signalled;
        if (verdict == "w") answers[i] = Changed::wrong_state;
        if (verdict == "m") left.push_back(i);
      }
    }
  }
  return answers;
}

}  // namespace tidemill::redis_store
