//! `restore --refill`: puts back the entries that a directory is missing, from another copy of the
//! log: a newer backup, or another data directory, which may be in use or damaged at its end.
//!
//! Two passes over the other copy. The first proves that its entries continue the tree of the
//! directory to the root that was signed: the one in the anchor, or in a checkpoint that was given
//! by hand or came from a witness. The second checks them again and writes them, and moves the
//! committed head at its end, if they led to the same root.
//! A crash in between leaves the log as it was, and the command can be repeated.
//!
//! Invariants: nothing is written that does not lead to a signed root; times, SETs, statements and
//! notes are those of the other copy; the anchor is read and never written.

use std::path::{Path, PathBuf};

use treering_proto::append::RightEdge;
use treering_proto::identity::LogIdentity;
use treering_proto::tree::{LeafIndex, TreeHead};

use super::load::{Keep, Loader};
use super::{RestoreError, Restored, Step, broken, open_backup, read_checkpoint, sound};
use crate::anchor::{Anchor, AnchorError};
use crate::data_directory::DataDirectory;
use crate::ops::backup;
use crate::ops::backup::check::Checker;
use crate::ops::backup::format::LogRecord;
use crate::ops::backup::rows::{self, Row};
use crate::ops::stop::StopPoint;
use crate::restored::{Floor, Mark, check_floor};
use crate::startup::open_store;
use crate::store::Store;
use crate::store::format::Remembered;

/// What is refilled, and from where.
pub struct Refill {
    /// A backup, or a data directory.
    pub source: PathBuf,
    /// The directory that is behind.
    pub data: PathBuf,
    /// Its anchor, if it is not where it was last.
    pub anchor: Option<PathBuf>,
    /// Checkpoints of the log that somebody kept.
    pub checkpoints: Vec<PathBuf>,
}

/// The directory that is behind.
struct Behind {
    directory: DataDirectory,
    identity: LogIdentity,
    store: Store,
    /// What it holds.
    edge: RightEdge,
    time_ms: u64,
    /// The time of its newest entry, Unix seconds.
    time: u64,
    /// What is known to have been signed.
    floors: Vec<Floor>,
    /// Held, so that nobody goes on with it in the meantime.
    _anchor: Option<Anchor>,
}

/// Refills. `progress` hears how many entries were looked at, and of how many in both passes.
///
/// # Errors
/// [`RestoreError`]; the directory is then as it was.
pub fn refill(
    refill: &Refill,
    mut progress: impl FnMut(u64, u64),
) -> Result<Restored, RestoreError> {
    let behind = open(refill)?;
    let copy = Copy::open(&refill.source)?;
    copy.check(&behind)?;
    fill(&behind, &copy, &mut progress)
}

