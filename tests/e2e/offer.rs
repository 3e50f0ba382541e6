//! What a log offers and what it does not: one face alone, no envelopes through Rekor v2, no
//! entries at all, for a while or for ever.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use treering_proto::checkpoint::open_checkpoint;
use treering_tests::check::check_log;
use treering_tests::history::History;
use treering_tests::http::Response;
use treering_tests::model::statement;
use treering_tests::server::{Log, Server, copy_directory, replace_contents, run, text};
use treering_tests::submission::{Answer, Face, Signer, Submission, submit};

use crate::backup::{lose, restore_command, take_backup};
use crate::refusals::write;
use crate::restore::works;

fn hashedrekord(face: Face) -> Submission {
    Submission::hashedrekord(face, &Signer::new(), b"offered")
}

fn post(server: &Server, submission: &Submission) -> Response {
    server.connect().post(submission.face.path(), &submission.request).unwrap()
}

/// That `server` takes no entries, as a log that is read-only takes none, and is read.
fn is_read_only(server: &Server, label: &str) {
    let size = server.size();
    let v2 = post(server, &hashedrekord(Face::V2));
    let words = "This log has been frozen, please switch to the latest log.\n";
    assert_eq!((v2.status, v2.text()), (405, words.to_owned()));
    assert_eq!(v2.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(v2.header("treering-error"), Some(label));
    is_closed_v1(&post(server, &hashedrekord(Face::V1)), label);
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["writes"]), (200, &label.into()), "{}", ready.text());
    assert_eq!(ready.json()["label"], Value::Null);
    assert_eq!(server.size(), size, "nothing was added");
    for path in ["/checkpoint", "/api/v2/checkpoint", "/api/v1/log", "/api/treering/v1/identity"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert!(server.get("/metrics").text().contains("treering_latched 0\n"));
}

/// Rekor v1's answer where entries are not taken.
fn is_closed_v1(response: &Response, label: &str) {
    let message = "Create Entry API not enabled in this Rekor instance";
    let body = json!({ "code": 501, "message": message });
    assert_eq!((response.status, response.json()), (501, body));
    assert_eq!(response.header("treering-error"), Some(label));
}

#[test]
fn envelopes_are_refused_as_rekor_tiles_2_3_refuses_them_when_that_is_asked_for() {
    let log = Log::create();
    let server = log.serve_with(&["--open-writes", "--refuse-dsse"], None);
    let dsse = |face| Submission::dsse(face, &Signer::new(), &statement("refused", 1));
    let body = "{\"code\":3,\"message\":\"invalid type, must be hashedrekord\",\"details\":[]}\n";
    for request in [&dsse(Face::V2).request[..], b"{\"dsseRequestV002\":{}}", b"{}", b""] {
        let refused = server.connect().post(Face::V2.path(), request).unwrap();
        assert_eq!((refused.status, refused.text()), (400, body.to_owned()));
    }
    let malformed = server.connect().post(Face::V2.path(), b"{\"dsseRequestV002\":[]}").unwrap();
    assert_eq!(malformed.header("treering-error"), Some("malformed"), "what cannot be read is not");
    assert_eq!(post(&server, &hashedrekord(Face::V2)).status, 201);
    assert_eq!(post(&server, &dsse(Face::V1)).status, 201, "Rekor v1 takes envelopes still");
}

#[test]
fn a_log_with_one_face_takes_entries_through_it_alone() {
    let log = Log::create();
    let server = log.serve_with(&["--open-writes", "--write-faces", "v2"], None);
    is_closed_v1(&post(&server, &hashedrekord(Face::V1)), "face-closed");
    for number in 0..3 {
        let dsse = Submission::dsse(Face::V2, &Signer::new(), &statement("taken", number));
        assert_eq!(post(&server, &dsse).status, 201);
    }
    assert_eq!(post(&server, &hashedrekord(Face::V2)).status, 201);
    assert_eq!(server.get("/api/v1/log").json()["treeSize"], 4, "Rekor v1 reads work");
    for index in 0..4 {
        let entry = server.get(&format!("/api/treering/v1/entries/{index}")).json();
        assert_eq!(entry["kindVersion"]["version"], "0.0.2", "only bodies of Rekor v2: {entry}");
    }
    assert_eq!(server.get("/readyz").json()["writes"], "open");
    assert_eq!(server.terminate().code(), Some(0));

    let log = Log::create();
    let server = log.serve_with(&["--open-writes", "--write-faces=v1"], None);
    let refused = post(&server, &hashedrekord(Face::V2));
    assert_eq!((refused.status, refused.header("treering-error")), (405, Some("face-closed")));
    let body = refused.json();
    assert_eq!((&body["code"], &body["details"]), (&json!(12), &json!([])));
    assert!(body["message"].as_str().unwrap().contains("/api/v1/log/entries"), "{body}");
    assert_eq!(post(&server, &hashedrekord(Face::V1)).status, 201);
    assert_eq!(server.size(), 1);
}

