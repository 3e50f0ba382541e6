//! The tree that a checkpoint commits to, as the log's tiles show it: each hash that comes out of
//! here follows from the root.
//!
//! ```text
//! root of the checkpoint  =  growing tiles of all levels, joined
//! hash of a full tile     =  one hash of the tile above it, up to a growing one
//! ```
//!
//! So one wrong tile is found alone, and what is compared with a hash from here is compared with
//! what the log signed.
//!
//! Invariants: a tile that does not fit is fetched once more past caches, and then it is a fault of
//! the log. The tiles that are kept in memory are bounded. Out of scope: entries.

use std::collections::BTreeMap;

use treering_proto::append::RightEdge;
use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::hash::Hash;
use treering_proto::proof::{ProofPlan, plan_consistency, plan_root};
use treering_proto::tile::{
    TILE_LEVEL_MAX, TILE_WIDTH, Tile, TileKind, hashes_at, node_in_tile, perfect_root,
};
use treering_proto::tree::{Node, TreeHead, TreeSize, join_subtrees};

use crate::log::{ClaimedPrefix, LogError, LogReader};
use crate::transport::{Reading, TransportError};

/// Full tiles in memory: entries are read from left to right, so few are needed again.
const KEPT_MAX: usize = 64;

/// Why the tree of a checkpoint is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum TileFault {
    /// The log did not give a tile.
    #[error(transparent)]
    Unread(#[from] LogError),
    /// A tile does not have the hash that the checkpoint commits to, past caches too.
    #[error("/{} does not hold what the checkpoint commits to", tile.path())]
    Wrong {
        /// Which.
        tile: Tile,
    },
    /// The growing tiles do not lead to the root, past caches too; which one is wrong cannot be
    /// told.
    #[error("the growing tiles of the tree of {size} entries do not lead to its root")]
    WrongEdge {
        /// Size of the tree.
        size: u64,
    },
}

/// The tree of one checkpoint.
pub struct SignedTree {
    checkpoint: SignedCheckpoint,
    edge: RightEdge,
    kept: BTreeMap<(u8, u64), Vec<Hash>>,
}

impl TileFault {
    /// Whether the log served something else than it signed; otherwise it served nothing.
    pub fn is_lie(&self) -> bool {
        match self {
            Self::Unread(error) => is_garbage(error),
            Self::Wrong { .. } | Self::WrongEdge { .. } => true,
        }
    }
}

/// Whether an answer came and was not what was asked for, or longer than it can be.
pub fn is_garbage(error: &LogError) -> bool {
    let too_long = matches!(error, LogError::Transport(TransportError::TooLong { .. }));
    too_long || matches!(error, LogError::Malformed { .. })
}

