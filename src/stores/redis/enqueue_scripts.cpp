// The scripts by which tasks come in.
#include <string_view>

#include "stores/redis/script_parts.hpp"
#include "stores/redis/scripts.hpp"

namespace tidemill::redis_store {

namespace {

/// ARGV[3]: pending_since; then id and msg of each task, plain ones for the end of the line. It begins by
/// itself, for it keeps its answer in the very look at the session's last one: most often all tasks are new.
/// Only another answer is written once more.
constexpr std::string_view enqueue_plain = R"lua(
local P = string.sub(KEYS[1], 1, -8)
local call = redis.call
local session, head = ARGV[1] ~= '' and P .. 'x:s:' .. ARGV[1], ARGV[2] .. ' '
local keys, answers = {}, {}
for i = 4, #ARGV, 2 do
  keys[#keys + 1] = P .. 't:' .. ARGV[i]
  answers[#keys] = 'c'
end
local kept = session and call('SET', session, head, 'EX', 120, 'GET')
if kept and string.sub(kept, 1, #head) == head then
  call('SET', session, kept, 'EX', 120)
  return #kept > #head and cmsgpack.unpack(string.sub(kept, #head + 1)) or answers
end
-- One look at all, as most often none is there.
local none, all, ids, here = call('EXISTS', unpack(keys)) == 0, true, {}, {}
for n, t in ipairs(keys) do
  local id = ARGV[2 * n + 2]
  if here[id] or not none and call('EXISTS', t) == 1 then
    answers[n], all = 'e' .. id, false
  else
    call('HSET', t, 'msg', ARGV[2 * n + 3], 'state', 'pending', 'pending_since', ARGV[3])
    here[id] = true
    ids[#ids + 1] = id
  end
end
if #ids > 0 then
  local pushed = redis.pcall('LPUSH', KEYS[1], unpack(ids))
  if type(pushed) == 'table' then
    if session then call('DEL', session) end
    return pushed
  end
end
if session and not all then call('SET', session, head .. cmsgpack.pack(answers), 'EX', 120) end
return answers
)lua";

/// A schedule's task. ARGV: 3 now, 4 pending_since, 5 the hash of schedules, 6 its id, 7 its text as it was
/// seen, 8 its text and 9 its next instant once it has fired, 10 whether it waits (1) when the task is there
/// already; then 15 arguments. Answers f when the schedule has changed.
constexpr std::string_view fire = R"lua(
if again then return again end
local schedules, id = ARGV[5], ARGV[6]
if call('HGET', schedules, id) ~= ARGV[7] then return answer({'f'}) end
local verdict = put_one(11, tonumber(ARGV[3]), ARGV[4])
local kind = string.sub(verdict, 1, 1)
if kind == 'c' or kind == 'r' or (kind ~= 'x' and ARGV[10] == '') then
  call('HSET', schedules, id, ARGV[8])
  call('HSET', schedules .. ':next', id, ARGV[9])
end
return answer({verdict})
)lua";

/// A schedule's task where the schedule is on another node. ARGV: 3 now, 4 pending_since, 5 the schedule's
/// id, 6 the firing's version (empty: only a repeated call is answered), 7 the instant, 8 whether it waits
/// (1) when the task is there already; then 15 arguments, or none to only note the version. Answers f when
/// this version has come already, or a later one, or another of this instant has fired; and whether the
/// schedule moves on (1). What is noted is kept for 30 days: long enough for whoever settles a firing that
/// was left.
constexpr std::string_view fire_once = R"lua(
if again then return again end
if ARGV[6] == '' then return answer({'f', ''}) end
local noted = P .. 'x:fired:' .. ARGV[5]
local version, instant, moves = string.match(call('GET', noted) or '', '^(%d+) (%-?%d+) (%d)$')
local here = instant == ARGV[7] and moves == '1'
if version and (tonumber(version) >= tonumber(ARGV[6]) or here) then return answer({'f', here and '1' or '0'}) end
local verdict = 'f'
moves = '0'
if ARGV[9] then
  verdict = put_one(9, tonumber(ARGV[3]), ARGV[4])
  local kind = string.sub(verdict, 1, 1)
  if kind == 'x' then return answer({verdict, '0'}) end
  if kind == 'c' or kind == 'r' or ARGV[8] == '' then moves = '1' end
end
call('SET', noted, ARGV[6] .. ' ' .. ARGV[7] .. ' ' .. moves, 'EX', 2592000)
return answer({verdict, moves})
)lua";

/// ARGV[3]: now; ARGV[4]: pending_since; then 15 arguments a task.
constexpr std::string_view enqueue = R"lua(
if again then return again end
local answers = {}
for i = 5, #ARGV, 15 do answers[#answers + 1] = put_one(i, tonumber(ARGV[3]), ARGV[4]) end
return answer(answers)
)lua";

}  // namespace

const redis::Script& enqueue_plain_script() {
  static const redis::Script script{enqueue_plain};
  return script;
}

const redis::Script& enqueue_script() {
  static const redis::Script script{prelude, places, enqueueing, enqueue};
  return script;
}

const redis::Script& fire_script() {
  static const redis::Script script{prelude, places, enqueueing, fire};
  return script;
}

const redis::Script& fire_once_script() {
  static const redis::Script script{prelude, places, enqueueing, fire_once};
  return script;
}

}  // namespace tidemill::redis_store
