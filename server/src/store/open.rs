//! Creating and opening the database. The options here are promises, not tuning.

use std::path::{Path, PathBuf};

use rocksdb::{Cache, DB, DBRecoveryMode, Options, WriteBatch, WriteOptions};
use std::sync::Arc;

use super::columns::{FORMAT_VERSION, META, descriptors};
use super::format::{CommittedHead, FORMAT_KEY, HEAD_KEY, IDENTITY_KEY};
use super::{Store, StoreError};
use crate::seeded_bug::{self, SeededBug};
use treering_proto::tree::TreeHead;

/// Memory for blocks, filters and indexes of all columns together, in bytes.
const BLOCK_CACHE_BYTES: usize = 256 << 20;

/// Write-ahead log on disk before memory tables are flushed, in bytes: bounds the time to open
/// after a crash.
pub const WAL_BYTES_MAX: u64 = 64 << 20;

/// Files that RocksDB keeps open; leaves most of a usual limit of 1,024 to connections when it is
/// not raised.
pub const OPEN_FILES_MAX: i32 = 512;

impl Store {
    /// Makes the database of a new log. The directory must not hold one.
    pub fn create(path: &Path, identity: &[u8]) -> Result<Self, StoreError> {
        let mut options = options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_error_if_exists(true);
        let store = Self::open_with(path, &options)?;
        let mut rows = WriteBatch::default();
        let meta = store.column(META);
        rows.put_cf(meta, FORMAT_KEY, FORMAT_VERSION.to_be_bytes());
        rows.put_cf(meta, IDENTITY_KEY, identity);
        let empty = CommittedHead { head: TreeHead::EMPTY, time_ms: 0 };
        rows.put_cf(meta, HEAD_KEY, empty.to_bytes());
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        store.db.write_opt(rows, &synced).map_err(|source| store.failed("create", source))?;
        Ok(store)
    }

    /// Opens the database of an existing log; never creates one.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::open_with(path, &options())?;
        store.check_format()?;
        Ok(store)
    }

    /// Whether the rows follow the table of this program.
    pub(super) fn check_format(&self) -> Result<(), StoreError> {
        let found = self.read_meta(FORMAT_KEY)?;
        let found = found.and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        match found {
            Some(FORMAT_VERSION) => Ok(()),
            Some(found) => Err(StoreError::Format { path: self.db.path().to_owned(), found }),
            None => Err(self.damaged(META, "format")),
        }
    }

    fn open_with(path: &Path, options: &Options) -> Result<Self, StoreError> {
        let cache = Cache::new_hyper_clock_cache(BLOCK_CACHE_BYTES, 0);
        let db = descriptors(path, &cache)
            .and_then(|columns| DB::open_cf_descriptors(options, path, columns))
            .map_err(|source| StoreError::Storage {
                action: "open the database",
                path: path.to_owned(),
                source,
            })?;
        Ok(Self { db: Arc::new(db) })
    }
}

/// The file that the last opening failed for, where RocksDB's error does not name it: `CURRENT`
/// that leads nowhere, or the write-ahead log file that could not be replayed, which only RocksDB's
/// own log names.
pub fn damaged_file(path: &Path) -> Option<PathBuf> {
    let current = path.join("CURRENT");
    let list_of_files = std::fs::read_to_string(&current).ok();
    if !list_of_files.is_some_and(|name| path.join(name.trim_end()).is_file()) {
        return Some(current);
    }
    let text = std::fs::read(path.join("LOG")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().rev().find(|line| line.contains(": dropping "))?;
    let (before, _) = line.split_once(": dropping ")?;
    before.rsplit(' ').next().map(PathBuf::from)
}

pub(super) fn options() -> Options {
    let mut options = Options::default();
    // The default mode, PointInTime, opens with acknowledged entries missing after one flipped bit
    // in the write-ahead log. This one forgives only what a crash leaves: an incomplete record
    // at the very end.
    options.set_wal_recovery_mode(match seeded_bug::is(SeededBug::DefaultWalRecovery) {
        false => DBRecoveryMode::TolerateCorruptedTailRecords,
        true => DBRecoveryMode::PointInTime,
    });
    options.set_paranoid_checks(true);
    options.set_track_and_verify_wals_in_manifest(true);
    // Recycled files would let an old record pass for a new one.
    options.set_recycle_log_file_num(0);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_keep_log_file_num(5);
    options.increase_parallelism(2);
    options
}
