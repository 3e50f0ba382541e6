use std::collections::BTreeMap;

use super::*;
use crate::hash::{hash_leaf, hash_node};
use crate::proof::{
    ProofPlan, check_consistency, check_inclusion, plan_consistency, plan_inclusion,
};
use crate::tile::node_in_tile;
use crate::tree::LeafIndex;

fn leaves(from: u64, to: u64) -> Vec<Hash> {
    (from..to).map(|i| hash_leaf(&i.to_be_bytes())).collect()
}

/// RFC 6962 section 2.1, recursive.
fn reference_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => TreeHead::EMPTY.root,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(1 << (leaves.len() - 1).ilog2());
            hash_node(&reference_root(left), &reference_root(right))
        }
    }
}

/// A log in memory: full tiles and the edge, as the server keeps them.
struct Grown {
    edge: RightEdge,
    full: BTreeMap<(TileKind, u64), Vec<Hash>>,
}

impl Grown {
    fn to(size: u64, step: u64) -> Self {
        let mut grown = Self { edge: RightEdge::EMPTY, full: BTreeMap::new() };
        let mut at = 0;
        while at < size {
            let next = (at + step).min(size);
            grown.append(&leaves(at, next));
            at = next;
        }
        grown
    }

    fn append(&mut self, leaves: &[Hash]) {
        let extension = self.edge.extend(leaves).unwrap();
        for (tile, hashes) in extension.full_tiles {
            assert!(self.full.insert((tile.kind, tile.index), hashes).is_none(), "{}", tile.path());
        }
        self.edge = extension.edge;
    }

    fn build(&self, plan: &ProofPlan) -> Vec<Hash> {
        let hashes: Vec<Hash> = plan
            .nodes()
            .map(|node| {
                self.edge.node(node).unwrap_or_else(|| {
                    let tile = Tile::holding(node, self.edge.size()).unwrap();
                    node_in_tile(node, &self.full[&(tile.kind, tile.index)]).unwrap()
                })
            })
            .collect();
        plan.build(&hashes)
    }
}

#[test]
fn heads_equal_the_reference_at_every_size_to_600_whatever_the_batches() {
    for size in 0..=600 {
        let expected = reference_root(&leaves(0, size));
        assert_eq!(
            RightEdge::EMPTY.extend(&leaves(0, size)).unwrap().head.root,
            expected,
            "{size}"
        );
    }
    for step in [1, 7, 255, 256, 257] {
        assert_eq!(Grown::to(600, step).edge, Grown::to(600, 600).edge, "steps of {step}");
        assert_eq!(Grown::to(600, step).full, Grown::to(600, 600).full, "steps of {step}");
    }
}

#[test]
fn tiles_prove_every_leaf_and_older_size_across_three_levels() {
    for size in [1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 66_000] {
        let grown = Grown::to(size, 300);
        let all = leaves(0, size);
        let head = grown.edge.head();
        assert_eq!(head.root, reference_root(&all), "{size}");
        let step = (size / 400).max(1) as usize;
        for i in (0..size).step_by(step).chain([size - 1]) {
            let index = LeafIndex::new(i).unwrap();
            let proof = grown.build(&plan_inclusion(index, head.size).unwrap());
            assert_eq!(
                check_inclusion(index, head, all[i as usize], &proof),
                Ok(()),
                "{i} of {size}"
            );
        }
        for old in [1, size / 3, size / 2, size - 1, size] {
            let old_root = reference_root(&all[..old as usize]);
            let old = TreeHead { size: TreeSize::new(old).unwrap(), root: old_root };
            let proof = grown.build(&plan_consistency(old.size, head.size).unwrap());
            assert_eq!(check_consistency(old, head, &proof), Ok(()), "{} to {size}", old.size);
        }
    }
}

