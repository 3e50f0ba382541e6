//! Reading a log while another process writes it, and what is stored of an entry, as one piece.
//!
//! The database is opened read-only beside its owner: RocksDB then takes no lock and writes
//! nothing, and it recovers as the owner would, so that a file that is missing or damaged is an
//! error. What is read is the log as it was when it was opened.
//!
//! Invariant: the list of files does not change while the database is opened. A flush in between
//! could remove a write-ahead log that the old list needs, and RocksDB cannot tell that from one
//! that was never there.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use rocksdb::{Cache, DB};
use treering_proto::entry::Entry;
use treering_proto::tree::LeafIndex;

use super::columns::{TIME_BY_INDEX, descriptors};
use super::open::options;
use super::{Store, StoreError};

/// Memory for blocks, in bytes: the log is read once, from front to back.
const CACHE_BYTES: usize = 16 << 20;

/// How often the database is opened whose list of files changed in the meantime, and the wait
/// between two times: the start of a server changes it for some tenths of a second.
const TRIES_MAX: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

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
    /// Opens the database of a log that may be in use, to be read as it is now.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Busy`] when its owner does not leave it alone for long enough.
    #[expect(clippy::disallowed_methods, reason = "a command of its own; nobody else waits")]
    pub fn open_beside(path: &Path) -> Result<Self, StoreError> {
        for _ in 0..TRIES_MAX {
            let before = list_of_files(path);
            let opened = Self::open_read_only(path);
            // Every log file that goes is taken off the list first.
            if list_of_files(path) == before {
                let store = opened?;
                store.check_format()?;
                return Ok(store);
            }
            drop(opened);
            sleep(PAUSE);
        }
        Err(StoreError::Busy { path: path.to_owned() })
    }

    fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let mut options = options();
        // All table files are opened at once: the damaged are found, and the others stay readable
        // when their owner removes them.
        options.set_max_open_files(-1);
        let columns = descriptors(path, &Cache::new_hyper_clock_cache(CACHE_BYTES, 0));
        let db = columns
            .and_then(|columns| DB::open_cf_descriptors_read_only(&options, path, columns, false));
        let db = db.map_err(|source| StoreError::Storage {
            action: "open the database beside its owner",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { db: Arc::new(db) })
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

/// Which list of files counts (its name), and how long it is: it only grows. `None` if there is
/// none.
fn list_of_files(path: &Path) -> Option<(String, u64)> {
    let name = fs::read_to_string(path.join("CURRENT")).ok()?;
    let length = fs::metadata(path.join(name.trim_end())).ok()?.len();
    Some((name, length))
}
