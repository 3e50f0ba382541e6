//! The C2SP proof file: an inclusion proof and its checkpoint in one text, stored as `.tlog-proof`
//! (c2sp.org/tlog-proof).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra AAEC                                      base64; the line is left out when there is none
//! index 5
//! 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=    hashes of the path, none or more, leaf first
//!                                                 blank line
//! log.example/models                              the note of the checkpoint, byte for byte
//! ...
//! ```
//!
//! Invariant: a file that parses has exactly one spelling. Nothing in it is verified here, and
//! `extra` cannot be: it is outside of every signature. Out of scope: opening the checkpoint (see
//! [`crate::checkpoint`]) and the proof itself, where an index outside of the tree fails.

use thiserror::Error;

use crate::checkpoint::{parse_decimal, parse_hash};
use crate::encoding::{from_base64, to_base64};
use crate::hash::Hash;
use crate::tree::LeafIndex;

/// The longest proof file in bytes: the longest path takes 3 KiB, and the rest is for a checkpoint
/// with many cosignatures.
pub const PROOF_FILE_LEN_MAX: usize = 1 << 20;

/// The most hashes in a file: a path in the largest tree that C2SP proofs allow.
pub const PROOF_FILE_HASHES_MAX: usize = 63;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// The parts of a proof file, none of them verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProofFile {
    /// For the application, never empty, and signed by nobody.
    pub extra: Option<Vec<u8>>,
    /// The position of the entry.
    pub index: LeafIndex,
    /// The inclusion path, from the sibling of the leaf up.
    pub hashes: Vec<Hash>,
    /// The note of the checkpoint.
    pub checkpoint: String,
}

/// Why bytes are not a proof file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ProofFileError {
    /// More than [`PROOF_FILE_LEN_MAX`] bytes.
    #[error("the proof file is longer than {PROOF_FILE_LEN_MAX} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("the proof file is not UTF-8")]
    NotUtf8,
    /// Another first line, perhaps of a later version.
    #[error("the proof file does not start with {FIRST_LINE}")]
    FirstLine,
    /// Not canonical base64, or empty.
    #[error("the extra line of the proof file is malformed")]
    Extra,
    /// No index line where one must be, or an index that no tree can hold.
    #[error("the index line of the proof file is missing or malformed")]
    Index,
    /// Not the canonical base64 of 32 bytes.
    #[error("the proof file has a malformed hash")]
    Hash,
    /// More than [`PROOF_FILE_HASHES_MAX`].
    #[error("the proof file has more than {PROOF_FILE_HASHES_MAX} hashes")]
    TooManyHashes,
    /// Nothing after a blank line, or no blank line.
    #[error("the proof file has no checkpoint after a blank line")]
    NoCheckpoint,
}

