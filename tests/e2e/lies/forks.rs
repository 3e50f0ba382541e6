//! A log that shows more than one tree: at the same time, one after the other, or an older one
//! again.

use std::sync::Arc;

use treering_tests::lying_log::{Branch, Clock, Keys, Lie, LyingLog};

use super::{ALARM, PROVEN_LOG, PROVEN_WITNESS, Person, SUSPICIOUS, any_entry, grown, log_of};

#[test]
fn two_trees_of_one_size_are_a_proven_fork() {
    let (keys, honest) = log_of(7);
    let fork = honest.with_entry_changed(6, &any_entry());
    let (here, there) = (LyingLog::show(honest.clone()), LyingLog::show(fork.clone()));
    let (one, other) = (Person::new(&keys, &here.url()), Person::new(&keys, &there.url()));
    for person in [&one, &other] {
        person.log_info().passes();
        person.log_info().passes();
    }
    let neighbour = Person::new(&keys, &here.url());
    neighbour.log_info().passes();
    one.compares(&neighbour, "same");
    one.compares(&other, "forked");
    one.takes_evidence("fork-size", PROVEN_LOG);

    // Each is shown the tree of the other.
    here.now_shows(fork);
    one.log_info().ends(ALARM);
    one.takes_evidence("fork-size", PROVEN_LOG);
    there.now_shows(honest.clone());
    other.log_info().ends(ALARM);
    other.takes_evidence("fork-size", PROVEN_LOG);

    here.now_shows(honest);
    one.log_info().passes();
}

#[test]
fn a_bundle_from_another_tree_of_the_remembered_size_needs_no_network_to_be_noticed() {
    let (keys, honest) = log_of(7);
    let (here, there) = (LyingLog::show(honest.clone()), LyingLog::show(honest));
    let (one, other) = (Person::new(&keys, &here.url()), Person::new(&keys, &there.url()));
    one.sign("first").passes();
    other.sign("second").passes();
    one.verify("first", &[]).passes();
    let stranger = Person::new(&keys, &here.url());
    stranger.receive(&one, "first");
    stranger.verify("first", &["--online"]).passes();

    other.receive(&one, "first");
    other.verify("first", &[]).fails(ALARM, "consistency");
    other.takes_evidence("fork-size", PROVEN_LOG);
    other.verify("first", &["--online"]).fails(ALARM, "consistency");
    other.takes_evidence("fork-size", PROVEN_LOG);
}

#[test]
fn branches_that_diverged_are_a_proven_fork_whatever_their_sizes() {
    let (keys, honest) = log_of(7);
    let log = LyingLog::show(honest.clone());
    let person = Person::new(&keys, &log.url());
    person.log_info().passes();
    let neighbour = Person::new(&keys, &log.url());
    for (start, size) in [(0, 8), (4, 8), (4, 300), (6, 256), (6, 9)] {
        let fork = grown(honest.truncated(start), size - start);
        log.now_shows(fork);
        person.log_info().ends(ALARM);
        person.takes_evidence("fork-prefix", PROVEN_LOG);
        // Somebody who has never seen the other tree believes this one, until they compare.
        let stranger = Person::new(&keys, &log.url());
        stranger.log_info().passes();
        stranger.compares(&person, "forked");
        stranger.takes_evidence("fork-prefix", PROVEN_LOG);
    }
    // A fork that is smaller than what is remembered, while the old tree's tiles are still there.
    let fork = grown(honest.truncated(3), 2);
    log.now_shows(honest.clone());
    log.tell(Lie::Checkpoint(fork.newest().note.clone()));
    person.log_info().ends(ALARM);
    person.takes_evidence("fork-prefix", PROVEN_LOG);

    log.now_shows(grown(honest, 300));
    neighbour.log_info().passes();
    person.compares(&neighbour, "consistent");
    person.log_info().passes();
}

