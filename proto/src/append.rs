//! Integration: leaves in, tiles and root out. The whole of growing a log, pure.
//!
//! The right edge holds, for each tile level, the hashes of the tile that is still growing, at most
//! 255 of them, and the nodes above them inside that tile. With the full tiles to its left it
//! determines every node of the tree, and each node that it holds was hashed once.
//!
//! Invariant: `edge.extend(a).extend(b)` and `edge.extend(a ++ b)` end in the same edge and produce
//! the same full tiles.

use std::sync::Arc;

use crate::hash::Hash;
use crate::tile::{TILE_HEIGHT, TILE_LEVEL_MAX, TILE_WIDTH, Tile, TileKind, hashes_at};
use crate::tree::{Node, TreeHead, TreeSize, join_subtrees, perfect_subtrees};

mod growing;

use self::growing::Growing;

/// The growing tile of every level of a tree. Cheap to clone: levels that did not grow are shared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RightEdge {
    size: TreeSize,
    /// By tile level; level `l` holds `(size >> 8 l) % 256` hashes. No empty level above the last
    /// full one is kept.
    levels: Vec<Arc<Growing>>,
}

/// What appending leaves produced.
#[derive(Clone, Debug)]
pub struct Extension {
    /// The edge of the larger tree.
    pub edge: RightEdge,
    /// Its head.
    pub head: TreeHead,
    /// Tiles that became full, low levels first within one append.
    pub full_tiles: Vec<(Tile, Vec<Hash>)>,
}

/// The hashes do not make the edge of a tree of that size.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("level {level} of the right edge has {have} hashes, not {need}")]
pub struct EdgeError {
    /// Tile level.
    pub level: u8,
    /// How many hashes were given.
    pub have: u64,
    /// How many the size demands.
    pub need: u64,
}

impl RightEdge {
    /// The edge of the empty tree.
    pub const EMPTY: Self = Self { size: TreeSize::ZERO, levels: Vec::new() };

    /// The edge of a tree of `size`, from the hashes of its growing tiles, level 0 first.
    pub fn from_levels(size: TreeSize, mut levels: Vec<Vec<Hash>>) -> Result<Self, EdgeError> {
        for level in 0..=TILE_LEVEL_MAX {
            let have = levels.get(usize::from(level)).map_or(0, Vec::len) as u64;
            let need = hashes_at(level, size) % TILE_WIDTH;
            if have != need {
                return Err(EdgeError { level, have, need });
            }
        }
        levels.truncate(levels_of(size));
        levels.resize(levels_of(size), Vec::new());
        let grow = |hashes: Vec<Hash>| Arc::new(hashes.into_iter().collect());
        Ok(Self { size, levels: levels.into_iter().map(grow).collect() })
    }

    /// The size of the tree.
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// The hashes of the growing tile at `level`; empty when there is none.
    pub fn growing(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], |growing| growing.hashes())
    }

    /// The hash of `node`, if the growing tiles hold it, or those that were completed last.
    pub fn node(&self, node: Node) -> Option<Hash> {
        let tile = Tile::holding(node, self.size)?;
        let TileKind::Hashes(level) = tile.kind else { return None };
        let growing = self.levels.get(usize::from(level))?;
        match hashes_at(level, self.size) / TILE_WIDTH - tile.index {
            0 => growing.node(node),
            1 => growing.node_before(node),
            _ => None,
        }
    }

    /// The head of the tree.
    pub fn head(&self) -> TreeHead {
        let roots: Vec<Hash> = perfect_subtrees(0, self.size.get())
            .map(|node| {
                self.node(node).expect("the growing tiles hold each subtree that ends at the size")
            })
            .collect();
        TreeHead { size: self.size, root: join_subtrees(&roots) }
    }

    /// Whether this is the edge of the tree of `head`, and every node above the hashes of the
    /// growing tiles, and of those that were completed last, is the hash of what is below it,
    /// computed anew. The root depends on few of them, so a flipped bit in memory would else show
    /// in proofs alone.
    pub fn is_sound(&self, head: TreeHead) -> bool {
        self.head() == head && self.levels.iter().all(|level| level.is_sound())
    }

    /// Appends `leaves`; `None` if the tree would outgrow the largest one.
    pub fn extend(&self, leaves: &[Hash]) -> Option<Extension> {
        let size = self.size.plus(leaves.len())?;
        let mut edge = Self { size, levels: self.levels.clone() };
        edge.levels.resize_with(levels_of(size), Arc::default);
        let mut full_tiles = Vec::new();
        let mut rising = leaves.to_vec();
        for (level, row) in edge.levels.iter_mut().enumerate() {
            if row.has_before() {
                Arc::make_mut(row).forget_before();
            }
            if rising.is_empty() {
                continue;
            }
            let kind = TileKind::Hashes(level as u8);
            let mut index = hashes_at(level as u8, self.size) / TILE_WIDTH;
            let row = Arc::make_mut(row);
            let mut roots = Vec::new();
            for hash in rising.drain(..) {
                if let Some((hashes, root)) = row.push(hash) {
                    full_tiles.push((Tile { kind, index, width: TILE_WIDTH }, hashes));
                    roots.push(root);
                    index += 1;
                }
            }
            rising = roots;
        }
        assert!(rising.is_empty(), "the levels of a tree reach up to its size");
        let head = edge.head();
        Some(Extension { edge, head, full_tiles })
    }
}

/// How many tile levels a tree of `size` has hashes at.
fn levels_of(size: TreeSize) -> usize {
    size.get().checked_ilog2().map_or(0, |top| top as usize / usize::from(TILE_HEIGHT) + 1)
}

#[cfg(test)]
mod tests;
