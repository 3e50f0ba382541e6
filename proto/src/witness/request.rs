//! The body of an add-checkpoint request: how a log asks a witness to cosign
//! (c2sp.org/tlog-witness).
//!
//! ```text
//! old 20                                          the size that the witness cosigned last
//! 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=    consistency proof, none or more
//!                                                 blank line
//! log.example/models                              the note of the checkpoint
//! ...
//! ```
//!
//! Invariant: a body that parses has exactly one spelling. Out of scope: the note, the proof, and
//! every decision of the witness (see [`super::decide`]). Its answer is signature lines, which
//! [`crate::note::parse_signature_lines`] reads.

use thiserror::Error;

use crate::checkpoint::{parse_decimal, parse_hash};
use crate::encoding::to_base64;
use crate::hash::Hash;
use crate::tree::TreeSize;

/// The longest body in bytes: the longest proof takes 3 KiB, and public witnesses stop between
/// 16 KiB and 1 MiB.
pub const ADD_CHECKPOINT_LEN_MAX: usize = 128 << 10;

/// The most hashes in a body, as the specification says.
pub const ADD_CHECKPOINT_HASHES_MAX: usize = 63;

/// A request to cosign a checkpoint, none of it verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddCheckpoint {
    /// The size that the log believes the witness to have cosigned last; 0 at first.
    pub old_size: TreeSize,
    /// The consistency proof from that size to the checkpoint's.
    pub proof: Vec<Hash>,
    /// The note of the checkpoint.
    pub note: String,
}

/// Why bytes are not an add-checkpoint body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum AddCheckpointError {
    /// More than [`ADD_CHECKPOINT_LEN_MAX`] bytes.
    #[error("the request is longer than {ADD_CHECKPOINT_LEN_MAX} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("the request is not UTF-8")]
    NotUtf8,
    /// No old line first, or a size that no tree can have.
    #[error("the old size of the request is missing or malformed")]
    OldSize,
    /// Not the canonical base64 of 32 bytes.
    #[error("the request has a malformed hash")]
    Hash,
    /// More than [`ADD_CHECKPOINT_HASHES_MAX`].
    #[error("the request has more than {ADD_CHECKPOINT_HASHES_MAX} hashes")]
    TooManyHashes,
    /// Nothing after a blank line, or no blank line.
    #[error("the request has no checkpoint after a blank line")]
    NoCheckpoint,
}

impl AddCheckpoint {
    /// Reads a body strictly.
    ///
    /// # Errors
    /// Any [`AddCheckpointError`]; a witness answers all of them with status 400.
    pub fn parse(bytes: &[u8]) -> Result<Self, AddCheckpointError> {
        if bytes.len() > ADD_CHECKPOINT_LEN_MAX {
            return Err(AddCheckpointError::TooLong);
        }
        let text = str::from_utf8(bytes).map_err(|_| AddCheckpointError::NotUtf8)?;
        let (head, note) = text.split_once("\n\n").ok_or(AddCheckpointError::NoCheckpoint)?;
        if note.is_empty() {
            return Err(AddCheckpointError::NoCheckpoint);
        }
        let mut lines = head.split('\n');
        let old_size = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(parse_decimal)
            .and_then(TreeSize::new)
            .ok_or(AddCheckpointError::OldSize)?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == ADD_CHECKPOINT_HASHES_MAX {
                return Err(AddCheckpointError::TooManyHashes);
            }
            proof.push(parse_hash(line).ok_or(AddCheckpointError::Hash)?);
        }
        Ok(Self { old_size, proof, note: note.to_owned() })
    }

    /// The body.
    pub fn format(&self) -> String {
        let mut body = format!("old {}\n", self.old_size);
        for hash in &self.proof {
            body.push_str(&to_base64(hash.as_bytes()));
            body.push('\n');
        }
        body.push('\n');
        body.push_str(&self.note);
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;

    const HASH: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    const NOTE: &str = "log.example\n9\n...\n\n\u{2014} log.example AAAAAAA=\n";

    #[test]
    fn parses_and_formats_the_golden_body() {
        for (proof, lines) in [(vec![], ""), (vec![sha256(b"")], &format!("{HASH}\n"))] {
            let golden = format!("old 20\n{lines}\n{NOTE}");
            let old_size = TreeSize::new(20).expect("a size");
            let request = AddCheckpoint { old_size, proof, note: NOTE.to_owned() };
            assert_eq!(request.format(), golden);
            assert_eq!(AddCheckpoint::parse(golden.as_bytes()), Ok(request));
        }
    }

    #[test]
    fn rejects_malformed_bodies() {
        for (body, error) in [
            (String::new(), AddCheckpointError::NoCheckpoint),
            ("old 0\n".to_owned(), AddCheckpointError::NoCheckpoint),
            ("old 0\n\n".to_owned(), AddCheckpointError::NoCheckpoint),
            (format!("old 00\n\n{NOTE}"), AddCheckpointError::OldSize),
            (format!("old +1\n\n{NOTE}"), AddCheckpointError::OldSize),
            (format!("old 1\r\n\n{NOTE}"), AddCheckpointError::OldSize),
            (format!("old 9007199254740992\n\n{NOTE}"), AddCheckpointError::OldSize),
            (format!("size 1\n\n{NOTE}"), AddCheckpointError::OldSize),
            (format!("{HASH}\n\n{NOTE}"), AddCheckpointError::OldSize),
            (format!("\n\n{NOTE}"), AddCheckpointError::OldSize),
            (format!("old 1\nAAAA\n\n{NOTE}"), AddCheckpointError::Hash),
            (format!("old 1\n{HASH}\r\n\n{NOTE}"), AddCheckpointError::Hash),
        ] {
            assert_eq!(AddCheckpoint::parse(body.as_bytes()), Err(error), "{body:?}");
        }
        assert_eq!(AddCheckpoint::parse(b"\xff"), Err(AddCheckpointError::NotUtf8));
    }

    #[test]
    fn accepts_the_bounds_and_nothing_above() {
        let hashes = format!("{HASH}\n").repeat(ADD_CHECKPOINT_HASHES_MAX);
        assert!(AddCheckpoint::parse(format!("old 1\n{hashes}\n{NOTE}").as_bytes()).is_ok());
        let error = AddCheckpoint::parse(format!("old 1\n{hashes}{HASH}\n\n{NOTE}").as_bytes());
        assert_eq!(error, Err(AddCheckpointError::TooManyHashes));
        let mut longest = format!("old 1\n\n{NOTE}").into_bytes();
        longest.resize(ADD_CHECKPOINT_LEN_MAX, b'x');
        assert!(AddCheckpoint::parse(&longest).is_ok());
        longest.push(b'x');
        assert_eq!(AddCheckpoint::parse(&longest), Err(AddCheckpointError::TooLong));
    }
}
