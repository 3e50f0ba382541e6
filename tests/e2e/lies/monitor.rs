//! The same lies told to somebody who reads the whole log: `treering monitor`, and the index that
//! it makes.

use std::sync::Arc;

use treering_proto::hash::Hash;
use treering_tests::load::any_submission;
use treering_tests::lying_log::{Branch, Clock, Cosigning, Keys, Lie, LyingLog};
use treering_tests::server::text;
use treering_tests::submission::Signer;

use super::{ALARM, PROVEN_LOG, Person, SUSPICIOUS, any_entry, grown, log_of};

#[test]
fn it_tells_forks_and_an_older_tree() {
    let (keys, honest) = log_of(300);
    let log = LyingLog::show(honest.clone());
    let person = Person::new(&keys, &log.url());
    person.finds_nothing(&[]);

    log.now_shows(honest.with_entry_changed(299, &any_entry()));
    log.tell(Lie::V1Face(Box::new(honest.clone())));
    person.finds(&[], "fork", None);
    person.takes_evidence("fork-size", PROVEN_LOG);
    for (start, size) in [(3, 310), (270, 600), (3, 290)] {
        log.now_shows(grown(honest.truncated(start), size - start));
        log.tell(Lie::V1Face(Box::new(honest.clone())));
        let (code, findings) = person.monitors(&[]);
        assert_eq!(code, Some(ALARM), "{findings:?}");
        assert!(findings.contains(&("fork".to_owned(), None)), "{findings:?}");
        person.takes_evidence("fork-prefix", PROVEN_LOG);
    }
    log.now_shows(honest.truncated(280));
    person.finds(&[], "rollback", None);
    person.takes_evidence("rollback-suspected", SUSPICIOUS);

    // Whoever saw two trees does not forget; others find nothing.
    log.now_shows(grown(honest, 10));
    person.finds(&[], "fork", None);
    Person::new(&keys, &log.url()).finds_nothing(&[]);
}

#[test]
fn it_names_the_entry_or_the_tile_that_does_not_belong_to_the_tree() {
    let (keys, honest) = log_of(300);
    let other = any_entry().body().to_vec();
    for (lie, finding, index) in [
        (Lie::EntryTile(5, other.clone()), "bad-entry", Some(5)),
        (Lie::EntryTile(299, other), "bad-entry", Some(299)),
        (Lie::HashTile { level: 0, index: 0 }, "bad-tile", None),
        (Lie::HashTile { level: 0, index: 1 }, "bad-tile", None),
        (Lie::HashTile { level: 1, index: 0 }, "bad-tile", None),
        (Lie::PartialTiles, "bad-tile", None),
    ] {
        let log = LyingLog::show(honest.clone());
        let person = Person::new(&keys, &log.url());
        log.tell(lie);
        person.finds(&[], finding, index);
        log.repent();
        person.finds_nothing(&[]);
    }
}

#[test]
fn it_tells_a_removed_entry_whoever_logged_it() {
    let (keys, honest) = log_of(20);
    let log = LyingLog::show(honest.clone());
    let person = Person::new(&keys, &log.url());
    person.finds_nothing(&[]);
    for lie in [honest.with_entry_removed(7), honest.with_entry_changed(7, &any_entry())] {
        log.now_shows(grown(lie, 5));
        let (code, findings) = person.monitors(&[]);
        assert_eq!(code, Some(ALARM), "{findings:?}");
        assert!(findings.contains(&("fork".to_owned(), None)), "{findings:?}");
        person.takes_evidence("fork-prefix", PROVEN_LOG);
    }
    log.now_shows(grown(honest, 5));
    Person::new(&keys, &log.url()).finds_nothing(&[]);
}

