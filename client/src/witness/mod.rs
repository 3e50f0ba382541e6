//! A witness (c2sp.org/tlog-witness): cosigns the checkpoints of the logs that it knows, each only
//! if it extends the one before.
//!
//! One request passes these steps; only the part in brackets is one at a time, for each origin:
//!
//! ```text
//! read -> verify the log's lines -> [ decide -> sign in memory -> persist -> show ] -> answer
//! ```
//!
//! The decision is [`treering_proto::witness`], the state [`directory`].
//!
//! Invariants:
//! - A cosignature leaves the process, by an answer or by a read, only after the checkpoint that it
//!   is under is on disk. So whatever anybody holds, the state is not behind it, after any crash.
//! - For one origin, deciding and persisting is one step that no other request can enter.
//! - No cosignature is older than the one before it for the same origin.
//! - What was cosigned is never forgotten: taking a log off the list stops its cosigning and keeps
//!   its state.
//!
//! What a witness cannot know: that its state directory is a copy, or was restored from a backup.
//! It would cosign again what another history followed, and no file in the directory could tell.
//! So: back up the key, never restore the state; if the state is lost, retire the key.
//!
//! Out of scope: fetching from logs, TLS (a reverse proxy has it), and sign-subtree.

pub mod cosigned;
pub mod crash_point;
pub mod directory;
pub mod evidence;
pub mod http;
pub mod keys;
pub mod limits;
pub mod metrics;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedMutexGuard};
use treering_proto::hash::{Hash, sha256};
use treering_proto::note::NoteKey;
use treering_proto::witness::{Contradiction, LogList, Refusal, Submission, VerifiedSubmission};

use cosigned::Cosigned;
use crash_point::CrashPoint;
use directory::{DirectoryError, WitnessDirectory, origin_hash};
use evidence::{Spool, Spooled};
use keys::WitnessKeys;
use metrics::{Gauges, Metrics};

/// A witness with its keys, its logs and its state.
pub struct Witness {
    keys: WitnessKeys,
    directory: WitnessDirectory,
    /// By the SHA-256 of the origin: every origin that is listed or was cosigned.
    origins: HashMap<Hash, Arc<Origin>>,
    spool: Spool,
    metrics: Metrics,
    /// Keys of the list that are not used.
    skipped: usize,
    healthy: AtomicBool,
    clock: Clock,
    tell: Tell,
}

/// Reads the time in seconds since 1970.
pub type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// Takes what an operator should hear.
pub type Tell = Box<dyn Fn(&Event) + Send + Sync>;

/// What an operator should hear.
#[derive(Debug)]
pub enum Event {
    /// A log signed two checkpoints that do not go together, or a proof is missing.
    Contradiction {
        /// Which log.
        origin: String,
        /// How.
        what: Contradiction,
        /// Where the evidence is; `None` if there was no room.
        evidence: Option<PathBuf>,
    },
    /// Evidence could not be written.
    NoEvidence {
        /// Which log.
        origin: String,
        /// Of what.
        what: Contradiction,
        /// Why.
        error: io::Error,
    },
    /// Keys of a listed log are not used: they, or the log, have the name or a key of this witness,
    /// so that signatures could be taken for each other.
    OwnName {
        /// Which log.
        origin: String,
    },
    /// State could not be written, so nothing was cosigned.
    NotPersisted {
        /// Which log.
        origin: String,
        /// Why.
        error: io::Error,
    },
}

