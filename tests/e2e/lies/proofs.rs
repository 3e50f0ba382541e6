//! Proofs that are none: tiles that belong to no tree, entries that were promised, entries of
//! somebody else, and keys of somebody else.

use std::fs;
use std::sync::Arc;

use serde_json::Value;
use treering_tests::lying_log::{Branch, Keys, Lie, LyingLog};

use super::{
    ALARM, NOT_VERIFIED, PROVEN_LOG, Person, SUSPICIOUS, UNAVAILABLE, any_entry, grown, log_of,
};

#[test]
fn tiles_that_belong_to_no_checkpoint_are_an_alarm_and_prove_nothing() {
    let (keys, honest) = log_of(7);
    let log = LyingLog::show(honest.clone());
    let person = Person::new(&keys, &log.url());
    person.log_info().passes();
    let larger = grown(honest, 300);
    for lie in [Lie::HashTile { level: 0, index: 0 }, Lie::HashTile { level: 0, index: 1 }] {
        log.now_shows(larger.clone());
        log.tell(lie);
        person.log_info().ends(ALARM);
        person.takes_evidence("inconsistent-unproven", SUSPICIOUS);
    }
    log.repent();
    person.log_info().passes();
    log.now_shows(grown(larger, 5));
    log.tell(Lie::PartialTiles);
    person.log_info().ends(ALARM);
    person.takes_evidence("inconsistent-unproven", SUSPICIOUS);
    log.repent();
    person.log_info().passes();
}

#[test]
fn a_promise_that_is_not_kept_is_not_taken_for_a_log_entry() {
    let (keys, honest) = log_of(5);
    let log = LyingLog::show(honest);
    let person = Person::new(&keys, &log.url());
    log.tell(Lie::Promise(None));
    // The answer has index, SET and a proof that holds; the entry is nowhere.
    person.sign("promised").ends(UNAVAILABLE);
    assert!(!person.bundle("promised").exists(), "a bundle was written");
    assert!(log.asked().contains(&"GET /api/treering/v1/entries/5".to_owned()));
    // The log thinks better of it, when another entry stands there: the same signature is sent.
    let larger = grown(log.scene().branch.clone(), 1);
    log.now_shows(larger);
    person.sign("promised").passes();
    assert_eq!(log.scene().branch.size(), 7);
    person.verify("promised", &["--online"]).passes();
    // The log promises the place to one, and gives it to another.
    log.tell(Lie::Promise(Some(Box::new(any_entry()))));
    person.sign("usurped").ends(ALARM);
    assert!(!person.bundle("usurped").exists(), "a bundle was written");
    person.takes_evidence("broken-promise", PROVEN_LOG);
    log.repent();
    person.sign("usurped").passes();
}

#[test]
fn an_entry_of_somebody_else_proves_nothing_about_a_model() {
    let (keys, honest) = log_of(3);
    let log = LyingLog::show(honest);
    let person = Person::new(&keys, &log.url());
    person.sign("mine").passes();
    person.sign("other").passes();
    person.verify("mine", &["--online"]).passes();
    let mine = fs::read(person.bundle("mine")).unwrap();
    let other = fs::read(person.bundle("other")).unwrap();

    let mut mixed: Value = serde_json::from_slice(&mine).unwrap();
    let from: Value = serde_json::from_slice(&other).unwrap();
    mixed["verificationMaterial"]["tlogEntries"] =
        from["verificationMaterial"]["tlogEntries"].clone();
    fs::write(person.bundle("mine"), mixed.to_string()).unwrap();
    person.verify("mine", &[]).fails(NOT_VERIFIED, "logged");
    fs::write(person.bundle("mine"), &other).unwrap();
    person.verify("mine", &[]).fails(NOT_VERIFIED, "bytes");
    fs::write(person.bundle("mine"), &mine).unwrap();
    person.verify("mine", &[]).passes();

    // The log answers about another entry than the one that was sent.
    let wrong = log.scene().branch.logged(3).unwrap().body.clone();
    log.tell(Lie::Entry(5, wrong));
    person.sign("third").ends(ALARM);
    assert!(!person.bundle("third").exists(), "a bundle was written");
    log.repent();
    person.sign("third").passes();
}

#[test]
fn a_replaced_key_is_an_alarm() {
    let (keys, honest) = log_of(5);
    let log = LyingLog::show(honest.clone());
    let person = Person::new(&keys, &log.url());
    person.sign("before").passes();
    person.log_info().passes();

    let thief = Arc::new(Keys::generate(0));
    let mut copied = Branch::new(&thief);
    copied.append_from(&log.scene().branch, 0..6);
    log.now_shows(copied.clone());
    person.log_info().ends(ALARM);
    let said = person.sign("after");
    assert_eq!(said.code, Some(ALARM), "{said:?}");
    assert!(!person.bundle("after").exists(), "a bundle was written");
    let said = person.verify("before", &["--online"]);
    said.fails(ALARM, "consistency");
    person.verify("before", &[]).passes();

    // Somebody was made to trust the new key: the memory of the old one is not lost.
    let vkey = thief.identity().note_key().to_vkey();
    person.change_trust(|trust| {
        trust["log"]["keys"] = serde_json::json!([vkey]);
        trust["log"].as_object_mut().unwrap().remove("identity");
    });
    let said = person.log_info();
    assert_eq!(said.code, Some(0), "{said:?}");
    let remarks = said.json()["remarks"].to_string();
    assert!(remarks.contains("was known under another key"), "{remarks}");
}
