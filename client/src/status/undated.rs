//! What hangs on times that nobody vouches for.
//!
//! Whether a certificate was valid when an entry was logged (see [`Who::in_time`]) decides about
//! what lets a model pass: approvals, roll-backs, new names. The times in a status proof are the
//! word of whoever made the file, so they decide nothing. Witnesses bound the time of its tree, and
//! none of its entries is younger. Where that is not enough it is judged both ways:
//!
//! ```text
//! not valid then --judge--> Finding -\
//!                                     same verdict? -- yes --> that one
//! valid then     --judge--> Finding -/               no  --> Unknown
//! ```
//!
//! Invariant: a rule that the times could turn is not checked. Out of scope: the age of a model,
//! which `firstSeen` tells with its source.
//!
//! [`Who::in_time`]: crate::history::Who::in_time

use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::trust::TrustFile;

use crate::history::{self, Believed, Finding, History, Seen, SeenTime, Source, Subject};
use crate::history::{Verdict, Word};

/// Judges as [`history::judge`] does, but for rules that hang on times that nobody vouches for.
pub fn judge_undated(
    believed: Believed<'_>,
    subject: &Subject,
    history: Option<&History>,
    now: u64,
) -> Vec<Finding> {
    let findings = history::judge(believed, subject, history, now);
    let Some(other) = history.and_then(in_time) else { return findings };
    let others = history::judge(believed, subject, Some(&other), now);
    let pairs = findings.into_iter().zip(others);
    pairs.map(|(finding, other)| settle(finding, other.verdict, &other)).collect()
}

/// The finding, unless it would be another if the times were others.
fn settle(finding: Finding, verdict: Verdict, other: &Finding) -> Finding {
    if finding.verdict == verdict || finding.verdict == Verdict::Unknown {
        return finding;
    }
    let why = "it hangs on whether certificates were valid when entries were logged, and no \
        witness vouches for those times";
    Finding {
        verdict: Verdict::Unknown,
        why: why.to_owned(),
        evidence: [finding.evidence, other.evidence.clone()].concat(),
        remedy: Some("ask the log: treering verify --online".to_owned()),
        ..finding
    }
}

/// The same history with every certificate valid whose time is not known; `None` if it is no other.
fn in_time(history: &History) -> Option<History> {
    let hangs = |seen: &Seen| {
        !is_dated(&history.source, seen.time) && seen.signed_by.iter().any(|who| !who.in_time)
    };
    if !history.seen.values().any(hangs) {
        return None;
    }
    let mut other = history.clone();
    for seen in other.seen.values_mut().filter(|seen| hangs(seen)) {
        for who in &mut seen.signed_by {
            who.in_time = true;
        }
    }
    Some(other)
}

fn is_dated(source: &Source, time: Option<SeenTime>) -> bool {
    let is_word = |time: SeenTime| time.word == Word::Witnesses || *source != Source::StatusProof;
    time.is_some_and(is_word)
}

/// A time after which no entry of the tree of `head` was logged, by the word of the witnesses.
pub(super) fn witnessed(trust: &TrustFile, head: &SignedCheckpoint) -> Option<SeenTime> {
    let witnesses = trust.witness_policy.as_ref()?;
    let seconds = witnesses.policy.quorum_not_after(head.verified())?;
    Some(SeenTime { seconds, word: Word::Witnesses })
}
