//! The tree of one checkpoint, as a server serves it in tiles (c2sp.org/tlog-tiles): what proves
//! leaves where no answer brings a proof along.
//!
//! Invariants: nothing counts as proved that does not lead to the root of the checkpoint; each tile
//! is fetched once.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::proof::{check_inclusion, plan_inclusion};
use treering_proto::tile::{
    TILE_WIDTH, Tile, TileKind, decode_entries, decode_hashes, node_in_tile,
};
use treering_proto::tree::{LeafIndex, Node, TreeHead};

use super::log_key::LogKey;
use super::target::Target;

/// The path of the checkpoint, below the base of a server.
pub const CHECKPOINT_PATH: &str = "/checkpoint";

/// A tree that is read tile by tile.
pub struct ServedTree {
    target: Target,
    head: TreeHead,
    fetched: HashMap<Tile, Bytes>,
}

impl ServedTree {
    /// The tree of the newest checkpoint.
    ///
    /// # Errors
    /// If there is none, or it is not the log's.
    pub async fn open(target: Target, key: &LogKey) -> anyhow::Result<Self> {
        let note = target.fetch(CHECKPOINT_PATH).await?;
        let head = key.open(&note).context("the checkpoint is not the log's")?;
        Ok(Self::at(target, head))
    }

    /// The tree of `head`.
    pub fn at(target: Target, head: TreeHead) -> Self {
        Self { target, head, fetched: HashMap::new() }
    }

    /// Its size and root.
    pub fn head(&self) -> TreeHead {
        self.head
    }

    /// Checks that `leaf` stands at `index`.
    ///
    /// # Errors
    /// If it does not, or what is needed to see it cannot be read.
    pub async fn check_leaf(&mut self, index: LeafIndex, leaf: Hash) -> anyhow::Result<()> {
        self.check_beside(index, leaf, &[]).await
    }

    /// Checks that `hashes` are the full tile `index` of level 0.
    ///
    /// # Errors
    /// If they are not, or what is needed to see it cannot be read.
    pub async fn check_tile(&mut self, index: u64, hashes: &[Hash]) -> anyhow::Result<()> {
        ensure!(hashes.len() as u64 == TILE_WIDTH, "tile {index} is not full");
        let first = index.checked_mul(TILE_WIDTH).and_then(LeafIndex::new);
        let first = first.context("no tree has such a tile")?;
        // The path of the first leaf needs every other hash of its tile.
        self.check_beside(first, hashes[0], hashes)
            .await
            .with_context(|| format!("tile {index} is not the one in the tree"))
    }

    /// The entry at `index`, which is proved too.
    ///
    /// # Errors
    /// If the tree has none, or it cannot be read.
    pub async fn entry(&mut self, index: LeafIndex) -> anyhow::Result<Vec<u8>> {
        ensure!(self.head.size.contains(index), "a tree of {} has no {index}", self.head.size);
        let first = index.get() / TILE_WIDTH * TILE_WIDTH;
        let width = TILE_WIDTH.min(self.head.size.get() - first);
        let tile = Tile { kind: TileKind::Entries, index: index.get() / TILE_WIDTH, width };
        let bytes = self.fetch(tile).await?;
        let entries = decode_entries(&bytes, width)?;
        let entry = entries[(index.get() - first) as usize].to_vec();
        self.check_leaf(index, hash_leaf(&entry)).await?;
        Ok(entry)
    }

    /// Checks `leaf` with the tiles of the server, except its own, if `own` has the hashes of that.
    async fn check_beside(
        &mut self,
        index: LeafIndex,
        leaf: Hash,
        own: &[Hash],
    ) -> anyhow::Result<()> {
        let plan = plan_inclusion(index, self.head.size)?;
        let mut hashes = Vec::new();
        for node in plan.nodes() {
            hashes.push(self.node(node, index.get() / TILE_WIDTH, own).await?);
        }
        Ok(check_inclusion(index, self.head, leaf, &plan.build(&hashes))?)
    }

    async fn node(&mut self, node: Node, own_index: u64, own: &[Hash]) -> anyhow::Result<Hash> {
        let tile = Tile::holding(node, self.head.size).context("the plan leaves the tree")?;
        let is_own = tile.kind == TileKind::Hashes(0) && tile.index == own_index;
        let hash = match is_own && !own.is_empty() {
            true => node_in_tile(node, own),
            false => {
                let bytes = self.fetch(tile).await?;
                let hashes = decode_hashes(&bytes).context("a tile is not a row of hashes")?;
                node_in_tile(node, &hashes)
            }
        };
        hash.with_context(|| format!("{} is too short", tile.path()))
    }

    async fn fetch(&mut self, tile: Tile) -> anyhow::Result<Bytes> {
        if let Some(bytes) = self.fetched.get(&tile) {
            return Ok(bytes.clone());
        }
        let bytes = self.target.fetch(&format!("/{}", tile.path())).await?;
        self.fetched.insert(tile, bytes.clone());
        Ok(bytes)
    }
}
