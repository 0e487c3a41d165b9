#include <string_view>

#include "stores/redis/script_parts.hpp"
#include "stores/redis/scripts.hpp"

namespace tidemill::redis_store {

namespace {

/// ARGV: 3 now, 4 the task's id, 5 to 7 state, msg and x as they were seen; 8 msg, 9 x, 10 f, 11 where in the
/// line it goes (front, pending; empty: it stays), 12 its lock, 13 that which takes the other's place, and 14
/// the field that names it. Answers c, m where the task has changed meanwhile, or k where the lock is taken.
constexpr std::string_view edit = R"lua(
if again then return again end
local id, old, new = ARGV[4], ARGV[12], ARGV[13]
local t = P .. 't:' .. id
local hash = call('HMGET', t, 'state', 'msg', 'x')
if hash[1] ~= ARGV[5] or hash[2] ~= ARGV[6] or (hash[3] or '') ~= ARGV[7] then return answer({'m'}) end
if old ~= new and call('GET', old) == id then
  if lock_holder(new, tonumber(ARGV[3])) then return answer({'k'}) end
  local till = call('ZSCORE', P .. 'x:keys', old)
  call('RENAME', old, new)
  call('ZREM', P .. 'x:keys', old, new)
  if till then call('ZADD', P .. 'x:keys', till, new) end
  call('HSET', t, ARGV[14], new)
end
call('HSET', t, 'msg', ARGV[8])
set(t, 'x', ARGV[9])
set(t, 'f', ARGV[10])
if ARGV[11] ~= '' then
  leave_list(P .. 'pending', {id})
  call(ARGV[11] == 'front' and 'RPUSH' or 'LPUSH', P .. 'pending', id)
end
return answer({'c'})
)lua";

// A move, whose two queues may be on two nodes:
//
//   depart  it is held in its queue, and v says where it goes, and from which state
//   arrive  it is held in the other queue too, and v says where it comes from, and to which state
//   drop    it is gone from its queue
//   land    it is in its state in the other queue, and v is gone
//
// From depart on it is held, so it can't run, until it lands, when it is in one queue alone. Who finds it
// held on its way departs with it anew, in the next turn. An earlier mover that still lives can't drop it any
// more, nor arrive over it: so what arrived is taken back by its own mover, and by nobody else, when the drop
// fails.

/// ARGV: 3 id; 4 to 6 state, y and v as they were seen; 7 v; 8 the score of what is held.
constexpr std::string_view depart = R"lua(
if again then return again end
local id = ARGV[3]
local t = P .. 't:' .. id
local hash = call('HMGET', t, 'state', 'y', 'v', 'group')
if hash[1] ~= ARGV[4] or (hash[2] or '') ~= ARGV[5] or (hash[3] or '') ~= ARGV[6] then return answer({'m'}) end
leave(id, hash[1], hash[4])
call('HDEL', t, 'pending_since')
call('HSET', t, 'v', ARGV[7])
enter(id, 'scheduled', ARGV[8], '')
return answer({'c'})
)lua";

/// ARGV: 3 now, 4 id, 5 v, 6 from which queue, 7 the score of what is held, 8 lock, 9 till when (exact), 10
/// the lock's seconds, 11 the mover's turn, and then all fields and their values. Answers c, e where there is
/// another task of that id, k where the lock is taken, or m where a later mover has been here.
constexpr std::string_view arrive = R"lua(
if again then return again end
local id, lock = ARGV[4], ARGV[8]
local t = P .. 't:' .. id
local from
if call('EXISTS', t) == 1 then
  local hash = call('HMGET', t, 'state', 'v')
  local turn
  if hash[1] == 'scheduled' and hash[2] then turn, from = string.match(hash[2], '^<%a+:%d+:(%d+):[^:]*:(.*)$') end
  if from ~= ARGV[6] then return answer({'e'}) end
  if tonumber(turn) >= tonumber(ARGV[11]) then return answer({'m'}) end
end
local holder = lock ~= '' and lock_holder(lock, tonumber(ARGV[3]))
if holder and not (from and holder == id) then return answer({'k'}) end
call('DEL', t)
for i = 12, #ARGV, 2 do call('HSET', t, ARGV[i], ARGV[i + 1]) end
call('HSET', t, 'v', ARGV[5])
if lock ~= '' then take_lock(lock, id, ARGV[9], ARGV[10]) end
enter(id, 'scheduled', ARGV[7], '')
return answer({'c'})
)lua";

/// ARGV: 3 id, 4 to 6 v, msg and x as they were seen, 7 lock. Answers c, m where the task has changed
/// meanwhile, or a where it is gone.
constexpr std::string_view drop = R"lua(
if again then return again end
local id = ARGV[3]
local t = P .. 't:' .. id
local hash = call('HMGET', t, 'state', 'v', 'msg', 'x')
if not hash[1] then return answer({'a'}) end
if hash[1] ~= 'scheduled' or hash[2] ~= ARGV[4] or hash[3] ~= ARGV[5] or (hash[4] or '') ~= ARGV[6] then
  return answer({'m'})
end
leave(id, hash[1])
release_lock(ARGV[7], id)
call('DEL', t)
return answer({'c'})
)lua";

/// ARGV: 3 id, 4 v as it was seen, 5 to 7 where it goes, score and exact time, 8 pending_since. Answers c, or
/// m where it has gone there already.
constexpr std::string_view land = R"lua(
if again then return again end
local id, where = ARGV[3], ARGV[5]
local t = P .. 't:' .. id
local hash = call('HMGET', t, 'state', 'v', 'f')
if hash[1] ~= 'scheduled' or hash[2] ~= ARGV[4] then return answer({'m'}) end
leave(id, hash[1])
call('HDEL', t, 'v')
if where == 'pending' and hash[3] then where = 'front' end
enter(id, where, ARGV[6], ARGV[7], nil, ARGV[8])
return answer({'c'})
)lua";

}  // namespace

const redis::Script& edit_script() {
  static const redis::Script script{prelude, places, edit};
  return script;
}

const redis::Script& depart_script() {
  static const redis::Script script{prelude, places, depart};
  return script;
}

const redis::Script& arrive_script() {
  static const redis::Script script{prelude, places, arrive};
  return script;
}

const redis::Script& drop_script() {
  static const redis::Script script{prelude, places, drop};
  return script;
}

const redis::Script& land_script() {
  static const redis::Script script{prelude, places, land};
  return script;
}

}  // namespace tidemill::redis_store
