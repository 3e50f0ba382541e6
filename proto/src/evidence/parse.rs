//! Reading an evidence file.
//!
//! Lines stand in one order, each kind has its own set of them, and what is read is written again
//! and compared, so that no file has a second spelling. Out of scope: what the file proves.

use std::iter::Peekable;
use std::str::Split;

use thiserror::Error;

use super::{
    EVIDENCE_KEYS_MAX, EVIDENCE_LEN_MAX, EVIDENCE_TEXT_LEN_MAX, EvidenceFile, EvidenceKind, MAGIC,
    Promise,
};
use crate::checkpoint::{parse_decimal, parse_hash};
use crate::encoding::from_base64;
use crate::hash::{Hash, sha256};
use crate::note::{NoteKey, NoteKeyError};
use crate::proof::PROOF_HASHES_MAX;
use crate::tree::LeafIndex;

/// Why bytes are not an evidence file, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("evidence line {line}: {fault}")]
pub struct EvidenceError {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: EvidenceFault,
}

/// What is wrong with an evidence file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum EvidenceFault {
    /// More than [`EVIDENCE_LEN_MAX`] bytes.
    #[error("the file is longer than {EVIDENCE_LEN_MAX} bytes")]
    TooLong,
    /// Not UTF-8, or a last line without LF.
    #[error("not UTF-8, or the last line does not end with a line feed")]
    NotLines,
    /// The first line is another one.
    #[error("the file does not start with the line {MAGIC}")]
    Magic,
    /// A kind that this version does not know.
    #[error("unknown kind of evidence")]
    Kind,
    /// Another line stands where this kind of evidence has this one.
    #[error("the line {0:?} is missing")]
    Missing(&'static str),
    /// A line after the last, or one that this kind of evidence does not have.
    #[error("a line too many")]
    Surplus,
    /// More than [`EVIDENCE_KEYS_MAX`] keys, or more than [`PROOF_HASHES_MAX`] hashes.
    #[error("too many keys or hashes")]
    TooMany,
    /// An empty text, or one of more than [`EVIDENCE_TEXT_LEN_MAX`] bytes or with control bytes.
    #[error("the text is empty, too long, or has control characters")]
    Text,
    /// A key that cannot be used.
    #[error(transparent)]
    Key(NoteKeyError),
    /// Not canonical base64 of one byte or more; of 32 bytes where a hash belongs.
    #[error("malformed base64")]
    Base64,
    /// Not a decimal number without leading zero, or too large.
    #[error("malformed number")]
    Number,
    /// The lines above are not those that the sum was made of.
    #[error("the sum is not that of the lines above: the file is damaged")]
    Sum,
    /// A key twice.
    #[error("a line is given twice")]
    Twice,
    /// Not the one way to write this file.
    #[error("the file is spelled in another way than it should be")]
    Spelling,
}

pub(super) fn parse(bytes: &[u8]) -> Result<EvidenceFile, EvidenceError> {
    let at_start = |fault| EvidenceError { line: 1, fault };
    if bytes.len() > EVIDENCE_LEN_MAX {
        return Err(at_start(EvidenceFault::TooLong));
    }
    let text = str::from_utf8(bytes).ok().and_then(|text| text.strip_suffix('\n'));
    let text = text.ok_or_else(|| at_start(EvidenceFault::NotLines))?;
    let mut lines = Lines { lines: text.split('\n').peekable(), number: 0 };
    if lines.lines.next_if_eq(&MAGIC).is_none() {
        return Err(at_start(EvidenceFault::Magic));
    }
    lines.number = 1;
    let file = read(&mut lines)?;
    // Each line has one spelling by itself; this closes whatever was overlooked.
    if file.format().as_bytes() != bytes {
        return Err(lines.error(EvidenceFault::Spelling));
    }
    Ok(file)
}

