#!/usr/bin/env bash
# Measures Tidemill and its peers in turn, on this machine, in one run, and prints the table of bench/README.md.
#
#   bench/run.sh [--tasks N] [--backlog N] [--rounds N] [--peers NAME,… | --peers none] [--dir DIR]
#                [--stores sqlite,redis,postgres,mysql]
#
# Each program prints a line of JSON a workload; the table shows medians over the rounds, and first what the disk
# itself can do, for that differs most between machines. The peers (beanstalkd, river, huey, asynq, bullmq, graphile)
# are optional: one that can't be installed is left out, and a line says why. `./dev bench` builds first and then runs
# this.
set -euo pipefail
cd "$(dirname "$0")"

tasks=100000 backlog=2000000 rounds=3 peers=beanstalkd,river,huey,asynq,bullmq,graphile dir=$(mktemp -d)
stores=sqlite,redis,postgres,mysql
trap 'rm -rf "$dir"' EXIT
while [ $# -gt 0 ]; do
  case $1 in
    --tasks) tasks=$2 ;;
    --backlog) backlog=$2 ;;
    --rounds) rounds=$2 ;;
    --peers) peers=$2 ;;
    --dir) dir=$2; trap - EXIT; mkdir -p "$dir" ;;
    --stores) stores=$2 ;;
    *) echo "bench/run.sh: there is no option $1; see the head of the file" >&2; exit 2 ;;
  esac
  shift 2
done
tidemill=${TIDEMILL_BINARY:-../build/release/src/cli/tidemill}
[ -x "$tidemill" ] || { echo "bench/run.sh: $tidemill is missing; run ./dev bench" >&2; exit 1; }
# shellcheck source=servers.sh
. ./servers.sh
results=$dir/results.jsonl
: > "$results"

say() { echo "bench: $*" >&2; }
wanted() { [[ ",$peers," == *",$1,"* ]]; }
on() { [[ ",$stores," == *",$1,"* ]]; }
# leave_out PEER WHY
leave_out() { say "$2: $1 is left out"; peers=${peers/$1/}; }
skip_store() { say "$2: $1 is left out"; stores=${stores/$1/}; }

ours_on_a_new_file() { # ours_on_a_new_file OPTION...
  rm -f "$dir"/ours.db*
  "$tidemill" bench --store "sqlite:$dir/ours.db" --tasks "$tasks" --json "$@" >> "$results"
}

ours() {
  ours_on_a_new_file
  ours_on_a_new_file --workload drain --backlog "$backlog"
}

server_round() { ./rest.py "$dir" --tidemill "$tidemill" >> "$results" || say "the server's workloads failed"; }

go_ready() {
  [ ! -x "$dir/$1" ] || return 0
  command -v go > /dev/null || { leave_out "$1" "no Go here"; return; }
  (cd peers/go && go build -o "$dir/" ./beanstalkd ./river ./asynq) || leave_out "$1" "the Go peers don't build"
}

# node_ready NAME
node_ready() {
  command -v npm > /dev/null || { leave_out "$1" "no npm here"; return; }
  cp -r "peers/$1" "$dir/"
  # Not `npm ci`: it wants other platforms' optional packages in the lock file, too.
  (cd "$dir/$1" && npm install --silent --no-audit --no-fund --ignore-scripts > /dev/null 2>&1) ||
    leave_out "$1" "it can't be installed"
}

beanstalkd_round() {
  start_free beanstalkd -l 127.0.0.1 -p
  "$dir/beanstalkd" "$tasks" "127.0.0.1:$port" >> "$results" || say "beanstalkd failed"
  stop_server
}

redis_memory() { redis-cli -p "$port" INFO memory | sed -n 's/^used_memory:\([0-9]*\).*/\1/p'; }

# How much of Redis a pending task takes, with a payload as long as Asynq's.
our_memory() {
  local before after pad
  pad=$(printf "%54s" "" | tr ' ' x)
  before=$(redis_memory)
  yes '{"kind":"noop","payload":{"id":"00000000","t":"0000000000000000000","pad":"'"$pad"'"}}' | head -n "$tasks" |
    "$tidemill" enqueue --store "redis://127.0.0.1:$port/0" --from-json-lines - > /dev/null
  after=$(redis_memory)
  printf '{"workload":"a pending task, Tidemill (Redis)","value":%d,"unit":"bytes"}\n' $(((after - before) / tasks))
}

