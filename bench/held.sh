#!/usr/bin/env bash
# How PostgreSQL's drain holds while another session keeps a transaction open, so that no dead row can go: one process
# fills the queue and drains it, again and again, for a minute, then for as long as told with the transaction open, and
# for a minute after its end.
#
#   bench/held.sh [--seconds N] [--tasks N] [--dir DIR]
#
# Prints a line a minute: tasks a second (the median of that minute's drains), and its share of the first minute's.
set -euo pipefail
cd "$(dirname "$0")"

seconds=600 tasks=100000 dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=$2 ;;
    --tasks) tasks=$2 ;;
    --dir) dir=$2; trap - EXIT; mkdir -p "$dir" ;;
    *) echo "bench/held.sh: there is no option $1; see the head of the file" >&2; exit 2 ;;
  esac
  shift 2
done
tidemill=${TIDEMILL_BINARY:-../build/release/src/cli/tidemill}
[ -x "$tidemill" ] || { echo "bench/held.sh: $tidemill is missing; run ./dev build release" >&2; exit 1; }
# shellcheck source=servers.sh
. ./servers.sh
[ -x "$pg/psql" ] || { echo "bench/held.sh: there is no PostgreSQL; apt-get install postgresql" >&2; exit 1; }

# minute WHEN
minute() {
  local before rates
  before=$(wc -l < "$dir/drains")
  sleep 60
  kill -0 "$bench" 2> /dev/null || { echo "bench/held.sh: the drains have ended" >&2; exit 1; }
  rates=$(tail -n +$((before + 1)) "$dir/drains" | sed -n 's/.*"rate":\([0-9]*\).*/\1/p' | sort -n)
  rate=$(sed -n "$((($(wc -l <<< "$rates") + 1) / 2))p" <<< "$rates")
  first=${first:-$rate}
  echo "$1: ${rate:-none} tasks/s, $((100 * ${rate:-0} / first)) %, $(wc -w <<< "$rates") drains of $tasks"
}

start_postgres
"$tidemill" bench --store "postgres://postgres@127.0.0.1:$port/postgres" --tasks "$tasks" --workload drain \
  --rounds 1000000 --json > "$dir/drains" & bench=$!
minute "before"
coproc held { on_postgres psql -qAt; }
echo "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'open';" >&"${held[1]}"
read -r _ <&"${held[0]}"
for ((n = 1; n <= seconds / 60; n++)); do minute "held, minute $n"; done
echo "COMMIT; SELECT 'closed';" >&"${held[1]}"
read -r _ <&"${held[0]}"
minute "after"
kill "$bench"
stop_server
