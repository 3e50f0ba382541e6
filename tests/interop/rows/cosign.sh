# Rows of cosign 3 and cosign 2.6.
#
# Sourced by scripts/interop. What has a name ending in `3` or `2` is for that program; the rest is
# told which.

# --- what both can do --------------------------------------------------------------------------

# The flags with which a certificate of $work/author/chain.pem is accepted. Its authority asks no
# CT log.
identity=(--certificate-identity "$email" --certificate-oidc-issuer "$issuer"
  --insecure-ignore-sct)

# sign_blob PROGRAM [FLAGS]: signs a new file; the bundle is $blob.bundle.
sign_blob() {
  new_blob
  "$tools/$1" sign-blob --yes --bundle "$blob.bundle" "${@:2}" "$blob"
}

verify_blob() {
  says 'Verified OK' "$tools/$1" verify-blob --bundle "$blob.bundle" "${@:2}" "$blob"
}

attest_blob() {
  new_blob
  echo '{"made":"by scripts/interop"}' >"$blob.predicate"
  "$tools/$1" attest-blob --yes --predicate "$blob.predicate" --type https://interop.test/v1 \
    --bundle "$blob.bundle" "${@:2}" "$blob"
}

verify_attestation() {
  says 'Verified OK' "$tools/$1" verify-blob-attestation --type https://interop.test/v1 \
    --bundle "$blob.bundle" "${@:2}" "$blob"
}

# refuses_others COMMAND PROGRAM [FLAGS]: another file, another log's trusted root, and a proof of
# another index. The flags verify the file as it is.
refuses_others() {
  local command=$1 program=$2 flags=("${@:3}") genuine=$blob
  local trusted=(--trusted-root "$work/log.$face/trusted_root.json")
  local stranger=(--trusted-root "$work/stranger.$face/trusted_root.json")
  verify_it() { "$tools/$program" "$command" --bundle "$1" "${@:2}"; }
  says 'Verified OK' verify_it "$genuine.bundle" "${flags[@]}" "${trusted[@]}" "$genuine"
  refuses 'failed to verify' verify_it "$genuine.bundle" "${flags[@]}" "${stranger[@]}" "$genuine"
  sed 's/"logIndex": *"[0-9]*"/"logIndex":"1000000"/g' "$genuine.bundle" >"$genuine.changed"
  refuses 'failed to verify' verify_it "$genuine.changed" "${flags[@]}" "${trusted[@]}" "$genuine"
  new_blob
  refuses 'failed to verify' verify_it "$genuine.bundle" "${flags[@]}" "${trusted[@]}" "$blob"
}

# --- cosign 3 ----------------------------------------------------------------------------------

cosign3_rows() {
  local face
  for face in v1 v2; do
    trusted=(--trusted-root "$work/log.$face/trusted_root.json")
    signing=(--signing-config "$work/log.$face/signing_config.json" "${trusted[@]}")
    row cosign "$cosign3" sign-blob "$face, key: signs and verifies" key3 blob
    row cosign "$cosign3" verify-blob "$face, key: refuses another file, key, log and proof" \
      key3_refuses blob
    row cosign "$cosign3" attest-blob "$face, key: signs and verifies" key3 attestation
    row cosign "$cosign3" verify-blob-attestation \
      "$face, key: refuses another file, key, log and proof" key3_refuses attestation
    row cosign "$cosign3" sign-blob "$face, certificate: signs and verifies" certificate3 blob
    row cosign "$cosign3" verify-blob \
      "$face, certificate: refuses another name, issuer, file, log and proof" \
      certificate3_refuses blob
    row cosign "$cosign3" attest-blob "$face, certificate: signs and verifies" \
      certificate3 attestation
    row cosign "$cosign3" verify-blob-attestation \
      "$face, certificate: refuses another name, issuer, file, log and proof" \
      certificate3_refuses attestation
    row cosign "$cosign3" trusted-root "$face: what it creates agrees with trust export" created3
    row cosign "$cosign3" signing-config "$face: what it creates agrees with trust export" config3
    row cosign "$cosign3" initialize "$face: takes our files from a TUF repository" initialize3
  done
  row cosign "$cosign3" sign-blob "v1, certificate and chain: signs and verifies" chain3
  row cosign "$cosign3" sign-blob "v1, --rekor-url and its older bundle: signs and verifies" old3
}

