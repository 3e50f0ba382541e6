# Servers of one group of rows, ours and theirs, and our logs.
#
# Sourced by scripts/interop, which sets $work, $tools and $binaries. Everything listens on
# loopback.

stop_children() {
  local child
  for child in "${children[@]}"; do
    stop_child "$child"
  done
}

# start NAME COMMAND...: starts a server that prints a line when it is ready, and puts it in $ready.
start() {
  local name=$1 output
  exec {output}< <(exec "${@:2}" 2>"$work/$name.log" </dev/null)
  children+=("$!")
  if ! read -r -t 60 ready <&"$output"; then
    tail --lines=5 "$work/$name.log" >&2
    die "$name did not start"
  fi
}

# start_silent NAME COMMAND...: starts a server that does not say where it listens; puts its port in
# $port.
start_silent() {
  local name=$1
  "${@:2}" >"$work/$name.log" 2>&1 </dev/null &
  children+=("$!")
  for _ in {1..600}; do
    port=$(listening_port "$!")
    [[ -z $port ]] || return 0
    kill -0 "$!" 2>/dev/null || break
    sleep 0.1
  done
  tail --lines=5 "$work/$name.log" >&2
  die "$name did not start"
}

# Prints the port on 127.0.0.1 that a process listens on, as the system knows it.
listening_port() {
  local sockets port
  sockets=$(find "/proc/$1/fd" -lname 'socket:*' -printf '%l\n' 2>/dev/null |
    tr --delete --complement '0-9\n')
  port=$(awk -v sockets="$sockets" '
    BEGIN { split(sockets, list, "\n"); for (i in list) ours[list[i]] }
    $2 ~ /^0100007F:/ && $4 == "0A" && $10 in ours { print substr($2, 10); exit }' /proc/net/tcp)
  [[ -z $port ]] || echo $((16#$port))
}

# --- our logs ----------------------------------------------------------------------------------

# make_log NAME URL [FLAGS]: a log in $work/NAME.
make_log() {
  "$binaries/treering-server" init --data "$work/$1" --url "$2" "${@:3}"
}

# export_trust NAME OUT [FLAGS]: its public files, in $work/OUT.
export_trust() {
  "$binaries/treering-server" trust export --data "$work/$1" --out "$work/$2" "${@:3}"
}

# serve_log NAME LISTEN [FLAGS]: serves it and puts its URL in $url.
serve_log() {
  start "$1-server" "$binaries/treering-server" serve --data "$work/$1" --open-writes \
    --listen "$2" "${@:3}"
  url=http://$(sed 's/.*"listen":"\([^"]*\)".*/\1/' <<<"$ready")
}
