//! The rows of a log in the order of a backup, wherever they come from: a database, or a backup.
//!
//! Invariant: nothing is left out silently. An entry without a time, a statement without its entry
//! and notes that do not read back are errors.

use std::io::Read;

use treering_proto::tree::TreeSize;

use super::format::{Counts, EntryRecord, FormatError, Reader, Record};
use crate::store::format::NotePair;
use crate::store::{EntryRows, Store, StoreError};

/// Entries and notes read at once: bounds memory.
const ENTRIES_AT_ONCE: u64 = 64;
const NOTES_AT_ONCE: usize = 64;

/// One piece of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Row {
    /// The next entry.
    Entry(EntryRows),
    /// What was published for the entries so far.
    Notes(TreeSize, NotePair),
}

/// Hands over the rows of `store` from entry `first` on, up to `end`, with the notes above `first`;
/// from 0 also those of the empty tree.
///
/// # Errors
/// What reading or `take` says.
pub fn of_store<E: From<StoreError>>(
    store: &Store,
    first: u64,
    end: TreeSize,
    mut take: impl FnMut(Row) -> Result<(), E>,
) -> Result<(), E> {
    let mut notes =
        NoteCursor { store, next: if first == 0 { 0 } else { first + 1 }, page: vec![] };
    let mut index = first;
    let mut publish = |size: u64, take: &mut dyn FnMut(Row) -> Result<(), E>| match notes.at(size) {
        Ok(Some(pair)) => take(Row::Notes(tree_size(size), pair)),
        Ok(None) => Ok(()),
        Err(error) => Err(error.into()),
    };
    if first == 0 {
        publish(0, &mut take)?;
    }
    while index < end.get() {
        let count = ENTRIES_AT_ONCE.min(end.get() - index);
        for rows in store.entry_rows(index, count)? {
            take(Row::Entry(rows))?;
            index += 1;
            publish(index, &mut take)?;
        }
    }
    Ok(())
}

/// Hands over the rows of a backup whose log record was read; returns what its end says.
///
/// # Errors
/// What reading or `take` says.
pub fn of_backup<R: Read, E: From<FormatError>>(
    reader: &mut Reader<R>,
    mut take: impl FnMut(u64, Row) -> Result<(), E>,
) -> Result<Counts, E> {
    let mut statement = None;
    let mut counts = None;
    loop {
        let at = reader.position();
        let Some(record) = reader.next()? else { break };
        match record {
            Record::Statement(payload) if statement.is_none() => statement = Some(payload),
            Record::Entry(EntryRecord { time, set, body }) => {
                let statement = statement.take();
                take(at, Row::Entry(EntryRows { body, time, set, statement }))?;
            }
            Record::Notes(size, notes) if statement.is_none() => take(at, Row::Notes(size, notes))?,
            Record::End(found) if statement.is_none() => counts = Some(found),
            _ => {
                let what = "a record that must not stand here";
                return Err(FormatError::Malformed { at, what }.into());
            }
        }
    }
    let at = reader.position();
    let what = "the end of the backup is missing";
    counts.ok_or_else(|| FormatError::Malformed { at, what }.into())
}

/// Stored notes, by size.
struct NoteCursor<'a> {
    store: &'a Store,
    next: u64,
    /// Read ahead; the last one comes first.
    page: Vec<(u64, NotePair)>,
}

impl NoteCursor<'_> {
    /// The notes for `size`; sizes are asked for in order.
    fn at(&mut self, size: u64) -> Result<Option<NotePair>, StoreError> {
        if self.page.is_empty() && self.next <= size {
            self.page = self.store.notes_from(self.next, NOTES_AT_ONCE)?;
            self.page.reverse();
            self.next = self.page.first().map_or(u64::MAX, |(last, _)| last + 1);
        }
        let is_next = self.page.last().is_some_and(|(next, _)| *next == size);
        Ok(if is_next { self.page.pop().map(|(_, notes)| notes) } else { None })
    }
}

fn tree_size(size: u64) -> TreeSize {
    TreeSize::new(size).expect("a size up to the end of a tree is a tree size")
}
