//! Times on a checkpoint: is it fresh, and can they be true?
//!
//! The time of a checkpoint is the k-th newest of its quorum of witnesses, so that fewer than k
//! liars cannot make it look fresh; where the policy asks for no witness it is the time that the
//! log itself signed (see [`treering_proto::freshness`]).
//!
//! Invariant: only signed times count. Out of scope: times of entries (see [`crate::audit_log`]).

use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::freshness::{CLOCK_SKEW_MAX, head_time, own_time};
use treering_proto::trust::TrustFile;

use super::findings::{Finding, FindingKind};
use crate::time::time_text;

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
    let mut times = Times { findings: Vec::new(), own: own_time(trust, shown) };
    let head = shown.head();
    for signature in shown.verified() {
        let Some(time) = signature.time else { continue };
        if time > now.saturating_add(CLOCK_SKEW_MAX) {
            let why = format!(
                "{} signed the checkpoint of {} entries at {}, which is still to come",
                signature.key.name(),
                head.size,
                time_text(time)
            );
            // Told once for each signer and tree, however often it is dated anew.
            let id = hex::encode(signature.key.key_id());
            let key = format!("future {} {id} {}", signature.key.name(), head.root);
            times.findings.push(Finding::of_log(FindingKind::WrongTime, key, why));
        }
    }
    // A time of 0 says nothing.
    times.own = times.own.filter(|own| *own != 0);
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
    times.findings.extend(stale(shown, head_time(trust, shown), max_age, now));
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
            "nobody who is believed says how old the newest checkpoint is, of {size} entries"
        ),
    };
    let key = format!("{} {time:?}", shown.head().root);
    Some(Finding::of_log(FindingKind::Stale, key, why))
}
