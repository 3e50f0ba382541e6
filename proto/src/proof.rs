//! Inclusion and consistency proofs (RFC 6962 section 2.1, verified as in RFC 9162 section 2.1.3.2
//! and 2.1.4.2).
//!
//! Making a proof is three steps, so that the tree may live anywhere: *plan* which nodes are needed
//! (pure), *fetch* them (the caller), *build* the hashes (pure). Checking needs nothing but the
//! proof.
//!
//! Invariants: a proof does not bind the size of its tree, so the size must come from a signed
//! checkpoint; surplus and missing hashes are refused; the lengths are fixed by index and size.

use crate::hash::{Hash, hash_node};
use crate::tree::{LeafIndex, Node, TreeHead, TreeSize, join_subtrees, perfect_subtrees};

/// The most hashes in one proof: one for each level of the largest tree, and one more for
/// consistency.
pub const PROOF_HASHES_MAX: usize = 63;

/// Why a proof proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofError {
    /// The index is not in the tree.
    #[error("index {index} is not in a tree of {size} entries")]
    IndexOutside {
        /// The claimed index.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The older tree is larger than the newer.
    #[error("a tree of {old} entries is not older than one of {new}")]
    SizesReversed {
        /// The size that was to be the older.
        old: u64,
        /// The size that was to be the newer.
        new: u64,
    },
    /// Not as many hashes as index and size demand.
    #[error("the proof has {have} hashes where index and size demand {need}")]
    WrongLength {
        /// How many there are.
        have: usize,
        /// How many there must be.
        need: usize,
    },
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    RootMismatch,
}

/// The nodes that a proof is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProofPlan {
    /// For each hash of the proof, the range of leaves that it is the root of: start and end.
    parts: Vec<(u64, u64)>,
}

impl ProofPlan {
    /// All nodes to fetch, in the order that [`ProofPlan::build`] takes them.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        self.parts.iter().flat_map(|(start, end)| perfect_subtrees(*start, *end))
    }

    /// The proof, from the hashes of [`ProofPlan::nodes`].
    pub fn build(&self, hashes: &[Hash]) -> Vec<Hash> {
        let mut rest = hashes;
        let proof = self
            .parts
            .iter()
            .map(|(start, end)| {
                let (joined, after) = rest.split_at(perfect_subtrees(*start, *end).count());
                rest = after;
                join_subtrees(joined)
            })
            .collect();
        assert!(rest.is_empty(), "a proof is built from exactly the nodes that were planned");
        proof
    }
}

/// Plans the inclusion proof of `index` in the tree of `size`.
pub fn plan_inclusion(index: LeafIndex, size: TreeSize) -> Result<ProofPlan, ProofError> {
    if !size.contains(index) {
        return Err(ProofError::IndexOutside { index: index.get(), size: size.get() });
    }
    let (mut start, mut end) = (0, size.get());
    let mut parts = Vec::new();
    while end - start > 1 {
        let middle = start + largest_power_below(end - start);
        if index.get() < middle {
            parts.push((middle, end));
            end = middle;
        } else {
            parts.push((start, middle));
            start = middle;
        }
    }
    parts.reverse();
    Ok(ProofPlan { parts })
}

/// Plans the proof that the tree of `new` entries starts with the tree of `old`. Empty when `old`
/// is 0 or `new`.
pub fn plan_consistency(old: TreeSize, new: TreeSize) -> Result<ProofPlan, ProofError> {
    let (old, new) = (old.get(), new.get());
    if old > new {
        return Err(ProofError::SizesReversed { old, new });
    }
    if old == 0 || old == new {
        return Ok(ProofPlan { parts: Vec::new() });
    }
    let (mut start, mut end) = (0, new);
    let mut parts = Vec::new();
    while end != old {
        let middle = start + largest_power_below(end - start);
        if old <= middle {
            parts.push((middle, end));
            end = middle;
        } else {
            parts.push((start, middle));
            start = middle;
        }
    }
    // The verifier holds the old root already; it needs this subtree only when it is not the whole
    // old tree.
    if start > 0 {
        parts.push((start, end));
    }
    parts.reverse();
    Ok(ProofPlan { parts })
}

/// Plans the root of the tree of `size`: one part that joins its perfect subtrees.
pub fn plan_root(size: TreeSize) -> ProofPlan {
    ProofPlan { parts: vec![(0, size.get())] }
}

