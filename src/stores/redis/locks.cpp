#include "stores/redis/locks.hpp"

#include "core/named.hpp"
#include "stores/redis/keys.hpp"
#include "stores/redis/record.hpp"
#include "stores/redis/shared.hpp"

namespace tidemill::redis_store {

namespace {

/// KEYS[1] is the hash of locks: `NAME` has UNTIL:FENCE:OWNER. Behind the key, `:names` has the names in
/// order, `:until` when they run out, and `:fence` is the last fence.
constexpr std::string_view common = R"lua(
local K, call = KEYS[1], redis.call
local function get(name, now)
  local text = call('HGET', K, name)
  if not text then return nil end
  local till, fence, owner = string.match(text, '^(%d+):(%d+):(.*)$')
  if tonumber(till) <= now then return nil end
  return {till, fence, owner}
end
local function put(name, till, fence, owner)
  call('HSET', K, name, till .. ':' .. fence .. ':' .. owner)
  call('ZADD', K .. ':names', 0, name)
  call('ZADD', K .. ':until', till, name)
end
local function drop(name)
  call('HDEL', K, name)
  call('ZREM', K .. ':names', name)
  call('ZREM', K .. ':until', name)
end
)lua";

/// ARGV: now, name, owner, until when. Answers until, fence and owner.
constexpr std::string_view acquire_text = R"lua(
local now = tonumber(ARGV[1])
local lock = get(ARGV[2], now)
if lock and lock[3] ~= ARGV[3] then return lock end
local fence = lock and lock[2]
if not fence then
  fence = string.format('%d', math.max(tonumber(call('GET', K .. ':fence') or '0') + 1, now))
  call('SET', K .. ':fence', fence)
end
put(ARGV[2], ARGV[4], fence, ARGV[3])
return {ARGV[4], fence, ARGV[3]}
)lua";

/// ARGV: now, name, owner, fence, until when (empty: released). Answers 1 if it was held so.
constexpr std::string_view keep_text = R"lua(
local lock = get(ARGV[2], tonumber(ARGV[1]))
if not lock or lock[3] ~= ARGV[3] or lock[2] ~= ARGV[4] then return 0 end
if ARGV[5] == '' then drop(ARGV[2]) else put(ARGV[2], ARGV[5], ARGV[4], ARGV[3]) end
return 1
)lua";

/// ARGV: now, the name before, how many. Answers four values a lock.
constexpr std::string_view list_text = R"lua(
local answers, now, from = {}, tonumber(ARGV[1]), '(' .. ARGV[2]
if ARGV[2] == '' then from = '-' end
local most = tonumber(ARGV[3])
local skipped = 0
while #answers < most * 4 do
  local names = call('ZRANGEBYLEX', K .. ':names', from, '+', 'LIMIT', skipped, 100)
  if #names == 0 then break end
  skipped = skipped + #names
  for _, name in ipairs(names) do
    local lock = get(name, now)
    if lock and #answers < most * 4 then
      for _, value in ipairs({name, lock[1], lock[2], lock[3]}) do answers[#answers + 1] = value end
    end
  end
end
return answers
)lua";

/// ARGV: now, how many.
constexpr std::string_view purge_text = R"lua(
local names = call('ZRANGEBYSCORE', K .. ':until', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, name in ipairs(names) do drop(name) end
return #names
)lua";

std::string locks_key() { return shared_key("locks"); }

LockInfo to_lock(std::string_view name, const redis::Reply& reply, std::size_t at) {
  return {.name = std::string{name},
          .owner = reply.items.at(at + 2).text,
          .fence = static_cast<std::uint64_t>(to_number(reply.items.at(at + 1).text)),
          .until = from_micros(to_number(reply.items.at(at).text))};
}

}  // namespace

LockInfo RedisLocks::acquire(std::string_view name, std::string_view owner, Duration length,
                             const Call& call) {
  static const redis::Script script{common, acquire_text};
  rules::check_lock(name, owner, length);
  redis::Command command{script, locks_key()};
  command.add(micros(call.now)).add(name).add(owner).add(micros(call.now + length)).repeatable();
  return to_lock(name, ask_shared(client_, command, call), 0);
}

bool RedisLocks::extend(std::string_view name, std::string_view owner, std::uint64_t fence, Duration length,
                        const Call& call) {
  rules::check_lock(name, owner, length);
  return keep(name, owner, fence, std::to_string(micros(call.now + length)), call);
}

bool RedisLocks::release(std::string_view name, std::string_view owner, std::uint64_t fence,
                         const Call& call) {
  rules::check_lock(name, owner);
  return keep(name, owner, fence, "", call);
}

bool RedisLocks::keep(std::string_view name, std::string_view owner, std::uint64_t fence,
                      std::string_view until, const Call& call) {
  static const redis::Script script{common, keep_text};
  redis::Command command{script, locks_key()};
  command.add(micros(call.now)).add(name).add(owner).add(std::to_string(fence)).add(until);
  return ask_shared(client_, command, call).integer != 0;
}

std::vector<LockInfo> RedisLocks::list(std::string_view after, std::size_t limit, const Call& call) {
  static const redis::Script script{common, list_text};
  redis::Command command{script, locks_key()};
  command.add(micros(call.now)).add(after).add(limit).reads();
  const redis::Reply reply = ask_shared(client_, command, call);
  std::vector<LockInfo> held;
  for (std::size_t at = 0; at + 4 <= reply.items.size(); at += 4)
    held.push_back(to_lock(reply.items[at].text, reply, at + 1));
  return held;
}

std::size_t RedisLocks::purge(std::size_t limit, const Call& call) {
  static const redis::Script script{common, purge_text};
  redis::Command command{script, locks_key()};
  command.add(micros(call.now)).add(limit).repeatable();
  return static_cast<std::size_t>(ask_shared(client_, command, call).integer);
}

}  // namespace tidemill::redis_store