/// What `doctor` says of the faces.
fn doctor(log: &Log, faces: &str) -> Option<Value> {
    let flags = ["--write-faces", faces, "--listen", "127.0.0.1:0", "--output", "json"];
    let output = log.run(&[&["doctor"], &flags[..]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap().clone();
    checks.into_iter().find(|check| check["name"] == "write-faces")
}

#[test]
fn a_face_that_is_closed_too_late_is_told_of_at_each_start_and_by_doctor() {
    let log = Log::create();
    let server = log.serve();
    assert_eq!(post(&server, &hashedrekord(Face::V2)).status, 201);
    assert_eq!(server.terminate().code(), Some(0));
    let v2_only = ["--open-writes", "--write-faces", "v2"];
    let warning = "came through Rekor v1";
    let ended = log.serve_with(&v2_only, None).terminate();
    assert!(!ended.stderr.contains(warning), "{}", ended.stderr);
    assert_eq!(doctor(&log, "v2").unwrap()["outcome"], "ok");
    assert_eq!(doctor(&log, "v1,v2"), None, "nothing is closed");

    let server = log.serve();
    assert_eq!(post(&server, &hashedrekord(Face::V1)).status, 201);
    assert_eq!(doctor(&log, "v2").unwrap()["outcome"], "warn", "beside a server that runs");
    assert_eq!(server.terminate().code(), Some(0));
    let server = log.serve_with(&v2_only, None);
    assert_eq!(post(&server, &hashedrekord(Face::V2)).status, 201, "it is told of, not refused");
    let ended = server.terminate();
    assert!(ended.stderr.contains(&format!("entry 1 {warning}")), "{}", ended.stderr);
    let said = doctor(&log, "v1").unwrap();
    assert!(said["what"].as_str().unwrap().contains("entry 0 came through it"), "{said}");
    let refused = log.run(&["config", "check", "--write-faces", "none"]);
    assert_eq!(refused.status.code(), Some(2));
}

#[test]
fn a_log_that_is_served_read_only_takes_entries_again_when_it_is_not() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 8);
    assert_eq!(server.terminate().code(), Some(0));
    let flags = ["--open-writes", "--read-only", "--min-free-disk", &u64::MAX.to_string()];
    let server = log.serve_with(&flags, None);
    is_read_only(&server, "read-only");
    check_log(&server, &mut history);
    assert_eq!(server.terminate().code(), Some(0));
    let server = log.serve();
    write(&server, &mut history, 4);
    check_log(&server, &mut history);
}

