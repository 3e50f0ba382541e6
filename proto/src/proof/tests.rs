use super::*;
use crate::hash::hash_leaf;

/// RFC 6962 section 2.1, word for word: slow, recursive, obvious.
mod reference {
    use super::*;
    use crate::hash::EMPTY_ROOT;

    pub fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => EMPTY_ROOT,
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len()));
                hash_node(&root(left), &root(right))
            }
        }
    }

    pub fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        if index < left.len() {
            [path(index, left), vec![root(right)]].concat()
        } else {
            [path(index - left.len(), right), vec![root(left)]].concat()
        }
    }

    pub fn consistency(old: usize, leaves: &[Hash]) -> Vec<Hash> {
        subproof(old, leaves, true)
    }

    fn subproof(old: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if known { Vec::new() } else { vec![root(leaves)] };
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        if old <= left.len() {
            [subproof(old, left, known), vec![root(right)]].concat()
        } else {
            [subproof(old - left.len(), right, false), vec![root(left)]].concat()
        }
    }

    fn split(count: usize) -> usize {
        1 << (count - 1).ilog2()
    }
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
fn proofs_equal_the_reference_for_every_index_and_size_to_130() {
    for n in 0..=130 {
        let leaves = leaves(n);
        let nodes = Nodes::of(&leaves);
        assert_eq!(nodes.head(n).root, reference::root(&leaves), "root of {n}");
        for i in 0..n {
            let proof = nodes.build(&plan_inclusion(index(i), size(n)).unwrap());
            assert_eq!(proof, reference::path(i, &leaves), "leaf {i} of {n}");
        }
        for old in 1..=n {
            let proof = nodes.build(&plan_consistency(size(old), size(n)).unwrap());
            assert_eq!(proof, reference::consistency(old, &leaves), "{old} to {n}");
        }
    }
}

#[test]
fn every_proof_to_1200_and_around_65536_checks_and_equals_the_reference() {
    let all = leaves(65_540);
    let nodes = Nodes::of(&all);
    let sizes = (1..=1200).chain([65_535, 65_536, 65_537, 65_540]);
    for n in sizes {
        let head = nodes.head(n);
        // The reference costs 2n hashes a proof, so at large sizes it judges a sample, the checker
        // judges all.
        let step = if n <= 1200 { 1 } else { 997 };
        let reference_step = if n <= 256 { 1 } else { 211 };
        if n % 97 == 1 || n > 1200 {
            assert_eq!(head.root, reference::root(&all[..n]), "root of {n}");
        }
        for i in (0..n).step_by(step) {
            let proof = nodes.build(&plan_inclusion(index(i), head.size).unwrap());
            assert_eq!(check_inclusion(index(i), head, all[i], &proof), Ok(()), "leaf {i} of {n}");
            if i % (reference_step * step) == 0 && (n <= 256 || n > 1200) {
                assert_eq!(proof, reference::path(i, &all[..n]), "leaf {i} of {n}");
            }
        }
        for old in (0..=n).step_by(step) {
            let proof = nodes.build(&plan_consistency(size(old), head.size).unwrap());
            assert_eq!(check_consistency(nodes.head(old), head, &proof), Ok(()), "{old} to {n}");
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
