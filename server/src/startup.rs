//! Start-up: finds the first step that the last process did not finish, and resumes there with the
//! same code.
//!
//! | found | means | action | clients saw |
//! |---|---|---|---|
//! | storage behind anchor | files deleted, or a backup restored | refuse | heads that are gone |
//! | notes above the anchor | the anchor is an older copy | refuse | heads it forgot |
//! | same size, other root | storage or anchor belongs elsewhere | refuse | another head |
//! | storage = anchor, no notes | died between fence and publish | sign that head (2) | nothing |
//! | storage = anchor, notes | stopped, or died after publish | serve | all of it |
//! | storage above anchor | died between commit and fence | check, fence, sign | not the surplus |
//!
//! (2) With witnesses it is proposed to them, and the newest published head is shown until their
//! quorum cosigned it.
//!
//! A directory that `restore` made carries a mark ([`crate::restored`]), and comes first here:
//!
//! | found, with a mark | action |
//! |---|---|
//! | storage behind anchor, a given checkpoint or a witness's | serve reads, sign nothing |
//! | a witness that does not answer | the same |
//! | same size as one of these, other root | refuse |
//! | storage has reached all of them | take the mark away, and go on in the table above |
//!
//! Invariant: nothing is signed or served before the root at the anchor's size was computed from
//! stored bytes, and equals the anchor's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use treering_proto::append::RightEdge;
use treering_proto::hash::Hash;
use treering_proto::identity::{IdentityError, LogIdentity};
use treering_proto::policy::Policy;
use treering_proto::tree::TreeHead;

use crate::anchor::{Anchor, AnchorError, Fenced};
use crate::clock;
use crate::data_directory::{DataDirectory, DirectoryError};
use crate::publisher::{Published, Publisher, Started, show_newest};
use crate::restored::{self, Fork, Heard, Mark, Standing, StandingError};
use crate::selfcheck::{SelfCheck, SelfCheckError};
use crate::signer::{KeyFileError, Signer};
use crate::store::{Store, StoreError, damaged_file};

/// Why the log does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The anchor cannot vouch.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// The keys cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The identity document is not ours.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database does not open.
    #[error("{source}{}\n  {remedy}", in_file(file.as_deref()))]
    Database {
        /// What the store says.
        source: StoreError,
        /// The file that it does not name.
        file: Option<PathBuf>,
        /// What to do.
        remedy: &'static str,
    },
    /// Rows do not read back.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The entries above the anchor fail the self-check.
    #[error(
        "{0}\n  The entries above the anchor were never signed. To take them out of the log: treering-server fsck --drop-unsigned"
    )]
    SelfCheck(#[from] SelfCheckError),
    /// The log waited for witnesses, and is started without.
    #[error(
        "this log was served with witnesses, and no witness policy is given now: without it checkpoints would be \
         published that nobody cosigned. Say --witness-policy, or --without-witnesses to do without from now on"
    )]
    NoPolicy,
    /// The log had an access policy, and is started without.
    #[error(
        "this log was served with an access policy, and none is given now: without it every live token may log \
         everything. Say --access-policy, or --without-access-policy to do without from now on"
    )]
    NoAccessPolicy,
    /// Storage has fewer entries than were signed.
    #[error(
        "{path} holds {stored} entries, but its anchor {anchor} says that {signed} were signed: files are missing, or an \
         older copy was put back. Serving it would fork the log. Put the newest copy of the directory back"
    )]
    Behind {
        /// The database directory.
        path: PathBuf,
        /// The anchor file.
        anchor: PathBuf,
        /// Entries in storage.
        stored: u64,
        /// Entries signed.
        signed: u64,
    },
    /// A note was published that the anchor does not know of.
    #[error(
        "{path} holds a checkpoint published for {published} entries, but the anchor {anchor} says that only {signed} were \
         signed: the anchor is an older copy. Put the newest anchor back; if it is lost, give the newest checkpoint that \
         anyone has: treering-server claim --new-anchor --checkpoint FILE"
    )]
    AnchorBehind {
        /// The database directory.
        path: PathBuf,
        /// The anchor file.
        anchor: PathBuf,
        /// The size that was published.
        published: u64,
        /// The size in the anchor.
        signed: u64,
    },
    /// A restored log has another tree than was signed.
    #[error(transparent)]
    Restored(Box<Fork>),
    /// Storage has another tree than was signed.
    #[error(
        "{path} has root {stored} at size {size}, but its anchor {anchor} says {signed}: the entries changed, or the \
         directory belongs to another log. Put the right directory back, and see treering-server fsck"
    )]
    Forked {
        /// The database directory.
        path: PathBuf,
        /// The anchor file.
        anchor: PathBuf,
        /// The size that was signed.
        size: u64,
        /// Root of the stored entries.
        stored: Hash,
        /// Root in the anchor.
        signed: Hash,
    },
}

