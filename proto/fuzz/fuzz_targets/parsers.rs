//! The targets of `proto/tests/fuzz`, guided by coverage. `TREERING_FUZZ_TARGET` says which one;
//! each has a corpus of its own, so one binary serves them all.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

#[path = "../../tests/fuzz/targets.rs"]
mod targets;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("TREERING_FUZZ_TARGET").unwrap_or_default();
    let names = || TARGETS.map(|(name, _)| name).join(" ");
    match TARGETS.iter().find(|(known, _)| *known == name) {
        Some((_, target)) => *target,
        None => panic!("TREERING_FUZZ_TARGET is {name:?}, and must be one of: {}", names()),
    }
});

fuzz_target!(|data: &[u8]| {
    TARGET(data);
});
