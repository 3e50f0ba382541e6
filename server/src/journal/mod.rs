//! The access journal: one JSON line for each write, refusal and administrative act, each naming
//! the hash of the line before.
//!
//! ```text
//! DIR/journal/LOCK          held for the length of one write, by whoever writes
//! DIR/journal/000001.jsonl  full, or of an earlier day; may be archived and deleted, oldest first
//! DIR/journal/000002.jsonl  the segment that is written
//! ```
//!
//! A line is written before the act that it tells of is acknowledged, and a line that cannot be
//! written fails the request. The server and the commands that an operator runs beside it write the
//! same chain: each takes the lock for one write, and first follows what others wrote since.
//!
//! Invariants:
//! - a write reaches the file whole or is cut off again. Of one that could not be cut off, or that
//!   a killed process left, the next writer keeps the whole lines, cuts off the rest and says so in
//!   a line of its own;
//! - lines that were lost to a full disk are counted by the first line that fits again; of several
//!   that failed at once and could not be cut off, those that were kept are counted, too;
//! - after a sync of unknown outcome nothing is written until the journal is opened again: what the
//!   cache says of the file may not be what the disk holds;
//! - a new segment begins only when the one before is synced.
//!
//! Power loss may take the lines of the last second: `sync` is called every second, and only the
//! log itself, not its journal, promises more.
//!
//! Out of scope: reading for other programs (the lines are plain JSON), and malice of whoever may
//! write the files. `verify` compares with a head that was noted elsewhere.

mod group;
mod line;
mod segment;
mod verify;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use treering_proto::hash::sha256;

pub use self::group::{Lines, abort_on_panic};
use self::line::timestamp;
pub use self::line::{Act, LINE_BYTES_MAX, Line, Record, Text};
pub use self::segment::Head;
pub use self::verify::{Finding, Problem, Report, read, verify};
use crate::anchor::sync_directory_of;
use crate::clock;
use crate::data_directory::give_to_owner;

/// Bytes after which a new segment begins: read at once when the journal is opened.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// A segment holds the lines of one day (UTC), so that a retention in days is whole files.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How long to wait for another writer, who holds the lock for a few microseconds unless it was
/// stopped in the middle.
const LOCK_TIME_MAX: Duration = Duration::from_secs(2);

/// How long to wait between two attempts.
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Why a line is not in the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Reading or writing failed.
    #[error("the journal {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process holds the lock for too long.
    #[error("the journal's {path} is held by another process that does not go on")]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// A line is not as it was written, or does not continue the one before.
    #[error(
        "the journal {path} is damaged. `treering-server journal verify` says where. Keep the directory of the \
         journal under another name, and a new one begins"
    )]
    Broken {
        /// Which segment.
        path: PathBuf,
    },
    /// The segment that is written was cut, renamed or deleted.
    #[error(
        "the journal {path} was cut, renamed or deleted while it was written; only segments before the newest may be \
         archived. Restart to go on"
    )]
    Removed {
        /// Which segment.
        path: PathBuf,
    },
    /// An earlier sync failed, and nobody knows what the disk holds.
    #[error("the journal could not be synced, and nobody knows what the disk holds of it; restart")]
    Unsynced,
    /// The line came after the last that a server that stops writes.
    #[error("the journal takes no more lines: the server stops")]
    Ended,
}

impl JournalError {
    /// Every label, for metrics.
    pub const LABELS: [&str; 6] = ["io", "busy", "broken", "removed", "unsynced", "ended"];

    /// The stable label, in answers and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::Busy { .. } => "busy",
            Self::Broken { .. } => "broken",
            Self::Removed { .. } => "removed",
            Self::Unsynced => "unsynced",
            Self::Ended => "ended",
        }
    }
}

/// The journal of one log, open for writing.
pub struct Journal {
    directory: PathBuf,
    lock: File,
    append: Box<Append>,
    /// How long others may keep the lock.
    patience: Duration,
    state: Mutex<State>,
    /// Whether the last line could not be written, or none can be any more: known without waiting
    /// for whoever writes.
    failing: AtomicBool,
}

/// Writes some bytes at the end of a file, as `write(2)` does.
type Append = dyn Fn(&File, &[u8]) -> io::Result<usize> + Send + Sync;

/// What this process knows of the files. Another may have gone on since.
struct State {
    segment: u64,
    /// For `sync` too, which does not keep writers waiting.
    file: Arc<File>,
    /// Bytes of whole lines.
    len: u64,
    head: Head,
    /// When the first line of the segment was written.
    first_ms: Option<u64>,
    /// Torn bytes that were cut off and not told of yet.
    repaired: bool,
    /// Lines that failed their requests since the last that was written.
    lost: u64,
    unsynced: bool,
    /// Whether somebody else held the lock for too long the last time.
    busy: bool,
}

impl Journal {
    /// Opens the journal in `directory`, makes it if there is none, and cuts off a torn last line.
    ///
    /// # Errors
    /// When a file cannot be used, or its last whole line is not as it was written.
    pub fn open(directory: &Path) -> Result<Self, JournalError> {
        Self::open_with(directory, Box::new(|mut file, bytes| io::Write::write(&mut file, bytes)))
    }

