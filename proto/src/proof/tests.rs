use std::cell::RefCell;
use std::collections::HashMap;

use super::*;
use crate::hash::hash_leaf;

/// RFC 6962 section 2.1, word for word: recursive and obvious. Roots of ranges are remembered, so
/// that it can judge every proof of every size.
struct Reference<'a> {
    leaves: &'a [Hash],
    roots: RefCell<HashMap<(usize, usize), Hash>>,
}

impl<'a> Reference<'a> {
    fn of(leaves: &'a [Hash]) -> Self {
        Self { leaves, roots: RefCell::default() }
    }

    fn root(&self, start: usize, end: usize) -> Hash {
        match end - start {
            0 => return crate::hash::EMPTY_ROOT,
            1 => return self.leaves[start],
            _ => {}
        }
        if let Some(root) = self.roots.borrow().get(&(start, end)) {
            return *root;
        }
        let middle = split(start, end);
        let root = hash_node(&self.root(start, middle), &self.root(middle, end));
        self.roots.borrow_mut().insert((start, end), root);
        root
    }

    fn path(&self, index: usize, start: usize, end: usize) -> Vec<Hash> {
        if end - start == 1 {
            return Vec::new();
        }
        let middle = split(start, end);
        if index < middle {
            [self.path(index, start, middle), vec![self.root(middle, end)]].concat()
        } else {
            [self.path(index, middle, end), vec![self.root(start, middle)]].concat()
        }
    }

    fn consistency(&self, old: usize, new: usize) -> Vec<Hash> {
        self.subproof(old, 0, new, true)
    }

    fn subproof(&self, old: usize, start: usize, end: usize, known: bool) -> Vec<Hash> {
        if old == end {
            return if known { Vec::new() } else { vec![self.root(start, end)] };
        }
        let middle = split(start, end);
        if old <= middle {
            [self.subproof(old, start, middle, known), vec![self.root(middle, end)]].concat()
        } else {
            [self.subproof(old, middle, end, false), vec![self.root(start, middle)]].concat()
        }
    }
}

fn split(start: usize, end: usize) -> usize {
    start + (1 << (end - start - 1).ilog2())
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count as u64).map(|i| hash_leaf(&i.to_be_bytes())).collect()
}

fn index(i: usize) -> LeafIndex {
    LeafIndex::new(i as u64).unwrap()
}

fn size(n: usize) -> TreeSize {
    TreeSize::new(n as u64).unwrap()
}

/// Every perfect node of a small tree, by level.
struct Nodes(Vec<Vec<Hash>>);

impl Nodes {
    fn of(leaves: &[Hash]) -> Self {
        let mut levels = vec![leaves.to_vec()];
        while levels.last().unwrap().len() > 1 {
            let below = levels.last().unwrap();
            levels.push(below.chunks_exact(2).map(|pair| hash_node(&pair[0], &pair[1])).collect());
        }
        Self(levels)
    }

    fn build(&self, plan: &ProofPlan) -> Vec<Hash> {
        let hashes: Vec<Hash> =
            plan.nodes().map(|node| self.0[node.level as usize][node.index as usize]).collect();
        plan.build(&hashes)
    }

    fn head(&self, n: usize) -> TreeHead {
        TreeHead { size: size(n), root: self.build(&plan_root(size(n)))[0] }
    }
}

#[test]
fn every_proof_to_1200_and_around_65536_checks_and_equals_the_reference() {
    let all = leaves(65_540);
    let nodes = Nodes::of(&all);
    let reference = Reference::of(&all);
    for n in (0..=1200).chain([65_535, 65_536, 65_537, 65_540]) {
        let head = nodes.head(n);
        assert_eq!(head.root, reference.root(0, n), "root of {n}");
        // Every proof up to 1,200; of the large trees every 97th.
        let step = if n <= 1200 { 1 } else { 97 };
        for i in (0..n).step_by(step) {
            let proof = nodes.build(&plan_inclusion(index(i), head.size).unwrap());
            assert_eq!(proof, reference.path(i, 0, n), "leaf {i} of {n}");
            assert_eq!(check_inclusion(index(i), head, all[i], &proof), Ok(()), "leaf {i} of {n}");
        }
        for old in (1..=n).step_by(step) {
            let proof = nodes.build(&plan_consistency(size(old), head.size).unwrap());
            assert_eq!(proof, reference.consistency(old, n), "{old} to {n}");
            let old_head = TreeHead { size: size(old), root: reference.root(0, old) };
            assert_eq!(check_consistency(old_head, head, &proof), Ok(()), "{old} to {n}");
        }
    }
}