impl ProofFile {
    /// Reads a proof file strictly.
    ///
    /// # Errors
    /// Any [`ProofFileError`]; every text but the one that [`ProofFile::format`] writes is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFileError> {
        if bytes.len() > PROOF_FILE_LEN_MAX {
            return Err(ProofFileError::TooLong);
        }
        let text = str::from_utf8(bytes).map_err(|_| ProofFileError::NotUtf8)?;
        let (proof, checkpoint) = text.split_once("\n\n").ok_or(ProofFileError::NoCheckpoint)?;
        if checkpoint.is_empty() {
            return Err(ProofFileError::NoCheckpoint);
        }
        let mut lines = proof.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(ProofFileError::FirstLine);
        }
        let mut line = lines.next().ok_or(ProofFileError::Index)?;
        let mut extra = None;
        if let Some(encoded) = line.strip_prefix("extra ") {
            extra = Some(parse_extra(encoded).ok_or(ProofFileError::Extra)?);
            line = lines.next().ok_or(ProofFileError::Index)?;
        }
        let index = line
            .strip_prefix("index ")
            .and_then(parse_decimal)
            .and_then(LeafIndex::new)
            .ok_or(ProofFileError::Index)?;
        let mut hashes = Vec::new();
        for line in lines {
            if hashes.len() == PROOF_FILE_HASHES_MAX {
                return Err(ProofFileError::TooManyHashes);
            }
            hashes.push(parse_hash(line).ok_or(ProofFileError::Hash)?);
        }
        Ok(Self { extra, index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// The text of the file. Empty `extra` is left out, as if it were `None`.
    pub fn format(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        if let Some(extra) = self.extra.as_ref().filter(|extra| !extra.is_empty()) {
            text.push_str(&format!("extra {}\n", to_base64(extra)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&to_base64(hash.as_bytes()));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }
}

fn parse_extra(encoded: &str) -> Option<Vec<u8>> {
    from_base64(encoded).filter(|extra| !extra.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha256;
    use crate::tree::TREE_SIZE_MAX;

    const HASH: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    const NOTE: &str = "log.example\n9\n...\n\n\u{2014} log.example AAAAAAA=\n";

    fn file(head: &str) -> String {
        format!("c2sp.org/tlog-proof@v1\n{head}\n{NOTE}")
    }

    #[test]
    fn parses_and_formats_the_golden_file() {
        let golden = file(&format!("extra AAEC\nindex 5\n{HASH}\n{HASH}\n"));
        let parsed = ProofFile {
            extra: Some(vec![0, 1, 2]),
            index: LeafIndex::new(5).expect("an index"),
            hashes: vec![sha256(b""); 2],
            checkpoint: NOTE.to_owned(),
        };
        assert_eq!(parsed.format(), golden);
        assert_eq!(ProofFile::parse(golden.as_bytes()), Ok(parsed));
    }

    #[test]
    fn extra_and_hashes_are_optional() {
        for head in ["index 0\n".to_owned(), format!("index 0\n{HASH}\n")] {
            let text = file(&head);
            let parsed = ProofFile::parse(text.as_bytes()).expect("a proof file");
            assert_eq!(parsed.extra, None);
            assert_eq!(parsed.format(), text);
            let with_empty = ProofFile { extra: Some(Vec::new()), ..parsed };
            assert_eq!(with_empty.format(), text);
        }
    }

    #[test]
    fn rejects_malformed_files() {
        let too_large = format!("index {TREE_SIZE_MAX}\n");
        for (head, error) in [
            ("extra \nindex 0\n", ProofFileError::Extra),
            ("extra AAE\nindex 0\n", ProofFileError::Extra),
            ("extra AAEC\n", ProofFileError::Index),
            ("extra AAEC\nextra AAEC\nindex 0\n", ProofFileError::Index),
            ("index 0\nextra AAEC\n", ProofFileError::Hash),
            ("index 00\n", ProofFileError::Index),
            ("index +1\n", ProofFileError::Index),
            ("index  1\n", ProofFileError::Index),
            ("index\n", ProofFileError::Index),
            ("index 18446744073709551616\n", ProofFileError::Index),
            (&too_large, ProofFileError::Index),
            ("index 0\r\n", ProofFileError::Index),
            ("index 0\nAAAA\n", ProofFileError::Hash),
            (&format!("index 0\n{HASH}\r\n"), ProofFileError::Hash),
            (&format!("index 0\n {HASH}\n"), ProofFileError::Hash),
        ] {
            let text = file(head);
            assert_eq!(ProofFile::parse(text.as_bytes()), Err(error), "{head:?}");
        }
    }

    #[test]
    fn rejects_other_versions_and_files_without_checkpoint() {
        for (text, error) in [
            (String::new(), ProofFileError::NoCheckpoint),
            ("c2sp.org/tlog-proof@v1\nindex 0\n".to_owned(), ProofFileError::NoCheckpoint),
            ("c2sp.org/tlog-proof@v1\nindex 0\n\n".to_owned(), ProofFileError::NoCheckpoint),
            (format!("c2sp.org/tlog-proof@v2\nindex 0\n\n{NOTE}"), ProofFileError::FirstLine),
            (format!("c2sp.org/tlog-proof@v1\r\nindex 0\n\n{NOTE}"), ProofFileError::FirstLine),
            (format!("c2sp.org/tlog-proof@v1\n\n{NOTE}"), ProofFileError::Index),
        ] {
            assert_eq!(ProofFile::parse(text.as_bytes()), Err(error), "{text:?}");
        }
        assert_eq!(ProofFile::parse(b"\xff"), Err(ProofFileError::NotUtf8));
    }

    #[test]
    fn accepts_the_bounds_and_nothing_above() {
        let most = format!("index 0\n{}", format!("{HASH}\n").repeat(PROOF_FILE_HASHES_MAX));
        assert!(ProofFile::parse(file(&most).as_bytes()).is_ok());
        let error = ProofFile::parse(file(&format!("{most}{HASH}\n")).as_bytes());
        assert_eq!(error, Err(ProofFileError::TooManyHashes));
        let mut longest = file("index 0\n").into_bytes();
        longest.resize(PROOF_FILE_LEN_MAX, b'x');
        assert!(ProofFile::parse(&longest).is_ok());
        longest.push(b'x');
        assert_eq!(ProofFile::parse(&longest), Err(ProofFileError::TooLong));
    }
}
