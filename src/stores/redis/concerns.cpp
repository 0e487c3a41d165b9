// What the server is, and how it is set up.
#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "stores/redis/store_impl.hpp"

namespace tidemill::redis_store {

namespace {

/// What Redis 6.2 brought is used everywhere: RPOP with a count, ZRANGE BYSCORE in Go's own scripts.
constexpr std::string_view version_least = "6.2";
constexpr double memory_share_max = 0.9;

/// A line of INFO: `name:value`. Empty when it isn't there.
std::string_view value_of(std::string_view info, std::string_view name) {
  const std::string line = fmt::format("\n{}:", name);
  const std::size_t at = info.find(line);
  if (at == info.npos) return {};
  const std::string_view rest = info.substr(at + line.size());
  return rest.substr(0, rest.find_first_of("\r\n"));
}

void look_at(std::string_view info, std::vector<Concern>& concerns) {
  const auto add = [&](std::string what, std::string advice) {
    concerns.push_back({std::move(what), std::move(advice)});
  };
  const std::string_view policy = value_of(info, "maxmemory_policy");
  if (!policy.empty() && policy != "noeviction") {
    add(fmt::format("Redis deletes keys when its memory is full (maxmemory-policy {}): tasks would be lost",
                    policy),
        "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf");
  }
  const auto memory_max = static_cast<double>(to_number(value_of(info, "maxmemory")));
  const auto memory = static_cast<double>(to_number(value_of(info, "used_memory")));
  if (memory_max > 0 && memory > memory_share_max * memory_max) {
    add(fmt::format("Redis uses {:.0f} % of the memory that it may have: soon it takes no tasks",
                    100 * memory / memory_max),
        "raise maxmemory, or delete what is no longer needed: tidemill tasks erase");
  }
  if (value_of(info, "aof_enabled") == "0") {
    add("Redis keeps no append-only file: what was acknowledged since its last snapshot goes with it",
        "appendonly yes in redis.conf, with appendfsync everysec (a second may be lost with the machine) or "
        "always");
  }
  for (const char* status :
       {"aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"}) {
    const std::string_view value = value_of(info, status);
    if (!value.empty() && value != "ok")
      add(fmt::format("Redis could not write its file: {} is {}", status, value),
          "see its log; most often a disk is full");
  }
  if (value_of(info, "role") == "slave") {
    add("this Redis is a replica: it takes no tasks",
        "name its master in the URL, or Sentinel or the cluster");
  }
}

}  // namespace

void RedisStore::check_server() {
  const redis::Reply info = client_.exec(redis::Command{"INFO"}.add("server").reads());
  const std::string_view version = value_of(checked(info).text, "redis_version");
  if (version.empty()) return;
  const auto major = to_number(version);
  const std::size_t dot = version.find('.');
  const auto minor = dot == version.npos ? 0 : to_number(version.substr(dot + 1));
  if (major > 6 || (major == 6 && minor >= 2)) return;
  throw Error{ErrorKind::unavailable,
              fmt::format("Redis {} is too old; {} or later is needed", version, version_least)};
}

std::vector<Concern> RedisStore::concerns() {
  std::vector<Concern> concerns;
  const auto deadline = std::chrono::steady_clock::now() + client_.options().timeout;
  for (const redis::Reply& info : client_.exec_everywhere(redis::Command{"INFO"}.reads(), deadline))
    look_at(checked(info).text, concerns);
  return concerns;
}

std::vector<Gauge> RedisStore::gauges() {
  Gauge used{"memory_bytes", "Memory that Redis uses, of all nodes together."};
  Gauge most{"memory_bytes_max", "Memory that it may use; 0: any."};
  const auto deadline = std::chrono::steady_clock::now() + client_.options().timeout;
  for (const redis::Reply& info :
       client_.exec_everywhere(redis::Command{"INFO"}.add("memory").reads(), deadline)) {
    used.value += static_cast<double>(to_number(value_of(checked(info).text, "used_memory")));
    most.value += static_cast<double>(to_number(value_of(info.text, "maxmemory")));
  }
  return {used, most};
}

}  // namespace tidemill::redis_store
