//! How far a long command has come, on a terminal; elsewhere nothing.

use std::io::IsTerminal as _;

/// Steps between two lines.
const STEP: u64 = 1000;

/// A line on stderr that is written again and again.
pub struct Progress {
    done: &'static str,
    is_terminal: bool,
    was_shown: bool,
}

impl Progress {
    /// `done` is what happened to the entries.
    pub fn new(done: &'static str) -> Self {
        Self { done, is_terminal: std::io::stderr().is_terminal(), was_shown: false }
    }

    /// Shows that `count` entries of `total` are done, now and then.
    pub fn show(&mut self, count: u64, total: u64) {
        if self.is_terminal && (count.is_multiple_of(STEP) || count == total) {
            eprint!("\r{} {count} of {total} entries", self.done);
            self.was_shown = true;
        }
    }

    /// Ends the line.
    pub fn end(self) {
        if self.was_shown {
            eprintln!();
        }
    }
}
