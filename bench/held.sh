#!/usr/bin/env bash
# How PostgreSQL's drain holds while another session keeps a transaction open, so that no dead row can go: drains for a
# minute, again and again for as long as told with the transaction open, and for a minute after its end.
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

# minute WHEN: sets rate.
minute() {
  local end=$((SECONDS + 60)) rates=()
  while [ $SECONDS -lt $end ]; do
    rates+=("$("$tidemill" bench --store "postgres://postgres@127.0.0.1:$port/postgres" --tasks "$tasks" \
      --workload drain --json | sed -n 's/.*"rate":\([0-9]*\).*/\1/p')")
  done
  rate=$(printf '%s\n' "${rates[@]}" | sort -n | sed -n "$(((${#rates[@]} + 1) / 2))p")
  first=${first:-$rate}
  echo "$1: $rate tasks/s, $((100 * rate / first)) %, ${#rates[@]} drains of $tasks"
}

start_postgres
minute "before"
coproc held { on_postgres psql -qAt; }
echo "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 'open';" >&"${held[1]}"
read -r _ <&"${held[0]}"
for ((n = 1; n <= seconds / 60; n++)); do minute "held, minute $n"; done
echo "COMMIT; SELECT 'closed';" >&"${held[1]}"
read -r _ <&"${held[0]}"
minute "after"
stop_server
