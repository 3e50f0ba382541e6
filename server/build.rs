//! Bakes the hash of the sources into the binary: `treering-server --version` shows it.

#[path = "source_hash.rs"]
mod source_hash;

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-env-changed=TREERING_SEEDED_BUGS_BUILD");
    let has_bugs = std::env::var_os("CARGO_FEATURE_SEEDED_BUGS").is_some();
    let on_purpose = std::env::var("TREERING_SEEDED_BUGS_BUILD").is_ok_and(|value| value == "1");
    assert!(
        !has_bugs || on_purpose,
        "the feature seeded-bugs puts mistakes into the server for tests/faults to find, and is \
         never part of a release"
    );
    // Not at compile time: clones that share a target directory share this program, too.
    let manifest = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is");
    let top = Path::new(&manifest).parent().expect("the server lies in a workspace");
    for source in source_hash::SOURCES {
        println!("cargo::rerun-if-changed={}", top.join(source).display());
    }
    println!("cargo::rerun-if-changed=source_hash.rs");
    println!("cargo::rustc-env=TREERING_SOURCE_HASH={}", source_hash::source_hash(top));
}
