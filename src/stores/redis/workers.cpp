#include "stores/redis/workers.hpp"

#include "stores/redis/keys.hpp"
#include "stores/redis/protobuf.hpp"
#include "stores/redis/record.hpp"

namespace tidemill::redis_store {

namespace {

/// KEYS[1] is the hash of workers; `:beats` and `:signals` behind it are the sorted set of their last beats,
/// and the hash of signals.
constexpr std::string_view beat = R"lua(
local signal = redis.call('HGET', KEYS[1] .. ':signals', ARGV[1]) or '0'
redis.call('HDEL', KEYS[1] .. ':signals', ARGV[1])
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('ZREM', KEYS[1] .. ':beats', ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
  redis.call('ZADD', KEYS[1] .. ':beats', ARGV[2], ARGV[1])
end
return signal
)lua";

constexpr std::string_view list = R"lua(
local answers = {}
local alive = redis.call('ZRANGEBYSCORE', KEYS[1] .. ':beats', ARGV[1], '+inf', 'WITHSCORES')
for i = 1, #alive, 2 do
  local text = redis.call('HGET', KEYS[1], alive[i])
  if text then
    answers[#answers + 1] = text
    answers[#answers + 1] = alive[i + 1]
  end
end
return answers
)lua";

constexpr std::string_view send = R"lua(
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1] .. ':signals', ARGV[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], ARGV[1])
return 1
)lua";

constexpr std::string_view forget = R"lua(
local silent = redis.call('ZRANGEBYSCORE', KEYS[1] .. ':beats', '-inf', ARGV[1], 'LIMIT', 0, 100)
for _, id in ipairs(silent) do
  redis.call('HDEL', KEYS[1], id)
  redis.call('HDEL', KEYS[1] .. ':signals', id)
  redis.call('ZREM', KEYS[1] .. ':beats', id)
end
return #silent
)lua";

std::string workers_key() { return shared_key("workers"); }

std::string write_worker(const tidemill::WorkerInfo& worker) {
  std::string bytes;
  protobuf::Writer out{bytes};
  out.bytes(1, worker.id);
  out.bytes(2, worker.host);
  out.bytes(3, worker.state);
  for (const auto& [queue, weight] : worker.queues) {
    std::string entry;
    protobuf::Writer fields{entry};
    fields.bytes(1, queue);
    fields.integer(2, weight);
    out.bytes(4, entry);
  }
  out.integer(5, worker.pid);
  out.integer(6, worker.slots);
  out.integer(7, worker.busy);
  out.integer(8, worker.stuck);
  out.integer(9, micros(worker.started_at));
  return bytes;
}

}  // namespace

redis::Command beat_command(const tidemill::WorkerInfo& worker, TimePoint now) {
  static const redis::Script script{beat};
  redis::Command command{script, workers_key()};
  command.add(worker.id).add(micros(now)).add(worker.state == "gone" ? "" : write_worker(worker));
  return std::move(command.repeatable());
}

redis::Command workers_command(TimePoint since) {
  static const redis::Script script{list};
  redis::Command command{script, workers_key()};
  return std::move(command.add(micros(since)).reads());
}

std::optional<tidemill::WorkerInfo> read_worker(std::string_view text) {
  tidemill::WorkerInfo worker;
  protobuf::Reader in{text};
  std::int64_t started = 0;
  while (in.next()) {
    switch (in.field()) {
      case 1:
        in.bytes(worker.id);
        break;
      case 2:
        in.bytes(worker.host);
        break;
      case 3:
        in.bytes(worker.state);
        break;
      case 4:
        if (auto entry = in.inside()) {
          std::string queue;
          std::int32_t weight = 0;
          while (entry->next()) {
            if (entry->field() == 1) entry->bytes(queue);
            if (entry->field() == 2) entry->integer(weight);
          }
          worker.queues[queue] = weight;
        }
        break;
      case 5:
        in.integer(worker.pid);
        break;
      case 6:
        in.integer(worker.slots);
        break;
      case 7:
        in.integer(worker.busy);
        break;
      case 8:
        in.integer(worker.stuck);
        break;
      case 9:
        in.integer(started);
        break;
      default:
        break;
    }
  }
  if (!in.ok()) return {};
  worker.started_at = from_micros(started);
  return worker;
}

redis::Command signal_command(std::string_view worker, Signal signal) {
  static const redis::Script script{send};
  redis::Command command{script, workers_key()};
  command.add(worker).add(static_cast<std::int64_t>(signal)).add(signal_channel);
  return std::move(command.repeatable());
}

redis::Command forget_command(TimePoint since) {
  static const redis::Script script{forget};
  redis::Command command{script, workers_key()};
  return std::move(command.add(micros(since)).repeatable());
}

}  // namespace tidemill::redis_store
