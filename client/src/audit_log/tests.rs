use serde_json::Value;
use treering_proto::hash::sha256;

use super::*;
use crate::monitor::rules::Rules;
use crate::report::Outcome;
use crate::test_author::Author;
use crate::test_log::{Served, TestLog};

/// A log of `count` entries that kept some checkpoints.
fn served(count: u64) -> Served {
    let author = Author::new();
    let mut log = TestLog::new(1);
    author.fill(&mut log, count as usize);
    log.listed = [0, 1, 9, 256].into_iter().filter(|size| *size <= count).collect();
    log.serve()
}

async fn audited(served: &Served, search_terms: usize) -> Audited {
    audited_as(served, search_terms, true).await
}

/// Without an identity the Rekor v1 face is not looked at, which saves a request for each entry.
async fn audited_as(served: &Served, search_terms: usize, with_identity: bool) -> Audited {
    let mut trust = served.trust(Vec::new());
    if with_identity {
        trust.log.identity = Some(served.log.lock().unwrap().identity_document());
    }
    let source = Source {
        transport: served.transport(),
        trust,
        answer_time: std::time::Duration::from_secs(60),
        signatures: true,
        other_payloads: false,
        rules: Arc::new(Rules::default()),
    };
    let options = AuditOptions { tiles: 3, search_terms, seed: 1 };
    audit(&Arc::new(source), options, |_| ()).await
}

/// The checks that did not pass, and the first detail of each.
fn faults(audited: &Audited) -> Vec<(&'static str, String)> {
    let checks = audited.report.checks().iter();
    checks
        .filter(|check| check.outcome != Outcome::Passed)
        .map(|check| (check.check, check.details.first().unwrap_or(&check.why).clone()))
        .collect()
}

/// Changes the answers whose request contains `part`.
fn tamper(
    served: &Served,
    part: &'static str,
    change: impl Fn(Vec<u8>) -> Option<Vec<u8>> + Send + 'static,
) {
    *served.tamper.lock().unwrap() =
        Some(Box::new(
            move |line, body| {
                if line.contains(part) { change(body) } else { Some(body) }
            },
        ));
}

