//! One growing tile, with every node that its hashes determine, and the full tile before it.
//!
//! Invariants: row `h` holds the roots of the perfect subtrees of `2^h` hashes, so it is as long
//! as row 0 shifted right by `h`; no row is longer than `255 >> h`: a full tile leaves at once.

use std::sync::Arc;

use crate::hash::{Hash, hash_node};
use crate::tile::{TILE_HEIGHT, TILE_WIDTH};
use crate::tree::Node;

/// The hashes of a tile that is not full yet, and the nodes above them.
#[derive(Clone, Default, Debug)]
pub(super) struct Growing {
    rows: Rows,
    /// The tile that the last append completed, whole: proofs for its entries need its nodes once
    /// more.
    before: Option<Arc<Rows>>,
}

/// By height inside the tile: its hashes, and the nodes above them.
type Rows = [Vec<Hash>; TILE_HEIGHT as usize];

impl Growing {
    /// The hashes of the tile.
    pub(super) fn hashes(&self) -> &[Hash] {
        &self.rows[0]
    }

    /// The hash of `node`, which lies in this tile; `None` if not all hashes below it are there.
    pub(super) fn node(&self, node: Node) -> Option<Hash> {
        node_in_rows(node, &self.rows)
    }

    /// The hash of `node`, which lies in the tile before this one, if that is remembered.
    pub(super) fn node_before(&self, node: Node) -> Option<Hash> {
        node_in_rows(node, self.before.as_deref()?)
    }

    /// Whether a tile before this one is remembered.
    pub(super) fn has_before(&self) -> bool {
        self.before.is_some()
    }

    /// Forgets the tile before this one.
    pub(super) fn forget_before(&mut self) {
        self.before = None;
    }

    /// Whether each node is the hash of the two below it, computed anew.
    pub(super) fn is_sound(&self) -> bool {
        let are_sound = |rows: &Rows| {
            let pairs = rows.iter().zip(&rows[1..]);
            pairs.into_iter().all(|(below, above)| {
                let hashed = below.chunks_exact(2).map(|pair| hash_node(&pair[0], &pair[1]));
                hashed.eq(above.iter().copied())
            })
        };
        are_sound(&self.rows) && self.before.as_deref().is_none_or(are_sound)
    }

    /// Flips a bit of each node in turn, and shows the tile so.
    #[cfg(test)]
    pub(super) fn flip_each(&self, mut show: impl FnMut(Self)) {
        let nodes = |rows: &Rows| -> Vec<(usize, usize)> {
            let of =
                |(height, row): (usize, &Vec<Hash>)| (0..row.len()).map(move |at| (height, at));
            rows.iter().enumerate().flat_map(of).collect()
        };
        for (height, at) in nodes(&self.rows) {
            let mut flipped = self.clone();
            flipped.rows[height][at].0[7] ^= 1;
            show(flipped);
        }
        for (height, at) in self.before.as_deref().map(nodes).unwrap_or_default() {
            let mut flipped = self.clone();
            let before = flipped.before.as_mut().map(Arc::make_mut);
            before.expect("it has one").get_mut(height).expect("it has that row")[at].0[7] ^= 1;
            show(flipped);
        }
    }

    /// Adds the next hash. When the tile is full by it, the tile starts anew, and its hashes and
    /// its root are returned.
    pub(super) fn push(&mut self, hash: Hash) -> Option<(Vec<Hash>, Hash)> {
        let mut rising = hash;
        for row in &mut self.rows {
            row.push(rising);
            match row.as_slice() {
                [.., left, right] if row.len().is_multiple_of(2) => rising = hash_node(left, right),
                _ => return None,
            }
        }
        let full = std::mem::take(&mut self.rows);
        let hashes = full[0].clone();
        self.before = Some(Arc::new(full));
        Some((hashes, rising))
    }
}

fn node_in_rows(node: Node, rows: &Rows) -> Option<Hash> {
    let height = node.level % TILE_HEIGHT;
    let nodes_in_tile = TILE_WIDTH >> height;
    rows[usize::from(height)].get((node.index % nodes_in_tile) as usize).copied()
}

impl FromIterator<Hash> for Growing {
    /// A tile with these hashes: fewer than fill it.
    fn from_iter<I: IntoIterator<Item = Hash>>(hashes: I) -> Self {
        let mut growing = Self::default();
        for hash in hashes {
            assert!(growing.push(hash).is_none(), "a growing tile is not full");
        }
        growing
    }
}

impl PartialEq for Growing {
    /// Whether it is the same tile, remembered or not what was before it.
    fn eq(&self, other: &Self) -> bool {
        self.rows == other.rows
    }
}

impl Eq for Growing {}
