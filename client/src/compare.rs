//! Comparing two checkpoints of one log, wherever they come from: what this client saw, what
//! somebody else saw, what the log shows now.
//!
//! ```text
//! sizes equal            roots equal -> same, else forked: two notes say so, without the log
//! the smaller is empty   consistent if its root is that of no leaves, else forked
//! sizes differ           tiles of the larger tree prove one or the other; wrong ones nothing
//! unless forked          the log dated the smaller tree later -> rolled back; a witness did, and
//!                        the tiles do not show that the trees go together -> so too
//! ```
//!
//! Invariants: every checkpoint here was opened with the keys of the trust file; tiles are believed
//! only as far as they lead to the root of the larger checkpoint.
//! Out of scope: remembering either of them, and whether witnesses cosigned.

use treering_proto::bundle::Bundle;
use treering_proto::checkpoint::{OpenCheckpointError, SignedCheckpoint, open_checkpoint};
use treering_proto::evidence::{Evidence, Party};
use treering_proto::hash::Hash;
use treering_proto::proof::check_consistency;
use treering_proto::tree::{TreeHead, TreeSize};
use treering_proto::trust::{IdentityDocument, TrustFile};

use crate::log::LogReader;
use crate::transport::Reading;

/// How two checkpoints are related.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Relation {
    /// The same tree.
    Same,
    /// The larger tree provably starts with the smaller.
    Consistent,
    /// Two trees that no honest log has: proven.
    Forked(Box<Evidence>),
    /// One key dated the smaller tree later than the larger: proven, whatever the trees are.
    RolledBack(Box<Evidence>),
    /// Nobody could show it: why, for each place that was asked.
    Unknown(Vec<String>),
}

/// Why a file holds no checkpoint of the trusted log.
#[derive(Debug, thiserror::Error)]
pub enum SideError {
    /// A note that is not acceptable.
    #[error(transparent)]
    Checkpoint(#[from] OpenCheckpointError),
    /// A bundle that cannot be read.
    #[error("it starts like a bundle and is none: {0}")]
    Bundle(#[from] treering_proto::bundle::BundleError),
    /// A bundle without a log entry.
    #[error("the bundle has no log entry, so no checkpoint")]
    NotLogged,
}

impl Relation {
    /// The stable name, kebab-case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Consistent => "consistent",
            Self::Forked(_) => "forked",
            Self::RolledBack(_) => "rolled-back",
            Self::Unknown(_) => "unknown",
        }
    }

    /// What convicts the log, or a witness.
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::Forked(evidence) | Self::RolledBack(evidence) => Some(evidence),
            Self::Same | Self::Consistent | Self::Unknown(_) => None,
        }
    }
}

/// The checkpoint in a file: a note of either face of the log, or a bundle with one. Of a bundle
/// with several log entries the first counts that is acceptable.
///
/// # Errors
/// [`SideError`].
pub fn open_file(bytes: &[u8], trust: &TrustFile) -> Result<SignedCheckpoint, SideError> {
    // A note begins with an origin, and no origin that a trust file can have is a JSON object.
    if bytes.first() != Some(&b'{') {
        return Ok(open_note(bytes, trust)?);
    }
    let bundle = Bundle::parse(bytes)?;
    let mut refused = SideError::NotLogged;
    for entry in &bundle.log_entries {
        match open_note(entry.inclusion_proof.checkpoint.as_bytes(), trust) {
            Ok(checkpoint) => return Ok(checkpoint),
            Err(error) => refused = error.into(),
        }
    }
    Err(refused)
}

