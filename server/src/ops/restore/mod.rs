//! `restore`: makes a data directory from a backup.
//!
//! One pass: each row is checked as `backup verify` does, written, and read back; `FORMAT` is
//! written last, after the trailer of the backup was right and the whole was compared with its
//! signed head. Whatever fails before leaves a directory that is no log, which a second run
//! replaces. The directory carries a mark ([`crate::restored`]) and is read-only until it is known
//! to be complete.
//!
//! Invariants: the anchor is read and never written; rows are carried over and never made up.

mod keys;
mod load;
pub mod new_log;
pub mod refill;

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use treering_proto::append::RightEdge;
use treering_proto::checkpoint::OpenCheckpointError;
use treering_proto::identity::{IdentityError, LogIdentity};
use treering_proto::tree::TreeHead;

use self::keys::Keys;
use self::load::{Keep, Loader};
use super::backup::format::{FormatError, LogRecord, Reader};
use super::backup::verify::{READ_BYTES, start};
use super::backup::{BackupError, rows};
use super::stop::StopPoint;
use crate::anchor::{Anchor, AnchorError};
use crate::data_directory::{DataDirectory, DirectoryError, PublicFiles};
use crate::ops::claim::random_id;
use crate::ops::init::InitError;
use crate::restored::{Floor, Fork, Mark, StandingError, check_floor, own_head};
use crate::selfcheck::SelfCheckError;
use crate::signer::KeyFileError;
use crate::startup::StartError;
use crate::store::{Store, StoreError};
use crate::timestamp::AuthorityError;

/// What is restored, and where.
pub struct Restore {
    /// The backup.
    pub backup: PathBuf,
    /// The directory to make.
    pub data: PathBuf,
    /// The log's anchor.
    pub anchor: PathBuf,
    /// Whether it is lost for good, and is still to be made anew there.
    pub lost_anchor: bool,
    /// A directory with the log's private keys.
    pub keys: PathBuf,
    /// Checkpoints of the log that somebody kept.
    pub checkpoints: Vec<PathBuf>,
}

