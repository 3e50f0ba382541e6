//! The hash of everything that the server binary is made from. The build script bakes it in, and
//! the tests compute it again, so that no test runs against a binary of another tree. Both name
//! this file as a module of their own.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// What the binary is made from, below the top of the tree.
pub const SOURCES: [&str; 6] = [
    "Cargo.lock",
    "Cargo.toml",
    "proto/Cargo.toml",
    "proto/src",
    "server/Cargo.toml",
    "server/src",
];

/// SHA-256 over path and content of every source file, in hexadecimal, shortened to 16 digits.
pub fn source_hash(top: &Path) -> String {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(&top.join(source), &mut files);
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let name = file.strip_prefix(top).expect("collected below the top");
        let content = fs::read(&file).unwrap_or_default();
        hasher.update(name.to_string_lossy().as_bytes());
        hasher.update((content.len() as u64).to_be_bytes());
        hasher.update(content);
    }
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().for_each(|entry| collect(&entry.path(), files)),
        Err(_) => files.push(path.to_owned()),
    }
}
