#include "stores/redis/schedulers.hpp"

#include <chrono>

#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/schedule_rule.hpp"
#include "stores/redis/message.hpp"
#include "stores/redis/option_text.hpp"
#include "stores/redis/record.hpp"

namespace tidemill::redis_store {

namespace {

using namespace std::chrono_literals;

constexpr auto kept = 30s;
constexpr int history_max = 1000;
constexpr std::string_view schedulers_key = "asynq:schedulers";
/// Before the id of a scheduler, which stands in braces.
constexpr std::string_view entries_prefix = "asynq:schedulers:";
constexpr std::string_view our_entries = "asynq:schedulers:{tidemill}";

/// KEYS[1] becomes a list of these entries. ARGV: how many seconds it is kept, and the entries.
constexpr std::string_view show = R"lua(
redis.call('DEL', KEYS[1])
for i = 2, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
redis.call('EXPIRE', KEYS[1], ARGV[1])
)lua";

std::string history_key(std::string_view schedule) {
  return fmt::format("asynq:scheduler_history:{}", schedule);
}

/// With its zone, as Asynq's specs have it, unless it has none or names one itself.
std::string spec_of(const Schedule& schedule) {
  const bool alone = schedule.zone == "UTC" || schedule.spec.find('=') != std::string::npos ||
                     schedule.spec.find("@every") != std::string::npos;
  return alone ? schedule.spec : fmt::format("CRON_TZ={} {}", schedule.zone, schedule.spec);
}

EnqueueOptions options_of(const tidemill::EnqueueOptions& options) {
  EnqueueOptions shown;
  shown.queue = options.queue;
  shown.max_retry = options.retries_max;
  shown.timeout = options.timeout;
  shown.deadline = options.deadline;
  if (options.unique && options.unique->window > Duration::zero()) shown.unique = options.unique->window;
  if (options.delay > Duration::zero()) shown.process_in = options.delay;
  if (options.retention > Duration::zero()) shown.retention = options.retention;
  if (!options.group.empty()) shown.group = options.group;
  shown.headers = options.headers;
  return shown;
}

SchedulerEntry to_entry(const StoredSchedule& stored) {
  const Schedule schedule = parse_rule(stored).schedule;
  SchedulerEntry entry;
  entry.id = stored.id;
  entry.spec = spec_of(schedule);
  entry.task_type = schedule.kind;
  entry.task_payload = schedule.payload;
  entry.options = write_options(options_of(schedule.options));
  if (stored.next != never) entry.next_at = stored.next;
  entry.previous_at = stored.last;
  return entry;
}

/// What the entry's texts do not say is as Asynq has it: its options' defaults, its way through daylight
/// saving, and that it makes up for nothing.
Schedule to_schedule(const SchedulerEntry& entry) {
  Schedule schedule;
  schedule.id = entry.id;
  schedule.spec = entry.spec;
  schedule.zone.clear();
  schedule.gap = Gap::skip;
  schedule.fold = Fold::both;
  schedule.missed = Missed::skip;
  schedule.kind = entry.task_type;
  schedule.payload = entry.task_payload;
  const EnqueueOptions given = read_options(entry.options);
  tidemill::EnqueueOptions& options = schedule.options;
  options.queue = given.queue.value_or(options.queue);
  options.retries_max = given.max_retry.value_or(options.retries_max);
  options.timeout = given.timeout.value_or(given.deadline ? Duration::zero() : options.timeout);
  options.deadline = given.deadline;
  if (given.unique) options.unique = Unique{.window = *given.unique};
  options.run_at = given.process_at;
  options.delay = given.process_in.value_or(Duration::zero());
  options.retention = given.retention.value_or(Duration::zero());
  return schedule;
}

/// "host:4242" of "asynq:schedulers:{host:4242:UUID}".
std::string_view process_of(std::string_view key) {
  key.remove_prefix(std::min(key.size(), entries_prefix.size() + 1));
  return key.substr(0, key.rfind(':'));
}

}  // namespace

std::vector<redis::Command> show_commands(std::span<const StoredSchedule> schedules, TimePoint now) {
  static const redis::Script script{show};
  std::vector<std::string> entries;
  for (const StoredSchedule& each : schedules) {
    if (each.paused) continue;
    try {
      entries.push_back(encode(to_entry(each)));
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): what can't be read doesn't fire either.
    }
  }
  std::vector<redis::Command> commands;
  const auto add = [&](redis::Command command) { commands.push_back(std::move(command.repeatable())); };
  if (entries.empty()) {
    add(redis::Command{"ZREM", schedulers_key}.add(our_entries));
    add(redis::Command{"DEL", our_entries});
    return commands;
  }
  add(redis::Command{"ZADD", schedulers_key}.add(seconds_down(now + kept)).add(our_entries));
  redis::Command list{script, our_entries};
  list.add(static_cast<std::int64_t>(kept.count()));
  for (const std::string& entry : entries) list.add(entry);
  add(std::move(list));
  return commands;
}

std::vector<redis::Command> history_commands(std::string_view schedule, std::string_view task,
                                             TimePoint now) {
  const std::string key = history_key(schedule);
  const SchedulerEnqueueEvent event{.task_id = std::string{task}, .enqueued_at = now};
  redis::Command add{"ZADD", key};
  add.add(seconds_down(now)).add(encode(event)).repeatable();
  redis::Command trim{"ZREMRANGEBYRANK", key};
  trim.add(0).add(-1 - history_max).repeatable();
  return {std::move(add), std::move(trim)};
}

redis::Command forget_history_command(std::string_view schedule) {
  return std::move(redis::Command{"DEL", history_key(schedule)}.repeatable());
}

redis::Command scheduler_keys_command(TimePoint now) {
  redis::Command command{"ZRANGEBYSCORE", schedulers_key};
  return std::move(command.add(seconds_down(now)).add("+inf").reads());
}

bool is_ours(std::string_view scheduler_key) { return scheduler_key == our_entries; }

std::optional<StoredSchedule> read_go_entry(std::string_view scheduler_key, std::string_view text) {
  const auto entry = decode_scheduler_entry(text);
  if (!entry) return {};
  StoredSchedule stored;
  stored.id = entry->id;
  stored.owner = fmt::format("Go scheduler {}", process_of(scheduler_key));
  stored.rule = to_json(to_schedule(*entry));
  stored.next = entry->next_at.value_or(never);
  stored.last = entry->previous_at;
  stored.read_only = true;
  return stored;
}

}  // namespace tidemill::redis_store
