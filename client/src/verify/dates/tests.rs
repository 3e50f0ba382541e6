use tempfile::TempDir;
use treering_proto::checkpoint::open_checkpoint;
use treering_proto::evidence::EvidenceKind;
use treering_proto::tree::{LeafIndex, TreeSize};
use treering_proto::trust::WitnessPolicy;

use super::time as time_check;
use super::*;
use crate::report::Outcome;
use crate::test_log::Clocks;
use crate::timestamp::tests::{CRITICAL, Odd, Stamper};
use crate::verify::tests::{Signed, broken, certified, details, identity};
use crate::verify::{Model, Verification, examine, verify};

/// When the quorum cosigned the tree with the entry: the older and the newer of its two times.
const SEEN: [u64; 2] = [1_700_000_005, 1_700_000_009];

/// Long after everything else.
const NOW: u64 = 1_800_000_000;

/// Entry 2 of 4, in a log with all three keys. Its own clock contradicts nothing.
fn signed() -> Signed {
    let mut signed = Signed::new(2, 1);
    signed.log.clocks = Some(Clocks::new(NOW));
    relog(&mut signed);
    signed
}

/// Takes the proof again, with the keys that the log has now.
fn relog(signed: &mut Signed) {
    let entry = signed.log.entry(LeafIndex::new(2).unwrap(), &signed.witnesses);
    signed.bundle = signed.bundle.clone().with_log_entry(entry);
}

/// The log promises `time` for the entry, in the bundle.
fn promise(signed: &mut Signed, time: u64) {
    let clocks = signed.log.clocks.as_mut().unwrap();
    clocks.promised = time;
    let entry = &mut signed.bundle.log_entries[0];
    entry.integrated_time = time;
    entry.inclusion_promise = Some(clocks.set(&entry.canonicalized_body, 2));
}

/// A kept checkpoint of `size` that both witnesses cosigned.
fn kept(signed: &Signed, size: u64, times: [u64; 2]) -> SignedCheckpoint {
    let mut log = signed.log.clone();
    log.clocks = None;
    let cosigned = [(5, times[0]), (6, times[1])];
    let note = log.checkpoint(TreeSize::new(size).unwrap(), &cosigned);
    open_checkpoint(note.as_bytes(), "log.example", &signed.trust().note_keys()).unwrap()
}

fn conclude_at(signed: &Signed, trust: &TrustFile, shown: &Shown, now: u64) -> Verification {
    let opened = Opened::open(&signed.bundle.to_json()).unwrap();
    let policy = Policy { trust, signers: &trust.signers, now };
    examine(&opened, &policy).conclude(Model::NotRead, shown)
}

fn conclude(signed: &Signed, shown: &Shown) -> Verification {
    conclude_at(signed, &signed.trust(), shown, NOW)
}

fn outcome(verification: &Verification, name: &str) -> (Outcome, Exit) {
    let report = &verification.report;
    (report.outcome(name).unwrap(), report.exit())
}

#[test]
fn a_promise_that_witnesses_contradict_is_an_alarm_when_too_late_and_a_doubt_when_too_early() {
    let mut signed = signed();
    let before = Some(kept(&signed, 2, [1_699_990_000, 1_699_990_007]));
    let shown = Shown { before, ..Shown::default() };
    // Of the newest time with the entry, and the oldest of the quorum without it.
    let (latest, earliest) = (SEEN[1] + CLOCK_SKEW_MAX, 1_699_990_000 - CLOCK_SKEW_MAX);
    let fine = (Outcome::Passed, Exit::Ok);
    for (time, expected) in [
        (latest, fine),
        (latest + 1, (Outcome::Failed, Exit::Alarm)),
        (earliest, fine),
        // An honest witness may have cosigned the old tree late.
        (earliest - 1, (Outcome::Failed, Exit::NotVerified)),
    ] {
        promise(&mut signed, time);
        let verification = conclude(&signed, &shown);
        assert_eq!(outcome(&verification, "time"), expected, "{time}");
        assert_eq!(broken(&verification), if expected == fine { vec![] } else { vec!["time"] });
        assert!(verification.evidence.is_empty());
    }
    // A smaller tree with the entry that was seen earlier is the better bound.
    promise(&mut signed, latest);
    let after = Some(kept(&signed, 3, [SEEN[0] - 50, SEEN[1] - 50]));
    let shown = Shown { after, ..shown };
    let verification = conclude(&signed, &shown);
    assert_eq!(outcome(&verification, "time"), (Outcome::Failed, Exit::Alarm));
    assert_eq!(verification.entry.unwrap().witnessed_by, Some(SEEN[1] - 50));
}

