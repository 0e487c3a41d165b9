// The scripts of groups. Asynq's aggregation sets are its own: a sorted set g:GROUP:ID of tasks that stay
// aggregating, named by its whole key in aggregation_sets until a second.
#include "stores/redis/script_parts.hpp"
#include "stores/redis/scripts.hpp"

namespace tidemill::redis_store {

namespace {

/// ARGV: 3 now, 4 where to go on among the names of groups and 5 at how many to look, 6 sets and 7 tasks of
/// one at most, 8 how long the first task of a group waits at most (0: any time) and 9 how long it waits for
/// one more, 10 bytes of a set (0: any), 11 the sets' ids but for their last digits, 12 the second of their
/// end. Answers where to go on, when the next of these groups is due, and group and id of each set.
///
/// The name stays among the groups until the set is settled: if Go takes the tasks back, it doesn't put it
/// there again.
constexpr std::string_view gather = R"lua(
if again then return again end
local now, sets_max, size_max = tonumber(ARGV[3]), tonumber(ARGV[6]), tonumber(ARGV[7])
local delay_max, grace, bytes_max = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
if call('EXISTS', P .. 'paused') == 1 then return {'0', ''} end
call('ZREMRANGEBYSCORE', P .. 'x:groups', '-inf', now)
local scan = call('SSCAN', P .. 'groups', ARGV[4], 'COUNT', ARGV[5])
local answers, sets, least = {scan[1], ''}, 0, false
local function later(at)
  at = math.max(at, now)
  if not least or at < least then least = at end
end
local function came(key, rank) return tonumber(call('ZRANGE', key, rank, rank, 'WITHSCORES')[2]) * 1000000 end
local function due_at(key, size)
  if size >= size_max then return now end
  local due = came(key, -1) + grace
  return delay_max > 0 and math.min(due, came(key, 0) + delay_max) or due
end
local function share(key, size)
  local most, bytes = math.min(size, size_max), 0
  if bytes_max == 0 then return most end
  for i, id in ipairs(call('ZRANGE', key, 0, most - 1)) do
    bytes = bytes + call('HSTRLEN', P .. 't:' .. id, 'msg')
    if i > 1 and bytes > bytes_max then return i - 1 end
  end
  return most
end
for _, name in ipairs(scan[2]) do
  local key = P .. 'g:' .. name
  local size = name == '' and 0 or call('ZCARD', key)
  local rests = size > 0 and call('ZSCORE', P .. 'x:groups', name)
  if rests then
    later(tonumber(rests))
  elseif size > 0 then
    if sets < sets_max and due_at(key, size) <= now then
      sets = sets + 1
      local id, count = ARGV[11] .. sets, share(key, size)
      call('ZRANGESTORE', key .. ':' .. id, key, 0, count - 1)
      call('ZREMRANGEBYRANK', key, 0, count - 1)
      call('ZADD', P .. 'aggregation_sets', ARGV[12], key .. ':' .. id)
      answers[#answers + 1] = name
      answers[#answers + 1] = id
      size = size - count
    end
    if size > 0 then later(due_at(key, size)) end
  end
end
if least then answers[2] = string.format('%d', least) end
return sets > 0 and answer(answers) or answers
)lua";

/// ARGV: 3 now, 4 pending_since, 5 the group, 6 the set's id, 7 what becomes of it: back to its group (then 8
/// until when that rests, or empty), or merged into one task: 15 arguments from 8 on, then id and lock of
/// each task of the set. Answers a for applied, l for lost, f where the new task can't be.
constexpr std::string_view settle = R"lua(
if again then return again end
local key = P .. 'g:' .. ARGV[5] .. ':' .. ARGV[6]
if not call('ZSCORE', P .. 'aggregation_sets', key) then return answer({'l'}) end
if ARGV[7] == 'back' then
  regroup(key)
  if ARGV[8] ~= '' then call('ZADD', P .. 'x:groups', ARGV[8], ARGV[5]) end
  return answer({'a'})
end
if call('EXISTS', P .. 't:' .. ARGV[8]) == 1 then return answer({'f'}) end
local locks = {}
for i = 23, #ARGV, 2 do locks[ARGV[i]] = ARGV[i + 1] end
local wanted = ARGV[18]
local holder = wanted ~= '' and lock_holder(wanted, tonumber(ARGV[3]))
if holder and locks[holder] ~= wanted then return answer({'f'}) end
for id, lock in pairs(locks) do
  release_lock(lock, id)
  call('DEL', P .. 't:' .. id)
end
call('DEL', key)
call('ZREM', P .. 'aggregation_sets', key)
forget_group(ARGV[5])
put_one(8, tonumber(ARGV[3]), ARGV[4])
return answer({'a'})
)lua";

/// ARGV: 3 the time in seconds, 4 the group, 5 the set's id, then ids of tasks in it that can't be read: to
/// the archive, where they harm nobody; an id without its task just goes.
constexpr std::string_view bury_gathered = R"lua(
local key = P .. 'g:' .. ARGV[4] .. ':' .. ARGV[5]
for i = 6, #ARGV do
  local id = ARGV[i]
  if call('ZREM', key, id) == 1 and call('EXISTS', P .. 't:' .. id) == 1 then
    call('HDEL', P .. 't:' .. id, 'group')
    enter(id, 'archived', ARGV[3], '')
  end
end
if call('EXISTS', key) == 0 then
  call('ZREM', P .. 'aggregation_sets', key)
  forget_group(ARGV[4])
end
return 0
)lua";

/// ARGV: names of groups. Answers how many tasks wait in each, and the seconds of the first and the last.
constexpr std::string_view describe_groups = R"lua(
local P = string.sub(KEYS[1], 1, -8)
local call = redis.call
local answers = {}
for _, name in ipairs(ARGV) do
  local key = P .. 'g:' .. name
  answers[#answers + 1] = call('ZCARD', key)
  for rank = 0, -1, -1 do answers[#answers + 1] = call('ZRANGE', key, rank, rank, 'WITHSCORES')[2] or '' end
end
return answers
)lua";

}  // namespace

const redis::Script& gather_script() {
  static const redis::Script script{prelude, gather};
  return script;
}

const redis::Script& settle_script() {
  static const redis::Script script{prelude, places, enqueueing, regrouping, settle};
  return script;
}

const redis::Script& bury_gathered_script() {
  static const redis::Script script{prelude, places, bury_gathered};
  return script;
}

const redis::Script& describe_groups_script() {
  static const redis::Script script{describe_groups};
  return script;
}

}  // namespace tidemill::redis_store
