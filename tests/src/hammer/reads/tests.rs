use std::collections::HashSet;

use tokio::runtime::Runtime;

use super::*;
use crate::hammer::load::Load;
use crate::http::Connection;
use crate::lying_log::{Answer, Lie, LyingLog, any_entry, log_of};

#[test]
fn numbers_are_spread_over_the_whole_range_and_different() {
    for end in [1, 2, 3, 4, 10, 255, 256, 4095, 4096, 4097, 1_000_000, (1 << 53) - 2] {
        let numbers = spread(end, QUESTIONS_MAX);
        assert_eq!(numbers.len() as u64, end.min(QUESTIONS_MAX), "{end}");
        assert_eq!(numbers, spread(end, QUESTIONS_MAX), "always the same");
        let distinct: HashSet<u64> = numbers.iter().copied().collect();
        assert_eq!(distinct.len(), numbers.len(), "{end}");
        assert!(numbers.iter().all(|number| *number < end), "{end}");
        let (low, high) = (numbers.iter().min().unwrap(), numbers.iter().max().unwrap());
        assert!(end < 1000 || (*low < end / 100 && *high > end / 100 * 98), "{end}");
    }
}

#[test]
fn a_search_without_the_entry_is_wrong() {
    let fact = Fact { tag: Tag::ArtifactDigest, value: b"sha256:00".to_vec() };
    let (leaf, index) = (Hash([9; 32]), LeafIndex::new(4).unwrap());
    let logged = Logged { index, leaf, fact };
    let id = format!("0000000000001267{leaf}");
    let v2 = |id: &str, index: &str| json!({ "entries": [{ "entryId": id, "index": index }] });
    let check = |face, answer: Value| check_found(face, &logged, answer.to_string().as_bytes());
    assert!(check(Face::RekorV2, v2(&id, "4")).is_ok());
    assert!(check(Face::RekorV2, v2(&id, "5")).is_err());
    assert!(check(Face::RekorV2, v2(&id[1..79], "4")).is_err());
    assert!(check(Face::RekorV2, json!({ "entries": [] })).is_err());
    assert!(check(Face::RekorV1, json!(["ab", id])).is_ok());
    assert!(check(Face::RekorV1, json!(["ab"])).is_err());
    assert!(check(Face::RekorV1, json!({})).is_err());
}

#[test]
fn a_server_of_add_is_asked_for_tiles_alone() {
    let fact = Fact { tag: Tag::ArtifactDigest, value: b"sha256:00".to_vec() };
    assert!(proof_question(Face::Add, LeafIndex::new(0).unwrap()).is_err());
    assert!(search_question(Face::Add, &fact).is_err());
    let asked = search_question(Face::RekorV1, &fact).unwrap();
    let Question::Post { path, json } = asked else { panic!("{asked:?}") };
    assert_eq!((path, &*json), ("/api/v1/index/retrieve", r#"{"hash":"sha256:00"}"#));
}

/// What is found wrong and right in 30 answers of `log`, which lies as soon as the questions are
/// known.
fn judged(log: &LyingLog, reads: Reads, face: Face, lies: &[Lie]) -> Verdict {
    let key = LogKey::Identity(Box::new(log.scene().branch.keys().identity().clone()));
    let target = Target::new(log.address());
    Runtime::new().unwrap().block_on(async {
        let mut plan = Plan::new(reads, face, target.clone(), key).await.unwrap();
        lies.iter().for_each(|lie| log.tell(lie.clone()));
        let load = Load::closed(target, 3, plan.requests().at_most(30));
        let load = Load { kept_one_in: 1, time: std::time::Duration::from_secs(60), ..load };
        let measured = load.run().await.unwrap().faultless().unwrap();
        plan.check(&measured.kept).await
    })
}

#[test]
fn honest_answers_are_verified_whatever_is_read() {
    let log = LyingLog::show(log_of(300).1);
    for (reads, face) in [
        (Reads::Tiles, Face::RekorV2),
        (Reads::Entries, Face::Add),
        (Reads::Proofs, Face::RekorV2),
        (Reads::Proofs, Face::RekorV1),
        (Reads::Search, Face::RekorV2),
    ] {
        let verdict = judged(&log, reads, face, &[]);
        let right = Verdict { verified: 30, wrong: 0, first_wrong: None };
        assert_eq!(verdict, right, "{reads:?}, {face}");
    }
}

#[test]
fn wrong_answers_are_found_whatever_is_read() {
    let other = any_entry().body().to_vec();
    let entries = |lie: fn(u64, Vec<u8>) -> Lie| -> Vec<Lie> {
        (0..300).map(|index| lie(index, other.clone())).collect()
    };
    for (reads, face, lies) in [
        (Reads::Tiles, Face::RekorV2, vec![Lie::HashTile { level: 0, index: 0 }]),
        (Reads::Entries, Face::Add, entries(Lie::EntryTile)),
        (Reads::Proofs, Face::RekorV2, entries(Lie::Entry)),
        (Reads::Search, Face::RekorV2, (0..300).map(Lie::Hide).collect()),
    ] {
        let log = LyingLog::show(log_of(300).1);
        let verdict = judged(&log, reads, face, &lies);
        assert_eq!((verdict.verified, verdict.wrong), (0, 30), "{reads:?}, {face}");
        assert!(verdict.first_wrong.is_some());
    }
}

#[test]
fn an_entry_that_nobody_asked_for_is_wrong_however_good_its_proof_is() {
    let log = LyingLog::show(log_of(300).1);
    let path = "/api/v1/log/entries";
    let mut connection = Connection::open(log.address()).unwrap();
    let first = connection.get(&format!("{path}?logIndex=0")).unwrap().body;
    let lie = Lie::Instead(path.to_owned(), Answer::json(first));
    let verdict = judged(&log, Reads::Proofs, Face::RekorV1, &[lie]);
    // One of the questions is about the first entry.
    assert_eq!((verdict.verified, verdict.wrong), (1, 29), "{verdict:?}");
}

#[test]
fn a_log_that_is_too_small_is_said_to_be() {
    let log = LyingLog::show(log_of(0).1);
    let key = LogKey::Identity(Box::new(log.scene().branch.keys().identity().clone()));
    let runtime = Runtime::new().unwrap();
    for reads in [Reads::Tiles, Reads::Entries, Reads::Proofs, Reads::Search] {
        let plan = Plan::new(reads, Face::RekorV2, Target::new(log.address()), key.clone());
        assert!(runtime.block_on(plan).is_err(), "{reads:?}");
    }
}