#[test]
fn one_liar_of_the_quorum_backdates_nothing() {
    let mut signed = signed();
    signed.witnesses[0].1 = 1;
    relog(&mut signed);
    promise(&mut signed, SEEN[1]);
    let verification = conclude(&signed, &Shown::default());
    assert_eq!(outcome(&verification, "time"), (Outcome::Passed, Exit::Ok));
    assert_eq!(verification.entry.unwrap().witnessed_by, Some(SEEN[1]));
}

#[test]
fn one_witness_ahead_of_all_takes_no_bound_away() {
    let mut signed = signed();
    let ahead = NOW + 1_000_000;
    signed.witnesses = vec![(5, SEEN[0]), (6, ahead), (7, SEEN[1])];
    relog(&mut signed);
    promise(&mut signed, SEEN[1] + CLOCK_SKEW_MAX + 1);
    let mut trust = signed.log.trust("https://log.example", vec![signed.rule()], &[5, 6, 7]);
    let text = trust.witness_policy.unwrap().text.replace("group g all", "group g 2");
    trust.witness_policy = Some(WitnessPolicy::parse(text, &trust.log).unwrap());
    let verification = conclude_at(&signed, &trust, &Shown::default(), NOW);
    assert_eq!(outcome(&verification, "time"), (Outcome::Failed, Exit::Alarm));
    assert_eq!(verification.entry.unwrap().witnessed_by, Some(SEEN[1]));
    // Where only as many witnessed as are needed, the entry is at least not from the future.
    signed.witnesses.pop();
    relog(&mut signed);
    let verification = conclude_at(&signed, &trust, &Shown::default(), NOW);
    assert_eq!(verification.entry.unwrap().witnessed_by, Some(NOW));
    // A clock that is behind what the quorum vouches for bounds nothing.
    let verification = conclude_at(&signed, &trust, &Shown::default(), SEEN[0] - 1);
    assert_eq!(verification.entry.unwrap().witnessed_by, Some(ahead));
}

/// Without witnesses; the log itself dates its tree to `own`.
fn unwitnessed(own: u64) -> (Signed, TrustFile) {
    let mut signed = signed();
    signed.witnesses.clear();
    signed.log.clocks.as_mut().unwrap().cosigned = own;
    relog(&mut signed);
    let trust = signed.log.trust("https://log.example", vec![signed.rule()], &[]);
    (signed, trust)
}

#[test]
fn a_promise_after_the_logs_own_signature_is_an_alarm_with_evidence() {
    for (time, fine) in [(SEEN[0], true), (SEEN[0] + 1, false)] {
        let (mut signed, trust) = unwitnessed(SEEN[0]);
        promise(&mut signed, time);
        let verification = conclude_at(&signed, &trust, &Shown::default(), NOW);
        let expected =
            if fine { (Outcome::NotChecked, Exit::Ok) } else { (Outcome::Failed, Exit::Alarm) };
        assert_eq!(outcome(&verification, "time"), expected, "{time}");
        let kind = verification.evidence.first().map(Evidence::kind);
        assert_eq!(kind, (!fine).then_some(EvidenceKind::WrongTime));
        // No third party dates the entry.
        assert_eq!(verification.entry.unwrap().witnessed_by, None);
    }
}

#[test]
fn our_own_slow_clock_is_no_alarm() {
    const AHEAD: u64 = NOW + CLOCK_SKEW_MAX;
    let why = |verification: &Verification| {
        let mut checks = verification.report.checks().iter();
        checks.find(|check| check.check == "time").unwrap().why.clone()
    };
    let (mut signed, trust) = unwitnessed(AHEAD + 1);
    for (time, exit) in [(AHEAD, Exit::Ok), (AHEAD + 1, Exit::Unavailable)] {
        promise(&mut signed, time);
        let verification = conclude_at(&signed, &trust, &Shown::default(), NOW);
        assert_eq!(outcome(&verification, "time"), (Outcome::NotChecked, exit), "{time}");
        assert!(verification.evidence.is_empty());
    }
    let verification = conclude_at(&signed, &trust, &Shown::default(), NOW);
    assert!(why(&verification).contains("this machine's clock is behind, or the log's"));
    // With witnesses who agree it is ours.
    signed.witnesses = vec![(5, AHEAD + 1), (6, AHEAD + 2)];
    relog(&mut signed);
    promise(&mut signed, AHEAD + 1);
    let verification = conclude(&signed, &Shown::default());
    assert_eq!(outcome(&verification, "time"), (Outcome::NotChecked, Exit::Unavailable));
    assert!(why(&verification).ends_with("too: this machine's clock is behind"));
    // With witnesses who do not, it is the log's.
    signed.witnesses = vec![(5, NOW), (6, NOW)];
    relog(&mut signed);
    promise(&mut signed, AHEAD + 1);
    let verification = conclude(&signed, &Shown::default());
    assert_eq!(outcome(&verification, "time"), (Outcome::Failed, Exit::Alarm));
}

