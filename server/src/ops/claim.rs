//! `claim`: says that this copy of a log is the only one left, and binds it to its anchor again.
//!
//! With `--new-anchor` it makes a lost anchor anew, from the newest checkpoint that anybody has:
//! the log then cannot be older than what was seen. For a log that `restore` made and that is
//! behind this checkpoint, the new anchor holds the checkpoint: the log stays read-only until it is
//! refilled ([`crate::restored`]).

use std::path::Path;

use treering_proto::checkpoint::{OpenCheckpointError, open_checkpoint};
use treering_proto::identity::{IdentityError, LogIdentity};
use treering_proto::tree::TreeHead;

use crate::anchor::{Anchor, AnchorError, AnchorId};
use crate::data_directory::{DataDirectory, DirectoryError, default_anchor};
use crate::restored::Mark;
use crate::selfcheck::SelfCheck;
use crate::startup::{StartError, compare, open_store};
use crate::store::StoreError;

/// Why the directory was not claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Directory, anchor or rows are not in order.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The checkpoint is not one of this log.
    #[error("the checkpoint given is not one of this log: {0}")]
    Checkpoint(#[from] OpenCheckpointError),
    /// The log is not the one that signed the checkpoint, or older.
    #[error(
        "the log here has {stored:?}, the checkpoint given says {known:?}: this copy is older, or another log"
    )]
    NotCovered {
        /// What is stored.
        stored: TreeHead,
        /// What was signed.
        known: TreeHead,
    },
}

impl From<DirectoryError> for ClaimError {
    fn from(error: DirectoryError) -> Self {
        Self::Start(error.into())
    }
}

impl From<AnchorError> for ClaimError {
    fn from(error: AnchorError) -> Self {
        Self::Start(error.into())
    }
}

impl From<StoreError> for ClaimError {
    fn from(error: StoreError) -> Self {
        Self::Start(error.into())
    }
}

impl From<IdentityError> for ClaimError {
    fn from(error: IdentityError) -> Self {
        Self::Start(error.into())
    }
}

/// Binds the directory to its anchor, which must be at or below what is stored.
pub fn claim(data: &Path, anchor: Option<&Path>) -> Result<TreeHead, ClaimError> {
    let mut directory = DataDirectory::open_unowned(data)?;
    let beside = default_anchor(directory.path());
    let path = anchor.unwrap_or(if beside.exists() { &beside } else { directory.anchor_path() });
    let anchor = Anchor::open(path)?;
    // An empty log's anchor would vouch for every copy of this one, however old.
    directory.check_anchor(anchor.path(), anchor.id())?;
    let identity = LogIdentity::open(directory.identity()?.as_bytes())?;
    let store = open_store(&directory, &identity)?;
    let head = match compare(&store, &directory.shard(identity.tree_id()), &anchor) {
        // Serving it does not fork the log: it is read-only until it is refilled.
        Err(StartError::Behind { .. }) if Mark::read(&directory)?.is_some() => {
            store.committed()?.head
        }
        compared => compared?,
    };
    directory.claim(anchor.path(), anchor.id())?;
    Ok(head)
}

/// Makes a new anchor that holds what is stored, which must cover the `known` checkpoint, and binds
/// the directory to it.
pub fn claim_with_new_anchor(
    data: &Path,
    anchor: Option<&Path>,
    known: &[u8],
) -> Result<TreeHead, ClaimError> {
    let mut directory = DataDirectory::open_unowned(data)?;
    let beside = default_anchor(directory.path());
    let path = anchor.unwrap_or(&beside);
    let identity = LogIdentity::open(directory.identity()?.as_bytes())?;
    let known = open_checkpoint(known, identity.origin(), &[identity.note_key().clone()])?.head();
    let store = open_store(&directory, &identity)?;
    let recovered = store.recover()?;
    let stored = recovered.edge.head();
    if stored.size < known.size && Mark::read(&directory)?.is_some() {
        let id = random_id();
        let anchor = Anchor::create(path, id, known)?;
        directory.claim(anchor.path(), id)?;
        return Ok(stored);
    }
    let covers = stored.size >= known.size && store.head_at(known.size)? == known;
    if !covers {
        return Err(ClaimError::NotCovered { stored, known });
    }
    // What lies above the checkpoint may never have been checked, and start-up checks only what
    // lies above the anchor.
    let durable = store.found_durable(known, &recovered);
    let mut selfcheck = SelfCheck::new(&store.edge_at(known.size)?);
    selfcheck.check(&store, durable).map_err(StartError::from)?;
    let id = random_id();
    let anchor = Anchor::create(path, id, stored)?;
    directory.claim(anchor.path(), id)?;
    Ok(stored)
}

/// A name for a new anchor.
pub(super) fn random_id() -> AnchorId {
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("the system has randomness");
    id
}
