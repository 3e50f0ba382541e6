//! Bakes the hash of the sources into the binary: `treering-server --version` shows it.

#[path = "source_hash.rs"]
mod source_hash;

use std::path::Path;

fn main() {
    let top =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the server lies in a workspace");
    for source in source_hash::SOURCES {
        println!("cargo::rerun-if-changed={}", top.join(source).display());
    }
    println!("cargo::rerun-if-changed=source_hash.rs");
    println!("cargo::rustc-env=TREERING_SOURCE_HASH={}", source_hash::source_hash(top));
}
