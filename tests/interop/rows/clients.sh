# Sigstore's clients against one running log, through its Rekor v1 and v2 faces.
#
# Sourced by scripts/interop. The clients get the files of `trust export` as they are.

issuer=https://issuer.interop.test
email=author@interop.test
# By what clients know our log.
known_as=http://log.interop.test

clients() {
  versions
  group all_clients
}

# Before HOME is another one: Go keeps its modules there.
versions() {
  cosign3=$(version_of go-cosign3 github.com/sigstore/cosign/v3)
  cosign2=$(version_of go-cosign2 github.com/sigstore/cosign/v2)
  rekor=$(version_of go-rekor github.com/sigstore/rekor)
  sigstore_go=$(version_of go-sigstore github.com/sigstore/sigstore-go)
  rekor_tiles=$(version_of go-sigstore github.com/sigstore/rekor-tiles/v2)
}

all_clients() {
  client_home
  authors
  public_log log
  # Has the name of our log, and other keys.
  make_log stranger "$known_as"
  export_for_clients stranger
  cosign3_rows
  cosign2_rows
  rekor_rows
  sigstore_rows
  keyless_rows
}

# No client finds anything of another run, or of the person who runs this.
client_home() {
  export HOME=$work/home COSIGN_PASSWORD=interop
  unset SIGSTORE_ROOT_FILE SIGSTORE_REKOR_PUBLIC_KEY SIGSTORE_CT_LOG_PUBLIC_KEY_FILE TUF_ROOT
  mkdir --parents "$HOME" "$work/blobs"
}

# Two authors with authorities of their own, known to cosign too.
authors() {
  local name
  for name in author other; do
    "$tools/sigstore" keys --out "$work/$name" --email "$email" --issuer "$issuer"
    for program in cosign2 cosign3; do
      "$tools/$program" import-key-pair --yes --key "$work/$name/key.pem" \
        --output-key-prefix "$work/$name/$program"
    done
  done
}

# public_log NAME [FLAGS]: makes a log, serves it and exports what its clients need. Its name is not
# that of the address it is reached at, as behind any proxy.
public_log() {
  make_log "$1" "$known_as"
  serve_log "$1" 127.0.0.1:0 "${@:2}"
  export_for_clients "$1"
}

# export_for_clients NAME: what clients of its v1 and of its v2 face need, in $work/NAME.v1 and
# $work/NAME.v2.
export_for_clients() {
  local face
  for face in v1 v2; do
    export_trust "$1" "$1.$face" --url "$url" --rekor "$face" \
      --fulcio-url http://fulcio.interop.test --fulcio-chain "$work/author/chain.pem"
  done
}

# new_blob: makes a file with new content, and puts its path in $blob.
new_blob() {
  blob=$(mktemp --tmpdir="$work/blobs")
  head --bytes=512 /dev/urandom >"$blob"
}

# vkey_pem FILE: prints the Ed25519 key of a vkey as PEM: its 32 bytes behind a fixed DER head.
vkey_pem() {
  echo '-----BEGIN PUBLIC KEY-----'
  {
    printf '\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00'
    cut --delimiter=+ --fields=3- "$1" | base64 --decode | tail --bytes=32
  } | base64 --wrap=64
  echo '-----END PUBLIC KEY-----'
}
