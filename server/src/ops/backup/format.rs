//! The backup stream, byte for byte: one file, read and written from front to back.
//!
//! ```text
//! magic    16 bytes, "treering backup3"; the last one is the version
//! records  kind u8 | length u32 | that many bytes
//!   1 log        first, once: see `LogRecord`
//!   2 statement  the payload that the entry after it commits to
//!   3 entry      time u64, Unix seconds | length of the SET u16 | SET, DER | canonical bytes
//!   4 notes      size u64 | time u64 | length of the note u32 | note | Rekor v1 note
//!   5 end        last, once: entries u64 | statements u64 | SETs u64 | notes u64
//! trailer  SHA-256 of everything before it; nothing follows
//! ```
//!
//! Entries stand in the order of their indexes, from 0; the notes for a size stand right after the
//! entry that makes it, so that a reader knows the root there. All integers are big-endian.
//!
//! Invariants: no length is believed above the most that its kind can have; a stream that ends
//! early, or goes on after its trailer, is an error. Out of scope: what the records say
//! ([`super::check`]). Nothing here may change without another version; a test holds the bytes.
//!
//! History: 2, the settings of a log are one byte of flags, where 1 had `witnessed` alone; 3, a
//! flag says that the log is frozen. Versions 1 and 2 are read still: their logs had no access
//! policy, and were not frozen.

use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};
use treering_proto::hash::Hash;
use treering_proto::note::NOTE_LEN_MAX;
use treering_proto::statement::STATEMENT_LEN_MAX;
use treering_proto::tile::ENTRY_LEN_MAX;
use treering_proto::tree::{TreeHead, TreeSize};

use crate::anchor::AnchorId;
use crate::data_directory::PublicFiles;
use crate::store::format::{NotePair, Remembered};

const MAGIC: &[u8; 15] = b"treering backup";
const VERSION: u8 = b'3';

/// The oldest version that is read.
const VERSION_MIN: u8 = b'1';

/// Flags of [`Remembered`].
const WITNESSES: u8 = 1;
const ACCESS_POLICY: u8 = 2;
const FROZEN: u8 = 4;

/// A SET is a P-256 signature in DER, at most 72 bytes.
const SET_LEN_MAX: usize = 128;

/// URL, identity document and two keys; the largest is 1.8 KB.
const LOG_LEN_MAX: usize = 64 << 10;

const KIND_LOG: u8 = 1;
const KIND_STATEMENT: u8 = 2;
const KIND_ENTRY: u8 = 3;
const KIND_NOTES: u8 = 4;
const KIND_END: u8 = 5;

/// Why bytes are not a whole backup.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("this is not a backup of a log: it does not begin with \"treering backup\"")]
    NotABackup,
    /// Another version of the program wrote it.
    #[error(
        "this backup has version {found:?}; this program reads '1' to '3': use the version of \
         treering-server that wrote it"
    )]
    OtherVersion {
        /// What it says.
        found: char,
    },
    /// It ends in the middle.
    #[error("the backup ends at byte {at}, in the middle of what should be there")]
    CutOff {
        /// Where.
        at: u64,
    },
    /// A length is more than its kind can have.
    #[error("byte {at}: a record of kind {kind} with {length} bytes; the most is {max}")]
    TooLong {
        /// Where the record begins.
        at: u64,
        /// Its kind.
        kind: u8,
        /// What it says.
        length: u32,
        /// The limit.
        max: usize,
    },
    /// A record does not read back.
    #[error("byte {at}: {what}")]
    Malformed {
        /// Where the record begins.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The bytes are not those that were written.
    #[error("byte {at}: the SHA-256 of the file is not the one that it ends with")]
    Trailer {
        /// Where the trailer begins.
        at: u64,
    },
    /// There is more.
    #[error("byte {at}: there are bytes after the end of the backup")]
    Surplus {
        /// Where they begin.
        at: u64,
    },
}