/// Runs `freeze --yes`, and what it prints.
fn freeze(log: &Log) -> Value {
    let output = log.run(&["freeze", "--yes"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_frozen_log_takes_no_entries_ever_again_whatever_the_flags_say() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    assert_eq!(log.run(&["freeze", "--yes"]).status.code(), Some(2), "it published nothing yet");
    let server = log.serve();
    write(&server, &mut history, 8);
    assert_eq!(log.run(&["freeze", "--yes"]).status.code(), Some(5), "a server has it open");
    let last = server.get("/checkpoint").text();
    assert_eq!(server.terminate().code(), Some(0));
    assert_eq!(log.run(&["freeze"]).status.code(), Some(2), "nobody said yes");
    let server = log.serve();
    assert_eq!(server.get("/readyz").json()["writes"], "open", "none of these froze it");
    assert_eq!(server.terminate().code(), Some(0));

    let frozen = freeze(&log);
    let keys = [log.identity.note_key().clone()];
    let opened = open_checkpoint(last.as_bytes(), log.identity.origin(), &keys).unwrap();
    assert_eq!(frozen["checkpoint"], last);
    assert_eq!(frozen["treeSize"], "8");
    assert_eq!(frozen["rootHash"], opened.head().root.to_hex());
    assert_eq!(freeze(&log), frozen, "saying it again changes nothing");

    for flags in [&["--open-writes"][..], &["--open-writes", "--read-only=false"]] {
        let server = log.serve_with(flags, None);
        is_read_only(&server, "frozen");
        check_log(&server, &mut history);
        let ended = server.terminate();
        assert!(ended.stderr.contains("the log is frozen"), "{}", ended.stderr);
        assert_eq!(ended.code(), Some(0));
    }
    let checked = log.run(&["fsck"]);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn a_backup_of_a_frozen_log_is_restored_as_one() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let server = log.serve();
    write(&server, &mut history, 8);
    assert_eq!(server.terminate().code(), Some(0));
    freeze(&log);
    let backup = log.beside("frozen.backup");
    take_backup(&log.data, &backup);
    let (_, keys) = lose(&log);
    let restored = run(&restore_command(&log, &backup, &keys));
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let refused = log.run(&["freeze", "--yes"]);
    assert_eq!(refused.status.code(), Some(2), "it must be started once first");
    let server = log.serve();
    is_read_only(&server, "frozen");
    check_log(&server, &mut history);
    assert_eq!(server.terminate().code(), Some(0));

    let new = log.beside("new");
    let flags = ["--as-new-log", "--url", "https://new.corp", "--data", text(&new)];
    let made = run(&[&["restore", text(&backup)], &flags[..]].concat());
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let server = Server::start(&new, &["--open-writes"], None).unwrap();
    let answer = submit(&mut server.connect(), &hashedrekord(Face::V2)).unwrap();
    assert!(matches!(answer, Answer::Logged { index: 8, .. }), "a log of its own: {answer:?}");
    assert!(fs::exists(log.data.join("FORMAT")).unwrap());
}

/// A log of `size` entries that is not served, as it was before it was frozen and after: two
/// backups. It is not frozen when this returns: as one that was put back from before.
fn before_and_after_freezing(log: &Log, history: &mut History, size: u64) -> [PathBuf; 2] {
    let server = log.serve();
    write(&server, history, size - server.size());
    assert_eq!(server.terminate().code(), Some(0));
    let (before, anchor) = (log.beside(&format!("before-{size}")), fs::read(&log.anchor).unwrap());
    copy_directory(&log.data, &before);
    let backups = ["open", "frozen"].map(|name| log.beside(&format!("{name}-{size}.backup")));
    take_backup(&log.data, &backups[0]);
    freeze(log);
    take_backup(&log.data, &backups[1]);
    replace_contents(&before, &log.data);
    fs::write(&log.anchor, anchor).unwrap();
    backups
}

/// Nothing takes freezing back: neither that what is restored is older, nor that what is missing
/// comes from a copy that was not frozen.
#[test]
fn a_log_that_is_refilled_is_frozen_if_either_copy_was() {
    let log = Log::create();
    let mut history = History::new(&log.identity);
    let [open_8, frozen_8] = before_and_after_freezing(&log, &mut history, 8);
    let [open_12, frozen_12] = before_and_after_freezing(&log, &mut history, 12);
    let (_, keys) = lose(&log);
    let anchor = fs::read(&log.anchor).unwrap();
    let refilled = |backup: &Path, source: &Path| {
        let restored = works(&restore_command(&log, backup, &keys));
        assert_eq!(restored["treeSize"], "8");
        works(&["restore", "--refill", text(source), "--data", text(&log.data)]);
        assert_eq!(fs::read(&log.anchor).unwrap(), anchor);
        log.serve()
    };
    for (backup, source) in [(&open_8, &frozen_12), (&frozen_8, &open_12), (&frozen_8, &frozen_12)]
    {
        let server = refilled(backup, source);
        assert_eq!(server.size(), 12);
        is_read_only(&server, "frozen");
        check_log(&server, &mut history);
        assert_eq!(server.terminate().code(), Some(0));
        fs::remove_dir_all(&log.data).unwrap();
        fs::write(&log.anchor, &anchor).unwrap();
    }
    // Neither was: then it goes on.
    let server = refilled(&open_8, &open_12);
    write(&server, &mut history, 4);
    check_log(&server, &mut history);
}