# What our scripts take with a million tasks pending: all of them together, and those over a millisecond.
our_scripts() {
  local setting
  for setting in "slowlog-log-slower-than 1000" "slowlog-max-len 100000"; do
    # shellcheck disable=SC2086 # A name and its value.
    redis-cli -p "$port" CONFIG SET $setting > /dev/null
  done
  redis-cli -p "$port" CONFIG RESETSTAT > /dev/null
  "$tidemill" bench --store "redis://127.0.0.1:$port/0" --tasks "$tasks" --backlog 1000000 \
    --workload enqueue-threads,enqueue-bulk,drain,due --json > /dev/null
  {
    redis-cli -p "$port" INFO commandstats | sed -n 's/^cmdstat_evalsha:calls=\([0-9]*\),usec=\([0-9]*\),.*/[\1, \2]/p'
    redis-cli -p "$port" --json SLOWLOG GET -1
  } | python3 -c '
import json, sys
(calls, took), slow = json.loads(sys.stdin.readline()), json.load(sys.stdin)
slow = [entry[2] for entry in slow if entry[3][0].upper() == "EVALSHA"]
for name, value, unit in (("the mean", took / calls / 1000, "ms"), ("over 1 ms", 100 * len(slow) / calls, "%"),
                          ("the slowest", max(slow, default=1000) / 1000, "ms")):
    print(json.dumps({"workload": "scripts with a million tasks pending, " + name, "value": value, "unit": unit}))'
}

# redis_limit NAME TASKS CALLS OPTION...: tasks a second of a script for so many of them, by redis-benchmark.
redis_limit() {
  local name=$1 count=$2 calls=$3 rate
  shift 3
  rate=$(redis-benchmark --csv -p "$port" -n "$calls" -r 1000000000 "$@" 2> /dev/null | tail -1 | cut -d '"' -f 4)
  printf '{"workload":"Redis itself: %s","value":%.0f,"unit":"tasks/s"}\n' "$name" \
    "$(python3 -c "print($rate * $count)")"
}

# The least that a queue could do: a hash and a list entry a task; then a lease, and the message read.
redis_limits() {
  local one="if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
    redis.call('HSET', KEYS[1], 'msg', ARGV[1], 'state', 'pending') redis.call('LPUSH', KEYS[2], ARGV[2])
    redis.call('INCR', KEYS[3]) redis.call('SADD', KEYS[4], 'default') return 1"
  local hundred="for i = 2, #ARGV do
      redis.call('HSET', 't:' .. ARGV[1] .. i, 'msg', ARGV[i], 'state', 'pending')
      redis.call('LPUSH', KEYS[1], ARGV[1] .. i) end return #ARGV - 1"
  local claim="local r = {} for i = 1, ARGV[1] do local id = redis.call('RPOP', KEYS[1])
      if not id then break end redis.call('ZADD', KEYS[2], 1, id) r[i] = redis.call('HGET', 't:' .. id, 'msg') end
    return r"
  local payload messages=()
  payload=$(printf "%100s" "" | tr ' ' x)
  for _ in {1..100}; do messages+=("$payload"); done
  load() { redis-cli -p "$port" SCRIPT LOAD "$1"; }
  redis_limit "a task a script of 5 commands, 50 connections" 1 200000 -c 50 \
    EVALSHA "$(load "$one")" 4 t:__rand_int__ q n qs "$payload" __rand_int__
  redis-cli -p "$port" FLUSHALL > /dev/null
  redis_limit "enqueue 100 a script" 100 3000 -c 4 EVALSHA "$(load "$hundred")" 1 q __rand_int__ "${messages[@]}"
  redis_limit "claim 100 a script" 100 2900 -c 4 EVALSHA "$(load "$claim")" 2 q lease 100
  redis-cli -p "$port" FLUSHALL > /dev/null
}

# redis_round [everysec]: in memory only, so that the disk is not what is measured; or with that file.
redis_round() {
  local file=(--appendonly no) label="s/ (Redis)/&/"
  if [ "${1:-}" ]; then
    file=(--appendonly yes --appendfsync "$1")
    label="s/ (Redis)/ (Redis, $1)/; s|\"redis://[^\"]*|&?$1|"
  fi
  rm -rf "$dir/redis" && mkdir "$dir/redis"
  start_free redis-server --bind 127.0.0.1 --save "" --dir "$dir/redis" "${file[@]}" --port
  {
    if [ ! "${1:-}" ]; then redis_limits || say "Redis's limits failed"; fi
    "$tidemill" bench --store "redis://127.0.0.1:$port/0" --tasks "$tasks" --json || say "Redis failed"
    redis-cli -p "$port" FLUSHALL > /dev/null
    if [ ! "${1:-}" ]; then
      our_memory || say "Redis failed"
      redis-cli -p "$port" FLUSHALL > /dev/null
      our_scripts || say "Redis failed"
      redis-cli -p "$port" FLUSHALL > /dev/null
    fi
    if wanted asynq; then "$dir/asynq" "$tasks" "127.0.0.1:$port" || say "Asynq failed"; fi
    redis-cli -p "$port" FLUSHALL > /dev/null
    if wanted bullmq; then node "$dir/bullmq/bullmq.mjs" "$tasks" "$port" || say "BullMQ failed"; fi
  } | sed "$label" >> "$results"
  stop_server
}

river_round() {
  rm -f "$dir"/river.db*
  "$dir/river" $((tasks / 10)) sqlite "$dir/river.db" FULL >> "$results" || say "River failed"
}

huey_round() {
  rm -f "$dir"/huey.db*
  "$dir/venv/bin/python" peers/huey/huey_bench.py $((tasks / 10)) "$dir/huey.db" >> "$results" || say "Huey failed"
}

