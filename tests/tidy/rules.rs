//! The rules. Each takes one file and returns where it breaks the rule; which files a rule is about
//! is part of the rule.
//!
//! Words that a rule bans are put together with `concat!`, so that this file passes its own rules.

use crate::source::{Source, closing_brace, is_word};

/// Lines of a file, inline tests not counted: what is read in one sitting.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function, signature and braces included: what fits one screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Characters of a line, as rustfmt has it.
const COLUMNS_MAX: usize = 100;

/// One place that breaks a rule.
pub(crate) struct Violation {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) what: String,
}

/// A rule, applied to every file of the tree.
pub(crate) type Rule = fn(&Source) -> Vec<Violation>;

/// At most [`FILE_LINES_MAX`] lines; files of nothing but tests may be longer.
pub(crate) fn file_size(file: &Source) -> Vec<Violation> {
    let lines = file.production_line_count();
    if !file.is_rust() || file.path().ends_with("/tests.rs") || lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![Violation { line: 1, what: format!("{lines} lines, at most {FILE_LINES_MAX}") }]
}

/// At most [`FUNCTION_LINES_MAX`] lines, in tests too.
pub(crate) fn function_size(file: &Source) -> Vec<Violation> {
    if !file.is_rust() {
        return Vec::new();
    }
    let code = file.code();
    let functions = occurrences(&code, "fn").filter_map(|at| function_lines(&code, at));
    functions
        .filter(|(_, _, lines)| *lines > FUNCTION_LINES_MAX)
        .map(|(at, name, lines)| {
            let what = format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}");
            Violation { line: line_of(&code, at), what }
        })
        .collect()
}

/// The first line is a `//!` comment; `tests.rs` is described by the module it tests.
pub(crate) fn module_header(file: &Source) -> Vec<Violation> {
    if !file.is_rust() || file.path().ends_with("/tests.rs") || file.text().starts_with("//! ") {
        return Vec::new();
    }
    vec![Violation { line: 1, what: "does not open with `//!`".to_owned() }]
}

/// At most [`COLUMNS_MAX`] characters, the insides of string literals and addresses not counted.
pub(crate) fn columns(file: &Source) -> Vec<Violation> {
    let is_code = file.is_rust()
        || file.is_script()
        || [".py", ".mjs"].iter().any(|extension| file.path().ends_with(extension));
    if !is_code {
        return Vec::new();
    }
    file.lines_without_literals()
        .enumerate()
        .filter(|(_, line)| line.chars().count() > COLUMNS_MAX && !line.contains("://"))
        .map(|(index, line)| {
            let what = format!("{} columns, at most {COLUMNS_MAX}", line.chars().count());
            Violation { line: index + 1, what }
        })
        .collect()
}

/// Words that code below a folder must not contain, tests included.
const ARROWS: &[(&str, &[&str])] = &[
    ("proto/src/", &["treering_server", "treering_client", "rocksdb", "hyper", "tokio", "reqwest"]),
    ("proto/src/", &["std::fs", "std::net", "std::env", "std::process", "std::thread"]),
    ("proto/src/", &["SystemTime", "Instant::now", "Timestamp::now", "async", "unsafe"]),
    ("server/src/", &["treering_client"]),
    ("server/src/http", &["rocksdb"]),
    ("server/src/store", &["hyper", "http_body_util"]),
    ("client/src/", &["treering_server", "rocksdb"]),
    ("client/src/verify", &["reqwest", "transport"]),
];

/// Dependencies point to `proto` and go one way; `proto` has no IO, no clock, no `async`.
pub(crate) fn arrows(file: &Source) -> Vec<Violation> {
    let code = file.code();
    let banned = ARROWS
        .iter()
        .filter(|(folder, _)| file.is_rust() && file.path().starts_with(folder))
        .flat_map(|(_, words)| *words);
    banned.flat_map(|word| found(&code, word)).collect()
}

/// The same arrows in the manifests: the part of the dependency that is not for tests.
pub(crate) fn manifest_arrows(file: &Source) -> Vec<Violation> {
    let banned: &[&str] = match file.path() {
        "proto/Cargo.toml" => &["treering-server", "treering-client", "rocksdb", "tokio", "hyper"],
        "server/Cargo.toml" => &["treering-client"],
        "client/Cargo.toml" => &["treering-server", "rocksdb"],
        _ => return Vec::new(),
    };
    let names_a_dependency = |line: &str, name: &str| {
        line.starts_with(&format!("{name}.")) || line.starts_with(&format!("{name} "))
    };
    let lines = file.text().lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let name = banned.iter().find(|name| names_a_dependency(line, name))?;
            Some(Violation { line: index + 1, what: format!("depends on `{name}`") })
        })
        .collect()
}

