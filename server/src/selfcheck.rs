//! The self-check: before a head is signed, what was appended is read back and its root computed by
//! a second path.
//!
//! The first path grows tiles (`proto::append`). This one shares nothing with it but SHA-256: it
//! splits the appended range into maximal aligned subtrees, lets `rs_merkle` compute the root of
//! each from entries read back from storage, and joins them with a fold written here. The touched
//! tiles are hashed again, too. A flipped bit in memory, a wrong write or a mistake in either path
//! makes the two disagree, and then nothing is signed.
//!
//! Invariant: a [`Checked`] head exists only if both paths agree about it.

use rs_merkle::{Hasher, MerkleTree};
use sha2::{Digest, Sha256};
use treering_proto::append::RightEdge;
use treering_proto::hash::Hash;
use treering_proto::tile::{TILE_WIDTH, TileKind, hashes_at, perfect_root, tiles_between};
use treering_proto::tree::{TreeHead, TreeSize, perfect_subtrees};

use crate::seeded_bug::{self, SeededBug};
use crate::store::{Durable, Store, StoreError};

/// Entries that are read at once: whoever claims a log, or starts it with an old anchor, checks
/// more than a batch, and all of it need not fit memory.
const READ_AT_ONCE: u64 = 1024;

/// Why a head must not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SelfCheckError {
    /// The rows cannot be read back.
    #[error("self-check: {0}")]
    Store(#[from] StoreError),
    /// The two paths lead to different roots.
    #[error(
        "self-check: entries {from}..{to} read back lead to root {read_back}, the append led to {appended}"
    )]
    RootMismatch {
        /// First index of the range.
        from: u64,
        /// End of the range.
        to: u64,
        /// Root by the second path.
        read_back: Hash,
        /// Root by the first path.
        appended: Hash,
    },
    /// A tile in storage does not hash to what the level above says.
    #[error("self-check: tile {path} read back does not match the tree")]
    TileMismatch {
        /// Which.
        path: String,
    },
    /// The growing tiles in memory are not what they were made of.
    #[error("self-check: nodes of the growing tiles in memory do not match the hashes below them")]
    EdgeMismatch,
    /// The batch does not continue the head that was checked last.
    #[error(
        "self-check: the batch continues a tree of {batch}, the last checked tree has {checked}"
    )]
    Discontinuous {
        /// Size before the batch.
        batch: u64,
        /// Size checked last.
        checked: u64,
    },
}

/// A durable head on which both paths agree.
#[derive(Debug)]
pub struct Checked(Durable);

impl Checked {
    /// The head before the batch.
    pub fn before(&self) -> TreeHead {
        self.0.before()
    }

    /// The head with the batch.
    pub fn head(&self) -> TreeHead {
        self.0.head()
    }

    /// The right edge with the batch.
    pub fn edge(&self) -> &RightEdge {
        self.0.edge()
    }

    /// When the batch was sequenced, Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.0.time_ms()
    }
}

/// The second path's own memory of the tree: roots of perfect subtrees, largest first. Owned by the
/// sequencer.
#[derive(Clone, Debug)]
pub struct SelfCheck {
    size: u64,
    subtrees: Vec<(u8, [u8; 32])>,
}

impl SelfCheck {
    /// Starts from the subtrees of a tree whose root start-up has computed from storage.
    pub fn new(edge: &RightEdge) -> Self {
        let subtrees = perfect_subtrees(0, edge.size().get())
            .map(|node| {
                let hash =
                    edge.node(node).expect("the edge holds every subtree that ends at its size");
                (node.level, hash.0)
            })
            .collect();
        Self { size: edge.size().get(), subtrees }
    }

    /// Checks the range that `durable` appended.
    pub fn check(&mut self, store: &Store, durable: Durable) -> Result<Checked, SelfCheckError> {
        let (before, head) = (durable.before(), durable.head());
        if seeded_bug::is(SeededBug::SelfCheckOff) {
            *self = Self::new(durable.edge());
            return Ok(Checked(durable));
        }
        if before.size.get() != self.size {
            let (batch, checked) = (before.size.get(), self.size);
            return Err(SelfCheckError::Discontinuous { batch, checked });
        }
        let mut grown = self.clone();
        grown.append(store, head.size)?;
        let read_back = grown.root();
        if read_back != head.root {
            let (from, to) = (self.size, head.size.get());
            return Err(SelfCheckError::RootMismatch { from, to, read_back, appended: head.root });
        }
        check_tiles(store, before.size, durable.edge())?;
        // What proofs are made of, beyond the few nodes that the root depends on.
        if !durable.edge().is_sound(head) {
            return Err(SelfCheckError::EdgeMismatch);
        }
        *self = grown;
        Ok(Checked(durable))
    }

    /// Appends the entries up to `size`, read from storage, so many at once.
    fn append(&mut self, store: &Store, size: TreeSize) -> Result<(), StoreError> {
        while self.size < size.get() {
            let end = size.get().min(self.size + READ_AT_ONCE);
            let entries = store.entries(self.size, end - self.size)?;
            let leaves: Vec<[u8; 32]> = entries.iter().map(|entry| Rfc6962::hash(entry)).collect();
            let mut rest = leaves.as_slice();
            for subtree in perfect_subtrees(self.size, end) {
                let (leaves, after) = rest.split_at(1 << subtree.level);
                let root = MerkleTree::<Rfc6962>::from_leaves(leaves)
                    .root()
                    .expect("a subtree has at least one leaf");
                self.push(subtree.level, root);
                rest = after;
            }
            self.size = end;
        }
        Ok(())
    }

    /// Adds a subtree at the right, and joins equals.
    fn push(&mut self, mut level: u8, mut root: [u8; 32]) {
        while let Some((left_level, left)) = self.subtrees.last().copied() {
            if left_level != level {
                break;
            }
            self.subtrees.pop();
            root = Rfc6962::concat_and_hash(&left, Some(&root));
            level += 1;
        }
        self.subtrees.push((level, root));
    }

    fn root(&self) -> Hash {
        let mut right_to_left = self.subtrees.iter().rev().map(|(_, root)| *root);
        let Some(last) = right_to_left.next() else { return TreeHead::EMPTY.root };
        Hash(right_to_left.fold(last, |right, left| Rfc6962::concat_and_hash(&left, Some(&right))))
    }
}

/// Reads back every tile that became full, and compares its root with what the level above holds.
fn check_tiles(store: &Store, before: TreeSize, edge: &RightEdge) -> Result<(), SelfCheckError> {
    for tile in tiles_between(before, edge.size()) {
        let TileKind::Hashes(level) = tile.kind else { continue };
        if tile.width < TILE_WIDTH {
            continue;
        }
        let root = perfect_root(&store.full_tile(level, tile.index)?);
        let parent = tile.index / TILE_WIDTH;
        let above = if parent == hashes_at(level + 1, edge.size()) / TILE_WIDTH {
            edge.growing(level + 1).to_vec()
        } else {
            store.full_tile(level + 1, parent)?
        };
        if above.get((tile.index % TILE_WIDTH) as usize) != Some(&root) {
            return Err(SelfCheckError::TileMismatch { path: tile.path() });
        }
    }
    Ok(())
}

/// RFC 6962 for `rs_merkle`, whose default hasher has no prefixes.
#[derive(Clone)]
struct Rfc6962;

impl Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update([0]).chain_update(data).finalize().into()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        match right {
            Some(right) => Sha256::new()
                .chain_update([1])
                .chain_update(left)
                .chain_update(right)
                .finalize()
                .into(),
            None => *left,
        }
    }
}

#[cfg(test)]
mod tests;
