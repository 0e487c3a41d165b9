// Tasks go to other queues, in steps: edit_scripts.cpp says which.
#include <algorithm>

#include <tidemill/error.hpp>

#include "core/transitions.hpp"
#include "core/uuid.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/message.hpp"
#include "stores/redis/scripts.hpp"
#include "stores/redis/shared.hpp"
#include "stores/redis/store_impl.hpp"

namespace tidemill::redis_store {

namespace {

/// A task on its way.
struct Mover {
  std::size_t item = 0;                 ///< Of the call.
  Task task = {};                       ///< As it was in its queue.
  Fields fields = {};                   ///< As they were seen there.
  bool departed = false;                ///< An earlier call has begun with it …
  bool arrived = false;                 ///< … and has put it into the other queue …
  bool dropped = false;                 ///< … and has taken it out of its own.
  std::vector<redis::Reply> hash = {};  ///< All fields and values, in turn.
  std::string till = {}, seconds = {};  ///< What is left of its lock's window; empty: it has none.
  std::string msg = {};                 ///< For the other queue.
  std::int64_t turn = 0;                ///< Of this call with it.
  std::string away = {}, here = {};     ///< Its passage, in its own queue and in the other one.
};

/// Fields that a task does not take along: they are of its old place, or written anew.
bool stays(std::string_view field) {
  constexpr std::array names = {"state", "pending_since", "msg",        "v", "w", "m", "s",
                                "l",     "group",         "unique_key", "k"};
  return std::ranges::find(names, field) != names.end();
}

std::string lock_in(const Mover& mover, std::string_view queue) {
  if (!mover.task.unique) return {};
  Task task = mover.task;
  task.ref.queue = queue;
  return lock_of(task);
}

bool outlives(const Mover& mover) { return mover.task.unique && mover.task.unique->outlives_task; }

/// Whether its key may be taken there; what has begun to move finds that out when it arrives.
bool wants_key(const Mover& mover) { return mover.task.unique && !mover.departed && !mover.arrived; }

std::string message_for(const Mover& mover, std::string_view queue) {
  auto message = decode_task(mover.fields.msg).value_or(TaskMessage{});
  message.queue = queue;
  message.unique_key = outlives(mover) ? std::string{} : lock_in(mover, queue);
  return encode(message);
}

}  // namespace

/// The tasks of one call of `move`. A step takes those that are so far, and keeps those that go on.
class RedisStore::Moves {
 public:
  Moves(RedisStore& store, std::span<const Ref> refs, States from, std::string_view queue, const Call& call)
      : store_(store), refs_(refs), from_(from), queue_(queue), call_(call) {}

  std::vector<Changed> run() {
    answers_.assign(refs_.size(), Changed::failed);
    for (std::size_t i = 0; i < refs_.size(); ++i) again_.push_back(i);
    for (int round = 0; !again_.empty() && round < tries_max; ++round) {
      begin(std::exchange(again_, {}));
      depart();
      read();
      arrive();
      drop();
      land(queue_, movers_);
    }
    return std::move(answers_);
  }

 private:
  void begin(const std::vector<std::size_t>& items);
  /// It goes on its way, or its answer is known.
  void admit(std::size_t item, Seen& source, const Seen& target);
  void set_passage(Mover& mover, const std::optional<Passage>& arriving) const;
  void refuse_taken_keys();
  void depart();
  void read();
  void arrive();
  void drop();
  /// Those of one queue that wait to come into their states there.
  void land(std::string_view queue, const std::vector<Mover>& movers);

  /// Runs the script for each, and answers their verdicts; f for a failure.
  template <class Fill>
  std::vector<std::string> each(const redis::Script& wanted, const std::vector<Mover>& movers,
                                std::string_view queue, Fill fill);
  template <class Keep>
  void keep_if(const Keep& keep);