/// Compares `a` with `b`; `tiles` are the places to ask for the tiles of the larger tree, in this
/// order, each with the name that people know it by.
pub async fn compare(
    trust: &TrustFile,
    a: &SignedCheckpoint,
    b: &SignedCheckpoint,
    tiles: &[(String, LogReader<'_>)],
) -> Relation {
    let (old, new) = if a.head().size <= b.head().size { (a, b) } else { (b, a) };
    let relation = match without_tiles(trust, old, new) {
        Some(relation) => relation,
        None => with_tiles(trust, old, new, tiles).await,
    };
    if matches!(relation, Relation::Consistent | Relation::Unknown(_)) {
        let rollback = Evidence::rollback(new, old);
        // What is proven of the trees stands, whatever a witness says about them.
        let is_known = relation == Relation::Consistent;
        if rollback.convicts().is_some_and(|who| who == Party::Log || !is_known) {
            return Relation::RolledBack(Box::new(rollback));
        }
    }
    relation
}

/// What two notes show by themselves.
fn without_tiles(
    trust: &TrustFile,
    old: &SignedCheckpoint,
    new: &SignedCheckpoint,
) -> Option<Relation> {
    if old.head() == new.head() {
        return Some(Relation::Same);
    }
    if let Some(evidence) = fork_size(trust, old, new) {
        return Some(Relation::Forked(Box::new(evidence)));
    }
    let is_empty = old.head().size == TreeSize::ZERO;
    is_empty.then(|| decide(trust, old, new, TreeHead::EMPTY.root, &[])).flatten()
}

async fn with_tiles(
    trust: &TrustFile,
    old: &SignedCheckpoint,
    new: &SignedCheckpoint,
    tiles: &[(String, LogReader<'_>)],
) -> Relation {
    let mut reasons = Vec::new();
    for (name, log) in tiles {
        let prefix = log.prefix(old.head().size, new.head().size, Reading::Cached).await;
        let why = match prefix {
            Ok(prefix) => match decide(trust, old, new, prefix.root, &prefix.proof) {
                Some(relation) => return relation,
                None => "the tiles do not belong to the larger checkpoint".to_owned(),
            },
            Err(error) => error.to_string(),
        };
        reasons.push(format!("{name}: {why}"));
    }
    if reasons.is_empty() {
        reasons
            .push("trees of two sizes are compared by tiles, and no log may be asked".to_owned());
    }
    Relation::Unknown(reasons)
}

/// What the claim proves that the tree of `old`'s size under `new` has `root`; `None` if `proof`
/// does not lead from there to `new`.
fn decide(
    trust: &TrustFile,
    old: &SignedCheckpoint,
    new: &SignedCheckpoint,
    root: Hash,
    proof: &[Hash],
) -> Option<Relation> {
    if check_consistency(old.head(), new.head(), proof).is_ok() {
        return Some(Relation::Consistent);
    }
    let evidence = match across(trust, old, new) {
        Some(document) => Evidence::fork_prefix_across(document, old, new, root, proof),
        None => Evidence::fork_prefix(old, new, root, proof),
    };
    evidence.map(|evidence| Relation::Forked(Box::new(evidence)))
}

fn fork_size(trust: &TrustFile, a: &SignedCheckpoint, b: &SignedCheckpoint) -> Option<Evidence> {
    match across(trust, a, b) {
        Some(document) => Evidence::fork_size_across(document, a, b),
        None => Evidence::fork_size(a, b),
    }
}

/// The identity document, when the two are of the two faces of the log.
fn across<'t>(
    trust: &'t TrustFile,
    a: &SignedCheckpoint,
    b: &SignedCheckpoint,
) -> Option<&'t IdentityDocument> {
    let differ = a.checkpoint().origin != b.checkpoint().origin;
    trust.log.identity.as_ref().filter(|_| differ)
}

fn open_note(note: &[u8], trust: &TrustFile) -> Result<SignedCheckpoint, OpenCheckpointError> {
    let opened = open_checkpoint(note, &trust.log.origin, &trust.note_keys());
    match (&opened, &trust.log.identity) {
        (Err(OpenCheckpointError::WrongOrigin { found }), Some(document))
            if *found == document.identity.v1_origin() =>
        {
            open_checkpoint(note, found, &[document.identity.v1_note_key()])
        }
        _ => opened,
    }
}

#[cfg(test)]
mod tests;
