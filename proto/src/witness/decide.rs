//! The decision of a witness: cosign this head, or refuse, and with which status (c2sp.org/
//! tlog-witness, "add-checkpoint").
//!
//! A request passes these steps, in this order; the first that fails gives the answer:
//!
//! | step | status if not |
//! |---|---|
//! | body, note and checkpoint are well formed | 400 |
//! | the origin is known | 404 |
//! | no line of a known key is wrong, and the log signed | 403 |
//! | the old size is not above the checkpoint's | 400 |
//! | the old size is the one that was cosigned last, 0 if none | 409 and that size |
//! | an empty tree has the root of no leaves | 422 |
//! | one size has one root | 422 |
//! | the proof leads from the old head to the new one | 422 |
//! | the clock is not behind the last cosignature | 503 |
//!
//! Types carry the order: bytes become a [`Submission`], and with the keys of the log a
//! [`VerifiedSubmission`] one, which alone can be decided.
//!
//! Invariant: a head is cosigned only if it extends the head before it, and never at an earlier
//! time. The first contact is the exception: any tree whose log signed it is taken, because there
//! is nothing to compare it with.
//! Out of scope: storing, which must happen between the decision and the answer, atomically.

use thiserror::Error;

use super::{AddCheckpoint, AddCheckpointError};
use crate::checkpoint::{
    Checkpoint, CheckpointError, OpenCheckpointError, SignedCheckpoint, open_checkpoint,
};
use crate::hash::{EMPTY_ROOT, Hash};
use crate::note::{Note, NoteError, NoteKey, OpenError, SignatureLine};
use crate::proof::{ProofError, check_consistency, old_root_from_consistency};
use crate::tree::{TreeHead, TreeSize};

/// The content type of the answer with status 409, whose body is a size.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// What a witness cosigned last for one origin: all that it must never forget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastCosigned {
    /// The largest tree that it cosigned.
    pub head: TreeHead,
    /// When it cosigned last, in seconds since 1970.
    pub time: u64,
}

/// A request that is well formed, nothing of it verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Submission {
    request: AddCheckpoint,
    note: Note,
    checkpoint: Checkpoint,
}

/// A request whose checkpoint the log signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedSubmission {
    signed: SignedCheckpoint,
    old_size: TreeSize,
    proof: Vec<Hash>,
    text: String,
    log_lines: Vec<SignatureLine>,
}

/// Why a checkpoint is not cosigned.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Refusal {
    /// Not a body.
    #[error(transparent)]
    Request(#[from] AddCheckpointError),
    /// Not a note in it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Not a checkpoint in the note.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// No key is known for the origin.
    #[error("this witness does not know the origin")]
    UnknownOrigin,
    /// A line of a known key does not verify, or none is there.
    #[error(transparent)]
    Signature(OpenError),
    /// Known keys signed, but none that a log signs its checkpoints with.
    #[error("the checkpoint has no signature by the log")]
    NoLogSignature,
    /// The proof would lead backwards.
    #[error("the old size {old} is above the checkpoint's size {new}")]
    SizesReversed {
        /// The old size of the request.
        old: TreeSize,
        /// The size of the checkpoint.
        new: TreeSize,
    },
    /// Another size was cosigned last.
    #[error("the size cosigned last is {last}")]
    Conflict {
        /// That size; 0 if none was.
        last: TreeSize,
    },
    /// An empty tree with the root of another tree.
    #[error("the checkpoint has a root that an empty tree cannot have")]
    EmptyTreeRoot,
    /// A second root for the size that was cosigned last.
    #[error("the checkpoint has another root than the one cosigned for its size")]
    OtherRoot,
    /// The proof is no proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The clock is behind the last cosignature.
    #[error("the clock of this witness is behind its last cosignature")]
    ClockBehind {
        /// By how many seconds.
        behind: u64,
    },
}

/// How a checkpoint that the log signed may contradict the one that was cosigned last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contradiction {
    /// Two roots for one size: both checkpoints together convict the log.
    ForkSize,
    /// The submitted proof shows that the new tree starts with another tree than the one cosigned:
    /// this convicts the log.
    ForkPrefix {
        /// The root that the size cosigned last has under the new checkpoint.
        root: Hash,
    },
    /// A smaller tree. This convicts the log only if it dated the smaller tree later, with an
    /// ML-DSA-44 line of its own; else it may be an old checkpoint.
    Smaller,
    /// The proof does not show that the new tree extends the one cosigned. Proofs are not signed,
    /// so anybody could have sent a wrong one.
    Unproven,
}