impl From<StandingError> for StartError {
    fn from(error: StandingError) -> Self {
        match error {
            StandingError::Directory(error) => error.into(),
            StandingError::Store(error) => error.into(),
            StandingError::Fork(fork) => Self::Restored(fork),
        }
    }
}

/// What is asked for of what the log remembers, too: a setting that is lost must not undo what it
/// was there for.
#[derive(Clone, Copy, Default)]
pub struct Asked<'a> {
    /// Whose quorum is waited for.
    pub witnesses: Option<&'a Policy>,
    /// Whether a log that waited for witnesses goes on without.
    pub without_witnesses: bool,
    /// Whether an access policy says who may write.
    pub access_policy: bool,
    /// Whether a log that had one goes on without.
    pub without_access_policy: bool,
}

impl Asked<'_> {
    /// Refuses to do without witnesses that the log remembers, unless that is on purpose.
    fn check_witnesses(&self, store: &Store) -> Result<(), StartError> {
        match self.witnesses.is_none() && !self.without_witnesses && store.is_witnessed()? {
            true => Err(StartError::NoPolicy),
            false => Ok(()),
        }
    }

    /// Refuses to do without an access policy that the log remembers, unless that is on purpose.
    fn check_access_policy(&self, store: &Store) -> Result<(), StartError> {
        match !self.access_policy && !self.without_access_policy && store.has_access_policy()? {
            true => Err(StartError::NoAccessPolicy),
            false => Ok(()),
        }
    }
}

/// What was found in a data directory.
pub enum Opened {
    /// A log that may grow.
    Log(Box<OpenLog>),
    /// A restored one that is behind what was signed.
    Behind(Box<BehindLog>),
}

impl Opened {
    /// Remembers whether an access policy says who may write, once that policy is in force. A log
    /// that is behind takes no entries, and is left as it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn remember_access_policy(&self, has_one: bool) -> Result<(), StoreError> {
        match self {
            Self::Log(log) if log.store.has_access_policy()? != has_one => {
                log.store.put_access_policy(has_one)
            }
            Self::Log(_) | Self::Behind(_) => Ok(()),
        }
    }
}

/// A restored log that serves reads only: nothing here can sign a head.
pub struct BehindLog {
    /// The directory, locked.
    pub directory: DataDirectory,
    /// Its rows.
    pub store: Store,
    /// Its anchor, locked, so that nobody else goes on with it.
    pub anchor: Anchor,
    /// Its keys.
    pub signer: Arc<Signer>,
    /// The newest published head that it holds.
    pub published: Published,
    /// How many entries are missing.
    pub missing: u64,
    /// Who knows of them.
    pub why: String,
}

/// A log that is ready to be served: everything but its loop and its listener.
pub struct OpenLog {
    /// The directory, locked.
    pub directory: DataDirectory,
    /// Its rows.
    pub store: Store,
    /// Its anchor, locked.
    pub anchor: Anchor,
    /// Its keys.
    pub signer: Arc<Signer>,
    /// What shows its newest published head.
    pub publisher: Publisher,
    /// Its newest head.
    pub fenced: Arc<Fenced>,
    /// Its right edge.
    pub edge: RightEdge,
    /// The second path, up to the same size.
    pub selfcheck: SelfCheck,
    /// The latest time that it gave an entry or a note, Unix milliseconds.
    pub time_ms: u64,
}

