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

/// Why bytes are not a list, and where.
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
    /// More than [`LOG_KEYS_MAX`] keys of one origin.
    #[error("the origin has more than {LOG_KEYS_MAX} keys")]
    TooManyKeys,
    /// A malformed key.
    #[error(transparent)]
    Key(NoteKeyError),
    /// The key of a witness.
    #[error("the key is a witness's, not a log's")]
    KeyType,
    /// Not a number from 1 to 2^31 - 1.
    #[error("the requests a day are not a number from 1 to {QPD_MAX}")]
    Qpd,
    /// Another key of the origin has the same name and key id, or is the same key.
    #[error("the origin has this key, or one of the same name and key id, already")]
    DuplicateKey,
    /// Only keys that cosign.
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
    logs: Vec<ListedLog>,
    /// The line of each key.
    lines: Vec<usize>,
    /// The lines that the last key may still get.
    open: Option<Field>,
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
        if self.logs.len() == LOGS_MAX {
            return Err(LogListFault::TooManyLogs);
        }
        let key = NoteKey::parse_vkey(vkey).map_err(LogListFault::Key)?;
        if !key.is_log_key() && key.kind() != NoteKeyKind::MlDsa44 {
            return Err(LogListFault::KeyType);
        }
        let origin = key.name().to_owned();
        self.logs.push(ListedLog { origin, key, requests_per_day: None, contact: None });
        self.lines.push(number);
        self.open = Some(Field::Origin);
        Ok(())
    }

    /// The log that a line of this kind belongs to.
    fn log(&mut self, field: Field) -> Result<&mut ListedLog, LogListFault> {
        let allowed = self.open.is_some_and(|open| field >= open);
        let log = self.logs.last_mut().filter(|_| allowed).ok_or(LogListFault::Line)?;
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
        // By origin: the line of its first key, whether any key signs alone, how many there are.
        let mut origins: HashMap<&str, (usize, bool, usize)> = HashMap::new();
        for (log, line) in self.logs.iter().zip(&self.lines) {
            if !seen.insert((&*log.origin, log.key.name(), log.key.key_id())) {
                return Err((Some(*line), LogListFault::DuplicateKey));
            }
            let origin = origins.entry(&log.origin).or_insert((*line, false, 0));
            origin.1 |= log.key.is_log_key();
            origin.2 += 1;
            if origin.2 > LOG_KEYS_MAX {
                return Err((Some(*line), LogListFault::TooManyKeys));
            }
        }
        if let Some((line, ..)) = origins.values().filter(|(_, signs, _)| !signs).min() {
            return Err((Some(*line), LogListFault::NoSigningKey));
        }
        Ok(LogList { logs: self.logs })
    }
}

const _: () = assert!(LOG_KEYS_MAX + 2 <= SIGNATURES_MAX, "a witness adds up to two lines");

#[cfg(test)]
mod tests;