#[test]
fn a_promise_that_kept_trees_of_the_log_contradict_is_an_alarm_with_evidence() {
    let (mut signed, trust) = unwitnessed(NOW);
    let own = |size: u64, time| {
        let mut log = signed.log.clone();
        log.clocks.as_mut().unwrap().cosigned = time;
        let note = log.checkpoint(TreeSize::new(size).unwrap(), &[]);
        Some(open_checkpoint(note.as_bytes(), "log.example", &trust.note_keys()).unwrap())
    };
    let (before, after) = (own(2, SEEN[0]), own(3, SEEN[1]));
    // Of 3 entries the last is entry 2, and the root of the first two is its only neighbour.
    let after_proof = vec![signed.log.head(TreeSize::new(2).unwrap()).root];
    let shown = Shown { before, after, after_proof, ..Shown::default() };
    for (time, fine) in
        [(SEEN[0], true), (SEEN[0] - 1, false), (SEEN[1], true), (SEEN[1] + 1, false)]
    {
        promise(&mut signed, time);
        let verification = conclude_at(&signed, &trust, &shown, NOW);
        let kind = verification.evidence.first().map(Evidence::kind);
        assert_eq!(kind, (!fine).then_some(EvidenceKind::WrongTime), "{time}");
        assert_eq!(verification.report.exit(), if fine { Exit::Ok } else { Exit::Alarm });
    }
    // Without the identity document nobody else could be shown who promised: still an alarm.
    let mut undocumented = trust.clone();
    undocumented.log.identity = None;
    let verification = conclude_at(&signed, &undocumented, &shown, NOW);
    assert_eq!(outcome(&verification, "time"), (Outcome::Failed, Exit::Alarm));
    assert!(verification.evidence.is_empty());
}

#[test]
fn two_promises_with_two_times_are_an_alarm() {
    let mut signed = signed();
    promise(&mut signed, SEEN[1]);
    let mut answered = |time| {
        let clocks = signed.log.clocks.as_mut().unwrap();
        clocks.promised = time;
        let body = &signed.bundle.log_entries[0].canonicalized_body;
        let promise = Some(Promise { time, signature: clocks.set(body, 2) });
        let shown = Shown { promise, ..Shown::default() };
        outcome(&conclude(&signed, &shown), "time")
    };
    assert_eq!(answered(SEEN[1]), (Outcome::Passed, Exit::Ok));
    assert_eq!(answered(SEEN[1] - 1), (Outcome::Failed, Exit::Alarm));
}

#[test]
fn all_evidence_is_kept() {
    let (mut signed, mut trust) = unwitnessed(SEEN[0]);
    promise(&mut signed, SEEN[0] + 1);
    let clocks = signed.log.clocks.as_mut().unwrap();
    clocks.promised = SEEN[0] + 2;
    let signature = clocks.set(&signed.bundle.log_entries[0].canonicalized_body, 2);
    let promise = Some(Promise { time: SEEN[0] + 2, signature });
    let mut fork = signed.log.clone();
    fork.bodies[0] = b"rewritten".to_vec();
    let note = fork.checkpoint(fork.size(), &[]);
    let floor = open_checkpoint(note.as_bytes(), "log.example", &trust.note_keys()).unwrap();
    trust.floor = Some(floor);
    let shown = Shown { promise, ..Shown::default() };
    let verification = conclude_at(&signed, &trust, &shown, NOW);
    let kinds: Vec<EvidenceKind> = verification.evidence.iter().map(Evidence::kind).collect();
    let expected = [EvidenceKind::ForkSize, EvidenceKind::WrongTime, EvidenceKind::WrongTime];
    assert_eq!(kinds, expected);
}