# key3 WHAT
key3() {
  case $1 in
    blob)
      sign_blob cosign3 --key "$work/author/cosign3.key" "${signing[@]}"
      verify_blob cosign3 --key "$work/author/cosign3.pub" "${trusted[@]}"
      ;;
    attestation)
      attest_blob cosign3 --key "$work/author/cosign3.key" "${signing[@]}"
      verify_attestation cosign3 --key "$work/author/cosign3.pub" "${trusted[@]}"
      ;;
  esac
}

key3_refuses() {
  key3 "$1"
  local kind=()
  [[ $1 == blob ]] || kind=(--type https://interop.test/v1)
  local command=verify-blob
  [[ $1 == blob ]] || command=verify-blob-attestation
  refuses 'failed to verify' "$tools/cosign3" "$command" "${kind[@]}" --bundle "$blob.bundle" \
    --key "$work/other/cosign3.pub" "${trusted[@]}" "$blob"
  refuses_others "$command" cosign3 "${kind[@]}" --key "$work/author/cosign3.pub"
}

certificate3() {
  local signer=(--key "$work/author/cosign3.key" --certificate "$work/author/certificate.pem")
  case $1 in
    blob)
      sign_blob cosign3 "${signer[@]}" "${signing[@]}"
      verify_blob cosign3 "${identity[@]}" "${trusted[@]}"
      ;;
    attestation)
      attest_blob cosign3 "${signer[@]}" "${signing[@]}"
      verify_attestation cosign3 "${identity[@]}" "${trusted[@]}"
      ;;
  esac
}