# pg_limit NAME ROWS CLIENTS TRANSACTIONS SQL: rows a second of a statement of so many rows, in transactions of its own.
pg_limit() {
  on_postgres psql -q limits <<< "
    DROP TABLE IF EXISTS job;
    CREATE TABLE job(id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state int DEFAULT 0, payload text);
    CREATE INDEX ON job(id) WHERE state = 0;
    INSERT INTO job(payload) SELECT repeat('x', 100) FROM generate_series(1, 300000);
    VACUUM ANALYZE job; CHECKPOINT" > /dev/null 2>&1
  local rate
  rate=$(on_postgres pgbench -nM prepared -c "$3" -j 2 -t "$4" -f /dev/stdin limits \
    <<< "$5" | sed -n 's/^tps = \([0-9.]*\).*/\1/p')
  printf '{"workload":"PostgreSQL itself: %s","value":%.0f,"unit":"rows/s"}\n' "$1" "$(python3 -c "print($rate * $2)")"
}

pg_limits() {
  local insert="INSERT INTO job(payload) SELECT repeat('x', 100) FROM generate_series(1, %d)"
  local some="(SELECT id FROM job WHERE state = 0 ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED)"
  # shellcheck disable=SC2059 # The statement is the format.
  {
    pg_limit "INSERT and commit of a row, one client" 1 1 10000 "$(printf "$insert" 1)"
    pg_limit "INSERT and commit of a row, 32 clients" 1 32 1000 "$(printf "$insert" 1)"
    pg_limit "INSERT of 1,000 rows" 1000 1 200 "$(printf "$insert" 1000)"
  }
  pg_limit "UPDATE of 1,000 rows, SKIP LOCKED" 1000 1 250 "UPDATE job SET state = 1 WHERE id IN $some"
  pg_limit "DELETE of 1,000 rows, SKIP LOCKED" 1000 1 250 "DELETE FROM job WHERE id IN $some"
}

# Each system has a database of its own on one server, whose settings are PostgreSQL's own.
postgres_round() {
  start_postgres
  local url=postgres://postgres@127.0.0.1:$port
  for name in limits tidemill river graphile; do on_postgres createdb $name; done
  {
    pg_limits || say "PostgreSQL's limits failed"
    "$tidemill" bench --store "$url/tidemill" --tasks "$tasks" --threads 32 --json || say "PostgreSQL failed"
    "$tidemill" bench --store "$url/tidemill" --tasks "$tasks" --workload drain --backlog "$backlog" --json ||
      say "PostgreSQL failed"
    if wanted river; then "$dir/river" "$tasks" postgres "$url/river?pool_max_conns=40" || say "River failed"; fi
    if wanted graphile; then
      node "$dir/graphile/graphile.mjs" "$tasks" "$url/graphile" || say "graphile-worker failed"
    fi
  } >> "$results"
  stop_server
}

mysql_round() {
  start_mariadb
  mariadb -h 127.0.0.1 -P "$port" -u root -e "CREATE DATABASE tidemill"
  "$tidemill" bench --store "mysql://root@127.0.0.1:$port/tidemill" --tasks "$tasks" --json >> "$results" ||
    say "MariaDB failed"
  stop_server
}

server=yes
if ! on redis; then for peer in asynq bullmq; do peers=${peers/$peer/}; done; fi
if ! on sqlite; then for peer in beanstalkd huey; do peers=${peers/$peer/}; done; fi
if ! on postgres; then peers=${peers/graphile/}; fi
if ! on sqlite && ! on postgres; then peers=${peers/river/}; fi
has() { command -v "$1" > /dev/null; }
has wrk || { say "wrk is not installed (apt-get install wrk): the server is left out"; server=; }
if on redis && ! has redis-server; then skip_store redis "no redis-server (apt-get install redis-server)"; fi
if on postgres && [ ! -x "$pg/pgbench" ]; then skip_store postgres "no PostgreSQL (apt-get install postgresql)"; fi
if on mysql && ! has mariadbd; then skip_store mysql "no mariadbd (apt-get install mariadb-server-core)"; fi
if wanted asynq; then go_ready asynq; fi
if wanted bullmq; then node_ready bullmq; fi
if wanted graphile; then node_ready graphile; fi
if wanted beanstalkd; then
  if has beanstalkd; then go_ready beanstalkd; else leave_out beanstalkd "apt-get install beanstalkd"; fi
fi
if wanted river; then go_ready river; fi
if wanted huey && ! { python3 -m venv "$dir/venv" && "$dir/venv/bin/pip" install --quiet huey==3.5.4; } >&2; then
  leave_out huey "it can't be installed"
fi

for ((round = 1; round <= rounds; round++)); do
  say "round $round of $rounds"
  if on redis; then redis_round; redis_round everysec; fi
  if on postgres; then postgres_round; fi
  if on mysql; then mysql_round; fi
  if ! on sqlite; then continue; fi
  ./disk.py "$dir" >> "$results"
  ours
  if [ "$server" ]; then server_round; fi
  if wanted beanstalkd; then beanstalkd_round; fi
  if wanted river; then river_round; fi
  if wanted huey; then huey_round; fi
done
python3 table.py "$results"
