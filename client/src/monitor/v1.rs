//! The Rekor v1 face, held against the C2SP face: clients that know nothing else are shown the same
//! tree.
//!
//! The v1 head is read before the C2SP one. An honest log publishes both at once, so what is read
//! later is never smaller.
//!
//! Invariant: a v1 head counts when the key in the identity document signed it, with the origin
//! that the document fixes. Out of scope: entries and timestamps of that face (see
//! [`crate::audit_log`]).

use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::evidence::Evidence;
use treering_proto::hash::sha256;
use treering_proto::tree::TreeHead;

use super::findings::{Finding, FindingKind};
use super::own_tree::OwnTree;
use super::read::Source;
use super::store::{Face, Snapshot, StoreError};
use crate::log::{LogError, LogReader};
use crate::transport::Reading;

/// What the v1 face showed.
#[derive(Debug)]
pub enum V1Head {
    /// A head signed by the log.
    Signed(Box<SignedCheckpoint>),
    /// Something that the log's v1 key did not sign, or that says two things.
    Wrong(Box<Finding>),
    /// Nothing to compare: why.
    Unknown(&'static str),
    /// No answer, though the log has this face.
    Unread(LogError),
}

/// Reads the head of the v1 face.
pub async fn read_v1(log: &LogReader<'_>, source: &Source) -> V1Head {
    let Some(document) = &source.trust.log.identity else {
        return V1Head::Unknown("the trust file has no identity document");
    };
    let info = match log.v1_info(Reading::Fresh).await {
        Ok(Some(info)) => info,
        Ok(None) => return V1Head::Unknown("the log has no Rekor v1 face"),
        Err(error) => return V1Head::Unread(error),
    };
    let identity = &document.identity;
    let note = info.signed_tree_head.as_bytes();
    let wrong = |why: String| {
        let finding = Finding::of_log(FindingKind::V1Differs, sha256(note).to_hex(), why);
        V1Head::Wrong(Box::new(finding))
    };
    match open_checkpoint(note, &identity.v1_origin(), &[identity.v1_note_key()]) {
        Err(error) => wrong(format!("the head of the Rekor v1 face is not acceptable: {error}")),
        Ok(signed) => {
            let head = signed.head();
            if info.tree_size != head.size.get() || info.root_hash != head.root.to_hex() {
                return wrong(format!(
                    "the Rekor v1 face says {} entries with root {}, and signed {} with {}",
                    info.tree_size, info.root_hash, head.size, head.root
                ));
            }
            V1Head::Signed(Box::new(signed))
        }
    }
}

/// What makes a v1 head that differs from a C2SP head one finding and no other.
pub fn differs_key(head: TreeHead, known: TreeHead) -> String {
    format!("{} {} {} {}", head.size, head.root, known.size, known.root)
}

/// What is wrong with the v1 head `v1`, now that the tree of the checkpoint `shown` was computed.
///
/// # Errors
/// [`StoreError`].
pub fn compare_v1(
    source: &Source,
    v1: &SignedCheckpoint,
    shown: &SignedCheckpoint,
    snapshot: &Snapshot,
) -> Result<Option<Finding>, StoreError> {
    let (head, known) = (v1.head(), shown.head());
    let Some(document) = &source.trust.log.identity else { return Ok(None) };
    for note in snapshot.seen_others(Face::V1, head.size, head.root)? {
        let keys: Vec<_> = v1.verified().iter().map(|signature| signature.key.clone()).collect();
        let Ok(seen) = open_checkpoint(&note, &v1.checkpoint().origin, &keys) else { continue };
        if let Some(evidence) = Evidence::fork_size_across(document, &seen, v1) {
            let key = format!("v1 {} {} {}", head.size, seen.head().root, head.root);
            let finding = Finding::of_log(FindingKind::Fork, key, evidence.to_string());
            return Ok(Some(finding.with(Some(evidence))));
        }
    }
    let key = differs_key(head, known);
    let differs = |why: String, evidence: Option<Evidence>| {
        Ok(Some(Finding::of_log(FindingKind::V1Differs, key.clone(), why).with(evidence)))
    };
    if head.size > known.size {
        let why = format!(
            "the Rekor v1 face shows {} entries, and the C2SP face no more than {}",
            head.size, known.size
        );
        return differs(why, None);
    }
    let edge = snapshot.state()?.edge;
    let own = OwnTree { snapshot, edge: &edge };
    let why = |root| {
        format!(
            "the Rekor v1 face shows a tree of {} entries with the root {}; the entries lead to \
             {root}",
            head.size, head.root
        )
    };
    if head.size == known.size {
        return match Evidence::fork_size_across(document, shown, v1) {
            Some(evidence) => differs(why(known.root), Some(evidence)),
            None => Ok(None),
        };
    }
    match own.root_at(head.size)? {
        Some(root) if root != head.root => {
            let proof = own.proof_from(head.size)?.filter(|_| edge.head() == known);
            let evidence = proof
                .and_then(|proof| Evidence::fork_prefix_across(document, v1, shown, root, &proof));
            differs(why(root), evidence)
        }
        _ => Ok(None),
    }
}
