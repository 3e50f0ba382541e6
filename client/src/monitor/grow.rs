//! Growing: from the verified tree to that of a checkpoint, tile by tile and chunk by chunk.
//!
//! ```text
//! tiles, up to N at once -> in order -> chunk -> compare, tell, write
//!                                       the next chunk is read while one is written
//! ```
//!
//! Invariants: chunks are written in order and without gaps, and what stops the reading does not
//! stop what was read before from being kept. Memory is bounded by the tiles at once and by two
//! chunks. Out of scope: whether the checkpoint may be followed (see `heads`).

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinHandle;
use treering_proto::tile::TILE_WIDTH;
use treering_proto::tree::TreeHead;

use super::keeper::{Chunk, Keeper, Told};
use super::read::{Job, ReadFault, Run, Signed, Source, Tally, read};
use super::store::StoreError;
use super::tiles::{SignedTree, TileFault};
use crate::log::LogReader;

/// Entries of one chunk: fewer make more transactions, more make them larger than they need be.
pub const CHUNK_ENTRIES: usize = 16 << 10;

/// Bytes of one chunk: entries about models with thousands of files have many facts.
const CHUNK_BYTES_MAX: usize = 64 << 20;

/// How much is done at once.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Tiles that are read at once.
    pub tiles: usize,
    /// Entries that are kept together.
    pub chunk_entries: usize,
    /// Chunks after which to stop, as if the process had been killed: for tests.
    #[cfg(test)]
    pub chunks_max: usize,
}

impl Pace {
    /// Reads `tiles` at once, and keeps `chunk_entries` together.
    pub fn new(tiles: usize, chunk_entries: usize) -> Self {
        Self {
            tiles,
            chunk_entries,
            #[cfg(test)]
            chunks_max: usize::MAX,
        }
    }
}

/// What growing came to.
#[derive(Default)]
pub struct Grown {
    /// What was told.
    pub told: Told,
    /// What was verified.
    pub tally: Tally,
    /// Entries that were read.
    pub entries: u64,
}

/// Why growing stopped early.
#[derive(Debug, thiserror::Error)]
pub enum GrowFault {
    /// An entry tile.
    #[error(transparent)]
    Read(#[from] ReadFault),
    /// A tile of hashes.
    #[error(transparent)]
    Tile(#[from] TileFault),
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A tile that is being read.
struct Reading {
    job: Job,
    run: JoinHandle<Result<Run, ReadFault>>,
}

/// Writes one chunk while the next is read.
struct Writer {
    source: Arc<Source>,
    signed: TreeHead,
    keeper: Option<Keeper>,
    writing: Option<JoinHandle<Written>>,
    grown: Grown,
}

/// A chunk that was written, or was not.
struct Written {
    keeper: Keeper,
    outcome: Result<(Told, Tally), StoreError>,
}

/// Reads what the tree of `tree` has beyond what `keeper` has verified. Gives the keeper back,
/// unless a write broke down.
pub async fn grow(
    keeper: Keeper,
    source: &Arc<Source>,
    tree: &mut SignedTree,
    pace: Pace,
) -> (Option<Keeper>, Grown, Result<(), GrowFault>) {
    let from = keeper.state().edge.size().get();
    let mut writer = Writer {
        source: source.clone(),
        signed: tree.checkpoint().head(),
        keeper: Some(keeper),
        writing: None,
        grown: Grown::default(),
    };
    let mut reading = VecDeque::new();
    let done = read_all(from, source, tree, pace, &mut reading, &mut writer).await;
    reading.iter().for_each(|tile: &Reading| tile.run.abort());
    let settled = writer.settle().await;
    (writer.keeper, writer.grown, done.and(settled.map_err(GrowFault::from)))
}

async fn read_all(
    from: u64,
    source: &Arc<Source>,
    tree: &mut SignedTree,
    pace: Pace,
    reading: &mut VecDeque<Reading>,
    writer: &mut Writer,
) -> Result<(), GrowFault> {
    let size = tree.checkpoint().head().size.get();
    let mut next = from;
    let mut chunk = Chunk::default();
    let mut fault = None;
    #[cfg(test)]
    let mut chunks = 0;
    loop {
        while fault.is_none() && reading.len() < pace.tiles && next < size {
            match plan(source, tree, next).await {
                Ok(job) => {
                    next = job.end();
                    reading.push_back(Reading::start(source, job));
                }
                Err(error) => fault = Some(GrowFault::from(error)),
            }
        }
        let Some(front) = reading.pop_front() else { break };
        match front.run.await.expect("reading does not panic") {
            Ok(run) => {
                if run.end() < front.job.end() {
                    let rest = Job { from: run.end(), ..front.job };
                    reading.push_front(Reading::start(source, rest));
                }
                chunk.add(run);
            }
            // What comes after it cannot be kept.
            Err(error) => {
                fault = Some(error.into());
                break;
            }
        }
        if chunk.entries >= pace.chunk_entries || chunk.bytes >= CHUNK_BYTES_MAX {
            #[cfg(test)]
            {
                chunks += 1;
                if chunks > pace.chunks_max {
                    return Ok(());
                }
            }
            writer.write(std::mem::take(&mut chunk)).await?;
        }
    }
    if chunk.entries > 0 {
        writer.write(chunk).await?;
    }
    fault.map_or(Ok(()), Err)
}

/// The tile that holds entry `from`, and what the checkpoint commits to about it.
async fn plan(source: &Source, tree: &mut SignedTree, from: u64) -> Result<Job, TileFault> {
    let tile = from / TILE_WIDTH;
    let full = tree.checkpoint().head().size.get() / TILE_WIDTH;
    let signed = if tile < full {
        let transport = source.renewed();
        let log = LogReader::new(&transport, &source.trust);
        Signed::Root(tree.root_of(&log, 0, tile).await?)
    } else {
        Signed::Leaves(tree.edge().growing(0).to_vec())
    };
    Ok(Job { tile, from, signed })
}

impl Reading {
    fn start(source: &Arc<Source>, job: Job) -> Self {
        let (source, wanted) = (source.clone(), job.clone());
        Self { job, run: tokio::spawn(async move { read(&source, &wanted).await }) }
    }
}

impl Writer {
    /// Starts to write `chunk`, when the one before is written.
    async fn write(&mut self, chunk: Chunk) -> Result<(), StoreError> {
        self.settle().await?;
        let mut keeper = self.keeper.take().ok_or(StoreError::Damaged("a write broke down"))?;
        let (source, signed) = (self.source.clone(), self.signed);
        self.grown.entries += chunk.entries as u64;
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let outcome = keeper.take(chunk, signed, &source);
            Written { keeper, outcome }
        }));
        Ok(())
    }

    /// Waits until what is being written is written.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let Written { keeper, outcome } = writing.await.expect("writing does not panic");
        self.keeper = Some(keeper);
        let (told, tally) = outcome?;
        self.grown.told.add(told);
        self.grown.tally.add(tally);
        Ok(())
    }
}