/// The root that `proof` leads to from `leaf` at `index` in a tree of `size` entries.
pub fn root_from_inclusion(
    index: LeafIndex,
    size: TreeSize,
    leaf: Hash,
    proof: &[Hash],
) -> Result<Hash, ProofError> {
    if !size.contains(index) {
        return Err(ProofError::IndexOutside { index: index.get(), size: size.get() });
    }
    let (mut node, mut last) = (index.get(), size.get() - 1);
    let need = inclusion_len(node, last);
    if proof.len() != need {
        return Err(ProofError::WrongLength { have: proof.len(), need });
    }
    let mut root = leaf;
    for sibling in proof {
        assert!(last > 0, "bad math in root_from_inclusion: the length was checked");
        if node & 1 == 1 || node == last {
            root = hash_node(sibling, &root);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            root = hash_node(&root, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    assert!(last == 0, "bad math in root_from_inclusion: the length was checked");
    Ok(root)
}

/// Checks that `leaf` stands at `index` in the tree of `head`, which must come from a verified
/// checkpoint.
pub fn check_inclusion(
    index: LeafIndex,
    head: TreeHead,
    leaf: Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if root_from_inclusion(index, head.size, leaf, proof)? != head.root {
        return Err(ProofError::RootMismatch);
    }
    Ok(())
}

/// Checks that the tree of `new` starts with the tree of `old`.
///
/// From the empty tree, or to the same size, the proof must be empty; equal sizes must have equal
/// roots.
pub fn check_consistency(old: TreeHead, new: TreeHead, proof: &[Hash]) -> Result<(), ProofError> {
    let (from, to) = (old.size.get(), new.size.get());
    if from > to {
        return Err(ProofError::SizesReversed { old: from, new: to });
    }
    let need = plan_consistency(old.size, new.size)?.parts.len();
    if proof.len() != need {
        return Err(ProofError::WrongLength { have: proof.len(), need });
    }
    if from == 0 || from == to {
        let expected = if from == 0 { TreeHead::EMPTY.root } else { new.root };
        return if old.root == expected { Ok(()) } else { Err(ProofError::RootMismatch) };
    }
    let (old_root, new_root) = consistency_roots(from, to, Some(old.root), proof);
    if old_root != old.root || new_root != new.root {
        return Err(ProofError::RootMismatch);
    }
    Ok(())
}

/// The root that the first `old` entries have in the tree of `new`, as far as `proof` shows it.
///
/// Who knows another root of that size has two trees of one log. `None` when the proof does not
/// lead to `new`, and when it does not show that root: proofs from a power of two leave it out.
pub fn old_root_from_consistency(old: TreeSize, new: TreeHead, proof: &[Hash]) -> Option<Hash> {
    let (from, to) = (old.get(), new.size.get());
    if from >= to || from == 0 || from.is_power_of_two() {
        return None;
    }
    if plan_consistency(old, new.size).ok()?.parts.len() != proof.len() {
        return None;
    }
    let (old_root, new_root) = consistency_roots(from, to, None, proof);
    (new_root == new.root).then_some(old_root)
}

/// Both roots that `proof`, of the right length, leads to. `seed` is the old root, which starts the
/// computation when `from` is a power of two.
fn consistency_roots(from: u64, to: u64, seed: Option<Hash>, proof: &[Hash]) -> (Hash, Hash) {
    let (mut node, mut last) = (from - 1, to - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let mut hashes = proof.iter().copied();
    let seed = if from.is_power_of_two() { seed } else { hashes.next() };
    let seed =
        seed.expect("the length was checked, and only powers of two have no seed in the proof");
    let (mut old_root, mut new_root) = (seed, seed);
    for sibling in hashes {
        assert!(last > 0, "bad math in consistency_roots: the length was checked");
        if node & 1 == 1 || node == last {
            old_root = hash_node(&sibling, &old_root);
            new_root = hash_node(&sibling, &new_root);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new_root = hash_node(&new_root, &sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    assert!(last == 0, "bad math in consistency_roots: the length was checked");
    (old_root, new_root)
}

/// How many hashes the path from leaf `node` has when `last` is the last leaf.
fn inclusion_len(node: u64, last: u64) -> usize {
    let inner = u64::BITS - (node ^ last).leading_zeros();
    let border = (node >> inner).count_ones();
    (inner + border) as usize
}

fn largest_power_below(count: u64) -> u64 {
    assert!(count > 1, "only a range of two or more leaves splits");
    1 << (count - 1).ilog2()
}

#[cfg(test)]
mod tests;
