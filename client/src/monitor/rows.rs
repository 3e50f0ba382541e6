//! What one transaction writes into the index.
//!
//! Invariant: every function here writes or reads within the transaction of its caller, who commits
//! it. Out of scope: when (see `keeper`), and what the rows are (see [`super::store`]).

use redb::{ReadableTable as _, Table, WriteTransaction};
use treering_proto::append::Extension;
use treering_proto::hash::Hash;
use treering_proto::tile::{TileKind, encode_hashes};

use super::findings::{Finding, FindingId, Journal};
use super::keeper::{Chunk, Learned};
use super::postings;
use super::record::Record;
use super::relations::{Known, Row, Terms};
use super::store::{COUNTS, META, POSTINGS, RELATIONS, RUNS, SEEN, TILES, TOLD, write_edge};

/// The relations, while they are being written.
pub struct RelationTable<'a>(pub Table<'a, &'static [u8; 33], ()>);

impl Known for RelationTable<'_> {
    type Error = redb::Error;

    fn has(&self, row: &Row) -> Result<bool, redb::Error> {
        Ok(self.0.get(row)?.is_some())
    }

    fn has_left(&self, row: &Row) -> Result<bool, redb::Error> {
        match self.0.range::<&Row>(row..)?.next() {
            None => Ok(false),
            Some(next) => Ok(next?.0.value()[..17] == row[..17]),
        }
    }
}

/// Keeps who signed what, and what was called how.
///
/// # Errors
/// Those of the database.
pub fn relate(transaction: &WriteTransaction, record: &Record) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(RELATIONS)?;
    let mut rows: Vec<Row> = Terms::of(record).rows().collect();
    rows.sort_unstable();
    for row in &rows {
        table.insert(row, ())?;
    }
    Ok(())
}

/// Keeps the ids of what was told, and counts it.
///
/// # Errors
/// Those of the database.
pub fn write_told(
    transaction: &WriteTransaction,
    journal: &Journal,
    new: &[Finding],
) -> Result<(), redb::Error> {
    let mut told = transaction.open_table(TOLD)?;
    for id in journal.ahead() {
        told.insert(id, ())?;
    }
    let mut counts = transaction.open_table(COUNTS)?;
    for finding in new {
        let name = finding.kind.name();
        let count = counts.get(name.as_str())?.map_or(0, |count| count.value());
        counts.insert(name.as_str(), count + 1)?;
    }
    write_number(transaction, "journal", journal.written())
}

/// Keeps what was learned beside entries.
///
/// # Errors
/// Those of the database.
pub fn write_learned(transaction: &WriteTransaction, learned: &Learned) -> Result<(), redb::Error> {
    let mut seen = transaction.open_table(SEEN)?;
    for (face, size, root, note) in &learned.seen {
        let key = (*face as u8, *size, root.as_bytes());
        if seen.get(key)?.is_none() {
            seen.insert(key, note.as_slice())?;
        }
    }
    if let Some(latest) = &learned.latest {
        transaction.open_table(META)?.insert("latest", latest.note_bytes())?;
    }
    if let Some(success) = learned.success {
        write_number(transaction, "success", success)?;
    }
    if let Some(compared) = learned.compared {
        write_number(transaction, "compared", compared)?;
    }
    if let Some(time) = learned.time {
        write_number(transaction, "time", time)?;
    }
    Ok(())
}

/// Keeps a chunk of entries, with the edge that it leads to. `related` is how many entries have
/// their relations kept now.
///
/// # Errors
/// Those of the database.
pub fn write_chunk(
    transaction: &WriteTransaction,
    chunk: Chunk,
    extension: &Extension,
    related: Option<u64>,
) -> Result<(), redb::Error> {
    let mut tiles = transaction.open_table(TILES)?;
    for (tile, hashes) in &extension.full_tiles {
        if let TileKind::Hashes(level) = tile.kind {
            tiles.insert((level, tile.index), encode_hashes(hashes).as_slice())?;
        }
    }
    let mut runs = transaction.open_table(RUNS)?;
    let mut all = Vec::new();
    let first = chunk.runs.first().map_or(0, |run| run.first);
    for run in chunk.runs {
        runs.insert(run.first, run.records.as_slice())?;
        all.extend(run.postings);
    }
    rayon::slice::ParallelSliceMut::par_sort_unstable(&mut all[..]);
    let mut table = transaction.open_table(POSTINGS)?;
    for postings in all.chunk_by(|a, b| postings::bucket(&a.0) == postings::bucket(&b.0)) {
        write_postings(&mut table, first, postings)?;
    }
    if let Some(end) = related {
        write_number(transaction, "relations", end)?;
    }
    write_edge(&mut transaction.open_table(META)?, &extension.edge)
}

/// Writes the postings of one bucket, with the row before it if that is a small one.
fn write_postings(
    table: &mut Table<'_, (u8, u64), &[u8]>,
    first: u64,
    new: &[(Hash, u64)],
) -> Result<(), redb::Error> {
    let bucket = postings::bucket(&new[0].0);
    let block = postings::encode(new);
    let joined = {
        let last = table.range((bucket, 0)..(bucket, first))?.next_back().transpose()?;
        last.and_then(|(key, before)| {
            let is_small = before.value().len() + block.len() < postings::BLOCK_LEN_MIN;
            let mut all = is_small.then(|| postings::decode(before.value())).flatten()?;
            all.extend_from_slice(new);
            all.sort_unstable();
            Some((key.value(), postings::encode(&all)))
        })
    };
    match joined {
        Some((key, block)) => table.insert(key, block.as_slice())?,
        None => table.insert((bucket, first), block.as_slice())?,
    };
    Ok(())
}

/// Keeps a number of the state.
///
/// # Errors
/// Those of the database.
pub fn write_number(
    transaction: &WriteTransaction,
    name: &str,
    number: u64,
) -> Result<(), redb::Error> {
    transaction.open_table(META)?.insert(name, &number.to_be_bytes()[..])?;
    Ok(())
}

/// Whether the finding was told in an earlier transaction.
///
/// # Errors
/// Those of the database.
pub fn is_told(transaction: &WriteTransaction, id: &FindingId) -> Result<bool, redb::Error> {
    Ok(transaction.open_table(TOLD)?.get(id)?.is_some())
}
