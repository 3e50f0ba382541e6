//! `backup`: writes everything that a log has published into one file, beside a running server.
//!
//! It opens the database beside its owner ([`crate::store`]), as it is at one moment, reads it up
//! to the newest published size, and checks every row while it is written: a backup that does not
//! verify gets no name. What is left out is what must not be in it: the anchor, because a restored
//! anchor notices nothing; private keys, because they never change and a file that is made every
//! night is in many hands, and the certificates of the timestamp authority, which stand in the file
//! of its key; derived rows, because `restore` makes them again.
//!
//! Invariants: the file is complete and on disk before it has its name; it replaces no other.

pub mod check;
pub mod format;
mod new_file;
pub mod rows;
pub mod verify;

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use treering_proto::append::RightEdge;
use treering_proto::identity::{IdentityError, LogIdentity};
use treering_proto::tree::{TreeHead, TreeSize};

use self::check::Checker;
use self::format::{Counts, EntryRecord, LogRecord, Writer};
use self::rows::Row;
use crate::anchor::sync_directory_of;
use crate::data_directory::{DataDirectory, DirectoryError, PublicFiles};
use crate::store::{FORMAT_VERSION, Store, StoreError};

/// How often the database is read from the beginning when a row cannot be read: its owner may have
/// removed a file in the meantime.
const TRIES_MAX: u32 = 5;

/// A backup that was written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// What was published.
    pub head: TreeHead,
    /// What the file holds.
    pub counts: Counts,
    /// How long it is.
    pub bytes: u64,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory is not a log.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Its identity document is damaged.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Rows do not read back.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rows contradict each other.
    #[error(
        "the log is damaged, and no backup was made: {problem}. Keep the last good backup, and see \
         treering-server fsck"
    )]
    Damaged {
        /// The first thing that is wrong.
        problem: String,
    },
    /// Entries without any note.
    #[error(
        "{path} holds {size} entries and no checkpoint of them: either its notes are lost, or it is \
         a new log that was never started; start it once"
    )]
    NeverPublished {
        /// The database directory.
        path: PathBuf,
        /// How many entries are committed.
        size: TreeSize,
    },
    /// The file is there already.
    #[error("{path} exists already, and a backup never replaces another; give it another name")]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Writes a backup of the log in `data`, which may be in use, to `out`. `progress` hears how many
/// entries were written, and of how many.
///
/// # Errors
/// [`BackupError`]; `out` is then not there.
pub fn write(
    data: &Path,
    out: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Written, BackupError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::Io { path, source }
    };
    if out.exists() {
        return Err(BackupError::Exists { path: out.to_owned() });
    }
    let unfinished = beside(out, ".new");
    let file = new_file::open(&unfinished).map_err(failed(&unfinished))?;
    let mut written = write_to(data, &file, &mut progress);
    for _ in 1..TRIES_MAX {
        let Err(BackupError::Store(StoreError::Storage { .. } | StoreError::Damaged { .. })) =
            written
        else {
            break;
        };
        written = write_to(data, &file, &mut progress);
    }
    let written = written.map_err(|error| match error {
        BackupError::Io { source, .. } => failed(&unfinished)(source),
        other => other,
    });
    let finished = written.and_then(|written| {
        file.sync_all().map_err(failed(&unfinished))?;
        match new_file::publish(&unfinished, out) {
            Ok(()) => Ok(written),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(BackupError::Exists { path: out.to_owned() })
            }
            Err(error) => Err(failed(out)(error)),
        }
    });
    if finished.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    let written = finished?;
    sync_directory_of(out).map_err(failed(out))?;
    Ok(written)
}

/// One try: the file is written from its beginning.
fn write_to(
    data: &Path,
    file: &File,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Written, BackupError> {
    let failed = |source| BackupError::Io { path: PathBuf::new(), source };
    let (store, log) = open(data)?;
    file.set_len(0).map_err(failed)?;
    io::Seek::rewind(&mut &*file).map_err(failed)?;
    let mut writer = Writer::new(BufWriter::new(file), &log).map_err(failed)?;
    let mut checker = Checker::new(&log.public, RightEdge::EMPTY, 0)?;
    let mut entries = 0;
    rows::of_store(&store, 0, log.head.size, |row| {
        checker.take("in the database", &row);
        if let Some(problem) = checker.problems().first() {
            return Err(BackupError::Damaged { problem: problem.clone() });
        }
        match row {
            Row::Entry(rows) => {
                if let Some(payload) = &rows.statement {
                    writer.statement(payload).map_err(failed)?;
                }
                let entry = EntryRecord { time: rows.time, set: rows.set, body: rows.body };
                writer.entry(&entry).map_err(failed)?;
                entries += 1;
                if entries % PROGRESS_ENTRIES == 0 {
                    progress(entries, log.head.size.get());
                }
            }
            Row::Notes(size, notes) => writer.notes(size, &notes).map_err(failed)?,
        }
        Ok(())
    })?;
    checker.end(&log);
    if let Some(problem) = checker.problems().first() {
        return Err(BackupError::Damaged { problem: problem.clone() });
    }
    let (_, bytes) = writer.finish().map_err(failed)?;
    Ok(Written { head: log.head, counts: checker.counts(), bytes })
}

/// Opens the database of the log in `data` beside whoever uses it, and says what is published.
///
/// # Errors
/// [`BackupError`].
pub fn open(data: &Path) -> Result<(Store, LogRecord), BackupError> {
    let public = PublicFiles { timestamp_chain: None, ..DataDirectory::public(data)? };
    let anchor_id = DataDirectory::anchor_id(data)?;
    let identity = LogIdentity::open(public.identity.as_bytes())?;
    let shard = DataDirectory::shard_in(data, identity.tree_id());
    let store = Store::open_beside(&shard)?;
    let committed = store.committed()?;
    let newest = store.notes_up_to(committed.head.size)?;
    let head = match newest {
        Some((size, _)) => store.head_at(size)?,
        None if committed.head == TreeHead::EMPTY => TreeHead::EMPTY,
        None => return Err(BackupError::NeverPublished { path: shard, size: committed.head.size }),
    };
    let log = LogRecord {
        store_format: FORMAT_VERSION,
        anchor_id,
        head,
        time_ms: committed.time_ms,
        date_ms: store.date()?,
        remembered: store.remembered()?,
        public,
    };
    Ok((store, log))
}

/// A name beside `path`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(ending);
    name.into()
}

const PROGRESS_ENTRIES: u64 = 1000;
