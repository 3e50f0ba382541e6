//! `fsck --rebuild`: writes every derived row again, from entries and statements.
//!
//! Rows are overwritten and never deleted, so that a crash on the way leaves a log that is no worse
//! than before, and a second run ends what the first began.

use std::path::Path;

use treering_proto::append::RightEdge;
use treering_proto::hash::hash_leaf;

use super::fsck::{FsckError, posted_keys};
use crate::startup::{Parts, StartError, parts};
use crate::store::DerivedRows;

/// Entries whose rows are written at once: bounds memory.
const ENTRIES_AT_ONCE: u64 = 1024;

/// Rewrites tiles, leaf index and postings of the log in `data`. Returns the number of entries.
///
/// # Errors
/// Also when the entries do not lead to the head in the anchor: then not the derived rows are
/// wrong, and nothing that was written here is believed by the next start.
pub fn rebuild(
    data: &Path,
    anchor: Option<&Path>,
    mut progress: impl FnMut(u64),
) -> Result<u64, FsckError> {
    let Parts { directory, identity, store, anchor } = parts(data, anchor)?;
    let size = store.committed()?.head.size.get();
    let signed = anchor.head();
    let mut edge = RightEdge::EMPTY;
    while edge.size().get() < size {
        let first = edge.size().get();
        // Stops at the signed size, so that the root there can be compared.
        let stop = if first < signed.size.get() { signed.size.get() } else { size };
        let bodies = store.entries(first, ENTRIES_AT_ONCE.min(stop.min(size) - first))?;
        let leaves: Vec<_> = bodies.iter().map(|body| hash_leaf(body)).collect();
        let search_keys = bodies.iter().map(|body| posted_keys(&store, body));
        let search_keys = search_keys.collect::<Result<Vec<_>, _>>()?;
        let grown = edge.extend(&leaves).expect("a committed size is a tree size");
        store.rewrite_derived(&DerivedRows {
            first,
            leaves: &leaves,
            search_keys: &search_keys,
            full_tiles: &grown.full_tiles,
        })?;
        edge = grown.edge;
        progress(edge.size().get());
        if edge.size() == signed.size && edge.head() != signed {
            return Err(StartError::Forked {
                path: directory.shard(identity.tree_id()),
                anchor: anchor.path().to_owned(),
                size: signed.size.get(),
                stored: edge.head().root,
                signed: signed.root,
            }
            .into());
        }
    }
    store.sync()?;
    Ok(size)
}