#[test]
fn a_promise_that_is_not_the_logs_is_not_verified_and_an_unsigned_time_not_believed() {
    let mut signed = signed();
    promise(&mut signed, SEEN[1]);
    signed.bundle.log_entries[0].integrated_time += 1;
    let verification = conclude(&signed, &Shown::default());
    assert_eq!(outcome(&verification, "time"), (Outcome::Failed, Exit::NotVerified));
    // Nor does it hide what the log says itself.
    let promise = {
        let clocks = signed.log.clocks.as_mut().unwrap();
        clocks.promised = SEEN[1] + CLOCK_SKEW_MAX + 1;
        let body = &signed.bundle.log_entries[0].canonicalized_body;
        Some(Promise { time: clocks.promised, signature: clocks.set(body, 2) })
    };
    let verification = conclude(&signed, &Shown { promise, ..Shown::default() });
    assert_eq!(outcome(&verification, "time"), (Outcome::Failed, Exit::Alarm));
    // Without a key for it nothing can be said, and that is.
    let mut trust = signed.trust();
    trust.log.keys.truncate(1);
    trust.log.identity = None;
    let verification = conclude_at(&signed, &trust, &Shown::default(), NOW);
    assert_eq!(outcome(&verification, "time"), (Outcome::Passed, Exit::Ok));
    assert!(details(&verification, "time")[0].contains("no key to check it with"));
    // Everybody can write a time into a bundle, one that would be an alarm included.
    signed.bundle.log_entries[0].inclusion_promise = None;
    signed.bundle.log_entries[0].integrated_time = 5;
    let verification = conclude(&signed, &Shown::default());
    assert_eq!(outcome(&verification, "time"), (Outcome::Passed, Exit::Ok));
    assert!(details(&verification, "time")[0].contains("without a signature"));
}

#[test]
fn the_age_of_the_bundles_tree_counts_where_the_log_is_not_asked() {
    let signed = signed();
    let mut trust = signed.trust();
    trust.max_checkpoint_age = Some(3600);
    let at = |trust: &TrustFile, now| {
        outcome(&conclude_at(&signed, trust, &Shown::default(), now), "freshness")
    };
    // The older time of a quorum of two: one of them alone may lie.
    assert_eq!(at(&trust, SEEN[0] + 3600), (Outcome::Passed, Exit::Ok));
    assert_eq!(at(&trust, SEEN[0] + 3601), (Outcome::Failed, Exit::Policy));
    assert_eq!(at(&trust, SEEN[0] - CLOCK_SKEW_MAX), (Outcome::Passed, Exit::Ok));
    let stale = conclude_at(&signed, &trust, &Shown::default(), NOW);
    let checks = stale.report.checks();
    let freshness = checks.iter().find(|check| check.check == "freshness").unwrap();
    assert!(freshness.why.ends_with("--online asks for a newer checkpoint"), "{}", freshness.why);
    let behind = (Outcome::NotChecked, Exit::Unavailable);
    assert_eq!(at(&trust, SEEN[0] - CLOCK_SKEW_MAX - 1), behind);
    trust.max_checkpoint_age = None;
    assert_eq!(at(&trust, NOW), (Outcome::NotChecked, Exit::Ok));
    // Nobody says when.
    let mut trust = signed.log.trust("https://log.example", vec![signed.rule()], &[]);
    trust.max_checkpoint_age = Some(3600);
    assert_eq!(at(&trust, NOW + 3600), (Outcome::Passed, Exit::Ok));
    assert_eq!(at(&trust, NOW + 3601), (Outcome::Failed, Exit::Policy));
    trust.log.keys.truncate(1);
    assert_eq!(at(&trust, NOW), (Outcome::NotChecked, Exit::Unavailable));
}

#[test]
fn the_newest_tree_decides_where_the_log_is_asked() {
    let signed = signed();
    let mut trust = signed.trust();
    trust.max_checkpoint_age = Some(3600);
    let with = |newest| {
        let shown = Shown { newest, ..Shown::default() };
        conclude_at(&signed, &trust, &shown, NOW)
    };
    let newest = Newest::Followed(kept(&signed, 4, [NOW - 5, NOW]));
    let fresh = with(newest);
    assert_eq!(outcome(&fresh, "freshness"), (Outcome::Passed, Exit::Ok));
    assert_eq!(broken(&fresh), [""; 0]);
    let stale = with(Newest::Followed(kept(&signed, 4, [NOW - 3601, NOW])));
    assert_eq!(outcome(&stale, "freshness"), (Outcome::Failed, Exit::Policy));
    let unknown = with(Newest::Unknown);
    assert_eq!(outcome(&unknown, "freshness"), (Outcome::NotChecked, Exit::Unavailable));
    let unwitnessed = with(Newest::NoQuorum { size: 9 });
    assert_eq!(broken(&unwitnessed), ["witnesses", "freshness"]);
    assert_eq!(unwitnessed.report.exit(), Exit::NotVerified);
}