  RedisStore& store_;
  std::span<const Ref> refs_;
  const States from_;
  const std::string queue_;
  const Call& call_;
  const std::string name_ = to_string(make_uuid());
  std::size_t part_ = 0;
  std::vector<Changed> answers_ = {};
  std::vector<std::size_t> again_ = {};  ///< Items that have changed meanwhile.
  std::vector<Mover> movers_ = {};
};

template <class Fill>
std::vector<std::string> RedisStore::Moves::each(const redis::Script& wanted,
                                                 const std::vector<Mover>& movers, std::string_view queue,
                                                 Fill fill) {
  std::vector<redis::Command> commands;
  for (const Mover& mover : movers) {
    const std::string_view where = queue.empty() ? std::string_view{mover.task.ref.queue} : queue;
    fill(commands.emplace_back(script(wanted, where, call_, part_++)), mover);
  }
  std::vector<std::string> verdicts;
  for (const redis::Reply& reply : store_.exec(commands, call_))
    verdicts.push_back(reply.ok() ? reply.items.at(0).text : "f");
  return verdicts;
}

/// `keep(i, mover)`, in order.
template <class Keep>
void RedisStore::Moves::keep_if(const Keep& keep) {
  std::vector<Mover> kept;
  for (std::size_t i = 0; i < movers_.size(); ++i) {
    if (keep(i, movers_[i])) kept.push_back(std::move(movers_[i]));
  }
  movers_ = std::move(kept);
}

void RedisStore::Moves::begin(const std::vector<std::size_t>& items) {
  std::vector<Ref> sources;
  std::vector<Ref> targets;
  for (const std::size_t item : items) {
    sources.push_back(refs_[item]);
    targets.push_back({queue_, refs_[item].id});
  }
  auto seen = store_.look(sources, call_);
  const auto there = store_.look(targets, call_);
  movers_.clear();
  for (std::size_t n = 0; n < items.size(); ++n) admit(items[n], seen[n], there[n]);
  refuse_taken_keys();
}

void RedisStore::Moves::admit(std::size_t item, Seen& source, const Seen& target) {
  const auto arriving = target.task ? read_passage(target.fields) : std::nullopt;
  const bool ours = arriving && arriving->arriving && arriving->queue == refs_[item].queue;
  if (!source.task && !ours) {
    answers_[item] = Changed::absent;
    return;
  }
  Mover mover{
      .item = item, .task = source.task ? *source.task : *target.task, .fields = std::move(source.fields)};
  mover.task.ref = refs_[item];
  mover.arrived = ours;
  mover.dropped = !source.task;
  if (const auto passage = mover.dropped ? arriving : read_passage(mover.fields)) {
    mover.departed = mover.dropped || (!passage->arriving && passage->queue == queue_);
    mover.task.run_at = passage->run_at;
    // On its way elsewhere it is nobody's to move.
    mover.task.state = mover.departed ? passage->state : State::gone;
  }
  set_passage(mover, arriving);
  if (may_be_a_workers(mover.task.state) || !from_.has(mover.task.state)) {
    answers_[item] = Changed::wrong_state;
    return;
  }
  if (target.task && !ours) {
    answers_[item] = Changed::exists;
    mover.away = mover.fields.v;
    if (mover.departed) land("", {mover});
    return;
  }
  movers_.push_back(std::move(mover));
}

/// One that is to land alone keeps its own; all others have the next turn.
void RedisStore::Moves::set_passage(Mover& mover, const std::optional<Passage>& arriving) const {
  if (mover.dropped) {
    mover.here = write_passage(*arriving);
    return;
  }
  Passage passage{.state = mover.task.state, .run_at = mover.task.run_at, .mover = name_, .queue = queue_};
  if (const auto before = read_passage(mover.fields)) passage.turn = before->turn;
  if (mover.arrived) passage.turn = std::max(passage.turn, arriving->turn);
  mover.turn = ++passage.turn;
  mover.away = write_passage(passage);
  passage.arriving = true;
  passage.queue = mover.task.ref.queue;
  mover.here = write_passage(passage);
}

/// So that a task whose key is taken keeps its place in the line.
void RedisStore::Moves::refuse_taken_keys() {
  std::vector<redis::Command> commands;
  for (const Mover& mover : movers_) {
    if (!wants_key(mover)) continue;
    const std::string lock = lock_in(mover, queue_);
    commands.push_back(std::move(redis::Command{"GET", lock}.reads()));
    commands.push_back(
        std::move(redis::Command{"ZSCORE", queue_prefix(queue_) + "x:keys"}.add(lock).reads()));
  }
  const auto replies = store_.exec(commands, call_);
  std::size_t at = 0;
  keep_if([&](std::size_t, const Mover& mover) {
    if (!wants_key(mover)) return true;
    const redis::Reply& holder = checked(replies[at++]);
    const redis::Reply& till = checked(replies[at++]);
    if (holder.nil() || (!till.nil() && to_number(till.text) <= micros(call_.now))) return true;
    answers_[mover.item] = Changed::conflict;
    return false;
  });
}

void RedisStore::Moves::depart() {
  std::vector<Mover> leaving;
  for (const Mover& mover : movers_) {
    if (!mover.dropped) leaving.push_back(mover);
  }
  const auto verdicts = each(depart_script(), leaving, "", [&](redis::Command& command, const Mover& mover) {
    command.add(mover.task.ref.id).add(mover.fields.state).add(mover.fields.y).add(mover.fields.v);
    command.add(mover.away).add(held_score);
  });
  std::size_t at = 0;
  keep_if([&](std::size_t, const Mover& mover) {
    if (mover.dropped) return true;
    const std::string& verdict = verdicts[at++];
    if (verdict == "m") again_.push_back(mover.item);
    return verdict == "c";
  });
}

void RedisStore::Moves::read() {
  std::vector<redis::Command> commands;
  for (const Mover& mover : movers_) {
    if (mover.dropped) continue;
    const std::string lock = lock_in(mover, mover.task.ref.queue);
    const std::string prefix = queue_prefix(mover.task.ref.queue);
    commands.push_back(std::move(redis::Command{"HGETALL", prefix + "t:" + mover.task.ref.id}.reads()));
    commands.push_back(std::move(redis::Command{"PTTL", lock.empty() ? prefix : lock}.reads()));
    commands.push_back(std::move(redis::Command{"ZSCORE", prefix + "x:keys"}.add(lock).reads()));
  }
  auto replies = store_.exec(commands, call_);
  std::size_t at = 0;
  keep_if([&](std::size_t, Mover& mover) {
    if (mover.dropped) return true;
    mover.hash = std::move(replies[at].items);
    const auto ttl = std::chrono::milliseconds{checked(replies[at + 1]).integer};
    const redis::Reply& till = checked(replies[at + 2]);
    at += 3;
    const auto value = [&](std::string_view name) {
      for (std::size_t i = 0; i + 1 < mover.hash.size(); i += 2) {
        if (mover.hash[i].text == name) return mover.hash[i + 1].text;
      }
      return std::string{};
    };
    // Somebody has edited it, or has let it go.
    if (value("v") != mover.away || value("msg") != mover.fields.msg || value("x") != mover.fields.x) {
      again_.push_back(mover.item);
      return false;
    }
    mover.msg = message_for(mover, queue_);
    if (ttl > ttl.zero()) {
      mover.seconds = std::to_string(std::chrono::ceil<std::chrono::seconds>(ttl).count());
      mover.till = till.nil() ? std::to_string(micros(call_.now + ttl)) : till.text;
    }
    return true;
  });
}

void RedisStore::Moves::arrive() {
  std::vector<Mover> arriving;
  for (const Mover& mover : movers_) {
    if (!mover.dropped) arriving.push_back(mover);
  }
  store_.exec(store_.name_queues({queue_}), call_);
  const auto verdicts =
      each(arrive_script(), arriving, queue_, [&](redis::Command& command, const Mover& mover) {
        const std::string lock = lock_in(mover, queue_);
        command.add(micros(call_.now)).add(mover.task.ref.id).add(mover.here);
        command.add(mover.task.ref.queue).add(held_score).add(lock).add(mover.till).add(mover.seconds);
        command.add(mover.turn);
        for (std::size_t i = 0; i + 1 < mover.hash.size(); i += 2) {
          if (!stays(mover.hash[i].text)) command.add(mover.hash[i].text).add(mover.hash[i + 1].text);
        }
        command.add("msg").add(mover.msg);
        if (!lock.empty()) command.add(outlives(mover) ? "k" : "unique_key").add(lock);
      });
  std::vector<Mover> back;
  std::size_t at = 0;
  keep_if([&](std::size_t, const Mover& mover) {
    if (mover.dropped) return true;
    const std::string& verdict = verdicts[at++];
    if (verdict == "m") again_.push_back(mover.item);
    if (verdict == "e") answers_[mover.item] = Changed::exists;
    if (verdict == "k") answers_[mover.item] = Changed::conflict;
    if (verdict == "e" || verdict == "k") back.push_back(mover);
    return verdict == "c";
  });
  land("", back);
}

void RedisStore::Moves::drop() {
  std::vector<Mover> dropping;
  for (const Mover& mover : movers_) {
    if (!mover.dropped) dropping.push_back(mover);
  }
  const auto verdicts = each(drop_script(), dropping, "", [&](redis::Command& command, const Mover& mover) {
    command.add(mover.task.ref.id).add(mover.away).add(mover.fields.msg).add(mover.fields.x);
    command.add(lock_in(mover, mover.task.ref.queue));
  });
  // Somebody has let it go, has erased it, or moves it in a later turn: what arrived is taken back.
  std::vector<Mover> undone;
  std::size_t at = 0;
  keep_if([&](std::size_t, const Mover& mover) {
    if (mover.dropped) return true;
    const std::string& verdict = verdicts[at++];
    if (verdict == "m" || verdict == "a") undone.push_back(mover);
    return verdict == "c";
  });
  each(drop_script(), undone, queue_, [&](redis::Command& command, const Mover& mover) {
    command.add(mover.task.ref.id).add(mover.here).add(mover.msg).add(mover.fields.x);
    command.add(lock_in(mover, queue_));
  });
  for (const Mover& mover : undone) again_.push_back(mover.item);
}

void RedisStore::Moves::land(std::string_view queue, const std::vector<Mover>& movers) {
  const auto verdicts = each(land_script(), movers, queue, [&](redis::Command& command, const Mover& mover) {
    command.add(mover.task.ref.id).add(queue.empty() ? mover.away : mover.here);
    const TimePoint at = mover.task.run_at.value_or(call_.now);
    switch (mover.task.state) {
      case State::pending:
        command.add("pending").add("").add("");
        break;
      case State::held:
        command.add("scheduled").add(held_score).add("");
        break;
      default:
        command.add(to_string(mover.task.state)).add(seconds_up(at)).add(exact_of(at));
    }
    command.add(since_of(call_.now));
  });
  for (std::size_t i = 0; i < movers.size(); ++i) {
    // One that has gone to its state already was helped by somebody.
    if (!queue.empty() && verdicts[i] != "f") answers_[movers[i].item] = Changed::changed;
  }
}

std::vector<Changed> RedisStore::move(std::span<const Ref> refs, States from, std::string_view queue,
                                      const Call& call) {
  if (const std::string why = refusal_of_queue(queue); !why.empty()) throw Error{ErrorKind::invalid, why};
  return Moves{*this, refs, from, queue, call}.run();
}

}  // namespace tidemill::redis_store
