//! Reading one entry tile for an audit: entries, the tiles of hashes that end with it, statements,
//! and the signed timestamp of each entry that Rekor v1 defines.

use std::sync::Arc;

use treering_proto::entry::EntryKind;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::tile::{TILE_WIDTH, Tile, TileKind};
use treering_proto::tree::LeafIndex;
use treering_proto::trust::IdentityDocument;

use crate::log::{LogError, LogReader};
use crate::monitor::promises::read_promise;
use crate::monitor::read::{Run, Source, compute, read_entries};
use crate::monitor::tiles::is_garbage;
use crate::report::Exit;
use crate::transport::Reading;

/// Which tile, and from which entry on.
#[derive(Clone, Copy, Debug)]
pub struct ReadTile {
    /// Position of the tile.
    pub tile: u64,
    /// The first entry that is wanted.
    pub from: u64,
    /// Size of the log.
    pub size: u64,
}

/// A tile, or the part of it that was read at once.
pub struct Part {
    /// The entries, byte for byte.
    pub entries: Vec<Vec<u8>>,
    /// Full tiles of hashes that end here, as they were served; `None` for what is malformed or not
    /// there.
    pub tiles: Vec<(Tile, Option<Vec<Hash>>)>,
    /// What the entries say.
    pub run: Run,
    /// Signed timestamps.
    pub sets: Vec<Set>,
}

/// The signed timestamp of one entry.
pub struct Set {
    /// Which entry.
    pub index: u64,
    /// The time in Unix seconds, or what is wrong.
    pub outcome: Result<u64, String>,
    /// Whether the Rekor v1 face has the entry at all.
    pub is_shown: bool,
}

impl ReadTile {
    /// The index after the last entry of the tile.
    pub fn end(&self) -> u64 {
        self.size.min((self.tile + 1) * TILE_WIDTH)
    }
}

/// How a failure to read ends the process: an answer that is no answer is the log's doing.
pub fn exit(error: &LogError) -> Exit {
    if is_garbage(error) { Exit::Alarm } else { crate::online::log_exit(error) }
}

/// Reads the tile of `job` from `job.from` on.
///
/// # Errors
/// [`LogError`].
pub async fn read_tile(source: &Arc<Source>, job: ReadTile) -> Result<Part, LogError> {
    let transport = source.renewed();
    let log = LogReader::new(&transport, &source.trust);
    let width = job.end() - job.tile * TILE_WIDTH;
    let tile = Tile { kind: TileKind::Entries, index: job.tile, width };
    let served = log.entry_tile(tile, Reading::Fresh).await?;
    let skipped = (job.from - job.tile * TILE_WIDTH) as usize;
    let (served, read) = compute(move || {
        let read = served.entries().map(|entries| {
            let leaves: Vec<Hash> = entries.iter().map(|entry| hash_leaf(entry)).collect();
            let entries: Vec<Vec<u8>> =
                entries.into_iter().skip(skipped).map(<[u8]>::to_vec).collect();
            (entries, leaves)
        });
        (served, read)
    })
    .await;
    let malformed = || LogError::Malformed { path: format!("/{}", tile.path()) };
    let (mut entries, leaves) = read.ok_or_else(malformed)?;
    let run = read_entries(source, served, leaves, job.from, skipped).await?;
    entries.truncate(run.leaves.len());
    let mut tiles = Vec::new();
    if run.end() == job.end() && width == TILE_WIDTH {
        for tile in ending(job.tile) {
            tiles.push((tile, tile_or_none(log.tile(tile, Reading::Fresh)).await?));
        }
    }
    let sets = match &source.trust.log.identity {
        Some(document) => read_sets(source, document, &run, &entries).await?,
        None => Vec::new(),
    };
    Ok(Part { entries, tiles, run, sets })
}

/// The tiles of hashes that become full with the full entry tile at `tile`.
fn ending(tile: u64) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let (mut level, mut index) = (0, tile);
    loop {
        tiles.push(Tile { kind: TileKind::Hashes(level), index, width: TILE_WIDTH });
        if index % TILE_WIDTH != TILE_WIDTH - 1 {
            return tiles;
        }
        (level, index) = (level + 1, index / TILE_WIDTH);
    }
}

/// A tile; `None` for one that is malformed or not there.
///
/// # Errors
/// [`LogError`], when the log did not answer.
pub async fn tile_or_none(
    tile: impl Future<Output = Result<Vec<Hash>, LogError>>,
) -> Result<Option<Vec<Hash>>, LogError> {
    match tile.await {
        Err(LogError::NotFound { .. }) => Ok(None),
        Err(error) if is_garbage(&error) => Ok(None),
        other => other.map(Some),
    }
}

async fn read_sets(
    source: &Source,
    document: &IdentityDocument,
    run: &Run,
    entries: &[Vec<u8>],
) -> Result<Vec<Set>, LogError> {
    let mut sets = Vec::new();
    for (index, body) in (run.first..).zip(entries) {
        if !EntryKind::of_body(body).is_ok_and(EntryKind::is_rekor_v1) {
            continue;
        }
        let transport = source.renewed();
        let log = LogReader::new(&transport, &source.trust);
        let at = LeafIndex::new(index).expect("an entry that was read has an index");
        let answer = log.v1_entry_at(at).await;
        let is_shown = !matches!(answer, Ok(None));
        let outcome = match answer {
            Ok(None) => Err("the Rekor v1 face does not have it".to_owned()),
            Ok(Some(entry)) => match read_promise(document, &entry, at) {
                None => Err("its signed timestamp does not verify".to_owned()),
                Some(promise) if promise.entry != *body => {
                    Err("the Rekor v1 face promises its index to another entry".to_owned())
                }
                Some(promise) => Ok(promise.time),
            },
            Err(error) if is_garbage(&error) => Err(error.to_string()),
            Err(error) => return Err(error),
        };
        sets.push(Set { index, outcome, is_shown });
    }
    Ok(sets)
}
