//! The scrubber: reads the log again, slowly and for ever, to find what the disk lost.
//!
//! RocksDB's checksums answer when a row is read. Rows that nobody reads are read here: 256 entries
//! at a time, hashed, compared with their tile, and the tile with the level above it.
//!
//! Invariant: what is found latches the log, for an entry that no longer leads to the signed root
//! cannot be served as one that does. It never writes.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use treering_proto::hash::hash_leaf;
use treering_proto::tile::{TILE_WIDTH, TileKind, hashes_at, perfect_root, tiles_between};
use treering_proto::tree::TreeSize;

use crate::health::{Health, LatchReason};
use crate::metrics::Metrics;
use crate::publisher::{Published, Snapshot};
use crate::store::{Store, StoreError};

/// Pause between two tiles: ten million entries are read in an hour, at a few percent of one core.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a tile is not what it was.
#[derive(Debug, thiserror::Error)]
pub enum ScrubError {
    /// Rows do not read back.
    #[error("scrubber: {0}")]
    Store(#[from] StoreError),
    /// The rows disagree.
    #[error("scrubber: {path} does not match {with}")]
    Mismatch {
        /// The tile.
        path: String,
        /// What it was compared with.
        with: &'static str,
    },
}

/// Tells the scrubber to end.
#[derive(Clone, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Ends the scrubber before its next tile.
    pub fn stop(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits; true when it is time to end.
    fn pause(&self) -> bool {
        let stopped = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(stopped, PAUSE, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Reads the log until told to stop, or until something is wrong.
pub fn run(store: &Store, published: &Published, health: &Health, metrics: &Metrics, stop: &Stop) {
    let mut next = 0;
    while !stop.pause() {
        let snapshot = published.snapshot();
        let full_tiles = hashes_at(1, snapshot.head.size);
        if full_tiles == 0 {
            continue;
        }
        next %= full_tiles;
        if let Err(error) = check_tile(store, &snapshot, next) {
            let reason = match error {
                ScrubError::Store(_) => LatchReason::Storage,
                ScrubError::Mismatch { .. } => LatchReason::SelfCheck,
            };
            if reason == LatchReason::SelfCheck {
                metrics.selfcheck_failed();
            }
            health.latch(reason, error.to_string());
            return;
        }
        metrics.scrubbed();
        next += 1;
    }
}

/// Checks the full tile of entries at `index`: its leaves, and every tile that it completes.
pub fn check_tile(store: &Store, snapshot: &Snapshot, index: u64) -> Result<(), ScrubError> {
    let first = index * TILE_WIDTH;
    let entries = store.entries(first, TILE_WIDTH)?;
    let leaves: Vec<_> = entries.iter().map(|entry| hash_leaf(entry)).collect();
    let sizes = (TreeSize::new(first), TreeSize::new(first + TILE_WIDTH));
    let (Some(before), Some(after)) = sizes else {
        unreachable!("a published tile lies within the largest tree")
    };
    let completed = tiles_between(before, after);
    for tile in completed.into_iter().filter(|tile| tile.width == TILE_WIDTH) {
        let TileKind::Hashes(level) = tile.kind else { continue };
        let hashes = store.full_tile(level, tile.index)?;
        if level == 0 && hashes != leaves {
            return Err(ScrubError::Mismatch { path: tile.path(), with: "its entries" });
        }
        let parent = tile.index / TILE_WIDTH;
        let above = if parent == hashes_at(level + 1, snapshot.head.size) / TILE_WIDTH {
            snapshot.edge.growing(level + 1).to_vec()
        } else {
            store.full_tile(level + 1, parent)?
        };
        if above.get((tile.index % TILE_WIDTH) as usize) != Some(&perfect_root(&hashes)) {
            return Err(ScrubError::Mismatch { path: tile.path(), with: "the level above" });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
