//! What can be wrong with a log after a fault.

use std::fmt;

/// A promise that was broken, and how.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// Which.
    pub(crate) invariant: Invariant,
    /// How, for people.
    pub(crate) what: String,
}

/// What must hold of a log, whatever happens to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Invariant {
    /// An acknowledged entry is the entry at its index, for ever, and the log can be served.
    Durable,
    /// One index has one leaf, and one leaf one index.
    Unique,
    /// All checkpoints are heads of one growing tree.
    Consistent,
    /// What a client sees never shrinks.
    Monotonic,
    /// Every tile is the one that the entries make.
    Content,
    /// Times never go back, and are the client's times.
    Time,
    /// An answer verifies with nothing but the log's identity.
    Offline,
    /// What is refused is said to be, and a log that cannot vouch takes nothing.
    HonestErrors,
    /// At most one process writes.
    Fencing,
    /// A damaged file is refused by its name, or harms nothing.
    Refusal,
    /// Reads go on while writes are latched.
    Available,
}

/// How much of what a server said is repeated.
const WHAT_CHARS_MAX: usize = 400;

/// What a scenario or a check ends with.
pub(crate) type Checked<T = ()> = Result<T, Violation>;

/// A broken promise.
pub(crate) fn broken<T>(invariant: Invariant, what: impl Into<String>) -> Checked<T> {
    Err(Violation { invariant, what: what.into() })
}

/// Holds a promise against what is so.
pub(crate) fn must(
    invariant: Invariant,
    holds: bool,
    what: impl FnOnce() -> String,
) -> Checked<()> {
    if holds { Ok(()) } else { broken(invariant, what()) }
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
        write!(to, "{:?}: {begin}{left_out}{end}", self.invariant)
    }
}
