//! The store: typed rows over RocksDB, one writer, any number of readers.
//!
//! Invariants:
//! - one commit writes all rows of a batch, or none, and is on disk when it returns;
//! - a [`Durable`] head exists only for what a commit wrote or what start-up read back;
//! - rows that are written once are never written again with other bytes, except that a note may
//!   get more lines;
//! - RocksDB is named in this folder and nowhere else.
//!
//! What no storage engine can notice, a deleted file, a restored backup, a copied directory, the
//! anchor does.

mod blob_file;
mod columns;
mod export;
pub mod format;
mod open;
mod read;
mod restore;

use std::path::PathBuf;
use std::sync::Arc;

use rocksdb::{ColumnFamily, DB, IteratorMode, WriteBatch, WriteOptions};
use treering_proto::append::{Extension, RightEdge};
use treering_proto::entry::VerifiedEntry;
use treering_proto::facts::{self, Fact};
use treering_proto::hash::Hash;
use treering_proto::tile::{TILE_LEVEL_MAX, TILE_WIDTH, Tile, TileKind, encode_hashes, hashes_at};
use treering_proto::tree::{LeafIndex, TreeHead};

use self::columns::{
    ENTRY_BY_INDEX, INDEX_BY_LEAF, META, NOTE_BY_SIZE, POSTING_BY_SEARCH_KEY, SET_BY_INDEX,
    STATEMENT_BY_PAYLOAD_HASH, TILE_BY_COORDINATE, TIME_BY_INDEX,
};
use self::format::{
    ACCESS_POLICY_KEY, CommittedHead, DATED_KEY, FROZEN_KEY, HEAD_KEY, NotePair, WITNESSED_KEY,
    number_key, posting_key, tile_key,
};

use crate::seeded_bug::{self, SeededBug};

pub use self::columns::FORMAT_VERSION;
pub use self::export::EntryRows;
pub use self::open::{OPEN_FILES_MAX, WAL_BYTES_MAX, damaged_file};
pub use self::read::{Order, Recovered};
pub use self::restore::{RestoredMeta, RestoredRows};

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// RocksDB failed. Whether a write happened is then unknown.
    #[error("{action} in {path}: {source}")]
    Storage {
        /// What was being done.
        action: &'static str,
        /// The database directory.
        path: PathBuf,
        /// What RocksDB says.
        source: rocksdb::Error,
    },
    /// A row does not read back, or is not there and must be.
    #[error(
        "{path}: row {key} of {column} is missing or damaged; restore the directory from a good copy, or run treering-server fsck"
    )]
    Damaged {
        /// The database directory.
        path: PathBuf,
        /// Which column.
        column: &'static str,
        /// Which row.
        key: String,
    },
    /// The directory was written by another version of the program.
    #[error(
        "{path} has format {found}; this program reads format {FORMAT_VERSION}: use the version that wrote it"
    )]
    Format {
        /// The database directory.
        path: PathBuf,
        /// What was found.
        found: u32,
    },
    /// It was changed again and again while it was opened beside its owner.
    #[error("{path} is being changed by its owner too often to be read; try again")]
    Busy {
        /// The database directory.
        path: PathBuf,
    },
}

impl StoreError {
    /// The same, of the file of large values that is damaged, if it is one that RocksDB does not
    /// name. Reads all of these files.
    pub fn naming_the_file(self) -> Self {
        match self {
            Self::Storage { action, path, source }
                if source.kind() == rocksdb::ErrorKind::Corruption =>
            {
                let path = blob_file::damaged_blob_file(&path, columns::with_large_values())
                    .unwrap_or(path);
                Self::Storage { action, path, source }
            }
            other => other,
        }
    }
}

impl StoreError {
    /// Whether what is stored is damaged or incomplete, as far as can be told; otherwise it could
    /// not be reached.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Storage { source, .. } => {
                source.kind() == rocksdb::ErrorKind::Corruption
                    || source.as_ref().contains("No such file or directory")
            }
            Self::Damaged { .. } => true,
            Self::Format { .. } | Self::Busy { .. } => false,
        }
    }
}

/// The rows of one shard.
#[derive(Clone)]
pub struct Store {
    db: Arc<DB>,
}

/// Entries that become rows together.
pub struct Batch<'a> {
    /// Where the first one goes.
    pub first: LeafIndex,
    /// When the batch was sequenced, Unix milliseconds.
    pub time_ms: u64,
    /// The entries, in order.
    pub entries: &'a [&'a VerifiedEntry],
    /// The tree grown by their leaves.
    pub extension: Extension,
}

/// Rows that follow from entries.
pub struct DerivedRows<'a> {
    /// Index of the first entry.
    pub first: u64,
    /// Leaves of the entries.
    pub leaves: &'a [Hash],
    /// Search keys of each.
    pub search_keys: &'a [Vec<Hash>],
    /// Tiles that they complete.
    pub full_tiles: &'a [(Tile, Vec<Hash>)],
}

