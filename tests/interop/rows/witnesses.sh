# Witnesses and logs not written here, against ours, both ways.
#
# Sourced by scripts/interop. Litewitness and omniwitness cosign our log; our witness cosigns
# Tessera's; what verifies is Torchwood, Tessera and transparency.dev, through tests/interop/go.

witnesses() {
  ours=$(treering --version | cut --delimiter=' ' --fields=2)
  torchwood=$(version_of go filippo.io/torchwood)
  witness=$(version_of go github.com/transparency-dev/witness)
  tessera=$(version_of go github.com/transparency-dev/tessera)
  group litewitness
  group omniwitness
  group our_witness
}

interop() {
  "$tools/interop" "$@"
}

treering() {
  "$binaries/treering" "$@"
}

# --- our log -----------------------------------------------------------------------------------

# witnessed_log NAME [FLAGS]: a log in $work/NAME with its public files in $work/NAME.public.
witnessed_log() {
  make_log "$1" http://log.interop.test "${@:2}"
  export_trust "$1" "$1.public"
  [[ -e $work/signer.pem ]] || treering keygen --key "$work/signer.pem" --no-password
}

# serve_witnessed NAME: cosigned by the policy in $work/NAME.policy, if there is one. Puts its URL
# in $url.
serve_witnessed() {
  local trust=$work/$1.public/trust.json policy=() flags=()
  if [[ -e $work/$1.policy ]]; then
    policy=(--witness-policy "$work/$1.policy")
    flags=(--witness-mode closed --witness-timeout 2s --min-publish-interval 200ms)
  fi
  serve_log "$1" 127.0.0.1:0 "${policy[@]}" "${flags[@]}"
  export_trust "$1" "$1.public" --url "$url" "${policy[@]}"
  treering trust add-signer interop --trust "$trust" --public-key "$work/signer.pub"
}

# sign LOG MODEL [FLAGS]: makes a model, signs it and logs the signature.
sign() {
  local model=$work/models/$1-$2
  mkdir --parents "$model"
  head --bytes=4096 /dev/urandom >"$model/weights.bin"
  treering sign "$model" --name "$2" --trust "$work/$1.public/trust.json" \
    --key "$work/signer.pem" --state "$work/$1.state" "${@:3}"
}

verify() {
  treering verify "$work/models/$1-$2" --trust "$work/$1.public/trust.json" --online \
    --state "$work/$1.state"
}

# One entry at a time, each with a checkpoint that independent verifiers accept.
grows() {
  local size
  for size in 1 2 3; do
    sign "$1" "model-$size"
    interop checknote --policy "$work/$1.policy" --note "$url/checkpoint" --size "$size"
  done
}

# --- litewitness -------------------------------------------------------------------------------

litewitness() {
  local name=lite.interop.test fingerprint vkey
  witnessed_log ours --ml-dsa
  start agent "$tools/interop" agent --name "$name" --socket "$work/agent.sock"
  read -r fingerprint vkey <<<"$ready"
  start_silent litewitness "$tools/litewitness" -db "$work/lite.db" -name "$name" \
    -key "$fingerprint" -ssh-agent "$work/agent.sock" -listen 127.0.0.1:0
  interop register --db "$work/lite.db" --vkey "$work/ours.public/note.vkey"
  {
    echo "log $(cat "$work/ours.public/note.vkey")"
    echo "log $(cat "$work/ours/ml-dsa.vkey")"
    echo "witness lite $vkey http://127.0.0.1:$port/"
    echo "quorum lite"
  } >"$work/ours.policy"
  serve_witnessed ours
  row litewitness "$torchwood" add-checkpoint "cosigns our log as it grows: Ed25519" grows ours
  row treering "$ours" verify "believes a model under litewitness's cosignature" verify ours model-2
  row Tessera "$tessera" fsck "reads our whole log and computes every tile" \
    interop checklog --url "$url" --vkey "$work/ours.public/note.vkey"
  row litewitness "$torchwood" add-checkpoint "cosigns nothing of another log with our key" \
    refuses_fork
}

# A second log with the key of the first grows alone to four entries, and then asks for
# cosignatures: the witness knows three, and the proof from there cannot be right.
refuses_fork() {
  local size
  children=()
  trap stop_children EXIT
  witnessed_log fork --note-key "$work/ours/keys/note.pem"
  serve_witnessed fork
  for size in 1 2 3 4; do
    sign fork "model-$size"
  done
  stop_child "${children[0]}"
  grep --invert-match --fixed-strings "$(cat "$work/ours/ml-dsa.vkey")" "$work/ours.policy" \
    >"$work/fork.policy"
  serve_witnessed fork
  fails 5 sign fork model-5 --deadline 5s
  fails 1 interop checknote --policy "$work/fork.policy" --note "$url/checkpoint"
  grep --fixed-strings '"why":"HTTP 422"' "$work/fork-server.log"
}

# --- omniwitness -------------------------------------------------------------------------------

