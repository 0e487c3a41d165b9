// Groups of tasks, in Asynq's own keys, so that Go's servers merge ours and we theirs.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "core/uuid.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/scripts.hpp"
#include "stores/redis/store_impl.hpp"

namespace tidemill::redis_store {

namespace {

/// How many groups one script looks at, some 0.3 ms of Redis, and how many scripts one call sends: the next
/// call goes on from there.
constexpr std::int64_t script_groups = 100;
constexpr int scripts_max = 10;

std::string set_key(std::string_view queue, std::string_view group, std::string_view id) {
  return fmt::format("{}g:{}:{}", queue_prefix(queue), group, id);
}

std::string lock_of_member(const Task& task) {
  return task.unique && !task.unique->outlives_task ? lock_of(task) : std::string{};
}

void sooner(std::optional<TimePoint>& least, std::optional<TimePoint> other) {
  if (other) least = std::min(least.value_or(*other), *other);
}

}  // namespace

Gathered RedisStore::gather(const Gather& gather, const Call& call) {
  Gathered answer;
  std::vector<FoundSet> found;
  std::map<RoundName, Round> unfinished;
  std::size_t part = 0;
  for (const std::string_view queue : gather.queues) {
    const RoundName name{gather.worker, queue};
    Round round;
    {
      const std::lock_guard guard{mutex_};
      if (const auto known = rounds_.find(name); known != rounds_.end()) round = known->second;
    }
    if (gather_from(queue, gather, call, part, round, found)) {
      sooner(answer.next_due, round.next_due);
    } else {
      answer.next_due = call.now;
      unfinished[name] = round;
    }
  }
  answer.sets = read_sets(found, gather.lease, call);
  {
    // Only now: a call that is repeated begins where it began.
    const std::lock_guard guard{mutex_};
    for (const std::string_view queue : gather.queues)
      rounds_.erase({std::string{gather.worker}, std::string{queue}});
    rounds_.merge(unfinished);
  }
  answer.now = now();
  return answer;
}

bool RedisStore::gather_from(std::string_view queue, const Gather& gather, const Call& call,
                             std::size_t& part, Round& round, std::vector<FoundSet>& found) {
  for (int i = 0; i < scripts_max && found.size() < gather.count_max; ++i) {
    auto command = script(gather_script(), queue, call, part++);
    command.add(micros(call.now)).add(round.cursor).add(script_groups);
    command.add(gather.count_max - found.size()).add(gather.rule.size_max);
    command.add(gather.rule.delay_max.count()).add(gather.rule.grace.count()).add(gather.bytes_max);
    command.add(fmt::format("{:016x}{:016x}-", random_bits(), random_bits()));
    command.add(seconds_up(call.now + gather.lease));
    const redis::Reply reply = ask(command, call);
    round.cursor = reply.items.at(0).text;
    if (const auto due = to_number(reply.items.at(1).text); due != 0)
      sooner(round.next_due, from_micros(due));
    for (std::size_t at = 2; at + 1 < reply.items.size(); at += 2)
      found.push_back({std::string{queue}, reply.items[at].text, reply.items[at + 1].text});
    if (round.cursor == "0") return true;
  }
  return false;
}

std::vector<TaskSet> RedisStore::read_sets(std::span<const FoundSet> found, Duration length,
                                           const Call& call) {
  std::vector<redis::Command> commands;
  for (const FoundSet& set : found) {
    redis::Command command{"ZRANGE", set_key(set.queue, set.group, set.id)};
    commands.push_back(std::move(command.add(0).add(-1).reads()));
  }
  const auto replies = exec(commands, call);
  std::vector<TaskSet> sets;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const FoundSet& one = found[i];
    std::vector<Ref> refs;
    for (const redis::Reply& item : checked(replies[i]).items) refs.push_back({one.queue, item.text});
    TaskSet set{one.queue, one.group, {}, one.id, length};
    redis::Command unread{bury_gathered_script(), pending_key(one.queue)};
    unread.add("").add("").add(seconds_down(call.now)).add(one.group).add(one.id);
    bool all_read = true;
    std::vector<Seen> seen = look(refs, call);
    for (std::size_t n = 0; n < seen.size(); ++n) {
      if (seen[n].task) {
        set.tasks.push_back(std::move(*seen[n].task));
        continue;
      }
      all_read = false;
      unread.add(refs[n].id);
    }
    if (!all_read) exec({unread}, call);
    if (!set.tasks.empty()) sets.push_back(std::move(set));
  }
  return sets;
}

std::vector<Reported> RedisStore::settle(std::span<const Settle> ends, const Call& call) {
  std::vector<Reported> answers;
  std::size_t part = 0;
  for (const Settle& end : ends) answers.push_back(settle_one(end, call, part));
  return answers;
}

Reported RedisStore::settle_one(const Settle& end, const Call& call, std::size_t& part) {
  if (end.set == nullptr) return Reported::failed;
  const TaskSet& set = *end.set;
  if (end.merged && (end.merged->ref.queue != set.queue || !refusal(*end.merged).empty()))
    return Reported::failed;
  auto command = script(settle_script(), set.queue, call, part++);
  command.add(micros(call.now)).add(since_of(call.now)).add(set.group).add(set.token);
  command.replicated();  // As reports are.
  if (end.merged) {
    command.add("merged");
    add_task(command, filled(*end.merged, call.now), call.now, "");
    for (const Task& task : set.tasks) command.add(task.ref.id).add(lock_of_member(task));
  } else {
    command.add("back");
    command.add(end.delay > Duration::zero() ? std::to_string(micros(call.now + end.delay)) : "");
  }
  std::vector<redis::Command> commands{std::move(command)};
  std::ranges::move(name_queues({set.queue}), std::back_inserter(commands));
  const redis::Reply reply = std::move(exec(commands, call).at(0));
  if (reply.kind == redis::Reply::Kind::lost) return Reported::unknown;
  if (!reply.ok()) return Reported::failed;
  switch (reply.items.at(0).text.at(0)) {
    case 'a':
      return Reported::applied;
    case 'l':
      return Reported::lost;
    default:
      return Reported::failed;
  }
}

std::vector<GroupInfo> RedisStore::groups(std::string_view queue, std::string_view after, std::size_t limit,
                                          const Call& call) {
  const redis::Reply members = ask(redis::Command{"SMEMBERS", queue_prefix(queue) + "groups"}.reads(), call);
  std::vector<std::string> names;
  for (const redis::Reply& item : members.items) {
    if (item.text > after) names.push_back(item.text);
  }
  std::ranges::sort(names);
  std::vector<GroupInfo> infos;
  for (std::size_t from = 0; from < names.size() && infos.size() < limit; from += script_groups) {
    const std::size_t to = std::min(names.size(), from + script_groups);
    redis::Command command{describe_groups_script(), pending_key(queue)};
    for (std::size_t i = from; i < to; ++i) command.add(names[i]);
    const redis::Reply reply = ask(command.reads(), call);
    for (std::size_t i = from; i < to && infos.size() < limit; ++i) {
      const auto number = [&](std::size_t n) { return reply.items.at(3 * (i - from) + n); };
      if (number(0).integer == 0) continue;  // All its tasks are in sets, or it is a name that Go has left.
      infos.push_back({names[i], static_cast<std::uint64_t>(number(0).integer),
                       from_micros(to_number(number(1).text) * 1'000'000),
                       from_micros(to_number(number(2).text) * 1'000'000)});
    }
  }
  return infos;
}

}  // namespace tidemill::redis_store
