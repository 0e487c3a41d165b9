// Schedules at rest, and their firings.
#include <algorithm>
#include <iterator>

#include <fmt/format.h>

#include "core/rules.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/protobuf.hpp"
#include "stores/redis/schedulers.hpp"
#include "stores/redis/scripts.hpp"
#include "stores/redis/store_impl.hpp"

namespace tidemill::redis_store {

namespace {

/// KEYS[1] is the hash of schedules: `ID` has the text, `:next` behind the key is the hash of next instants,
/// by which a schedule is compared. ARGV: the instant that is expected (empty: no schedule), id, text, next.
constexpr std::string_view put = R"lua(
local stored = redis.call('HGET', KEYS[1] .. ':next', ARGV[2]) or ''
if stored ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[1] .. ':next', ARGV[2], ARGV[4])
return 1
)lua";

constexpr std::string_view erase = R"lua(
redis.call('HDEL', KEYS[1] .. ':next', ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
)lua";

/// How long what Go's tools are shown may be out of date.
constexpr auto shown_for = std::chrono::seconds{5};

std::string schedules_key() { return shared_key("schedules"); }

std::string write_schedule(const StoredSchedule& schedule) {
  std::string bytes;
  protobuf::Writer out{bytes};
  out.bytes(1, schedule.owner);
  out.bytes(2, schedule.rule);
  out.boolean(3, schedule.paused);
  out.integer(4, micros(schedule.next));
  if (schedule.last) out.integer(5, micros(*schedule.last));
  return bytes;
}

StoredSchedule read_schedule(const std::string& id, std::string_view bytes) {
  StoredSchedule schedule{.id = id};
  protobuf::Reader in{bytes};
  std::int64_t number = 0;
  while (in.next()) {
    switch (in.field()) {
      case 1:
        in.bytes(schedule.owner);
        break;
      case 2:
        in.bytes(schedule.rule);
        break;
      case 3:
        in.boolean(schedule.paused);
        break;
      case 4:
        in.integer(number);
        schedule.next = from_micros(number);
        break;
      case 5:
        in.integer(number);
        schedule.last = from_micros(number);
        break;
      default:
        break;
    }
  }
  return schedule;
}

redis::Command put_command(const PutSchedule& each) {
  static const redis::Script script{put};
  redis::Command command{script, schedules_key()};
  command.add(each.expected_next ? std::to_string(micros(*each.expected_next)) : "").add(each.schedule.id);
  command.add(write_schedule(each.schedule)).add(micros(each.schedule.next));
  return command;
}

}  // namespace

std::vector<StoredSchedule> RedisStore::schedules(std::optional<TimePoint> due_by, const Call& call) {
  const redis::Reply all = ask(redis::Command{"HGETALL", schedules_key()}.reads(), call);
  std::vector<StoredSchedule> answer;
  for (std::size_t i = 0; i + 1 < all.items.size(); i += 2)
    answer.push_back(read_schedule(all.items[i].text, all.items[i + 1].text));
  if (!due_by) std::ranges::move(go_schedules(call), std::back_inserter(answer));
  // Of two with one id ours comes first.
  std::ranges::stable_sort(answer, {}, &StoredSchedule::id);
  const auto same = std::ranges::unique(answer, {}, &StoredSchedule::id);
  answer.erase(same.begin(), same.end());
  if (!due_by) return answer;
  show_schedules(answer, call);
  std::erase_if(answer, [&](const StoredSchedule& each) { return each.paused || each.next > *due_by; });
  return answer;
}

std::vector<StoredSchedule> RedisStore::go_schedules(const Call& call) {
  std::vector<std::string> keys;
  for (const redis::Reply& key : ask(scheduler_keys_command(call.now), call).items) {
    if (!is_ours(key.text)) keys.push_back(key.text);
  }
  std::vector<redis::Command> commands;
  for (const std::string& key : keys)
    commands.push_back(std::move(redis::Command{"LRANGE", key}.add(0).add(-1).reads()));
  const auto lists = exec(commands, call);
  std::vector<StoredSchedule> found;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (const redis::Reply& text : checked(lists[i]).items) {
      if (auto entry = read_go_entry(keys[i], text.text)) found.push_back(std::move(*entry));
    }
  }
  return found;
}