#[test]
fn nothing_is_signed_searched_or_verified_on_a_fork() {
    let (keys, honest) = log_of(5);
    let log = LyingLog::show(honest.clone());
    let person = Person::new(&keys, &log.url());
    person.sign("before").passes();
    person.verify("before", &["--online"]).passes();
    person.run(&["search", "subject-name=before"]).passes();

    log.now_shows(grown(honest.truncated(3), 9));
    person.sign("after").fails(ALARM, "consistency");
    assert!(!person.bundle("after").exists(), "a bundle was written");
    person.takes_evidence("fork-prefix", PROVEN_LOG);
    person.verify("before", &["--online"]).fails(ALARM, "consistency");
    person.takes_evidence("fork-prefix", PROVEN_LOG);
    person.run(&["search", "subject-name=before"]).ends(ALARM);
    person.takes_evidence("fork-prefix", PROVEN_LOG);
    // What was logged before it forked is still what it was.
    person.verify("before", &["--deadline", "5s"]).passes();
}

#[test]
fn an_older_checkpoint_shown_again_is_suspicious_and_proves_nothing() {
    let (keys, honest) = log_of(7);
    let log = LyingLog::show(honest.clone());
    let person = Person::new(&keys, &log.url());
    person.log_info().passes();

    log.tell(Lie::Checkpoint(honest.kept(4).unwrap().note.clone()));
    person.log_info().ends(ALARM);
    person.takes_evidence("rollback-suspected", SUSPICIOUS);
    // The whole log as it was then, from a backup.
    log.now_shows(honest.truncated(4));
    person.log_info().ends(ALARM);
    person.takes_evidence("rollback-suspected", SUSPICIOUS);
    person.sign("another").fails(ALARM, "consistency");
    person.takes_evidence("rollback-suspected", SUSPICIOUS);

    log.now_shows(grown(honest, 1));
    person.log_info().passes();
}

#[test]
fn a_smaller_tree_cosigned_later_convicts_the_witness() {
    let keys = Arc::new(Keys::generate(1));
    let honest = grown(Branch::new(&keys), 7);
    let log = LyingLog::show(honest.clone());
    let person = Person::with_quorum(&keys, &log.url(), 1);
    person.log_info().passes();

    // An old note with an old cosignature may have been served again by anybody.
    log.tell(Lie::Checkpoint(honest.kept(4).unwrap().note.clone()));
    person.log_info().ends(ALARM);
    person.takes_evidence("rollback-suspected", SUSPICIOUS);
    let mut older = honest.truncated(4);
    older.witness_clock = Clock::Shifted(400);
    older.publish();
    log.now_shows(older);
    person.log_info().ends(ALARM);
    person.takes_evidence("rollback", PROVEN_WITNESS);

    log.now_shows(grown(honest, 1));
    person.log_info().passes();
}

#[test]
fn an_acknowledged_entry_that_is_removed_or_changed_is_a_proven_fork() {
    let (keys, honest) = log_of(5);
    let log = LyingLog::show(honest);
    let person = Person::new(&keys, &log.url());
    person.sign("acknowledged").passes();
    person.verify("acknowledged", &["--online"]).passes();
    let grown = grown(log.scene().branch.clone(), 4);
    log.now_shows(grown.clone());
    person.verify("acknowledged", &["--online"]).passes();

    let removed = super::grown(grown.with_entry_removed(5), 3);
    let changed = super::grown(grown.with_entry_changed(5, &any_entry()), 3);
    for lie in [removed, changed] {
        log.now_shows(lie);
        // Somebody who has nothing but the bundle notices; so does the signer.
        let stranger = Person::new(&keys, &log.url());
        stranger.receive(&person, "acknowledged");
        stranger.verify("acknowledged", &[]).passes();
        stranger.verify("acknowledged", &["--online"]).fails(ALARM, "consistency");
        stranger.takes_evidence("fork-prefix", PROVEN_LOG);
        person.log_info().ends(ALARM);
        person.takes_evidence("fork-prefix", PROVEN_LOG);
    }
}
