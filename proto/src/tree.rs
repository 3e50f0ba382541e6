//! Positions in a Merkle tree (RFC 6962 section 2.1): index, size, head, and the coordinates of
//! perfect subtrees.
//!
//! ```text
//! level 3                 (3,0)
//! level 2        (2,0)             (2,1)
//! level 1     (1,0) (1,1)       (1,2) (1,3)
//! level 0     0   1  2   3       4  5   6  7
//! ```
//!
//! Node (level, index) covers leaves `[index << level, (index + 1) << level)`.
//!
//! Invariant: no index or size above 2^53 - 1 exists, so that a JavaScript client reads each of
//! them exactly and no arithmetic below can overflow.

use std::fmt;

use crate::hash::{EMPTY_ROOT, Hash, hash_node};

/// The largest tree: 2^53 - 1 leaves.
pub const TREE_SIZE_MAX: u64 = (1 << 53) - 1;

/// The position of an entry, counted from 0; at most 2^53 - 2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LeafIndex(u64);

/// How many entries a tree has; at most 2^53 - 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct TreeSize(u64);

/// A tree of one size has one root: this pair names it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TreeHead {
    /// Number of leaves.
    pub size: TreeSize,
    /// RFC 6962 root over those leaves.
    pub root: Hash,
}

/// The root of a perfect subtree: 2^level leaves, the first at `index << level`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Node {
    /// 0 for a leaf, at most 52.
    pub level: u8,
    /// Position among the nodes of this level.
    pub index: u64,
}

impl LeafIndex {
    /// `None` when no tree can hold this index.
    pub fn new(index: u64) -> Option<Self> {
        (index < TREE_SIZE_MAX).then_some(Self(index))
    }

    /// The number itself.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TreeSize {
    /// The empty tree.
    pub const ZERO: Self = Self(0);

    /// `None` above the largest tree.
    pub fn new(size: u64) -> Option<Self> {
        (size <= TREE_SIZE_MAX).then_some(Self(size))
    }

    /// The number itself.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Whether the tree has a leaf at `index`.
    pub fn contains(self, index: LeafIndex) -> bool {
        index.0 < self.0
    }

    /// The index that the next entry will get.
    pub fn next_index(self) -> Option<LeafIndex> {
        LeafIndex::new(self.0)
    }

    /// This size plus `count` leaves; `None` above the largest tree.
    pub fn plus(self, count: usize) -> Option<Self> {
        self.0.checked_add(count as u64).and_then(Self::new)
    }
}

impl fmt::Display for LeafIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TreeSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TreeHead {
    /// The head of the log that has no entries yet.
    pub const EMPTY: Self = Self { size: TreeSize::ZERO, root: EMPTY_ROOT };
}

/// Splits leaves `[start, end)` into the fewest perfect subtrees, left to right; at most 2 * 53 of
/// them.
///
/// For `start == 0` these are the set bits of `end`, largest first. An empty range has none.
pub fn perfect_subtrees(start: u64, end: u64) -> impl Iterator<Item = Node> {
    assert!(
        start <= end && end <= TREE_SIZE_MAX,
        "a range of leaves runs forward and inside the largest tree"
    );
    let mut at = start;
    std::iter::from_fn(move || {
        let fits = (end - at).checked_ilog2()?;
        let aligned = if at == 0 { 63 } else { at.trailing_zeros() };
        let level = aligned.min(fits) as u8;
        let node = Node { level, index: at >> level };
        at += 1 << level;
        Some(node)
    })
}

/// Joins the roots of `perfect_subtrees(0, size)` into the root of the tree, right to left.
pub fn join_subtrees(hashes: &[Hash]) -> Hash {
    match hashes.split_last() {
        None => EMPTY_ROOT,
        Some((last, rest)) => rest.iter().rev().fold(*last, |right, left| hash_node(left, &right)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_indexes_stop_at_what_a_double_holds() {
        assert!(TreeSize::new(TREE_SIZE_MAX).is_some());
        assert!(TreeSize::new(TREE_SIZE_MAX + 1).is_none());
        assert!(LeafIndex::new(TREE_SIZE_MAX - 1).is_some());
        assert!(LeafIndex::new(TREE_SIZE_MAX).is_none());
    }

    #[test]
    fn subtrees_tile_every_small_range_exactly() {
        for end in 0..70u64 {
            for start in 0..=end {
                let mut at = start;
                for node in perfect_subtrees(start, end) {
                    assert_eq!(node.index << node.level, at);
                    at += 1 << node.level;
                }
                assert_eq!(at, end);
            }
            assert_eq!(perfect_subtrees(0, end).count() as u32, end.count_ones());
        }
    }
}
