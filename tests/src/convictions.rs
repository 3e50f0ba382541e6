//! One scene for each kind of evidence that the client keeps: a log lies, somebody notices, and the
//! evidence is what it is worth.

use std::sync::Arc;

use crate::lying_log::{Branch, Clock, Keys, Lie, LyingLog, any_entry, grown, log_of};
use crate::person::{ALARM, Kept, PROVEN_LOG, PROVEN_WITNESS, Person, SUSPICIOUS};

/// Evidence, who keeps it, and what it is worth.
pub struct Conviction {
    /// What the log did.
    pub name: &'static str,
    /// Who noticed.
    pub person: Person,
    /// The file.
    pub kept: Kept,
    /// The verdict of whoever has the person's trust file.
    pub verdict: &'static str,
}

/// All of them.
///
/// # Panics
/// If one is not noticed, or its evidence is worth something else.
pub fn all() -> Vec<Conviction> {
    let mut all = forks();
    all.extend(older_trees());
    all.extend(wrong_times());
    all.extend(across_faces());
    all.extend([wrong_tiles(), equivocation()]);
    all
}

/// Whether evidence of this verdict convicts anybody.
pub fn convicts(verdict: &str) -> bool {
    [PROVEN_LOG, PROVEN_WITNESS].contains(&verdict)
}

fn taken(name: &'static str, person: Person, kind: &str, verdict: &'static str) -> Conviction {
    let kept = person.takes_evidence(kind, verdict);
    Conviction { name, person, kept, verdict }
}

/// Somebody who saw `before`, is shown `after`, and is alarmed.
fn alarmed(keys: &Keys, quorum: usize, before: Branch, after: Branch) -> Person {
    let log = LyingLog::show(before);
    let person = Person::with_quorum(keys, &log.url(), quorum);
    person.log_info().passes();
    log.now_shows(after);
    person.log_info().ends(ALARM);
    person
}

fn forks() -> Vec<Conviction> {
    let (keys, honest) = log_of(6);
    let same_size = honest.with_entry_changed(5, &any_entry());
    let larger = grown(honest.truncated(3), 8);
    let one = alarmed(&keys, 0, honest.clone(), same_size);
    let other = alarmed(&keys, 0, honest, larger);
    vec![
        taken("two trees of one size", one, "fork-size", PROVEN_LOG),
        taken("a rewritten beginning", other, "fork-prefix", PROVEN_LOG),
    ]
}

/// An older tree: with no date, cosigned later, dated later by the log itself.
fn older_trees() -> Vec<Conviction> {
    let older = |branch: &Branch| {
        let mut older = branch.truncated(4);
        // A witness is convicted only beyond what its clock may err.
        (older.clock, older.witness_clock) = (Clock::Shifted(10), Clock::Shifted(400));
        older.publish();
        older
    };
    let (plain, witnessed, dated) = (Keys::generate(0), Keys::generate(1), Keys::generate_dated(0));
    let [plain, witnessed, dated] =
        [plain, witnessed, dated].map(|keys| grown(Branch::new(&Arc::new(keys)), 6));
    let shown =
        |quorum, branch: &Branch| alarmed(branch.keys(), quorum, branch.clone(), older(branch));
    let (first, second, third) = (shown(0, &plain), shown(1, &witnessed), shown(0, &dated));
    vec![
        taken("an older tree", first, "rollback-suspected", SUSPICIOUS),
        taken("an older tree cosigned later", second, "rollback", PROVEN_WITNESS),
        taken("an older tree dated later", third, "rollback", PROVEN_LOG),
    ]
}

/// Promises with times that the log's own dates contradict.
fn wrong_times() -> Vec<Conviction> {
    let keys = Arc::new(Keys::generate_dated(0));
    let late = |name, seconds| {
        let log = LyingLog::show(grown(Branch::new(&keys), 5));
        let person = Person::new(&keys, &log.url());
        person.sign("dated").passes();
        log.tell(Lie::PromisedTime(seconds));
        person.verify("dated", &["--online"]).fails(ALARM, "time");
        taken(name, person, "wrong-time", PROVEN_LOG)
    };
    vec![late("a backdated entry", -7200), late("an entry from the future", 7200)]
}

/// The Rekor v1 face shows another tree than the C2SP face.
fn across_faces() -> Vec<Conviction> {
    let (keys, honest) = log_of(9);
    let changed = honest.with_entry_changed(3, &any_entry());
    let shown = |name, face, kind| {
        let log = LyingLog::show(honest.clone());
        let person = Person::new(&keys, &log.url());
        log.tell(Lie::V1Face(Box::new(face)));
        person.finds_among("v1-differs");
        let kept = person.takes_evidence_of(kind, PROVEN_LOG);
        Conviction { name, person, kept, verdict: PROVEN_LOG }
    };
    vec![
        shown("two trees of one size on two faces", changed.clone(), "fork-size"),
        shown("a rewritten beginning on another face", changed.truncated(6), "fork-prefix"),
    ]
}

fn wrong_tiles() -> Conviction {
    let (keys, honest) = log_of(6);
    let log = LyingLog::show(honest.clone());
    let person = Person::new(&keys, &log.url());
    person.log_info().passes();
    log.now_shows(grown(honest, 3));
    log.tell(Lie::HashTile { level: 0, index: 0 });
    person.log_info().ends(ALARM);
    taken("tiles that lead nowhere", person, "inconsistent-unproven", SUSPICIOUS)
}

/// The log has two keys and never signs two trees with one; its witness cosigns both trees.
fn equivocation() -> Conviction {
    let keys = Arc::new(Keys::generate(1));
    let later = Arc::new(Keys::with_witnesses_of(&keys));
    let honest = grown(Branch::new(&keys), 5);
    let mut fork = Branch::new(&later);
    fork.append_from(&honest, 0..3);
    let log = LyingLog::show(honest);
    let person = Person::with_quorum(&keys, &log.url(), 1);
    person.trusts_also(&later);
    person.log_info().passes();
    log.now_shows(grown(fork, 6));
    person.log_info().ends(ALARM);
    taken("two trees under two keys, cosigned by one witness", person, "fork-prefix", PROVEN_LOG)
}