/// What a backup says of its log as a whole. The bytes: row format u32, anchor id 16, size u64,
/// root 32, time u64, date u64, settings u8 (1 witnesses, 2 access policy, 4 frozen), then with a
/// length u16 each: URL, identity document, ML-DSA-44 key (empty when the log has none).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogRecord {
    /// The version of the rows that it was made from.
    pub store_format: u32,
    /// The name of the anchor that the directory belonged to.
    pub anchor_id: AnchorId,
    /// What was published.
    pub head: TreeHead,
    /// When the newest batch was sequenced, Unix milliseconds.
    pub time_ms: u64,
    /// The latest date that stands in no stored note, Unix milliseconds; 0 if none.
    pub date_ms: u64,
    /// Which settings the log remembers.
    pub remembered: Remembered,
    /// What the log tells everybody, but for its timestamp authority, which stands with its key.
    pub public: PublicFiles,
}

/// One entry and what was stored beside it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryRecord {
    /// When it was sequenced, Unix seconds.
    pub time: u64,
    /// Its SignedEntryTimestamp, if one was kept.
    pub set: Option<Vec<u8>>,
    /// The canonical bytes.
    pub body: Vec<u8>,
}

/// How many records of each kind there are.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Entries.
    pub entries: u64,
    /// Statements; one that several entries commit to stands before each of them.
    pub statements: u64,
    /// Entries with a SET.
    pub sets: u64,
    /// Sizes with notes.
    pub notes: u64,
}

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// What the log is.
    Log(LogRecord),
    /// The payload of the next entry.
    Statement(Vec<u8>),
    /// The next entry.
    Entry(EntryRecord),
    /// What was published for the entries so far.
    Notes(TreeSize, NotePair),
    /// Everything was written.
    End(Counts),
}

/// Writes a stream.
pub struct Writer<W> {
    inner: W,
    hasher: Sha256,
    written: u64,
    counts: Counts,
}

/// Reads a stream.
pub struct Reader<R> {
    inner: R,
    hasher: Sha256,
    read: u64,
    version: u8,
    /// Set when the trailer was read.
    ended: bool,
}

impl<W: Write> Writer<W> {
    /// Begins with what the log is.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(inner: W, log: &LogRecord) -> io::Result<Self> {
        let mut writer =
            Self { inner, hasher: Sha256::new(), written: 0, counts: Counts::default() };
        writer.put(MAGIC)?;
        writer.put(&[VERSION])?;
        let mut bytes = log.store_format.to_be_bytes().to_vec();
        bytes.extend_from_slice(&log.anchor_id);
        bytes.extend_from_slice(&log.head.size.get().to_be_bytes());
        bytes.extend_from_slice(log.head.root.as_bytes());
        bytes.extend_from_slice(&log.time_ms.to_be_bytes());
        bytes.extend_from_slice(&log.date_ms.to_be_bytes());
        let Remembered { witnesses, access_policy, frozen } = log.remembered;
        let flags = [(witnesses, WITNESSES), (access_policy, ACCESS_POLICY), (frozen, FROZEN)];
        bytes.push(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum());
        let PublicFiles { url, identity, ml_dsa_vkey, timestamp_chain: _ } = &log.public;
        for text in [url, identity, ml_dsa_vkey.as_deref().unwrap_or_default()] {
            let length = u16::try_from(text.len());
            let length = length.map_err(|_| io::Error::other("a public file above 64 KiB"))?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        writer.record(KIND_LOG, &[&bytes])?;
        Ok(writer)
    }

    /// The payload of the entry that is written next.
    ///
    /// # Errors
    /// What the system says.
    pub fn statement(&mut self, payload: &[u8]) -> io::Result<()> {
        self.counts.statements += 1;
        self.record(KIND_STATEMENT, &[payload])
    }

    /// The next entry.
    ///
    /// # Errors
    /// What the system says.
    pub fn entry(&mut self, entry: &EntryRecord) -> io::Result<()> {
        self.counts.entries += 1;
        self.counts.sets += u64::from(entry.set.is_some());
        let set = entry.set.as_deref().unwrap_or_default();
        let length =
            u16::try_from(set.len()).map_err(|_| io::Error::other("a SET above 64 KiB"))?;
        let parts = [&entry.time.to_be_bytes()[..], &length.to_be_bytes(), set, &entry.body];
        self.record(KIND_ENTRY, &parts)
    }

