# Rows of rekor-cli, which verifies every entry that it uploads or gets.
#
# Sourced by scripts/interop.

rekor_rows() {
  local kind
  row rekor-cli "$rekor" upload "hashedrekord, key; then by index, UUID and entry id" \
    uploads hashedrekord
  row rekor-cli "$rekor" upload "hashedrekord, certificate with chain" \
    uploads hashedrekord author/full.pem
  for kind in rekord intoto:0.0.1 intoto:0.0.2 dsse; do
    row rekor-cli "$rekor" upload "$kind, key; then by index, UUID and entry id" uploads "$kind"
  done
  row rekor-cli "$rekor" upload "rekord and dsse, certificate" uploads_certified
  for kind in hashedrekord rekord intoto:0.0.1 intoto:0.0.2 dsse; do
    row rekor-cli "$rekor" upload "$kind again: the entry exists" uploads_again "$kind"
  done
  row rekor-cli "$rekor" upload "hashedrekord, rekord: the log refuses another's key" \
    upload_refused
  row rekor-cli "$rekor" get "the attestation of intoto entries comes back, that of dsse not" \
    attestation_kept
  row rekor-cli "$rekor" get "nothing under an index, UUID or tree that is not there" gets_nothing
  row rekor-cli "$rekor" verify "by index, UUID, entry id, artifact; refuses another" verifies
  row rekor-cli "$rekor" search "by digest, artifact, key, e-mail, subject, both; finds nothing" \
    searches
  row rekor-cli "$rekor" loginfo "verifies the tree head, then that the log only grew" grew
  row rekor-cli "$rekor" loginfo "refuses a log that is not the one it remembers" not_that_log
  row rekor-cli "$rekor" logproof "proves sizes consistent; refuses sizes not there" proves
}

cli() {
  "$tools/rekor-cli" "$1" --rekor_server "$url" --format json "${@:2}"
}

# prepare KIND [PUBLIC]: makes a new artifact with what KIND needs beside it, and puts the flags
# that name them in $artifact. PUBLIC is the file of the key or certificate: the author's key, if
# none is named.
prepare() {
  local public=$work/${2:-author/key.pub}
  new_blob
  digest=$(sha256sum "$blob" | cut --delimiter=' ' --fields=1)
  case $1 in
    hashedrekord)
      "$tools/sigstore" sign --key "$work/author/key.pem" --file "$blob" --out "$blob.sig"
      artifact=(--artifact-hash "$digest" --signature "$blob.sig")
      ;;
    rekord)
      "$tools/sigstore" sign --key "$work/author/key.pem" --file "$blob" --out "$blob.sig"
      artifact=(--artifact "$blob" --signature "$blob.sig")
      ;;
    *)
      "$tools/sigstore" envelope --key "$work/author/key.pem" --file "$blob" --out "$blob.dsse"
      artifact=(--artifact "$blob.dsse")
      ;;
  esac
  artifact+=(--type "$1" --pki-format x509 --public-key "$public")
}

# upload KIND [PUBLIC]: puts the entry's id, its UUID and its index in variables.
upload() {
  prepare "$@"
  cli upload "${artifact[@]}" | tee "$work/uploaded"
  id=$(grep --only-matching --extended-regexp '[0-9a-f]{80}' "$work/uploaded")
  index=$(sed --quiet 's/.*"Index": *\([0-9]*\).*/\1/p' "$work/uploaded")
  uuid=${id:16}
}

# uploads KIND [PUBLIC]: and gets the entry by each of its names.
uploads() {
  local name
  upload "$@"
  for name in "--log-index $index" "--uuid $uuid" "--uuid $id"; do
    # shellcheck disable=SC2086 # two words
    cli get $name | tee "$work/got"
    grep --fixed-strings "\"UUID\":\"$id\"" "$work/got"
    grep --fixed-strings "\"LogIndex\":$index," "$work/got"
  done
}

uploads_certified() {
  uploads rekord author/certificate.pem
  uploads dsse author/certificate.pem
}

uploads_again() {
  upload "$1"
  says '"AlreadyExists":true' cli upload "${artifact[@]}"
  says 'Entry already exists; available at: '"$url/api/v1/log/entries/$id" \
    cli upload --format default "${artifact[@]}"
}

