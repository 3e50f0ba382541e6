//! Following a log: every checkpoint seen must extend every one seen before.
//!
//! ```text
//! known: what is remembered (else the floor of the trust file), and what came with a bundle
//! shown: the log's newest checkpoint
//!
//! shown extends all known   -> remember shown, unless the remembered one is larger
//! it does not               -> once more, past all caches -> still not -> alarm, with evidence
//! ```
//!
//! Invariants: nothing is remembered after an alarm, nor without the quorum that the trust file
//! asks for; what is remembered never shrinks. Out of scope: what a fork means for a signature.

use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::note::Note;
use treering_proto::proof::check_consistency;
use treering_proto::trust::TrustFile;

use crate::evidence::Evidence;
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
    /// The tiles do not belong to the log's own checkpoint: a fault, and no evidence.
    #[error("the tiles that were served do not belong to the checkpoint of {size} entries")]
    BadTiles {
        /// Of the checkpoint.
        size: u64,
    },
}

/// The name under which the state of the trusted log is kept.
pub fn log_name(trust: &TrustFile) -> LogName {
    let key = trust.log.checkpoint_keys().into_iter().next();
    let key = key.expect("a trust file has a checkpoint key");
    LogName { origin: trust.log.origin.clone(), key_id: key.key_id() }
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
    let name = log_name(trust);
    let mut remarks = Vec::new();
    for attempt in 0.. {
        let seen = state.load(&name)?;
        let remembered = seen.as_deref().map(|note| open_state(note, trust, state)).transpose()?;
        let since = match (&remembered, &trust.floor) {
            (Some(known), _) => Since::Remembered(known.head().size.get()),
            (None, Some(floor)) => Since::Floor(floor.head().size.get()),
            (None, None) => Since::FirstContact,
        };
        let known: Vec<&SignedCheckpoint> =
            [remembered.as_ref(), trust.floor.as_ref(), also].into_iter().flatten().collect();
        let head = newest(log, &known).await?;
        if !trust.has_quorum(&head) {
            return Err(FollowError::NoQuorum { size: head.head().size.get() });
        }
        if remembered.is_none() && state.knows_other_key(&name) {
            remarks.push(format!(
                "{} was known under another key: make sure that its key was replaced on purpose",
                name.origin
            ));
        }
        remarks.extend(unlisted_key(&head, trust));
        let swapped = match &remembered {
            Some(known) if known.head() == head.head() => Ok(()),
            _ => state.swap(&name, seen.as_deref(), head.note_bytes()),
        };
        match swapped {
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

/// The newest checkpoint, if it extends all of `known`; asked for twice when it seems not to.
async fn newest(
    log: &LogReader<'_>,
    known: &[&SignedCheckpoint],
) -> Result<SignedCheckpoint, FollowError> {
    match compare(log, known, Reading::Cached).await {
        Err(FollowError::Alarm(_) | FollowError::BadTiles { .. }) => {
            compare(log, known, Reading::Fresh).await
        }
        other => other,
    }
}

async fn compare(
    log: &LogReader<'_>,
    known: &[&SignedCheckpoint],
    reading: Reading,
) -> Result<SignedCheckpoint, FollowError> {
    let shown = log.checkpoint(reading).await?;
    for known in known {
        check_extends(log, known, &shown, reading).await?;
    }
    Ok(shown)
}

async fn check_extends(
    log: &LogReader<'_>,
    known: &SignedCheckpoint,
    shown: &SignedCheckpoint,
    reading: Reading,
) -> Result<(), FollowError> {
    let alarm = |evidence| Err(FollowError::Alarm(Box::new(evidence)));
    let (old, new) = (known.head(), shown.head());
    if let Some(evidence) = Evidence::fork_size(known, shown) {
        return alarm(evidence);
    }
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
        return alarm(Evidence::rollback_suspected(known, shown));
    }
    let prefix = log.prefix(old.size, new.size, reading).await?;
    if check_consistency(old, new, &prefix.proof).is_ok() {
        return Ok(());
    }
    match Evidence::fork_prefix(known, shown, prefix.root, &prefix.proof) {
        Some(evidence) => alarm(evidence),
        None => Err(FollowError::BadTiles { size: new.size.get() }),
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