    /// What was published for the entries so far.
    ///
    /// # Errors
    /// What the system says.
    pub fn notes(&mut self, size: TreeSize, notes: &NotePair) -> io::Result<()> {
        self.counts.notes += 1;
        self.record(KIND_NOTES, &[&size.get().to_be_bytes(), &notes.to_bytes()])
    }

    /// Ends the stream; returns where it was written to, and how many bytes it has.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        let Counts { entries, statements, sets, notes } = self.counts;
        let counts = [entries, statements, sets, notes].map(u64::to_be_bytes);
        self.record(KIND_END, &[counts.as_flattened()])?;
        let trailer = self.hasher.finalize_reset();
        self.put(&trailer)?;
        self.inner.flush()?;
        Ok((self.inner, self.written))
    }

    fn record(&mut self, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let fits = length <= length_max(kind).unwrap_or(0);
        let length = u32::try_from(length).ok().filter(|_| fits);
        let length = length.ok_or_else(|| io::Error::other("a row above its limit"))?;
        self.put(&[kind])?;
        self.put(&length.to_be_bytes())?;
        parts.iter().try_for_each(|part| self.put(part))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        self.inner.write_all(bytes)
    }
}

impl<R: Read> Reader<R> {
    /// Begins to read: the log record comes first.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn new(inner: R) -> Result<(Self, LogRecord), FormatError> {
        let mut reader =
            Self { inner, hasher: Sha256::new(), read: 0, version: VERSION, ended: false };
        let mut magic = [0; MAGIC.len() + 1];
        let (title, version) = match reader.take(&mut magic) {
            Ok(()) => (&magic[..MAGIC.len()], magic[MAGIC.len()]),
            Err(FormatError::CutOff { .. }) => return Err(FormatError::NotABackup),
            Err(error) => return Err(error),
        };
        if title != MAGIC {
            return Err(FormatError::NotABackup);
        }
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Err(FormatError::OtherVersion { found: char::from(version) });
        }
        reader.version = version;
        match reader.next()? {
            Some(Record::Log(log)) => Ok((reader, log)),
            _ => Err(FormatError::Malformed { at: 16, what: "the first record is not the log's" }),
        }
    }

    /// The next record; `None` after the trailer was read and is right.
    ///
    /// # Errors
    /// [`FormatError`].
    #[expect(clippy::should_implement_trait, reason = "it fails")]
    pub fn next(&mut self) -> Result<Option<Record>, FormatError> {
        if self.ended {
            return Ok(None);
        }
        let at = self.read;
        let mut header = [0; 5];
        self.take(&mut header)?;
        let [kind, length @ ..] = header;
        let length = u32::from_be_bytes(length);
        let Some(max) = length_max(kind) else {
            return Err(FormatError::Malformed { at, what: "a record of no known kind" });
        };
        if length as usize > max {
            return Err(FormatError::TooLong { at, kind, length, max });
        }
        let mut bytes = vec![0; length as usize];
        self.take(&mut bytes)?;
        let what = "a record that is not as its kind is written";
        let record = parse(kind, bytes, self.version).ok_or(FormatError::Malformed { at, what })?;
        if matches!(record, Record::Log(_)) && at != 16 {
            return Err(FormatError::Malformed { at, what: "a second record of the log itself" });
        }
        if matches!(record, Record::End(_)) {
            self.end()?;
        }
        Ok(Some(record))
    }

    /// How many bytes were read.
    pub fn position(&self) -> u64 {
        self.read
    }

    fn end(&mut self) -> Result<(), FormatError> {
        let at = self.read;
        let expected = self.hasher.finalize_reset();
        let mut trailer = [0; 32];
        self.take(&mut trailer)?;
        if trailer[..] != expected[..] {
            return Err(FormatError::Trailer { at });
        }
        let at = self.read;
        match self.take(&mut [0]) {
            Err(FormatError::CutOff { .. }) => self.ended = true,
            Err(error) => return Err(error),
            Ok(()) => return Err(FormatError::Surplus { at }),
        }
        self.read = at;
        Ok(())
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), FormatError> {
        let read = self.inner.read_exact(bytes);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => FormatError::CutOff { at: self.read },
            _ => FormatError::Io(error),
        })?;
        self.hasher.update(&*bytes);
        self.read += bytes.len() as u64;
        Ok(())
    }
}