certificate3_refuses() {
  certificate3 "$1"
  local kind=() command=verify-blob
  [[ $1 == blob ]] || kind=(--type https://interop.test/v1)
  [[ $1 == blob ]] || command=verify-blob-attestation
  local verify=("$tools/cosign3" "$command" "${kind[@]}" --bundle "$blob.bundle"
    --insecure-ignore-sct "${trusted[@]}")
  refuses 'no matching' "${verify[@]}" --certificate-identity somebody@interop.test \
    --certificate-oidc-issuer "$issuer" "$blob"
  refuses 'no matching' "${verify[@]}" --certificate-identity "$email" \
    --certificate-oidc-issuer https://another.interop.test "$blob"
  refuses_others "$command" cosign3 "${kind[@]}" "${identity[@]}"
}

# There is no such row for v2: cosign names the certificate a bare key then, which no log can read.
chain3() {
  local trusted=(--trusted-root "$work/log.v1/trusted_root.json")
  local signing=(--signing-config "$work/log.v1/signing_config.json" "${trusted[@]}")
  sign_blob cosign3 --key "$work/author/cosign3.key" \
    --certificate "$work/author/certificate.pem" \
    --certificate-chain "$work/author/chain.pem" "${signing[@]}"
  verify_blob cosign3 --allow-certificate-chain "${identity[@]}" "${trusted[@]}"
}

old3() {
  new_blob
  "$tools/cosign3" sign-blob --yes --key "$work/author/cosign3.key" --rekor-url "$url" \
    --use-signing-config=false --new-bundle-format=false --bundle "$blob.bundle" "$blob"
  export SIGSTORE_REKOR_PUBLIC_KEY=$work/log.v1/v1.pem
  says 'Verified OK' "$tools/cosign3" verify-blob --new-bundle-format=false \
    --key "$work/author/cosign3.pub" --bundle "$blob.bundle" "$blob"
  export SIGSTORE_REKOR_PUBLIC_KEY=$work/stranger.v1/v1.pem
  refuses 'error' "$tools/cosign3" verify-blob --new-bundle-format=false \
    --key "$work/author/cosign3.pub" --bundle "$blob.bundle" "$blob"
}

created3() {
  local origin=() key=$work/log.v1/v1.pem start=start-time=2025-01-01T00:00:00Z
  if [[ $face == v2 ]]; then
    key=$work/note.pem
    vkey_pem "$work/log.v2/note.vkey" >"$key"
    origin=(,origin=${known_as#http://})
  fi
  "$tools/cosign3" trusted-root create --out "$work/created.$face.json" \
    --rekor "url=$known_as,public-key=$key,$start${origin[*]}" \
    --fulcio "url=http://fulcio.interop.test,certificate-chain=$work/author/chain.pem" \
    --tsa "url=$url/api/v1/timestamp,certificate-chain=$work/log/timestamp-chain.pem"
  "$tools/sigstore" same "$work/log.$face/trusted_root.json" "$work/created.$face.json"
}

config3() {
  local start=start-time=2025-01-01T00:00:00Z,operator=interop
  "$tools/cosign3" signing-config create --out "$work/config.$face.json" \
    --rekor "url=$url,api-version=${face#v},$start" --rekor-config ANY \
    --fulcio "url=http://fulcio.interop.test,api-version=1,$start" \
    --tsa "url=$url/api/v1/timestamp,api-version=1,$start" --tsa-config ANY
  "$tools/sigstore" same "$work/log.$face/signing_config.json" "$work/config.$face.json"
}

initialize3() {
  children=()
  trap stop_children EXIT
  start tuf "$tools/sigstore" tuf --dir "$work/tuf.$face" \
    --trusted-root "$work/log.$face/trusted_root.json" \
    --signing-config "$work/log.$face/signing_config.json"
  "$tools/cosign3" initialize --mirror "$ready" --root "$work/tuf.$face/1.root.json"
  sign_blob cosign3 --key "$work/author/cosign3.key"
  verify_blob cosign3 --key "$work/author/cosign3.pub"
}

# --- cosign 2.6 --------------------------------------------------------------------------------

cosign2_rows() {
  local face=v1
  old=(--rekor-url "$url")
  row cosign "$cosign2" sign-blob "v1, key: signs, verifies its older bundle" key2
  row cosign "$cosign2" verify-blob "v1, key: finds the entry in the log; refuses another file" \
    online2
  row cosign "$cosign2" sign-blob "v1, key, new bundle: signs, verifies; refuses others" new2
  row cosign "$cosign2" sign-blob "v1: the same Ed25519 signature again gets its entry" again2
  row cosign "$cosign2" attest-blob "v1, key, dsse: found in the log; refuses another key" \
    attest2 dsse
  row cosign "$cosign2" attest-blob "v1, key, intoto: found in the log; refuses another key" \
    attest2 intoto
  row cosign "$cosign2" attest-blob "v1, certificate and chain: signs and verifies" \
    certificate2
  face=v2
  row cosign "$cosign2" sign-blob "v2, key, signing config: signs, verifies; refuses others" config2
}

key2() {
  sign_blob cosign2 --key "$work/author/cosign2.key" "${old[@]}"
  export SIGSTORE_REKOR_PUBLIC_KEY=$work/log.v1/v1.pem
  verify_blob cosign2 --key "$work/author/cosign2.pub" "${old[@]}"
  refuses 'error' "$tools/cosign2" verify-blob --bundle "$blob.bundle" "${old[@]}" \
    --key "$work/other/cosign2.pub" "$blob"
  export SIGSTORE_REKOR_PUBLIC_KEY=$work/stranger.v1/v1.pem
  refuses 'error' "$tools/cosign2" verify-blob --bundle "$blob.bundle" "${old[@]}" \
    --key "$work/author/cosign2.pub" "$blob"
}

# Without a bundle cosign computes the entry and asks the log for it (entries/retrieve).
online2() {
  new_blob
  "$tools/cosign2" sign-blob --yes --key "$work/author/cosign2.key" "${old[@]}" \
    --output-signature "$blob.sig" "$blob"
  export SIGSTORE_REKOR_PUBLIC_KEY=$work/log.v1/v1.pem
  local verify=("$tools/cosign2" verify-blob --key "$work/author/cosign2.pub" "${old[@]}")
  says 'Verified OK' "${verify[@]}" --signature "$blob.sig" "$blob"
  "$tools/cosign2" sign-blob --yes --key "$work/author/cosign2.key" --tlog-upload=false \
    --output-signature "$blob.unlogged" "$blob"
  refuses 'not found in transparency log' "${verify[@]}" --signature "$blob.unlogged" "$blob"
  new_blob
  refuses 'error' "${verify[@]}" --signature "$blob.sig" "$blob"
}

new2() {
  sign_blob cosign2 --key "$work/author/cosign2.key" --new-bundle-format "${old[@]}"
  refuses_others verify-blob cosign2 --new-bundle-format --key "$work/author/cosign2.pub"
}

# Ed25519 has one signature for one file: the second run finds its entry by the answer 409. Not
# verified here: cosign 2.6 refuses such a signature of its own, over SHA-512, in either bundle.
again2() {
  new_blob
  "$tools/sigstore" keys --ed25519 --out "$work/ed25519" --email "$email" --issuer "$issuer"
  "$tools/cosign2" import-key-pair --yes --key "$work/ed25519/key.pem" \
    --output-key-prefix "$work/ed25519/cosign2"
  local sign=("$tools/cosign2" sign-blob --yes --key "$work/ed25519/cosign2.key" "${old[@]}"
    --new-bundle-format)
  "${sign[@]}" --bundle "$blob.first" "$blob"
  says 'Signature already exists' "${sign[@]}" --bundle "$blob.bundle" "$blob"
  local first
  first=$(index_in "$blob.first")
  [[ $first == "$(index_in "$blob.bundle")" ]]
}

# The log index in a bundle.
index_in() {
  grep --only-matching --max-count=1 '"logIndex": *"[0-9]*"' "$1" | head --lines=1
}

# attest2 KIND: the kind of the entry. Without a bundle cosign computes an entry of each kind and
# asks the log for both.
attest2() {
  local signature=$work/attest2.dsse
  attest_blob cosign2 --key "$work/author/cosign2.key" --rekor-entry-type "$1" "${old[@]}" \
    --output-signature "$signature"
  export SIGSTORE_REKOR_PUBLIC_KEY=$work/log.v1/v1.pem
  local verify=("$tools/cosign2" verify-blob-attestation --type https://interop.test/v1 "${old[@]}")
  says 'Verified OK' "${verify[@]}" --key "$work/author/cosign2.pub" --signature "$signature" \
    "$blob"
  refuses 'accepted signatures' "${verify[@]}" --key "$work/other/cosign2.pub" \
    --signature "$signature" "$blob"
  attest_blob cosign2 --key "$work/author/cosign2.key" --tlog-upload=false \
    --output-signature "$signature"
  refuses 'not found in transparency log' "${verify[@]}" --key "$work/author/cosign2.pub" \
    --signature "$signature" "$blob"
}

certificate2() {
  attest_blob cosign2 --key "$work/author/cosign2.key" --new-bundle-format "${old[@]}" \
    --certificate "$work/author/certificate.pem" --certificate-chain "$work/author/chain.pem"
  local verify=("$tools/cosign2" verify-blob-attestation --new-bundle-format
    --type https://interop.test/v1 --bundle "$blob.bundle"
    --trusted-root "$work/log.v1/trusted_root.json" --insecure-ignore-sct
    --certificate-oidc-issuer "$issuer")
  says 'Verified OK' "${verify[@]}" --certificate-identity "$email" "$blob"
  refuses 'error' "${verify[@]}" --certificate-identity somebody@interop.test "$blob"
}

config2() {
  sign_blob cosign2 --key "$work/author/cosign2.key" \
    --signing-config "$work/log.v2/signing_config.json" \
    --trusted-root "$work/log.v2/trusted_root.json"
  refuses_others verify-blob cosign2 --new-bundle-format --key "$work/author/cosign2.pub"
}
