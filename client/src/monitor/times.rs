//! Times on a checkpoint: is it fresh, and can they be true?
//!
//! The time of a checkpoint is the k-th newest of its quorum of witnesses (see
//! [`treering_proto::policy`]), so that fewer than k liars cannot make it look fresh; where the
//! policy asks for no witness it is the time that the log itself signed.
//!
//! Invariant: only signed times count. Out of scope: times of entries (see [`crate::audit_log`]).

use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::trust::TrustFile;

use super::findings::{Finding, FindingKind};
use crate::online::time_text;

/// How far ahead of ours another clock may be, in seconds.
pub const SKEW_MAX: u64 = 300;

/// What the times say.
#[derive(Default, Debug)]
pub struct Times {
    /// What is wrong with them.
    pub findings: Vec<Finding>,
    /// The time that the log itself signed.
    pub own: Option<u64>,
}

/// Looks at the times of `shown`. `newest_own` is the newest time that the log signed before, 0 for
/// none; `max_age` in seconds.
pub fn check_times(
    trust: &TrustFile,
    shown: &SignedCheckpoint,
    newest_own: u64,
    max_age: Option<u64>,
    now: u64,
) -> Times {
    let mut times = Times::default();
    let head = shown.head();
    for signature in shown.verified() {
        let (Some(time), name) = (signature.time, signature.key.name()) else { continue };
        if time > now.saturating_add(SKEW_MAX) {
            let why = format!(
                "{name} signed the checkpoint of {} entries at {}, which is still to come",
                head.size,
                time_text(time)
            );
            let key = format!("future {} {time}", signature.key.to_vkey());
            times.findings.push(Finding::of_log(FindingKind::WrongTime, key, why));
        }
        if name == trust.log.origin {
            times.own = times.own.max(Some(time));
        }
    }
    if let Some(own) = times.own.filter(|own| *own < newest_own) {
        let why = format!(
            "the log signed the checkpoint of {} entries at {}, and a smaller or equal one at {}",
            head.size,
            time_text(own),
            time_text(newest_own)
        );
        let key = format!("back {newest_own} {own} {}", head.root);
        times.findings.push(Finding::of_log(FindingKind::WrongTime, key, why));
    }
    let policy = trust.witness_policy.as_ref().map(|witnesses| &witnesses.policy);
    let quorum = policy.and_then(|policy| policy.quorum_time(shown.verified()));
    times.findings.extend(stale(shown, quorum.or(times.own), max_age, now));
    times
}

fn stale(
    shown: &SignedCheckpoint,
    time: Option<u64>,
    max_age: Option<u64>,
    now: u64,
) -> Option<Finding> {
    let max_age = max_age?;
    let size = shown.head().size;
    let why = match time {
        Some(time) if now.saturating_sub(time) <= max_age => return None,
        Some(time) => format!(
            "the newest checkpoint, of {size} entries, is of {}: more than {max_age} s ago",
            time_text(time)
        ),
        None => format!(
            "no signature says how old the newest checkpoint is, of {size} entries: neither a \
             quorum of witnesses nor the log itself dated it"
        ),
    };
    let key = format!("{} {time:?}", shown.head().root);
    Some(Finding::of_log(FindingKind::Stale, key, why))
}
