//! The log as its entries make it: leaves, and every tile and head that they lead to.
//!
//! Invariant: nothing in it is the word of the server but the entries.

use treering_proto::append::RightEdge;
use treering_proto::audit::{Audit, Finding};
use treering_proto::hash::{Hash, sha256};
use treering_proto::tile::{TILE_WIDTH, Tile, TileKind, encode_hashes, perfect_root};
use treering_proto::tree::TreeHead;

use super::event::Moment;

/// A log, rebuilt from the entries that it serves.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// Before the checkpoint was asked for up to which the entries were read.
    pub at: Moment,
    /// By tile level, all hashes at that level; the leaves first.
    levels: Vec<Vec<Hash>>,
}

impl Rebuilt {
    /// From the leaves, in order; `at` is the moment before the size was asked for.
    pub fn new(at: Moment, leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|row| row.len() >= TILE_WIDTH as usize) {
            let row = below.chunks_exact(TILE_WIDTH as usize).map(perfect_root).collect();
            levels.push(row);
        }
        Self { at, levels }
    }

    /// The leaves, in order.
    pub fn leaves(&self) -> &[Hash] {
        &self.levels[0]
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.levels[0].len() as u64
    }

    /// The head of the tree that the leaves make.
    ///
    /// # Panics
    /// If there are more leaves than a tree can have.
    pub fn head(&self) -> TreeHead {
        let grown = RightEdge::EMPTY.extend(self.leaves());
        grown.expect("memory holds fewer leaves than a tree may have").edge.head()
    }

    /// The leaf at `index`.
    pub fn leaf(&self, index: u64) -> Option<Hash> {
        self.levels[0].get(usize::try_from(index).ok()?).copied()
    }

    /// SHA-256 over the hashes that `tile` must have; `None` if the log is too small to say.
    pub(super) fn tile_digest(&self, tile: Tile) -> Option<Hash> {
        let level = match tile.kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        };
        let row = self.levels.get(usize::from(level))?;
        let from = usize::try_from(tile.index.checked_mul(TILE_WIDTH)?).ok()?;
        let hashes = row.get(from..from.checked_add(tile.width as usize)?)?;
        Some(sha256(&encode_hashes(hashes)))
    }

    /// What is wrong with these heads.
    pub(super) fn judge(&self, heads: impl IntoIterator<Item = TreeHead>) -> Vec<Finding> {
        // The tiles that a client saw are compared elsewhere; here the tree is its own source.
        let tiles = |tile: Tile| {
            let TileKind::Hashes(level) = tile.kind else { return None };
            let from = (tile.index * TILE_WIDTH) as usize;
            let row = self.levels.get(usize::from(level))?;
            Some(row.get(from..from + tile.width as usize)?.to_vec())
        };
        let mut audit = Audit::new(heads, Box::new(tiles));
        self.leaves().iter().for_each(|leaf| audit.leaf(*leaf));
        audit.finish().findings
    }
}
