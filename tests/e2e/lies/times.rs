//! Times that cannot be, and a log that stops.

use std::sync::Arc;

use treering_tests::lying_log::{Branch, Clock, Keys, Lie, LyingLog};

use super::{ALARM, NOT_VERIFIED, POLICY, PROVEN_LOG, Person, UNAVAILABLE, grown};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// A log that dates its own checkpoints, with two witnesses, and somebody who asks for both and
/// for a checkpoint that is not older than a day.
fn dated(clock: Clock) -> (LyingLog, Person) {
    let keys = Arc::new(Keys::generate_dated(2));
    let mut branch = Branch::new(&keys);
    set_clocks(&mut branch, clock);
    let log = LyingLog::show(grown(branch, 5));
    let person = Person::with_quorum(&keys, &log.url(), 2);
    person.change_trust(|trust| trust["maxCheckpointAgeSeconds"] = DAY.into());
    (log, person)
}

fn set_clocks(branch: &mut Branch, clock: Clock) {
    (branch.clock, branch.witness_clock) = (clock, clock);
    branch.publish();
}

#[test]
fn an_entry_is_not_logged_before_the_tree_without_it_nor_after_it_was_seen() {
    let (log, person) = dated(Clock::System);
    person.sign("dated").passes();
    person.verify("dated", &["--online"]).passes();
    for shift in [-2 * HOUR, 2 * HOUR] {
        log.tell(Lie::PromisedTime(shift));
        person.verify("dated", &["--online"]).fails(ALARM, "time");
        person.takes_evidence("wrong-time", PROVEN_LOG);
        person.verify("dated", &[]).passes();
        log.repent();
    }
    person.verify("dated", &["--online"]).passes();
}

#[test]
fn witnesses_alone_accuse_a_late_time_and_only_doubt_an_early_one() {
    let keys = Arc::new(Keys::generate(2));
    let mut branch = Branch::new(&keys);
    set_clocks(&mut branch, Clock::System);
    let log = LyingLog::show(grown(branch, 5));
    let person = Person::with_quorum(&keys, &log.url(), 2);
    person.sign("dated").passes();
    for (shift, code) in [(-2 * HOUR, NOT_VERIFIED), (2 * HOUR, ALARM)] {
        log.tell(Lie::PromisedTime(shift));
        person.verify("dated", &["--online"]).fails(code, "time");
        assert!(person.evidence().is_empty());
        log.repent();
    }
}

#[test]
fn a_checkpoint_from_the_future_is_not_accepted_and_an_entry_from_there_is_an_alarm() {
    let (log, person) = dated(Clock::System);
    person.sign("now").passes();
    set_clocks(&mut log.scene().branch, Clock::Shifted(2 * HOUR));
    // Log and witnesses agree, so it looks as if the person's own clock were behind.
    person.log_info().ends(UNAVAILABLE);
    person.sign("later").fails(UNAVAILABLE, "freshness");
    person.verify("now", &["--online"]).fails(UNAVAILABLE, "freshness");
    set_clocks(&mut log.scene().branch, Clock::System);
    person.sign("after").passes();
    person.verify("after", &["--online"]).passes();
    // What it logged meanwhile it logged at a time that has not come yet.
    person.sign("later").passes();
    person.verify("later", &["--online"]).fails(ALARM, "time");
}

#[test]
fn a_log_that_stopped_is_refused_and_one_that_signs_again_is_not() {
    let (log, person) = dated(Clock::Shifted(-2 * DAY));
    person.log_info().ends(POLICY);
    person.sign("stopped").fails(POLICY, "freshness");
    assert!(!person.bundle("stopped").exists(), "a bundle was written");
    // The same tree, seen today.
    set_clocks(&mut log.scene().branch, Clock::System);
    person.log_info().passes();
    person.sign("stopped").passes();
    person.verify("stopped", &["--online"]).passes();
    // The log says that it is fresh, and only one of its witnesses says so, too.
    let mut scene = log.scene();
    scene.branch.witness_clock = Clock::Shifted(-2 * DAY);
    scene.branch.publish();
    drop(scene);
    person.log_info().ends(POLICY);
    person.verify("stopped", &["--online"]).fails(POLICY, "freshness");
}