    fn open_with(directory: &Path, append: Box<Append>) -> Result<Self, JournalError> {
        let made = DirBuilder::new().mode(0o700).recursive(true).create(directory);
        made.map_err(segment::failed(directory))?;
        let opened = File::open(directory).map_err(segment::failed(directory))?;
        give_to_owner(&opened, directory).map_err(segment::failed(directory))?;
        let path = directory.join(LOCK);
        let mut options = OpenOptions::new();
        let lock = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let lock = lock.open(&path).map_err(segment::failed(&path))?;
        give_to_owner(&lock, &path).map_err(segment::failed(&path))?;
        let held = Held::take(&lock, &path, LOCK_TIME_MAX)?;
        let mut state = State::open(directory)?;
        state.catch_up(directory)?;
        let is_new = state.head == segment::EMPTY;
        let note = is_new.then(|| own_line("journal-started", 0).text());
        state.append(directory, note.as_slice(), clock::read().wall_ms, &*append)?;
        drop(held);
        let (directory, state) = (directory.to_owned(), Mutex::new(state));
        let failing = AtomicBool::new(false);
        Ok(Self { directory, lock, append, patience: LOCK_TIME_MAX, state, failing })
    }

    /// Writes a line. It is in the file when this returns, and on disk after the next
    /// [`Journal::sync`].
    ///
    /// # Errors
    /// Then the request that it tells of must fail. The next line may succeed.
    pub fn write(&self, line: &Line<'_>) -> Result<(), JournalError> {
        self.write_all_at(&[line.text()], clock::read().wall_ms)
    }

    /// Writes lines as at one time, Unix milliseconds: all of them, or it fails for all of them.
    fn write_all_at(&self, lines: &[Text], time_ms: u64) -> Result<(), JournalError> {
        let mut state = self.state();
        let written = self.write_locked(&mut state, lines, time_ms);
        if written.is_err() {
            state.lost = state.lost.saturating_add(lines.len() as u64);
        }
        self.failing.store(state.is_failing(), Ordering::Relaxed);
        written
    }

    fn write_locked(
        &self,
        state: &mut State,
        lines: &[Text],
        time_ms: u64,
    ) -> Result<(), JournalError> {
        if state.unsynced {
            return Err(JournalError::Unsynced);
        }
        // Whoever waited in vain must not make all others wait, one after the other.
        let patience = if state.busy { Duration::ZERO } else { self.patience };
        let held = Held::take(&self.lock, &self.directory.join(LOCK), patience);
        state.busy = matches!(held, Err(JournalError::Busy { .. }));
        let _held = held?;
        state.catch_up(&self.directory)?;
        state.append(&self.directory, lines, time_ms, &*self.append)
    }

    /// Puts on disk what was written.
    ///
    /// # Errors
    /// Then nothing more is written until the journal is opened again.
    pub fn sync(&self) -> Result<(), JournalError> {
        let (file, segment) = {
            let state = self.state();
            if state.unsynced {
                return Err(JournalError::Unsynced);
            }
            (state.file.clone(), state.segment)
        };
        file.sync_data().map_err(|source| {
            self.state().unsynced = true;
            self.failing.store(true, Ordering::Relaxed);
            JournalError::Io { path: segment::path_of(&self.directory, segment), source }
        })
    }

    /// The last line that this process knows of: worth noting where the journal's files are not.
    pub fn head(&self) -> Head {
        self.state().head
    }