/// The rows and the anchor of a log, before they were compared.
pub struct Parts {
    /// The directory, locked.
    pub directory: DataDirectory,
    /// Who the log is.
    pub identity: LogIdentity,
    /// Its rows.
    pub store: Store,
    /// Its anchor, locked.
    pub anchor: Anchor,
}

/// Opens the log in `data` and brings it to where it can be served. A head that was never published
/// is published here, unless the log waits for the witnesses that were `asked` for: they are asked
/// first. What a restored log's witnesses remember was `heard` before.
///
/// # Errors
/// [`StartError`]; nothing was signed.
pub fn open(
    data: &Path,
    anchor: Option<&Path>,
    asked: Asked<'_>,
    heard: &Heard,
) -> Result<Opened, StartError> {
    let Parts { directory, identity, store, anchor } = parts(data, anchor)?;
    let (origin, tree_id) = (identity.origin(), identity.tree_id());
    let signer = Signer::load(&directory.keys(), origin, tree_id)?;
    let vkey = signer.ml_dsa_key().map(|key| key.to_vkey());
    if *signer.identity() != identity || vkey != DataDirectory::public(data)?.ml_dsa_vkey {
        return Err(KeyFileError::OtherLog { path: directory.path().join("keys") }.into());
    }
    if store.identity()? != directory.identity()?.as_bytes() {
        return Err(KeyFileError::OtherLog { path: directory.shard(tree_id) }.into());
    }
    let marked = Mark::read(&directory)?;
    if marked.is_none() {
        compare(&store, &directory.shard(tree_id), &anchor)?;
    }
    asked.check_witnesses(&store)?;
    let policy = asked.witnesses;
    let signer = Arc::new(signer);
    let was_restored = marked.is_some();
    if let Some(mut mark) = marked {
        let standing = restored::stand(&mut mark, heard, &directory, &identity, &store, &anchor)?;
        if let Standing::Behind { missing, why } = standing {
            let published = show_newest(&signer, &store, policy)?;
            let behind = BehindLog { directory, store, anchor, signer, published, missing, why };
            return Ok(Opened::Behind(Box::new(behind)));
        }
    }
    // Only here: a log that is behind takes no entries from anybody.
    asked.check_access_policy(&store)?;
    if was_restored {
        compare(&store, &directory.shard(tree_id), &anchor)?;
        directory.remove_mark()?;
        tracing::info!("the restored log holds everything that is known to have been signed");
    }
    let parts = Parts { directory, identity, store, anchor };
    Ok(Opened::Log(Box::new(resume(parts, signer, policy)?)))
}

/// Brings a log that storage and anchor agree about to where it can be served.
fn resume(
    parts: Parts,
    signer: Arc<Signer>,
    policy: Option<&Policy>,
) -> Result<OpenLog, StartError> {
    let Parts { directory, store, mut anchor, .. } = parts;
    let recovered = store.recover()?;
    let above = recovered.edge.size().get() - anchor.head().size.get();
    if above > 0 {
        tracing::info!(above, "entries above the anchor: checking and signing what was cut off");
    }
    let mut selfcheck = SelfCheck::new(&store.edge_at(anchor.head().size)?);
    let durable = store.found_durable(anchor.head(), &recovered);
    let checked = selfcheck.check(&store, durable)?;
    let fenced = anchor.fence(checked)?;
    let now_ms = clock::read().wall_ms;
    let started = Publisher::start(signer.clone(), store.clone(), fenced, policy, now_ms)?;
    let Started { publisher, fenced, time_ms } = started;
    let (edge, time_ms) = (recovered.edge, recovered.time_ms.max(time_ms));
    Ok(OpenLog { directory, store, anchor, signer, publisher, fenced, edge, selfcheck, time_ms })
}

