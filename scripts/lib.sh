# What the scripts have in common: messages, missing tools, one build, Go modules, one Python, one
# Node.js, child processes.
#
# Sourced, not run. All scripts build in one place below the user's cache, so that RocksDB, which
# takes most of the first build, is compiled once for the quickstart, the tests and every clone:
# the same target directory, the same profile, the same flags. Plain `cargo` keeps using ./target.

# What fails inside $(...) ends the script, too: an installation that was cut off is not complete.
shopt -s inherit_errexit

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/treering

# The environment decides for the whole build. RUSTFLAGS would replace those in .cargo/config.toml
# and with them the instructions for RocksDB's checksums.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET
export CARGO_TARGET_DIR=$cache/target
export CCACHE_DIR=$cache/ccache
export CC="ccache gcc" CXX="ccache g++"
binaries=$CARGO_TARGET_DIR/release

# Cargo tells whether a file changed by its age alone, and names what it builds the same in every
# clone. So the first build after another clone's makes all sources young, or it would take that
# clone's code for this one's.
if [[ $(cat "$CARGO_TARGET_DIR/built-from" 2>/dev/null) != "$root" ]]; then
  mkdir --parents "$CARGO_TARGET_DIR"
  find "$root"/{proto,server,client,tests} -type f -exec touch {} +
  printf '%s\n' "$root" >"$CARGO_TARGET_DIR/built-from"
fi

say() {
  printf '%s\n' "$*" >&2
}

die() {
  say "error: $*"
  exit 1
}

# Prints the usage from the script's own header and ends with the given status.
usage() {
  sed --quiet '/^# usage:/,/^[^#]/s/^# //p' "$0" >&2
  exit "$1"
}

# --- tools -------------------------------------------------------------------------------------

# Prints, for each Debian package that is missing, its name and what it is for.
missing_packages() {
  command -v g++ >/dev/null || echo "g++|compiles RocksDB and other C and C++ code"
  command -v clang >/dev/null || echo "clang|finds the C headers for RocksDB's bindings"
  has_libclang || echo "libclang-dev|reads these headers"
  command -v ccache >/dev/null || echo "ccache|keeps compiled C++ code for the next build"
  command -v pkg-config >/dev/null || echo "pkg-config|finds system libraries"
  if [[ " $* " == *" with-python "* ]]; then
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
      echo "python3-venv|keeps the Python packages of the interoperability tests apart"
    command -v jq >/dev/null || echo "jq|reads JSON in deploy/ci/sign-and-log"
  fi
  if [[ " $* " == *" with-node "* ]]; then
    command -v node >/dev/null || echo "nodejs|runs npm"
    command -v npm >/dev/null || echo "npm|installs the JavaScript of the interoperability tests"
  fi
  # Only root may mount what it makes.
  if [[ " $* " == *" with-xfs "* && $EUID -eq 0 ]]; then
    command -v mkfs.xfs >/dev/null || echo "xfsprogs|makes the file system whose power is cut"
  fi
}

has_libclang() {
  [[ -n ${LIBCLANG_PATH:-} ]] ||
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null ||
    compgen -G '/usr/lib*/libclang*.so*' >/dev/null ||
    compgen -G '/usr/lib/*-linux-gnu/libclang*.so*' >/dev/null
}

# need_tools install|print [with-python] [with-node] [with-xfs]: installs what is missing, or only
# says how.
need_tools() {
  local mode=$1 lines names=() name reason
  shift
  need_rust
  lines=$(missing_packages "$@")
  [[ -n $lines ]] || return 0
  say "Missing on this machine:"
  while IFS='|' read -r name reason; do
    names+=("$name")
    say "  $name: $reason"
  done <<<"$lines"
  command -v apt-get >/dev/null ||
    die "there is no apt-get here; install these with your package manager, then run this again."
  local run="apt-get update && apt-get install --yes --no-install-recommends ${names[*]}"
  local as_root="$run"
  if [[ $EUID -ne 0 ]]; then
    as_root="sudo sh -c '$run'"
  fi
  say "The command:"
  say "  $as_root"
  [[ $mode == install ]] || die "not installed, as asked; run the command above, then this again."
  if [[ $EUID -ne 0 ]] && ! command -v sudo >/dev/null; then
    die "only root can install packages and there is no sudo; run the command above as root."
  fi
  DEBIAN_FRONTEND=noninteractive sh -c "$as_root" >&2
}

