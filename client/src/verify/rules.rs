//! The rules of the model policy, as checks of the report.
//!
//! | verdict | `warn` | `refuse` |
//! |---|---|---|
//! | holds | passed | passed |
//! | against | warned | failed, exit 7 |
//! | unknown | not checked | not checked though required, exit 5 |
//!
//! Invariant: every rule that is on is in the report, whatever happened to the checks before it.
//! Out of scope: judging (see [`crate::history`]).

use treering_proto::trust::ModelPolicy;
use treering_proto::trust::model_policy::{Action, Rule};

use super::Verification;
use crate::history::{Believed, Finding, History, Subject, Verdict};
use crate::report::{Exit, Report};
use crate::status::judge_undated;

/// What the report calls the check of `rule`.
pub fn check_name(rule: Rule) -> &'static str {
    match rule {
        Rule::FirstSeen => "rule-first-seen",
        Rule::WeightsFirstSeen => "rule-weights-first-seen",
        Rule::NotNewest => "rule-not-newest",
        Rule::VersionNotRising => "rule-version-not-rising",
        Rule::Revoked => "rule-revoked",
        Rule::Superseded => "rule-superseded",
        Rule::NewSigner => "rule-new-signer",
        Rule::OtherSigner => "rule-other-signer",
        Rule::NoStatement => "rule-no-statement",
        Rule::CheckpointAge => "rule-checkpoint-age",
        Rule::Approvals => "rule-approvals",
    }
}

/// Adds a check for each rule that is on, and keeps the findings. Without a subject, which is one
/// without proof, no rule can be checked.
pub fn judge(
    believed: Believed<'_>,
    subject: Option<&Subject>,
    history: Option<&History>,
    now: u64,
    verification: &mut Verification,
) {
    let Some(subject) = subject else {
        return nothing_to_judge(believed.policy, &mut verification.report);
    };
    verification.findings = judge_undated(believed, subject, history, now);
    for finding in &verification.findings {
        add(finding, &mut verification.report);
    }
}

/// Says of every rule that is on that there is nothing to check.
pub(super) fn nothing_to_judge(policy: &ModelPolicy, report: &mut Report) {
    let why = "it is not proven that the signature is logged, and whose it is";
    for rule in Rule::ALL {
        match policy.action(rule) {
            Action::Off => {}
            Action::Warn => report.not_checked(check_name(rule), why),
            Action::Refuse => report.could_not_check(check_name(rule), why, Exit::Unavailable),
        }
    }
}

fn add(finding: &Finding, report: &mut Report) {
    let (name, why) = (check_name(finding.rule), finding.why.clone());
    match (finding.verdict, finding.action) {
        (Verdict::Holds, _) => report.passed(name, why),
        (Verdict::Against, Action::Refuse) => report.failed(name, why, Exit::Policy),
        (Verdict::Against, _) => report.warned(name, why),
        (Verdict::Unknown, Action::Refuse) => {
            report.could_not_check(name, why, Exit::Unavailable);
        }
        (Verdict::Unknown, _) => report.not_checked(name, why),
    }
    report.details(finding.details());
}

#[cfg(test)]
mod tests;