#[test]
fn every_timestamp_must_be_good_and_dates_the_certificate() {
    const JOB: &str = "https://ci.example/job";
    let dir = TempDir::new().unwrap();
    let stamper = Stamper::new(dir.path(), CRITICAL);
    let (opened, mut trust, leaf) = certified(identity(JOB, None), true, 0);
    let signature = opened.envelope().signatures[0].signature.clone();
    let stamped = |times: &[u64]| {
        let token = |time: &u64| stamper.token(&signature, *time, Odd::Nothing);
        let mut bundle = opened.bundle().clone();
        bundle.timestamps = times.iter().map(token).collect();
        Opened::from_bundle(bundle).unwrap()
    };
    let at = |trust: &TrustFile, opened: &Opened, now| {
        let policy = Policy { trust, signers: &trust.signers, now };
        verify(opened, &policy, Model::NotRead)
    };
    let during = stamper.during().max(leaf.not_before());
    let late = leaf.not_after() + 1_000_000;
    let one = stamped(&[during]);
    // No authority is trusted: the token dates nothing.
    assert_eq!(broken(&at(&trust, &one, late)), ["certificate"]);
    trust.timestamp_authorities = vec![stamper.root.clone()];
    let good = at(&trust, &stamped(&[during + 9, during]), late);
    assert_eq!(outcome(&good, "timestamp"), (Outcome::Passed, Exit::Ok));
    assert_eq!(broken(&good), [""; 0]);
    let bad = at(&trust, &stamped(&[during, stamper.leaf.not_after() + 1]), late);
    assert_eq!(outcome(&bad, "timestamp"), (Outcome::Failed, Exit::NotVerified));
    let future = at(&trust, &one, during - CLOCK_SKEW_MAX - 1);
    assert_eq!(outcome(&future, "timestamp"), (Outcome::Failed, Exit::NotVerified));
    let none = at(&trust, &opened, leaf.not_before() + 60);
    assert_eq!(outcome(&none, "timestamp"), (Outcome::NotChecked, Exit::Ok));
}

#[test]
fn no_entry_is_older_than_the_certificate_in_it() {
    let (_, _, leaf) = certified(identity("https://ci.example/job", None), true, 0);
    let (mut signed, trust) = unwitnessed(u64::MAX >> 1);
    for (time, outcome, exit) in [
        (leaf.not_before() - CLOCK_SKEW_MAX, Outcome::NotChecked, Exit::NotVerified),
        (leaf.not_before() - CLOCK_SKEW_MAX - 1, Outcome::Failed, Exit::NotVerified),
    ] {
        promise(&mut signed, time);
        let policy = Policy { trust: &trust, signers: &trust.signers, now: leaf.not_after() };
        let logged = &signed.bundle.log_entries[0];
        let note = logged.inclusion_proof.checkpoint.as_bytes();
        let checkpoint = open_checkpoint(note, "log.example", &trust.note_keys()).unwrap();
        let shown = Shown::default();
        let logged = Logged { entry: logged, checkpoint: &checkpoint, shown: &shown };
        let mut report = Report::default();
        assert!(time_check(&logged, Some(&leaf), &policy, &mut report).is_empty());
        assert_eq!((report.outcome("time"), report.exit()), (Some(outcome), exit), "{time}");
    }
}

#[test]
fn the_earliest_sound_time_is_taken() {
    assert_eq!(Dated::earliest(Some(5), Some(4)), Dated::Stamped(4));
    assert_eq!(Dated::earliest(Some(5), Some(5)), Dated::Witnessed(5));
    assert_eq!(Dated::earliest(Some(5), None), Dated::Witnessed(5));
    assert_eq!(Dated::earliest(None, Some(5)), Dated::Stamped(5));
    assert_eq!(Dated::earliest(None, None), Dated::Never);
}