fn read(lines: &mut Lines<'_>) -> Result<EvidenceFile, EvidenceError> {
    let kind = lines.need("kind", kind)?;
    let origin = lines.need("origin", text)?;
    let mut file = EvidenceFile::new(kind, &origin, Vec::new());
    file.keys.push(lines.need("key", key)?);
    while let Some(key) = lines.take("key", key)? {
        if file.keys.contains(&key) {
            return Err(lines.error(EvidenceFault::Twice));
        }
        if file.keys.len() == EVIDENCE_KEYS_MAX {
            return Err(lines.error(EvidenceFault::TooMany));
        }
        file.keys.push(key);
    }
    if kind.is_about_promise() {
        file.identity = Some(lines.need("identity", base64)?);
    } else if matches!(kind, EvidenceKind::ForkSize | EvidenceKind::ForkPrefix) {
        file.identity = lines.take("identity", base64)?;
    }
    file.notes.push(lines.need("note 0", base64)?);
    if !kind.is_about_promise() {
        file.notes.push(lines.need("note 1", base64)?);
    }
    if kind == EvidenceKind::ForkPrefix {
        file.alt_root = Some(lines.need("altroot", hash)?);
        file.proof = Some(lines.need("proof consistency", hashes)?);
    }
    if kind.is_about_promise() {
        file.promise = Some(Promise {
            set: lines.need("set", base64)?,
            entry: lines.need("promised", base64)?,
            time: lines.need("time", number)?,
            index: lines.need("index", index)?,
        });
    }
    if kind == EvidenceKind::BrokenPromise {
        file.leaf = Some(lines.need("leaf", hash)?);
        file.proof = Some(lines.need("proof inclusion", hashes)?);
    }
    if kind == EvidenceKind::WrongTime {
        file.proof = lines.take("proof inclusion", hashes)?;
    }
    let sum = lines.need("sum", hash)?;
    if sum != sha256(file.lines_above_sum().as_bytes()) {
        return Err(lines.error(EvidenceFault::Sum));
    }
    file.seen = lines.need("seen", text)?;
    if lines.lines.next().is_some() {
        lines.number += 1;
        return Err(lines.error(EvidenceFault::Surplus));
    }
    Ok(file)
}

/// The lines that are not read yet.
struct Lines<'t> {
    lines: Peekable<Split<'t, char>>,
    /// Of the last line that was read.
    number: usize,
}

impl Lines<'_> {
    /// The value of the next line if that is called `name`.
    fn take<T>(
        &mut self,
        name: &'static str,
        read: fn(&str) -> Result<T, EvidenceFault>,
    ) -> Result<Option<T>, EvidenceError> {
        let value = |line: &&str| line.strip_prefix(name).is_some_and(is_value);
        let Some(line) = self.lines.next_if(value) else { return Ok(None) };
        self.number += 1;
        read(&line[name.len()..]).map(Some).map_err(|fault| self.error(fault))
    }

    fn need<T>(
        &mut self,
        name: &'static str,
        read: fn(&str) -> Result<T, EvidenceFault>,
    ) -> Result<T, EvidenceError> {
        let value = self.take(name, read)?;
        value.ok_or(EvidenceError { line: self.number + 1, fault: EvidenceFault::Missing(name) })
    }

    fn error(&self, fault: EvidenceFault) -> EvidenceError {
        EvidenceError { line: self.number, fault }
    }
}

/// After its name a line ends, or goes on with a space.
fn is_value(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(' ')
}

/// What follows the one space after the name.
fn after_space(rest: &str, fault: EvidenceFault) -> Result<&str, EvidenceFault> {
    rest.strip_prefix(' ').ok_or(fault)
}

fn kind(rest: &str) -> Result<EvidenceKind, EvidenceFault> {
    let name = after_space(rest, EvidenceFault::Kind)?;
    EvidenceKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or(EvidenceFault::Kind)
}

fn text(rest: &str) -> Result<String, EvidenceFault> {
    let text = after_space(rest, EvidenceFault::Text)?;
    let fine =
        (1..=EVIDENCE_TEXT_LEN_MAX).contains(&text.len()) && !text.contains(char::is_control);
    if fine { Ok(text.to_owned()) } else { Err(EvidenceFault::Text) }
}

fn key(rest: &str) -> Result<NoteKey, EvidenceFault> {
    let vkey = after_space(rest, EvidenceFault::Key(NoteKeyError::Malformed))?;
    NoteKey::parse_vkey(vkey).map_err(EvidenceFault::Key)
}

fn base64(rest: &str) -> Result<Vec<u8>, EvidenceFault> {
    let bytes = from_base64(after_space(rest, EvidenceFault::Base64)?);
    bytes.filter(|bytes| !bytes.is_empty()).ok_or(EvidenceFault::Base64)
}

fn hash(rest: &str) -> Result<Hash, EvidenceFault> {
    parse_hash(after_space(rest, EvidenceFault::Base64)?).ok_or(EvidenceFault::Base64)
}

/// No hash, or each after one space.
fn hashes(rest: &str) -> Result<Vec<Hash>, EvidenceFault> {
    let mut hashes = Vec::new();
    for part in rest.split(' ').skip(1) {
        if hashes.len() == PROOF_HASHES_MAX {
            return Err(EvidenceFault::TooMany);
        }
        hashes.push(parse_hash(part).ok_or(EvidenceFault::Base64)?);
    }
    Ok(hashes)
}

fn number(rest: &str) -> Result<u64, EvidenceFault> {
    parse_decimal(after_space(rest, EvidenceFault::Number)?).ok_or(EvidenceFault::Number)
}

fn index(rest: &str) -> Result<LeafIndex, EvidenceFault> {
    LeafIndex::new(number(rest)?).ok_or(EvidenceFault::Number)
}