/// Why a witness does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The private keys are not those of the state.
    #[error(
        "the private keys are not those of the witness whose state this is, which are {0}. Say \
         --key, and --ml-dsa-key if there is a second one"
    )]
    OtherKeys(String),
    /// The evidence cannot be counted.
    #[error("the evidence in {} cannot be read: {source}", path.display())]
    Evidence {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a request got no cosignature.
#[derive(Debug)]
pub enum NotCosigned {
    /// It must not have one.
    Refused(Refusal),
    /// The state could not be written.
    NotPersisted,
    /// Too many requests for this log, or a disk that does not answer.
    Busy,
    /// This program broke a promise of its own.
    Broken,
}

/// One log.
struct Origin {
    name: String,
    /// Empty when the log is not listed any more.
    keys: Vec<NoteKey>,
    /// Held from the decision until the state is on disk.
    turn: Arc<Mutex<Option<Cosigned>>>,
    /// The note that readers get: on disk for sure.
    shown: RwLock<Option<Bytes>>,
}

impl From<Refusal> for NotCosigned {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Witness {
    /// Reads the state and gets ready to cosign for `logs`.
    ///
    /// # Errors
    /// Any [`StartError`].
    pub fn start(
        keys: WitnessKeys,
        directory: WitnessDirectory,
        logs: &LogList,
        clock: Clock,
        tell: Tell,
    ) -> Result<Self, StartError> {
        if keys.public() != directory.identity() {
            let keys = directory.identity().iter();
            let names = keys.map(|key| {
                let id = hex::encode(key.key_id());
                format!("{}+{id} ({:?})", key.name(), key.kind())
            });
            return Err(StartError::OtherKeys(names.collect::<Vec<_>>().join(" and ")));
        }
        let mut listed = logs.keys_by_origin();
        let mut skipped = logs.skipped().len();
        for (name, log_keys) in &mut listed {
            let count = log_keys.len();
            skip_own(name, log_keys, keys.public());
            if log_keys.len() < count {
                skipped += count - log_keys.len();
                tell(&Event::OwnName { origin: (*name).to_owned() });
            }
        }
        listed.retain(|_, log_keys| !log_keys.is_empty());
        let mut origins = HashMap::new();
        for cosigned in directory.load()? {
            let log_keys = listed.remove(cosigned.origin()).unwrap_or_default();
            directory.check_log_lines(&cosigned, &log_keys)?;
            origins.insert(origin_hash(&cosigned), Origin::new(log_keys, Ok(cosigned)));
        }
        for (name, log_keys) in listed {
            let origin = Origin::new(log_keys, Err(name.to_owned()));
            origins.insert(sha256(name.as_bytes()), origin);
        }
        let spool = Spool::open(&directory).map_err(|source| {
            let path = directory.evidence_path();
            StartError::Evidence { path, source }
        })?;
        Ok(Self {
            keys,
            directory,
            origins: origins.into_iter().map(|(hash, origin)| (hash, Arc::new(origin))).collect(),
            spool,
            metrics: Metrics::default(),
            skipped,
            healthy: AtomicBool::new(true),
            clock,
            tell,
        })
    }

    /// The public keys; the Ed25519 key first.
    pub fn public_keys(&self) -> &[NoteKey] {
        self.keys.public()
    }

    /// Answers one add-checkpoint request: the lines of this witness, whose state is on disk.
    ///
    /// # Errors
    /// Any [`NotCosigned`].
    pub async fn add_checkpoint(self: &Arc<Self>, body: &[u8]) -> Result<String, NotCosigned> {
        self.add_checkpoint_holding(body, ()).await
    }

    /// The same; `room` is dropped when the work is over, which may be after the client has gone
    /// and this future with it.
    ///
    /// # Errors
    /// Any [`NotCosigned`].
    pub async fn add_checkpoint_holding(
        self: &Arc<Self>,
        body: &[u8],
        room: impl Send + 'static,
    ) -> Result<String, NotCosigned> {
        let submission = Submission::parse(body)?;
        let origin = self.origins.get(&sha256(submission.origin().as_bytes()));
        let origin = origin.ok_or(Refusal::UnknownOrigin)?.clone();
        let verified = submission.verify(&origin.keys)?;
        let turn = tokio::time::timeout(limits::WAIT_MAX, origin.turn.clone().lock_owned()).await;
        let turn = turn.map_err(|_| NotCosigned::Busy)?;
        // Goes on when the client has gone: half a step must not be left.
        let witness = self.clone();
        let step = move || {
            let _room = room;
            witness.decide_and_persist(&origin, turn, &verified)
        };
        let step = tokio::time::timeout(limits::STEP_TIME_MAX, tokio::task::spawn_blocking(step));
        step.await.map_err(|_| NotCosigned::Busy)?.map_err(|_| NotCosigned::Broken)?
    }

    /// The newest cosigned checkpoint of the origin with this SHA-256; `None` before the first.
    pub fn checkpoint(&self, origin: Hash) -> Option<Bytes> {
        let origin = self.origins.get(&origin)?;
        origin.shown.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many logs are listed with a key that can be used.
    pub fn logs(&self) -> usize {
        self.origins.values().filter(|origin| !origin.keys.is_empty()).count()
    }

    /// How many keys of the list are not used.
    pub fn skipped_keys(&self) -> usize {
        self.skipped
    }

    /// Whether the last state was written.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The text of `/metrics`.
    pub fn render_metrics(&self) -> String {
        let shown = |origin: &&Arc<Origin>| {
            origin.shown.read().unwrap_or_else(PoisonError::into_inner).is_some()
        };
        self.metrics.render(Gauges {
            logs: self.logs(),
            skipped_keys: self.skipped,
            origins: self.origins.values().filter(shown).count(),
            healthy: self.is_healthy(),
        })
    }

    /// The step that is one at a time for each origin.
    fn decide_and_persist(
        &self,
        origin: &Origin,
        mut turn: OwnedMutexGuard<Option<Cosigned>>,
        submission: &VerifiedSubmission,
    ) -> Result<String, NotCosigned> {
        let last = turn.as_ref().map(Cosigned::last);
        let next = match submission.decide(last, (self.clock)()) {
            Ok(next) => next,
            Err(refusal) => {
                // Nobody waits for the disk, and for whoever listens, to keep evidence.
                let known = turn.clone();
                drop(turn);
                if let Some(known) = known {
                    self.look_for_contradiction(origin, &known, submission);
                }
                return Err(refusal.into());
            }
        };
        // The same again within seconds: the answer that is on disk will do. Checkpoints are
        // public, and without this anybody could keep the disk busy with those of each log.
        let recent = |it: &&Cosigned| {
            it.text() == submission.text()
                && next.time.saturating_sub(it.last().time) < limits::REFRESH_SECONDS_MIN
        };
        if let Some(same) = turn.as_ref().filter(recent) {
            return Ok(same.own_lines().to_owned());
        }
        let checkpoint = submission.signed().checkpoint();
        let lines = self.keys.cosign(submission.text(), checkpoint, next.time);
        let note = submission.cosigned_note(&lines);
        let cosigned =
            Cosigned::new(&note, self.keys.public()).expect("what we cosign, we can read back");
        assert!(cosigned.last() == next, "what was decided is what was cosigned");
        CrashPoint::BeforePersist.pass();
        let persisted = self.directory.keep(&cosigned);
        self.healthy.store(persisted.is_ok(), Ordering::Relaxed);
        if let Err(error) = persisted {
            drop(turn);
            let origin = origin.name.clone();
            (self.tell)(&Event::NotPersisted { origin, error });
            return Err(NotCosigned::NotPersisted);
        }
        CrashPoint::Persisted.pass();
        let lines = cosigned.own_lines().to_owned();
        let shown = Bytes::from(cosigned.note().to_owned());
        *origin.shown.write().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        *turn = Some(cosigned);
        Ok(lines)
    }

    fn look_for_contradiction(
        &self,
        origin: &Origin,
        known: &Cosigned,
        submission: &VerifiedSubmission,
    ) {
        let Some(what) = submission.contradiction(known.last()) else { return };
        let time = i64::try_from((self.clock)()).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_second(time).unwrap_or(jiff::Timestamp::MAX);
        let seen = format!("{time} {}", self.keys.public()[0].name());
        let pair = (known, submission);
        let name = origin.name.clone();
        let spooled = self.spool.keep(&self.directory, &origin.keys, pair, what, &seen);
        if !matches!(spooled, Spooled::Nothing) {
            self.metrics.contradiction(what.name());
        }
        let event = match spooled {
            Spooled::New(path) => Event::Contradiction { origin: name, what, evidence: Some(path) },
            Spooled::Known | Spooled::Nothing => return,
            Spooled::Full => Event::Contradiction { origin: name, what, evidence: None },
            Spooled::Failed(error) => Event::NoEvidence { origin: name, what, error },
        };
        (self.tell)(&event);
    }
}

impl Origin {
    /// A log by what was cosigned, or by its name if nothing was.
    fn new(keys: Vec<NoteKey>, cosigned: Result<Cosigned, String>) -> Self {
        let shown = cosigned.as_ref().ok().map(|it| Bytes::from(it.note().to_owned()));
        let name = cosigned.as_ref().map_or_else(String::clone, |it| it.origin().to_owned());
        let turn = Arc::new(Mutex::new(cosigned.ok()));
        Self { name, keys, turn, shown: RwLock::new(shown) }
    }
}

/// A signature by a witness names the witness; if a log had the same name or key, one could pass
/// for the other. Such keys go, and all of them if none is left that signs checkpoints.
fn skip_own(origin: &str, keys: &mut Vec<NoteKey>, own: &[NoteKey]) {
    keys.retain(|key| {
        let is_own = |own: &NoteKey| {
            origin == own.name() || key.name() == own.name() || key.public_key() == own.public_key()
        };
        !own.iter().any(is_own)
    });
    if !keys.iter().any(NoteKey::is_log_key) {
        keys.clear();
    }
}

#[cfg(test)]
mod tests;