impl Submission {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Refusal::Request`], [`Refusal::Note`], [`Refusal::Checkpoint`].
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let request = AddCheckpoint::parse(body)?;
        let note = Note::parse(request.note.as_bytes())?;
        let checkpoint = Checkpoint::parse(&note.text)?;
        Ok(Self { request, note, checkpoint })
    }

    /// Which log it is about.
    pub fn origin(&self) -> &str {
        &self.checkpoint.origin
    }

    /// Verifies the signatures of the log. `keys` are those known for [`Submission::origin`] and no
    /// others; an origin without keys is unknown.
    ///
    /// # Errors
    /// [`Refusal::UnknownOrigin`], [`Refusal::Signature`], [`Refusal::NoLogSignature`].
    pub fn verify(self, keys: &[NoteKey]) -> Result<VerifiedSubmission, Refusal> {
        if keys.is_empty() {
            return Err(Refusal::UnknownOrigin);
        }
        let origin = &self.checkpoint.origin;
        let signed = open_checkpoint(self.request.note.as_bytes(), origin, keys)?;
        // The first line of each key, which is the one that was verified.
        let lines = signed.verified().iter().filter_map(|signature| {
            let key = &signature.key;
            let mut lines = self.note.signatures.iter();
            lines.find(|line| line.name == key.name() && line.key_id == key.key_id()).cloned()
        });
        let log_lines = lines.collect();
        let AddCheckpoint { old_size, proof, .. } = self.request;
        Ok(VerifiedSubmission { signed, old_size, proof, text: self.note.text, log_lines })
    }
}

impl VerifiedSubmission {
    /// The checkpoint that the log signed, with all its lines.
    pub fn signed(&self) -> &SignedCheckpoint {
        &self.signed
    }

    /// The text that the log signed and that is to be cosigned.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What must be stored, and then cosigned: this head, at `now`, in seconds since 1970. `last`
    /// is what was stored before for this origin; `None` at first contact.
    ///
    /// Between the reading of `last` and the storing of the result no other decision may fall for
    /// this origin: two answers from one `last` could roll the log back.
    ///
    /// # Errors
    /// Every [`Refusal`] that the steps before do not give. `last` stays.
    pub fn decide(&self, last: Option<LastCosigned>, now: u64) -> Result<LastCosigned, Refusal> {
        let new = self.signed.head();
        let known = last.map_or(TreeHead::EMPTY, |last| last.head);
        if self.old_size > new.size {
            return Err(Refusal::SizesReversed { old: self.old_size, new: new.size });
        }
        if self.old_size != known.size {
            return Err(Refusal::Conflict { last: known.size });
        }
        if new.size == TreeSize::ZERO && new.root != EMPTY_ROOT {
            return Err(Refusal::EmptyTreeRoot);
        }
        if new.size == known.size && new.root != known.root {
            return Err(Refusal::OtherRoot);
        }
        check_consistency(known, new, &self.proof)?;
        let earliest = last.map_or(1, |last| last.time);
        if now < earliest {
            return Err(Refusal::ClockBehind { behind: earliest - now });
        }
        Ok(LastCosigned { head: new, time: now })
    }

    /// How the checkpoint may contradict `last`, whatever else is wrong with the request: a log
    /// that forked need not say the old size right.
    pub fn contradiction(&self, last: LastCosigned) -> Option<Contradiction> {
        let (known, new) = (last.head, self.signed.head());
        if new.size == known.size {
            return (new.root != known.root).then_some(Contradiction::ForkSize);
        }
        if new.size < known.size {
            return Some(Contradiction::Smaller);
        }
        // The proof says nothing about the tree cosigned last unless it starts at its size.
        if self.old_size != known.size {
            return None;
        }
        if check_consistency(known, new, &self.proof).is_ok() {
            return None;
        }
        match old_root_from_consistency(known.size, new, &self.proof) {
            Some(root) if root != known.root => Some(Contradiction::ForkPrefix { root }),
            _ => Some(Contradiction::Unproven),
        }
    }

    /// The consistency proof of the request.
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The note to store and to show: the text, the lines of the log byte for byte, and `own`, the
    /// lines of this witness. Lines of others are left out.
    pub fn cosigned_note(&self, own: &[SignatureLine]) -> Note {
        let signatures = [&self.log_lines[..], own].concat();
        Note { text: self.text.clone(), signatures }
    }
}

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Self::Request(_) | Self::Note(_) | Self::Checkpoint(_) => 400,
            Self::SizesReversed { .. } => 400,
            Self::Signature(_) | Self::NoLogSignature => 403,
            Self::UnknownOrigin => 404,
            Self::Conflict { .. } => 409,
            Self::EmptyTreeRoot | Self::OtherRoot | Self::Proof(_) => 422,
            Self::ClockBehind { .. } => 503,
        }
    }

    /// A stable name, for metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Request(_) | Self::Note(_) | Self::Checkpoint(_) => "malformed",
            Self::SizesReversed { .. } => "sizes-reversed",
            Self::Signature(_) | Self::NoLogSignature => "signature",
            Self::UnknownOrigin => "unknown-origin",
            Self::Conflict { .. } => "conflict",
            Self::EmptyTreeRoot => "empty-tree-root",
            Self::OtherRoot => "other-root",
            Self::Proof(_) => "proof",
            Self::ClockBehind { .. } => "clock-behind",
        }
    }

    /// The body of the answer and its content type.
    pub fn body(&self) -> (&'static str, String) {
        match self {
            Self::Conflict { last } => (SIZE_CONTENT_TYPE, format!("{last}\n")),
            other => ("text/plain; charset=utf-8", format!("{other}\n")),
        }
    }
}

impl Contradiction {
    /// As evidence files name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForkSize => "fork-size",
            Self::ForkPrefix { .. } => "fork-prefix",
            Self::Smaller => "rollback",
            Self::Unproven => "inconsistent-unproven",
        }
    }
}

impl From<OpenCheckpointError> for Refusal {
    fn from(error: OpenCheckpointError) -> Self {
        match error {
            OpenCheckpointError::Note(error) => error.into(),
            OpenCheckpointError::Checkpoint(error) => error.into(),
            OpenCheckpointError::WrongOrigin { .. } => Self::UnknownOrigin,
            OpenCheckpointError::Open(error) => Self::Signature(error),
            OpenCheckpointError::NoLogSignature => Self::NoLogSignature,
        }
    }
}

#[cfg(test)]
mod tests;