    /// Whether the last line could not be written, or none can be any more.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_failing(&self) -> bool {
        self.unsynced || self.lost > 0
    }

    /// Finds the newest segment and where it ends; makes the first one.
    fn open(directory: &Path) -> Result<Self, JournalError> {
        let numbers = segment::numbers(directory)?;
        let segment = numbers.last().copied().unwrap_or(1);
        let path = segment::path_of(directory, segment);
        let file = Arc::new(segment::open(&path, numbers.is_empty())?);
        let state = |head, len, first_ms| Self {
            segment,
            file,
            len,
            head,
            first_ms,
            repaired: false,
            lost: 0,
            unsynced: false,
            busy: false,
        };
        if numbers.is_empty() {
            sync_directory_of(&path).map_err(segment::failed(&path))?;
        }
        if let Some(walk) = segment::tail(&path)? {
            return Ok(state(walk.head, walk.len, walk.first_ms));
        }
        // The process died before the first line of a segment was whole: the one before ends the
        // chain.
        if segment == 1 {
            return Ok(state(segment::EMPTY, 0, None));
        }
        let before = segment::path_of(directory, segment - 1);
        let walk = segment::tail(&before)?;
        let walk = walk.ok_or(JournalError::Broken { path: before })?;
        Ok(state(walk.head, 0, None))
    }

    /// Follows what other processes wrote, through newer segments too, and cuts off what one of
    /// them left unfinished. Nobody writes meanwhile: the lock is held.
    fn catch_up(&mut self, directory: &Path) -> Result<(), JournalError> {
        loop {
            let path = segment::path_of(directory, self.segment);
            let (len, inode) = segment::measure(&path)?;
            let ours = self.file.metadata().map_err(segment::failed(&path))?.ino();
            if inode != ours || len < self.len {
                return Err(JournalError::Removed { path });
            }
            if len > self.len {
                self.take_in(&path, len)?;
            }
            let next = segment::path_of(directory, self.segment + 1);
            if !next.try_exists().map_err(segment::failed(&next))? {
                return Ok(());
            }
            self.file = Arc::new(segment::open(&next, false)?);
            (self.segment, self.len, self.first_ms) = (self.segment + 1, 0, None);
        }
    }

    fn take_in(&mut self, path: &Path, len: u64) -> Result<(), JournalError> {
        let mut bytes = vec![0; usize::try_from(len - self.len).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, self.len).map_err(segment::failed(path))?;
        let walk = segment::follow(&bytes, self.head, path)?;
        (self.head, self.len) = (walk.head, self.len + walk.len);
        self.first_ms = self.first_ms.or(walk.first_ms);
        if self.len < len {
            self.file.set_len(self.len).map_err(segment::failed(path))?;
            self.repaired = true;
        }
        Ok(())
    }

    /// Writes what has to be told first, and then `lines`.
    fn append(
        &mut self,
        directory: &Path,
        lines: &[Text],
        time_ms: u64,
        append: &Append,
    ) -> Result<(), JournalError> {
        self.begin_segment_if_due(directory, time_ms)?;
        let repaired = self.repaired.then(|| own_line("journal-repaired", 0).text());
        let resumed = (self.lost > 0).then(|| own_line("journal-resumed", self.lost).text());
        let (mut bytes, mut head, time) = (Vec::new(), self.head, timestamp(time_ms));
        for text in repaired.iter().chain(&resumed).chain(lines) {
            let sequence = head.sequence + 1;
            let line = text.chained(sequence, &time, &head.hash.to_hex());
            head = Head { sequence, hash: sha256(&line) };
            bytes.extend_from_slice(&line);
            bytes.push(b'\n');
        }
        if let Err(source) = write_all(&self.file, &bytes, append) {
            // If it cannot be cut off now, whoever writes next finds it, and keeps its whole lines.
            let _ = self.file.set_len(self.len);
            let path = segment::path_of(directory, self.segment);
            return Err(JournalError::Io { path, source });
        }
        self.len += bytes.len() as u64;
        self.head = head;
        self.first_ms = self.first_ms.or((!bytes.is_empty()).then_some(time_ms));
        (self.repaired, self.lost) = (false, 0);
        Ok(())
    }

    fn begin_segment_if_due(&mut self, directory: &Path, now_ms: u64) -> Result<(), JournalError> {
        let Some(first_ms) = self.first_ms else { return Ok(()) };
        // A clock that was set back does not split the day again.
        if self.len < SEGMENT_BYTES_MAX && now_ms / DAY_MS <= first_ms / DAY_MS {
            return Ok(());
        }
        let path = segment::path_of(directory, self.segment);
        if let Err(source) = self.file.sync_data() {
            self.unsynced = true;
            return Err(JournalError::Io { path, source });
        }
        let next = segment::path_of(directory, self.segment + 1);
        self.file = Arc::new(segment::open(&next, true)?);
        (self.segment, self.len, self.first_ms) = (self.segment + 1, 0, None);
        sync_directory_of(&next).map_err(segment::failed(&next))
    }
}

/// The lock, until it is dropped.
struct Held<'a>(&'a File);

impl<'a> Held<'a> {
    fn take(lock: &'a File, path: &Path, patience: Duration) -> Result<Self, JournalError> {
        let started = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self(lock)),
                Err(std::fs::TryLockError::Error(source)) => {
                    return Err(segment::failed(path)(source));
                }
                Err(std::fs::TryLockError::WouldBlock) => {}
            }
            if started.elapsed() >= patience {
                return Err(JournalError::Busy { path: path.to_owned() });
            }
            pause();
        }
    }
}

/// The server calls this where a thread may block.
#[expect(clippy::disallowed_methods, reason = "no wait for a lock has a limit of its own")]
fn pause() {
    std::thread::sleep(LOCK_PAUSE);
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Closing the file would release it, too; an error means that it is held no more.
        let _ = self.0.unlock();
    }
}

fn write_all(file: &File, mut bytes: &[u8], append: &Append) -> io::Result<()> {
    while !bytes.is_empty() {
        match append(file, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What the journal says about itself.
fn own_line(what: &'static str, repeated: u64) -> Line<'static> {
    Line {
        request: "-",
        act: Act::Admin(what),
        principal: "treering-server",
        source: None,
        project: None,
        rule: None,
        kind: None,
        leaf: None,
        index: None,
        outcome: "ok",
        repeated,
    }
}

const LOCK: &str = "LOCK";

#[cfg(test)]
mod tests;
