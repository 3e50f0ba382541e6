//! A small tree in memory, and its proofs. It computes everything anew each time, which is slow and
//! plain to see.

use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::proof::{ProofPlan, plan_consistency, plan_inclusion};
use treering_proto::tile::perfect_root;
use treering_proto::tree::{LeafIndex, TreeHead, TreeSize, join_subtrees, perfect_subtrees};

/// The entries of a tree.
pub struct Tree(Vec<Vec<u8>>);

impl Tree {
    /// The tree of `count` entries.
    pub fn grown(count: usize) -> Self {
        Self::forked(count, count)
    }

    /// The same, with other entries from index `from` on.
    pub fn forked(count: usize, from: usize) -> Self {
        let word = |at| if at < from { "entry" } else { "forged" };
        Self((0..count).map(|at| format!("{} {at}", word(at)).into_bytes()).collect())
    }

    pub fn entries(&self) -> &[Vec<u8>] {
        &self.0
    }

    pub fn leaf(&self, index: u64) -> Hash {
        hash_leaf(&self.0[index as usize])
    }

    pub fn head(&self, size: u64) -> TreeHead {
        let nodes = perfect_subtrees(0, size).map(|n| self.node(n.level, n.index));
        let root = join_subtrees(&nodes.collect::<Vec<_>>());
        TreeHead { size: tree_size(size), root }
    }

    pub fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        let index = LeafIndex::new(index).expect("a small index");
        self.build(&plan_inclusion(index, tree_size(size)).expect("an index inside"))
    }

    pub fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        self.build(&plan_consistency(tree_size(old), tree_size(new)).expect("sizes in order"))
    }

    fn node(&self, level: u8, index: u64) -> Hash {
        let leaves = (index << level..(index + 1) << level).map(|at| self.leaf(at));
        perfect_root(&leaves.collect::<Vec<_>>())
    }

    fn build(&self, plan: &ProofPlan) -> Vec<Hash> {
        plan.build(&plan.nodes().map(|n| self.node(n.level, n.index)).collect::<Vec<_>>())
    }
}

fn tree_size(size: u64) -> TreeSize {
    TreeSize::new(size).expect("a small size")
}