need_rust() {
  local wanted have
  wanted=$(sed --quiet 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
  if ! command -v cargo >/dev/null && [[ -x $HOME/.cargo/bin/cargo ]]; then
    export PATH=$HOME/.cargo/bin:$PATH
  fi
  command -v cargo >/dev/null ||
    die "Rust $wanted or newer is missing; https://rustup.rs says how to install it."
  have=$(cargo --version | cut --delimiter=' ' --fields=2)
  printf '%s\n%s\n' "$wanted" "$have" | sort --version-sort --check=quiet ||
    die "Rust is $have and must be $wanted or newer; \`rustup update stable\` installs it."
}

# --- builds ------------------------------------------------------------------------------------

# Always the whole workspace: a part of it could choose other features of shared dependencies, and
# RocksDB would be compiled again for them.
build() {
  if ! compgen -G "$binaries/build/librocksdb-sys-*/out/librocksdb.a" >/dev/null; then
    say "The first build takes 15 to 25 minutes on two cores; most of that is RocksDB, compiled"
    say "once. Later builds take seconds. All of it is kept in $cache."
  fi
  (cd "$root" && cargo build --release --locked --workspace "$@")
}

# --- Go ----------------------------------------------------------------------------------------

# need_go WHAT: without Go, says what was not done for that reason, and the exit code says so.
need_go() {
  if ! command -v go >/dev/null; then
    say "error: there is no Go on this machine, so $1."
    say "https://go.dev/doc/install says how to install it."
    exit 5
  fi
  # Torchwood needs 1.27; the go command takes exactly this version from the module proxy.
  export GOTOOLCHAIN=go1.27.3
  # Nobody's SQLite is C here, so no C compiler is needed.
  export CGO_ENABLED=0
}

# build_module DIRECTORY OUTPUT PACKAGE...: builds packages that the module in this directory of the
# repository pins. OUTPUT is a file, or a directory that ends with a slash.
build_module() {
  say "building ${*:3}"
  (cd "$root/$1" && go build -mod=readonly -trimpath -o "$2" "${@:3}")
}

# --- Python ------------------------------------------------------------------------------------

# python_with LIST...: prints the path of a Python that has exactly the packages of these lists in
# tests/interop. The environment's name has a hash of them, so other lists get another environment.
python_with() {
  local lists=("${@/#/$root/tests/interop/}") list hash venv strict
  hash=$({ python3 --version && cat "${lists[@]}"; } | sha256sum | cut --characters=1-16)
  venv=$cache/venv-$hash
  mkdir --parents "$cache"
  # Two runs at a time would install over each other.
  exec {lock}>"$cache/venv.lock"
  flock "$lock"
  if [[ ! -e $venv/complete ]]; then
    say "Installing Python packages for the interoperability tests in $venv"
    rm --recursive --force "$venv"
    python3 -m venv "$venv"
    for list in "${lists[@]}"; do
      strict=()
      ! grep --quiet -- --hash= "$list" || strict=(--require-hashes --only-binary :all:)
      "$venv/bin/python" -m pip install --quiet --no-deps "${strict[@]}" --requirement "$list" >&2
    done
    "$venv/bin/python" -m pip check >&2
    touch "$venv/complete"
  fi
  exec {lock}>&-
  echo "$venv/bin/python"
}

# The one that the tests themselves run in.
interop_python() {
  python_with requirements.txt requirements-gates.txt
}

# --- JavaScript --------------------------------------------------------------------------------

# Prints the path of a directory that has exactly the packages of the lock in tests/interop/js, the
# Node.js that runs them among them: what a system has is too old for the newest of them, and all of
# them run on the same. Its name has a hash of the lists, so other lists get another directory.
interop_node() {
  local lists=$root/tests/interop/js
  local files=(package-lock.json package.json {rekor,sigstore-{3,4,5}}/package.json)
  local hash folder file
  hash=$(cd "$lists" && { uname --machine && cat "${files[@]}"; } | sha256sum |
    cut --characters=1-16)
  folder=$cache/node-$hash
  mkdir --parents "$cache"
  # Two runs at a time would install over each other.
  exec {lock}>"$cache/node.lock"
  flock "$lock"
  if [[ ! -e $folder/complete ]]; then
    say "Installing JavaScript packages for the interoperability tests in $folder"
    rm --recursive --force "$folder"
    for file in "${files[@]}"; do
      install -D --mode=644 "$lists/$file" "$folder/$file"
    done
    # Nothing of a package runs while it is installed. npm itself runs on whatever Node.js there is,
    # and would say of each package that needs the one installed here that it does.
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    touch "$folder/complete"
  fi
  exec {lock}>&-
  echo "$folder"
}

# --- child processes ---------------------------------------------------------------------------

# Ends one child by its own process id and waits for it; a second call does nothing.
stop_child() {
  local pid=${1:-}
  [[ -n $pid ]] || return 0
  kill -TERM "$pid" 2>/dev/null || return 0
  wait "$pid" 2>/dev/null || true
}