/// Only `clock.rs` reads the time of day in the server.
pub(crate) fn one_clock(file: &Source) -> Vec<Violation> {
    if !file.path().starts_with("server/src/") || file.path() == "server/src/clock.rs" {
        return Vec::new();
    }
    let code = file.production_code();
    ["SystemTime::now", "Timestamp::now"].iter().flat_map(|word| found(&code, word)).collect()
}

/// No place holders, no tests that do not run, no left-over debugging.
pub(crate) fn unfinished(file: &Source) -> Vec<Violation> {
    if !file.is_rust() {
        return Vec::new();
    }
    let code = file.code();
    let macros = ["todo!", "unimplemented!", "dbg!"].iter().flat_map(|word| found(&code, word));
    let attributes = ["#[ignore", "#![allow"].iter().flat_map(|word| found(&code, word));
    macros.chain(attributes).collect()
}

/// `TODO(name): what`; the other words for it are not used.
pub(crate) fn todo_owner(file: &Source) -> Vec<Violation> {
    let text = file.text();
    let owned = |at: usize| {
        let rest = &text[at..];
        rest.starts_with('(') && rest[1..].starts_with(|c: char| c.is_alphabetic())
    };
    let todo = concat!("TO", "DO");
    let unowned = occurrences(text, todo)
        .filter(|at| !owned(at + todo.len()))
        .map(|at| Violation { line: line_of(text, at), what: format!("{todo} without an owner") });
    let others = [concat!("FIX", "ME"), concat!("X", "XX")];
    unowned.chain(others.iter().flat_map(|word| found(text, word))).collect()
}

/// No sleep in tests, in Rust, Python or JavaScript.
pub(crate) fn sleepless_tests(file: &Source) -> Vec<Violation> {
    if file.is_rust() {
        return found(&file.test_code(), "sleep").collect();
    }
    if file.path().starts_with("tests/") && file.path().ends_with(".py") {
        return found(file.text(), concat!("time.", "sleep")).collect();
    }
    if file.path().starts_with("tests/") && file.path().ends_with(".mjs") {
        return found(file.text(), concat!("set", "Timeout")).collect();
    }
    Vec::new()
}

/// No reference to anything that a reader of this repository does not have.
pub(crate) fn points_outside(file: &Source) -> Vec<Violation> {
    let text = file.text();
    let words = [concat!("DESI", "GN"), concat!("sha", "red/facts"), concat!("/wo", "rk/")];
    let lower = text.to_ascii_lowercase();
    let issue = concat!("iss", "ue ");
    let issues = occurrences(&lower, issue.trim_end()).filter(|at| {
        let rest = lower[at + issue.len() - 1..].trim_start_matches([' ', '#']);
        lower[at + issue.len() - 1..].starts_with([' ', '#'])
            && rest.starts_with(|c: char| c.is_ascii_digit())
    });
    let issues = issues.map(|at| Violation {
        line: line_of(text, at),
        what: "names an entry of some tracker by number".to_owned(),
    });
    issues.chain(words.iter().flat_map(|word| found(text, word))).collect()
}

/// A script that is run stops at the first fault; one that is sourced leaves that to its caller.
pub(crate) fn strict_scripts(file: &Source) -> Vec<Violation> {
    let strict = concat!("set -euo ", "pipefail");
    if !file.is_script() || file.text().lines().any(|line| line == strict) {
        return Vec::new();
    }
    vec![Violation { line: 1, what: format!("runs without `{strict}`") }]
}

/// Position, name and number of lines of the function whose `fn` is at `at`; `None` for a function
/// pointer and for a declaration without a body.
fn function_lines(code: &str, at: usize) -> Option<(usize, String, usize)> {
    let name = code[at + 2..].trim_start();
    let name = name.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    if name.is_empty() {
        return None;
    }
    let mut brackets = 0_i32;
    for (offset, byte) in code[at..].bytes().enumerate() {
        match byte {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b';' if brackets == 0 => return None,
            b'{' if brackets == 0 => {
                let end = closing_brace(code, at + offset)?;
                return Some((at, name.to_owned(), code[at..end].matches('\n').count() + 1));
            }
            _ => {}
        }
    }
    None
}

fn found<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = Violation> + 'a {
    occurrences(text, word)
        .map(move |at| Violation { line: line_of(text, at), what: format!("contains `{word}`") })
}

/// Where `word` occurs and is not part of a longer identifier.
fn occurrences<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    let joins =
        |edge: u8, beside: Option<&u8>| is_word(edge) && beside.is_some_and(|b| is_word(*b));
    let first = word.as_bytes()[0];
    let last = word.as_bytes()[word.len() - 1];
    text.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = at.checked_sub(1).and_then(|index| bytes.get(index));
        !joins(first, before) && !joins(last, bytes.get(at + word.len()))
    })
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests;