#[test]
fn a_changed_surplus_or_missing_hash_never_checks() {
    let all = leaves(40);
    let nodes = Nodes::of(&all);
    for n in 1..=40 {
        let head = nodes.head(n);
        for i in 0..n {
            let proof = nodes.build(&plan_inclusion(index(i), head.size).unwrap());
            for at in 0..proof.len() {
                let mut bad = proof.clone();
                bad[at].0[at] ^= 1;
                assert_eq!(
                    check_inclusion(index(i), head, all[i], &bad),
                    Err(ProofError::RootMismatch)
                );
            }
            let surplus = [&proof[..], &[all[0]]].concat();
            assert!(check_inclusion(index(i), head, all[i], &surplus).is_err());
            if let Some((_, missing)) = proof.split_last() {
                assert!(check_inclusion(index(i), head, all[i], missing).is_err());
            }
            for other in (0..n).filter(|other| *other != i) {
                assert!(check_inclusion(index(other), head, all[i], &proof).is_err());
            }
        }
        for old in 1..n {
            let proof = nodes.build(&plan_consistency(size(old), head.size).unwrap());
            let old_head = nodes.head(old);
            for at in 0..proof.len() {
                let mut bad = proof.clone();
                bad[at].0[at] ^= 1;
                assert!(
                    check_consistency(old_head, head, &bad).is_err(),
                    "{old} to {n}, hash {at}"
                );
            }
            let other_old = TreeHead { root: all[0], ..old_head };
            if other_old != old_head {
                assert!(check_consistency(other_old, head, &proof).is_err());
            }
            let other_new = TreeHead { root: all[1], ..head };
            assert!(check_consistency(old_head, other_new, &proof).is_err());
            let surplus = [&proof[..], &[all[0]]].concat();
            assert!(check_consistency(old_head, head, &surplus).is_err());
        }
    }
}

#[test]
fn the_edges_of_the_domain_are_refused_or_empty() {
    let nodes = Nodes::of(&leaves(3));
    let (one, three) = (nodes.head(1), nodes.head(3));
    assert!(matches!(plan_inclusion(index(3), size(3)), Err(ProofError::IndexOutside { .. })));
    assert!(check_inclusion(index(0), TreeHead::EMPTY, EMPTY, &[]).is_err());
    assert_eq!(check_inclusion(index(0), one, one.root, &[]), Ok(()));
    assert_eq!(check_consistency(TreeHead::EMPTY, three, &[]), Ok(()));
    assert_eq!(check_consistency(three, three, &[]), Ok(()));
    assert!(matches!(check_consistency(three, one, &[]), Err(ProofError::SizesReversed { .. })));
    let not_empty = TreeHead { root: EMPTY, ..TreeHead::EMPTY };
    assert_eq!(check_consistency(not_empty, three, &[]), Err(ProofError::RootMismatch));
    let fork = TreeHead { root: EMPTY, ..three };
    assert_eq!(check_consistency(fork, three, &[]), Err(ProofError::RootMismatch));
}

#[test]
fn the_largest_tree_has_proofs_within_the_bound() {
    let largest = TreeSize::new(crate::tree::TREE_SIZE_MAX).unwrap();
    for i in [0, 1, 1 << 52, crate::tree::TREE_SIZE_MAX - 1] {
        let plan = plan_inclusion(LeafIndex::new(i).unwrap(), largest).unwrap();
        assert!(plan.parts.len() <= PROOF_HASHES_MAX);
        assert_eq!(plan.parts.len(), inclusion_len(i, largest.get() - 1));
    }
    let plan = plan_consistency(TreeSize::new((1 << 52) + 1).unwrap(), largest).unwrap();
    assert!(plan.parts.len() <= PROOF_HASHES_MAX);
}

const EMPTY: Hash = Hash([0; 32]);

#[test]
fn a_consistency_proof_shows_the_old_root_unless_it_is_a_power_of_two() {
    let leaves: Vec<Hash> = (0..40u8).map(|at| hash_leaf(&[at])).collect();
    let reference = Reference::of(&leaves);
    let size = |size: usize| TreeSize::new(size as u64).unwrap();
    for new in 0..=leaves.len() {
        let head = TreeHead { size: size(new), root: reference.root(0, new) };
        for old in 1..=leaves.len() {
            let shows = old < new && !old.is_power_of_two();
            let proof = if old < new { reference.consistency(old, new) } else { Vec::new() };
            let expected = shows.then(|| reference.root(0, old));
            assert_eq!(old_root_from_consistency(size(old), head, &proof), expected);
            let other = TreeHead { root: hash_leaf(b"other"), ..head };
            assert_eq!(old_root_from_consistency(size(old), other, &proof), None);
            let longer = [&proof[..], &[head.root]].concat();
            assert_eq!(old_root_from_consistency(size(old), head, &longer), None);
        }
    }
}
