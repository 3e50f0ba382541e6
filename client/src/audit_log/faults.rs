//! A list of faults that is bounded and counts on: a damaged log could have one for every entry.

use crate::report::{Exit, Report};

/// Faults that are listed one by one.
const LISTED_MAX: usize = 100;

/// Faults of one kind.
#[derive(Clone, Default, Debug)]
pub struct Faults {
    listed: Vec<String>,
    count: u64,
}

impl Faults {
    /// Adds one, in a sentence.
    pub fn add(&mut self, fault: String) {
        self.count += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(fault);
        }
    }

    /// Counts faults that nobody lists.
    pub fn add_unlisted(&mut self, count: u64) {
        self.count += count;
    }

    /// Adds the line of `check` when not everything was read: an alarm with what was found, or that
    /// it could not run.
    pub fn report_early(&self, report: &mut Report, check: &'static str, why: &str, exit: Exit) {
        match self.is_empty() {
            true => report.could_not_check(check, why, exit),
            false => self.report(report, check, ""),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds the line of `check`: passed, and why, or an alarm with what was found.
    pub fn report(&self, report: &mut Report, check: &'static str, passed: &str) {
        if self.is_empty() {
            report.passed(check, passed);
            return;
        }
        let more = self.count - self.listed.len() as u64;
        let listed = if more == 0 { String::new() } else { format!("; {more} are not listed") };
        report.failed(check, format!("{} faults{listed}", self.count), Exit::Alarm);
        report.details(self.listed.clone());
    }
}