#[test]
fn its_index_shows_what_a_search_hides() {
    let (keys, honest) = log_of(4);
    let log = LyingLog::show(honest);
    let person = Person::new(&keys, &log.url());
    person.sign("older").passes();
    person.sign("newer").passes();
    person.finds_nothing(&[]);
    let (state, key) = (person.path("state"), person.path("signer.pub"));
    let search = ["search", "--public-key", text(&key), "--index", text(&state), "--online"];
    person.run(&search).passes();

    log.tell(Lie::Hide(5));
    // The log's own search says nothing about what it leaves out.
    person.run(&["search", "--public-key", text(&key)]).passes();
    let said = person.run(&search);
    assert_eq!(said.code, Some(ALARM), "{said:?}");
    assert_eq!(said.json()["hidden"], serde_json::json!([5]), "{said:?}");
    assert!(said.stderr.contains("search-hides"), "{said:?}");
    log.repent();
    person.run(&search).passes();
}

#[test]
fn it_tells_a_withheld_statement() {
    let (keys, mut honest) = log_of(4);
    let signer = Signer::new();
    let submissions = std::iter::repeat_with(|| any_submission(&signer));
    let entry = submissions.map(|made| made.entry).find(|entry| entry.statement().is_some());
    let entry = entry.unwrap();
    let hash: Hash = entry.statement().unwrap().payload_hash;
    let index = honest.append(&entry);
    let log = LyingLog::show(honest);
    log.tell(Lie::Withhold(hash));
    let person = Person::new(&keys, &log.url());
    person.finds(&[], "statement-missing", Some(index));
    log.repent();
    let other = Person::new(&keys, &log.url());
    other.finds_nothing(&[]);
}

#[test]
fn it_holds_the_v1_face_to_the_tree_of_the_other_face() {
    let (keys, honest) = log_of(9);
    let log = LyingLog::show(honest.clone());
    let old = Person::new(&keys, &log.url());
    old.finds_nothing(&[]);
    let changed = honest.with_entry_changed(3, &any_entry());
    for (face, kind) in [(changed.clone(), "fork-size"), (changed.truncated(6), "fork-prefix")] {
        let person = Person::new(&keys, &log.url());
        log.tell(Lie::V1Face(Box::new(face)));
        person.finds_among("v1-differs");
        person.takes_evidence_of(kind, PROVEN_LOG);
        log.repent();
        Person::new(&keys, &log.url()).finds_nothing(&[]);
    }
    // A tree that no C2SP checkpoint was ever signed for, and no witness saw.
    log.tell(Lie::V1Face(Box::new(grown(honest, 2))));
    old.finds(&[], "v1-differs", None);
    log.repent();
    old.finds_nothing(&[]);
    // The same face, and another tree of a size that it showed before.
    log.tell(Lie::V1Face(Box::new(changed)));
    old.finds(&[], "fork", None);
    old.takes_evidence("fork-size", PROVEN_LOG);
}

#[test]
fn it_tells_a_missing_quorum_a_foreign_key_and_times_that_cannot_be() {
    let keys = Arc::new(Keys::generate(2));
    let log = LyingLog::show(grown(Branch::new(&keys), 5));
    let person = Person::with_quorum(&keys, &log.url(), 2);
    person.finds_nothing(&["--max-age", "1h"]);
    let show = |change: &dyn Fn(&mut Branch)| {
        let mut scene = log.scene();
        change(&mut scene.branch);
        scene.branch.publish();
    };
    show(&|branch| branch.cosigning = Cosigning::Only(vec![1]));
    person.finds(&[], "quorum-missing", None);
    show(&|branch| branch.cosigning = Cosigning::Forged);
    person.finds(&["--max-age", "1h"], "foreign-key", None);
    show(&|branch| {
        branch.cosigning = Cosigning::All;
        branch.witness_clock = Clock::Shifted(-7200);
    });
    person.finds(&["--max-age", "1h"], "stale", None);
    show(&|branch| branch.witness_clock = Clock::Shifted(7200));
    let (code, findings) = person.monitors(&["--max-age", "1h"]);
    assert_eq!(code, Some(ALARM), "{findings:?}");
    assert!(findings.iter().all(|(finding, _)| finding == "wrong-time"), "{findings:?}");
    show(&|branch| branch.witness_clock = Clock::System);
    person.finds_nothing(&["--max-age", "1h"]);

    let mut stolen = Branch::new(&Arc::new(Keys::generate(2)));
    stolen.append_from(&log.scene().branch, 0..5);
    log.now_shows(stolen);
    person.finds(&["--max-age", "1h"], "foreign-key", None);
}
