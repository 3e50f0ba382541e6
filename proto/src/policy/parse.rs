//! Reading the text of a policy (c2sp.org/tlog-policy, "Policy file syntax and structure").
//!
//! Invariant: names are compared as octets, as the specification wants it; the text form that a
//! [`Policy`] keeps of them is for people. Out of scope: evaluation, which is in the parent module.

use std::collections::{HashMap, HashSet};

use thiserror::Error;

use super::{Component, POLICY_ITEMS_MAX, POLICY_LEN_MAX, Policy, PolicyLog, PolicyWitness};
use crate::checkpoint::parse_decimal;
use crate::note::{NoteKey, NoteKeyError, NoteKeyKind};

/// Why bytes are not a policy, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("policy line {line}: {fault}")]
pub struct PolicyError {
    /// The number of the line, from 1. A missing quorum is missed at the last line: 0 in an empty
    /// file.
    pub line: usize,
    /// What is wrong.
    pub fault: PolicyFault,
}

/// What is wrong with a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum PolicyFault {
    /// More than [`POLICY_LEN_MAX`] bytes.
    #[error("the policy is longer than {POLICY_LEN_MAX} bytes")]
    TooLong,
    /// More than [`POLICY_ITEMS_MAX`] logs, or witnesses and groups.
    #[error("the policy has more than {POLICY_ITEMS_MAX} logs, or witnesses and groups")]
    TooManyItems,
    /// No LF at the end: the file may be cut off, and half a name may be another name.
    #[error("the line does not end with a line feed")]
    UnfinishedLine,
    /// A control byte other than tab and LF, such as CR.
    #[error("the line has a control byte other than a tab")]
    ControlByte,
    /// The first word is not log, witness, group or quorum.
    #[error("the line starts with an unknown word")]
    UnknownWord,
    /// Too few or too many items for the first word.
    #[error("the line has too few or too many items")]
    ItemCount,
    /// A malformed key.
    #[error(transparent)]
    Key(NoteKeyError),
    /// A witness key for a log, or the reverse.
    #[error("the key is of a type that does not belong on this line")]
    KeyType,
    /// The public key of another log, or of another witness, whatever the names are.
    #[error("the public key was given before")]
    DuplicateKey,
    /// A name that is defined already, or `none`.
    #[error("the name is defined already, or reserved")]
    DuplicateName,
    /// A name that no earlier line defines.
    #[error("the name is not defined on an earlier line")]
    UnknownName,
    /// A member of two groups, or of one group twice.
    #[error("the name is a member of a group already")]
    DuplicateMember,
    /// Not `all`, `any`, or a number from 1 to the number of members.
    #[error("the threshold is not all, any, or a number from 1 to the number of members")]
    Threshold,
    /// A second quorum line.
    #[error("the quorum is given twice")]
    DuplicateQuorum,
    /// No quorum line.
    #[error("no quorum is given")]
    NoQuorum,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Policy, PolicyError> {
    if bytes.len() > POLICY_LEN_MAX {
        return Err(PolicyError { line: 1, fault: PolicyFault::TooLong });
    }
    let mut builder = Builder::default();
    let mut line = 0;
    for text in bytes.split_inclusive(|byte| *byte == b'\n') {
        line += 1;
        builder.line(text).map_err(|fault| PolicyError { line, fault })?;
    }
    let quorum = builder.quorum.ok_or(PolicyError { line, fault: PolicyFault::NoQuorum })?;
    Ok(Policy { quorum, ..builder.policy })
}

/// A policy of which some lines have been read.
#[derive(Default)]
struct Builder<'a> {
    /// Its quorum is not meaningful yet.
    policy: Policy,
    quorum: Option<Option<usize>>,
    /// Name to position in `policy.components`.
    defined: HashMap<&'a [u8], usize>,
    /// Positions that are in a group already.
    members: HashSet<usize>,
    log_keys: HashSet<Vec<u8>>,
    witness_keys: HashSet<Vec<u8>>,
}

impl<'a> Builder<'a> {
    fn line(&mut self, line: &'a [u8]) -> Result<(), PolicyFault> {
        let line = line.strip_suffix(b"\n").ok_or(PolicyFault::UnfinishedLine)?;
        if line.iter().any(|byte| is_forbidden(*byte)) {
            return Err(PolicyFault::ControlByte);
        }
        let items: Vec<&[u8]> =
            line.split(|byte| is_blank(*byte)).filter(|item| !item.is_empty()).collect();
        let Some((word, items)) = items.split_first() else { return Ok(()) };
        match *word {
            comment if comment.starts_with(b"#") => Ok(()),
            b"log" => self.log(items),
            b"witness" => self.witness(items),
            b"group" => self.group(items),
            b"quorum" => self.quorum(items),
            _ => Err(PolicyFault::UnknownWord),
        }
    }

