//! The timestamp authority: tokens that our own client verifies, refusals by name, and no time that
//! the clock does not stand for. Other people's verifiers: `tests/interop/test_timestamps.py`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use treering_client::timestamp::check_timestamp;
use treering_proto::certificate::Certificate;
use treering_proto::encoding::to_base64;
use treering_proto::hash::sha256;
use treering_proto::key::HashAlgorithm;
use treering_proto::timestamp::TimestampRequest;
use treering_server::timestamp::Authority;
use treering_tests::binaries;
use treering_tests::http::{Connection, Response};
use treering_tests::server::{Ended, Log, Server, refused, run, serving, text};
use treering_tests::shim::{Shared, Shim};
use treering_tests::submission::{Face, Signer, Submission};

use crate::backup::{lose, restore_command, take_backup};
use crate::restore::{dies, works};

const PATH: &str = "/api/v1/timestamp";
const CHAIN: &str = "/api/v1/timestamp/certchain";
const QUERY: &str = "content-type: application/timestamp-query\r\n";
const SIGNATURE: &[u8] = b"a signature";

const USAGE: i32 = 2;
const YEAR_MS: i64 = 366 * 24 * 60 * 60 * 1000;

/// A request for a time of [`SIGNATURE`].
fn query() -> TimestampRequest {
    let digest = sha256(SIGNATURE).as_bytes().to_vec();
    TimestampRequest::new(HashAlgorithm::Sha256, digest).unwrap().with_certificate(true)
}

fn ask(connection: &mut Connection, request: &[u8]) -> Response {
    connection.post_with(PATH, QUERY, request).unwrap()
}

fn stamp(server: &Server) -> Response {
    ask(&mut server.connect(), &query().to_der())
}

/// The certificates that the log shows, the leaf first.
fn chain(server: &Server) -> Vec<Certificate> {
    let answer = server.get(CHAIN);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/pem-certificate-chain"));
    certificates(&answer.text())
}

fn certificates(pem: &str) -> Vec<Certificate> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let blocks = pem.split_inclusive(END);
    blocks.map(|block| Certificate::from_pem(block).unwrap()).collect()
}

/// The time that our client reads from a granted answer.
fn time(answer: &Response, authorities: &[Certificate]) -> u64 {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/timestamp-reply"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    check_timestamp(&answer.body, SIGNATURE, authorities).unwrap()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// That an answer is an error of Rekor v1's shape with this status and label.
fn is_refused(answer: &Response, status: u16, label: &str) {
    assert_eq!(answer.header("treering-error"), Some(label), "{}", answer.text());
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.json()["code"], status);
    assert!(!answer.json()["message"].as_str().unwrap().is_empty());
}

#[test]
fn our_client_verifies_what_was_stamped_and_the_time_is_that_of_the_log() {
    let log = Log::create();
    let server = log.serve();
    let chain = chain(&server);
    assert_eq!(chain.len(), 2);
    let mut connection = server.connect();
    let before = now();
    let with = ask(&mut connection, &query().to_der());
    let first = time(&with, &chain[1..]);
    assert!((before..=now()).contains(&first), "{before} {first}");

    let submission = Submission::hashedrekord(Face::V1, &Signer::new(), b"dated");
    let logged = connection.post(Face::V1.path(), &submission.request).unwrap().json();
    let logged = logged.as_object().unwrap().values().next().unwrap()["integratedTime"].as_u64();
    let nonce = [0x80, 0, 0, 0, 0, 0, 0, 1];
    let bare = query().with_certificate(false).with_nonce(Some(&nonce)).unwrap();
    let without = ask(&mut connection, &bare.to_der());
    let second = time(&without, &chain);
    assert!(first <= logged.unwrap() && logged.unwrap() <= second, "{first} {logged:?} {second}");
    assert!(
        check_timestamp(&without.body, SIGNATURE, &chain[1..]).is_err(),
        "no leaf came with it"
    );
    let sent =
        |answer: &Response, bytes: &[u8]| answer.body.windows(bytes.len()).any(|w| w == bytes);
    assert!(sent(&with, chain[0].der()) && !sent(&without, chain[0].der()));
    assert!(!sent(&with, chain[1].der()), "the root is not sent");
    assert!(sent(&without, &[&[2, 8], &nonce[..]].concat()), "the nonce comes back as it was");
    assert!(check_timestamp(&with.body, b"another signature", &chain).is_err());

    let ready = server.get("/readyz").json();
    assert_eq!(ready["timestamps"], "own");
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("treering_timestamps_total{outcome=\"granted\"} 2\n"), "{metrics}");
    assert!(metrics.contains("treering_timestamp_certificate_expiry_timestamp_seconds"));
}

