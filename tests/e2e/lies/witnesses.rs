//! Cosignatures that are too few, counted twice, forged, or made for another log.

use std::sync::Arc;

use treering_tests::lying_log::{Branch, Cosigning, Keys, LyingLog};
use treering_tests::server::text;

use super::{ALARM, NOT_VERIFIED, PROVEN_LOG, Person, USAGE, grown};

/// A log with three witnesses that all cosign, and somebody who asks for two of them.
fn witnessed(count: u64) -> (Arc<Keys>, LyingLog, Person) {
    let keys = Arc::new(Keys::generate(3));
    let log = LyingLog::show(grown(Branch::new(&keys), count));
    let person = Person::with_quorum(&keys, &log.url(), 2);
    (keys, log, person)
}

/// The newest checkpoint of `log` is signed again, with these cosignatures, and so are all later
/// ones.
fn cosigns(log: &LyingLog, cosigning: Cosigning) {
    let mut scene = log.scene();
    scene.branch.cosigning = cosigning;
    scene.branch.publish();
}

#[test]
fn fewer_witnesses_than_the_quorum_and_one_counted_twice_are_not_enough() {
    let (_keys, log, person) = witnessed(5);
    person.sign("enough").passes();
    person.log_info().passes();
    cosigns(&log, Cosigning::Only(vec![0, 2]));
    person.log_info().passes();
    for (number, too_few) in
        [Cosigning::Only(vec![1]), Cosigning::Only(vec![]), Cosigning::Twice(1)]
            .into_iter()
            .enumerate()
    {
        cosigns(&log, too_few);
        person.log_info().ends(NOT_VERIFIED);
        let name = format!("few{number}");
        person.sign(&name).fails(NOT_VERIFIED, "witnesses");
        assert!(!person.bundle(&name).exists(), "a bundle was written");
        person.verify("enough", &[]).passes();
        person.verify("enough", &["--online"]).fails(NOT_VERIFIED, "witnesses");
    }
    cosigns(&log, Cosigning::All);
    person.sign("few0").passes();
    person.verify("few0", &["--online"]).passes();
}

#[test]
fn a_forged_cosignature_and_one_for_another_log_spoil_the_checkpoint() {
    let (_keys, log, person) = witnessed(5);
    person.sign("before").passes();
    for lie in [Cosigning::Forged, Cosigning::Foreign] {
        cosigns(&log, lie);
        person.log_info().ends(ALARM);
        person.sign("after").fails(ALARM, "checkpoint");
        assert!(!person.bundle("after").exists(), "a bundle was written");
        person.verify("before", &["--online"]).fails(ALARM, "consistency");
    }
    cosigns(&log, Cosigning::All);
    person.sign("after").passes();
    person.verify("after", &["--online"]).passes();
}

/// The log has two keys and never signs two trees with one; its witness cosigns both trees.
#[test]
fn a_witness_that_cosigns_two_branches_is_convicted() {
    let keys = Arc::new(Keys::generate(1));
    let later = Arc::new(Keys::with_witnesses_of(&keys));
    let honest = grown(Branch::new(&keys), 5);
    let log = LyingLog::show(honest.clone());
    for (shared, size, kind) in [(4, 5, "fork-size"), (3, 9, "fork-prefix")] {
        log.now_shows(honest.clone());
        let person = Person::with_quorum(&keys, &log.url(), 1);
        person.trusts_also(&later);
        person.log_info().passes();
        let mut fork = Branch::new(&later);
        fork.append_from(&honest, 0..shared);
        log.now_shows(grown(fork, size - shared));
        person.log_info().ends(ALARM);
        let kept = person.takes_evidence(kind, PROVEN_LOG);
        let convicted = person.run(&["evidence", "verify", text(&kept.path)]).json();
        let witness = keys.witness_key(0).to_vkey();
        assert!(convicted["convicted"].as_array().unwrap().contains(&witness.into()));
        // The same tree under the other key, and a larger one, accuse nobody.
        let mut same = Branch::new(&later);
        same.append_from(&honest, 0..5);
        log.now_shows(same.clone());
        person.log_info().passes();
        log.now_shows(grown(same, 4));
        person.log_info().passes();
    }
}

#[test]
fn one_key_under_two_names_is_no_policy() {
    let (keys, _log, person) = witnessed(1);
    person.log_info().passes();
    let key = keys.witness_key(0).to_vkey();
    person.change_trust(|trust| {
        let policy = format!("witness a {key}\nwitness b {key}\ngroup g 2 a b\nquorum g\n");
        trust["witnessPolicy"] = policy.into();
    });
    person.log_info().ends(USAGE);
}
