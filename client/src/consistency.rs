//! Following a log: every checkpoint seen must extend every one seen before.
//!
//! ```text
//! known: what is remembered under any key of the trust file, its floor, and what came with a
//!        bundle
//! shown: the log's newest checkpoint
//!
//! shown extends all known         -> remember shown under each of its keys
//! shown provably contradicts one  -> alarm at once, with evidence: no cache can sign a fork
//! shown is not a checkpoint of the log, or lacks the quorum
//!                                 -> once more, past all caches -> still so -> refused; an alarm
//!                                    if somebody speaks in the log's name
//! shown is smaller, a witness dated it later, or the tiles are wrong
//!                                 -> once more, past all caches -> still so, or silence -> alarm
//! ```
//!
//! Invariants: nothing is remembered after an alarm, nor without the quorum that the trust file
//! asks for; what is remembered never shrinks; no second answer takes back a first proof.
//! Out of scope: what a fork means for a signature.

use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::evidence::{Evidence, Party};
use treering_proto::note::Note;
use treering_proto::proof::check_consistency;
use treering_proto::trust::TrustFile;

use crate::log::{LogError, LogReader};
use crate::state::{LogName, StateDirectory, StateError};
use crate::transport::Reading;

/// How often another process may move the remembered checkpoint under us before we give up.
const SWAPS_MAX: usize = 5;

/// A log that was followed to its newest checkpoint.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The newest checkpoint.
    pub head: SignedCheckpoint,
    /// The size that was remembered, or that of the floor.
    pub since: Since,
    /// What people should know: an unlisted key, a second key of the origin, a state that cannot
    /// be kept.
    pub remarks: Vec<String>,
}

/// What the newest checkpoint was compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Since {
    /// Nothing: this client never saw the log, and the trust file has no floor.
    FirstContact,
    /// The floor of the trust file, of this size.
    Floor(u64),
    /// The remembered checkpoint, of this size.
    Remembered(u64),
}

/// Why the log could not be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// What is remembered is not a checkpoint of the trusted log.
    #[error("the checkpoint remembered in {path} is not one of the trusted log")]
    BadState {
        /// The state directory.
        path: String,
    },
    /// Two signed checkpoints that do not go together.
    #[error("{0}")]
    Alarm(Box<Evidence>),
    /// Not enough witnesses cosigned the newest checkpoint, so others may be shown another.
    #[error("the quorum of witnesses did not cosign the newest checkpoint, of {size} entries")]
    NoQuorum {
        /// Of the checkpoint.
        size: u64,
    },
    /// The tiles do not belong to the log's own checkpoint: a fault that proves no fork.
    #[error("{0}: the tiles that were served do not belong to the checkpoint")]
    BadTiles(Box<Evidence>),
    /// The tiles could not be read.
    #[error("{evidence}: {error}")]
    NoTiles {
        /// Why not.
        error: LogError,
        /// The two checkpoints, whose relation is not known.
        evidence: Box<Evidence>,
    },
}

/// A key of the log, and what is remembered under it.
struct Memory {
    name: LogName,
    note: Option<Vec<u8>>,
    checkpoint: Option<SignedCheckpoint>,
}

impl FollowError {
    /// The checkpoints that do not go together, or may not.
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::Alarm(evidence) | Self::BadTiles(evidence) | Self::NoTiles { evidence, .. } => {
                Some(evidence)
            }
            _ => None,
        }
    }

    /// Whether the log said something that an honest log does not say.
    pub fn is_alarm(&self) -> bool {
        match self {
            Self::Alarm(_) | Self::BadTiles(_) => true,
            Self::Log(LogError::Checkpoint(refused)) => refused.is_foreign(),
            _ => false,
        }
    }

    /// Whether a cache may be why: then the log is asked once more, past all caches.
    fn may_be_a_cache(&self) -> bool {
        let is_refused = matches!(self, Self::Log(LogError::Checkpoint(_)));
        is_refused || (self.is_alarm() && !self.is_proof())
    }

    /// What counts of this and the answer past all caches. Silence is no answer to a suspicion.
    fn or_again<T>(self, again: Result<T, Self>) -> Result<T, Self> {
        match again {
            Err(error) if self.is_alarm() && !error.is_alarm() => Err(self),
            again => again,
        }
    }

    /// Whether the log is convicted, which no second answer takes back. A witness may err.
    fn is_proof(&self) -> bool {
        matches!(self, Self::Alarm(evidence) if evidence.convicts() == Some(Party::Log))
    }
}

/// The name under which evidence against the trusted log is kept: that of its first key.
pub fn log_name(trust: &TrustFile) -> LogName {
    let name = log_names(trust).into_iter().next();
    name.expect("a trust file has a checkpoint key")
}

/// The names under which the state of the trusted log is kept, one for each of its keys: adding a
/// key, or listing them in another order, must not make the client forget.
fn log_names(trust: &TrustFile) -> Vec<LogName> {
    let origin = &trust.log.origin;
    let keys = trust.log.checkpoint_keys().into_iter();
    keys.map(|key| LogName { origin: origin.clone(), key_id: key.key_id() }).collect()
}

