#!/usr/bin/env bash
# Measures Tidemill and its peers in turn, on this machine, in one run, and prints the table of bench/README.md.
#
#   bench/run.sh [--tasks N] [--backlog N] [--rounds N] [--peers NAME,… | --peers none] [--dir DIR] [--only-redis]
#
# Each program prints a line of JSON a workload; the table shows medians over the rounds, and first what the disk
# itself can do, for that differs most between machines. The peers (beanstalkd, river, huey, asynq, bullmq) are
# optional: one that can't be installed is left out, and a line says why. `./dev bench` builds first and then runs this.
set -euo pipefail
cd "$(dirname "$0")"

tasks=100000 backlog=2000000 rounds=3 peers=beanstalkd,river,huey,asynq,bullmq dir=$(mktemp -d) only_redis=
trap 'rm -rf "$dir"' EXIT
while [ $# -gt 0 ]; do
  case $1 in
    --tasks) tasks=$2 ;;
    --backlog) backlog=$2 ;;
    --rounds) rounds=$2 ;;
    --peers) peers=$2 ;;
    --dir) dir=$2; trap - EXIT; mkdir -p "$dir" ;;
    --only-redis) only_redis=yes; shift; continue ;;
    *) echo "bench/run.sh: there is no option $1; see the head of the file" >&2; exit 2 ;;
  esac
  shift 2
done
tidemill=${TIDEMILL_BINARY:-../build/release/src/cli/tidemill}
[ -x "$tidemill" ] || { echo "bench/run.sh: $tidemill is missing; run ./dev bench" >&2; exit 1; }
results=$dir/results.jsonl
: > "$results"

say() { echo "bench: $*" >&2; }
wanted() { [[ ",$peers," == *",$1,"* ]]; }

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
  command -v go > /dev/null || { say "no Go here: $1 is left out"; return 1; }
  (cd peers/go && go build -o "$dir/" ./beanstalkd ./river ./asynq) && return
  say "the Go peers don't build: $1 is left out"
  return 1
}

# start_free COMMAND PORT_OPTION...: starts a server on a port from 51300 on that is free, also of what is left of a
# connection that has ended. Sets server and port.
start_free() {
  port=51300
  while true; do
    "$@" "$port" > /dev/null 2>&1 & server=$!
    until (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null || ! kill -0 "$server" 2> /dev/null; do sleep 0.05; done
    if kill -0 "$server" 2> /dev/null; then return; fi
    port=$((port + 1))
  done
}

bullmq_ready() {
  command -v npm > /dev/null || { say "no npm here: BullMQ is left out"; return 1; }
  cp -r peers/bullmq "$dir/"
  # Not `npm ci`: it wants other platforms' optional packages in the lock file, too.
  (cd "$dir/bullmq" && npm install --silent --no-audit --no-fund --ignore-scripts > /dev/null 2>&1) && return
  say "BullMQ can't be installed: left out"
  return 1
}

stop_server() { kill "$server" && wait "$server" 2> /dev/null || true; }

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
    "$tidemill" bench --store "redis://127.0.0.1:$port/0" --tasks "$tasks" --json || say "Redis failed"
    redis-cli -p "$port" FLUSHALL > /dev/null
    if [ ! "${1:-}" ]; then our_memory || say "Redis failed"; redis-cli -p "$port" FLUSHALL > /dev/null; fi
    if wanted asynq; then "$dir/asynq" "$tasks" "127.0.0.1:$port" || say "Asynq failed"; fi
    redis-cli -p "$port" FLUSHALL > /dev/null
    if wanted bullmq; then node "$dir/bullmq/bullmq.mjs" "$tasks" "$port" || say "BullMQ failed"; fi
  } | sed "$label" >> "$results"
  stop_server
}

river_round() {
  rm -f "$dir"/river.db*
  "$dir/river" $((tasks / 10)) "$dir/river.db" FULL >> "$results" || say "River failed"
}

huey_round() {
  rm -f "$dir"/huey.db*
  "$dir/venv/bin/python" peers/huey/huey_bench.py $((tasks / 10)) "$dir/huey.db" >> "$results" || say "Huey failed"
}

if [ "$only_redis" ]; then
  for peer in beanstalkd river huey; do peers=${peers/$peer/}; done
fi
server=yes
command -v wrk > /dev/null || { say "wrk is not installed (apt-get install wrk): the server is left out"; server=; }
redis=yes
command -v redis-server > /dev/null || { say "no redis-server (apt-get install redis-server): left out"; redis=; }
if wanted asynq && ! go_ready Asynq; then peers=${peers/asynq/}; fi
if wanted bullmq && ! bullmq_ready; then peers=${peers/bullmq/}; fi
if wanted beanstalkd && ! { command -v beanstalkd > /dev/null && go_ready beanstalkd; }; then
  say "beanstalkd is not installed (apt-get install beanstalkd): left out"; peers=${peers/beanstalkd/}
fi
if wanted river && ! { [ -x "$dir/river" ] || go_ready River; }; then peers=${peers/river/}; fi
if wanted huey && ! { python3 -m venv "$dir/venv" && "$dir/venv/bin/pip" install --quiet huey==3.5.4; } >&2; then
  say "Huey can't be installed: left out"; peers=${peers/huey/}
fi

for ((round = 1; round <= rounds; round++)); do
  say "round $round of $rounds"
  if [ "$redis" ]; then redis_round; redis_round everysec; fi
  if [ "$only_redis" ]; then continue; fi
  ./disk.py "$dir" >> "$results"
  ours
  if [ "$server" ]; then server_round; fi
  if wanted beanstalkd; then beanstalkd_round; fi
  if wanted river; then river_round; fi
  if wanted huey; then huey_round; fi
done
python3 table.py "$results"
