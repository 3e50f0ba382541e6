use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::*;

fn event<'a>(report: Option<&'a Value>) -> Event<'a> {
    Event {
        time: 1_700_000_000,
        path: "./llama",
        log: Some("log.example"),
        online: false,
        exit: Exit::NotVerified,
        report,
        evidence: &["fork-size"],
        error: None,
    }
}

fn read(line: &[u8]) -> Value {
    assert!(line.is_ascii() && line.len() <= EVENT_LEN_MAX, "{} bytes", line.len());
    assert_eq!(line.iter().position(|b| *b == b'\n'), Some(line.len() - 1));
    serde_json::from_slice(line).unwrap()
}

#[test]
fn an_event_has_what_the_report_has_and_more() {
    let report = json!({
        "schema": "treering.report/v1",
        "verified": false,
        "exit": 1,
        "checks": [{"check": "bytes", "outcome": "failed", "why": "changed", "details": ["a"]}],
        "findings": [{"rule": "revoked"}],
    });
    let read = read(&event(Some(&report)).line());
    let expected = json!({
        "schema": EVENT_SCHEMA,
        "time": "2023-11-14T22:13:20Z",
        "path": "./llama",
        "log": "log.example",
        "online": false,
        "exit": 1,
        "verified": false,
        "error": null,
        "evidence": ["fork-size"],
        "cut": false,
        "checks": report["checks"],
        "findings": report["findings"],
    });
    assert_eq!(read, expected);
}

#[test]
fn without_a_report_the_error_is_told() {
    let event = Event { error: Some(("nothing was verified", "no trust")), ..event(None) };
    let read = read(&event.line());
    assert_eq!(read["error"], json!({"what": "nothing was verified", "why": "no trust"}));
    assert_eq!(read["verified"], false);
}

#[test]
fn strangers_make_no_line_and_no_long_one() {
    let text = "\u{2028}\u{85}\n\u{1b}\u{7f}\u{1f999}".repeat(300);
    let many: Vec<Value> = (0..100).map(|_| json!(text)).collect();
    let check = json!({"check": "bytes", "outcome": "failed", "why": text, "details": many});
    let checks: Vec<Value> = (0..CHECKS_MAX).map(|_| check.clone()).collect();
    let report = json!({"checks": checks, "ignoredFound": many, "model": {"name": text}});
    let long = Event { path: &text, ..event(Some(&report)) };
    let read = read(&long.line());
    assert_eq!(read["cut"], true);
    assert_eq!(read["checks"].as_array().unwrap().len(), CHECKS_MAX, "no check is left out");
    assert!(read["path"].as_str().unwrap().starts_with('\u{2028}'));
}

#[test]
fn what_no_bound_makes_short_is_told_in_short() {
    let members: Map<String, Value> =
        (0..5_000).map(|at| (format!("member {at}"), json!("text"))).collect();
    let report = Value::Object(members);
    let read = read(&event(Some(&report)).line());
    assert_eq!((&read["exit"], &read["cut"]), (&json!(1), &json!(true)));
    assert_eq!(read.as_object().unwrap().len(), 5);
}

#[test]
fn lines_are_appended_to_a_private_file_and_writers_do_not_mix() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("events.jsonl");
    let line = |at: usize| format!("{{\"{at}\":\"{}\"}}\n", "x".repeat(50_000));
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (path, line) = (&path, &line);
            scope.spawn(move || {
                for _ in 0..10 {
                    append(path, line(writer).as_bytes()).unwrap();
                }
            });
        }
    });
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut counts = [0; 8];
    for found in text.split_inclusive('\n') {
        let writer = (0..8).find(|at| line(*at) == found).expect("a whole line of one writer");
        counts[writer] += 1;
    }
    assert_eq!(counts, [10; 8]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    append(&path, b"{}\n").unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o640, "an existing file keeps its mode");
}

#[test]
fn a_line_after_a_part_of_one_is_not_lost_with_it() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("events.jsonl");
    append(&path, b"{}\n").unwrap();
    // Such as a full disk leaves.
    std::fs::write(&path, b"{}\n{\"schema\":\"tree").unwrap();
    append(&path, b"{\"exit\":7}\n").unwrap();
    append(&path, b"{\"exit\":0}\n").unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text, "{}\n{\"schema\":\"tree\n{\"exit\":7}\n{\"exit\":0}\n");
    // Somebody who keeps the file locked delays nothing, and who may only write writes.
    let holder = File::open(&path).unwrap();
    flock(&holder, FlockOperation::LockExclusive).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o200)).unwrap();
    append(&path, b"{\"exit\":5}\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.ends_with("{\"exit\":0}\n{\"exit\":5}\n"), "{text}");
}

#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let dir = tempfile::TempDir::new().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(append(&pipe, b"{}\n").is_err());
    assert!(append(dir.path(), b"{}\n").is_err());
    assert!(append(&dir.path().join("missing/events"), b"{}\n").is_err());
    let device = append(Path::new("/dev/null"), b"{}\n").unwrap_err();
    assert_eq!(device.to_string(), "it is not a regular file");
}