#[test]
fn every_digest_is_stamped_in_der_and_in_json() {
    let log = Log::create();
    let server = log.serve();
    let chain = chain(&server);
    let mut connection = server.connect();
    for (algorithm, name) in [
        (HashAlgorithm::Sha256, "sha256"),
        (HashAlgorithm::Sha384, "sha384"),
        (HashAlgorithm::Sha512, "sha512"),
    ] {
        let digest = algorithm.digest(SIGNATURE);
        let asked = TimestampRequest::new(algorithm, digest.clone()).unwrap();
        time(&ask(&mut connection, &asked.to_der()), &chain);
        let body = json!({"artifactHash": to_base64(&digest), "hashAlgorithm": name}).to_string();
        time(&connection.post(PATH, body.as_bytes()).unwrap(), &chain);
    }
    let body = json!({
        "artifactHash": to_base64(sha256(SIGNATURE).as_bytes()),
        "hashAlgorithm": "sha256",
        "certificates": true,
        "nonce": 0x1234_5678_u32,
        "tsaPolicyOID": "1.3.6.1.4.1.57264.2",
    });
    let headers = "content-type: Application/JSON; charset=utf-8\r\n";
    let answer = connection.post_with(PATH, headers, body.to_string().as_bytes()).unwrap();
    time(&answer, &chain[1..]);
    let nonce = [2, 4, 0x12, 0x34, 0x56, 0x78];
    assert!(answer.body.windows(6).any(|window| window == nonce));
}

