//! The leaf of an entry that a Rekor v1 search shows in full.
//!
//! What is searched for is read, verified and spelled as a submission is, so that both have one
//! leaf. Two things differ, because clients show all forms that an entry may have been logged in,
//! and one that cannot be in this log must not fail those that can: envelopes may be shown as they
//! are logged, and nothing is refused for what it says or for its algorithms. A kind or a format of
//! signatures that the log refuses has no leaf here: who asks takes these two errors for a miss.
//!
//! Out of scope: looking the leaf up.

use super::{EntryError, EntryKind, dsse, hashedrekord, intoto, read_v1, rekord, unknown_version};
use crate::hash::{Hash, hash_leaf};

/// The leaf that `proposed`, an entry in the shape of a submission, has in a log.
///
/// # Errors
/// [`EntryError`] for what no entry of Rekor v1 can be.
pub fn leaf_of_v1_query(proposed: &[u8]) -> Result<Hash, EntryError> {
    let (kind, spec) = read_v1(proposed)?;
    let body = match kind {
        EntryKind::HashedrekordV001 => hashedrekord::query_v001(spec)?,
        EntryKind::DsseV001 => dsse::query_v001(spec)?,
        EntryKind::IntotoV001 => intoto::query_v001(spec)?,
        EntryKind::IntotoV002 => intoto::query_v002(spec)?,
        EntryKind::RekordV001 => rekord::read(spec)?.to_body(),
        EntryKind::HashedrekordV002 | EntryKind::DsseV002 => {
            return Err(unknown_version(kind.kind(), kind.version()));
        }
    };
    Ok(hash_leaf(&body))
}

#[cfg(test)]
mod tests;
