//! `freeze`: a log takes no entries any more. Its last checkpoint stays, and stays served.
//!
//! The state is a row of the log's own database, so that a backup carries it. The checkpoint says
//! nothing of it: ours have no extension lines, because readers of checkpoints that know none would
//! refuse them. Other servers' frozen logs are served as ours are.
//!
//! Invariants: what is frozen is published, so that the head that is printed is the last one (its
//! signatures may be renewed); no server runs meanwhile; no command takes it back. Out of scope: a
//! backup from before, which is one of a log that is not frozen, and older versions of the program,
//! which do not know the row.

use std::path::Path;

use treering_proto::tree::TreeHead;

use crate::data_directory::DirectoryError;
use crate::restored::Mark;
use crate::startup::{self, Parts, StartError, compare};
use crate::store::StoreError;

/// A log that was frozen, now or before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frozen {
    /// Who it is.
    pub origin: String,
    /// What it has, for ever.
    pub head: TreeHead,
    /// The signed checkpoint of that.
    pub checkpoint: String,
}

/// Why a log was not frozen.
#[derive(Debug, thiserror::Error)]
pub enum FreezeError {
    /// Directory, anchor or rows are not in order.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is more to be done first.
    #[error(
        "the log has entries, or a size, that it never published, or was restored and not served since: nobody has a \
         checkpoint that could be its last. Start it, wait until /readyz answers 200, stop it, and freeze it then"
    )]
    Unsettled,
}

impl From<DirectoryError> for FreezeError {
    fn from(error: DirectoryError) -> Self {
        Self::Start(error.into())
    }
}

impl From<StoreError> for FreezeError {
    fn from(error: StoreError) -> Self {
        Self::Start(error.into())
    }
}

/// Freezes the log in `data`, which no server may have open.
///
/// # Errors
/// [`FreezeError`]; then the log is as it was.
pub fn freeze(data: &Path, anchor: Option<&Path>) -> Result<Frozen, FreezeError> {
    let Parts { directory, identity, store, anchor } = startup::parts(data, anchor)?;
    if Mark::read(&directory)?.is_some() {
        return Err(FreezeError::Unsettled);
    }
    let head = compare(&store, &directory.shard(identity.tree_id()), &anchor)?;
    let notes = store.notes(head.size)?.filter(|_| head == anchor.head());
    let checkpoint = notes.ok_or(FreezeError::Unsettled)?.note;
    store.freeze()?;
    Ok(Frozen { origin: identity.origin().to_owned(), head, checkpoint })
}
