//! What an operator has beside the log: `doctor`, `health`, `journal`, the unit and the image.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;
use treering_server::journal::{Act, Journal, Line};
use treering_tests::authority::Authority;
use treering_tests::server::{Log, run, text};

/// The report of `doctor` on `log`, and its exit code.
fn doctor(log: &Log, flags: &[&str]) -> (Value, Option<i32>) {
    let common = ["doctor", "--listen", "127.0.0.1:0", "--output", "json"];
    let output = log.run(&[&common, flags].concat());
    (json(&output), output.status.code())
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stderr)))
}

fn outcome(report: &Value, name: &str) -> String {
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == name);
    let check = check.unwrap_or_else(|| panic!("no check {name} in {report}"));
    check["outcome"].as_str().unwrap().to_owned()
}

#[test]
fn doctor_finds_a_new_log_in_order_and_takes_no_lock() {
    let log = Log::create();
    let server = log.serve();
    let (report, _) = doctor(&log, &["--min-free-disk", "1"]);
    for name in ["data-directory", "owner", "directory-mode", "key-mode", "anchor", "ballast"] {
        assert_eq!(outcome(&report, name), "ok", "{name} of {report}");
    }
    for name in ["anchor-volume", "write-control", "witness"] {
        assert_eq!(outcome(&report, name), "warn", "{name} of {report}");
    }
    let left = fs::read_dir(&log.data).unwrap().flatten();
    let mut names = left.map(|entry| entry.file_name().to_string_lossy().into_owned());
    assert!(!names.any(|name| name.starts_with("doctor")), "it leaves nothing behind");
    assert_eq!(server.terminate().code(), Some(0));
}

#[test]
fn doctor_fails_for_what_would_lose_a_log() {
    let log = Log::create();
    let key = log.data.join("keys/note.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (report, code) = doctor(&log, &["--min-free-disk", "1"]);
    assert_eq!((outcome(&report, "key-mode").as_str(), code), ("fail", Some(1)));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let (report, code) = doctor(&log, &["--min-free-disk", &u64::MAX.to_string()]);
    assert_eq!((outcome(&report, "free-space").as_str(), code), ("fail", Some(1)));
    fs::remove_file(&log.anchor).unwrap();
    let (report, code) = doctor(&log, &["--min-free-disk", "1"]);
    assert_eq!((outcome(&report, "anchor").as_str(), code), ("fail", Some(1)));
    let output = run(&["doctor", "--data", text(&log.beside("nothing"))]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("FAIL  data-directory") && said.contains("do:  "), "{said}");
}

#[test]
fn doctor_reads_the_files_of_tls() {
    let (log, authority) = (Log::create(), Authority::new());
    let place = log.beside("");
    let (certificate, key) = authority.server().write(&place, "server");
    let (_, other_key) = authority.server().write(&place, "other");
    let tls = |key: &Path| {
        let flags = ["--tls-certificate", text(&certificate), "--tls-key", text(key)];
        outcome(&doctor(&log, &flags).0, "tls-certificate")
    };
    assert_eq!(tls(&key), "ok");
    assert_eq!(tls(&other_key), "fail", "the key of another certificate");
    assert_eq!(tls(&certificate), "fail", "no key at all");
}

#[test]
fn health_tells_alive_from_ready_and_hears_nothing_from_the_dead() {
    let log = Log::create();
    let server = log.serve_with(&["--open-writes", "--min-free-disk", &u64::MAX.to_string()], None);
    let url = format!("http://{}", server.address);
    let health = |flags: &[&str]| run(&[&["health", "--health-url", &url], flags].concat());
    assert_eq!(health(&[]).status.code(), Some(0), "short of disk, but alive");
    // The sequencer looks at the disk in its first turn.
    let sees = || health(&["--health-ready"]).status.code() == Some(1);
    assert!((0..2000).any(|_| sees()), "not ready: nothing may be written");
    server.terminate();
    assert_eq!(health(&[]).status.code(), Some(5), "nobody answers");
    assert_eq!(run(&["health", "--health-url", "nowhere"]).status.code(), Some(2));
}

#[test]
fn journal_shows_lines_and_finds_a_changed_one() {
    let log = Log::create();
    let directory = log.data.join("journal");
    assert_eq!(log.run(&["journal", "verify"]).status.code(), Some(2), "there is none");
    let journal = Journal::open(&directory).unwrap();
    for principal in ["ci", "somebody"] {
        let line = Line {
            request: "1",
            act: Act::Refuse,
            principal,
            source: None,
            project: None,
            rule: None,
            kind: None,
            leaf: None,
            index: None,
            outcome: "not-allowed",
            repeated: 0,
        };
        journal.write(&line).unwrap();
    }
    let shown = log.run(&["journal", "show", "--principal", "ci"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.lines().count(), 1);
    assert!(shown.contains("\"principal\":\"ci\""), "{shown}");
    let since = ["journal", "show", "--since", "9999-01-01T00:00:00Z"];
    assert_eq!(log.run(&since).status.code(), Some(3), "nothing fits");

    let report = json(&log.run(&["journal", "verify"]));
    assert_eq!((&report["whole"], &report["lines"]), (&true.into(), &3.into()));
    let head = report["head"].as_str().unwrap();
    assert_eq!(log.run(&["journal", "verify", "--head", head]).status.code(), Some(0));
    let other = format!("3:{}", "00".repeat(32));
    assert_eq!(log.run(&["journal", "verify", "--head", &other]).status.code(), Some(6));
    let segment = directory.join("000001.jsonl");
    let changed = fs::read_to_string(&segment).unwrap().replace("\"ci\"", "\"di\"");
    fs::write(&segment, changed).unwrap();
    let output = log.run(&["journal", "verify"]);
    assert_eq!(output.status.code(), Some(6));
    assert_eq!(json(&output)["findings"][0]["problem"], "changed");
}

/// A file of this repository.
fn source(path: &str) -> String {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_command_of_the_unit_is_one_that_the_server_takes() {
    let unit = source("deploy/treering-server.service");
    let command = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words[..2], ["/usr/local/bin/treering-server", "serve"]);
    let log = Log::create();
    let here = |word: &str| word.replace("/var/lib/treering/log", text(&log.data));
    let flags: Vec<String> = words[2..].iter().map(|word| here(word)).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let output = run(&[&["config", "check"], flags.as_slice()].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_commands_of_the_image_are_ones_that_the_server_takes() {
    let image = source("Dockerfile");
    let words = |line: &str| -> Vec<String> {
        let list = line.split_once('[').map(|(_, list)| format!("[{list}")).unwrap();
        serde_json::from_str(&list).unwrap()
    };
    let entry = image.lines().find(|line| line.starts_with("ENTRYPOINT")).unwrap();
    assert_eq!(words(entry), ["treering-server"]);
    let serve = image.lines().find(|line| line.starts_with("CMD")).unwrap();
    let health = image.lines().find(|line| line.trim_start().starts_with("CMD") && *line != serve);
    for command in [words(serve), words(health.unwrap())] {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let command = command.strip_prefix(&["treering-server"]).unwrap_or(&command);
        let output = run(&[command, &["--help"]].concat());
        assert!(output.status.success(), "{command:?}");
    }
}