#[test]
fn what_is_no_request_is_refused_by_name_and_counted() {
    let log = Log::create();
    let server = log.serve();
    let mut connection = server.connect();
    let whole = query().to_der();
    for length in 0..whole.len() {
        is_refused(&ask(&mut connection, &whole[..length]), 400, "timestamp-malformed");
    }
    is_refused(&ask(&mut connection, &[&whole[..], &[0]].concat()), 400, "timestamp-malformed");
    let mut json = |body: Value| connection.post(PATH, body.to_string().as_bytes()).unwrap();
    let hash = to_base64(&[7; 32]);
    is_refused(&json(json!({})), 400, "timestamp-malformed");
    let weak = json(json!({"artifactHash": hash, "hashAlgorithm": "sha1"}));
    is_refused(&weak, 400, "timestamp-algorithm");
    let short = json(json!({"artifactHash": "AAAA", "hashAlgorithm": "sha256"}));
    is_refused(&short, 400, "timestamp-digest");
    let policy = json!({"artifactHash": hash, "hashAlgorithm": "sha256", "tsaPolicyOID": "1.2.3"});
    is_refused(&json(policy), 400, "timestamp-policy");
    let nonce = json!({"artifactHash": hash, "hashAlgorithm": "sha256", "nonce": -1});
    is_refused(&json(nonce), 400, "timestamp-nonce");

    let foreign = connection.post_with(PATH, "content-type: text/plain\r\n", &whole).unwrap();
    is_refused(&foreign, 415, "media-type");
    let silent = connection.post_with(PATH, "", &whole).unwrap();
    is_refused(&silent, 415, "media-type");
    let packed = format!("{QUERY}content-encoding: gzip\r\n");
    let packed = connection.post_with(PATH, &packed, &whole).unwrap();
    is_refused(&packed, 415, "content-encoding");
    is_refused(&ask(&mut connection, &vec![0x30; 5000]), 413, "body-too-large");
    let read = connection.get(PATH).unwrap();
    assert_eq!((read.status, read.header("allow")), (405, Some("POST")));
    assert_eq!(connection.post(CHAIN, b"{}").unwrap().status, 405);

    let metrics = server.get("/metrics").text();
    for (outcome, count) in
        [("timestamp-malformed", whole.len() + 2), ("timestamp-nonce", 1), ("body-too-large", 1)]
    {
        let line = format!("treering_timestamps_total{{outcome=\"{outcome}\"}} {count}\n");
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    assert!(!metrics.contains("granted"));
    assert_eq!(stamp(&server).status, 200, "and it goes on");
}

#[test]
fn an_address_that_asks_too_often_is_told_to_wait() {
    let log = Log::create();
    let flags = ["--limit-loopback", "--address-reads", "1"];
    let server = log.serve_with(&flags, None);
    let mut connection = server.connect();
    let request = query().to_der();
    let answers: Vec<Response> = (0..60).map(|_| ask(&mut connection, &request)).collect();
    let (given, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|a| a.status == 200);
    assert!(given.len() >= 10 && refused.len() >= 30, "{}", given.len());
    refused.iter().for_each(|answer| is_refused(answer, 429, "rate-limited"));
}

/// What `timestamps` with these arguments says of the log, and its exit code.
fn timestamps(log: &Log, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let output = log.run(&[&["timestamps"], arguments].concat());
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), report, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_log_without_an_authority_gives_no_timestamps_until_one_is_made() {
    let log = Log::create_with(&["--no-timestamps"]);
    assert!(!log.data.join("timestamp-chain.pem").exists());
    assert!(!log.data.join("keys/timestamp.pem").exists());
    let (code, _, said) = timestamps(&log, &["show"]);
    assert_eq!(code, Some(USAGE), "{said}");
    assert!(said.contains("timestamps init"), "{said}");
    let ended = refused(&log.data, &["--timestamps", "own"]);
    assert_eq!(ended.code(), Some(USAGE));
    assert!(ended.stderr.contains("timestamps init"), "{}", ended.stderr);
    let server = log.serve();
    is_refused(&stamp(&server), 501, "no-timestamps");
    is_refused(&server.get(CHAIN), 404, "no-timestamps");
    assert_eq!(server.get("/readyz").json()["timestamps"], "off");
    assert_eq!(server.ready["timestamps"], false);
    let (code, _, said) = timestamps(&log, &["init"]);
    assert_eq!(code, Some(5), "the log is served: {said}");
    assert_eq!(server.terminate().code(), Some(0));

    let (code, made, said) = timestamps(&log, &["init"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(made["subject"], "CN=timestamp authority,O=127.0.0.1");
    assert!(made["daysLeft"].as_u64().unwrap() > 3600, "{made}");
    assert_eq!(timestamps(&log, &["show"]).1, made);
    let (code, _, said) = timestamps(&log, &["init"]);
    assert_eq!(code, Some(USAGE), "one is enough");
    assert!(said.contains("--replace"), "{said}");
    let server = log.serve_with(&["--timestamps", "own"], None);
    let chain = chain(&server);
    assert_eq!(made["sha256"], sha256(chain[0].der()).to_hex());
    time(&stamp(&server), &chain);
    assert_eq!(server.terminate().code(), Some(0));
    let server = log.serve_with(&["--timestamps", "off"], None);
    is_refused(&stamp(&server), 501, "no-timestamps");
}

#[test]
fn an_authority_can_be_replaced_and_what_the_old_one_signed_stays_good() {
    let log = Log::create();
    let server = log.serve();
    let (old, token) = (chain(&server), stamp(&server));
    assert_eq!(server.terminate().code(), Some(0));
    let (code, _, said) = timestamps(&log, &["init", "--replace"]);
    assert_eq!(code, Some(0), "{said}");
    let kept = retired(&log);
    assert_eq!(kept.len(), 1);
    assert!(said.contains(text(&kept[0])), "{said}");
    assert_eq!(certificates(&fs::read_to_string(&kept[0]).unwrap()), old);
    let server = log.serve();
    let new = chain(&server);
    assert_ne!(new, old);
    time(&stamp(&server), &new);
    assert!(check_timestamp(&stamp(&server).body, SIGNATURE, &old).is_err());
    time(&token, &old);
    // Both may stand in one trust file.
    time(&token, &[new.clone(), old.clone()].concat());
    time(&stamp(&server), &[old, new].concat());
}

/// The files with certificates that the log had before.
fn retired(log: &Log) -> Vec<PathBuf> {
    let all = fs::read_dir(&log.data).unwrap().flatten().map(|entry| entry.path());
    all.filter(|path| text(path).contains("timestamp-chain-")).collect()
}

/// What a log gives after a replacement died.
enum Gives {
    Old,
    Nothing,
    New,
}

#[test]
fn a_replacement_that_dies_loses_neither_authority_and_can_be_repeated() {
    for (point, gives) in [
        ("timestamps-key:1", Gives::Old),
        ("timestamps-retired:1", Gives::Nothing),
        ("timestamps-named:1", Gives::Nothing),
        ("timestamps-certified:1", Gives::New),
    ] {
        let log = Log::create();
        let server = log.serve();
        let (old, token) = (chain(&server), stamp(&server));
        assert_eq!(server.terminate().code(), Some(0));
        dies(&["timestamps", "init", "--replace", "--data", text(&log.data)], point);

        // One authority is whole in the file of the key, whether its certificates stand beside it.
        let key_file = fs::read_to_string(log.data.join("keys/timestamp.pem")).unwrap();
        let left = certificates(Authority::parse(&key_file).unwrap().chain());
        let server = log.serve();
        match gives {
            Gives::Old => assert_eq!(chain(&server), old, "{point}"),
            Gives::Nothing => is_refused(&stamp(&server), 501, "no-timestamps"),
            Gives::New => assert_ne!(chain(&server), old, "{point}"),
        }
        if !matches!(gives, Gives::Nothing) {
            assert_eq!(chain(&server), left, "{point}");
            time(&stamp(&server), &left);
        }
        assert_eq!(server.terminate().code(), Some(0));

        let (code, _, said) = timestamps(&log, &["init", "--replace"]);
        assert_eq!(code, Some(0), "{point}: {said}");
        let server = log.serve();
        let new = chain(&server);
        assert!(new != old && new != left, "{point}: another was made");
        time(&stamp(&server), &new);
        let kept = retired(&log).into_iter().map(|path| fs::read_to_string(path).unwrap());
        let kept: Vec<Vec<Certificate>> = kept.map(|pem| certificates(&pem)).collect();
        let first = kept.iter().find(|kept| **kept == old);
        time(&token, first.expect("the first certificates are kept, whatever happened"));
        assert!(!log.data.join("keys/timestamp.new").exists(), "{point}");
    }
}

#[test]
fn a_damaged_authority_stops_the_start_and_says_how_to_go_on() {
    let log = Log::create();
    let key = log.data.join("keys/timestamp.pem");
    let whole = fs::read_to_string(&key).unwrap();
    let foreign = fs::read_to_string(Log::create().data.join("keys/timestamp.pem")).unwrap();
    for damaged in [whole[..300].to_owned(), whole.replace("CERT", "cert"), foreign] {
        fs::write(&key, &damaged).unwrap();
        let ended: Ended = refused(&log.data, &[]);
        assert_eq!(ended.code(), Some(USAGE), "{}", ended.stderr);
        assert!(ended.stderr.contains("--timestamps off"), "{}", ended.stderr);
        let output = log.run(&["doctor", "--output", "json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == "timestamps").unwrap();
        assert_eq!(check["outcome"], "fail", "{check}");
    }
    let server = log.serve_with(&["--open-writes", "--timestamps", "off"], None);
    is_refused(&stamp(&server), 501, "no-timestamps");
    assert_eq!(server.terminate().code(), Some(0));
    fs::write(&key, whole).unwrap();
    let server = log.serve();
    time(&stamp(&server), &chain(&server));
}

/// A server whose clock a test sets, in milliseconds from the true one.
fn with_clock(log: &Log, shim: &Shim, offset: i64) -> (Server, Shared) {
    let clock = Shared::create(log.beside("clock"));
    clock.set(offset);
    let mut command: Command = serving(binaries::server(), &log.data, &["--open-writes"]);
    shim.set_clock(&mut command, &clock);
    let server = Server::launch(command).unwrap_or_else(|ended| panic!("{ended:?}"));
    (server, clock)
}

#[test]
fn no_time_is_given_while_the_clock_is_behind_and_none_after_it_jumped() {
    let (log, shim) = (Log::create(), Shim::compile().unwrap());
    let (server, clock) = with_clock(&log, &shim, 0);
    let chain = chain(&server);
    let first = time(&stamp(&server), &chain);
    clock.set(-10_000);
    is_refused(&stamp(&server), 503, "clock-behind");
    clock.set(0);
    // The sequencer looks at the clock twice a second, and says when writes are taken again.
    let given = (0..100_000).find_map(|_| Some(stamp(&server)).filter(|a| a.status == 200));
    assert!(time(&given.expect("the clock is right again"), &chain) >= first);
    for jump in [3_600_000, 0] {
        clock.set(jump);
        let answer = stamp(&server);
        is_refused(&answer, 503, "latched");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    assert_eq!(server.get("/readyz").json()["label"], "latched");
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("treering_latch_reason{reason=\"clock\"} 1\n"), "{metrics}");
    drop(server);
    let server = log.serve();
    assert!(time(&stamp(&server), &chain) >= first, "after a restart it goes on");
}

#[test]
fn after_the_end_of_its_certificates_the_authority_refuses_and_the_log_goes_on() {
    let (log, shim) = (Log::create(), Shim::compile().unwrap());
    let (server, _clock) = with_clock(&log, &shim, 11 * YEAR_MS);
    is_refused(&stamp(&server), 503, "timestamps-expired");
    assert_eq!(server.get(CHAIN).status, 200, "for those who verify old ones");
    let ready = server.get("/readyz");
    assert_eq!((ready.status, &ready.json()["timestamps"]), (200, &"expired".into()));
    let submission = Submission::hashedrekord(Face::V2, &Signer::new(), b"logged");
    let logged = server.connect().post(Face::V2.path(), &submission.request).unwrap();
    assert_eq!(logged.status, 201);
    let ended = server.terminate();
    assert!(ended.stderr.contains("no timestamps are given"), "{}", ended.stderr);
}

#[test]
fn a_log_that_takes_no_entries_for_want_of_disk_still_stamps() {
    let log = Log::create();
    let server = log.serve_with(&["--open-writes", "--min-free-disk", &u64::MAX.to_string()], None);
    let chain = chain(&server);
    // The sequencer looks at the disk in its first turn.
    let is_refusing = || server.get("/readyz").json()["label"] == "disk-full";
    assert!((0..100_000).any(|_| is_refusing()), "it has too little room");
    time(&stamp(&server), &chain);
}

#[test]
fn the_authority_is_restored_with_the_keys_and_never_stands_in_a_backup() {
    let log = Log::create();
    let server = log.serve();
    let (old, token) = (chain(&server), stamp(&server));
    let backup = log.beside("backup");
    take_backup(&log.data, &backup);
    assert_eq!(server.terminate().code(), Some(0));
    let bytes = fs::read(&backup).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("CERTIFICATE"));
    let (_, keys) = lose(&log);
    works(&restore_command(&log, &backup, &keys));
    let server = log.serve();
    assert_eq!(chain(&server), old);
    time(&token, &old);
    time(&stamp(&server), &old);
    assert_eq!(server.terminate().code(), Some(0));

    fs::remove_dir_all(&log.data).unwrap();
    fs::remove_file(keys.join("timestamp.pem")).unwrap();
    let restored = run(&restore_command(&log, &backup, &keys));
    let said = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert_eq!(restored.status.code(), Some(0), "{said}");
    assert!(said.contains("timestamps init"), "{said}");
    is_refused(&stamp(&log.serve()), 501, "no-timestamps");

    fs::remove_dir_all(&log.data).unwrap();
    fs::write(keys.join("timestamp.pem"), "nonsense").unwrap();
    let refused = run(&restore_command(&log, &backup, &keys));
    assert_eq!(refused.status.code(), Some(USAGE));
    assert!(!log.data.exists(), "nothing was made");
}

/// Whoever asks waits no longer than it takes to sign.
#[test]
fn many_at_once_are_stamped_each_with_a_number_of_its_own() {
    let log = Log::create();
    let server = log.serve();
    let request = query().to_der();
    let ask_some = || {
        let mut connection = server.connect();
        (0..50).map(|_| ask(&mut connection, &request).body).collect::<Vec<_>>()
    };
    let replies: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask_some)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let serials: std::collections::HashSet<&[u8]> =
        replies.iter().map(|reply| serial(reply)).collect();
    assert_eq!(serials.len(), 400);
}

/// The serial number stands before the time.
fn serial(reply: &[u8]) -> &[u8] {
    let at = reply.windows(2).position(|window| window == [0x18, 15]).unwrap();
    &reply[at - 16..at]
}
