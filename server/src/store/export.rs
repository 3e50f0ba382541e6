//! Reading a log while another process writes it, and what is stored of an entry, as one piece.
//!
//! A *secondary* is a RocksDB instance that follows the files of another: it takes no lock, writes
//! nothing into them, and shows the moment at which it was opened. Whoever opens one must expect
//! that a file is gone before it was read, and try again; and must compare what it read with a
//! signed head, because a secondary does not refuse a damaged write-ahead log.

use std::path::Path;
use std::sync::Arc;

use rocksdb::{Cache, DB};
use treering_proto::entry::Entry;
use treering_proto::tree::LeafIndex;

use super::columns::{TIME_BY_INDEX, descriptors};
use super::open::options;
use super::{Store, StoreError};

/// Memory for blocks of a secondary, in bytes: it is read once, from front to back.
const SECONDARY_CACHE_BYTES: usize = 16 << 20;

/// An entry, and all primary rows that belong to it alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryRows {
    /// The canonical bytes.
    pub body: Vec<u8>,
    /// When it was sequenced, Unix seconds.
    pub time: u64,
    /// The SET, if one was kept.
    pub set: Option<Vec<u8>>,
    /// The statement that it commits to, if it was kept.
    pub statement: Option<Vec<u8>>,
}

impl Store {
    /// Opens the database of a log that may be in use, to be read as it is now. `scratch` is a
    /// directory for RocksDB's own notes; it is made, and the caller removes it.
    ///
    /// # Errors
    /// [`StoreError`]; also when the owner removed a file at the same time.
    pub fn open_secondary(path: &Path, scratch: &Path) -> Result<Self, StoreError> {
        let mut options = options();
        // All table files are opened at once and stay readable when their owner removes them.
        options.set_max_open_files(-1);
        // The owner may remove old log files in between; the signed head says what must be there.
        options.set_track_and_verify_wals_in_manifest(false);
        let cache = Cache::new_hyper_clock_cache(SECONDARY_CACHE_BYTES, 0);
        let columns = descriptors(&cache);
        let db = DB::open_cf_descriptors_as_secondary(&options, path, scratch, columns);
        let db = db.map_err(|source| StoreError::Storage {
            action: "open the database beside its owner",
            path: path.to_owned(),
            source,
        })?;
        let store = Self { db: Arc::new(db) };
        store.check_format()?;
        Ok(store)
    }

    /// The rows of the entries from `first` on, exactly `count` of them.
    ///
    /// # Errors
    /// [`StoreError`]; an entry without a time is damaged.
    pub fn entry_rows(&self, first: u64, count: u64) -> Result<Vec<EntryRows>, StoreError> {
        let rows = (first..).zip(self.entries(first, count)?).map(|(number, body)| {
            let missing = || self.damaged(TIME_BY_INDEX, number);
            let index = LeafIndex::new(number).ok_or_else(missing)?;
            let time = self.time(index)?.ok_or_else(missing)?;
            let hash = Entry::parse(&body).ok().and_then(|entry| entry.payload_hash());
            let statement = hash.map(|hash| self.statement(&hash)).transpose()?.flatten();
            Ok(EntryRows { body, time, set: self.set(index)?, statement })
        });
        rows.collect()
    }
}
