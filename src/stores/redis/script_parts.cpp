#include "stores/redis/script_parts.hpp"

namespace tidemill::redis_store {

/// What all scripts begin with.
///
/// KEYS[1] is the queue's list of pending tasks; its prefix is that of all its keys. ARGV[1] and ARGV[2] are
/// session and number of the call: the last answer of a session is kept for two minutes, and a repeated call
/// gets it.
const std::string_view prelude = R"lua(
local P = string.sub(KEYS[1], 1, -8)
local call = redis.call
local session = ARGV[1] ~= '' and P .. 'x:s:' .. ARGV[1]
local function repeated()
  if not session then return false end
  local kept = call('GET', session)
  local head = ARGV[2] .. ' '
  return kept and string.sub(kept, 1, #head) == head and cmsgpack.unpack(string.sub(kept, #head + 1))
end
local function answer(value)
  if session then call('SET', session, ARGV[2] .. ' ' .. cmsgpack.pack(value), 'EX', 120) end
  return value
end
local again = repeated()
)lua";

/// Where tasks stand, and how they come and go.
const std::string_view places = R"lua(
local function set(t, field, value)
  if value == '' then call('HDEL', t, field) else call('HSET', t, field, value) end
end
local function lock_holder(lock, now)
  local id = call('GET', lock)
  local till = id and call('ZSCORE', P .. 'x:keys', lock)
  if till and tonumber(till) <= now then return false end
  return id
end
local function take_lock(lock, id, till, ttl)
  if till == '' then
    call('SET', lock, id)
    call('ZREM', P .. 'x:keys', lock)
  else
    call('SET', lock, id, 'EX', ttl)
    call('ZADD', P .. 'x:keys', till, lock)
  end
end
local function release_lock(lock, id)
  if lock == '' or call('GET', lock) ~= id then return end
  call('DEL', lock)
  call('ZREM', P .. 'x:keys', lock)
end
-- Takes ids out of a list. Most stand at its end, where the oldest are, or near that, or near its head: there the list
-- is cut, and what stays is put back. LREM, for all others, looks at all that stands before.
local function leave_list(key, ids)
  local wanted, left = {}, #ids
  for _, id in ipairs(ids) do wanted[id] = true end
  local function cut(at_head, reach)
    local near = call('LRANGE', key, at_head and 0 or -reach, at_head and reach - 1 or -1)
    local stay = {}
    for i = 1, #near do
      local id = near[at_head and #near + 1 - i or i]
      if wanted[id] then
        wanted[id], left = nil, left - 1
      else
        stay[#stay + 1] = id
      end
    end
    if #stay == #near then return end
    call('LTRIM', key, at_head and #near or 0, at_head and -1 or -1 - #near)
    if #stay > 0 then call(at_head and 'LPUSH' or 'RPUSH', key, unpack(stay)) end
  end
  if left > 0 then cut(false, left) end
  if left > 0 then cut(false, 3 * #ids + 32) end
  if left > 0 then cut(true, 3 * #ids + 32) end
  for id in pairs(wanted) do call('LREM', key, 1, id) end
end
local function leave_active(ids)
  leave_list(P .. 'active', ids)
  if #ids > 0 then call('ZREM', P .. 'lease', unpack(ids)) end
end
-- Where a state's exact times are: when due, or until when to keep.
local function exact_set(state)
  return (state == 'scheduled' or state == 'retry') and 'x:due' or 'x:' .. state
end
-- An exact time is of the second before its score. Go moves tasks and leaves our times; such a one is of an earlier
-- state.
local function fits(exact, score)
  return score and exact <= score * 1000000 and exact > (score - 1) * 1000000
end
-- Whether a worker has gathered the task: it stands in a set, and not in its group.
local function gathered(id, state, group)
  return state == 'aggregating' and not call('ZSCORE', P .. 'g:' .. (group or ''), id)
end
-- Takes the name of a group without tasks off the list, unless a set of it is under way: Go may take that back, and
-- does not name its group then.
local function forget_group(name)
  local group = P .. 'g:' .. name
  if call('EXISTS', group) == 1 then return end
  for _, key in ipairs(call('ZRANGE', P .. 'aggregation_sets', 0, -1)) do
    if string.match(key, '^(.*):[^:]*$') == group then return end
  end
  call('SREM', P .. 'groups', name)
end
-- Takes an id out of where its state says that it stands.
local function leave(id, state, group)
  if state == 'pending' then
    leave_list(P .. 'pending', {id})
  elseif state == 'aggregating' then
    call('ZREM', P .. 'g:' .. (group or ''), id)
    forget_group(group or '')
  elseif state == 'active' then
    leave_active({id})
  else
    call('ZREM', P .. state, id)
    call('ZREM', P .. exact_set(state), id)
  end
end
-- Puts an id where it is told: front, pending, aggregating, or a sorted set with a score and an exact time.
local function enter(id, where, score, exact, group, since)
  local t = P .. 't:' .. id
  if where == 'pending' or where == 'front' then
    call('HSET', t, 'state', 'pending', 'pending_since', since)
    call(where == 'front' and 'RPUSH' or 'LPUSH', P .. 'pending', id)
  elseif where == 'aggregating' then
    call('HSET', t, 'state', where, 'group', group)
    call('ZADD', P .. 'g:' .. group, score, id)
    call('SADD', P .. 'groups', group)
  else
    call('HSET', t, 'state', where)
    call('ZADD', P .. where, score, id)
    if exact ~= '' then
      call('ZADD', P .. exact_set(where), exact, id)
    end
  end
end
)lua";

/// Makes due tasks pending: those with an exact time by that, all others by their score, which is in whole
/// seconds.
const std::string_view promoting = R"lua(
local function promote(now, limit)
  if limit <= 0 then return 0 end
  local ready, times, scores = {}, {}, {scheduled = {}, retry = {}}
  for set, unit in pairs({['x:due'] = 1, scheduled = 1000000, retry = 1000000}) do
    local found = call('ZRANGEBYSCORE', P .. set, '-inf', math.floor(now / unit), 'WITHSCORES', 'LIMIT', 0, limit)
    for i = 1, #found, 2 do
      local id, score = found[i], tonumber(found[i + 1])
      local at = score * unit
      if not times[id] then ready[#ready + 1] = id end
      if not times[id] or at < times[id] then times[id] = at end
      if scores[set] then scores[set][id] = score end
    end
  end
  if #ready == 0 then return 0 end
  table.sort(ready, function(a, b) return times[a] < times[b] or (times[a] == times[b] and a < b) end)
  local count, noted, gone, waiting = 0, {}, {scheduled = {}, retry = {}}, {}
  local lines = {pending = {}, front = {}}
  for _, id in ipairs(ready) do
    if count == limit then break end
    local t = P .. 't:' .. id
    local hash = call('HMGET', t, 'state', 'msg', 'group', 'f')
    local state = hash[1]
    local left = gone[state]
    local score = left and (scores[state][id] or tonumber(call('ZSCORE', P .. state, id) or nil))
    noted[#noted + 1] = id
    local at = fits(times[id], score) and times[id] or score and score * 1000000
    if at and at <= now then
      left[#left + 1] = id
      if hash[2] and hash[3] and hash[3] ~= '' then
        enter(id, 'aggregating', math.floor(at / 1000000), '', hash[3])
      elseif hash[2] then
        local line = lines[hash[4] and 'front' or 'pending']
        line[#line + 1] = id
        waiting[#waiting + 1] = {t, string.format('%d000', at)}
      end
      count = count + 1
    elseif not state then
      gone.scheduled[#gone.scheduled + 1], gone.retry[#gone.retry + 1] = id, id
    end
  end
  if #lines.pending > 0 then call('LPUSH', P .. 'pending', unpack(lines.pending)) end
  if #lines.front > 0 then call('RPUSH', P .. 'pending', unpack(lines.front)) end
  for _, each in ipairs(waiting) do call('HSET', each[1], 'state', 'pending', 'pending_since', each[2]) end
  call('ZREM', P .. 'x:due', unpack(noted))
  for state, left in pairs(gone) do
    if #left > 0 then call('ZREM', P .. state, unpack(left)) end
  end
  return count
end
)lua";

/// One task in 15 arguments: id, msg, x, y, c, where it goes, score, exact time, group, f, lock, till when
/// (exact), the lock's seconds, what to do if it is taken (k for keep, r for replace; o behind it: the lock
/// outlives the task), and whose task msg is written for, to replace it. And its answer: c for created, or e,
/// r, b before the id of the task that is there, was replaced, or runs; x before that of a task to write msg
/// for.
const std::string_view enqueueing = R"lua(
local function put_one(at, now, since)
  local id, lock, conflict = ARGV[at], ARGV[at + 10], ARGV[at + 13]
  local t = P .. 't:' .. id
  if call('EXISTS', t) == 1 then return 'e' .. id end
  local holder = lock ~= '' and lock_holder(lock, now)
  local verdict = 'c'
  if holder then
    local theirs = P .. 't:' .. holder
    local hash = call('HMGET', theirs, 'state', 'group', 'ran')
    local state = hash[1]
    if not state or state == 'completed' or state == 'archived' or string.sub(conflict, 1, 1) == 'k' then
      return 'e' .. holder
    end
    local started = state == 'active' or state == 'retry' or hash[3]
    if started or gathered(holder, state, hash[2]) then return 'b' .. holder end
    if ARGV[at + 14] ~= holder then return 'x' .. holder end
    leave(holder, state, hash[2])
    call('HDEL', theirs, 'x', 'y', 'f', 'k', 'v', 'group', 'unique_key', 'pending_since')
    id, t, verdict = holder, theirs, 'r' .. holder
  else
    set(t, 'c', ARGV[at + 4])
  end
  call('HSET', t, 'msg', ARGV[at + 1])
  set(t, 'x', ARGV[at + 2])
  set(t, 'y', ARGV[at + 3])
  set(t, 'f', ARGV[at + 9])
  if lock ~= '' then
    call('HSET', t, string.sub(conflict, 2) == 'o' and 'k' or 'unique_key', lock)
    take_lock(lock, id, ARGV[at + 11], ARGV[at + 12])
  end
  enter(id, ARGV[at + 5], ARGV[at + 6], ARGV[at + 7], ARGV[at + 8], since)
  return verdict
end
)lua";

/// Takes a set of gathered tasks, named by its whole key, back to its group. Go forgets to name the group
/// then, and would find its tasks no more.
const std::string_view regrouping = R"lua(
local function regroup(key)
  local before = P .. 'g:'
  local group = string.match(key, '^(.*):[^:]*$')
  if group and string.sub(group, 1, #before) == before and call('EXISTS', key) == 1 then
    call('ZUNIONSTORE', group, 2, group, key, 'AGGREGATE', 'MIN')
    call('SADD', P .. 'groups', string.sub(group, #before + 1))
    call('DEL', key)
  end
  call('ZREM', P .. 'aggregation_sets', key)
end
)lua";

const std::string_view fence = R"lua(
-- What a late report or beat finds: a when the lease still holds, else e for ended and l for lost.
local function standing(hash, since, nonce)
  local state, w = hash[1], hash[3]
  if not state or state == 'completed' or state == 'archived' then return 'e' end
  local held = w and string.find(w, nonce, 1, true) == 1 and string.byte(w, #nonce + 1) == 58  -- A colon.
  return held and state == 'active' and hash[2] == since and 'a' or 'l'
end
)lua";

/// What is not plain about a task of which msg, x, y, c, unique_key and k are given: nothing, or a list of x,
/// y, c and whether it has its lock.
const std::string_view leasing = R"lua(
local function more_of(id, hash)
  local lock = hash[5] or hash[6]
  if not (hash[2] or hash[3] or hash[4] or lock) then return '' end
  return {hash[2] or '', hash[3] or '', hash[4] or '', lock and call('GET', lock) == id and '1' or ''}
end
)lua";

/// The day's and the eternal counters that Asynq's tools show.
const std::string_view counting = R"lua(
local function count(day, expires, processed, failed)
  for name, by in pairs({processed = processed, failed = failed}) do
    if by > 0 then
      redis.pcall('INCRBY', P .. name, by)
      if redis.pcall('INCRBY', P .. name .. ':' .. day, by) == by then
        call('EXPIREAT', P .. name .. ':' .. day, expires)
      end
    end
  end
end
)lua";

}  // namespace tidemill::redis_store
