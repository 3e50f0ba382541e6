//! One finding for each rule that is on.
//!
//! Invariant: findings are in the order of [`Rule::ALL`], and each says why.
//! Out of scope: what becomes of the process (see [`crate::verify`]).

use treering_proto::trust::model_policy::{Action, Rule};

use super::context::Context;
use super::{Cited, Finding, Verdict, age, approvals, notices, order, people};

/// Entries that one finding cites; the sentence counts all of them.
const CITED_MAX: usize = 20;

/// Remarks of one finding.
const REMARKS_MAX: usize = 20;

/// What a rule came to, before it is known what the policy makes of it.
#[derive(Debug)]
pub(super) struct Draft {
    verdict: Verdict,
    why: String,
    evidence: Vec<Cited>,
    pub(super) remarks: Vec<String>,
    remedy: Option<String>,
}

impl Draft {
    fn new(verdict: Verdict, why: impl Into<String>) -> Self {
        let (evidence, remarks) = (Vec::new(), Vec::new());
        Self { verdict, why: why.into(), evidence, remarks, remedy: None }
    }

    /// The rule has nothing against the model.
    pub(super) fn holds(why: impl Into<String>) -> Self {
        Self::new(Verdict::Holds, why)
    }

    /// The rule speaks against the model.
    pub(super) fn against(why: impl Into<String>) -> Self {
        Self::new(Verdict::Against, why)
    }

    /// It could not be checked.
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::new(Verdict::Unknown, why)
    }

    /// With entries that show it.
    pub(super) fn citing(mut self, evidence: Vec<Cited>) -> Self {
        self.evidence = evidence;
        self
    }

    /// With what to do about it.
    pub(super) fn advise(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// With something else that should be known.
    pub(super) fn remark(mut self, remark: impl Into<String>) -> Self {
        self.remarks.push(remark.into());
        self
    }

    /// Whether the rule has nothing against the model.
    pub(super) fn is_for_it(&self) -> bool {
        self.verdict == Verdict::Holds
    }
}

/// See [`super::judge()`].
pub(super) fn judge(context: &Context<'_>) -> Vec<Finding> {
    let is_on = |rule: &Rule| context.believed.policy.is_on(*rule);
    Rule::ALL.into_iter().filter(is_on).map(|rule| finding(context, rule)).collect()
}

fn finding(context: &Context<'_>, rule: Rule) -> Finding {
    let mut draft = match rule {
        Rule::FirstSeen => age::first_seen(context),
        Rule::WeightsFirstSeen => age::weights_first_seen(context),
        Rule::NotNewest => order::not_newest(context),
        Rule::VersionNotRising => order::version_not_rising(context),
        Rule::Revoked => notices::revoked(context),
        Rule::Superseded => notices::superseded(context),
        Rule::NewSigner => people::new_signer(context),
        Rule::OtherSigner => people::other_signer(context),
        Rule::NoStatement => people::no_statement(context),
        Rule::CheckpointAge => age::checkpoint_age(context),
        Rule::Approvals => approvals::approvals(context),
    };
    if draft.verdict == Verdict::Unknown && draft.remedy.is_none() {
        draft.remedy = Some(match context.history {
            None => "verify with --online, or with a status proof: --status FILE".to_owned(),
            Some(_) => {
                "ask again later, or look into an index of your own: treering history --index"
                    .to_owned()
            }
        });
    }
    draft.evidence.truncate(CITED_MAX);
    draft.remarks.truncate(REMARKS_MAX);
    let action = context.believed.policy.action(rule);
    assert!(action != Action::Off, "only rules that are on are looked at");
    Finding {
        rule,
        action,
        verdict: draft.verdict,
        why: draft.why,
        evidence: draft.evidence,
        remarks: draft.remarks,
        remedy: draft.remedy,
    }
}