impl SignedTree {
    /// Reads the growing tiles of the tree of `checkpoint`, and holds them against its root.
    ///
    /// # Errors
    /// [`TileFault`].
    pub async fn open(
        log: &LogReader<'_>,
        checkpoint: &SignedCheckpoint,
    ) -> Result<Self, TileFault> {
        let head = checkpoint.head();
        let kept = BTreeMap::new();
        for reading in [Reading::Cached, Reading::Fresh] {
            let edge = match read_edge(log, head, reading).await {
                Err(error) if is_garbage(&error) => continue,
                other => other?,
            };
            if edge.head() == head {
                return Ok(Self { checkpoint: checkpoint.clone(), edge, kept });
            }
        }
        Err(TileFault::WrongEdge { size: head.size.get() })
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// The growing tiles.
    pub fn edge(&self) -> &RightEdge {
        &self.edge
    }

    /// The root of the leaves below a full tile.
    ///
    /// # Errors
    /// [`TileFault`].
    pub async fn root_of(
        &mut self,
        log: &LogReader<'_>,
        level: u8,
        index: u64,
    ) -> Result<Hash, TileFault> {
        // Up to the first tile that is known, and down again.
        let mut unknown = Vec::new();
        let (mut above, mut at) = (level + 1, index);
        let mut hash = loop {
            if let Some(hash) = self.known_hash(above, at) {
                break hash;
            }
            at /= TILE_WIDTH;
            unknown.push((above, at));
            above += 1;
            assert!(above <= TILE_LEVEL_MAX + 1, "the highest tile of a tree is a growing one");
        };
        for (level_of, tile) in unknown.into_iter().rev() {
            let hashes = fetch_full(log, level_of, tile, hash).await?;
            let below = index >> (8 * u32::from(level_of - level - 1));
            hash = hashes[(below % TILE_WIDTH) as usize];
            self.keep((level_of, tile), hashes);
        }
        Ok(hash)
    }

    /// The hash of `node`, which the tree has.
    ///
    /// # Errors
    /// [`TileFault`].
    pub async fn node(&mut self, log: &LogReader<'_>, node: Node) -> Result<Hash, TileFault> {
        if let Some(hash) = self.edge.node(node) {
            return Ok(hash);
        }
        let tile = Tile::holding(node, self.edge.size());
        let Some(Tile { kind: TileKind::Hashes(level), index, .. }) = tile else {
            unreachable!("a plan for a tree names only nodes that the tree has");
        };
        if !self.kept.contains_key(&(level, index)) {
            let root = self.root_of(log, level, index).await?;
            let hashes = fetch_full(log, level, index, root).await?;
            self.keep((level, index), hashes);
        }
        let hash = node_in_tile(node, &self.kept[&(level, index)]);
        Ok(hash.expect("a full tile has every hash"))
    }

    /// The root of the first `old` entries of this tree, and the proof from there. Both follow from
    /// what the log signed.
    ///
    /// # Errors
    /// [`TileFault`].
    pub async fn prefix(
        &mut self,
        log: &LogReader<'_>,
        old: TreeSize,
    ) -> Result<ClaimedPrefix, TileFault> {
        let plan = plan_consistency(old, self.edge.size())
            .expect("callers ask for the beginning of the tree");
        let roots = self.nodes(log, &plan_root(old)).await?;
        let hashes = self.nodes(log, &plan).await?;
        Ok(ClaimedPrefix { root: join_subtrees(&roots), proof: plan.build(&hashes) })
    }

    async fn nodes(
        &mut self,
        log: &LogReader<'_>,
        plan: &ProofPlan,
    ) -> Result<Vec<Hash>, TileFault> {
        let mut hashes = Vec::new();
        for node in plan.nodes() {
            hashes.push(self.node(log, node).await?);
        }
        Ok(hashes)
    }

    /// Hash number `at` of a tile level, if its tile is at hand.
    fn known_hash(&self, level: u8, at: u64) -> Option<Hash> {
        let tile = at / TILE_WIDTH;
        let within = (at % TILE_WIDTH) as usize;
        if tile == hashes_at(level, self.edge.size()) / TILE_WIDTH {
            return self.edge.growing(level).get(within).copied();
        }
        self.kept.get(&(level, tile)).map(|hashes| hashes[within])
    }

    fn keep(&mut self, key: (u8, u64), hashes: Vec<Hash>) {
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_first();
        }
        self.kept.insert(key, hashes);
    }
}

/// A full tile whose hashes lead to `root`, fetched twice if need be.
async fn fetch_full(
    log: &LogReader<'_>,
    level: u8,
    index: u64,
    root: Hash,
) -> Result<Vec<Hash>, TileFault> {
    let tile = Tile { kind: TileKind::Hashes(level), index, width: TILE_WIDTH };
    for reading in [Reading::Cached, Reading::Fresh] {
        match log.tile(tile, reading).await {
            Ok(hashes) if perfect_root(&hashes) == root => return Ok(hashes),
            Err(error) if !is_garbage(&error) => return Err(error.into()),
            Ok(_) | Err(_) => {}
        }
    }
    Err(TileFault::Wrong { tile })
}

async fn read_edge(
    log: &LogReader<'_>,
    head: TreeHead,
    reading: Reading,
) -> Result<RightEdge, LogError> {
    let mut levels = Vec::new();
    for level in 0..=TILE_LEVEL_MAX {
        let count = hashes_at(level, head.size);
        let (index, width) = (count / TILE_WIDTH, count % TILE_WIDTH);
        levels.push(match width {
            0 => Vec::new(),
            _ => log.tile(Tile { kind: TileKind::Hashes(level), index, width }, reading).await?,
        });
    }
    Ok(RightEdge::from_levels(head.size, levels).expect("each tile has the width asked for"))
}
