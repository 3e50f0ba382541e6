use super::*;

/// The lines that `rule` objects to in a file at `path` with this text.
fn lines(rule: Rule, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::new(path, text)).into_iter().map(|violation| violation.line).collect()
}

#[test]
fn file_size_counts_production_lines_only() {
    let full = "//! a\n".repeat(FILE_LINES_MAX);
    let with_tests = format!("{full}#[cfg(test)]\nmod tests {{\n\n}}\n");
    assert_eq!(lines(file_size, "proto/src/a.rs", &with_tests), []);
    assert_eq!(lines(file_size, "proto/src/a.rs", &format!("{full}\n")), [1]);
    assert_eq!(lines(file_size, "proto/src/a/tests.rs", &format!("{full}\n")), []);
}

#[test]
fn function_size_spans_signature_to_brace() {
    let function = |lines: usize| format!("\nfn a(\n) {{{}}}\n", "\n".repeat(lines - 2));
    assert_eq!(lines(function_size, "a.rs", &function(FUNCTION_LINES_MAX)), []);
    assert_eq!(lines(function_size, "a.rs", &function(FUNCTION_LINES_MAX + 1)), [2]);
}

#[test]
fn function_size_ignores_pointers_and_declarations() {
    let rest = "\n".repeat(FUNCTION_LINES_MAX + 1);
    assert_eq!(lines(function_size, "a.rs", &format!("type A = fn(u8);{rest}struct B {{}}")), []);
    assert_eq!(lines(function_size, "a.rs", &format!("fn a(b: [u8; 2]);{rest}struct B {{}}")), []);
}

#[test]
fn module_header_is_the_first_line() {
    assert_eq!(lines(module_header, "proto/src/a.rs", "//! What it is.\n"), []);
    assert_eq!(lines(module_header, "proto/src/a.rs", "use a;\n//! What it is.\n"), [1]);
    assert_eq!(lines(module_header, "proto/src/a/tests.rs", "use super::*;\n"), []);
}

#[test]
fn columns_count_characters_outside_literals() {
    let wide = "a".repeat(COLUMNS_MAX);
    assert_eq!(lines(columns, "a.rs", &format!("{wide}\n{wide}a\n")), [2]);
    assert_eq!(lines(columns, "a.rs", &format!("let b = \"{wide}\";\n")), []);
    assert_eq!(lines(columns, "a.rs", &format!("// https://{wide}\n")), []);
    assert_eq!(lines(columns, "a.rs", &"é".repeat(COLUMNS_MAX)), []);
    assert_eq!(lines(columns, "tests/interop/js/a.mjs", &format!("{wide}a\n")), [1]);
    assert_eq!(lines(columns, "docs/a.md", &format!("{wide}a\n")), []);
}

#[test]
fn arrows_are_about_code_below_their_folder() {
    assert_eq!(lines(arrows, "proto/src/a.rs", "use std::fs;\nuse std::fmt;\n"), [1]);
    assert_eq!(lines(arrows, "proto/src/a.rs", "// std::fs is not for us\n"), []);
    assert_eq!(lines(arrows, "proto/src/a.rs", "fn is_async_runtime() {}\n"), []);
    assert_eq!(lines(arrows, "server/src/a.rs", "\nuse treering_client::log;\n"), [2]);
    assert_eq!(lines(arrows, "client/src/a.rs", "use treering_server::http;\n"), [1]);
    assert_eq!(lines(arrows, "server/src/http/mod.rs", "use rocksdb::DB;\n"), [1]);
    assert_eq!(lines(arrows, "server/src/store/mod.rs", "use rocksdb::DB;\n"), []);
    assert_eq!(lines(arrows, "server/src/store/mod.rs", "use hyper::Request;\n"), [1]);
}

#[test]
fn manifest_arrows_read_dependency_names() {
    assert_eq!(lines(manifest_arrows, "client/Cargo.toml", "rocksdb.workspace = true\n"), [1]);
    assert_eq!(lines(manifest_arrows, "client/Cargo.toml", "name = \"treering-client\"\n"), []);
    let path = "server/Cargo.toml";
    assert_eq!(lines(manifest_arrows, path, "treering-client = { path = \"..\" }\n"), [1]);
    assert_eq!(lines(manifest_arrows, path, "rocksdb.workspace = true\n"), []);
}

#[test]
fn one_clock_spares_tests_and_the_clock() {
    let text = "let t = SystemTime::now();\n";
    assert_eq!(lines(one_clock, "server/src/http/mod.rs", text), [1]);
    assert_eq!(lines(one_clock, "server/src/clock.rs", text), []);
    assert_eq!(lines(one_clock, "server/src/http/tests.rs", text), []);
}

#[test]
fn unfinished_is_about_code() {
    assert_eq!(lines(unfinished, "a.rs", "fn a() { todo!() }\n"), [1]);
    assert_eq!(lines(unfinished, "a.rs", "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n"), [2]);
    assert_eq!(lines(unfinished, "a.rs", "// unimplemented! is not used\n"), []);
}

#[test]
fn todo_needs_a_name() {
    let todo = concat!("TO", "DO");
    assert_eq!(lines(todo_owner, "a.rs", &format!("// {todo}: later\n")), [1]);
    assert_eq!(lines(todo_owner, "a.rs", &format!("// {todo}(): later\n")), [1]);
    assert_eq!(lines(todo_owner, "a.rs", &format!("// {todo}(ada): later\n")), []);
    assert_eq!(lines(todo_owner, "a.sh", &format!("# {}\n", concat!("FIX", "ME"))), [1]);
}

#[test]
fn sleep_is_banned_in_tests_only() {
    let waits = "fn a() { std::thread::sleep(b) }\n";
    assert_eq!(lines(sleepless_tests, "server/src/pool.rs", waits), []);
    assert_eq!(lines(sleepless_tests, "server/src/pool/tests.rs", waits), [1]);
    let inline = format!("//! a\n#[cfg(test)]\nmod tests {{\n{waits}}}\n");
    assert_eq!(lines(sleepless_tests, "server/src/pool.rs", &inline), [4]);
    let python = concat!("time.", "sleep(1)\n");
    assert_eq!(lines(sleepless_tests, "tests/interop/a.py", python), [1]);
    let javascript = concat!("set", "Timeout(a, 1);\n");
    assert_eq!(lines(sleepless_tests, "tests/interop/js/a.mjs", javascript), [1]);
}

#[test]
fn trackers_and_foreign_paths_are_outside() {
    for text in [concat!("see iss", "ue 12"), concat!("see Iss", "ue #12"), concat!("DESI", "GN 7")]
    {
        assert_eq!(lines(points_outside, "docs/a.md", text), [1], "{text}");
    }
    assert_eq!(lines(points_outside, "docs/a.md", "see docs/design.md"), []);
    assert_eq!(lines(points_outside, "docs/a.md", "issues, 12 of them, and issued 3"), []);
}

#[test]
fn scripts_are_strict() {
    let strict = concat!("set -euo ", "pipefail");
    assert_eq!(lines(strict_scripts, "scripts/a", "#!/usr/bin/env bash\ntrue\n"), [1]);
    assert_eq!(lines(strict_scripts, "scripts/a", &format!("#!/bin/sh\n{strict}\n")), []);
    assert_eq!(lines(strict_scripts, "scripts/lib.sh", "# sourced\n"), []);
}
