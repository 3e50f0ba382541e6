//! Promises of Rekor v1: the log signed that an entry has an index (SignedEntryTimestamp). Does it
//! stand there?
//!
//! Invariants: a promise counts only with the log's signature, and is broken only by the leaf of
//! another entry with a proof to a tree that the log signed. What its tree does not cover yet may
//! still come. Out of scope: the time in a promise (see [`crate::verify`]).

use std::fmt;

use treering_proto::api::v1::LogEntry;
use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::encoding::from_base64;
use treering_proto::evidence::{Evidence, Promise};
use treering_proto::hash::hash_leaf;
use treering_proto::proof::check_inclusion;
use treering_proto::tile::{Tile, node_in_tile};
use treering_proto::tree::{LeafIndex, Node};
use treering_proto::trust::TrustFile;

use crate::log::LogReader;
use crate::transport::Reading;
use crate::verify::is_promised;

/// A promise that the log signed and did not keep.
#[derive(Clone, Debug)]
pub struct Broken {
    /// For others; `None` without the log's identity document, which says whose key promised.
    pub evidence: Option<Evidence>,
    index: LeafIndex,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.index;
        write!(f, "the log promised that the entry has index {index}, and put another one there")
    }
}

/// What `answer` promises about an entry with the canonical bytes `body`; `None` when it cannot be
/// read. Its signature is not verified.
pub(crate) fn promise_in(answer: &LogEntry, body: &[u8]) -> Option<Promise> {
    let set = from_base64(&answer.verification.signed_entry_timestamp)?;
    let index = LeafIndex::new(answer.log_index)?;
    Some(Promise { set, entry: body.to_vec(), time: answer.integrated_time, index })
}

/// Whether another entry stands where the log promised one, in the tree of `shown`, which it
/// signed; `None` when the promise is kept, when it is not the log's, and when the tree ends before
/// its index.
///
/// # Errors
/// One sentence, when the log does not show what stands there.
pub async fn broken(
    log: &LogReader<'_>,
    trust: &TrustFile,
    promise: &Promise,
    shown: &SignedCheckpoint,
) -> Result<Option<Broken>, String> {
    let (index, head) = (promise.index, shown.head());
    if !head.size.contains(index) || !is_promised(trust, promise) {
        return Ok(None);
    }
    let node = Node { level: 0, index: index.get() };
    let tile = Tile::holding(node, head.size).expect("the tree has this leaf");
    let mut why = "the tiles do not belong to the checkpoint".to_owned();
    // A cache may be why they do not.
    for reading in [Reading::Cached, Reading::Fresh] {
        let read = async {
            let leaves = log.tile(tile, reading).await?;
            Ok::<_, crate::log::LogError>((leaves, log.inclusion(index, head.size, reading).await?))
        };
        let (leaves, proof) = match read.await {
            Ok(read) => read,
            Err(error) => {
                why = error.to_string();
                continue;
            }
        };
        let Some(leaf) = node_in_tile(node, &leaves) else { continue };
        if check_inclusion(index, head, leaf, &proof).is_err() {
            continue;
        }
        if leaf == hash_leaf(&promise.entry) {
            return Ok(None);
        }
        let document = trust.log.identity.as_ref();
        let evidence = document
            .and_then(|document| Evidence::broken_promise(document, promise, shown, leaf, &proof));
        return Ok(Some(Broken { evidence, index }));
    }
    Err(format!("the log promised index {index}, and does not show what stands there: {why}"))
}
