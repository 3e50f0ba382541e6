# Rows of sigstore-go, by the two programs in its repository, and of the clients in rekor-tiles.
#
# Sourced by scripts/interop.

sigstore_rows() {
  local face
  for face in v1 v2; do
    row sigstore-go "$sigstore_go" sigstore-go-verification \
      "$face: verifies what cosign 3 signed with a key; refuses another file, key and log" \
      go_verifies_key
    row sigstore-go "$sigstore_go" sigstore-go-verification \
      "$face: verifies what cosign 3 signed with a certificate; refuses another name and log" \
      go_verifies_certificate
    row sigstore-go "$sigstore_go" sigstore-go-signing "$face, key: signs a file" go_signs
    row sigstore-go "$sigstore_go" sigstore-go-signing "$face, key: signs a statement" \
      go_signs --in-toto
  done
  row rekor-tiles "$rekor_tiles" pkg/client/write \
    "v2: logs, verifies the proof; a second time and a bad signature are refused" tiles_write
}

# go_verify BUNDLE [FLAGS]
go_verify() {
  "$tools/sigstore-go-verification" -requireCTlog=false "${@:2}" "$1"
}

go_verifies_key() {
  sign_blob cosign3 --key "$work/author/cosign3.key" \
    --signing-config "$work/log.$face/signing_config.json" \
    --trusted-root "$work/log.$face/trusted_root.json"
  local trusted=(-trustedrootJSONpath "$work/log.$face/trusted_root.json")
  local author=(-publicKey "$work/author/key.pub")
  says 'Verification successful' go_verify "$blob.bundle" "${trusted[@]}" "${author[@]}" \
    -artifact "$blob"
  refuses 'verify' go_verify "$blob.bundle" "${trusted[@]}" "${author[@]}" \
    -artifact "$work/author/key.pub"
  refuses 'verify' go_verify "$blob.bundle" "${trusted[@]}" -artifact "$blob" \
    -publicKey "$work/other/key.pub"
  refuses 'verify' go_verify "$blob.bundle" "${author[@]}" -artifact "$blob" \
    -trustedrootJSONpath "$work/stranger.$face/trusted_root.json"
}

go_verifies_certificate() {
  sign_blob cosign3 --key "$work/author/cosign3.key" \
    --certificate "$work/author/certificate.pem" \
    --signing-config "$work/log.$face/signing_config.json" \
    --trusted-root "$work/log.$face/trusted_root.json"
  local trusted=(-trustedrootJSONpath "$work/log.$face/trusted_root.json")
  says 'Verification successful' go_verify "$blob.bundle" "${trusted[@]}" -artifact "$blob" \
    -expectedIssuer "$issuer" -expectedSAN "$email"
  refuses 'verify' go_verify "$blob.bundle" "${trusted[@]}" -artifact "$blob" \
    -expectedIssuer "$issuer" -expectedSAN somebody@interop.test
  refuses 'verify' go_verify "$blob.bundle" -artifact "$blob" \
    -expectedIssuer "$issuer" -expectedSAN "$email" \
    -trustedrootJSONpath "$work/stranger.$face/trusted_root.json"
}

# go_signs [FLAGS]: it signs with a new key, verifies the bundle itself, and prints both.
go_signs() {
  new_blob
  if [[ ${1:-} == --in-toto ]]; then
    digest=$(sha256sum "$blob" | cut --delimiter=' ' --fields=1)
    {
      printf '{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://i.test/v1",'
      printf '"predicate":{},"subject":[{"name":"blob","digest":{"sha256":"%s"}}]}' "$digest"
    } >"$blob.signed"
  else
    cp "$blob" "$blob.signed"
  fi
  "$tools/sigstore-go-signing" "$@" -rekor -tsa \
    -signing-config "$work/log.$face/signing_config.json" \
    -trusted-root "$work/log.$face/trusted_root.json" "$blob.signed" >"$blob.output"
  sed --quiet '/BEGIN PUBLIC KEY/,/END PUBLIC KEY/p' "$blob.output" >"$blob.pub"
  tail --lines=1 "$blob.output" >"$blob.bundle"
  says 'Verification successful' go_verify "$blob.bundle" -publicKey "$blob.pub" \
    -trustedrootJSONpath "$work/log.$face/trusted_root.json" -artifact "$blob"
}

tiles_write() {
  "$tools/sigstore" write --url "$url" --trusted-root "$work/log.v2/trusted_root.json"
  refuses 'signature' "$tools/sigstore" write --url "$url" \
    --trusted-root "$work/stranger.v2/trusted_root.json"
}
