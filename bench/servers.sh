# shellcheck shell=bash disable=SC2034,SC2154 # It shares variables with those who source it.
# Servers for measurements, each on a free port of loopback with its files in a folder of $dir. To be sourced.

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

stop_server() { kill "$server" && wait "$server" 2> /dev/null || true; }

# account NAME: that of a server's package, or nobody's: packages of the server alone make none.
account() { if id "$1" > /dev/null 2>&1; then echo "$1"; else echo nobody; fi; }

# as_user USER: sets as, the words in front of a command; database servers refuse to be root's. (A function around the
# command would be what stop_server ends, and the server would stay.)
as_user() {
  as=()
  if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid "$1" --regid "$(id -g "$1")" --clear-groups); fi
}

# own_folder USER: sets folder.
own_folder() {
  folder=$dir/$1
  rm -rf "$folder" && mkdir "$folder" && chmod a+x "$dir"
  if [ "$(id -u)" = 0 ]; then chown "$1" "$folder"; fi
}

# Where the newest PostgreSQL is; empty: nowhere.
pg=$(compgen -G "/usr/lib/postgresql/*/bin" | sort -V | tail -1 || true)

# With PostgreSQL's own settings, but for the number of connections.
start_postgres() {
  own_folder postgres
  as_user postgres
  "${as[@]}" "$pg/initdb" -D "$folder" -A trust -U postgres > /dev/null
  start_free "${as[@]}" "$pg/postgres" -D "$folder" -k "" -c listen_addresses=127.0.0.1 -c max_connections=200 -p
}

# on_postgres PROGRAM ARGUMENT...: psql, createdb, pgbench.
on_postgres() {
  local program=$1
  shift
  "$pg/$program" -h 127.0.0.1 -p "$port" -U postgres "$@"
}

start_mariadb() {
  local user
  user=$(account mysql)
  own_folder "$user"
  mariadb-install-db --no-defaults --datadir="$folder" --tmpdir="$folder" --auth-root-authentication-method=normal \
    > /dev/null
  if [ "$(id -u)" = 0 ]; then chown -R "$user" "$folder"; fi
  as_user "$user"
  start_free "${as[@]}" mariadbd --no-defaults --datadir="$folder" --socket="$folder/socket" \
    --pid-file="$folder/pid" --skip-name-resolve --bind-address=127.0.0.1 --port
}