/// The most bytes that a record can have; `None` for no kind of ours.
fn length_max(kind: u8) -> Option<usize> {
    match kind {
        KIND_LOG => Some(LOG_LEN_MAX),
        KIND_STATEMENT => Some(STATEMENT_LEN_MAX),
        KIND_ENTRY => Some(8 + 2 + SET_LEN_MAX + ENTRY_LEN_MAX),
        KIND_NOTES => Some(8 + 8 + 4 + 2 * NOTE_LEN_MAX),
        KIND_END => Some(4 * 8),
        _ => None,
    }
}

fn parse(kind: u8, bytes: Vec<u8>, version: u8) -> Option<Record> {
    let mut rest = Rest(&bytes);
    let record = match kind {
        KIND_LOG => Record::Log(parse_log(&mut rest, version)?),
        KIND_STATEMENT => return Some(Record::Statement(bytes)),
        KIND_ENTRY => {
            let time = rest.number()?;
            let length = usize::from(rest.short()?);
            let set = rest.bytes(length)?;
            let set = (!set.is_empty()).then(|| set.to_vec());
            let body = rest.bytes(rest.0.len())?.to_vec();
            let fits = length <= SET_LEN_MAX && body.len() <= ENTRY_LEN_MAX;
            Record::Entry(EntryRecord { time, set, body }).some_if(fits)?
        }
        KIND_NOTES => {
            let size = TreeSize::new(rest.number()?)?;
            Record::Notes(size, NotePair::from_bytes(rest.bytes(rest.0.len())?)?)
        }
        KIND_END => {
            let [entries, statements] = [rest.number()?, rest.number()?];
            let [sets, notes] = [rest.number()?, rest.number()?];
            Record::End(Counts { entries, statements, sets, notes })
        }
        _ => return None,
    };
    record.some_if(rest.0.is_empty())
}

fn parse_log(rest: &mut Rest<'_>, version: u8) -> Option<LogRecord> {
    let store_format = u32::from_be_bytes(rest.bytes(4)?.try_into().ok()?);
    let anchor_id = rest.bytes(16)?.try_into().ok()?;
    let size = TreeSize::new(rest.number()?)?;
    let root = Hash::from_slice(rest.bytes(32)?)?;
    let (time_ms, date_ms) = (rest.number()?, rest.number()?);
    let known = match version {
        VERSION_MIN => WITNESSES,
        VERSION => WITNESSES | ACCESS_POLICY | FROZEN,
        _ => WITNESSES | ACCESS_POLICY,
    };
    let flags = rest.bytes(1)?.first().copied().filter(|flags| flags & !known == 0)?;
    let is_set = |flag: u8| flags & flag != 0;
    let remembered = Remembered {
        witnesses: is_set(WITNESSES),
        access_policy: is_set(ACCESS_POLICY),
        frozen: is_set(FROZEN),
    };
    let (url, identity, vkey) = (rest.text()?, rest.text()?, rest.text()?);
    let ml_dsa_vkey = (!vkey.is_empty()).then_some(vkey);
    let public = PublicFiles { url, identity, ml_dsa_vkey, timestamp_chain: None };
    let head = TreeHead { size, root };
    Some(LogRecord { store_format, anchor_id, head, time_ms, date_ms, remembered, public })
}

impl Record {
    fn some_if(self, condition: bool) -> Option<Self> {
        condition.then_some(self)
    }
}

/// Bytes that are still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::from(self.short()?);
        String::from_utf8(self.bytes(length)?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests;