/// What was restored.
#[derive(Clone, Copy, Debug)]
pub struct Restored {
    /// What the directory holds now.
    pub head: TreeHead,
    /// How many entries are known to be missing.
    pub missing: u64,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup is not whole.
    #[error("{path}: {source}. Nothing that was read of it counts; take another backup")]
    Format {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: FormatError,
    },
    /// The backup contradicts itself, or the other copy does.
    #[error("{path}: {problem}. Nothing that was read of it counts; take another copy")]
    Damaged {
        /// Which file or directory.
        path: PathBuf,
        /// The first thing that is wrong.
        problem: String,
    },
    /// The directory is not free, or no log.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The anchor cannot vouch.
    #[error(
        "{0}\n  If it is lost for good: restore with --lost-anchor and --checkpoint, then claim"
    )]
    Anchor(#[from] AnchorError),
    /// The keys are not those of the log.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The key of its timestamp authority cannot be used.
    #[error("the file timestamp.pem among the keys: {0}")]
    Timestamps(#[from] AuthorityError),
    /// What an interrupted restore left there is removed when it is repeated.
    #[error(
        "{keys} lies inside {data}, which is made anew: the keys would be removed. Give those that were kept elsewhere, \
         or move these out first"
    )]
    KeysInside {
        /// Where the keys are.
        keys: PathBuf,
        /// The directory to make.
        data: PathBuf,
    },
    /// The identity document does not say who the log is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Rows cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rows read back differently.
    #[error(transparent)]
    SelfCheck(#[from] SelfCheckError),
    /// Another tree was signed.
    #[error(transparent)]
    Fork(Box<Fork>),
    /// A checkpoint given by hand is none of this log.
    #[error("{path}: not a checkpoint of this log: {source}")]
    Checkpoint {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: OpenCheckpointError,
    },
    /// The anchor has another name than the backup knows.
    #[error(
        "the anchor {anchor} is not the one that the log had when the backup was made: it belongs to another log, or was \
         made anew since. In the second case give a checkpoint of this log with exactly its {size} entries, too: --checkpoint FILE"
    )]
    OtherAnchor {
        /// Which anchor.
        anchor: PathBuf,
        /// Its size.
        size: u64,
    },
    /// The anchor is older than the backup.
    #[error(
        "the anchor {anchor} says that {signed} entries were signed, but the backup holds a checkpoint of {published}: the \
         anchor is an older copy. Put the newest one in place; if it is lost for good, restore with --lost-anchor"
    )]
    AnchorBehind {
        /// Which anchor.
        anchor: PathBuf,
        /// The size in the anchor.
        signed: u64,
        /// The size of the backup.
        published: u64,
    },
    /// There is nothing to refill.
    #[error(
        "{path} holds {stored} entries, and nothing says that more were signed: nothing is missing"
    )]
    NothingMissing {
        /// Which directory.
        path: PathBuf,
        /// What it holds.
        stored: u64,
    },
    /// The other copy is too short.
    #[error(
        "{path} has {available} entries; the least that can be proved is the {needed} of {source_name}. Take a newer copy, \
         or give a checkpoint that it covers: --checkpoint FILE"
    )]
    TooShort {
        /// Which copy.
        path: PathBuf,
        /// What it has.
        available: u64,
        /// What is needed.
        needed: u64,
        /// Who knows of it.
        source_name: String,
    },
    /// The other copy is of another log.
    #[error("{path} is a copy of another log")]
    OtherLog {
        /// Which copy.
        path: PathBuf,
    },
    /// The other copy cannot be read.
    #[error(transparent)]
    Source(#[from] BackupError),
    /// The directory to refill does not open.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The new log cannot be made.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The new log was begun, and is none.
    #[error(
        "{source}\n  What was made is no log. Before you repeat the command remove {data}{}",
        anchor.as_ref().map(|anchor| format!(", and {}", anchor.display())).unwrap_or_default()
    )]
    Unfinished {
        /// The directory.
        data: PathBuf,
        /// The anchor, if it was made.
        anchor: Option<PathBuf>,
        /// What went wrong.
        source: Box<RestoreError>,
    },
    /// Something is where the new log would be made, and it is no log.
    #[error(
        "{path} is there already, and {data} is no log. If an interrupted restore --as-new-log left them, remove both and \
         repeat it; otherwise choose another place"
    )]
    NotFree {
        /// What is in the way.
        path: PathBuf,
        /// The directory to make.
        data: PathBuf,
    },
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl From<StandingError> for RestoreError {
    fn from(error: StandingError) -> Self {
        match error {
            StandingError::Directory(error) => error.into(),
            StandingError::Store(error) => error.into(),
            StandingError::Fork(fork) => Self::Fork(fork),
        }
    }
}

/// Restores. `progress` hears how many entries were written, and of how many.
///
/// # Errors
/// [`RestoreError`]; there is then no log in the directory.
pub fn restore(
    restore: &Restore,
    progress: impl FnMut(u64, u64),
) -> Result<Restored, RestoreError> {
    let (mut reader, log) = open_backup(&restore.backup)?;
    let identity = LogIdentity::open(log.public.identity.as_bytes())?;
    let keys = Keys::read(&restore.keys, &restore.data)?;
    keys::check(&restore.keys, &identity, &log)?;
    let public = PublicFiles { timestamp_chain: keys.timestamp_chain()?, ..log.public.clone() };
    let mut mark = Mark::default();
    for path in &restore.checkpoints {
        mark.add(read_checkpoint(path, &identity)?, &format!("the checkpoint {}", path.display()));
    }
    // Held until the end, so that nobody goes on with it in the meantime.
    let anchor = match restore.lost_anchor {
        false => Some(Anchor::open(&restore.anchor)?),
        true if restore.anchor.exists() => {
            return Err(AnchorError::Exists { path: restore.anchor.clone() }.into());
        }
        true => None,
    };
    if let Some(anchor) = &anchor {
        check_anchor(anchor, &log, &mark)?;
    }
    let id = anchor.as_ref().map_or_else(random_id, Anchor::id);
    let directory =
        DataDirectory::create_restored(&restore.data, &restore.anchor, id, &mark.to_text())?;
    keys.write(&directory.keys())?;
    // What was written, not what was read: it could be another file by now.
    keys::check(&directory.path().join("keys"), &identity, &log)?;
    let shard = directory.shard(identity.tree_id());
    let store = Store::create(&shard, log.public.identity.as_bytes())?;
    let loader = Loader::new(&store, RightEdge::EMPTY, Keep::All, StopPoint::new("restore"));
    let loader = load(&mut reader, &restore.backup, &log, loader, progress)?;
    let head = loader.finish(log.time_ms, log.date_ms, log.remembered)?;
    let source = format!("the anchor {}", restore.anchor.display());
    let anchored = anchor.as_ref().map(|anchor| Floor { head: anchor.head(), source });
    let mut missing = 0;
    for floor in mark.floors().iter().chain(&anchored) {
        match floor.head.size.get().checked_sub(head.size.get()) {
            None | Some(0) => check_floor(&store, floor, shard.clone())?,
            Some(more) => missing = more.max(missing),
        }
    }
    directory.finish(&public)?;
    Ok(Restored { head, missing })
}

