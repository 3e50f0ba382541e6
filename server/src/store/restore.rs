//! Writing rows that were read from a copy of the log. Only `restore` may: the rows were checked
//! against a signed head, and nothing that is committed already is written again.
//!
//! Invariant: until [`Store::finish_restored`] moves the committed head, what was written here is
//! above it, where nobody looks, so that a crash leaves the log as it was.

use rocksdb::{WriteBatch, WriteOptions};
use treering_proto::hash::Hash;
use treering_proto::tile::Tile;
use treering_proto::tree::TreeSize;

use super::columns::{
    ENTRY_BY_INDEX, META, NOTE_BY_SIZE, SET_BY_INDEX, STATEMENT_BY_PAYLOAD_HASH, TIME_BY_INDEX,
};
use super::export::EntryRows;
use super::format::{
    ACCESS_POLICY_KEY, CommittedHead, DATED_KEY, FORMAT_KEY, FROZEN_KEY, HEAD_KEY, NotePair,
    Remembered, WITNESSED_KEY, number_key,
};
use super::{DerivedRows, FORMAT_VERSION, Store, StoreError};

/// Some consecutive entries and everything that goes with them.
pub struct RestoredRows<'a> {
    /// Index of the first entry.
    pub first: u64,
    /// The entries.
    pub entries: &'a [EntryRows],
    /// Hash of each entry's statement, where it has one.
    pub payload_hashes: &'a [Option<Hash>],
    /// Leaves of the entries.
    pub leaves: &'a [Hash],
    /// Search keys of each.
    pub search_keys: &'a [Vec<Hash>],
    /// Tiles that they complete.
    pub full_tiles: &'a [(Tile, Vec<Hash>)],
    /// What was published for sizes among them.
    pub notes: &'a [(TreeSize, NotePair)],
}

/// What is remembered beside the committed head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestoredMeta {
    /// How far the log is committed now.
    pub committed: CommittedHead,
    /// The latest date that stands in no stored note, Unix milliseconds.
    pub date_ms: u64,
    /// Which settings the log remembers.
    pub remembered: Remembered,
}

impl Store {
    /// Writes rows above the committed head. Not synced: [`Store::finish_restored`] does.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn write_restored(&self, restored: &RestoredRows<'_>) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        let entries = (restored.first..).zip(restored.entries).zip(restored.payload_hashes);
        for ((index, entry), payload_hash) in entries {
            let key = number_key(index);
            rows.put_cf(self.column(ENTRY_BY_INDEX), key, &entry.body);
            rows.put_cf(self.column(TIME_BY_INDEX), key, number_key(entry.time));
            if let Some(set) = &entry.set {
                rows.put_cf(self.column(SET_BY_INDEX), key, set);
            }
            if let Some((hash, payload)) = payload_hash.as_ref().zip(entry.statement.as_ref()) {
                rows.put_cf(self.column(STATEMENT_BY_PAYLOAD_HASH), hash.as_bytes(), payload);
            }
        }
        for (size, notes) in restored.notes {
            rows.put_cf(self.column(NOTE_BY_SIZE), number_key(size.get()), notes.to_bytes());
        }
        self.db.write(rows).map_err(|source| self.failed("restore", source))?;
        let RestoredRows { first, leaves, search_keys, full_tiles, .. } = *restored;
        self.rewrite_derived(&DerivedRows { first, leaves, search_keys, full_tiles })
    }

    /// Moves the committed head over what was written, in one synced write: from here on it counts.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn finish_restored(&self, meta: &RestoredMeta) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        let column = self.column(META);
        rows.put_cf(column, FORMAT_KEY, FORMAT_VERSION.to_be_bytes());
        rows.put_cf(column, DATED_KEY, number_key(meta.date_ms.max(self.date()?)));
        let Remembered { witnesses, access_policy, frozen } = meta.remembered;
        rows.put_cf(column, WITNESSED_KEY, [u8::from(witnesses)]);
        rows.put_cf(column, ACCESS_POLICY_KEY, [u8::from(access_policy)]);
        rows.put_cf(column, FROZEN_KEY, [u8::from(frozen)]);
        rows.put_cf(column, HEAD_KEY, meta.committed.to_bytes());
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        self.db.write_opt(rows, &synced).map_err(|source| self.failed("restore", source))
    }
}
