// Schedules at rest, and their firings.
#include <algorithm>
#include <functional>
#include <iterator>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "stores/redis/keys.hpp"
#include "stores/redis/protobuf.hpp"
#include "stores/redis/schedulers.hpp"
#include "stores/redis/scripts.hpp"
#include "stores/redis/store_impl.hpp"

namespace tidemill::redis_store {

namespace {

using namespace std::chrono_literals;

/// KEYS[1] is the hash of schedules: `ID` has the text. Behind the key, `:next` is the hash of next instants,
/// by which a schedule is compared, and in a cluster `:firing` that of firings that have begun, as
/// VERSION:TEXT, and `:version` the last version: max(last + 1, its time in microseconds).

/// ARGV: the instant that is expected (empty: no schedule), id, text, next. Answers 2 while it is firing.
constexpr std::string_view put = R"lua(
if redis.call('HEXISTS', KEYS[1] .. ':firing', ARGV[2]) == 1 then return 2 end
local stored = redis.call('HGET', KEYS[1] .. ':next', ARGV[2]) or ''
if stored ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('HSET', KEYS[1] .. ':next', ARGV[2], ARGV[4])
return 1
)lua";

/// ARGV: id. Answers as `put`.
constexpr std::string_view erase = R"lua(
if redis.call('HEXISTS', KEYS[1] .. ':firing', ARGV[1]) == 1 then return 2 end
redis.call('HDEL', KEYS[1] .. ':next', ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
)lua";

/// How long what Go's tools are shown may be out of date.
constexpr auto shown_for = std::chrono::seconds{5};
/// ARGV: id, the schedule's text as it was seen, now, the firing's text. Answers the version; empty: the
/// schedule has changed, or is firing.
constexpr std::string_view begin = R"lua(
local K, id, begun = KEYS[1], ARGV[1], redis.call('HGET', KEYS[1] .. ':firing', ARGV[1])
if begun then
  local version = string.match(begun, '^%d+')
  return begun == version .. ':' .. ARGV[4] and version or ''
end
if redis.call('HGET', K, id) ~= ARGV[2] then return '' end
local version = math.max(tonumber(redis.call('GET', K .. ':version') or '0') + 1, tonumber(ARGV[3]))
version = string.format('%d', version)
redis.call('SET', K .. ':version', version)
redis.call('HSET', K .. ':firing', id, version .. ':' .. ARGV[4])
return version
)lua";

/// ARGV: id, the firing as it is stored, the schedule's text and its next instant from now on (empty: they
/// stay).
constexpr std::string_view finish = R"lua(
if redis.call('HGET', KEYS[1] .. ':firing', ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1] .. ':firing', ARGV[1])
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
  redis.call('HSET', KEYS[1] .. ':next', ARGV[1], ARGV[4])
end
return 1
)lua";

constexpr int is_firing = 2;
/// A firing that has begun is left to who has begun it for so long. It takes some milliseconds.
constexpr auto firing_patience = 2s;

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

/// A firing that has begun, as `:firing` has it.
struct Begun {
  std::string stored = {};
  std::string version = {};
  std::string queue = {};
  std::string session = {};
  std::int64_t number = 0;  ///< Of the call.
  TimePoint at{};
  TimePoint instant{};
  std::string after = {};  ///< The schedule's text once it has fired.
};

std::string write_begun(const Begun& begun) {
  std::string bytes;
  protobuf::Writer out{bytes};
  out.bytes(1, begun.queue);
  out.bytes(2, begun.session);
  out.integer(3, begun.number);
  out.integer(4, micros(begun.at));
  out.integer(5, micros(begun.instant));
  out.bytes(6, begun.after);
  return bytes;
}

Begun read_begun(std::string_view stored) {
  const std::size_t colon = std::min(stored.find(':'), stored.size() - 1);
  Begun begun{.stored = std::string{stored}, .version = std::string{stored.substr(0, colon)}};
  protobuf::Reader in{stored.substr(colon + 1)};
  std::int64_t number = 0;
  while (in.next()) {
    switch (in.field()) {
      case 1:
        in.bytes(begun.queue);
        break;
      case 2:
        in.bytes(begun.session);
        break;
      case 3:
        in.integer(begun.number);
        break;
      case 4:
        in.integer(number);
        begun.at = from_micros(number);
        break;
      case 5:
        in.integer(number);
        begun.instant = from_micros(number);
        break;
      case 6:
        in.bytes(begun.after);
        break;
      default:
        break;
    }
  }
  return begun;
}

