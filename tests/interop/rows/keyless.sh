# Rows of signing without a key of one's own: an authority like Fulcio, tests/interop/fulcio.py,
# certifies a new key for whoever shows an identity token.
#
# Sourced by scripts/interop.

keyless_rows() {
  local face
  start fulcio "$python" tests/interop/fulcio.py --out "$work/fulcio"
  fulcio=$ready
  token=$(<"$work/fulcio/token")
  bearer=(--certificate-identity dev@example.test --certificate-oidc-issuer "$fulcio")
  for face in v1 v2; do
    export_trust log "keyless.$face" --url "$url" --rekor "$face" \
      --merge "$work/fulcio/merge.json"
    row cosign "$cosign3" sign-blob "$face, keyless: signs, verifies; refuses another name" \
      keyless3
    row cosign "$cosign3" attest-blob "$face, keyless: signs, verifies; refuses another name" \
      keyless_attestation3
    row sigstore-go "$sigstore_go" sigstore-go-signing "$face, keyless: signs and verifies" \
      keyless_go
  done
  row cosign "$cosign2" sign-blob "v1, keyless: signs, verifies; refuses another name" keyless2
}

keyless3() {
  local trusted=(--trusted-root "$work/keyless.$face/trusted_root.json")
  sign_blob cosign3 --identity-token "$work/fulcio/token" "${trusted[@]}" \
    --signing-config "$work/keyless.$face/signing_config.json"
  verify_blob cosign3 "${bearer[@]}" "${trusted[@]}"
  refuses 'no matching' "$tools/cosign3" verify-blob --bundle "$blob.bundle" "${trusted[@]}" \
    --certificate-identity other@example.test --certificate-oidc-issuer "$fulcio" "$blob"
}

keyless_attestation3() {
  local trusted=(--trusted-root "$work/keyless.$face/trusted_root.json")
  attest_blob cosign3 --identity-token "$work/fulcio/token" "${trusted[@]}" \
    --signing-config "$work/keyless.$face/signing_config.json"
  verify_attestation cosign3 "${bearer[@]}" "${trusted[@]}"
  refuses 'no matching' "$tools/cosign3" verify-blob-attestation --bundle "$blob.bundle" \
    --type https://interop.test/v1 "${trusted[@]}" \
    --certificate-identity other@example.test --certificate-oidc-issuer "$fulcio" "$blob"
}

# Unlike the other rows of sigstore-go, with the proof that a log of certificates saw this one.
keyless_go() {
  new_blob
  "$tools/sigstore-go-signing" -rekor -tsa -id-token "$token" \
    -signing-config "$work/keyless.$face/signing_config.json" \
    -trusted-root "$work/keyless.$face/trusted_root.json" "$blob" | tail --lines=1 >"$blob.bundle"
  says 'Verification successful' "$tools/sigstore-go-verification" -artifact "$blob" \
    -expectedIssuer "$fulcio" -expectedSAN dev@example.test \
    -trustedrootJSONpath "$work/keyless.$face/trusted_root.json" "$blob.bundle"
}

keyless2() {
  export SIGSTORE_ROOT_FILE=$work/fulcio/root.pem
  export SIGSTORE_CT_LOG_PUBLIC_KEY_FILE=$work/fulcio/ct.pub
  export SIGSTORE_REKOR_PUBLIC_KEY=$work/log.v1/v1.pem
  sign_blob cosign2 --identity-token "$work/fulcio/token" --fulcio-url "$fulcio" \
    --rekor-url "$url" --new-bundle-format
  local verify=("$tools/cosign2" verify-blob --bundle "$blob.bundle" --new-bundle-format
    --trusted-root "$work/keyless.v1/trusted_root.json" --certificate-oidc-issuer "$fulcio")
  says 'Verified OK' "${verify[@]}" --certificate-identity dev@example.test "$blob"
  refuses 'no matching' "${verify[@]}" --certificate-identity other@example.test "$blob"
}