omniwitness() {
  local name=omni.interop.test
  witnessed_log ours2
  interop keygen --kind witness --name "$name" --out "$work/omni"
  interop keygen --kind ml-dsa --name "$name" --out "$work/omni-ml-dsa"
  {
    echo "Logs:"
    echo "  - Origin: log.interop.test"
    echo "    URL: http://127.0.0.1:1/"
    echo "    PublicKey: $(cat "$work/ours2.public/note.vkey")"
  } >"$work/omni.yaml"
  start_silent omniwitness "$tools/omniwitness" --listen 127.0.0.1:0 --metrics_listen= \
    --db_file "$work/omni.db" --private_key_path "$work/omni.key" \
    --private_key_path "$work/omni-ml-dsa.key" --additional_logs "$work/omni.yaml"
  {
    echo "log $(cat "$work/ours2.public/note.vkey")"
    echo "witness omni $(cat "$work/omni.vkey") http://127.0.0.1:$port"
    echo "witness omni-ml-dsa $(cat "$work/omni-ml-dsa.vkey") http://127.0.0.1:$port"
    echo "group both all omni omni-ml-dsa"
    echo "quorum both"
  } >"$work/ours2.policy"
  serve_witnessed ours2
  row omniwitness "$witness" add-checkpoint "cosigns our log: Ed25519 and ML-DSA-44" grows ours2
  row treering "$ours" verify "believes a model under omniwitness's two lines" verify ours2 model-2
}

# --- our witness -------------------------------------------------------------------------------

# tessera_grows ENTRIES SIZE POLICY: appends to the log, and has the checkpoint verified.
tessera_grows() {
  interop tesseralog --dir "$work/theirs" --key "$work/theirs.key" --policy "$work/$3.policy" \
    --entries "$1" >"$work/theirs.note"
  interop checknote --policy "$work/$3.policy" --note "$work/theirs.note" --size "$2"
}

# The checkpoint that our witness shows to whoever asks.
remembers() {
  local origin
  origin=$(printf tessera.interop.test | sha256sum | cut --delimiter=' ' --fields=1)
  interop checknote --policy "$work/theirs.policy" --note "$witness_url/$origin/checkpoint" \
    --size "$1"
}

# A copy from when the log had 3 entries goes its own way, past what the witness cosigned. The
# witness keeps what convicts the log, and anybody who trusts the log's key can judge it.
tessera_forks() {
  local evidence
  fails 1 interop tesseralog --dir "$work/theirs-copy" --key "$work/theirs.key" \
    --policy "$work/theirs.policy" --entries 400 --word forked --timeout 8s
  evidence=$(find "$work/witness/evidence" -name '*-fork-prefix-*.evidence' -print -quit)
  treering evidence verify "$evidence" --trust "$work/theirs.json"
}

# Our client has the log's newest checkpoint, proved from the one before, with the quorum.
follows() {
  treering log-info --trust "$work/theirs.json" --state "$work/theirs.state" --output json |
    tee "$work/log-info"
  grep --fixed-strings "$1" "$work/log-info"
  grep --fixed-strings '"quorumMet":true' "$work/log-info"
}

# Puts its URL and its two vkeys in variables.
start_our_witness() {
  local keys=(--key "$work/witness.pem" --ml-dsa-key "$work/witness.ml-dsa.pem")
  printf 'logs/v0\nvkey %s\n' "$(cat "$work/theirs.vkey")" >"$work/logs.txt"
  treering witness init --name ours.interop.test "${keys[@]}" --state "$work/witness"
  start witness "$binaries/treering" witness serve "${keys[@]}" --state "$work/witness" \
    --logs "$work/logs.txt" --listen 127.0.0.1:0
  witness_url=http://$(sed 's/.*"listen":"\([^"]*\)".*/\1/' <<<"$ready")
  read -r witness_vkey witness_ml_dsa_vkey < <(
    sed 's/.*"vkeys":\["\([^"]*\)","\([^"]*\)"\].*/\1 \2/' <<<"$ready"
  )
}

our_witness() {
  local policy
  interop keygen --kind log --name tessera.interop.test --out "$work/theirs"
  start_our_witness
  {
    echo "log $(cat "$work/theirs.vkey")"
    echo "witness ours $witness_vkey $witness_url"
    echo "quorum ours"
  } >"$work/theirs.policy"
  {
    echo "log $(cat "$work/theirs.vkey")"
    echo "witness ours $witness_ml_dsa_vkey $witness_url/"
    echo "quorum ours"
  } >"$work/theirs-ml-dsa.policy"
  row Tessera "$tessera" append "has its log cosigned by our witness: Ed25519" \
    tessera_grows 3 3 theirs
  cp --recursive "$work/theirs" "$work/theirs-copy"
  start serve-theirs "$tools/interop" servelog --dir "$work/theirs"
  policy=$(<"$work/theirs.policy")
  printf '{"schema":"treering.trust/v1","log":{"url":"%s","origin":"%s","keys":["%s"]},%s}\n' \
    "$ready" tessera.interop.test "$(cat "$work/theirs.vkey")" \
    "\"witnessPolicy\":\"${policy//$'\n'/\\n}\\n\"" >"$work/theirs.json"
  row treering "$ours" log-info "follows Tessera's log: first contact" follows '"firstContact":true'
  row Tessera "$tessera" append "has 300 more entries cosigned" tessera_grows 300 303 theirs
  row treering "$ours" log-info "follows Tessera's log: proved from 3 to 303" follows '"extends":3'
  row Torchwood "$torchwood" VerifyCheckpoint "verifies what our witness shows" remembers 303
  row Tessera "$tessera" append "has its log cosigned by our witness: ML-DSA-44" \
    tessera_grows 1 304 theirs-ml-dsa
  row Tessera "$tessera" append "is convicted by our witness when it forks" tessera_forks
}
