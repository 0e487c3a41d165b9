#include "stores/redis/scripts.hpp"

#include <string_view>

#include "stores/redis/script_parts.hpp"

namespace tidemill::redis_store {

namespace {

/// ARGV: 3 now, 4 the lease's end in seconds, 5 tasks and 6 bytes of payload at most (0: any), 7 the tokens'
/// digits but for the last three, 8 the holder, 9 how many due tasks to make pending at most. Answers when
/// the next is due, the tokens' digits and nonce, and three values a lease: id and msg, both empty where it
/// is gone by the time of a repeated call, and more of it. The last three digits of the n-th lease's token
/// are 100 + n.
constexpr std::string_view claim = R"lua(
local now, digits, nonce = tonumber(ARGV[3]), ARGV[7], string.match(ARGV[8], '^[^:]*')
local function next_due()
  local least
  for set, unit in pairs({['x:due'] = 1, scheduled = 1000000, retry = 1000000}) do
    local first = call('ZRANGE', P .. set, 0, 0, 'WITHSCORES')
    local at = first[2] and tonumber(first[2]) * unit
    if at and at < 32503680000000000 and (not least or at < least) then least = at end
  end
  return least and string.format('%d', least) or ''
end
if again then
  local answers = {again[1], again[2], again[3]}
  for i = 4, #again do
    local id, since = again[i], again[2] .. (97 + i)
    local hash = call('HMGET', P .. 't:' .. id, 'msg', 'x', 'y', 'c', 'unique_key', 'k', 'state', 'pending_since', 'w')
    local values = {'', '', ''}
    if hash[1] and standing({hash[7], hash[8], hash[9]}, since, again[3]) == 'a' then
      values = {id, hash[1], more_of(id, hash)}
    end
    for _, value in ipairs(values) do answers[#answers + 1] = value end
  end
  return answers
end
-- How many bytes of payload a message has: its second field.
local function payload_size(msg)
  local at = 1
  local function varint()
    local value, unit = 0, 1
    while true do
      local byte = string.byte(msg, at)
      if not byte then return 0 end
      at = at + 1
      value = value + (byte % 128) * unit
      if byte < 128 then return value end
      unit = unit * 128
    end
  end
  if string.byte(msg, at) == 10 then
    at = at + 1
    local size = varint()
    at = at + size
  end
  if string.byte(msg, at) ~= 18 then return 0 end
  at = at + 1
  return varint()
end
if call('EXISTS', P .. 'paused') == 1 then return {''} end
promote(now, tonumber(ARGV[9]))
local most, bytes_max = tonumber(ARGV[5]), tonumber(ARGV[6])
-- Of the first so many tasks these are the payloads' bytes; of the others, those of the messages, which are never
-- fewer and cost nothing to count.
local counted, bytes, rough = 0, 0, 0
local ids = most > 0 and call('RPOP', P .. 'pending', most) or {}
local answers, taken, leases = {'', digits, nonce}, {}, {}
for i, id in ipairs(ids) do
  local t = P .. 't:' .. id
  local hash = call('HMGET', t, 'msg', 'x', 'y', 'c', 'unique_key', 'k', 'w', 's')
  local msg, n = hash[1], #taken
  if not msg then
    call('DEL', t)  -- An id without its task.
  else
    if bytes_max > 0 then
      rough = rough + #msg
      if bytes + rough > bytes_max then
        for j = counted + 1, n do bytes = bytes + payload_size(answers[3 * j + 2]) end
        counted, bytes, rough = n + 1, bytes + payload_size(msg), 0
        if counted > 1 and bytes > bytes_max then
          for j = #ids, i, -1 do call('RPUSH', P .. 'pending', ids[j]) end
          break
        end
      end
    end
    -- Left from an attempt that Go took over, or ended.
    if hash[7] or hash[8] then call('HDEL', t, 'm', 's', 'l') end
    n = n + 1
    call('HSET', t, 'state', 'active', 'pending_since', digits .. (100 + n), 'w', ARGV[8])
    taken[n] = id
    leases[2 * n - 1], leases[2 * n] = ARGV[4], id
    answers[3 * n + 1], answers[3 * n + 2], answers[3 * n + 3] = id, msg, more_of(id, hash)
  end
end
answers[1] = next_due()
if #taken > 0 then
  call('LPUSH', P .. 'active', unpack(taken))
  call('ZADD', P .. 'lease', unpack(leases))
  answer({answers[1], digits, nonce, unpack(taken)})
end
return answers
)lua";

/// Successes that leave nothing. ARGV[3]: the day; ARGV[4]: when its counters go; then of each the id, and
/// pending_since:nonce:lock, or only the last three digits of pending_since, where it has no lock and all
/// else is as before. Answers a letter for each.
constexpr std::string_view done = R"lua(
if again then return again end
local verdicts, ids, keys, seen = {}, {}, {}, {}
local digits, nonce
for i = 5, #ARGV, 2 do
  local id, last, lock = ARGV[i], ARGV[i + 1], ''
  if #last > 3 then digits, last, nonce, lock = string.match(last, '^(%d*)(%d%d%d):([^:]*):(.*)$') end
  local t = P .. 't:' .. id
  local verdict = seen[id] and 'e' or standing(call('HMGET', t, 'state', 'pending_since', 'w'), digits .. last, nonce)
  if verdict == 'a' then
    seen[id] = true
    ids[#ids + 1], keys[#keys + 1] = id, t
    release_lock(lock, id)
  end
  verdicts[#verdicts + 1] = verdict
end
if #ids > 0 then
  leave_active(ids)
  call('DEL', unpack(keys))
  count(ARGV[3], ARGV[4], #ids, 0)
end
return answer(table.concat(verdicts))
)lua";

/// Any end. ARGV: 3 the day, 4 when its counters go, 5 now, 6 pending_since of what is pending again; then 14
/// arguments a report: id, pending_since, nonce, tally, where to, score, exact time, msg, y, result, lock,
/// attempt to keep, whether it has run, how many tasks follow; and 15 for each of these. Answers a letter for
/// each.
constexpr std::string_view report = R"lua(
if again then return again end
local verdicts, left, processed, failed = {}, {}, 0, 0
local i = 7
while i <= #ARGV do
  local id, where, follow = ARGV[i], ARGV[i + 4], tonumber(ARGV[i + 13])
  local t = P .. 't:' .. id
  local hash = call('HMGET', t, 'state', 'pending_since', 'w', 'l', 'f')
  local verdict = standing(hash, ARGV[i + 1], ARGV[i + 2])
  if verdict == 'a' then
    left[#left + 1] = id
    release_lock(ARGV[i + 10], id)
    if where == 'gone' then
      call('DEL', t)
    else
      if ARGV[i + 11] ~= '' then
        local n = call('HINCRBY', t, 'an', 1)
        call('HSET', t, 'a:' .. n, ARGV[i + 11])
        if hash[4] then call('HSET', t, 'al:' .. n, hash[4]) end
        if n > 100 then call('HDEL', t, 'a:' .. (n - 100), 'al:' .. (n - 100)) end
      end
      call('HDEL', t, 'pending_since', 'w', 'm', 's', 'l', 'v')
      call('HSET', t, 'msg', ARGV[i + 7])
      set(t, 'y', ARGV[i + 8])
      set(t, 'result', ARGV[i + 9])
      set(t, 'ran', ARGV[i + 12])
      if where == 'pending' and hash[5] then where = 'front' end
      enter(id, where, ARGV[i + 5], ARGV[i + 6], nil, ARGV[6])
    end
    if ARGV[i + 3] ~= 'n' then processed = processed + 1 end
    if ARGV[i + 3] == 'f' then failed = failed + 1 end
    for k = 0, follow - 1 do put_one(i + 14 + 15 * k, tonumber(ARGV[5]), ARGV[6]) end
  end
  verdicts[#verdicts + 1] = verdict
  i = i + 14 + 15 * follow
end
leave_active(left)
count(ARGV[3], ARGV[4], processed, failed)
return answer(table.concat(verdicts))
)lua";

/// ARGV[3]: the lease's new end in seconds; then id, pending_since, nonce, started (1), whether there is
/// progress (1), the progress, and lines of log. Answers a signal's number, or l for lost.
constexpr std::string_view beat = R"lua(
if again then return again end
local answers = {}
for i = 4, #ARGV, 7 do
  local t = P .. 't:' .. ARGV[i]
  local hash = call('HMGET', t, 'state', 'pending_since', 'w', 's')
  if standing(hash, ARGV[i + 1], ARGV[i + 2]) == 'a' then
    call('ZADD', P .. 'lease', ARGV[3], ARGV[i])
    if ARGV[i + 3] ~= '' then call('HSET', t, 'm', '1') end
    if ARGV[i + 4] ~= '' then call('HSET', t, 'p', ARGV[i + 5]) end
    if ARGV[i + 6] ~= '' then call('HSET', t, 'l', (call('HGET', t, 'l') or '') .. ARGV[i + 6]) end
    answers[#answers + 1] = hash[4] or '0'
  else
    answers[#answers + 1] = 'l'
  end
end
return answer(answers)
)lua";

/// ARGV: 3 now, 4 the new leases' end in seconds, 5 the token's digits but for the last three, 6 the holder,
/// 7 how many leases, 8 due and 9 ended tasks at most, 10 how many archived tasks stay (0: all). Answers how
/// many it has promoted and purged, and six values a lease that it took: id, msg, more of it, the token, who
/// held it, and whether it was marked as started.
constexpr std::string_view sweep = R"lua(
if again then return again end
local now = tonumber(ARGV[3])
local seconds, nonce = math.floor(now / 1000000), string.match(ARGV[6], '^[^:]*')
local answers = {0, 0}
local lapsed = call('ZRANGEBYSCORE', P .. 'lease', '-inf', seconds, 'WITHSCORES', 'LIMIT', 0, ARGV[7])
for i = 1, #lapsed, 2 do
  local id = lapsed[i]
  local t = P .. 't:' .. id
  local hash = call('HMGET', t, 'msg', 'x', 'y', 'c', 'unique_key', 'k', 'state', 'pending_since', 'w', 'm')
  local ours = hash[8] and hash[9]
  if not hash[1] or hash[7] ~= 'active' then
    leave(id, 'active')
    if not hash[1] then call('DEL', t) end
  elseif ours or tonumber(lapsed[i + 1]) <= seconds - 30 then
    local since = ARGV[5] .. string.format('%03d', i)
    call('HSET', t, 'pending_since', since, 'w', ARGV[6])
    call('ZADD', P .. 'lease', ARGV[4], id)
    for _, value in ipairs({id, hash[1], more_of(id, hash), since .. ':' .. nonce, ours and hash[9] or '',
                            ours and hash[10] or ''}) do
      answers[#answers + 1] = value
    end
  end
end
local sets = call('ZRANGEBYSCORE', P .. 'aggregation_sets', '-inf', seconds, 'LIMIT', 0, 10)
for _, key in ipairs(sets) do regroup(key) end
answers[1] = promote(now, tonumber(ARGV[8]))
local purges = tonumber(ARGV[9])
local function purge(id, state)
  local t = P .. 't:' .. id
  local lock = call('HGET', t, 'unique_key')
  if lock then release_lock(lock, id) end
  leave(id, state)
  call('DEL', t)
  answers[2] = answers[2] + 1
end
for _, kept in ipairs({'completed', 'archived'}) do
  local ended = call('ZRANGEBYSCORE', P .. 'x:' .. kept, '-inf', now, 'WITHSCORES', 'LIMIT', 0, purges - answers[2])
  for i = 1, #ended, 2 do
    local score = call('ZSCORE', P .. kept, ended[i])
    if score and (kept == 'archived' or fits(tonumber(ended[i + 1]), tonumber(score))) then
      purge(ended[i], kept)
    else
      call('ZREM', P .. 'x:' .. kept, ended[i])
    end
  end
end
for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'completed', '-inf', seconds, 'LIMIT', 0, purges - answers[2])) do
  purge(id, 'completed')
end
local most = tonumber(ARGV[10])
local over = most > 0 and math.min(call('ZCARD', P .. 'archived') - most, purges - answers[2]) or 0
if over > 0 then
  for _, id in ipairs(call('ZRANGE', P .. 'archived', 0, over - 1)) do purge(id, 'archived') end
end
for _, lock in ipairs(call('ZRANGEBYSCORE', P .. 'x:keys', '-inf', now, 'LIMIT', 0, 100)) do
  call('DEL', lock)
  call('ZREM', P .. 'x:keys', lock)
end
for _, name in ipairs(call('ZRANGEBYSCORE', P .. 'x:stats', '-inf', now, 'LIMIT', 0, 10)) do
  call('DEL', P .. name)
  call('ZREM', P .. 'x:stats', name)
end
return answer(answers)
)lua";

/// ARGV[3]: pending_since of what is pending again; then 11 arguments a task: id, and state, msg and y as
/// they were seen; where to (gone: nowhere; signal: it runs), score, exact time, msg, y, lock, signal's
/// number. Answers c for changed, s for signalled, w where a worker has gathered the task, and m where it has
/// moved meanwhile.
constexpr std::string_view change = R"lua(
if again then return again end
local answers, pending, entered, seen = {}, {}, {}, {}
for i = 4, #ARGV, 11 do
  local id, where = ARGV[i], ARGV[i + 4]
  local t = P .. 't:' .. id
  local hash = call('HMGET', t, 'state', 'msg', 'y', 'group', 'f')
  if seen[id] or hash[1] ~= ARGV[i + 1] or hash[2] ~= ARGV[i + 2] or (hash[3] or '') ~= ARGV[i + 3] then
    answers[#answers + 1] = 'm'
  elseif gathered(id, hash[1], hash[4]) then
    answers[#answers + 1] = 'w'
  elseif where == 'signal' then
    call('HSET', t, 's', ARGV[i + 10])
    answers[#answers + 1] = 's'
  else
    seen[id] = true
    if hash[1] == 'pending' then pending[#pending + 1] = id else leave(id, hash[1], hash[4]) end
    release_lock(ARGV[i + 9], id)
    if where == 'gone' then
      call('DEL', t)
    else
      call('HSET', t, 'msg', ARGV[i + 7])
      set(t, 'y', ARGV[i + 8])
      if where == 'pending' and hash[5] then where = 'front' end
      -- Without its group, so that no retry takes it back there.
      call('HDEL', t, 'pending_since', 'group', 'v')
      entered[#entered + 1] = {id, where, ARGV[i + 5], ARGV[i + 6]}
    end
    answers[#answers + 1] = 'c'
  end
end
-- Out of the line first, all at once: one may go to its end.
leave_list(P .. 'pending', pending)
for _, each in ipairs(entered) do enter(each[1], each[2], each[3], each[4], nil, ARGV[3]) end
return answer(answers)
)lua";

/// Tasks in the order of their state, from where one stands, or stood. ARGV: 3 pending, or a sorted set; 4
/// the score from which on and 5 the id (may be empty); 6 the greatest score; 7 how many. Answers id and
/// score of each.
constexpr std::string_view page = R"lua(
local key, score, id, most, count = P .. ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local place, answers = 0, {}
if ARGV[3] == 'pending' then
  -- The oldest stand at the end. Who is gone was claimed, with all behind it, or erased.
  local at = id ~= '' and call('LPOS', key, id, 'RANK', -1)
  if at then place = call('LLEN', key) - 1 - at end
  local found = call('LRANGE', key, -place - count, -place - 1)
  for i = #found, 1, -1 do
    answers[#answers + 1] = found[i]
    answers[#answers + 1] = ''
  end
  return answers
end
-- By bytes, as Redis orders members: Lua's own order is that of the locale.
local function before(a, b)
  for i = 1, #b do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return not x or x < y end
  end
  return false
end
place = call('ZCOUNT', key, '-inf', '(' .. score)
local beyond = place + call('ZCOUNT', key, score, score)
while id ~= '' and place < beyond do
  local middle = math.floor((place + beyond) / 2)
  if before(call('ZRANGE', key, middle, middle)[1], id) then place = middle + 1 else beyond = middle end
end
local found = call('ZRANGE', key, place, place + count - 1, 'WITHSCORES')
for i = 1, #found, 2 do
  if tonumber(found[i + 1]) > most then break end
  answers[#answers + 1] = found[i]
  answers[#answers + 1] = found[i + 1]
end
return answers
)lua";

/// ARGV[3]: the time in seconds; then ids of active tasks.
constexpr std::string_view bury = R"lua(
for i = 4, #ARGV do
  local id = ARGV[i]
  leave(id, 'active')
  call('HDEL', P .. 't:' .. id, 'pending_since', 'w', 'm', 's', 'l')
  enter(id, 'archived', ARGV[3], '')
end
return #ARGV - 3
)lua";

}  // namespace

const redis::Script& claim_script() {
  static const redis::Script script{prelude, places, promoting, fence, leasing, claim};
  return script;
}

const redis::Script& done_script() {
  static const redis::Script script{prelude, places, fence, counting, done};
  return script;
}

const redis::Script& report_script() {
  static const redis::Script script{prelude, places, enqueueing, fence, counting, report};
  return script;
}

const redis::Script& beat_script() {
  static const redis::Script script{prelude, fence, beat};
  return script;
}

const redis::Script& sweep_script() {
  static const redis::Script script{prelude, places, promoting, regrouping, leasing, sweep};
  return script;
}

const redis::Script& page_script() {
  static const redis::Script script{prelude, page};
  return script;
}

const redis::Script& bury_script() {
  static const redis::Script script{prelude, places, bury};
  return script;
}

const redis::Script& change_script() {
  static const redis::Script script{prelude, places, change};
  return script;
}

}  // namespace tidemill::redis_store
