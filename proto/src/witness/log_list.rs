//! The list of the logs that a witness knows, in the format of the public lists
//! (witness-network.org, "log-list format").
//!
//! ```text
//! logs/v0                                         once, first
//!
//! vkey log.example/models+3a87d6f1+AYqI4910...    a log key
//! origin go.sum database tree                     only if it is not the name of the key
//! qpd 86400                                       requests a day
//! contact security@log.example
//! ```
//!
//! The four lines stand in this order for each log. Blank lines and lines that start with `#` are
//! skipped, and white space at both ends of a line does not count. Where the format demands `qpd`
//! and `contact`, we do without: they say nothing that a decision needs. An origin may be listed
//! more than once, with another key each time; any of its keys will do.
//!
//! Public lists hold logs of others. A key that cannot be used, of a type that is not known here or
//! beside too many others, is skipped and named in [`LogList::skipped`]; it must not stop a witness
//! for all other logs. What is not of the format is refused as a whole.
//!
//! Invariants: every origin has at least one key, and at least one that signs checkpoints alone
//! (Ed25519 or ECDSA); no two keys of one origin can be meant by one signature line. Out of scope:
//! enforcing `qpd`. Checkpoints are public and anybody may submit them, so a limit for each log
//! would let strangers keep the log from being witnessed.

use std::collections::{BTreeMap, HashMap, HashSet};

use thiserror::Error;

use crate::checkpoint::parse_decimal;
use crate::note::{NoteKey, NoteKeyError, NoteKeyKind, SIGNATURES_MAX};

/// The longest list in bytes: the public list of 40,000 logs takes a third of it.
pub const LOG_LIST_LEN_MAX: usize = 16 << 20;

/// The most keys in a list: above the largest public list.
pub const LOGS_MAX: usize = 100_000;

/// The most keys of one origin: a cosigned checkpoint keeps a line of each, and all of them must
/// fit a note.
pub const LOG_KEYS_MAX: usize = 16;

/// The largest `qpd`, as the format has it.
const QPD_MAX: u64 = (1 << 31) - 1;

/// The logs that a witness knows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogList {
    logs: Vec<ListedLog>,
    skipped: Vec<LogListError>,
}

/// One log key of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedLog {
    /// The origin of its checkpoints.
    pub origin: String,
    /// The key.
    pub key: NoteKey,
    /// How many add-checkpoint requests the log makes a day, from 1.
    pub requests_per_day: Option<u32>,
    /// Where to reach the log's operator.
    pub contact: Option<String>,
}

/// Why bytes are not a list, or a key of it is skipped, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("log list line {line}: {fault}")]
pub struct LogListError {
    /// The number of the line, from 1; of the last line when something is missing.
    pub line: usize,
    /// What is wrong.
    pub fault: LogListFault,
}

/// What is wrong with a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum LogListFault {
    /// More than [`LOG_LIST_LEN_MAX`] bytes.
    #[error("the list is longer than {LOG_LIST_LEN_MAX} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("the list is not UTF-8")]
    NotUtf8,
    /// A control character within a line.
    #[error("the line has a control character")]
    ControlCharacter,
    /// Another first line.
    #[error("the list does not start with the line logs/v0")]
    Header,
    /// A line that starts with another word, has nothing after it, or stands at a wrong place.
    #[error("expected `vkey KEY`, then, in this order, `origin`, `qpd` and `contact` lines")]
    Line,
    /// More than [`LOGS_MAX`] keys.
    #[error("the list has more than {LOGS_MAX} keys")]
    TooManyLogs,
    /// More than [`LOG_KEYS_MAX`] keys of one origin; skipped.
    #[error("the origin has more than {LOG_KEYS_MAX} keys")]
    TooManyKeys,
    /// A malformed key; one that is well formed and cannot be used is skipped.
    #[error(transparent)]
    Key(NoteKeyError),
    /// The key of a witness; skipped.
    #[error("the key is a witness's, not a log's")]
    KeyType,
    /// Not a number from 1 to 2^31 - 1.
    #[error("the requests a day are not a number from 1 to {QPD_MAX}")]
    Qpd,
    /// Another key of the origin has the same name and key id, or is the same key; skipped.
    #[error("the origin has this key, or one of the same name and key id, already")]
    DuplicateKey,
    /// Only keys that cosign; skipped.
    #[error("the origin has ML-DSA-44 keys only; it needs an Ed25519 or ECDSA key beside them")]
    NoSigningKey,
}

impl LogList {
    /// Reads a list.
    ///
    /// # Errors
    /// [`LogListError`], with the number of the line at fault.
    pub fn parse(bytes: &[u8]) -> Result<Self, LogListError> {
        if bytes.len() > LOG_LIST_LEN_MAX {
            return Err(LogListError { line: 1, fault: LogListFault::TooLong });
        }
        let not_utf8 = LogListError { line: 1, fault: LogListFault::NotUtf8 };
        let text = str::from_utf8(bytes).map_err(|_| not_utf8)?;
        let mut builder = Builder::default();
        let mut number = 0;
        for line in text.lines() {
            number += 1;
            builder
                .line(number, line.trim())
                .map_err(|fault| LogListError { line: number, fault })?;
        }
        builder
            .finish()
            .map_err(|(line, fault)| LogListError { line: line.unwrap_or(number), fault })
    }

    /// The keys that cannot be used, by line: all else about the list stands.
    pub fn skipped(&self) -> &[LogListError] {
        &self.skipped
    }

    /// The keys, in the order of the list.
    pub fn logs(&self) -> &[ListedLog] {
        &self.logs
    }

