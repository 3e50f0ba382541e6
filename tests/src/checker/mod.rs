//! The checker: decides fourteen invariants from a history of everything that was asked of a log
//! and everything that it served.
//!
//! ```text
//! requests, checkpoints, tiles, entries, proofs, searches, what witnesses hold, marks -> History
//! entries that the log serves after the last fault                                   -> Rebuilt
//! check(&History, &Rebuilt) -> Verdict: violations, what was not decided, what was
//! ```
//!
//! Invariants: nothing that the server computes is believed; time and memory grow with the history
//! (sorting apart) and nothing panics on it; what cannot be decided is said, not passed.
//! Out of scope: asking the log anything (`crate::check` does), and verifiers of others.

mod acks;
mod content;
pub mod event;
mod heads;
mod history;
mod jsonl;
mod offline;
mod opened;
mod processes;
mod rebuilt;
mod times;
pub mod wire;

use std::collections::BTreeMap;
use std::fmt;

pub use history::History;
pub use jsonl::{ReadError, read, write};
pub use rebuilt::Rebuilt;

use opened::Opened;

/// How many violations of one invariant are kept; all are counted.
const KEPT_MAX: usize = 100;

/// What must hold of a log, whatever happens to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Invariant {
    /// An acknowledged entry is the entry at its index, for ever.
    Durable,
    /// One index has one leaf, and one leaf one index.
    Unique,
    /// Two checkpoints of one size have one root.
    SameSizeSameRoot,
    /// Every checkpoint is the head of the rebuilt tree at its size.
    PairwiseConsistent,
    /// The sizes that one client sees never shrink, and cover what was acknowledged before.
    Monotonic,
    /// What was acknowledged before a submission began has a smaller index.
    RealTimeOrder,
    /// Every tile and entry served is the one that the entries make; no path changes.
    Content,
    /// Times never go back, and fit the dated checkpoints and the clock of the client.
    Time,
    /// Checkpoints, proofs and signed timestamps verify with nothing but the log's identity.
    Offline,
    /// An unknown outcome is there once or not at all, a refused entry is not, and a latched log
    /// acknowledges nothing.
    HonestErrors,
    /// Search finds what was acknowledged, and nothing that is not in the log.
    Search,
    /// The log is not smaller than what a witness holds, and cosignatures verify.
    WitnessFloor,
    /// Of processes at the same time at most one writes.
    Fencing,
    /// A damaged file is reported by its name.
    Refusal,
}

/// Something that must hold and does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which invariant.
    pub invariant: Invariant,
    /// What, for people.
    pub what: String,
}

/// What the checker says.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Violations, the first hundred of each invariant.
    pub violations: Vec<Violation>,
    /// How many there are.
    pub violations_count: u64,
    /// What could not be decided, and why, with how often.
    pub undecided: BTreeMap<(Invariant, &'static str), u64>,
    /// How many facts each invariant was decided of.
    pub decided: BTreeMap<Invariant, u64>,
}

/// What all invariants are decided from.
struct Case<'a> {
    history: &'a History,
    rebuilt: &'a Rebuilt,
    /// By number, every note.
    notes: Vec<Opened>,
}

/// What the function of an invariant finds.
#[derive(Default)]
struct Findings {
    violations: Vec<String>,
    count: u64,
    undecided: BTreeMap<&'static str, u64>,
    decided: u64,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Durable,
        Self::Unique,
        Self::SameSizeSameRoot,
        Self::PairwiseConsistent,
        Self::Monotonic,
        Self::RealTimeOrder,
        Self::Content,
        Self::Time,
        Self::Offline,
        Self::HonestErrors,
        Self::Search,
        Self::WitnessFloor,
        Self::Fencing,
        Self::Refusal,
    ];

    fn decide(self, case: &Case<'_>) -> Findings {
        match self {
            Self::Durable => acks::durable(case),
            Self::Unique => acks::unique(case),
            Self::SameSizeSameRoot => heads::same_size_same_root(case),
            Self::PairwiseConsistent => heads::pairwise_consistent(case),
            Self::Monotonic => heads::monotonic(case),
            Self::RealTimeOrder => acks::real_time_order(case),
            Self::Content => content::content(case),
            Self::Time => times::time(case),
            Self::Offline => offline::offline(case),
            Self::HonestErrors => acks::honest_errors(case),
            Self::Search => content::search(case),
            Self::WitnessFloor => heads::witness_floor(case),
            Self::Fencing => processes::fencing(case),
            Self::Refusal => processes::refusal(case),
        }
    }
}

/// Decides every invariant.
pub fn check(history: &History, rebuilt: &Rebuilt) -> Verdict {
    let case = Case { history, rebuilt, notes: opened::open_all(history) };
    let mut verdict = Verdict::default();
    for invariant in Invariant::ALL {
        let found = invariant.decide(&case);
        verdict.violations_count += found.count;
        let violations = found.violations.into_iter();
        verdict.violations.extend(violations.map(|what| Violation { invariant, what }));
        verdict.decided.insert(invariant, found.decided);
        for (why, count) in found.undecided {
            verdict.undecided.insert((invariant, why), count);
        }
        if found.decided == 0 && !verdict.undecided.keys().any(|(of, _)| *of == invariant) {
            verdict.undecided.insert((invariant, "the history says nothing about it"), 1);
        }
    }
    verdict
}

impl Verdict {
    /// Which invariants are violated.
    pub fn violated(&self) -> Vec<Invariant> {
        let mut all: Vec<Invariant> = self.violations.iter().map(|found| found.invariant).collect();
        all.dedup();
        all
    }
}

impl Findings {
    /// One more fact agrees.
    fn agree(&mut self) {
        self.decided += 1;
    }

    /// One more fact was looked at: it agrees, or `what` is wrong.
    fn judge(&mut self, agrees: bool, what: impl FnOnce() -> String) {
        self.decided += 1;
        if !agrees {
            self.count += 1;
            if self.violations.len() < KEPT_MAX {
                self.violations.push(what());
            }
        }
    }

    /// One more fact cannot be judged.
    fn leave_open(&mut self, why: &'static str) {
        *self.undecided.entry(why).or_default() += 1;
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

impl fmt::Display for Verdict {
    /// A line for each invariant, and one for each violation that was kept.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for invariant in Invariant::ALL {
            let decided = self.decided.get(&invariant).copied().unwrap_or_default();
            let bad = self.violations.iter().filter(|found| found.invariant == invariant).count();
            write!(f, "{:<19} {decided:>9} facts, {bad} violations kept", invariant.to_string())?;
            for ((_, why), count) in self.undecided.iter().filter(|((of, _), _)| *of == invariant) {
                write!(f, "; not decided: {why} ({count})")?;
            }
            writeln!(f)?;
        }
        self.violations.iter().try_for_each(|violation| writeln!(f, "{violation}"))
    }
}

#[cfg(test)]
mod tests;
