//! What was checked, and how it came out: the one answer of `verify`, `sign` and `submit`, as text
//! and as JSON.
//!
//! Invariant: a report is verified only when every required check passed. A check that did not run
//! is listed as such, with the reason; none is left out.

use serde::Serialize;

/// The version of the JSON form; a field is only ever added under the same version.
pub const REPORT_SCHEMA: &str = "treering.report/v1";

/// How the process ends. Scripts rely on these numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Done, verified.
    Ok = 0,
    /// Not verified; not logged included.
    NotVerified = 1,
    /// The command or one of its files makes no sense.
    Usage = 2,
    /// A look-up found nothing.
    NotFound = 3,
    /// The log does not let this caller.
    NotAuthorised = 4,
    /// Unavailable, timed out, or a required check could not run.
    Unavailable = 5,
    /// A fork, a rollback or a false proof.
    Alarm = 6,
    /// Refused by a policy.
    Policy = 7,
}

/// How one check came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold, and that is said but does not stand in the way.
    Warned,
    /// It does not hold.
    Failed,
    /// It did not run.
    NotChecked,
}

/// One check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Check {
    /// Stable, kebab-case.
    pub check: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What was found, or why it did not run: one sentence.
    pub why: String,
    /// Each single fault, such as a file by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
    /// Whether the whole is verified only if this passed.
    pub required: bool,
    #[serde(skip)]
    exit: Exit,
}

/// All checks of one bundle, in the order in which they run.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Report {
    checks: Vec<Check>,
}

impl Report {
    /// The check `name` holds.
    pub fn passed(&mut self, name: &'static str, why: impl Into<String>) {
        self.push(name, Outcome::Passed, why.into(), true, Exit::Ok);
    }

    /// The check `name` does not hold, and whoever made the policy wants to know it.
    pub fn warned(&mut self, name: &'static str, why: impl Into<String>) {
        self.push(name, Outcome::Warned, why.into(), false, Exit::Ok);
    }

    /// The check `name` does not hold, and the process ends with `exit` unless something worse
    /// turns up.
    pub fn failed(&mut self, name: &'static str, why: impl Into<String>, exit: Exit) {
        self.push(name, Outcome::Failed, why.into(), true, exit);
    }

    /// The check `name` did not run, and that is said but not required.
    pub fn not_checked(&mut self, name: &'static str, why: impl Into<String>) {
        self.push(name, Outcome::NotChecked, why.into(), false, Exit::Ok);
    }

    /// The check `name` is required and could not run.
    pub fn could_not_check(&mut self, name: &'static str, why: impl Into<String>, exit: Exit) {
        self.push(name, Outcome::NotChecked, why.into(), true, exit);
    }

    /// Adds single faults to the last check.
    pub fn details(&mut self, details: Vec<String>) {
        if let Some(last) = self.checks.last_mut() {
            last.details = details;
        }
    }

    /// Adds the checks of `other` after these.
    pub fn append(&mut self, other: Self) {
        for check in other.checks {
            assert!(self.outcome(check.check).is_none(), "each check is reported once");
            self.checks.push(check);
        }
    }

    /// The checks so far.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// How the check `name` came out.
    pub fn outcome(&self, name: &str) -> Option<Outcome> {
        self.checks.iter().find(|check| check.check == name).map(|check| check.outcome)
    }

    /// Whether every required check passed, and there was one.
    pub fn is_verified(&self) -> bool {
        let mut required = self.checks.iter().filter(|check| check.required).peekable();
        required.peek().is_some() && required.all(|check| check.outcome == Outcome::Passed)
    }

    /// The exit code: an alarm before everything, then what does not hold, then a policy, then what
    /// could not run.
    pub fn exit(&self) -> Exit {
        let rank = |exit: Exit| match exit {
            Exit::Ok => 0,
            Exit::NotFound => 1,
            Exit::Unavailable => 2,
            Exit::NotAuthorised => 3,
            Exit::Usage => 4,
            Exit::Policy => 5,
            Exit::NotVerified => 6,
            Exit::Alarm => 7,
        };
        let worst = self.checks.iter().map(|check| check.exit).max_by_key(|exit| rank(*exit));
        match worst {
            Some(Exit::Ok) | None if !self.is_verified() => Exit::NotVerified,
            Some(exit) => exit,
            None => Exit::NotVerified,
        }
    }

    fn push(
        &mut self,
        check: &'static str,
        outcome: Outcome,
        why: String,
        required: bool,
        exit: Exit,
    ) {
        assert!(self.outcome(check).is_none(), "each check is reported once");
        self.checks.push(Check { check, outcome, why, details: Vec::new(), required, exit });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_report_verifies_nothing() {
        assert!(!Report::default().is_verified());
        assert_eq!(Report::default().exit(), Exit::NotVerified);
    }

    #[test]
    fn only_all_required_checks_passed_is_verified() {
        let mut report = Report::default();
        report.passed("signature", "by a key");
        report.not_checked("timestamp", "no token");
        report.warned("rule-new-signer", "somebody new");
        assert!(report.is_verified());
        assert_eq!(report.exit(), Exit::Ok);
        report.could_not_check("consistency", "offline", Exit::Unavailable);
        assert!(!report.is_verified());
        assert_eq!(report.exit(), Exit::Unavailable);
        report.failed("bytes", "changed", Exit::NotVerified);
        assert_eq!(report.exit(), Exit::NotVerified);
        report.failed("fork", "two heads", Exit::Alarm);
        assert_eq!(report.exit(), Exit::Alarm);
    }
}
