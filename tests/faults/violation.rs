//! What can be wrong with a log after a fault: one of the checker's invariants, or that it cannot
//! be read any more.

use std::fmt;

use treering_tests::checker::{Invariant, Verdict};

/// A promise that was broken, and how.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// The first that was broken, and others that were with it.
    pub(crate) promises: Vec<Promise>,
    /// How, for people.
    pub(crate) what: String,
}

/// What must hold of a log, whatever happens to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Promise {
    /// One of the checker's.
    Holds(Invariant),
    /// Reads go on while writes are latched, and a log with which nothing is wrong is served.
    Available,
}

/// How much of what a server said is repeated.
const WHAT_CHARS_MAX: usize = 400;

/// Violations of one verdict that are repeated.
const SHOWN_MAX: usize = 4;

/// What a scenario or a check ends with.
pub(crate) type Checked<T = ()> = Result<T, Violation>;

/// A broken promise.
pub(crate) fn broken<T>(promise: impl Into<Promise>, what: impl Into<String>) -> Checked<T> {
    Err(Violation { promises: vec![promise.into()], what: what.into() })
}

/// Holds a promise against what is so.
pub(crate) fn must(
    promise: impl Into<Promise>,
    holds: bool,
    what: impl FnOnce() -> String,
) -> Checked<()> {
    if holds { Ok(()) } else { broken(promise, what()) }
}

impl From<Invariant> for Promise {
    fn from(invariant: Invariant) -> Self {
        Self::Holds(invariant)
    }
}

impl fmt::Display for Promise {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds(invariant) => invariant.fmt(to),
            Self::Available => to.write_str("Available"),
        }
    }
}

impl Violation {
    /// The violations of a verdict; `None` if it has none.
    pub(crate) fn of(verdict: &Verdict) -> Option<Self> {
        let promises: Vec<Promise> = verdict.violated().into_iter().map(Promise::Holds).collect();
        let shown = verdict.violations.iter().take(SHOWN_MAX).map(ToString::to_string);
        let what = shown.collect::<Vec<_>>().join("; ");
        (!promises.is_empty()).then_some(Self { promises, what })
    }

    /// The promises as a table shows them.
    pub(crate) fn promises(&self) -> String {
        let names: Vec<String> = self.promises.iter().map(ToString::to_string).collect();
        names.join(", ")
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chars: Vec<char> = self.what.chars().collect();
        let (begin, end) =
            (chars.len().min(WHAT_CHARS_MAX), chars.len().saturating_sub(WHAT_CHARS_MAX));
        let begin: String = chars[..begin].iter().collect();
        // The end of what a process said is why it ended.
        let end: String = chars[end.max(begin.chars().count())..].iter().collect();
        let left_out = if chars.len() > 2 * WHAT_CHARS_MAX { " [...] " } else { "" };
        write!(to, "{}: {begin}{left_out}{end}", self.promises())
    }
}