/// Opens directory, anchor and rows of the log in `data`.
pub fn parts(data: &Path, anchor: Option<&Path>) -> Result<Parts, StartError> {
    let mut directory = DataDirectory::open(data)?;
    let identity = LogIdentity::open(directory.identity()?.as_bytes())?;
    let anchor = Anchor::open(anchor.unwrap_or(directory.anchor_path()))?;
    directory.check_anchor(anchor.path(), anchor.id())?;
    directory.remember_anchor(anchor.path())?;
    let store = open_store(&directory, &identity)?;
    Ok(Parts { directory, identity, store, anchor })
}

/// Opens the rows of the log.
pub fn open_store(directory: &DataDirectory, identity: &LogIdentity) -> Result<Store, StartError> {
    let path = directory.shard(identity.tree_id());
    Store::open(&path).map_err(|source| match source {
        StoreError::Storage { .. } => {
            StartError::Database { source, file: damaged_file(&path), remedy: OPEN_REMEDY }
        }
        other => other.into(),
    })
}

/// Compares what is stored with what was signed. Storage may be ahead, never behind and never
/// different.
pub fn compare(store: &Store, path: &Path, anchor: &Anchor) -> Result<TreeHead, StartError> {
    let signed = anchor.head();
    let stored = store.committed()?.head;
    if stored.size < signed.size {
        return Err(StartError::Behind {
            path: path.to_owned(),
            anchor: anchor.path().to_owned(),
            stored: stored.size.get(),
            signed: signed.size.get(),
        });
    }
    // A head is fenced before it is published, so a published one above the anchor means that the
    // anchor was put back.
    if let Some((published, _)) = store.notes_from(signed.size.get() + 1, 1)?.first() {
        return Err(StartError::AnchorBehind {
            path: path.to_owned(),
            anchor: anchor.path().to_owned(),
            published: *published,
            signed: signed.size.get(),
        });
    }
    let root = store.head_at(signed.size)?.root;
    if root != signed.root {
        return Err(StartError::Forked {
            path: path.to_owned(),
            anchor: anchor.path().to_owned(),
            size: signed.size.get(),
            stored: root,
            signed: signed.root,
        });
    }
    Ok(stored)
}

fn in_file(file: Option<&Path>) -> String {
    file.map(|file| format!(" in {}", file.display())).unwrap_or_default()
}

const OPEN_REMEDY: &str = "The database files are damaged or incomplete. Nothing was changed. If the disk is full, delete \
     the ballast file and try again. Otherwise put back the file named above, or the newest copy of the whole directory; \
     the anchor tells whether it is new enough.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_log::TestLog;

    #[test]
    fn a_lost_access_policy_is_noticed_until_somebody_says_to_do_without() {
        let store = TestLog::new().store;
        let with = Asked { access_policy: true, ..Asked::default() };
        let without = Asked::default();
        let on_purpose = Asked { without_access_policy: true, ..Asked::default() };
        for asked in [with, without, on_purpose] {
            assert!(asked.check_access_policy(&store).is_ok(), "a log that never had one");
        }
        store.put_access_policy(true).unwrap();
        assert!(with.check_access_policy(&store).is_ok());
        let refused = without.check_access_policy(&store).unwrap_err();
        assert!(matches!(refused, StartError::NoAccessPolicy));
        assert!(refused.to_string().contains("--without-access-policy"), "{refused}");
        assert!(on_purpose.check_access_policy(&store).is_ok());
        // One setting says nothing of the other.
        let unwitnessed = Asked { without_witnesses: true, ..Asked::default() };
        let refused = unwitnessed.check_access_policy(&store);
        assert!(matches!(refused, Err(StartError::NoAccessPolicy)));
        store.put_witnessed(true).unwrap();
        assert!(matches!(on_purpose.check_witnesses(&store), Err(StartError::NoPolicy)));
        assert!(unwitnessed.check_witnesses(&store).is_ok());
        store.put_access_policy(false).unwrap();
        assert!(without.check_access_policy(&store).is_ok(), "from then on without saying so");
    }
}