/// Fetches the newest checkpoint, compares it with what is remembered and with `also`, and
/// remembers it.
///
/// # Errors
/// [`FollowError`].
pub async fn follow(
    log: &LogReader<'_>,
    trust: &TrustFile,
    state: &StateDirectory,
    also: Option<&SignedCheckpoint>,
) -> Result<Followed, FollowError> {
    let mut remarks = Vec::new();
    for attempt in 0.. {
        let memories = recall(trust, state)?;
        let remembered = || memories.iter().filter_map(|memory| memory.checkpoint.as_ref());
        let largest = remembered().map(|known| known.head().size.get()).max();
        let since = match (largest, &trust.floor) {
            (Some(size), _) => Since::Remembered(size),
            (None, Some(floor)) => Since::Floor(floor.head().size.get()),
            (None, None) => Since::FirstContact,
        };
        let known: Vec<&SignedCheckpoint> = remembered().chain(&trust.floor).chain(also).collect();
        let head = newest(log, trust, &known).await?;
        if largest.is_none() && state.knows_other_key(&log_names(trust)) {
            remarks.push(format!(
                "{} was known under another key: make sure that its key was replaced on purpose",
                trust.log.origin
            ));
        }
        remarks.extend(unlisted_key(&head, trust));
        match remember(state, &memories, &head) {
            Err(StateError::Conflict) if attempt < SWAPS_MAX => remarks.clear(),
            Ok(()) => return Ok(Followed { head, since, remarks }),
            Err(error) => {
                remarks.push(format!("this checkpoint is not remembered: {error}"));
                return Ok(Followed { head, since, remarks });
            }
        }
    }
    unreachable!("the loop above ends by returning")
}

/// Whether `checkpoint` contradicts what is remembered, as far as two notes alone can show that:
/// another tree of the same size. Needs no network.
///
/// # Errors
/// [`FollowError::State`], [`FollowError::BadState`].
pub fn contradiction(
    trust: &TrustFile,
    state: &StateDirectory,
    checkpoint: &SignedCheckpoint,
) -> Result<Option<Evidence>, FollowError> {
    let memories = recall(trust, state)?;
    let mut remembered = memories.iter().filter_map(|memory| memory.checkpoint.as_ref());
    Ok(remembered.find_map(|known| Evidence::fork_size(known, checkpoint)))
}

/// What is remembered of the log, under any of its keys.
///
/// # Errors
/// [`FollowError::State`], [`FollowError::BadState`].
pub fn remembered(
    trust: &TrustFile,
    state: &StateDirectory,
) -> Result<Vec<SignedCheckpoint>, FollowError> {
    let memories = recall(trust, state)?;
    Ok(memories.into_iter().filter_map(|memory| memory.checkpoint).collect())
}

/// Whether the larger of two checkpoints extends the smaller, or both are of one tree; asked for
/// twice when a cache may be why it seems not so.
///
/// # Errors
/// [`FollowError::Alarm`], [`FollowError::BadTiles`], [`FollowError::NoTiles`].
pub async fn check_related(
    log: &LogReader<'_>,
    one: &SignedCheckpoint,
    other: &SignedCheckpoint,
) -> Result<(), FollowError> {
    if let Some(fork) = Evidence::fork_size(one, other) {
        return Err(FollowError::Alarm(Box::new(fork)));
    }
    let is_ordered = one.head().size <= other.head().size;
    let (old, new) = if is_ordered { (one, other) } else { (other, one) };
    match check_extends(log, old, new, Reading::Cached).await {
        Err(first) if first.may_be_a_cache() => {
            first.or_again(check_extends(log, old, new, Reading::Fresh).await)
        }
        other => other,
    }
}

/// What is remembered under each key of the log.
fn recall(trust: &TrustFile, state: &StateDirectory) -> Result<Vec<Memory>, FollowError> {
    let recall = |name| {
        let note = state.load(&name)?;
        let checkpoint = note.as_deref().map(|note| open_state(note, trust, state)).transpose()?;
        Ok(Memory { name, note, checkpoint })
    };
    log_names(trust).into_iter().map(recall).collect()
}

/// Keeps `head` under every key that signed it.
fn remember(
    state: &StateDirectory,
    memories: &[Memory],
    head: &SignedCheckpoint,
) -> Result<(), StateError> {
    let signed_by = |name: &LogName| {
        let mut keys = head.verified().iter().map(|signature| &signature.key);
        keys.any(|key| key.is_log_key() && key.key_id() == name.key_id)
    };
    for memory in memories.iter().filter(|memory| signed_by(&memory.name)) {
        if memory.checkpoint.as_ref().map(SignedCheckpoint::head) != Some(head.head()) {
            state.swap(&memory.name, memory.note.as_deref(), head.note_bytes())?;
        }
    }
    Ok(())
}