redis::Command finish_command(const std::string& id, const Begun& begun, bool moves) {
  static const redis::Script script{finish};
  redis::Command command{script, schedules_key()};
  command.add(id).add(begun.stored).add(moves ? begun.after : "");
  command.add(moves ? std::to_string(micros(read_schedule(id, begun.after).next)) : "");
  return std::move(command.repeatable());
}

redis::Command erase_command(const std::string& id) {
  static const redis::Script script{erase};
  return std::move(redis::Command{script, schedules_key()}.add(id));
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

std::vector<std::int64_t> RedisStore::write_schedules(const std::vector<redis::Command>& commands,
                                                      const std::vector<std::string_view>& ids,
                                                      const Call& call) {
  std::vector<std::int64_t> answers;
  for (const redis::Reply& reply : exec(commands, call)) answers.push_back(checked(reply).integer);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    for (int round = 0; answers[i] == is_firing && round < tries_max; ++round) {
      settle_firing(std::string{ids[i]}, call);
      answers[i] = ask(commands[i], call).integer;
    }
    if (answers[i] == is_firing) {
      throw Error{ErrorKind::unavailable,
                  fmt::format("schedule \"{}\" was firing each of the {} times that it "
                              "was to be written",
                              ids[i], tries_max)};
    }
  }
  return answers;
}

std::vector<bool> RedisStore::put_schedules(std::span<const PutSchedule> puts, const Call& call) {
  std::vector<redis::Command> commands;
  std::vector<std::string_view> ids;
  for (const PutSchedule& each : puts) {
    commands.push_back(put_command(each));
    ids.push_back(each.schedule.id);
  }
  std::vector<bool> answers;
  for (const std::int64_t answer : write_schedules(commands, ids, call)) answers.push_back(answer != 0);
  return answers;
}

std::size_t RedisStore::erase_schedules(std::span<const std::string> ids, const Call& call) {
  std::vector<redis::Command> commands;
  for (const std::string& id : ids) commands.push_back(erase_command(id));
  std::size_t erased = 0;
  std::vector<redis::Command> histories;
  const auto answers = write_schedules(commands, {ids.begin(), ids.end()}, call);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (answers[i] == 0) continue;
    ++erased;
    histories.push_back(forget_history_command(ids[i]));
  }
  for (const redis::Reply& reply : exec(histories, call)) checked(reply);
  return erased;
}

// ---- Firings ----
//
// On one server a firing is one script. In a cluster the schedule is on one node and the queue on another, so
// it has three steps, each of which may be repeated, and after each of which its caller may die:
//
// 1. It begins: the schedule's node notes it, under a new version, if the schedule is still as it was seen.
//    While it is there, nobody else begins one, and nobody changes or erases the schedule.
// 2. The queue's node enqueues the task and notes the version and what came of it, in one script; but not if
//    it has noted this version already, or a later one.
// 3. It ends: the schedule's node moves the schedule on, if this firing is still the one that has begun.
//
// Whoever meets one that another has left settles it: it has the queue's node note the version, so that a
// late second step finds it there and does nothing, and learns whether the task had been enqueued; then comes
// step 3.

redis::Reply RedisStore::put_fired(const Task& task, const Call& call,
                                   const std::function<redis::Command()>& begin_script) {
  redis::Reply reply;
  std::string over;
  for (int round = 0; round < replaces_max; ++round) {
    std::vector<redis::Command> commands{begin_script()};
    add_task(commands[0], task, call.now, over);
    std::ranges::move(name_queues({task.ref.queue}), std::back_inserter(commands));
    reply = std::move(exec(commands, call).front());
    if (!reply.ok() || reply.items.at(0).text[0] != 'x') break;
    over = reply.items[0].text.substr(1);
  }
  return reply;
}

void RedisStore::settle_firing(const std::string& schedule, const Call& call) {
  auto look = redis::Command{"HGET", schedules_key() + ":firing"};
  const redis::Reply stored = ask(look.add(schedule).reads(), call);
  if (stored.nil()) return;
  const Begun begun = read_begun(stored.text);
  redis::Command command{fire_once_script(), pending_key(begun.queue)};
  command.add("").add("").add("").add("").add(schedule).add(begun.version).add(micros(begun.instant)).add("");
  const redis::Reply noted = ask(command.repeatable(), call);
  ask(finish_command(schedule, begun, noted.items.at(1).text == "1"), call);
}

