//! The load generator against the shipped server: every kind through both faces, closed and open,
//! and every answer verified; then everything that it reads.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;
use treering_tests::hammer::check::check_kept;
use treering_tests::hammer::face::Face;
use treering_tests::hammer::kind::Kind;
use treering_tests::hammer::load::{Load, Pace};
use treering_tests::hammer::log_key::LogKey;
use treering_tests::hammer::maker::{Recipe, make_all};
use treering_tests::hammer::measured::Kept;
use treering_tests::hammer::reads::{Plan, Reads};
use treering_tests::hammer::requests::Requests;
use treering_tests::hammer::schedule::Schedule;
use treering_tests::hammer::target::Target;
use treering_tests::server::{Log, Server, text};

/// Requests of each load.
const COUNT: usize = 40;

const KINDS: [Kind; 4] = [Kind::P256, Kind::Rsa2048, Kind::Ed25519ph, Kind::Dsse { files: 20 }];

/// A load that ends when its requests are used up, of which every answer is kept.
fn counted(server: &Server, pace: Pace, requests: Requests) -> Load {
    let load = Load::closed(Target::new(server.address), 8, requests);
    Load { pace, time: Duration::from_secs(600), kept_one_in: 1, ..load }
}

fn open() -> Pace {
    Pace::Open(Schedule::new(500).unwrap())
}

#[test]
fn every_kind_is_logged_through_both_faces_and_every_answer_verifies() {
    let log = Log::create();
    let server = log.serve();
    let runtime = Runtime::new().unwrap();
    let key = LogKey::Identity(Box::new(log.identity.clone()));
    let mut size = 0;
    for face in [Face::RekorV2, Face::RekorV1] {
        for (kind, pace) in KINDS.iter().flat_map(|kind| [(*kind, Pace::Closed), (*kind, open())]) {
            let what = format!("{kind}, {face}, {pace:?}");
            let recipe = Recipe { kind, face, per_key: 10 };
            let bodies = Arc::new(make_all(recipe, COUNT, 1));
            let load = counted(&server, pace, Requests::submit(face, bodies.clone()));
            let measured = runtime.block_on(load.run()).unwrap().faultless().expect(&what);
            assert_eq!((measured.answers, measured.kept.len()), (COUNT, COUNT), "{what}");
            let mut verdict = check_kept(face, &key, &bodies, &measured.kept);
            assert_eq!((verdict.verified, verdict.wrong), (COUNT, 0), "{what}: {verdict:?}");

            // The same answers, to each other's requests.
            let next = |kept: &Kept| Kept { number: (kept.number + 1) % COUNT, ..kept.clone() };
            let moved: Vec<Kept> = measured.kept.iter().map(next).collect();
            verdict = check_kept(face, &key, &bodies, &moved);
            assert_eq!((verdict.verified, verdict.wrong), (0, COUNT), "{what}");
            size += COUNT as u64;
        }
    }
    assert_eq!(server.size(), size, "each request is an entry of its own");
    reads(&server, &runtime, &key);
}

fn reads(server: &Server, runtime: &Runtime, key: &LogKey) {
    for (reads, face) in [
        (Reads::Tiles, Face::RekorV2),
        (Reads::Entries, Face::RekorV2),
        (Reads::Proofs, Face::RekorV2),
        (Reads::Proofs, Face::RekorV1),
        (Reads::Search, Face::RekorV2),
        (Reads::Search, Face::RekorV1),
    ] {
        for pace in [Pace::Closed, open()] {
            let verdict = runtime.block_on(async {
                let target = Target::new(server.address);
                let mut plan = Plan::new(reads, face, target, key.clone()).await.unwrap();
                let load = counted(server, pace, plan.requests().at_most(COUNT));
                let measured = load.run().await.unwrap().faultless().unwrap();
                plan.check(&measured.kept).await
            });
            let what = format!("{reads:?}, {face}, {pace:?}: {verdict:?}");
            assert_eq!((verdict.verified, verdict.wrong), (COUNT, 0), "{what}");
        }
    }
}