# As an entry in a file, because the client verifies what it makes itself before it sends it.
upload_refused() {
  local key data
  prepare hashedrekord
  key=$(base64 --wrap=0 "$work/other/key.pub")
  data="{\"hash\":{\"algorithm\":\"sha256\",\"value\":\"$digest\"}}"
  entry hashedrekord "$data" "\"publicKey\":{\"content\":\"$key\"}"
  refuses 'createLogEntryBadRequest' cli upload --entry "$blob.json"
  data="{\"content\":\"$(base64 --wrap=0 "$blob")\"}"
  entry rekord "$data" "\"format\":\"x509\",\"publicKey\":{\"content\":\"$key\"}"
  refuses 'createLogEntryBadRequest' cli upload --entry "$blob.json"
  entry rekord "$data" "\"format\":\"x509\",\"publicKey\":{\"content\":\"$(
    base64 --wrap=0 "$work/author/key.pub"
  )\"}"
  says '"AlreadyExists":false' cli upload --entry "$blob.json"
}

# entry KIND DATA SIGNER: writes $blob.json, with the signature in $blob.sig.
entry() {
  printf '{"kind":"%s","apiVersion":"0.0.1","spec":{"data":%s,"signature":{"content":"%s",%s}}}' \
    "$1" "$2" "$(base64 --wrap=0 "$blob.sig")" "$3" >"$blob.json"
}

attestation_kept() {
  local kind
  for kind in intoto:0.0.1 intoto:0.0.2; do
    upload "$kind"
    says "$digest" cli get --uuid "$id"
  done
  upload dsse
  cli get --uuid "$id" >"$work/got"
  grep --fixed-strings '"Attestation":""' "$work/got"
}

gets_nothing() {
  refuses 'getLogEntryByIndexNotFound' cli get --log-index 1000000
  refuses 'getLogEntryByUuidNotFound' cli get --uuid "$(printf '%064d' 0)"
  upload hashedrekord
  refuses 'getLogEntryByUuidNotFound' cli get --uuid "0000000000000001$uuid"
}

verifies() {
  local kind name
  for kind in hashedrekord rekord intoto:0.0.1 intoto:0.0.2 dsse; do
    upload "$kind"
    says "\"EntryUUID\":\"$id\"" cli verify "${artifact[@]}"
  done
  for name in "--log-index $index" "--uuid $uuid" "--uuid $id"; do
    # shellcheck disable=SC2086 # two words
    says "\"EntryUUID\":\"$id\"" cli verify $name
  done
  prepare hashedrekord
  refuses 'entry in log cannot be located' cli verify "${artifact[@]}"
}

# finds ID [FLAGS]: a search with these flags finds the entry.
finds() {
  says "$1" cli search "${@:2}"
}

searches() {
  local name=(--email "$email")
  upload rekord
  local public=(--pki-format x509 --public-key "$work/author/key.pub")
  local other=(--pki-format x509 --public-key "$work/other/key.pub")
  finds "$id" --sha "$digest"
  finds "$id" --sha "sha256:$digest"
  finds "$id" --artifact "$blob"
  finds "$id" "${public[@]}"
  finds "$id" "${public[@]}" --sha "$digest" --operator and
  upload hashedrekord author/certificate.pem
  finds "$id" "${name[@]}"
  finds "$id" --subject "$email"
  finds "$id" --sha "$digest" "${name[@]}" --operator and
  refuses 'no matching entries' cli search --sha "$digest" "${other[@]}" --operator and
  refuses 'no matching entries' cli search --email somebody@interop.test
  upload dsse
  finds "$id" --sha "$digest"
  finds "$id" --sha "$(sha256sum "$blob.dsse" | cut --delimiter=' ' --fields=1)"
  new_blob
  refuses 'no matching entries' cli search --artifact "$blob"
}

# A home of its own: there is what the client remembers. It asks for a proof if it remembers a tree
# head, and says so if it does not.
grew() {
  export HOME=$work/home-grew
  mkdir "$HOME"
  says 'No previous log state' cli loginfo
  upload hashedrekord
  says "\"ActiveTreeSize\":$((index + 1))" cli loginfo
  fails 1 grep --fixed-strings 'No previous log state' "$work/said"
}

# What the client remembers is changed to a root that the log never had.
not_that_log() {
  local root='47DEQpj8HBSa+\/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
  export HOME=$work/home-fork
  mkdir "$HOME"
  cli loginfo
  upload hashedrekord
  sed --in-place --regexp-extended "s/[A-Za-z0-9+\/]{43}=/$root/g" "$HOME/.rekor/state.json"
  refuses 'root' cli loginfo
}

proves() {
  upload hashedrekord
  says '"RootHash"' cli logproof --first-size 1 --last-size "$((index + 1))"
  says '"RootHash"' cli logproof --first-size "$index" --last-size "$((index + 1))"
  refuses '400' cli logproof --first-size 1 --last-size 1000000
}