std::string RedisStore::begin_firing(const Task& task, std::string_view seen, std::string_view after,
                                     const Call& call) {
  static const redis::Script script{begin};
  const std::string& id = task.firing->schedule;
  Begun begun{.queue = task.ref.queue,
              .session = call.session == 0 ? "" : fmt::format("{:x}", call.session),
              .number = static_cast<std::int64_t>(call.number),
              .at = call.now,
              .instant = task.firing->instant,
              .after = std::string{after}};
  auto look = redis::Command{"HGET", schedules_key() + ":firing"};
  const redis::Reply stored = ask(look.add(id).reads(), call);
  if (!stored.nil()) {
    const Begun other = read_begun(stored.text);
    const bool ours = !begun.session.empty() && other.session == begun.session;
    if (ours && other.number == begun.number && other.instant == begun.instant) return stored.text;
    // One of an earlier call of ours is left for good.
    if (!ours && call.now - other.at < firing_patience) return {};
    settle_firing(id, call);
  }
  const std::string text = write_begun(begun);
  redis::Command command{script, schedules_key()};
  command.add(id).add(seen).add(micros(call.now)).add(text);
  if (!begun.session.empty()) command.repeatable();
  const std::string version = ask(command, call).text;
  return version.empty() ? version : version + ":" + text;
}

Enqueued RedisStore::fire(const Task& task, const Call& call, std::size_t& part) {
  try {
    return fire_one(task, call, part);
  } catch (const Error& error) {
    // One node of a cluster may be away while the others' schedules fire.
    const bool lost = error.kind() == ErrorKind::unknown_outcome;
    return {lost ? Put::unknown : Put::failed, task.ref.id, error.what()};
  }
}

Enqueued RedisStore::fire_one(const Task& task, const Call& call, std::size_t& part) {
  const Firing& firing = *task.firing;
  auto look = redis::Command{"HGET", schedules_key()};
  const redis::Reply stored = ask(look.add(firing.schedule).reads(), call);
  StoredSchedule schedule;
  if (!stored.nil()) schedule = read_schedule(firing.schedule, stored.text);
  const bool due = !stored.nil() && !schedule.paused && schedule.next == firing.instant;
  Enqueued refused{
      Put::fired, {}, fmt::format("schedule \"{}\" has fired, is paused, or was changed", firing.schedule)};
  schedule.next = firing.next;
  schedule.last = firing.instant;
  const std::string after = write_schedule(schedule);
  // One that isn't due is asked for, too: this call may be a repeated one, that has fired it.
  Begun begun;
  std::function<redis::Command()> begin_script;
  if (client_.options().topology == redis::Topology::cluster) {
    if (due) {
      const std::string text = begin_firing(task, stored.text, after, call);
      if (text.empty()) return refused;
      begun = read_begun(text);
    }
    begin_script = [&] {
      auto fires = script(fire_once_script(), task.ref.queue, call, part++);
      fires.add(micros(call.now)).add(since_of(call.now)).add(firing.schedule).add(begun.version);
      return std::move(fires.add(micros(firing.instant)).add(firing.only_if_created ? "1" : ""));
    };
  } else {
    begin_script = [&] {
      auto fires = script(fire_script(), task.ref.queue, call, part++);
      fires.add(micros(call.now)).add(since_of(call.now)).add(schedules_key()).add(firing.schedule);
      fires.add(due ? stored.text : "").add(after).add(micros(firing.next));
      return std::move(fires.add(firing.only_if_created ? "1" : ""));
    };
  }
  if (!due && call.session == 0) return refused;
  const redis::Reply reply = put_fired(task, call, begin_script);
  if (!reply.ok()) {
    const bool lost = reply.kind == redis::Reply::Kind::lost;
    return {lost ? Put::unknown : Put::failed, task.ref.id, trouble(reply)};
  }
  // If this fails, the next who looks finds that the task is there.
  if (!begun.version.empty())
    exec({finish_command(firing.schedule, begun, reply.items.at(1).text == "1")}, call);
  const std::string& verdict = reply.items.at(0).text;
  if (verdict == "f" || verdict[0] == 'x') return refused;
  Enqueued answer = to_answer(verdict, task);
  // As in Asynq, a firing whose line of history is lost has fired all the same.
  if (answer.put == Put::created || answer.put == Put::replaced)
    (void)exec(history_commands(firing.schedule, answer.id, call.now), call);
  return answer;
}

}  // namespace tidemill::redis_store