    /// The keys of each origin; none is without.
    pub fn keys_by_origin(&self) -> BTreeMap<&str, Vec<NoteKey>> {
        let mut by_origin: BTreeMap<&str, Vec<NoteKey>> = BTreeMap::new();
        for log in &self.logs {
            by_origin.entry(&log.origin).or_default().push(log.key.clone());
        }
        by_origin
    }
}

/// A list of which some lines have been read.
#[derive(Default)]
struct Builder {
    has_header: bool,
    entries: Vec<Entry>,
    /// The lines that the last key may still get.
    open: Option<Field>,
}

/// A key with the lines after it.
struct Entry {
    line: usize,
    key: Result<NoteKey, LogListFault>,
    origin: String,
    requests_per_day: Option<u32>,
    contact: Option<String>,
}

/// The lines after a key, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Origin,
    Qpd,
    Contact,
}

impl Builder {
    fn line(&mut self, number: usize, line: &str) -> Result<(), LogListFault> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if line.contains(char::is_control) {
            return Err(LogListFault::ControlCharacter);
        }
        if !self.has_header {
            self.has_header = line == "logs/v0";
            return if self.has_header { Ok(()) } else { Err(LogListFault::Header) };
        }
        let (word, value) = line.split_once(' ').ok_or(LogListFault::Line)?;
        let value = value.trim_start();
        match word {
            "vkey" => self.key(number, value),
            "origin" => {
                self.log(Field::Origin)?.origin = value.to_owned();
                Ok(())
            }
            "qpd" => {
                let log = self.log(Field::Qpd)?;
                let number = parse_decimal(value).filter(|n| (1..=QPD_MAX).contains(n));
                log.requests_per_day = Some(number.ok_or(LogListFault::Qpd)? as u32);
                Ok(())
            }
            "contact" => {
                self.log(Field::Contact)?.contact = Some(value.to_owned());
                Ok(())
            }
            _ => Err(LogListFault::Line),
        }
    }

    fn key(&mut self, number: usize, vkey: &str) -> Result<(), LogListFault> {
        if self.entries.len() == LOGS_MAX {
            return Err(LogListFault::TooManyLogs);
        }
        let key = match NoteKey::parse_vkey(vkey) {
            Ok(key) if key.is_log_key() || key.kind() == NoteKeyKind::MlDsa44 => Ok(key),
            Ok(_) => Err(LogListFault::KeyType),
            Err(
                fault @ (NoteKeyError::UnsupportedKeyType(_)
                | NoteKeyError::PublicKey
                | NoteKeyError::WeakPublicKey),
            ) => Err(LogListFault::Key(fault)),
            Err(fault) => return Err(LogListFault::Key(fault)),
        };
        // Of a key that is skipped, nobody asks for the origin.
        let origin = key.as_ref().map_or("", NoteKey::name).to_owned();
        let (requests_per_day, contact) = (None, None);
        self.entries.push(Entry { line: number, key, origin, requests_per_day, contact });
        self.open = Some(Field::Origin);
        Ok(())
    }

    /// The log that a line of this kind belongs to.
    fn log(&mut self, field: Field) -> Result<&mut Entry, LogListFault> {
        let allowed = self.open.is_some_and(|open| field >= open);
        let log = self.entries.last_mut().filter(|_| allowed).ok_or(LogListFault::Line)?;
        self.open = match field {
            Field::Origin => Some(Field::Qpd),
            Field::Qpd => Some(Field::Contact),
            Field::Contact => None,
        };
        Ok(log)
    }

    fn finish(self) -> Result<LogList, (Option<usize>, LogListFault)> {
        if !self.has_header {
            return Err((None, LogListFault::Header));
        }
        let mut seen = HashSet::new();
        let mut keys_of: HashMap<String, usize> = HashMap::new();
        let mut list = LogList::default();
        let mut lines = Vec::new();
        for Entry { line, key, origin, requests_per_day, contact } in self.entries {
            let checked = key.and_then(|key| {
                if !seen.insert((origin.clone(), key.name().to_owned(), key.key_id())) {
                    return Err(LogListFault::DuplicateKey);
                }
                let count = keys_of.entry(origin.clone()).or_default();
                if *count == LOG_KEYS_MAX {
                    return Err(LogListFault::TooManyKeys);
                }
                *count += 1;
                Ok(key)
            });
            match checked {
                Ok(key) => {
                    list.logs.push(ListedLog { origin, key, requests_per_day, contact });
                    lines.push(line);
                }
                Err(fault) => list.skipped.push(LogListError { line, fault }),
            }
        }
        list.skip_without_signing_key(&lines);
        list.skipped.sort_by_key(|skipped| skipped.line);
        Ok(list)
    }
}

impl LogList {
    /// `lines` has the line of each log.
    fn skip_without_signing_key(&mut self, lines: &[usize]) {
        let signing = self.logs.iter().filter(|log| log.key.is_log_key());
        let signing: HashSet<String> = signing.map(|log| log.origin.clone()).collect();
        let mut lines = lines.iter();
        self.logs.retain(|log| {
            let line = lines.next().copied().unwrap_or_default();
            let stays = signing.contains(&log.origin);
            if !stays {
                self.skipped.push(LogListError { line, fault: LogListFault::NoSigningKey });
            }
            stays
        });
    }
}

const _: () = assert!(LOG_KEYS_MAX + 2 <= SIGNATURES_MAX, "a witness adds up to two lines");

#[cfg(test)]
mod tests;
