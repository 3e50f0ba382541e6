//! Where the shipped binaries are, and the proof that they were built from this tree.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

#[path = "../../server/source_hash.rs"]
mod source_hash;

/// The server, after its version has shown that it is made of this tree's sources.
///
/// # Panics
/// If it is not there, or was built from other sources.
pub fn server() -> &'static Path {
    static SERVER: OnceLock<PathBuf> = OnceLock::new();
    SERVER.get_or_init(|| {
        let path = beside_the_tests("treering-server");
        if let Err(why) = check_version(&version_of(&path), &source_hash::source_hash(&top())) {
            panic!("{}: {why}. Build it: cargo build --release --workspace", path.display());
        }
        path
    })
}

/// The server with seeded bugs, if it was built from this tree's sources, too.
///
/// # Errors
/// A sentence that says what to do.
pub fn buggy_server() -> Result<PathBuf, String> {
    let path = beside_the_tests("treering-server-buggy");
    if !path.exists() {
        return Err(format!("{} is not there; scripts/faults builds it", path.display()));
    }
    check_version(&version_of(&path), &source_hash::source_hash(&top())).map(|()| path)
}

/// The client.
///
/// # Panics
/// If it is not there.
pub fn client() -> PathBuf {
    beside_the_tests("treering")
}

/// Whether a server that says `version` was built from the sources with this hash.
///
/// # Errors
/// A sentence that names both hashes.
pub fn check_version(version: &str, expected: &str) -> Result<(), String> {
    if version.contains(&format!("(sources {expected})")) {
        return Ok(());
    }
    Err(format!("says {:?}, and the sources here hash to {expected}", version.trim()))
}

/// The hash of the server's sources in this tree.
pub fn hash_of_this_tree() -> String {
    source_hash::source_hash(&top())
}

/// What `--version` prints.
pub fn version_of(server: &Path) -> String {
    let output = Command::new(server).arg("--version").output();
    let output = output.unwrap_or_else(|error| {
        panic!("{}: {error}. Build it: cargo build --release --workspace", server.display())
    });
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Cargo puts test executables into `deps` below the directory of the binaries.
fn beside_the_tests(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running test has an executable");
    let directory = own.parent().expect("an executable lies in a directory");
    let above = directory.parent().filter(|_| directory.ends_with("deps"));
    above.unwrap_or(directory).join(name)
}

fn top() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("the tests lie in a workspace").to_owned()
}
