//! Searching the index that a monitor made: complete for what it read, whatever the log says; and
//! holding the log's own answer against it.
//!
//! Invariants: an answer names the range of entries that it is about; nothing here is the log's
//! word. Out of scope: proving hits (they were, when they were read).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use treering_proto::append::RightEdge;
use treering_proto::entry::EntryKind;
use treering_proto::facts::{Tag, search_key};
use treering_proto::hash::Hash;

use super::record::Record;
use super::store::{INDEX_FILE, Index, Snapshot, StoreError};
use crate::search_check::{Answered, Mismatch, SearchOrder, compare};

/// An index, open for reading.
pub struct LocalIndex {
    snapshot: Snapshot,
    edge: RightEdge,
    start: u64,
    // Holds the file open for the snapshot.
    _index: Index,
}

/// One entry that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalHit {
    /// Its position.
    pub index: u64,
    /// Its leaf.
    pub leaf: Hash,
    /// `None` for what cannot be read.
    pub kind: Option<EntryKind>,
}

/// A page of the index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalPage {
    /// What was found.
    pub hits: Vec<LocalHit>,
    /// Where the next page starts.
    pub next: Option<u64>,
}

impl LocalIndex {
    /// Opens the index of the log `origin` in `directory`, which is that of the log or that of all
    /// logs of a monitor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(directory: &Path, origin: &str) -> Result<Self, StoreError> {
        let index = Index::open(&locate(directory, origin))?;
        let snapshot = index.snapshot()?;
        let found = snapshot.origin()?;
        if found != origin {
            let what = format!("of the log {found}, not of {origin}");
            return Err(StoreError::Foreign { path: directory.to_owned(), what });
        }
        let state = snapshot.state()?;
        Ok(Self { snapshot, edge: state.edge, start: state.start, _index: index })
    }

    /// The entries that were read: from the first to before the last.
    pub fn read(&self) -> (u64, u64) {
        (self.start, self.edge.size().get())
    }

    /// All entries that have every one of `facts`, pairs of tag and value.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn matching(&self, facts: &[(Tag, &str)]) -> Result<BTreeSet<u64>, StoreError> {
        let mut found: Option<BTreeSet<u64>> = None;
        for (tag, value) in facts {
            let postings = self.snapshot.postings(&search_key(*tag, value.as_bytes()))?;
            let postings: BTreeSet<u64> = postings.into_iter().collect();
            found = Some(match found {
                None => postings,
                Some(found) => found.intersection(&postings).copied().collect(),
            });
        }
        Ok(found.unwrap_or_default())
    }

    /// The leaf of the entry at `index`, and what is kept of it.
    ///
    /// # Errors
    /// [`StoreError`]; also for an entry that was not read.
    pub fn entry(&self, index: u64) -> Result<(Hash, Record), StoreError> {
        let leaf = self.snapshot.leaf(&self.edge, index)?;
        let record = self.snapshot.record(index)?;
        leaf.zip(record).ok_or(StoreError::Damaged("an entry that was read is missing"))
    }

    /// How many entries there are in which there may be more than their facts tell. Looks at every
    /// record.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn without_statement(&self) -> Result<u64, StoreError> {
        let (mut at, mut count) = (self.start, 0);
        while let Some((first, run)) = self.snapshot.run_from(at)? {
            let damaged = || StoreError::Damaged("a run of records");
            count += Record::count_without_statement(&run).ok_or_else(damaged)?;
            at = first + 1;
        }
        Ok(count)
    }

    /// The largest checkpoint that the monitor accepted, byte for byte. Its tree may be larger than
    /// what was read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn latest(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.snapshot.state()?.latest)
    }

    /// One page of `matching`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn page(
        &self,
        matching: &BTreeSet<u64>,
        order: SearchOrder,
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<LocalPage, StoreError> {
        let mut wanted: Box<dyn Iterator<Item = u64> + '_> = match order {
            SearchOrder::Newest => {
                Box::new(matching.range(..=cursor.unwrap_or(u64::MAX)).rev().copied())
            }
            SearchOrder::Oldest => Box::new(matching.range(cursor.unwrap_or(0)..).copied()),
        };
        let hits = wanted.by_ref().take(limit).map(|index| self.hit(index));
        let hits = hits.collect::<Result<_, StoreError>>()?;
        Ok(LocalPage { hits, next: wanted.next() })
    }

    /// What the log's answer has wrong, compared with `matching`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn compare(
        &self,
        answered: &Answered,
        matching: &BTreeSet<u64>,
    ) -> Result<Mismatch, StoreError> {
        let mut failed = None;
        let leaf = |index| match self.complete_leaf(index) {
            Ok(leaf) => leaf.map(|leaf| leaf.to_hex()),
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        let mismatch = compare(answered, matching, self.read(), leaf);
        failed.map_or(Ok(mismatch), Err)
    }

    /// The leaf of an entry whose facts are all known.
    fn complete_leaf(&self, index: u64) -> Result<Option<Hash>, StoreError> {
        match self.snapshot.record(index)? {
            Some(record) if !record.is_incomplete => self.snapshot.leaf(&self.edge, index),
            _ => Ok(None),
        }
    }

    fn hit(&self, index: u64) -> Result<LocalHit, StoreError> {
        let (leaf, record) = self.entry(index)?;
        Ok(LocalHit { index, leaf, kind: record.kind })
    }
}

/// The directory of one log.
fn locate(directory: &Path, origin: &str) -> PathBuf {
    match directory.join(INDEX_FILE).exists() {
        true => directory.to_owned(),
        false => log_directory(directory, origin),
    }
}

/// The directory of the log `origin` below that of all logs.
pub fn log_directory(directory: &Path, origin: &str) -> PathBuf {
    directory.join(crate::state::safe_name(origin))
}