void RedisStore::show_schedules(std::span<const StoredSchedule> all, const Call& call) {
  {
    const std::lock_guard guard{mutex_};
    const auto now = std::chrono::steady_clock::now();
    if (now < show_again_) return;
    show_again_ = now + shown_for;
  }
  // Only Go's tools read it, so that it fails is no reason to fire nothing.
  (void)exec(show_commands(all, call.now), call);
}

std::vector<bool> RedisStore::put_schedules(std::span<const PutSchedule> puts, const Call& call) {
  rules::require(capabilities_, Feature::schedules);
  std::vector<redis::Command> commands;
  for (const PutSchedule& each : puts) commands.push_back(put_command(each));
  std::vector<bool> answers;
  for (const redis::Reply& reply : exec(commands, call)) answers.push_back(checked(reply).integer != 0);
  return answers;
}

std::size_t RedisStore::erase_schedules(std::span<const std::string> ids, const Call& call) {
  static const redis::Script script{erase};
  std::vector<redis::Command> commands;
  for (const std::string& id : ids) {
    redis::Command command{script, schedules_key()};
    commands.push_back(std::move(command.add(id)));
  }
  std::size_t erased = 0;
  std::vector<redis::Command> histories;
  const auto replies = exec(commands, call);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (checked(replies[i]).integer == 0) continue;
    ++erased;
    histories.push_back(forget_history_command(ids[i]));
  }
  for (const redis::Reply& reply : exec(histories, call)) checked(reply);
  return erased;
}

Enqueued RedisStore::fire(const Task& task, const Call& call, std::size_t& part) {
  const Firing& firing = *task.firing;
  auto command = redis::Command{"HGET", schedules_key()};
  const redis::Reply stored = ask(command.add(firing.schedule).reads(), call);
  StoredSchedule schedule;
  if (!stored.nil()) schedule = read_schedule(firing.schedule, stored.text);
  Enqueued refused{
      Put::fired, {}, fmt::format("schedule \"{}\" has fired, is paused, or was changed", firing.schedule)};
  if (stored.nil() || schedule.paused || schedule.next != firing.instant) return refused;

  schedule.next = firing.next;
  schedule.last = firing.instant;
  std::string over;
  for (int round = 0; round < replaces_max; ++round) {
    auto fires = script(fire_script(), task.ref.queue, call, part++);
    fires.add(micros(call.now)).add(since_of(call.now)).add(schedules_key());
    fires.add(firing.schedule).add(stored.text).add(write_schedule(schedule)).add(micros(schedule.next));
    fires.add(firing.only_if_created ? "1" : "");
    add_task(fires, task, call.now, over);
    std::vector<redis::Command> commands;
    commands.push_back(std::move(fires));
    name_queues({task.ref.queue}, commands);
    const redis::Reply reply = std::move(exec(commands, call).front());
    if (!reply.ok()) {
      const bool lost = reply.kind == redis::Reply::Kind::lost;
      return {lost ? Put::unknown : Put::failed, task.ref.id, trouble(reply)};
    }
    const std::string& verdict = reply.items.at(0).text;
    if (verdict == "f") return refused;
    if (verdict[0] != 'x') {
      Enqueued answer = to_answer(verdict, task);
      // As in Asynq, a firing whose line of history is lost has fired all the same.
      if (answer.put == Put::created || answer.put == Put::replaced)
        (void)exec(history_commands(firing.schedule, answer.id, call.now), call);
      return answer;
    }
    over = verdict.substr(1);
  }
  return refused;
}

}  // namespace tidemill::redis_store
