# Rows of the result: one for each thing that a client was seen to do or to refuse.
#
# Sourced by scripts/interop, which sets $work and opens descriptor 3 for what a person sees.

rows=$work/rows
touch "$rows"

# group FUNCTION: runs some rows with servers of their own, and ends these servers. A group that
# cannot set up its servers is a failed row. In a subshell, which stops at the first fault.
group() {
  local log=$work/group.log status
  set +e
  (
    set -e
    children=()
    trap stop_children EXIT
    "$@"
  ) >"$log" 2>&1
  status=$?
  set -e
  [[ $status -eq 0 ]] || failed "$log" "$1" "" "" "its servers start, and all rows are tried"
}

# row CLIENT VERSION COMMAND FLOW FUNCTION...: shows one thing.
row() {
  local log=$work/row.log status
  set +e
  (
    set -e
    "${@:5}"
  ) >"$log" 2>&1
  status=$?
  set -e
  if [[ $status -eq 0 ]]; then
    record "${@:1:4}" ok
  else
    failed "$log" "${@:1:4}"
  fi
}

failed() {
  record "${@:2}" FAILED
  tail --lines=30 "$1" | cut --characters=1-300 >&3
}

record() {
  printf '%s %s: %s: %s\n' "$1" "$3" "$4" "$5" >&3
  (IFS='|' && printf '%s\n' "$*") >>"$rows"
}

# fails STATUS COMMAND...: passes when the command fails, with this status.
fails() {
  local status=0
  "${@:2}" || status=$?
  [[ $status -eq $1 ]] || die "status $status, not $1: ${*:2}"
}

# refuses TEXT COMMAND...: passes when the command fails and its output has this text, so that no
# other fault passes for a refusal.
refuses() {
  local status=0 output=$work/refused
  "${@:2}" >"$output" 2>&1 || status=$?
  cat "$output"
  [[ $status -ne 0 ]] || die "this should have failed: ${*:2}"
  grep --quiet --fixed-strings --ignore-case -- "$1" "$output" ||
    die "failed, but nowhere \"$1\": ${*:2}"
}

# says TEXT COMMAND...: passes when the command succeeds and its output has this text.
says() {
  local output=$work/said
  "${@:2}" 2>&1 | tee "$output"
  grep --quiet --fixed-strings -- "$1" "$output" || die "nowhere \"$1\": ${*:2}"
}

# --- tables ------------------------------------------------------------------------------------

print_table() {
  local format='%-12s | %-34s | %-24s | %-84s | %s\n' client version command flow result
  printf "\n$format" client version command flow result
  while IFS='|' read -r client version command flow result; do
    printf "$format" "$client" "$version" "$command" "$flow" "$result"
  done <"$rows"
}

# One line for each command of a client, with all that it was seen to do.
print_markdown() {
  echo '| client | version | command | seen by `./scripts/interop` | result |'
  echo '|---|---|---|---|---|'
  awk -F'|' '
    {
      key = $1 " | " $2 " | `" $3 "`"
      if (!(key in flows)) order[++count] = key
      flows[key] = flows[key] (flows[key] == "" ? "" : "; ") $4
      if ($5 != "ok") result[key] = "FAILED"
    }
    END {
      for (i = 1; i <= count; i++) {
        key = order[i]
        print "| " key " | " flows[key] " | " (key in result ? result[key] : "works") " |"
      }
    }' "$rows"
}

# write_section FILE: puts the table between the two marker lines of a file.
write_section() {
  local begin='<!-- scripts/interop --write-readme: begin -->'
  local end='<!-- scripts/interop --write-readme: end -->'
  grep --quiet --line-regexp --fixed-strings -- "$begin" "$1" ||
    die "$1 has no line \"$begin\""
  print_markdown >"$work/section.md"
  awk -v begin="$begin" -v end="$end" -v section="$work/section.md" '
    $0 == end { inside = 0; ended = 1 }
    !inside { print }
    $0 == begin {
      inside = 1
      print ""
      while ((getline line < section) > 0) print line
      print ""
    }
    END { exit ended ? 0 : 1 }' "$1" >"$work/written.md" || die "$1 has no line \"$end\""
  cat "$work/written.md" >"$1"
}
