# Rows of what follows a log: the reader that monitors of Rekor v2 are made of, on a log that takes
# Rekor v2 alone, and on one that does not; and rekor-monitor itself, where REKOR_MONITOR names it.
#
# Sourced by scripts/interop. The reader stops at the first entry of Rekor v1, as rekor-monitor
# does: that is why there is `--write-faces v2`.

# Rekor-monitor takes the origin from the URL, port included, so a log must be on the port of its
# scheme. The log listens elsewhere, and clients reach it by its name, as through a proxy.
monitored=http://monitored.interop.test

monitors() {
  versions
  group all_monitors
}

all_monitors() {
  local home=$HOME
  client_home
  authors
  make_log two "$monitored"
  serve_log two 127.0.0.1:0 --write-faces v2
  export HTTP_PROXY=$url
  url=$monitored
  export_for_clients two
  make_log another "$monitored"
  export_for_clients another
  row rekor-tiles "$rekor_tiles" pkg/client/read \
    "v2 alone: reads every entry, finds a name; then proves growth, reads the rest" reads_two
  row rekor-tiles "$rekor_tiles" pkg/client/read "v2 alone: refuses a log that it did not follow" \
    reads_no_other
  row rekor-tiles "$rekor_tiles" pkg/client/read \
    "both faces: stops at the first entry of Rekor v1, as is known" reads_mixed
  row cosign "$cosign3" sign-blob "v2 alone: entries of Rekor v1 are refused" v1_refused
  row rekor-cli "$rekor" loginfo "v2 alone: the tree head of the v1 face still verifies" \
    monitored_loginfo
  if [[ -n ${REKOR_MONITOR:-} ]]; then
    monitor=$(HOME=$home go version -m "$REKOR_MONITOR" | awk '$1 == "mod" { print $3 }')
    row rekor-monitor "$monitor" "rekor_monitor" "v2 alone: growth proved, a name found" \
      monitors_it v2 two
    make_log one "$monitored"
    serve_log one 127.0.0.1:0 --write-faces v1
    export HTTP_PROXY=$url
    url=$monitored
    export_for_clients one
    row rekor-monitor "$monitor" "rekor_monitor" "v1 alone: growth proved, a name found" \
      monitors_it v1 one
  else
    say "rekor-monitor was not tried: REKOR_MONITOR names no program"
  fi
}

# signs_monitored FACE [CERTIFICATE FLAGS]
signs_monitored() {
  sign_blob cosign3 --key "$work/author/cosign3.key" "${@:2}" \
    --signing-config "$work/two.$1/signing_config.json" \
    --trusted-root "$work/two.$1/trusted_root.json"
}

follows_two() {
  "$tools/sigstore" follow --url "$url" --trusted-root "$work/two.v2/trusted_root.json" \
    --state "$work/two.state" --subject '^author@interop\.test$'
}

reads_two() {
  local certificate=(--certificate "$work/author/certificate.pem")
  local write=("$tools/sigstore" write --url "$url"
    --trusted-root "$work/two.v2/trusted_root.json")
  "${write[@]}" --count 3
  signs_monitored v2 "${certificate[@]}"
  says '"size":4,' follows_two
  says '"entries":4,"matches":[3]' cat "$work/two.state"
  # Past one tile of entries.
  "${write[@]}" --count 260
  signs_monitored v2 "${certificate[@]}"
  says '"size":265,' follows_two
  says '"entries":261,"matches":[264]' cat "$work/two.state"
}

reads_no_other() {
  local state=$work/other.state
  printf '{"size":3,"root":"%s"}' 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU= >"$state"
  refuses 'root' "$tools/sigstore" follow --url "$url" --state "$state" \
    --trusted-root "$work/two.v2/trusted_root.json"
  refuses 'checkpoint' "$tools/sigstore" follow --url "$url" --state "$work/new.state" \
    --trusted-root "$work/another.v2/trusted_root.json"
}

reads_mixed() {
  children=()
  trap stop_children EXIT
  public_log both
  sign_blob cosign3 --key "$work/author/cosign3.key" \
    --signing-config "$work/both.v1/signing_config.json" \
    --trusted-root "$work/both.v1/trusted_root.json"
  refuses 'entry 0' "$tools/sigstore" follow --url "$url" --state "$work/both.state" \
    --trusted-root "$work/both.v2/trusted_root.json"
}

v1_refused() {
  refuses 'error' signs_monitored v1
  signs_monitored v2
}

monitored_loginfo() {
  says '"ActiveTreeSize":' cli loginfo
}

# monitors_it FACE LOG: rekor-monitor takes its trusted root and signing configuration from a TUF
# repository alone, and tells from the latter which version of Rekor to speak.
monitors_it() {
  local found=$work/found.$1.json
  children=()
  trap stop_children EXIT
  start tuf "$tools/sigstore" tuf --dir "$work/tuf.$1" \
    --trusted-root "$work/$2.$1/trusted_root.json" \
    --signing-config "$work/$2.$1/signing_config.json"
  local monitor=("$REKOR_MONITOR" --once --url "$url" --file "$work/monitored.$1"
    --tuf-repository "$ready" --tuf-root-path "$work/tuf.$1/1.root.json" --config
    "{outputIdentities: $found, monitoredValues: {certIdentities: [{certSubject: $email}]}}")
  local sign=(sign_blob cosign3 --key "$work/author/cosign3.key"
    --certificate "$work/author/certificate.pem"
    --signing-config "$work/$2.$1/signing_config.json"
    --trusted-root "$work/$2.$1/trusted_root.json")
  # It remembers no checkpoint of an empty log.
  "${sign[@]}"
  "${monitor[@]}"
  "${sign[@]}"
  says 'Root hash consistency verified' "${monitor[@]}"
  cat "$found"
  grep --fixed-strings "$email" "$found"
}
