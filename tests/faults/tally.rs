//! What a run counts, and its closing table.

use std::collections::BTreeMap;
use std::fmt;

/// Counts.
#[derive(Default)]
pub(crate) struct Tally {
    /// Of each fault, how often it was injected and the log survived it.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Logs read whole and held against everything remembered.
    pub(crate) judged: u64,
    /// Acknowledged entries found where they were said to be, each time counted.
    pub(crate) acks_checked: u64,
    /// What could not be run here, and why.
    pub(crate) skipped: BTreeMap<&'static str, String>,
}

impl Tally {
    /// Counts a fault.
    pub(crate) fn count(&mut self, fault: impl Into<String>) {
        *self.faults.entry(fault.into()).or_default() += 1;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "| fault | times |")?;
        writeln!(to, "|---|---:|")?;
        for (fault, count) in &self.faults {
            writeln!(to, "| {fault} | {count} |")?;
        }
        writeln!(to, "| logs read whole and checked | {} |", self.judged)?;
        writeln!(to, "| acknowledgements checked | {} |", self.acks_checked)?;
        for (scenario, why) in &self.skipped {
            writeln!(to, "| {scenario} | skipped: {why} |")?;
        }
        Ok(())
    }
}
