//! RFC 6962 hashing (section 2.1): the only place where leaves and nodes become hashes.
//!
//! Invariant: a leaf and a node can never have the same preimage, because they start with different
//! bytes. Out of scope: other hash functions. The tree, the tiles and the proofs are SHA-256 for
//! ever.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::encoding::to_hex;

/// A SHA-256 value: of a leaf, of a node, or of a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; Hash::LEN]);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// The hash held in `bytes`; `None` unless there are exactly 32 of them.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Lower-case hexadecimal, 64 characters: the spelling of the Rekor v1 API.
    pub fn to_hex(&self) -> String {
        to_hex(&self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({})", self.to_hex())
    }
}

/// The root of the tree with no leaves: SHA-256 of the empty string.
pub const EMPTY_ROOT: Hash = Hash([
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
]);

/// SHA-256 of `bytes`, with no prefix.
pub fn sha256(bytes: &[u8]) -> Hash {
    Hash(Sha256::digest(bytes).into())
}

/// The leaf of `entry`: SHA-256(0x00 || entry).
pub fn hash_leaf(entry: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0x00]);
    hasher.update(entry);
    Hash(hasher.finalize().into())
}

/// The parent of two nodes: SHA-256(0x01 || left || right).
pub fn hash_node(left: &Hash, right: &Hash) -> Hash {
    let mut preimage = [0u8; 1 + 2 * Hash::LEN];
    preimage[0] = 0x01;
    preimage[1..33].copy_from_slice(&left.0);
    preimage[33..].copy_from_slice(&right.0);
    sha256(&preimage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_root_is_the_hash_of_nothing() {
        assert_eq!(EMPTY_ROOT, sha256(b""));
    }

    #[test]
    fn leaf_and_node_of_the_same_bytes_differ() {
        let (left, right) = (sha256(b"l"), sha256(b"r"));
        let joined = [left.0, right.0].concat();
        assert_ne!(hash_leaf(&joined), hash_node(&left, &right));
        assert_eq!(hash_leaf(&joined), sha256(&[&[0u8][..], &joined].concat()));
        assert_eq!(hash_node(&left, &right), sha256(&[&[1u8][..], &joined].concat()));
    }
}
