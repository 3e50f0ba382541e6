//! The tree that a monitor computed itself: its root at every size that it passed, and the proofs
//! from there.
//!
//! Invariant: nothing here comes from the log but entries. So an answer holds against the log.
//! Out of scope: sizes below a pinned start, about which nothing is known.

use treering_proto::append::RightEdge;
use treering_proto::hash::Hash;
use treering_proto::proof::{ProofPlan, plan_consistency, plan_inclusion, plan_root};
use treering_proto::tree::{LeafIndex, TreeSize, join_subtrees};

use super::store::{Snapshot, StoreError};

/// Our own tree.
pub struct OwnTree<'a> {
    /// Full tiles.
    pub snapshot: &'a Snapshot,
    /// Growing tiles.
    pub edge: &'a RightEdge,
}

impl OwnTree<'_> {
    /// The root at `size`; `None` if it is above what was read, or below the start.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn root_at(&self, size: TreeSize) -> Result<Option<Hash>, StoreError> {
        if size > self.edge.size() {
            return Ok(None);
        }
        Ok(self.nodes(&plan_root(size))?.map(|hashes| join_subtrees(&hashes)))
    }

    /// The proof from the root at `size` to that of the whole tree; `None` as for
    /// [`OwnTree::root_at`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn proof_from(&self, size: TreeSize) -> Result<Option<Vec<Hash>>, StoreError> {
        let Ok(plan) = plan_consistency(size, self.edge.size()) else { return Ok(None) };
        Ok(self.nodes(&plan)?.map(|hashes| plan.build(&hashes)))
    }

    /// The path from the leaf at `index` to the root of the whole tree; `None` as for
    /// [`OwnTree::root_at`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn inclusion(&self, index: LeafIndex) -> Result<Option<Vec<Hash>>, StoreError> {
        let Ok(plan) = plan_inclusion(index, self.edge.size()) else { return Ok(None) };
        Ok(self.nodes(&plan)?.map(|hashes| plan.build(&hashes)))
    }

    fn nodes(&self, plan: &ProofPlan) -> Result<Option<Vec<Hash>>, StoreError> {
        plan.nodes().map(|node| self.snapshot.node(self.edge, node)).collect()
    }
}
