//! Status proofs: what a log says about a model, in one file that proves itself as far as it can be
//! proven, so that a verifier without a network can judge by it (`docs/status-proof.md`).
//!
//! ```text
//! log --gather--> Status --prove--> History --judge--> ...     verify --online, history
//!                   |                                          staple: the file
//!                 format, parse --prove--> History             verify --status
//! ```
//!
//! There is one way from answers to a [`History`], whoever brings the answers: [`Status::prove`].
//! An [`Asker`] asks the log, round by round, whatever the history so far leaves open.
//!
//! | proven | somebody's word |
//! |---|---|
//! | the checkpoint: by the log's key and the witness quorum | that nothing else matches |
//! | each entry is in its tree | the time of an entry |
//! | each statement is the one that the entry commits to | |
//! | each entry has the facts that were asked for, and its signatures verify | |
//!
//! Invariants: what does not prove is an error and never left out; an entry or statement that no
//! answer needs is refused; everything is bounded. Whoever hands over a file may have left things
//! out of it, as the log may: that a question has no other answer is a word and no proof.
//! Out of scope: what the history means (see [`crate::history`]).

mod check;
mod fetch;
mod file;
mod gather;
mod prove;
pub(crate) mod side_by_side;
mod undated;

use std::collections::BTreeMap;

use treering_proto::checkpoint::{OpenCheckpointError, SignedCheckpoint};
use treering_proto::entry::Entry;
use treering_proto::evidence::Evidence;
use treering_proto::freshness::Freshness;
use treering_proto::hash::Hash;
use treering_proto::proof::ProofError;
use treering_proto::protojson::FieldError;
use treering_proto::tree::LeafIndex;
use treering_proto::trust::model_policy::{Action, DaysRule};
use treering_proto::trust::{ModelPolicy, TrustFile};

use crate::history::{Answer, Believed, History, Question, Source, Subject};
use crate::log::LogReader;
use crate::report::Exit;
use crate::time::{freshness_exit, freshness_text};

pub use check::{CHECK, ask_for_verify, look_up_for_verify, read_for_verify};
pub use gather::{Asked, Asker, Gathered};
pub use undated::judge_undated;

/// The value of `schema`.
pub const STATUS_SCHEMA: &str = "treering.status/v1";

/// The longest file in bytes: [`CONTENT_BYTES_MAX`] in base64, and room for proofs and questions.
pub const STATUS_LEN_MAX: usize = 192 << 20;

/// Bytes of entries and statements in one status: some thousand statements about common models.
/// Entries that share a statement are each charged for it, because each is read with it.
pub const CONTENT_BYTES_MAX: usize = 64 << 20;

/// Bytes of entries and statements that one question may bring, so that strangers who log large
/// ones leave room for the other questions.
pub const QUESTION_BYTES_MAX: usize = 16 << 20;

/// Questions of one status: the weight files of a model, its renewals, and some hundred people.
pub const QUESTIONS_MAX: usize = 1_024;

/// Entries of one status.
pub const ENTRIES_MAX: usize = 10_000;

/// The longest reason why a question is not answered, in bytes.
pub const REASON_LEN_MAX: usize = 1_024;

/// The latest time that is read, in Unix seconds: the end of the year 9999.
pub const TIME_MAX: u64 = 253_402_300_799;

/// What a log said about a model. Nothing in it is proven before [`Status::prove`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// The newest checkpoint, a note with all its cosignatures. All proofs lead to its tree.
    pub note: String,
    /// What was asked, at most [`QUESTIONS_MAX`] questions, and what the log answered.
    pub replies: BTreeMap<Question, Reply>,
    /// The entries that the replies name, at most [`ENTRIES_MAX`].
    pub entries: BTreeMap<LeafIndex, Evident>,
    /// The statements that the entries commit to, by their SHA-256.
    pub statements: BTreeMap<Hash, Vec<u8>>,
}

/// The log's answer to one question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The size of the tree that the log says it searched.
    pub searched: u64,
    /// What it found.
    pub answer: Answer,
}

/// An entry, and the proof that it is in the tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Evident {
    /// The canonical bytes.
    pub body: Vec<u8>,
    /// The hashes from its leaf to the root of the checkpoint.
    pub proof: Vec<Hash>,
    /// When it was logged, if the log said so, at most [`TIME_MAX`]: its unsigned word, and in a
    /// file that of whoever made it.
    pub time: Option<u64>,
    /// SHA-256 of the statement that the body commits to, if it commits to one.
    payload_hash: Option<Hash>,
}

impl Evident {
    /// An entry of these bytes; nothing is checked.
    pub fn new(body: Vec<u8>, proof: Vec<Hash>, time: Option<u64>) -> Self {
        let payload_hash = Entry::parse(&body).ok().and_then(|entry| entry.payload_hash());
        Self { body, proof, time, payload_hash }
    }
}

/// What a status proves.
#[derive(Clone, Debug)]
pub struct Proven {
    /// What is known about the model.
    pub history: History,
    /// The checkpoint that it is proven to.
    pub head: SignedCheckpoint,
}

