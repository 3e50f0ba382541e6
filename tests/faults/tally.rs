//! What a run counts, and its closing table.

use std::collections::BTreeMap;
use std::fmt;

use treering_tests::checker::{Invariant, Verdict};

/// Counts.
#[derive(Default)]
pub(crate) struct Tally {
    /// Of each fault, how often it was injected and the log survived it.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Logs read whole and held against everything remembered.
    pub(crate) judged: u64,
    /// Acknowledged entries found where they were said to be, each time counted.
    pub(crate) acks_checked: u64,
    /// Of each of the checker's invariants, facts that it was decided of.
    pub(crate) decided: BTreeMap<Invariant, u64>,
    /// What could not be run here, and why.
    pub(crate) skipped: BTreeMap<&'static str, String>,
}

impl Tally {
    /// Counts what a verdict was decided of.
    pub(crate) fn take(&mut self, verdict: &Verdict) {
        for (invariant, facts) in &verdict.decided {
            *self.decided.entry(*invariant).or_default() += facts;
        }
    }

    /// Takes over how often this fault was injected elsewhere.
    pub(crate) fn take_faults_of(&mut self, other: &Self, fault: &str) {
        *self.faults.entry(fault.to_owned()).or_default() +=
            other.faults.get(fault).copied().unwrap_or_default();
    }

    /// Counts a fault.
    pub(crate) fn count(&mut self, fault: impl Into<String>) {
        *self.faults.entry(fault.into()).or_default() += 1;
    }
}

/// What a quick run must have injected, or it has shown nothing.
const NEEDED: [&str; 39] = [
    "kill, batched",
    "kill, extended",
    "kill, committed",
    "kill, checked",
    "kill, fenced",
    "kill, signed",
    "kill, published",
    "kill, woken",
    "kill, at random",
    "power cut, unsynced data dropped",
    "EIO at a sync",
    "EIO at a write",
    "anchor written by another process",
    "entry damaged on its way to the disk",
    "clock step of 3600000 ms under load",
    "clock step of -3600000 ms under load",
    "flipped bit, server down, write-ahead log",
    "flipped bit, server down, SST",
    "flipped bit, server down, blob",
    "flipped bit, server down, MANIFEST",
    "flipped bit, server down, CURRENT",
    "flipped bit, server down, OPTIONS",
    "flipped bit, server down, anchor",
    "flipped bit, server down, owner",
    "flipped bit, server down, FORMAT",
    "flipped bit, server down, identity",
    "flipped bit, server down, note key",
    "flipped bit, server down, v1 key",
    "flipped bit, server up, write-ahead log",
    "flipped bit, server up, SST",
    "flipped bit, server up, blob",
    "flipped bit, server up, MANIFEST",
    "flipped bit, server up, CURRENT",
    "flipped bit, server up, OPTIONS",
    "flipped bit, server up, anchor",
    "paused under load",
    "second process on the same directory",
    "second process on a copy",
    "second process with one key",
];

impl Tally {
    /// Whether every fault that needs no privileges was injected, and every invariant decided of
    /// some fact; says which was not.
    pub(crate) fn has_all_needed(&self) -> bool {
        let is_there = |needed: &&&str| {
            self.faults.iter().any(|(fault, times)| fault.starts_with(**needed) && *times > 0)
        };
        let missing: Vec<_> = NEEDED.iter().filter(|needed| !is_there(needed)).collect();
        if !missing.is_empty() {
            println!("NOT INJECTED: {missing:?}");
        }
        let is_open = |invariant: &&Invariant| self.decided.get(invariant).is_none_or(|n| *n == 0);
        let open: Vec<_> = Invariant::ALL.iter().filter(is_open).collect();
        if !open.is_empty() {
            println!("NOT DECIDED: {open:?}");
        }
        missing.is_empty() && open.is_empty()
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
        for (invariant, facts) in &self.decided {
            writeln!(to, "| {invariant}: facts decided | {facts} |")?;
        }
        for (scenario, why) in &self.skipped {
            writeln!(to, "| {scenario} | skipped: {why} |")?;
        }
        Ok(())
    }
}
