//! The same lies told to somebody who remembers nothing and reads everything once: `treering
//! audit`.

use std::sync::Arc;

use treering_tests::load::any_submission;
use treering_tests::lying_log::{Branch, Cosigning, Keys, Lie, LyingLog};
use treering_tests::submission::Signer;

use super::{ALARM, NOT_VERIFIED, Person, any_entry, grown, log_of};

#[test]
fn it_names_what_does_not_belong_to_the_rebuilt_tree() {
    let (keys, honest) = log_of(300);
    let log = LyingLog::show(honest.clone());
    let person = Person::new(&keys, &log.url());
    person.run(&["audit"]).passes();
    let other = any_entry().body().to_vec();
    let with_statement = honest.entries().iter().find(|logged| logged.statement.is_some()).unwrap();
    let statement = with_statement.statement.as_ref().unwrap().payload_hash;
    let changed = honest.with_entry_changed(3, &any_entry());
    for (lie, check) in [
        (Lie::EntryTile(5, other.clone()), "heads"),
        (Lie::EntryTile(299, b"{}".to_vec()), "entries"),
        (Lie::HashTile { level: 0, index: 0 }, "tiles"),
        (Lie::HashTile { level: 0, index: 1 }, "tiles"),
        (Lie::HashTile { level: 1, index: 0 }, "tiles"),
        (Lie::PartialTiles, "tiles"),
        (Lie::Withhold(statement), "statements"),
        (Lie::Hide(7), "search"),
        (Lie::V1Face(Box::new(changed.clone())), "heads"),
        (Lie::V1Face(Box::new(changed.truncated(200))), "heads"),
        (Lie::V1Face(Box::new(grown(honest.clone(), 1))), "heads"),
        (Lie::Checkpoint(changed.newest().note.clone()), "heads"),
    ] {
        log.tell(lie);
        let said = person.run(&["audit", "--no-signatures"]);
        said.fails(ALARM, check);
        log.repent();
    }
    person.run(&["audit"]).passes();
}

#[test]
fn it_tells_a_missing_quorum_a_forged_cosignature_and_other_keys() {
    let keys = Arc::new(Keys::generate(2));
    let log = LyingLog::show(grown(Branch::new(&keys), 5));
    let person = Person::with_quorum(&keys, &log.url(), 2);
    person.run(&["audit"]).passes();
    let publish = |cosigning| {
        let mut scene = log.scene();
        scene.branch.cosigning = cosigning;
        scene.branch.publish();
    };
    publish(Cosigning::Only(vec![0]));
    person.run(&["audit"]).fails(NOT_VERIFIED, "witnesses");
    publish(Cosigning::Forged);
    person.run(&["audit"]).fails(ALARM, "checkpoint");
    let thief = Arc::new(Keys::generate(2));
    let mut stolen = Branch::new(&thief);
    stolen.append_from(&log.scene().branch, 0..5);
    log.now_shows(stolen);
    person.run(&["audit"]).fails(ALARM, "checkpoint");
}

#[test]
fn it_tells_a_head_that_was_kept_and_is_of_another_tree() {
    let (keys, honest) = log_of(6);
    let log = LyingLog::show(honest.clone());
    let person = Person::new(&keys, &log.url());
    let mut forked = grown(honest.truncated(4), 3);
    forked.append(&any_submission(&Signer::new()).entry);
    forked.also_keeps(&honest, 6);
    log.now_shows(forked.clone());
    person.run(&["audit"]).fails(ALARM, "heads");
    log.now_shows(honest);
    person.run(&["audit"]).passes();
}