fn json(body: &[u8], change: impl FnOnce(&mut Value)) -> Option<Vec<u8>> {
    let mut value = serde_json::from_slice(body).unwrap();
    change(&mut value);
    Some(value.to_string().into_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_log_passes_every_check() {
    let served = served(260);
    let audited = audited(&served, 20).await;
    assert_eq!(faults(&audited), [("witnesses", "the trust file names none".to_owned())]);
    assert_eq!(audited.report.exit(), Exit::Ok);
    let head = served.log.lock().unwrap().head(TreeSize::new(260).unwrap());
    assert_eq!((audited.entries, audited.root), (260, Some(head.root)));
    assert_eq!(audited.kinds[&("hashedrekord", "0.0.1")], 173);
    assert_eq!(audited.tally.verified, 260);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_log_passes() {
    let audited = audited(&TestLog::new(1).serve(), 10).await;
    assert_eq!(audited.report.exit(), Exit::Ok, "{:?}", faults(&audited));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_tile_is_found_at_every_level_full_or_growing() {
    let served = served(260);
    for (path, is_missing) in [
        ("GET /tile/0/000", false),
        ("GET /tile/0/001.p/4", false),
        ("GET /tile/1/000.p/1", false),
        ("GET /tile/1/000.p/1", true),
    ] {
        tamper(&served, path, move |mut body| {
            body[0] ^= 1;
            (!is_missing).then_some(body)
        });
        let audited = audited_as(&served, 0, false).await;
        assert_eq!(audited.report.exit(), Exit::Alarm, "{path}");
        let found = faults(&audited);
        assert!(found.iter().any(|(name, why)| *name == "tiles" && why.contains(&path[4..])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_lie_fails_its_own_check() {
    type Case = (&'static str, fn(&mut Value), &'static str);
    let change: [Case; 3] = [
        (
            "POST /api/treering/v1/statements",
            |answer| {
                let statements = answer["statements"].as_object_mut().unwrap();
                statements.values_mut().for_each(|text| *text = "AA==".into());
            },
            "statements",
        ),
        (
            "/api/treering/v1/search",
            |answer| answer["entries"].as_array_mut().unwrap().retain(|hit| hit["index"] != "3"),
            "search",
        ),
        ("/api/treering/v1/search", |answer| answer["treeSize"] = "9".into(), "search"),
    ];
    for (part, change, check) in change {
        let served = served(10);
        tamper(&served, part, move |body| json(&body, change));
        let audited = audited(&served, 2000).await;
        assert_eq!(audited.report.exit(), Exit::Alarm, "{part}");
        let faults = faults(&audited);
        assert!(faults.iter().any(|(name, _)| *name == check), "{part}: {faults:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_entry_contradicts_tiles_and_every_later_head() {
    let served = served(260);
    tamper(&served, "GET /tile/entries/000", |mut body| {
        body[5] ^= 1;
        Some(body)
    });
    let audited = audited_as(&served, 0, false).await;
    let names: Vec<_> = faults(&audited).into_iter().map(|(name, _)| name).collect();
    let unchecked = ["v1-checkpoint", "witnesses"];
    let names: Vec<_> = names.into_iter().filter(|name| !unchecked.contains(name)).collect();
    assert_eq!(names, ["entries", "tiles", "heads", "entry-timestamps", "entry-times", "search"]);
    let heads = audited.report.checks().iter().find(|check| check.check == "heads").unwrap();
    // Kept at 1, 9 and 256, and the newest one.
    assert_eq!(heads.details.len(), 4, "{:?}", heads.details);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_checkpoint_must_be_signed_and_of_this_tree() {
    let served = served(10);
    let note = {
        let log = served.log.lock().unwrap();
        let mut head = log.head(TreeSize::new(9).unwrap());
        head.root = sha256(b"other");
        log.v1_note(head)
    };
    tamper(&served, "/checkpoints", move |body| {
        json(&body, |answer| {
            for kept in answer["checkpoints"].as_array_mut().unwrap() {
                if kept["size"] == "9" {
                    kept["v1Note"] = note.clone().into();
                }
            }
        })
    });
    let found = faults(&audited(&served, 0).await);
    let is_v1 = |(name, why): &(_, String)| *name == "heads" && why.contains("Rekor v1");
    assert!(found.iter().any(is_v1), "{found:?}");
    tamper(&served, "/checkpoints", |body| {
        json(&body, |answer| answer["checkpoints"][0]["note"] = "garbage".into())
    });
    let found = faults(&audited(&served, 0).await);
    assert!(found.iter().any(|(name, _)| *name == "kept-checkpoints"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_must_be_there_verify_and_never_go_back() {
    let served = served(10);
    let first = async || faults(&audited(&served, 0).await)[1].clone();
    tamper(&served, "logIndex=7", |_| None);
    assert_eq!(first().await.0, "entry-timestamps");
    tamper(&served, "logIndex=7", |body| {
        json(&body, |entries| {
            let entry = entries.as_object_mut().unwrap().values_mut().next().unwrap();
            entry["integratedTime"] = 1.into();
        })
    });
    let (check, why) = first().await;
    assert!(check == "entry-timestamps" && why.starts_with("entry 7:"), "{check} {why}");
    // Signed, but before the time of an entry below it.
    served.tamper.lock().unwrap().take();
    served.log.lock().unwrap().dated.insert(7, crate::test_log::TIME - 1);
    assert_eq!(first().await.0, "entry-times");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_no_lie() {
    let served = served(260);
    for (part, entries) in [("GET /tile/entries/001", 256), ("GET /checkpoint", 0)] {
        tamper(&served, part, |_| None);
        let audited = audited_as(&served, 0, false).await;
        assert_eq!(audited.report.exit(), Exit::Unavailable, "{:?}", faults(&audited));
        assert_eq!(audited.entries, entries);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_before_reading_ended_still_counts() {
    // More kept heads beyond the end than findings are kept, and one fault before it.
    let served = served(260);
    served.log.lock().unwrap().listed = vec![257, 258, 259];
    tamper_two(&served, "GET /tile/entries/001", "GET /tile/0/000");
    let audited = audited_as(&served, 0, false).await;
    let outcome =
        |check| audited.report.checks().iter().find(|known| known.check == check).unwrap().outcome;
    assert_eq!(audited.report.exit(), Exit::Alarm);
    assert_eq!(outcome("tiles"), Outcome::Failed);
    for check in ["entries", "heads", "signatures", "statements"] {
        assert_eq!(outcome(check), Outcome::NotChecked, "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_face_that_hides_its_head_is_held_to_its_timestamps() {
    let served = served(10);
    served.log.lock().unwrap().dated.insert(7, crate::test_log::TIME - 1);
    tamper(&served, "GET /api/v1/log", |body| {
        let is_entry = body.windows(8).any(|window| window == b"logIndex");
        is_entry.then_some(body)
    });
    let found = faults(&audited(&served, 0).await);
    assert!(found.iter().any(|(check, _)| *check == "entry-times"), "{found:?}");
    assert!(found.iter().any(|(_, why)| why.contains("before the")), "{found:?}");
}

/// Answers nothing about `gone`, and something wrong about `wrong`.
fn tamper_two(served: &Served, gone: &'static str, wrong: &'static str) {
    *served.tamper.lock().unwrap() = Some(Box::new(move |line, mut body| {
        if line.contains(wrong) {
            body[0] ^= 1;
        }
        (!line.contains(gone)).then_some(body)
    }));
}
