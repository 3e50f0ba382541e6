//! What the log shows about when it logged an entry: the checkpoints that it kept around it, and
//! its promise of Rekor v1.
//!
//! Invariant: a kept checkpoint counts only with the quorum that the trust file asks for, and after
//! the tiles proved that it goes together with the checkpoint of the entry.
//! Out of scope: what the times in them mean (see [`crate::verify`]).

use treering_proto::api::v1::LogEntries;
use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::encoding::from_base64;
use treering_proto::evidence;
use treering_proto::hash::hash_leaf;
use treering_proto::trust::TrustFile;

use super::promise::promise_in;
use crate::consistency::{FollowError, check_related};
use crate::log::LogReader;
use crate::transport::Reading;
use crate::verify::{Promise, ProvenEntry, Shown};

/// Which side of the entry a kept checkpoint must be on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// Asks for everything that the trust file has a key for. What cannot be had is a remark. Returns
/// what the log promised about the entry at another index.
///
/// # Errors
/// Those of [`FollowError`] that are alarms: two checkpoints that do not go together.
pub(super) async fn ask(
    log: &LogReader<'_>,
    trust: &TrustFile,
    entry: &ProvenEntry,
    shown: &mut Shown,
) -> Result<Option<evidence::Promise>, FollowError> {
    // Log keys without a time say nothing here.
    if trust.note_keys().iter().any(|key| !key.is_log_key()) {
        match log.checkpoints_around(entry.index).await {
            Ok(around) => {
                let remarks = &mut shown.remarks;
                shown.before =
                    accept(log, trust, entry, around.before, Side::Before, remarks).await?;
                shown.after = accept(log, trust, entry, around.after, Side::After, remarks).await?;
                if let (Some(after), Some(_)) = (&shown.after, trust.log.time_key()) {
                    let size = after.head().size;
                    let proof = log.inclusion(entry.index, size, Reading::Cached).await;
                    shown.after_proof = proof.unwrap_or_default();
                }
            }
            Err(error) => {
                let why = "the log does not show its checkpoints around the entry";
                shown.remarks.push(format!("{why}: {error}"));
            }
        }
    }
    if !trust.log.v1_keys().is_empty() {
        match promise(log, entry).await {
            Ok(promise) if promise.index != entry.index => return Ok(Some(promise)),
            Ok(evidence::Promise { time, set: signature, .. }) => {
                shown.promise = Some(Promise { time, signature });
            }
            Err(why) => {
                shown.remarks.push(format!("the log gives no signed entry timestamp: {why}"));
            }
        }
    }
    Ok(None)
}

/// The kept checkpoint, if it may date something.
async fn accept(
    log: &LogReader<'_>,
    trust: &TrustFile,
    entry: &ProvenEntry,
    kept: Option<SignedCheckpoint>,
    side: Side,
    remarks: &mut Vec<String>,
) -> Result<Option<SignedCheckpoint>, FollowError> {
    let Some(kept) = kept else { return Ok(None) };
    let size = kept.head().size;
    let mut refuse = |why: &str| {
        remarks
            .push(format!("the log's kept checkpoint of {size} entries {why}: it dates nothing"));
        Ok(None)
    };
    if size.contains(entry.index) != (side == Side::After) {
        return refuse("is on the wrong side of the entry");
    }
    if let Err(error) = check_related(log, &entry.checkpoint, &kept).await {
        return if error.is_alarm() { Err(error) } else { refuse("could not be compared") };
    }
    if !trust.has_quorum(&kept) {
        return refuse("lacks the quorum");
    }
    Ok(Some(kept))
}

/// The index and time that the Rekor v1 side of the log signed for the entry. The signature is not
/// verified.
async fn promise(log: &LogReader<'_>, entry: &ProvenEntry) -> Result<evidence::Promise, String> {
    let answer = log.rekor_v1_entry(&entry.leaf.to_hex()).await;
    let answer = answer.map_err(|error| error.to_string())?.ok_or("it denies the entry")?;
    let unreadable = "its answer cannot be read";
    let entries: LogEntries = serde_json::from_slice(&answer).map_err(|_| unreadable)?;
    let mut entries = entries.into_values();
    let (Some(found), None) = (entries.next(), entries.next()) else {
        return Err(unreadable.to_owned());
    };
    let body = from_base64(&found.body).ok_or(unreadable)?;
    if hash_leaf(&body) != entry.leaf {
        return Err("it answers about another entry".to_owned());
    }
    promise_in(&found, &body).ok_or_else(|| unreadable.to_owned())
}

#[cfg(test)]
mod tests;
