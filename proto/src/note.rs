//! The C2SP signed note: a text, a blank line, and one signature line for each signer
//! (c2sp.org/signed-note).
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
//! The text ends with the LF before the *last* blank line, and may hold blank lines itself. Each
//! signature line is an em dash, the key name, and base64 of the four-byte key id and the
//! signature. The example (its signature lines are folded here) is signed by the Ed25519 seed of 32
//! bytes 0x01 and cosigned, at 1700000000, by the seed of 32 bytes 0x02; a test writes the same
//! bytes.
//!
//! Invariant: a note that parses has exactly one spelling, so `Note::parse(bytes)?.format()` gives
//! `bytes` back.
//! Out of scope: what the text means (see [`crate::checkpoint`]) and who is trusted (the caller's
//! keys say).

mod key;

use ed25519_dalek::{Signer as _, SigningKey};
use thiserror::Error;

use crate::cosignature;
use crate::cosignature::ml_dsa_44::{self, MlDsa44SigningKey};
use crate::encoding::{from_base64, to_base64};
use crate::tree::TreeHead;

pub use key::{InvalidSignature, NoteKey, NoteKeyError, NoteKeyKind, VKEY_LEN_MAX};

/// The longest note in bytes: what the Go implementation accepts, and far above 16 signatures of
/// any known type.
pub const NOTE_LEN_MAX: usize = 1 << 20;

/// The most signature lines in a note: what the Go implementation accepts; the specification asks
/// for 16 or more.
pub const SIGNATURES_MAX: usize = 100;

/// The longest key name in bytes: ML-DSA cosignatures write this length in one byte.
pub const KEY_NAME_LEN_MAX: usize = 255;

/// A signed note. What [`Note::parse`] returns is well formed; nothing in it is verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// What is signed, with its final LF.
    pub text: String,
    /// The signature lines in the order of the note: 1 to [`SIGNATURES_MAX`].
    pub signatures: Vec<SignatureLine>,
}

/// One signature line of a note.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignatureLine {
    /// The name of the key, see [`is_key_name`].
    pub name: String,
    /// The first four bytes of a hash that depends on the kind of key, see
    /// [`NoteKey::key_id_full`].
    pub key_id: [u8; 4],
    /// At least one byte; its form depends on the kind of key.
    pub signature: Vec<u8>,
}

/// A signature that verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Whose it is.
    pub key: NoteKey,
    /// When the signer says that this was the newest tree it knew, in seconds since 1970; only
    /// cosignatures have it, and not every ML-DSA-44 cosignature.
    pub time: Option<u64>,
}

/// Why bytes are not a note.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NoteError {
    /// More than [`NOTE_LEN_MAX`] bytes.
    #[error("the note is longer than {NOTE_LEN_MAX} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("the note is not UTF-8")]
    NotUtf8,
    /// A byte below 0x20 that is not LF.
    #[error("the note has a control byte other than a line feed")]
    ControlByte,
    /// No blank line ends the text.
    #[error("the note has no blank line between text and signatures")]
    NoBlankLine,
    /// Nothing follows the blank line.
    #[error("the note has no signature line")]
    NoSignature,
    /// The last line has no LF.
    #[error("the note does not end with a line feed")]
    UnfinishedLine,
    /// More than [`SIGNATURES_MAX`] lines.
    #[error("the note has more than {SIGNATURES_MAX} signature lines")]
    TooManySignatures,
    /// A line that is not dash, name, canonical base64 of five bytes or more.
    #[error("the note has a malformed signature line")]
    SignatureLine,
    /// A name that no key can have.
    #[error("a signature line of the note has an invalid key name")]
    KeyName,
}

/// Why a well-formed note is not accepted.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum OpenError {
    /// A line names one of the keys and does not verify with it, which makes the whole note
    /// suspect.
    #[error("the signature of {name} does not verify")]
    InvalidSignature {
        /// The name in the line.
        name: String,
    },
    /// No line names one of the keys.
    #[error("the note has no signature by a known key")]
    NoKnownKey,
    /// Two different keys of the caller share name and key id, so that a line could mean either.
    #[error("two known keys named {name} have the same key id")]
    AmbiguousKey {
        /// The name of both.
        name: String,
    },
}

impl Note {
    /// Reads a note strictly.
    ///
    /// # Errors
    /// Any [`NoteError`]; every byte string but the one that [`Note::format`] writes is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = bounded_text(bytes)?;
        let text_len = 1 + note.rfind("\n\n").ok_or(NoteError::NoBlankLine)?;
        Ok(Self {
            text: note[..text_len].to_owned(),
            signatures: signature_lines(&note[text_len + 1..])?,
        })
    }

    /// The bytes of the note, as text.
    pub fn format(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for line in &self.signatures {
            note.push_str(&line.format());
        }
        note
    }
}

impl SignatureLine {
    /// The line with its final LF.
    pub fn format(&self) -> String {
        let payload = [&self.key_id[..], &self.signature].concat();
        format!("\u{2014} {} {}\n", self.name, to_base64(&payload))
    }