/// Why a status proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Longer than any status proof.
    #[error("the status proof is longer than {STATUS_LEN_MAX} bytes")]
    TooLong,
    /// Not the JSON of a status proof.
    #[error("the status proof cannot be read: {0}")]
    Json(#[from] FieldError),
    /// Of another kind or version.
    #[error("{found:?} is not {STATUS_SCHEMA}")]
    Schema {
        /// What it says that it is.
        found: String,
    },
    /// The bytes are not those that were written.
    #[error("the status proof was changed: its sum is another")]
    Sum,
    /// The checkpoint is not the trusted log's.
    #[error("the checkpoint of the status proof is not acceptable: {0}")]
    Checkpoint(#[from] OpenCheckpointError),
    /// Not enough witnesses cosigned the checkpoint.
    #[error("the quorum of witnesses did not cosign the tree of {size} entries")]
    NoQuorum {
        /// Of the tree.
        size: u64,
    },
    /// The checkpoint is below the oldest that is believed.
    #[error("the tree of {size} entries is older than the floor of the trust file, of {floor}")]
    BelowFloor {
        /// Of the tree.
        size: u64,
        /// Of the floor.
        floor: u64,
    },
    /// The checkpoint contradicts the floor of the trust file.
    #[error("{0}")]
    Fork(Box<Evidence>),
    /// The checkpoint is too old, or nobody says how old it is.
    #[error("{}", freshness_text(*freshness, *size, *now))]
    NotFresh {
        /// How old.
        freshness: Freshness,
        /// Of the tree.
        size: u64,
        /// The time that it was compared with, in Unix seconds.
        now: u64,
    },
    /// The proof does not lead from the entry to the tree.
    #[error("entry {index} is not proven to be in the tree: {error}")]
    WrongProof {
        /// Where it is said to be.
        index: LeafIndex,
        /// What is wrong with the proof.
        error: ProofError,
    },
    /// Another entry stands where the search found one.
    #[error("the search found another entry than the one that stands at {index}")]
    OtherEntry {
        /// Where.
        index: LeafIndex,
    },
    /// An answer names an entry that does not have the facts.
    #[error("entry {index} does not match what was asked for, {asked}")]
    NoMatch {
        /// The entry.
        index: LeafIndex,
        /// The question, for people.
        asked: String,
    },
    /// An answer names an entry that is not there.
    #[error("entry {index} is an answer, and is not in the status proof")]
    NoEntry {
        /// Which.
        index: LeafIndex,
    },
    /// Something is there that no answer needs.
    #[error("the status proof holds {what} that no answer needs")]
    Surplus {
        /// What.
        what: &'static str,
    },
}

impl StatusError {
    /// How it ends the process. A proof that does not hold is an alarm, whoever brought it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::WrongProof { .. } | Self::Fork(_) => Exit::Alarm,
            Self::NotFresh { freshness, .. } => {
                freshness_exit(*freshness).unwrap_or(Exit::Unavailable)
            }
            _ => Exit::NotVerified,
        }
    }

    /// Two checkpoints that do not go together.
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::Fork(evidence) => Some(evidence),
            _ => None,
        }
    }
}

/// Asks `log` for all that `believed` needs to judge `subject`, in the tree of `head`, which was
/// followed. `intermediates` (DER) may certify signers. What the log does not answer is
/// [`Answer::Unknown`] in the history.
///
/// # Errors
/// [`StatusError`], where the log answers what is not so.
pub async fn gather_history(
    log: &LogReader<'_>,
    trust: &TrustFile,
    head: &SignedCheckpoint,
    believed: Believed<'_>,
    subject: &Subject,
    intermediates: &[Vec<u8>],
) -> Result<History, StatusError> {
    let open = |history: &History| Asked::of(crate::history::questions(believed, subject, history));
    Ok(Asker::new(log, trust, head, intermediates).gather(open).await?.history)
}

/// Reads a status proof and proves it, at the time `now` in Unix seconds. `intermediates` (DER) may
/// certify signers. Whether the status is about the right model shows when it is judged.
///
/// # Errors
/// [`StatusError`].
pub fn history_from_status(
    bytes: &[u8],
    trust: &TrustFile,
    intermediates: &[Vec<u8>],
    now: u64,
) -> Result<Proven, StatusError> {
    let proven = Status::parse(bytes)?.prove(trust, intermediates, Source::StatusProof)?;
    let freshness = Freshness::of(trust, &proven.head, now);
    match freshness_exit(freshness) {
        None => Ok(proven),
        Some(_) => {
            let size = proven.head.head().size.get();
            Err(StatusError::NotFresh { freshness, size, now })
        }
    }
}

/// The same policy with every rule on, so that all is asked for that any rule might need.
pub fn with_every_rule(policy: &ModelPolicy) -> ModelPolicy {
    let on = Some(Action::Warn);
    let days = Some(DaysRule { action: Action::Warn, days: 0 });
    ModelPolicy {
        first_seen: days,
        weights_first_seen: days,
        not_newest: on,
        version_not_rising: on,
        revoked: on,
        superseded: on,
        new_signer: on,
        other_signer: on,
        no_statement: on,
        ..policy.clone()
    }
}

/// A question, for people.
pub fn question_text(question: &Question) -> String {
    let facts: Vec<String> =
        question.facts().iter().map(|(tag, value)| format!("{}={value}", tag.name())).collect();
    facts.join(" ")
}

#[cfg(test)]
mod tests;
