//! Cosignatures that are too few, counted twice, forged, or made for another log.

use std::sync::Arc;

use treering_tests::lying_log::{Branch, Cosigning, Keys, LyingLog};

use super::{ALARM, NOT_VERIFIED, Person, USAGE, grown};

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
