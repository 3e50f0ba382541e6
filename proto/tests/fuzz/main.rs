//! Every parser of bytes that strangers send, against a fixed number of changed examples. The
//! coverage-guided fuzzer (`./scripts/fuzz`) runs the same targets; docs/fuzzing.md says how both
//! are used.
//!
//! | variable | meaning |
//! |---|---|
//! | `TREERING_FUZZ_SEED` | the seed, as a failure prints it |
//! | `TREERING_FUZZ_CASES` | cases for each target |
//! | `TREERING_FUZZ_TARGET` | this target only |
//! | `TREERING_FUZZ_CORPUS` | a directory that the examples are written to |
//! | `TREERING_FUZZ_INPUT` | a file that the target is given, and nothing else |
//!
//! Invariant: a run is a function of its seed. Out of scope: how long a case takes.

mod examples;
mod mutate;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

use mutate::Random;
use targets::{TARGETS, Target};

/// Cases for each target: a few seconds in all, in a release build.
const CASES: usize = 2_000;

/// The seed of a run that nobody gave one to. Fixed, so that a run that failed fails again.
const SEED: u64 = 0x7265_6572_696e_6731;

#[expect(clippy::disallowed_methods, reason = "proto reads no environment; its tests may")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Option<u64> {
    let text = variable(name)?;
    let parsed = match text.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16),
        None => text.parse(),
    };
    Some(parsed.unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// Each target's seed depends on its name, so that one target alone meets the same cases.
fn seed_of(seed: u64, name: &str) -> u64 {
    name.bytes().fold(seed, |mixed, byte| mixed.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte))
}

#[test]
fn no_changed_example_breaks_a_parser() {
    if let Some(path) = variable("TREERING_FUZZ_INPUT") {
        let input = std::fs::read(path).expect("TREERING_FUZZ_INPUT names a file");
        let only = variable("TREERING_FUZZ_TARGET").expect("TREERING_FUZZ_TARGET says which");
        let (name, target) = TARGETS.iter().find(|(name, _)| *name == only).expect("a target");
        println!("{name}: taken: {}", target(&input));
        return;
    }
    let seed = number("TREERING_FUZZ_SEED").unwrap_or(SEED);
    let cases = number("TREERING_FUZZ_CASES").map_or(CASES, |cases| cases as usize);
    let only = variable("TREERING_FUZZ_TARGET");
    println!("TREERING_FUZZ_SEED={seed:#x} TREERING_FUZZ_CASES={cases}");
    let examples = examples::all();
    for (name, target) in TARGETS {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let mut random = Random(seed_of(seed, name));
        let own = &examples[name];
        let taken = (0..cases).filter(|at| run(name, target, seed, *at, &mut random, own)).count();
        println!("{name:>18}: {taken} of {cases} cases taken");
    }
}

/// One case; a panic is passed on after it was said which case it is and where its bytes are.
fn run(
    name: &str,
    target: Target,
    seed: u64,
    at: usize,
    random: &mut Random,
    examples: &[Vec<u8>],
) -> bool {
    let case = mutate::case(random, examples);
    catch_unwind(AssertUnwindSafe(|| target(&case))).unwrap_or_else(|panic| {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
        let kept = std::fs::write(&file, &case);
        eprintln!("case {at} of target {name} failed: {}", String::from_utf8_lossy(&case));
        eprintln!("again: TREERING_FUZZ_SEED={seed:#x} TREERING_FUZZ_TARGET={name}");
        if kept.is_ok() {
            eprintln!("its bytes: TREERING_FUZZ_INPUT={}", file.display());
        }
        resume_unwind(panic)
    })
}

/// Without this a target could refuse everything and look sound.
#[test]
fn every_example_is_taken_by_its_target() {
    let examples = examples::all();
    for (name, target) in TARGETS {
        let own = examples.get(name).unwrap_or_else(|| panic!("{name} has no example"));
        for example in own {
            assert!(target(example), "{name}: {}", String::from_utf8_lossy(example));
        }
        let Some(corpus) = variable("TREERING_FUZZ_CORPUS") else { continue };
        let folder = PathBuf::from(corpus).join(name);
        std::fs::create_dir_all(&folder).expect("the corpus can be written");
        for (at, example) in own.iter().enumerate() {
            let file = folder.join(format!("example-{at}"));
            std::fs::write(file, example).expect("the corpus can be written");
        }
    }
    assert_eq!(examples.len(), TARGETS.len(), "examples of a target that is not there");
}

/// A failure is worth nothing that cannot be had again.
#[test]
fn the_same_seed_gives_the_same_cases() {
    let run = |seed| {
        let examples = examples::all();
        let mut random = Random(seed);
        let cases = (0..200).map(|_| mutate::case(&mut random, &examples["bundle"]));
        cases.collect::<Vec<_>>()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