type FileReader = Reader<BufReader<File>>;

/// Opens a backup at its first row.
fn open_backup(path: &Path) -> Result<(FileReader, LogRecord), RestoreError> {
    let file =
        File::open(path).map_err(|source| RestoreError::Io { path: path.to_owned(), source })?;
    Reader::new(BufReader::with_capacity(READ_BYTES, file)).map_err(broken(path))
}

/// Checks every row of a backup, and loads it; the trailer was right when this returns.
fn load<'a>(
    reader: &mut FileReader,
    path: &Path,
    log: &LogRecord,
    mut loader: Loader<'a>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Loader<'a>, RestoreError> {
    let mut checker = start(log)?;
    let mut entries = 0;
    let counts = rows::of_backup(reader, |at, row| {
        checker.take(&format!("byte {at}"), &row);
        sound(path, checker.problems())?;
        if matches!(row, rows::Row::Entry(_)) {
            entries += 1;
            progress(entries, log.head.size.get());
        }
        loader.take(row).map_err(Step::Restore)
    });
    let counts = counts.map_err(|step: Step| step.of(path))?;
    checker.end(log);
    checker.count(counts);
    sound(path, checker.problems())?;
    Ok(loader)
}

/// What can go wrong while a backup is read.
enum Step {
    Format(FormatError),
    Restore(RestoreError),
}

impl Step {
    fn of(self, path: &Path) -> RestoreError {
        match self {
            Self::Format(error) => broken(path)(error),
            Self::Restore(error) => error,
        }
    }
}

impl From<FormatError> for Step {
    fn from(error: FormatError) -> Self {
        Self::Format(error)
    }
}

impl From<RestoreError> for Step {
    fn from(error: RestoreError) -> Self {
        Self::Restore(error)
    }
}

fn broken(path: &Path) -> impl Fn(FormatError) -> RestoreError {
    let path = path.to_owned();
    move |source| match source {
        FormatError::Io(source) => RestoreError::Io { path: path.clone(), source },
        source => RestoreError::Format { path: path.clone(), source },
    }
}

/// The first problem is the end.
fn sound(path: &Path, problems: &[String]) -> Result<(), RestoreError> {
    let Some(problem) = problems.first() else { return Ok(()) };
    Err(RestoreError::Damaged { path: path.to_owned(), problem: problem.clone() })
}

fn read_checkpoint(path: &Path, identity: &LogIdentity) -> Result<TreeHead, RestoreError> {
    let note =
        std::fs::read(path).map_err(|source| RestoreError::Io { path: path.to_owned(), source })?;
    own_head(&note, identity)
        .map_err(|source| RestoreError::Checkpoint { path: path.to_owned(), source })
}

/// Whether the anchor is the log's, and no older than the backup. Its root is compared later, when
/// the entries are there.
fn check_anchor(anchor: &Anchor, log: &LogRecord, mark: &Mark) -> Result<(), RestoreError> {
    let (path, head) = (anchor.path().to_owned(), anchor.head());
    let is_vouched_for = mark.floors().iter().any(|floor| floor.head == head);
    if anchor.id() != log.anchor_id && !is_vouched_for {
        return Err(RestoreError::OtherAnchor { anchor: path, size: head.size.get() });
    }
    if head.size < log.head.size {
        let (signed, published) = (head.size.get(), log.head.size.get());
        return Err(RestoreError::AnchorBehind { anchor: path, signed, published });
    }
    Ok(())
}
