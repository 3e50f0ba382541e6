//! Other people's Merkle trees against ours: `ct-merkle` and `rs_merkle`, which share nothing with
//! each other or with us but SHA-256 and RFC 6962. Roots, inclusion proofs and consistency proofs
//! are equal hash by hash, and each side's verifier takes the other's proofs.
//!
//! The same against a slow reference of our own: `treering_proto::proof`.

use std::collections::HashMap;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use rs_merkle::{Hasher, MerkleTree};
use sha2::{Digest as _, Sha256};
use treering_proto::append::RightEdge;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::proof::{
    ProofPlan, check_consistency, check_inclusion, plan_consistency, plan_inclusion,
};
use treering_proto::tile::{Tile, node_in_tile};
use treering_proto::tree::{LeafIndex, TreeHead, TreeSize};

/// Every tree up to this size.
const SIZE_MAX: u64 = 1_200;

/// Every proof of trees up to this size; of larger ones every ninth, another one in each tree.
/// (`treering_proto::proof` goes through all of them, against its reference.)
const SIZE_WITH_ALL_PROOFS_MAX: u64 = 300;

/// Our tree, grown by one entry after the other, with its full tiles kept as a log keeps them.
struct Ours {
    edge: RightEdge,
    tiles: HashMap<Tile, Vec<Hash>>,
}

impl Ours {
    fn new() -> Self {
        Self { edge: RightEdge::EMPTY, tiles: HashMap::new() }
    }

    fn push(&mut self, entry: &[u8]) {
        let grown = self.edge.extend(&[hash_leaf(entry)]).unwrap();
        self.tiles.extend(grown.full_tiles);
        self.edge = grown.edge;
    }

    fn build(&self, plan: &ProofPlan) -> Vec<Hash> {
        let size = self.edge.size();
        let hashes = plan.nodes().map(|node| {
            self.edge.node(node).unwrap_or_else(|| {
                let tile = Tile::holding(node, size).unwrap();
                node_in_tile(node, &self.tiles[&tile]).unwrap()
            })
        });
        plan.build(&hashes.collect::<Vec<_>>())
    }

    fn inclusion(&self, index: u64) -> Vec<Hash> {
        self.build(&plan_inclusion(LeafIndex::new(index).unwrap(), self.edge.size()).unwrap())
    }

    fn consistency(&self, old: u64) -> Vec<Hash> {
        self.build(&plan_consistency(TreeSize::new(old).unwrap(), self.edge.size()).unwrap())
    }
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

fn hashes(bytes: &[u8]) -> Vec<Hash> {
    bytes.chunks(Hash::LEN).map(|hash| Hash::from_slice(hash).unwrap()).collect()
}

type CtTree = MemoryBackedTree<Sha256, Vec<u8>>;

/// Compares the proofs of `index` and from `old` in trees of equal size.
fn compare_with_ct(ours: &Ours, theirs: &CtTree, heads: &[TreeHead], index: u64, old: u64) {
    let head = ours.edge.head();
    let size = head.size.get();
    let inclusion = ours.inclusion(index);
    let proof = theirs.prove_inclusion(index as usize);
    assert_eq!(hashes(proof.as_bytes()), inclusion, "inclusion of {index} in {size}");
    // Equal proofs are equally good: verifying some of them shows that this is what they are.
    let is_verified = index % 7 == size % 7;
    if is_verified {
        assert!(theirs.root().verify_inclusion(&entry(index), index, &proof).is_ok());
        let (at, leaf) = (LeafIndex::new(index).unwrap(), hash_leaf(&entry(index)));
        assert_eq!(check_inclusion(at, head, leaf, &inclusion), Ok(()));
    }
    if (1..size).contains(&old) {
        let consistency = ours.consistency(old);
        let proof = theirs.prove_consistency((size - old) as usize);
        assert_eq!(hashes(proof.as_bytes()), consistency, "from {old} to {size}");
        if is_verified {
            assert_eq!(check_consistency(heads[old as usize], head, &consistency), Ok(()));
        }
    }
}

#[test]
fn every_root_to_1200_and_its_proofs_are_those_of_ct_merkle() {
    let (mut ours, mut theirs) = (Ours::new(), CtTree::new());
    let mut heads = vec![TreeHead::EMPTY];
    for size in 1..=SIZE_MAX {
        ours.push(&entry(size - 1));
        theirs.push(entry(size - 1));
        heads.push(ours.edge.head());
        assert_eq!(theirs.root().as_bytes()[..], ours.edge.head().root.0, "root of {size}");
        let step = if size <= SIZE_WITH_ALL_PROOFS_MAX { 1 } else { 9 };
        for index in (size % step..size).step_by(step as usize) {
            compare_with_ct(&ours, &theirs, &heads, index, index);
        }
    }
}

#[test]
fn roots_and_proofs_around_65536_are_those_of_ct_merkle() {
    let (mut ours, mut theirs) = (Ours::new(), CtTree::new());
    let mut heads = vec![TreeHead::EMPTY];
    for size in 1..=65_538_u64 {
        ours.push(&entry(size - 1));
        theirs.push(entry(size - 1));
        heads.push(ours.edge.head());
        if size < 65_534 {
            continue;
        }
        assert_eq!(theirs.root().as_bytes()[..], ours.edge.head().root.0, "root of {size}");
        let edges = [0, 1, 255, 256, 257, 32_767, 32_768, 65_279, 65_280, 65_533];
        let spread = (0..size).step_by(509);
        for index in spread.chain(edges).chain(size - 3..size) {
            compare_with_ct(&ours, &theirs, &heads, index, index);
        }
    }
}

/// RFC 6962 for `rs_merkle`, whose own hasher has no prefixes. Written for this test: the server's
/// is what is tested.
#[derive(Clone)]
struct Rfc6962;

impl Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(data: &[u8]) -> [u8; 32] {
        Sha256::digest([&[0], data].concat()).into()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        right.map_or(*left, |right| Sha256::digest([&[1], &left[..], right].concat()).into())
    }
}

#[test]
fn every_root_to_1200_and_its_proofs_are_those_of_rs_merkle() {
    let mut ours = Ours::new();
    let mut leaves = Vec::new();
    for size in 1..=SIZE_MAX {
        ours.push(&entry(size - 1));
        leaves.push(Rfc6962::hash(&entry(size - 1)));
        let theirs = MerkleTree::<Rfc6962>::from_leaves(&leaves);
        let root = theirs.root().unwrap();
        assert_eq!(root, ours.edge.head().root.0, "root of {size}");
        // All of them in small trees; in larger ones the edges, and one that moves.
        let all = 0..if size <= 130 { size } else { 0 };
        let edges = [0, size / 2, size - 1, size * 7 % size.next_power_of_two() % size];
        for index in all.chain(edges) {
            let proof = theirs.proof(&[index as usize]);
            let inclusion: Vec<Hash> =
                proof.proof_hashes().iter().map(|hash| Hash(*hash)).collect();
            assert_eq!(inclusion, ours.inclusion(index), "inclusion of {index} in {size}");
            let leaf = leaves[index as usize];
            assert!(proof.verify(root, &[index as usize], &[leaf], size as usize));
        }
    }
}