#[test]
fn an_edge_reads_back_only_at_its_own_size() {
    for size in [0, 1, 255, 256, 300, 65_536, 65_800] {
        let edge = Grown::to(size, 999).edge;
        let levels: Vec<Vec<Hash>> = (0..=2).map(|level| edge.growing(level).to_vec()).collect();
        assert_eq!(RightEdge::from_levels(edge.size(), levels.clone()), Ok(edge.clone()));
        let other = edge.size().plus(1).unwrap();
        assert!(RightEdge::from_levels(other, levels).is_err(), "{size}");
    }
}

#[test]
fn the_largest_tree_takes_no_more_leaves() {
    let size = TreeSize::new(crate::tree::TREE_SIZE_MAX).unwrap();
    let full_level = vec![Hash([1; 32]); 255];
    let mut levels = vec![full_level; 6];
    levels.push(vec![Hash([1; 32]); 31]);
    let edge = RightEdge::from_levels(size, levels).unwrap();
    assert!(edge.extend(&leaves(0, 1)).is_none());
    assert!(edge.extend(&[]).is_some());
}

#[test]
fn the_edge_holds_every_node_that_fresh_proofs_need() {
    // Each append ends in the tile after the one that it began in.
    let (mut edge, mut size) = (RightEdge::EMPTY, 0);
    for count in [200, 100, 256, 255, 257] {
        edge = edge.extend(&leaves(size, size + count)).unwrap().edge;
        let all = leaves(0, size + count);
        for index in size..size + count {
            let plan = plan_inclusion(LeafIndex::new(index).unwrap(), edge.size()).unwrap();
            let hashes: Option<Vec<Hash>> = plan.nodes().map(|node| edge.node(node)).collect();
            let proof = plan.build(&hashes.expect("all nodes are in the last two tiles or above"));
            let leaf = all[index as usize];
            check_inclusion(LeafIndex::new(index).unwrap(), edge.head(), leaf, &proof).unwrap();
        }
        size += count;
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_edge_shows_in_the_root_or_in_the_nodes() {
    let edge = RightEdge::EMPTY.extend(&leaves(0, 65_536 + 2 * 256 - 5)).unwrap().edge;
    let edge = edge.extend(&leaves(0, 12)).unwrap().edge;
    let head = edge.head();
    assert!(edge.is_sound(head) && edge.levels[0].has_before());
    let mut shown = 0;
    for level in 0..edge.levels.len() {
        edge.levels[level].flip_each(|flipped| {
            let mut edge = edge.clone();
            edge.levels[level] = Arc::new(flipped);
            assert!(!edge.is_sound(head), "level {level}");
            shown += 1;
        });
    }
    // 7 hashes and 4 nodes above them, the 510 of the tile before, 2 hashes and their node, and 1.
    assert_eq!(shown, 11 + 510 + 3 + 1);
}

#[test]
fn the_edge_remembers_full_tiles_of_higher_levels_for_the_append_that_fills_them() {
    let size = 65_536 - 3;
    let edge = RightEdge::EMPTY.extend(&leaves(0, size)).unwrap().edge;
    let levels = [0, 1].map(|level| edge.growing(level).to_vec());
    let edge = RightEdge::from_levels(edge.size(), levels.to_vec()).unwrap();
    let extension = edge.extend(&leaves(size, size + 5)).unwrap();
    for index in size..size + 5 {
        let plan = plan_inclusion(LeafIndex::new(index).unwrap(), extension.head.size).unwrap();
        let hashes: Option<Vec<Hash>> = plan.nodes().map(|n| extension.edge.node(n)).collect();
        let proof = plan.build(&hashes.expect("every node is in the last tiles of its level"));
        let leaf = leaves(index, index + 1)[0];
        check_inclusion(LeafIndex::new(index).unwrap(), extension.head, leaf, &proof).unwrap();
    }
    let later = extension.edge.extend(&leaves(0, 1)).unwrap().edge;
    assert!(!later.levels[0].has_before() && !later.levels[1].has_before());
}
