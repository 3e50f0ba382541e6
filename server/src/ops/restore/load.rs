//! Loads rows that were checked into a database, a bounded number at a time, and reads each of them
//! back by the second path before it counts.

use treering_proto::append::RightEdge;
use treering_proto::entry::Entry;
use treering_proto::facts::search_key;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::tree::{TreeHead, TreeSize};

use super::RestoreError;
use crate::ops::backup::rows::Row;
use crate::ops::stop::StopPoint;
use crate::selfcheck::SelfCheck;
use crate::store::format::{CommittedHead, NotePair, Remembered};
use crate::store::{EntryRows, Recovered, RestoredMeta, RestoredRows, Store};

/// Entries, and bytes of them with their statements, that are written together.
const ENTRIES_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 16 << 20;

/// What is written of each row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// Everything.
    All,
    /// Entries, times and statements: notes and SETs name the log that made them.
    Entries,
}

/// Rows on their way into a database.
pub struct Loader<'a> {
    store: &'a Store,
    keep: Keep,
    edge: RightEdge,
    selfcheck: SelfCheck,
    entries: Vec<EntryRows>,
    bytes: usize,
    notes: Vec<(TreeSize, NotePair)>,
    stop: StopPoint,
}

impl<'a> Loader<'a> {
    /// Goes on from `start`, the tree that is committed already.
    pub fn new(store: &'a Store, start: RightEdge, keep: Keep, stop: StopPoint) -> Self {
        let selfcheck = SelfCheck::new(&start);
        let (entries, notes) = (Vec::new(), Vec::new());
        Self { store, keep, edge: start, selfcheck, entries, bytes: 0, notes, stop }
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// If rows cannot be written, or read back differently.
    pub fn take(&mut self, row: Row) -> Result<(), RestoreError> {
        match row {
            Row::Entry(mut entry) => {
                if self.keep == Keep::Entries {
                    entry.set = None;
                }
                self.bytes += entry.body.len() + entry.statement.as_ref().map_or(0, Vec::len);
                self.entries.push(entry);
            }
            Row::Notes(size, notes) if self.keep == Keep::All => {
                self.bytes += notes.note.len() + notes.v1_note.len();
                self.notes.push((size, notes));
            }
            Row::Notes(..) => {}
        }
        if self.entries.len() >= ENTRIES_AT_ONCE || self.bytes >= BYTES_AT_ONCE {
            self.write()?;
        }
        Ok(())
    }

    /// Writes what is left. Returns the head that everything leads to, which does not count yet.
    ///
    /// # Errors
    /// If rows cannot be written, or read back differently.
    pub fn head(&mut self) -> Result<TreeHead, RestoreError> {
        self.write()?;
        Ok(self.edge.head())
    }

    /// Writes what is left, and lets everything count. Returns the head.
    ///
    /// # Errors
    /// If rows cannot be written, or read back differently.
    pub fn finish(
        mut self,
        time_ms: u64,
        date_ms: u64,
        remembered: Remembered,
    ) -> Result<TreeHead, RestoreError> {
        let head = self.head()?;
        let committed = CommittedHead { head, time_ms };
        self.stop.pass("end");
        self.store.finish_restored(&RestoredMeta { committed, date_ms, remembered })?;
        Ok(head)
    }

    fn write(&mut self) -> Result<(), RestoreError> {
        let entries = std::mem::take(&mut self.entries);
        let notes = std::mem::take(&mut self.notes);
        self.bytes = 0;
        if entries.is_empty() && notes.is_empty() {
            return Ok(());
        }
        let before = self.edge.head();
        let leaves: Vec<Hash> = entries.iter().map(|entry| hash_leaf(&entry.body)).collect();
        let grown = self.edge.extend(&leaves).expect("these entries were a tree before");
        let parsed: Vec<_> = entries.iter().map(|entry| Entry::parse(&entry.body).ok()).collect();
        let payload_hashes: Vec<_> =
            parsed.iter().map(|entry| entry.as_ref().and_then(Entry::payload_hash)).collect();
        let search_keys: Vec<Vec<Hash>> = parsed
            .iter()
            .zip(&entries)
            .map(|(entry, rows)| {
                let facts = entry.as_ref().map(|entry| entry.facts(rows.statement.as_deref()));
                let facts = facts.unwrap_or_default();
                facts.iter().map(|fact| search_key(fact.tag, &fact.value)).collect()
            })
            .collect();
        self.store.write_restored(&RestoredRows {
            first: before.size.get(),
            entries: &entries,
            payload_hashes: &payload_hashes,
            leaves: &leaves,
            search_keys: &search_keys,
            full_tiles: &grown.full_tiles,
            notes: &notes,
        })?;
        self.stop.pass("rows");
        self.edge = grown.edge;
        // Read back by code that shares nothing with what grew the tree here.
        let recovered = Recovered { edge: self.edge.clone(), time_ms: 0 };
        let durable = self.store.found_durable(before, &recovered);
        self.selfcheck.check(self.store, durable)?;
        Ok(())
    }
}