    fn parse(line: &str) -> Result<Self, NoteError> {
        let named = line.strip_prefix("\u{2014} ").ok_or(NoteError::SignatureLine)?;
        let (name, encoded) = named.split_once(' ').ok_or(NoteError::SignatureLine)?;
        if !is_key_name(name) {
            return Err(NoteError::KeyName);
        }
        let payload = from_base64(encoded).ok_or(NoteError::SignatureLine)?;
        match payload.split_first_chunk() {
            Some((key_id, signature)) if !signature.is_empty() => {
                Ok(Self { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() })
            }
            _ => Err(NoteError::SignatureLine),
        }
    }
}

/// Reads signature lines that stand alone, which is how a witness answers.
///
/// # Errors
/// As for [`Note::parse`], except [`NoteError::NoBlankLine`].
pub fn parse_signature_lines(bytes: &[u8]) -> Result<Vec<SignatureLine>, NoteError> {
    signature_lines(bounded_text(bytes)?)
}

/// Whether a key may have this name: 1 to [`KEY_NAME_LEN_MAX`] bytes without Unicode space, `+` or
/// control bytes.
pub fn is_key_name(name: &str) -> bool {
    (1..=KEY_NAME_LEN_MAX).contains(&name.len())
        && !name.contains(|c: char| c.is_whitespace() || c < ' ' || c == '+')
}

/// Verifies `note` with `keys`; returns one [`Verified`] for each key that signed, in the order of
/// the note.
///
/// Lines of other keys are ignored, whatever they hold. Of several lines of one key the first
/// counts.
///
/// # Errors
/// [`OpenError`]; a bad line of a known key refuses the note however many good ones stand beside
/// it.
pub fn open(note: &Note, keys: &[NoteKey]) -> Result<Vec<Verified>, OpenError> {
    let mut verified: Vec<Verified> = Vec::new();
    for line in &note.signatures {
        let Some(key) = find_key(line, keys)? else { continue };
        if verified.iter().any(|earlier| earlier.key == *key) {
            continue;
        }
        let time = key
            .verify(&note.text, &line.signature)
            .map_err(|InvalidSignature| OpenError::InvalidSignature { name: line.name.clone() })?;
        verified.push(Verified { key: key.clone(), time });
    }
    if verified.is_empty() { Err(OpenError::NoKnownKey) } else { Ok(verified) }
}

/// The line with which the log key `key`, called `name`, signs `text`. The same input always gives
/// the same line.
pub fn sign_ed25519_line(name: &str, key: &SigningKey, text: &str) -> SignatureLine {
    assert_signable(text);
    let signature = key.sign(text.as_bytes()).to_vec();
    let verifier = NoteKey::ed25519(name, key.verifying_key().as_bytes());
    line_of(verifier, signature)
}

/// The line with which the witness key `key`, called `name`, cosigns `text` at `time`, in seconds
/// since 1970.
pub fn sign_cosignature_line(name: &str, key: &SigningKey, text: &str, time: u64) -> SignatureLine {
    assert_signable(text);
    let payload = cosignature::sign(key, text, time).to_vec();
    let verifier = NoteKey::cosignature(name, key.verifying_key().as_bytes());
    line_of(verifier, payload)
}

/// The line with which `key`, called `name`, cosigns the tree `head` of the log `origin` at `time`,
/// in seconds since 1970; 0 gives no time. A log cosigns its own tree under its origin.
pub fn sign_ml_dsa_44_line(
    name: &str,
    key: &MlDsa44SigningKey,
    origin: &str,
    head: TreeHead,
    time: u64,
) -> SignatureLine {
    let payload = ml_dsa_44::sign(key, name, origin, head, time);
    let payload = payload.expect("we cosign well-formed trees under names that fit");
    line_of(NoteKey::ml_dsa_44(name, key.public_key()), payload)
}

fn bounded_text(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > NOTE_LEN_MAX {
        return Err(NoteError::TooLong);
    }
    let text = str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8)?;
    if text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(NoteError::ControlByte);
    }
    Ok(text)
}

fn signature_lines(block: &str) -> Result<Vec<SignatureLine>, NoteError> {
    if block.is_empty() {
        return Err(NoteError::NoSignature);
    }
    let lines = block.strip_suffix('\n').ok_or(NoteError::UnfinishedLine)?;
    let mut signatures = Vec::new();
    for line in lines.split('\n') {
        if signatures.len() == SIGNATURES_MAX {
            return Err(NoteError::TooManySignatures);
        }
        signatures.push(SignatureLine::parse(line)?);
    }
    Ok(signatures)
}

fn find_key<'k>(
    line: &SignatureLine,
    keys: &'k [NoteKey],
) -> Result<Option<&'k NoteKey>, OpenError> {
    let mut named = keys.iter().filter(|k| k.name() == line.name && k.key_id() == line.key_id);
    let first = named.next();
    if named.any(|other| Some(other) != first) {
        return Err(OpenError::AmbiguousKey { name: line.name.clone() });
    }
    Ok(first)
}

fn assert_signable(text: &str) {
    assert!(text.ends_with('\n'), "a text that we sign ends with a line feed");
}

fn line_of(verifier: Result<NoteKey, NoteKeyError>, signature: Vec<u8>) -> SignatureLine {
    let verifier = verifier.expect("our own signing keys have valid names and strong public keys");
    SignatureLine { name: verifier.name().to_owned(), key_id: verifier.key_id(), signature }
}

#[cfg(test)]
mod tests;