/// The newest checkpoint, if it extends all of `known` and has the quorum; asked for twice when a
/// cache may be why it seems not to.
async fn newest(
    log: &LogReader<'_>,
    trust: &TrustFile,
    known: &[&SignedCheckpoint],
) -> Result<SignedCheckpoint, FollowError> {
    match compare(log, known, Reading::Cached).await {
        Err(first) if first.may_be_a_cache() => {
            first.or_again(compare(log, known, Reading::Fresh).await)
        }
        // Witnesses cosign a checkpoint after it is made, so a cache may have it without them.
        Ok(head) if !trust.has_quorum(&head) => {
            let size = head.head().size.get();
            let again = compare(log, known, Reading::Fresh).await;
            let again = again.map_err(|error| match error {
                error if error.is_alarm() => error,
                _ => FollowError::NoQuorum { size },
            })?;
            let size = again.head().size.get();
            if trust.has_quorum(&again) { Ok(again) } else { Err(FollowError::NoQuorum { size }) }
        }
        other => other,
    }
}

async fn compare(
    log: &LogReader<'_>,
    known: &[&SignedCheckpoint],
    reading: Reading,
) -> Result<SignedCheckpoint, FollowError> {
    let shown = match log.checkpoint(reading).await {
        Ok(shown) => shown,
        Err(error) => return Err(refused(error, known)),
    };
    // Proofs that need no tile first: a log must not be able to withhold them.
    if let Some(fork) = known.iter().find_map(|known| Evidence::fork_size(known, &shown)) {
        return Err(FollowError::Alarm(Box::new(fork)));
    }
    let mut fault: Option<FollowError> = None;
    for known in known {
        match check_extends(log, known, &shown, reading).await {
            Ok(()) => {}
            Err(error) if error.is_proof() => return Err(error),
            Err(error) => {
                let is_worse = error.is_alarm() && !fault.as_ref().is_some_and(|f| f.is_alarm());
                if is_worse || fault.is_none() {
                    fault = Some(error);
                }
            }
        }
    }
    fault.map_or(Ok(shown), Err)
}

/// The failure to read the newest checkpoint; with evidence if somebody speaks in the log's name
/// and a checkpoint is known that the log itself signed.
fn refused(error: LogError, known: &[&SignedCheckpoint]) -> FollowError {
    let largest = known.iter().max_by_key(|known| known.head().size);
    match (&error, largest) {
        (LogError::Checkpoint(refused), Some(known)) if refused.is_foreign() => {
            FollowError::Alarm(Box::new(Evidence::foreign_key(known, &refused.note)))
        }
        _ => error.into(),
    }
}

async fn check_extends(
    log: &LogReader<'_>,
    known: &SignedCheckpoint,
    shown: &SignedCheckpoint,
    reading: Reading,
) -> Result<(), FollowError> {
    let alarm = |evidence| Err(FollowError::Alarm(Box::new(evidence)));
    let (old, new) = (known.head(), shown.head());
    if old.size == new.size {
        return Ok(());
    }
    if old.size > new.size {
        // If the log still has the tiles of the larger tree, they may show more than a rollback.
        if let Ok(prefix) = log.prefix(new.size, old.size, reading).await
            && let Some(evidence) = Evidence::fork_prefix(shown, known, prefix.root, &prefix.proof)
        {
            return alarm(evidence);
        }
        return alarm(Evidence::rollback(known, shown));
    }
    let unproven = || Box::new(Evidence::unproven(known, shown));
    let prefix = log
        .prefix(old.size, new.size, reading)
        .await
        .map_err(|error| FollowError::NoTiles { error, evidence: unproven() })?;
    if check_consistency(old, new, &prefix.proof).is_ok() {
        return Ok(());
    }
    match Evidence::fork_prefix(known, shown, prefix.root, &prefix.proof) {
        Some(evidence) => alarm(evidence),
        None => Err(FollowError::BadTiles(unproven())),
    }
}

fn open_state(
    note: &[u8],
    trust: &TrustFile,
    state: &StateDirectory,
) -> Result<SignedCheckpoint, FollowError> {
    open_checkpoint(note, &trust.log.origin, &trust.note_keys())
        .map_err(|_| FollowError::BadState { path: state.path().display().to_string() })
}

/// A signature line in the log's name under a key that the trust file does not have: perhaps a new
/// key that is being introduced, perhaps somebody else's.
fn unlisted_key(head: &SignedCheckpoint, trust: &TrustFile) -> Vec<String> {
    let note = Note::parse(head.note_bytes()).expect("a checkpoint that was opened is a note");
    let known = trust.note_keys();
    let unlisted = note.signatures.iter().filter(|line| {
        line.name == trust.log.origin && !known.iter().any(|key| key.key_id() == line.key_id)
    });
    unlisted
        .map(|line| {
            format!(
                "the checkpoint is also signed by {}+{}, a key that the trust file does not list",
                line.name,
                hex::encode(line.key_id)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests;