#[test]
fn what_is_logged_already_counts_as_refused() {
    let log = Log::create();
    let server = log.serve();
    let runtime = Runtime::new().unwrap();
    let recipe = Recipe { kind: Kind::P256, face: Face::RekorV2, per_key: 1 };
    let bodies = Arc::new(make_all(recipe, COUNT, 1));
    let submit = || counted(&server, Pace::Closed, Requests::submit(recipe.face, bodies.clone()));
    runtime.block_on(submit().run()).unwrap().faultless().unwrap();
    let again = runtime.block_on(submit().run()).unwrap();
    let kinds: Vec<_> =
        again.failures.iter().map(|(kind, of)| (kind.to_string(), of.count)).collect();
    assert_eq!(kinds, [("409 duplicate".to_owned(), COUNT)]);
    assert_eq!((again.answers, server.size()), (0, COUNT as u64));
}

fn hammer(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hammer"));
    command.args(arguments).stdin(Stdio::null());
    command.output().expect("the program can be run")
}

#[test]
fn the_program_says_what_it_measured_and_verified() {
    let log = Log::create();
    let server = log.serve();
    let url = format!("http://{}", server.address);
    let identity = log.data.join("identity");
    let common = ["--url", &url, "--connections", "4", "--verify-one-in", "1", "--count", "40"];
    let keyed = [&common[..], &["--log-key", text(&identity)]].concat();

    let run = hammer(&[&["write", "--json"], &keyed[..]].concat());
    assert!(run.status.success(), "{run:?}");
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!((&report["answers"], &report["verified"]), (&40.into(), &40.into()));
    assert_eq!((&report["wrong"], &report["signaturesVerified"]), (&0.into(), &true.into()));
    assert_eq!(report["errors"], Value::Array(Vec::new()));
    assert!(report["latencyMicroseconds"]["p99"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(server.size(), 40);

    for more in [
        &["write", "--face", "v1", "--kind", "dsse", "--files", "3", "--rate", "500"][..],
        &["read", "--what", "proofs"],
        &["read", "--what", "search", "--face", "v1"],
    ] {
        let run = hammer(&[more, &common[..]].concat());
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(run.status.success(), "{said} {}", String::from_utf8_lossy(&run.stderr));
        assert!(said.contains("verified     40 answers"), "{said}");
        assert!(said.contains("no --log-key") && said.contains("errors       none"), "{said}");
    }
}

#[test]
fn the_program_fails_when_something_did() {
    let log = Log::create();
    let server = log.serve_with(&[], None);
    let url = format!("http://{}", server.address);
    let run = hammer(&["write", "--url", &url, "--count", "5", "--connections", "2", "--json"]);
    assert_eq!(run.status.code(), Some(1), "nobody may write: {run:?}");
    let report: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!((&report["answers"], &report["errors"][0]["count"]), (&0.into(), &5.into()));
    assert!(report["errors"][0]["error"].as_str().unwrap().starts_with("40"), "{report}");

    for (arguments, code, why) in [
        (&["write", "--url", &url, "--files", "3"][..], 1, "--kind dsse"),
        (&["write", "--url", &url, "--read-url", &url], 1, "--face add"),
        (&["write", "--url", "https://127.0.0.1"], 1, "TLS"),
        (&["write", "--url", "http://127.0.0.1:1", "--count", "1"], 1, "cannot connect"),
        (&["write", "--url", &url, "--log-key", "/dev/null"], 1, "/dev/null"),
        (&["write", "--url", &url, "--rate", "0"], 2, "--rate"),
        (&["write"], 2, "--url"),
        (&["read", "--url", &url], 1, "no full tile"),
        (&["read", "--url", &url, "--what", "all"], 2, "entries"),
    ] {
        let run = hammer(arguments);
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(why) && run.stdout.is_empty(), "{arguments:?}: {said}");
    }
}