fn fill(
    behind: &Behind,
    copy: &Copy,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, RestoreError> {
    let stored = behind.edge.head();
    let target = behind.target(copy)?;
    let total = 2 * (target.head.size.get() - stored.size.get());
    let mut looked_at = 0;
    let mut look = |row: &Row| {
        if matches!(row, Row::Entry(_)) {
            looked_at += 1;
            progress(looked_at, total);
        }
    };

    let public = &copy.log().public;
    let mut checker = Checker::new(public, behind.edge.clone(), behind.time)?;
    checker.refuse_future(copy.log());
    copy.rows(stored, target.head, |place, row| {
        look(&row);
        checker.take(&place, &row);
        sound(copy.path(), checker.problems())
    })?;
    let led_to = checker.head();
    if led_to != target.head {
        return Err(RestoreError::Damaged {
            path: copy.path().to_owned(),
            problem: format!(
                "its entries lead to {led_to:?}, and {} says that {:?} was signed",
                target.source, target.head
            ),
        });
    }
    let stop = StopPoint::new("refill");
    let mut loader = Loader::new(&behind.store, behind.edge.clone(), Keep::All, stop);
    // Checked again: it could be another copy by now.
    let mut checker = Checker::new(public, behind.edge.clone(), behind.time)?;
    checker.refuse_future(copy.log());
    copy.rows(stored, target.head, |place, row| {
        look(&row);
        checker.take(&place, &row);
        sound(copy.path(), checker.problems())?;
        loader.take(row)
    })?;
    if loader.head()? != target.head {
        let problem = "it changed while it was read. Run treering-server fsck after refilling";
        let (path, problem) = (copy.path().to_owned(), problem.to_owned());
        return Err(RestoreError::Damaged { path, problem });
    }

    // What the other copy says of the time after its newest entry holds here only if that is ours.
    let newest_ms = if copy.log().head == target.head { copy.log().time_ms } else { 0 };
    let newest_entry_ms = checker.time().saturating_mul(1000).saturating_add(999);
    let time_ms = newest_ms.max(newest_entry_ms).max(behind.time_ms);
    let (here, there) = (behind.store.remembered()?, copy.log().remembered);
    let remembered = Remembered {
        witnesses: here.witnesses || there.witnesses,
        access_policy: here.access_policy || there.access_policy,
        frozen: here.frozen || there.frozen,
    };
    let head = loader.finish(time_ms, copy.log().date_ms, remembered)?;
    let sizes = behind.floors.iter().map(|floor| floor.head.size.get());
    let missing = sizes.max().unwrap_or(0).saturating_sub(head.size.get());
    Ok(Restored { head, missing })
}

fn open(refill: &Refill) -> Result<Behind, RestoreError> {
    let directory = DataDirectory::open(&refill.data)?;
    let identity = LogIdentity::open(directory.identity()?.as_bytes())?;
    let mut mark = Mark::read(&directory)?;
    let mut floors = Vec::new();
    for path in &refill.checkpoints {
        let head = read_checkpoint(path, &identity)?;
        let source = format!("the checkpoint {}", path.display());
        if let Some(mark) = &mut mark
            && mark.add(head, &source)
        {
            directory.put_mark(&mark.to_text())?;
        }
        floors.push(Floor { head, source });
    }
    floors.extend(mark.into_iter().flat_map(|mark| mark.floors().to_vec()));
    let path = refill.anchor.as_deref().unwrap_or(directory.anchor_path());
    let anchor = match Anchor::open(path) {
        Ok(anchor) => Some(anchor),
        // A lost anchor is made anew after this; until then a checkpoint stands for it.
        Err(AnchorError::Missing { .. }) if !floors.is_empty() => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(anchor) = &anchor {
        directory.check_anchor(anchor.path(), anchor.id())?;
        let source = format!("the anchor {}", anchor.path().display());
        floors.push(Floor { head: anchor.head(), source });
    }
    let store = open_store(&directory, &identity)?;
    let recovered = store.recover()?;
    let newest = recovered.edge.size().get().checked_sub(1).and_then(LeafIndex::new);
    let time = newest.map(|newest| store.time(newest)).transpose()?.flatten().unwrap_or(0);
    let (edge, time_ms) = (recovered.edge, recovered.time_ms);
    Ok(Behind { directory, identity, store, edge, time_ms, time, floors, _anchor: anchor })
}

impl Behind {
    /// The largest signed head that the other copy reaches. Those that the directory has reached
    /// already must agree with it.
    fn target(&self, copy: &Copy) -> Result<Floor, RestoreError> {
        let stored = self.edge.size();
        let available = copy.log().head.size;
        let shard = self.directory.shard(self.identity.tree_id());
        let mut above = Vec::new();
        for floor in &self.floors {
            if floor.head.size > stored {
                above.push(floor);
            } else {
                check_floor(&self.store, floor, shard.clone())?;
            }
        }
        let size = |floor: &&&Floor| floor.head.size.get();
        let reached = above.iter().filter(|floor| floor.head.size <= available).max_by_key(size);
        match (reached, above.iter().min_by_key(size)) {
            (Some(floor), _) => Ok((*floor).clone()),
            (None, Some(least)) => Err(RestoreError::TooShort {
                path: copy.path().to_owned(),
                available: available.get(),
                needed: least.head.size.get(),
                source_name: least.source.clone(),
            }),
            (None, None) => Err(RestoreError::NothingMissing {
                path: self.directory.path().to_owned(),
                stored: stored.get(),
            }),
        }
    }
}

/// The other copy.
enum Copy {
    Backup { path: PathBuf, log: Box<LogRecord> },
    Directory { path: PathBuf, log: Box<LogRecord>, store: Store },
}

impl Copy {
    fn open(path: &Path) -> Result<Self, RestoreError> {
        if path.is_dir() {
            let (store, mut log) = backup::open(path)?;
            // More may be there than was published; the signed root says whether it is ours.
            log.head = store.committed()?.head;
            return Ok(Self::Directory { path: path.to_owned(), log: Box::new(log), store });
        }
        let (_, log) = open_backup(path)?;
        Ok(Self::Backup { path: path.to_owned(), log: Box::new(log) })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Backup { path, .. } | Self::Directory { path, .. } => path,
        }
    }

    fn log(&self) -> &LogRecord {
        match self {
            Self::Backup { log, .. } | Self::Directory { log, .. } => log,
        }
    }

    /// Whether it is of the same log.
    fn check(&self, behind: &Behind) -> Result<(), RestoreError> {
        let identity = LogIdentity::open(self.log().public.identity.as_bytes())?;
        let own = DataDirectory::public(behind.directory.path())?;
        if identity != behind.identity || own.ml_dsa_vkey != self.log().public.ml_dsa_vkey {
            return Err(RestoreError::OtherLog { path: self.path().to_owned() });
        }
        Ok(())
    }

    /// Hands over its rows above `from` and up to `to`, with their places.
    fn rows(
        &self,
        from: TreeHead,
        to: TreeHead,
        mut take: impl FnMut(String, Row) -> Result<(), RestoreError>,
    ) -> Result<(), RestoreError> {
        let (first, end) = (from.size.get(), to.size.get());
        match self {
            Self::Directory { store, .. } => {
                rows::of_store(store, first, to.size, |row| take("in the database".to_owned(), row))
            }
            Self::Backup { path, .. } => {
                let (mut reader, _) = open_backup(path)?;
                let mut index = 0;
                let read = rows::of_backup(&mut reader, |at, row| -> Result<(), Step> {
                    let wanted = match &row {
                        Row::Entry(_) => {
                            index += 1;
                            index > first && index <= end
                        }
                        Row::Notes(size, _) => size.get() > first && size.get() <= end,
                    };
                    if wanted { Ok(take(format!("byte {at}"), row)?) } else { Ok(()) }
                });
                read.map(drop).map_err(|step| match step {
                    Step::Format(error) => broken(path)(error),
                    Step::Restore(error) => error,
                })
            }
        }
    }
}
