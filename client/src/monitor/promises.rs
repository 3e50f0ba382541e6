//! Promises of the Rekor v1 face, sampled: is the entry that a signed timestamp names at its index,
//! and can it have been logged then?
//!
//! A promise names entry, index and time. Entry and index are held against our own tree; the time
//! against the log's own dated checkpoints, if the trust file lists the key for those: one that
//! does not have the entry yet is earlier, one that has it is not.
//!
//! Of what a round read only a few entries are asked for, spread over all of it: each is a request
//! of its own. An audit asks for all.
//!
//! Invariant: what is proven has evidence. Out of scope: who was promised something and holds it.

use treering_proto::api::v1::{LogEntry, set_payload};
use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::encoding::from_base64;
use treering_proto::evidence::{Evidence, Promise};
use treering_proto::freshness::{CLOCK_SKEW_MAX, own_time};
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::tree::LeafIndex;
use treering_proto::trust::{IdentityDocument, TrustFile};

use super::findings::{Finding, FindingKind};
use super::own_tree::OwnTree;
use super::read::Source;
use super::store::{Snapshot, StoreError};
use super::tiles::is_garbage;
use crate::log::{LogError, LogReader};
use crate::time::time_text;

/// Promises that one round asks for.
const PROMISES_MAX: u64 = 16;

/// What promises are held against.
pub struct Held<'a> {
    /// The checkpoint that was followed before; it has none of the entries.
    pub previous: Option<&'a SignedCheckpoint>,
    /// The checkpoint whose tree was read to its end.
    pub shown: &'a SignedCheckpoint,
    /// The index, which has every entry.
    pub snapshot: &'a Snapshot,
    /// Now, in Unix seconds.
    pub now: u64,
}

/// Why promises were not looked at.
#[derive(Debug, thiserror::Error)]
pub enum PromiseFault {
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Asks for promises about entries from `from` to before `to`.
///
/// # Errors
/// [`PromiseFault`].
pub async fn check_promises(
    source: &Source,
    held: &Held<'_>,
    from: u64,
    to: u64,
) -> Result<Vec<Finding>, PromiseFault> {
    let Some(document) = &source.trust.log.identity else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    let mut last_time = 0;
    for index in sample(from, to) {
        let kind = held.snapshot.record(index)?.and_then(|record| record.kind);
        let at = LeafIndex::new(index).filter(|_| kind.is_some_and(|kind| kind.is_rekor_v1()));
        let Some(at) = at else { continue };
        let transport = source.renewed();
        let log = LogReader::new(&transport, &source.trust);
        let entry = match log.v1_entry_at(at).await {
            // The face may be switched off, or not have this entry: an audit says so.
            Ok(None) | Err(LogError::Refused { .. }) => continue,
            Ok(Some(entry)) => entry,
            Err(error) if is_garbage(&error) => {
                found.push(Finding::of_entry(FindingKind::V1Differs, index, error.to_string()));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        match read_promise(document, &entry, at) {
            None => {
                let why = "the signed timestamp that the Rekor v1 face shows does not verify";
                found.push(Finding::of_entry(FindingKind::V1Differs, index, why));
            }
            Some(promise) => {
                found.extend(compare(&source.trust, document, held, &promise)?);
                if promise.time < last_time {
                    let why = format!(
                        "it is dated {}, before an entry below it, which is dated {}",
                        time_text(promise.time),
                        time_text(last_time)
                    );
                    found.push(Finding::of_entry(FindingKind::WrongTime, index, why));
                }
                last_time = last_time.max(promise.time);
            }
        }
    }
    Ok(found)
}

/// The promise in the answer about the entry `at`, if the log signed it.
pub fn read_promise(
    document: &IdentityDocument,
    entry: &LogEntry,
    at: LeafIndex,
) -> Option<Promise> {
    let identity = &document.identity;
    let log_id = identity.v1_log_id().to_hex();
    if entry.log_index != at.get() || entry.log_id != log_id {
        return None;
    }
    let payload = set_payload(&entry.body, entry.integrated_time, &log_id, at.get());
    let set = from_base64(&entry.verification.signed_entry_timestamp)?;
    identity.v1_key().verify(&payload, &set).ok()?;
    let body = from_base64(&entry.body)?;
    Some(Promise { set, entry: body, time: entry.integrated_time, index: at })
}

fn compare(
    trust: &TrustFile,
    document: &IdentityDocument,
    held: &Held<'_>,
    promise: &Promise,
) -> Result<Option<Finding>, StoreError> {
    let index = promise.index.get();
    let edge = held.snapshot.state()?.edge;
    let own = OwnTree { snapshot: held.snapshot, edge: &edge };
    let (Some(leaf), Some(proof)) =
        (held.snapshot.leaf(&edge, index)?, own.inclusion(promise.index)?)
    else {
        return Ok(None);
    };
    if hash_leaf(&promise.entry) != leaf {
        return Ok(Some(broken(document, held, promise, leaf, &proof)));
    }
    let late = |head: &SignedCheckpoint| {
        own_time(trust, head).is_some_and(|time| time != 0 && promise.time > time)
    };
    let early = |head: &&SignedCheckpoint| {
        !head.head().size.contains(promise.index)
            && own_time(trust, head).is_some_and(|time| promise.time < time)
    };
    let contradicts = |head: &SignedCheckpoint, proof: &[Hash]| {
        Evidence::wrong_time(document, trust.log.time_key()?, promise, head, proof)
    };
    let evidence = if late(held.shown) {
        contradicts(held.shown, &proof)
    } else if let Some(previous) = held.previous.filter(early) {
        contradicts(previous, &[])
    } else if promise.time > held.now.saturating_add(CLOCK_SKEW_MAX) {
        None
    } else {
        return Ok(None);
    };
    let why = match &evidence {
        Some(evidence) => evidence.to_string(),
        None => format!("it is dated {}, which no checkpoint bears out", time_text(promise.time)),
    };
    let finding = Finding::of_entry(FindingKind::WrongTime, index, why);
    Ok(Some(finding.with(evidence)))
}

/// The log promised this index to one entry, and signed a tree with another there.
fn broken(
    document: &IdentityDocument,
    held: &Held<'_>,
    promise: &Promise,
    leaf: Hash,
    proof: &[Hash],
) -> Finding {
    let evidence = Evidence::broken_promise(document, promise, held.shown, leaf, proof);
    let why = "the Rekor v1 face promises this index to another entry";
    Finding::of_entry(FindingKind::V1Differs, promise.index.get(), why).with(evidence)
}

/// Up to [`PROMISES_MAX`] indexes, the first and the last among them.
fn sample(from: u64, to: u64) -> Vec<u64> {
    let count = to.saturating_sub(from);
    let wanted = count.min(PROMISES_MAX);
    match wanted {
        0 => Vec::new(),
        1 => vec![from],
        // The product is below 2^53 * 16.
        _ => (0..wanted).map(|at| from + (count - 1) * at / (wanted - 1)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_from_the_first_to_the_last() {
        assert!(sample(5, 5).is_empty());
        assert_eq!(sample(5, 6), [5]);
        assert_eq!(sample(5, 9), [5, 6, 7, 8]);
        let many = sample(0, 1001);
        assert_eq!((many.len(), many[0], many[15]), (16, 0, 1000));
        assert!(many.is_sorted_by(|a, b| a < b));
    }
}
