//! The files of the journal: their names, their order, and what the end of one says.
//!
//! Invariants: segments are numbered without gaps from the oldest that is kept; only the newest is
//! written; a file with another name is none of the journal's.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use treering_proto::hash::{Hash, sha256};

use super::JournalError;
use super::line::Record;
use crate::data_directory::give_to_owner;

/// Where the chain stands: what the next line continues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// The number of the last line; 0 when there is none.
    pub sequence: u64,
    /// Its hash; zeros when there is none.
    pub hash: Hash,
}

/// The head of a journal without lines.
pub(super) const EMPTY: Head = Head { sequence: 0, hash: Hash([0; Hash::LEN]) };

/// What the bytes of a segment say.
pub(super) struct Walk {
    /// The last whole line.
    pub(super) head: Head,
    /// Bytes up to the end of the last whole line.
    pub(super) len: u64,
    /// When the first line was written, if there is one.
    pub(super) first_ms: Option<u64>,
}

/// The segment with this number.
pub(super) fn path_of(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:06}.jsonl"))
}

/// The numbers of all segments, in order.
pub(super) fn numbers(directory: &Path) -> Result<Vec<u64>, JournalError> {
    let failed = |source| JournalError::Io { path: directory.to_owned(), source };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let digits = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
        let number: Option<u64> = digits.and_then(|digits| digits.parse().ok());
        let is_named = |n: &u64| path_of(directory, *n).file_name() == Some(name.as_os_str());
        numbers.extend(number.filter(is_named));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Opens a segment to read it and write at its end; makes it if it is `new`.
pub(super) fn open(path: &Path, new: bool) -> Result<File, JournalError> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create_new(new).mode(0o600);
    let file = options.open(path).map_err(failed(path))?;
    if new {
        give_to_owner(&file, path).map_err(failed(path))?;
    }
    Ok(file)
}

/// Length and inode of what has this name now.
pub(super) fn measure(path: &Path) -> Result<(u64, u64), JournalError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok((metadata.len(), metadata.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(JournalError::Removed { path: path.to_owned() })
        }
        Err(source) => Err(failed(path)(source)),
    }
}

/// Reads how a segment ends: its last whole line must parse, and what follows it is torn. Without
/// any line the head is that of the segment before, which the caller looks up.
pub(super) fn tail(path: &Path) -> Result<Option<Walk>, JournalError> {
    let bytes = fs::read(path).map_err(failed(path))?;
    let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(None) };
    let broken = || JournalError::Broken { path: path.to_owned() };
    let whole = &bytes[..end];
    let last = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or(whole);
    let first = whole.split(|byte| *byte == b'\n').next().unwrap_or(whole);
    let record = Record::parse(last).ok_or_else(broken)?;
    let first_ms = Record::parse(first).and_then(|record| record.time_ms());
    let head = Head { sequence: record.sequence, hash: sha256(last) };
    Ok(Some(Walk { head, len: end as u64 + 1, first_ms }))
}

/// Follows the chain from `head` through `bytes`, which another process wrote.
pub(super) fn follow(bytes: &[u8], mut head: Head, path: &Path) -> Result<Walk, JournalError> {
    let mut len = 0;
    let mut first_ms = None;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let record = Record::parse(line).filter(|record| continues(record, head));
        let record = record.ok_or_else(|| JournalError::Broken { path: path.to_owned() })?;
        head = Head { sequence: record.sequence, hash: sha256(line) };
        len += line.len() as u64 + 1;
        first_ms = first_ms.or(record.time_ms());
    }
    Ok(Walk { head, len, first_ms })
}

/// Whether `record` is the line after `head`.
pub(super) fn continues(record: &Record, head: Head) -> bool {
    record.sequence == head.sequence + 1 && record.previous == head.hash.to_hex()
}

pub(super) fn failed(path: &Path) -> impl Fn(io::Error) -> JournalError + '_ {
    move |source| JournalError::Io { path: path.to_owned(), source }
}
