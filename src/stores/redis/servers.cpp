#include "stores/redis/servers.hpp"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "stores/redis/message.hpp"
#include "stores/redis/record.hpp"

namespace tidemill::redis_store {

namespace {

using namespace std::chrono_literals;

constexpr auto kept = 30s;
constexpr std::string_view servers_key = "asynq:servers";
constexpr std::string_view workers_key = "asynq:workers";
/// What a server of ours has as the beginning of its id, to tell it from Go's.
constexpr std::string_view our_mark = "tidemill-";

std::string key_of(std::string_view kind, const tidemill::WorkerInfo& worker) {
  return fmt::format("{}:{{{}:{}:{}{}}}", kind, worker.host, worker.pid, our_mark, worker.id);
}

std::string_view status_of(std::string_view state) {
  if (state == "running") return "active";
  return state == "quiet" ? "stopped" : "closed";
}

ServerInfo to_server(const tidemill::WorkerInfo& worker) {
  ServerInfo info;
  info.host = worker.host;
  info.pid = static_cast<std::int32_t>(worker.pid);
  info.server_id = fmt::format("{}{}", our_mark, worker.id);
  info.concurrency = worker.slots;
  for (const auto& [queue, weight] : worker.queues) info.queues[queue] = weight;
  info.status = status_of(worker.state);
  info.started_at = worker.started_at;
  info.active_workers = worker.busy;
  return info;
}

std::string write_task(const ServerInfo& server, const Task& task, TimePoint now) {
  WorkerInfo info;
  info.host = server.host;
  info.pid = server.pid;
  info.server_id = server.server_id;
  info.task_id = task.ref.id;
  info.task_type = task.kind;
  info.task_payload = task.payload;
  info.queue = task.ref.queue;
  info.started_at = task.started_at.value_or(now);
  const Duration timeout = task.timeout == Duration::zero() ? Duration{24h * 366} : task.timeout;
  info.deadline = *info.started_at + timeout;
  if (task.deadline) info.deadline = std::min(*info.deadline, *task.deadline);
  return encode(info);
}

}  // namespace

std::vector<redis::Command> register_commands(const tidemill::WorkerInfo& worker, std::span<const Beat> beats,
                                              TimePoint now) {
  const std::string server = key_of(servers_key, worker);
  const std::string running = key_of(workers_key, worker);
  std::vector<redis::Command> commands;
  const auto add = [&](redis::Command command) { commands.push_back(std::move(command.repeatable())); };
  if (worker.state == "gone") {
    add(redis::Command{"ZREM", servers_key}.add(server));
    add(redis::Command{"ZREM", workers_key}.add(running));
    add(redis::Command{"DEL", server});
    add(redis::Command{"DEL", running});
    return commands;
  }
  const std::int64_t until = seconds_down(now + kept);
  const auto length = static_cast<std::int64_t>(kept.count());
  const ServerInfo info = to_server(worker);
  add(redis::Command{"ZADD", servers_key}.add(until).add(server));
  add(redis::Command{"ZADD", workers_key}.add(until).add(running));
  add(redis::Command{"SET", server}.add(encode(info)).add("EX").add(length));
  add(redis::Command{"DEL", running});
  redis::Command tasks{"HSET", running};
  bool any = false;
  for (const Beat& beat : beats) {
    if (beat.lease == nullptr) continue;
    const Task& task = beat.lease->task;
    tasks.add(task.ref.queue + ":" + task.ref.id).add(write_task(info, task, now));
    any = true;
  }
  if (any) {
    add(std::move(tasks));
    add(redis::Command{"EXPIRE", running}.add(length));
  }
  return commands;
}

redis::Command server_keys_command(TimePoint now) {
  redis::Command command{"ZRANGEBYSCORE", servers_key};
  return std::move(command.add(seconds_down(now)).add("+inf").reads());
}

std::optional<tidemill::WorkerInfo> read_go_server(std::string_view text) {
  if (text.empty()) return {};  // Go lists a server before it writes what it is, and after that has expired.
  const auto info = decode_server(text);
  if (!info || info->server_id.starts_with(our_mark)) return {};
  tidemill::WorkerInfo worker;
  worker.id = info->server_id;
  worker.host = info->host;
  const bool runs = info->status == "active" || info->status == "new";
  worker.state = runs ? "running" : info->status == "stopped" ? "quiet" : "stopping";
  for (const auto& [queue, weight] : info->queues) worker.queues[queue] = weight;
  worker.pid = info->pid;
  worker.slots = info->concurrency;
  worker.busy = info->active_workers;
  worker.started_at = info->started_at.value_or(TimePoint{});
  return worker;
}

}  // namespace tidemill::redis_store