/// A head whose entries are on disk, not yet checked or signed. Only a commit or start-up makes
/// one.
#[derive(Debug)]
pub struct Durable {
    before: TreeHead,
    edge: RightEdge,
    head: TreeHead,
    time_ms: u64,
}

impl Durable {
    /// The head before the batch.
    pub fn before(&self) -> TreeHead {
        self.before
    }

    /// The head with the batch.
    pub fn head(&self) -> TreeHead {
        self.head
    }

    /// The right edge with the batch.
    pub fn edge(&self) -> &RightEdge {
        &self.edge
    }

    /// When the batch was sequenced, Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }
}

impl Store {
    /// Writes a batch on top of `before` in one synced write.
    ///
    /// # Errors
    /// After an error nobody knows whether the batch is on disk: the caller must stop sequencing,
    /// and start-up finds out.
    pub fn commit(&self, before: TreeHead, batch: Batch<'_>) -> Result<Durable, StoreError> {
        let Batch { first, time_ms, entries, extension } = batch;
        assert!(
            first.get() == before.size.get()
                && extension.head.size.get() == first.get() + entries.len() as u64,
            "a batch continues the log where it ends"
        );
        let mut rows = WriteBatch::with_capacity_bytes(entries.iter().map(|e| row_bytes(e)).sum());
        for (index, entry) in (first.get()..).zip(entries) {
            self.put_entry(&mut rows, index, time_ms / 1000, entry);
        }
        self.put_postings(&mut rows, first, entries);
        self.put_tiles(&mut rows, &extension.full_tiles);
        let committed = CommittedHead { head: extension.head, time_ms };
        rows.put_cf(self.column(META), HEAD_KEY, committed.to_bytes());
        let mut synced = WriteOptions::default();
        synced.set_sync(!seeded_bug::is(SeededBug::NoSync));
        if seeded_bug::is(SeededBug::AckBeforePersist) {
            synced.set_sync(false);
            synced.disable_wal(true);
        }
        self.db.write_opt(rows, &synced).map_err(|source| self.failed("commit", source))?;
        Ok(Durable { before, edge: extension.edge, head: extension.head, time_ms })
    }

