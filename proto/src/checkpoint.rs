//! The C2SP checkpoint: the text that a log signs for a tree head (c2sp.org/tlog-checkpoint).
//!
//! ```text
//! log.example/models                              origin: which log; never empty
//! 42                                              size: decimal, no leading zero
//! 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=    root: 32 bytes in base64
//! anything                                        extension lines, none or more, never blank
//! ```
//!
//! Each line ends with LF. We write no extension lines and keep those of others. A Rekor v1 log
//! writes the origin `<host> - <tree id>` and signs as `<host>` with a single line, so origin and
//! keys are passed separately here.
//!
//! Invariants: a text that parses has exactly one spelling; a [`SignedCheckpoint`] comes only from
//! verification.
//! Out of scope: whether the tree is consistent with others, and whether enough witnesses cosigned
//! (see [`crate::policy`]).

use thiserror::Error;

use crate::encoding::{from_base64, to_base64};
use crate::hash::Hash;
use crate::note::{self, Note, NoteError, NoteKey, OpenError, Verified};
use crate::tree::{TreeHead, TreeSize};

/// What a log states: this origin has this tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The identity of the log: one non-empty line.
    pub origin: String,
    /// Size and root of its tree.
    pub head: TreeHead,
    /// Further lines, each non-empty and without its LF.
    pub extensions: Vec<String>,
}

/// A checkpoint that a log signed, with the note that shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note_bytes: Vec<u8>,
    verified: Vec<Verified>,
}

/// Why a text is not a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum CheckpointError {
    /// The last line has no LF, or there are fewer than three lines.
    #[error("the checkpoint has fewer than three finished lines")]
    TooFewLines,
    /// A byte below 0x20 that is not LF.
    #[error("the checkpoint has a control byte other than a line feed")]
    ControlByte,
    /// An empty first line.
    #[error("the checkpoint has an empty origin")]
    Origin,
    /// Not a decimal number without leading zero, or above the largest tree.
    #[error("the checkpoint has a malformed or too large tree size")]
    Size,
    /// Not the canonical base64 of 32 bytes.
    #[error("the checkpoint has a malformed root hash")]
    Root,
    /// A blank extension line.
    #[error("the checkpoint has a blank extension line")]
    Extension,
}

/// Why a note is not an acceptable checkpoint of a log.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum OpenCheckpointError {
    /// Not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A note that holds no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint of another log.
    #[error("the checkpoint is of another log, {found}")]
    WrongOrigin {
        /// The origin in the checkpoint.
        found: String,
    },
    /// The signatures are not acceptable.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Only witnesses signed.
    #[error("the checkpoint has no signature by the log")]
    NoLogSignature,
}

impl Checkpoint {
    /// Reads the text of a checkpoint strictly.
    ///
    /// An empty tree with a root other than that of no leaves is well formed here; it fails when
    /// proofs are checked.
    ///
    /// # Errors
    /// Any [`CheckpointError`]; every text but the one that [`Checkpoint::format`] writes is
    /// refused.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        if text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(CheckpointError::ControlByte);
        }
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::TooFewLines)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::TooFewLines);
        };
        if origin.is_empty() {
            return Err(CheckpointError::Origin);
        }
        let size = parse_decimal(size).and_then(TreeSize::new).ok_or(CheckpointError::Size)?;
        let root = parse_hash(root).ok_or(CheckpointError::Root)?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(CheckpointError::Extension);
        }
        Ok(Self { origin: origin.to_owned(), head: TreeHead { size, root }, extensions })
    }

    /// The text, with its final LF.
    pub fn format(&self) -> String {
        let root = to_base64(self.head.root.as_bytes());
        let mut text = format!("{}\n{}\n{root}\n", self.origin, self.head.size);
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

impl SignedCheckpoint {
    /// What the log signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Size and root of the tree.
    pub fn head(&self) -> TreeHead {
        self.checkpoint.head
    }

    /// The note, byte for byte, with all its signature lines.
    pub fn note_bytes(&self) -> &[u8] {
        &self.note_bytes
    }

    /// The signatures that verified, in the order of the note: at least one is the log's.
    pub fn verified(&self) -> &[Verified] {
        &self.verified
    }
}

/// Verifies the note of a checkpoint of the log `origin`.
///
/// `keys` are those of this log and of the witnesses whose cosignatures matter, and no other log's:
/// any log key among them may vouch for `origin`.
///
/// # Errors
/// Any [`OpenCheckpointError`].
pub fn open_checkpoint(
    note_bytes: &[u8],
    origin: &str,
    keys: &[NoteKey],
) -> Result<SignedCheckpoint, OpenCheckpointError> {
    let note = Note::parse(note_bytes)?;
    let checkpoint = Checkpoint::parse(&note.text)?;
    if checkpoint.origin != origin {
        return Err(OpenCheckpointError::WrongOrigin { found: checkpoint.origin });
    }
    let verified = note::open(&note, keys)?;
    if !verified.iter().any(|signature| signature.key.is_log_key()) {
        return Err(OpenCheckpointError::NoLogSignature);
    }
    Ok(SignedCheckpoint { checkpoint, note_bytes: note_bytes.to_vec(), verified })
}

/// The number that `text` writes in decimal digits without leading zero or sign; `None` for every
/// other text.
pub fn parse_decimal(text: &str) -> Option<u64> {
    // The standard parser alone would accept a plus sign.
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// The hash that `line` writes in canonical base64; `None` for every other text.
pub fn parse_hash(line: &str) -> Option<Hash> {
    from_base64(line).and_then(|bytes| Hash::from_slice(&bytes))
}

#[cfg(test)]
mod tests;
