#!/usr/bin/env bash
# Makes thumbnails of some thousand images with two worker processes, kills one of them with kill -9 again and again,
# and checks that every image has its thumbnail all the same.
#
#   examples/thumbnails/run.sh BUILD_DIR [IMAGES] [KILLS]
set -euo pipefail

program=$(realpath "${1:?the build directory is missing, such as build/release}")/example_thumbnails
images=${2:-2000} kills=${3:-5}
[ -x "$program" ] || { echo "run.sh: $program is missing; run ./dev run" >&2; exit 1; }
dir=$(mktemp -d)
export TIDEMILL_STORE=sqlite:$dir/jobs.db
workers=()

cleanup() {
  if [ ${#workers[@]} -gt 0 ]; then kill -9 "${workers[@]}" 2> /dev/null || true; fi
  rm -rf "$dir"
}
trap cleanup EXIT

start_worker() { # start_worker PLACE
  "$program" work "$dir/out" 2>> "$dir/log" &
  workers[$1]=$!
}

done_count() { find "$dir/out" -name '*.ppm' 2> /dev/null | wc -l; }

give_up() { # give_up WHAT
  echo "run.sh: after two minutes: $1" >&2
  tail "$dir/log" >&2
  exit 1
}

wait_for() { # wait_for COUNT: until so many thumbnails are there
  until [ "$(done_count)" -ge "$1" ]; do
    [ $SECONDS -lt 120 ] || give_up "there are $(done_count)"
    sleep 0.05
  done
}

echo "drawing $images images in $dir"
"$program" draw "$dir/images" "$images"
SECONDS=0 started=$(date +%s.%N)
"$program" enqueue "$dir/images"
start_worker 0
start_worker 1
for ((kill = 1; kill <= kills; kill++)); do
  wait_for $((images * kill / (kills + 1)))
  victim=$((RANDOM % 2))
  kill -9 "${workers[victim]}"
  wait "${workers[victim]}" 2> /dev/null || true
  echo "$(done_count) thumbnails are there; killed worker ${workers[victim]} and started another"
  start_worker $victim
done
wait_for "$images"

# What is there may still have to be reported: the last of it by whoever takes it over from the dead.
until summary=$("$program" check "$dir/images" "$dir/out"); do
  [ $SECONDS -lt 120 ] || give_up "$summary"
  sleep 0.1
done
ended=$(date +%s.%N)
kill "${workers[@]}"
wait "${workers[@]}"
workers=()
echo "$summary"
LC_ALL=C printf 'none lost: %d images, %d kills, %.1f s\n' "$images" "$kills" "$(awk "BEGIN {print $ended - $started}")"
