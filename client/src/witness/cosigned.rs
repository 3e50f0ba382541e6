//! The newest checkpoint that this witness cosigned for one origin: what is stored, shown, and
//! compared with.
//!
//! It is a C2SP note: the text, the log's lines byte for byte as it sent them, then the lines of
//! this witness. There is no other record, so nothing can disagree with it.
//!
//! ```text
//! log.example/models
//! 1
//! iipcm3aIJ95alVLDigRMZpWcaPbS8htSYK9U0vh9uCc=
//!
//! — log.example/models OofW8XaaUdLR8CRdmZZWhz0HDZeGNeJ75qNRQ7ykQKGyrKdEleWT0Ur+0LtSZs9rKqY/N54CV92
//!     qq18751uX6g7acgI=
//! — witness.example MXa9RQAAAABlU/EAIlrWdoT+XByg32hDBZTTS1fwOORaqqoig0GK3rIhihlSWb35leVvflmcd9dT6X
//!     3vHAp2SjuONxywQ0nqbjuFAg==
//! ```
//!
//! Invariant: what [`Cosigned::parse`] returns was cosigned by this witness at the time that it
//! says; a file with a flipped bit is none. Its own signature is the checksum.

use treering_proto::checkpoint::{Checkpoint, CheckpointError};
use treering_proto::note::{self, Note, NoteError, NoteKey, OpenError, SignatureLine};
use treering_proto::witness::LastCosigned;

/// A checkpoint with the cosignature of this witness.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cosigned {
    origin: String,
    last: LastCosigned,
    text: String,
    note: String,
    own_lines: String,
}

/// Why bytes are not a checkpoint that this witness cosigned.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CosignedError {
    /// Not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Not cosigned with these keys.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No line by the first key, or times that differ.
    #[error("the cosignatures of this witness are incomplete")]
    Incomplete,
}

impl Cosigned {
    /// The checkpoint `note`, which is signed by the log and cosigned with `own` keys.
    ///
    /// # Errors
    /// Any [`CosignedError`].
    pub fn new(note: &Note, own: &[NoteKey]) -> Result<Self, CosignedError> {
        let checkpoint = Checkpoint::parse(&note.text)?;
        let verified = note::open(note, own)?;
        let first = verified.iter().find(|signature| Some(&signature.key) == own.first());
        let time = first.and_then(|signature| signature.time).ok_or(CosignedError::Incomplete)?;
        if verified.iter().any(|signature| signature.time != Some(time)) {
            return Err(CosignedError::Incomplete);
        }
        let is_own = |line: &&SignatureLine| {
            own.iter().any(|key| key.name() == line.name && key.key_id() == line.key_id)
        };
        let own_lines = note.signatures.iter().filter(is_own).map(SignatureLine::format).collect();
        Ok(Self {
            origin: checkpoint.origin,
            last: LastCosigned { head: checkpoint.head, time },
            text: note.text.clone(),
            note: note.format(),
            own_lines,
        })
    }

    /// Reads what [`Cosigned::note`] gives.
    ///
    /// # Errors
    /// Any [`CosignedError`].
    pub fn parse(bytes: &[u8], own: &[NoteKey]) -> Result<Self, CosignedError> {
        Self::new(&Note::parse(bytes)?, own)
    }

    /// Which log it is about.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Which tree, and when it was cosigned.
    pub fn last(&self) -> LastCosigned {
        self.last
    }

    /// The text that the log signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The note, with the lines of the log and of this witness.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The lines of this witness alone: the answer to the log.
    pub fn own_lines(&self) -> &str {
        &self.own_lines
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use treering_proto::note::{sign_cosignature_line, sign_ed25519_line};

    use super::*;

    const TEXT: &str = "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn own() -> Vec<NoteKey> {
        vec![NoteKey::cosignature("w.example", key(2).verifying_key().as_bytes()).unwrap()]
    }

    fn note() -> Note {
        let signatures = vec![
            sign_ed25519_line("log.example", &key(1), TEXT),
            sign_cosignature_line("w.example", &key(2), TEXT, 7),
        ];
        Note { text: TEXT.to_owned(), signatures }
    }

    #[test]
    fn a_note_is_read_back_with_its_time_and_our_line() {
        let note = note();
        let cosigned = Cosigned::parse(note.format().as_bytes(), &own()).unwrap();
        assert_eq!((cosigned.origin(), cosigned.text()), ("log.example", TEXT));
        assert_eq!((cosigned.last().head.size.get(), cosigned.last().time), (0, 7));
        assert_eq!(cosigned.note(), note.format());
        assert_eq!(cosigned.own_lines(), note.signatures[1].format());
    }

    #[test]
    fn every_flipped_bit_of_text_and_own_line_is_noticed() {
        let note = note().format();
        let foreign = TEXT.len() + 1..note.rfind('\u{2014}').unwrap();
        for at in (0..note.len()).filter(|at| !foreign.contains(at)) {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(Cosigned::parse(&bytes, &own()).is_err(), "byte {at}");
        }
        for len in 0..note.len() {
            assert!(Cosigned::parse(&note.as_bytes()[..len], &own()).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn another_witness_did_not_cosign_it() {
        let other = NoteKey::cosignature("w.example", key(3).verifying_key().as_bytes()).unwrap();
        let refused = Cosigned::new(&note(), &[other]).unwrap_err();
        assert_eq!(refused, CosignedError::Open(OpenError::NoKnownKey));
    }
}