    fn log(&mut self, items: &[&'a [u8]]) -> Result<(), PolicyFault> {
        let (vkey, url) = match *items {
            [vkey] => (vkey, None),
            [vkey, url] => (vkey, Some(url)),
            _ => return Err(PolicyFault::ItemCount),
        };
        let key = parse_key(vkey, &mut self.log_keys)?;
        if key.kind() == NoteKeyKind::Cosignature {
            return Err(PolicyFault::KeyType);
        }
        if self.policy.logs.len() == POLICY_ITEMS_MAX {
            return Err(PolicyFault::TooManyItems);
        }
        self.policy.logs.push(PolicyLog { key, url: url.map(readable) });
        Ok(())
    }

    fn witness(&mut self, items: &[&'a [u8]]) -> Result<(), PolicyFault> {
        let (name, vkey, url) = match *items {
            [name, vkey] => (name, vkey, None),
            [name, vkey, url] => (name, vkey, Some(url)),
            _ => return Err(PolicyFault::ItemCount),
        };
        let key = parse_key(vkey, &mut self.witness_keys)?;
        if key.is_log_key() {
            return Err(PolicyFault::KeyType);
        }
        let witness = PolicyWitness { name: readable(name), key, url: url.map(readable) };
        self.define(name, Component::Witness(witness))
    }

    fn group(&mut self, items: &[&'a [u8]]) -> Result<(), PolicyFault> {
        let [name, threshold, names @ ..] = items else { return Err(PolicyFault::ItemCount) };
        if names.is_empty() {
            return Err(PolicyFault::ItemCount);
        }
        let threshold = match *threshold {
            b"all" => names.len(),
            b"any" => 1,
            number => parse_threshold(number, names.len()).ok_or(PolicyFault::Threshold)?,
        };
        let mut members = Vec::with_capacity(names.len());
        for member in names {
            let member = *self.defined.get(member).ok_or(PolicyFault::UnknownName)?;
            if !self.members.insert(member) {
                return Err(PolicyFault::DuplicateMember);
            }
            members.push(member);
        }
        self.define(name, Component::Group { name: readable(name), threshold, members })
    }

    fn quorum(&mut self, items: &[&'a [u8]]) -> Result<(), PolicyFault> {
        let [name] = *items else { return Err(PolicyFault::ItemCount) };
        if self.quorum.is_some() {
            return Err(PolicyFault::DuplicateQuorum);
        }
        self.quorum = Some(match name {
            NONE => None,
            name => Some(*self.defined.get(name).ok_or(PolicyFault::UnknownName)?),
        });
        Ok(())
    }

    fn define(&mut self, name: &'a [u8], component: Component) -> Result<(), PolicyFault> {
        let position = self.policy.components.len();
        if position == POLICY_ITEMS_MAX {
            return Err(PolicyFault::TooManyItems);
        }
        if name == NONE || self.defined.insert(name, position).is_some() {
            return Err(PolicyFault::DuplicateName);
        }
        self.policy.components.push(component);
        Ok(())
    }
}

/// The quorum that needs no witness; no witness or group can have this name.
const NONE: &[u8] = b"none";

fn parse_key(vkey: &[u8], known: &mut HashSet<Vec<u8>>) -> Result<NoteKey, PolicyFault> {
    let text = str::from_utf8(vkey).map_err(|_| PolicyFault::Key(NoteKeyError::Malformed))?;
    let key = match NoteKey::parse_vkey(text) {
        Ok(key) => key,
        Err(NoteKeyError::UnsupportedKeyType(_)) => return Err(PolicyFault::KeyType),
        Err(error) => return Err(PolicyFault::Key(error)),
    };
    let is_new = known.insert(key.public_key().to_vec());
    if is_new { Ok(key) } else { Err(PolicyFault::DuplicateKey) }
}

fn parse_threshold(number: &[u8], members: usize) -> Option<usize> {
    let threshold = usize::try_from(parse_decimal(str::from_utf8(number).ok()?)?).ok()?;
    (1..=members).contains(&threshold).then_some(threshold)
}

fn is_forbidden(byte: u8) -> bool {
    byte == 0x7f || (byte < 0x20 && byte != b'\t')
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn readable(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
