//! Why an evidence file does not show what it says: each doubt is a sentence for people.
//!
//! Out of scope: deciding (see the parent).

use thiserror::Error;

use crate::checkpoint::CheckpointError;
use crate::identity::IdentityError;
use crate::note::{NoteError, OpenError};
use crate::proof::ProofError;

/// Why a file does not show what it says.
#[derive(Debug, Error)]
pub(super) enum Doubt {
    #[error("no key of the file counts")]
    NoKey,
    #[error("{key}, a key of the file, is not named like this log")]
    KeyOfOtherLog { key: String },
    #[error("note {number}: {error}")]
    Note { number: usize, error: NoteError },
    #[error("note {number}: {error}")]
    Checkpoint { number: usize, error: CheckpointError },
    #[error("note {number} is not of this origin")]
    Origin { number: usize },
    #[error("note {number}: {error}")]
    Signatures { number: usize, error: OpenError },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the identity document is not of this origin, or of no key that counts")]
    OtherIdentity,
    #[error("both notes are of one tree")]
    SameTree,
    #[error("the sizes of the two trees are not those of this kind of evidence")]
    Sizes,
    #[error("altroot is the root of note 0, so nothing was rewritten")]
    SameRoot,
    #[error("{key}, a key of the file, did not sign note {number}")]
    NotSigned { key: String, number: usize },
    #[error("no log and no witness signed both notes")]
    NobodySignedBoth,
    #[error("no key dated note 1 later than note 0")]
    NotLater,
    #[error("{0}")]
    Proof(#[from] ProofError),
    #[error("the promise is not signed by the log's v1 key")]
    Promise,
    #[error("the promise was kept: the promised entry stands there")]
    Kept,
    #[error("note 0 has no line with a time by the log's ML-DSA-44 key")]
    NoTime,
    #[error("the two times do not contradict each other")]
    TimesAgree,
    #[error("note 1 is signed by a key of the file, so it is not a stranger's")]
    NotForeign,
    #[error("the file lacks a part that this kind of evidence has")]
    Incomplete,
}