    /// Writes what is published for one size: both notes, and the SETs that go with it.
    ///
    /// Not synced: it rides in the next commit's sync. If we crash before that, start-up signs the
    /// same head again, and Ed25519 gives the same bytes.
    pub fn publish(
        &self,
        head: TreeHead,
        notes: &NotePair,
        sets: &[(LeafIndex, Vec<u8>)],
    ) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        let size = number_key(head.size.get());
        rows.put_cf(self.column(NOTE_BY_SIZE), size, notes.to_bytes());
        for (index, set) in sets {
            rows.put_cf(self.column(SET_BY_INDEX), number_key(index.get()), set);
        }
        self.db.write(rows).map_err(|source| self.failed("publish", source))
    }

    /// Remembers a time that was put into a note which is not stored, Unix milliseconds, unless a
    /// later one is remembered. Synced, with all writes before it: a later note must not have an
    /// earlier time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_date(&self, time_ms: u64) -> Result<(), StoreError> {
        let latest = self.date()?.max(time_ms);
        self.put_meta(DATED_KEY, &number_key(latest))
    }

    /// Remembers whether the log waits for witnesses.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_witnessed(&self, is_witnessed: bool) -> Result<(), StoreError> {
        self.put_meta(WITNESSED_KEY, &[u8::from(is_witnessed)])
    }

    /// Remembers whether an access policy says who may write.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put_access_policy(&self, has_one: bool) -> Result<(), StoreError> {
        self.put_meta(ACCESS_POLICY_KEY, &[u8::from(has_one)])
    }

    /// Remembers that the log takes no entries any more. Nothing takes that back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn freeze(&self) -> Result<(), StoreError> {
        self.put_meta(FROZEN_KEY, &[1])
    }

    /// Writes one row of `meta`, synced.
    fn put_meta(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        rows.put_cf(self.column(META), key, value);
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        self.db.write_opt(rows, &synced).map_err(|source| self.failed("remember", source))
    }

    /// Removes the notes for `sizes`.
    pub fn forget_notes(&self, sizes: &[u64]) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        for size in sizes {
            rows.delete_cf(self.column(NOTE_BY_SIZE), number_key(*size));
        }
        self.db.write(rows).map_err(|source| self.failed("thin notes", source))
    }

    /// Takes everything above `head` out, in one synced write. Only `fsck` may: it was never
    /// signed.
    ///
    /// What finds entries is looked through row by row: a damaged entry does not say any more what
    /// it was found by, and a row that stayed would answer for another entry later. Statements
    /// stay, for they may belong to other entries.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn truncate(&self, head: TreeHead) -> Result<(), StoreError> {
        let committed = self.committed()?;
        let mut rows = WriteBatch::default();
        for index in head.size.get()..committed.head.size.get() {
            let key = number_key(index);
            rows.delete_cf(self.column(ENTRY_BY_INDEX), key);
            rows.delete_cf(self.column(TIME_BY_INDEX), key);
            rows.delete_cf(self.column(SET_BY_INDEX), key);
            rows.delete_cf(self.column(NOTE_BY_SIZE), number_key(index + 1));
        }
        for row in self.db.iterator_cf(self.column(INDEX_BY_LEAF), IteratorMode::Start) {
            let (leaf, index) = row.map_err(|source| self.failed("read", source))?;
            if *index >= number_key(head.size.get())[..] {
                rows.delete_cf(self.column(INDEX_BY_LEAF), leaf);
            }
        }
        for row in self.db.iterator_cf(self.column(POSTING_BY_SEARCH_KEY), IteratorMode::Start) {
            let (posting, _) = row.map_err(|source| self.failed("read", source))?;
            let is_above = posting.get(32..).is_some_and(|i| *i >= number_key(head.size.get())[..]);
            if is_above {
                rows.delete_cf(self.column(POSTING_BY_SEARCH_KEY), posting);
            }
        }
        for level in 0..=TILE_LEVEL_MAX {
            let full = |size| hashes_at(level, size) / TILE_WIDTH;
            for index in full(head.size)..full(committed.head.size) {
                rows.delete_cf(self.column(TILE_BY_COORDINATE), tile_key(level, index));
            }
        }
        let committed = CommittedHead { head, time_ms: committed.time_ms };
        rows.put_cf(self.column(META), HEAD_KEY, committed.to_bytes());
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        self.db.write_opt(rows, &synced).map_err(|source| self.failed("truncate", source))
    }

    /// Writes derived rows again. Not synced: whoever rebuilds syncs at the end.
    pub fn rewrite_derived(&self, derived: &DerivedRows<'_>) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        let entries = (derived.first..).zip(derived.leaves).zip(derived.search_keys);
        for ((index, leaf), search_keys) in entries {
            rows.put_cf(self.column(INDEX_BY_LEAF), leaf.as_bytes(), number_key(index));
            for search_key in search_keys {
                let posting = posting_key(search_key, index);
                rows.put_cf(self.column(POSTING_BY_SEARCH_KEY), posting, []);
            }
        }
        self.put_tiles(&mut rows, derived.full_tiles);
        self.db.write(rows).map_err(|source| self.failed("rebuild", source))
    }

    /// Waits until everything written is on disk, for a clean stop.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.db.flush_wal(true).map_err(|source| self.failed("sync", source))
    }

    fn put_tiles(&self, rows: &mut WriteBatch, tiles: &[(Tile, Vec<Hash>)]) {
        for (tile, hashes) in tiles {
            let TileKind::Hashes(level) = tile.kind else {
                unreachable!("appending grows hash tiles")
            };
            let key = tile_key(level, tile.index);
            rows.put_cf(self.column(TILE_BY_COORDINATE), key, encode_hashes(hashes));
        }
    }

    fn put_entry(&self, rows: &mut WriteBatch, index: u64, time: u64, entry: &VerifiedEntry) {
        let key = number_key(index);
        rows.put_cf(self.column(ENTRY_BY_INDEX), key, seeded_bug::written(entry.body()));
        rows.put_cf(self.column(TIME_BY_INDEX), key, number_key(time));
        rows.put_cf(self.column(INDEX_BY_LEAF), entry.leaf().as_bytes(), key);
        if let Some(statement) = entry.statement() {
            let hash: &Hash = &statement.payload_hash;
            let column = self.column(STATEMENT_BY_PAYLOAD_HASH);
            rows.put_cf(column, hash.as_bytes(), &statement.payload);
        }
    }

    /// What the entries of a batch are found by. In order: RocksDB then finds the place of each
    /// near that of the one before, which is still in the processor's cache.
    fn put_postings(&self, rows: &mut WriteBatch, first: LeafIndex, entries: &[&VerifiedEntry]) {
        let postings = (first.get()..).zip(entries).flat_map(|(index, entry)| {
            let key = |fact: &Fact| facts::search_key(fact.tag, &fact.value);
            entry.facts().iter().map(move |fact| posting_key(&key(fact), index))
        });
        let mut postings: Vec<_> = postings.collect();
        postings.sort_unstable();
        for posting in postings {
            rows.put_cf(self.column(POSTING_BY_SEARCH_KEY), posting, []);
        }
    }

    fn column(&self, name: &'static str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("opening made every column of the table")
    }

    fn failed(&self, action: &'static str, source: rocksdb::Error) -> StoreError {
        StoreError::Storage { action, path: self.db.path().to_owned(), source }
    }

    fn damaged(&self, column: &'static str, key: impl ToString) -> StoreError {
        StoreError::Damaged { path: self.db.path().to_owned(), column, key: key.to_string() }
    }
}

/// What the rows of an entry take in a batch of writes, nearly: it then seldom grows.
fn row_bytes(entry: &VerifiedEntry) -> usize {
    const FIXED_BYTES: usize = 160;
    const POSTING_BYTES: usize = 48;
    let statement = entry.statement().map_or(0, |statement| statement.payload.len() + 48);
    FIXED_BYTES + entry.body().len() + statement + entry.facts().len() * POSTING_BYTES
}
