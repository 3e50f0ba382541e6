//! The rules of the house, as tests: sizes, headers, columns, who may depend on whom, and words
//! that do not belong here. A rule is a function from one file to its violations; each is a test.
//!
//! The rules read source text. A small scanner tells code, comments and string literals apart, so
//! that a rule about code does not trip over prose, and the other way round.
//!
//! Out of scope: formatting and what clippy knows; both run beside this in `scripts/test`.

mod rules;
mod source;

use rules::Rule;
use source::Source;

/// Fails with every violation of `rule` in the tree and what to do about them.
fn enforce(rule: Rule, what_to_do: &str) {
    let tree = source::tree();
    assert!(tree.len() > 20, "only {} files found: the walk is broken", tree.len());
    let found = tree.iter().flat_map(|file| violations(rule, file)).collect::<Vec<_>>();
    assert!(
        found.is_empty(),
        "{} violation(s):\n\n{}\n\nWhat to do: {what_to_do}\n",
        found.len(),
        found.join("\n")
    );
}

fn violations(rule: Rule, file: &Source) -> Vec<String> {
    rule(file)
        .into_iter()
        .map(|violation| format!("  {}:{}: {}", file.path(), violation.line, violation.what))
        .collect()
}

#[test]
fn files_are_short() {
    enforce(
        rules::file_size,
        "split the file along its top-down order; move tests longer than 150 lines to x/tests.rs.",
    );
}

#[test]
fn functions_are_short() {
    enforce(rules::function_size, "take a step out of the function and give it a name.");
}

#[test]
fn files_open_with_what_they_are() {
    enforce(
        rules::module_header,
        "open the file with `//!`: what it is, the specification it implements, its invariants, \
         and what is out of scope.",
    );
}

#[test]
fn lines_fit_the_screen() {
    enforce(
        rules::columns,
        "wrap the line; only string literals and addresses may be longer than the limit.",
    );
}

#[test]
fn arrows_point_to_proto() {
    enforce(
        rules::arrows,
        "server and client both depend on proto and never on each other; proto is pure; http knows \
         no RocksDB, store knows no HTTP. Pass what is needed in as a value, or move it to proto.",
    );
}

#[test]
fn manifests_follow_the_arrows() {
    enforce(
        rules::manifest_arrows,
        "remove the dependency: what two packages share are bytes, and bytes belong in proto.",
    );
}

#[test]
fn one_clock_in_the_server() {
    enforce(
        rules::one_clock,
        "take the time from the clock that `main` made (server/src/clock.rs), so that tests can set \
         it and drift is noticed in one place.",
    );
}

#[test]
fn nothing_is_unfinished() {
    enforce(
        rules::unfinished,
        "finish it, or leave it out; a test that cannot run says why and fails.",
    );
}

#[test]
fn todos_have_owners() {
    enforce(rules::todo_owner, "write the owner in brackets right after the word, or do it now.");
}

#[test]
fn tests_do_not_sleep() {
    enforce(
        rules::sleepless_tests,
        "wait for the event itself: a channel, a ready line, an answer; or move a paused clock.",
    );
}

#[test]
fn nothing_points_outside() {
    enforce(
        rules::points_outside,
        "cite docs/design.md or a public specification; a reader has only this repository.",
    );
}

#[test]
fn scripts_stop_at_the_first_fault() {
    enforce(rules::strict_scripts, "put `set -euo pipefail` before the first command.");
}
