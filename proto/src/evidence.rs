//! Evidence against a log or a witness, in one self-contained text that anybody can check without
//! either.
//!
//! ```text
//! tlog-evidence@v1
//! kind fork-prefix
//! origin log.example
//! key log.example+721c73f4+AYqI...            whose signatures count; one or more
//! identity <base64>                            the log's identity document
//! note 0 <base64 of a note, byte for byte>     the state that was known
//! note 1 <base64 of a note, byte for byte>     the state that was shown
//! altroot <base64>                             the root of note 0's size under note 1
//! set <base64>                                 the log's promise (SignedEntryTimestamp), DER
//! promised <base64>                            the entry that was promised
//! time 1700000000                              when, says the promise: Unix seconds
//! index 7                                      where, says the promise
//! leaf <base64>                                the leaf hash that stands there instead
//! proof consistency <base64> ...               or `proof inclusion`
//! sum <base64>                                 SHA-256 of all lines above
//! seen 2026-01-02T03:04:05Z https://log.example
//! ```
//!
//! Which lines a kind has, beside kind, origin, key, sum and seen:
//!
//! - `fork-size` proves two roots for one size: note 0, note 1; may have identity.
//! - `fork-prefix` proves that note 1 extends a tree that is not note 0's: as before, and altroot,
//!   proof consistency.
//! - `rollback` proves that time went on and the tree shrank: note 0, larger and earlier; note 1.
//! - `broken-promise` proves that another entry stands where one was promised: identity, note 0,
//!   set, promised, time, index, leaf, proof inclusion.
//! - `wrong-time` proves that a promise dates an entry before a time at which the tree did not hold
//!   it, or after one at which it did: identity, note 0, set, promised, time, index; and proof
//!   inclusion when note 0 holds the entry. It needs a trust file that lists the ML-DSA-44 key.
//! - `rollback-suspected`, `inconsistent-unproven` and `foreign-key` prove nothing: a smaller tree
//!   was shown, or wrong tiles or none, or a note that no key of the log signed. Note 0, note 1.
//!
//! A log has two faces, C2SP notes and Rekor v1 notes, which have different origins and keys. The
//! identity document, which both keys signed, holds the log to both; `origin` is then the C2SP one.
//! `rollback` needs lines with a time (types 0x04 and 0x06) by one key: a plain signature has none,
//! so an old note may just have been served again. A witness must have dated them more than 300
//! seconds apart, for its clock may be set back; the log's own word is taken exactly.
//!
//! Invariants: a file that parses has exactly one spelling; notes are kept byte for byte, with
//! every signature, and `sum` covers those that nobody here can verify. `seen` is the word of
//! whoever wrote the file and may be changed.
//! Out of scope: whether the keys in the file are those of the log. The reader knows, or the trust
//! file does.

mod judge;
mod make;
mod parse;

use crate::encoding::to_base64;
use crate::hash::{Hash, sha256};
use crate::note::{NoteKey, SIGNATURES_MAX};
use crate::tree::LeafIndex;
use crate::trust::TrustFile;

pub use judge::{Judgement, Verdict};
pub use make::{Evidence, Party};
pub use parse::{EvidenceError, EvidenceFault};

/// The longest file in bytes: two of the longest notes in base64, and room for the rest.
pub const EVIDENCE_LEN_MAX: usize = 4 << 20;

/// The most keys in a file: as many as can have signed two notes.
pub const EVIDENCE_KEYS_MAX: usize = 2 * SIGNATURES_MAX;

/// The longest text after `origin` or `seen` in bytes.
pub const EVIDENCE_TEXT_LEN_MAX: usize = 2048;

/// What evidence shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EvidenceKind {
    /// Two roots for one size: proven.
    ForkSize,
    /// A rewritten beginning: proven.
    ForkPrefix,
    /// A smaller tree at a later time: proven.
    Rollback,
    /// Another entry where one was promised: proven.
    BrokenPromise,
    /// A promise with a time at which the entry was not logged, or was logged already: proven.
    WrongTime,
    /// A smaller tree after a larger one: suspicious, not proven.
    RollbackSuspected,
    /// Two trees whose relation the log does not show: not proven.
    InconsistentUnproven,
    /// A checkpoint of this origin that no trusted key signed: not proven.
    ForeignKey,
}

/// An evidence file. What [`EvidenceFile::parse`] returns is well formed; nothing in it is
/// verified before [`EvidenceFile::judge`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EvidenceFile {
    /// What it claims to show; says which of the fields below are present.
    pub kind: EvidenceKind,
    /// The log that the notes are of.
    pub origin: String,
    /// Whose signatures count, 1 to [`EVIDENCE_KEYS_MAX`].
    pub keys: Vec<NoteKey>,
    /// The log's identity document.
    pub identity: Option<Vec<u8>>,
    /// One note or two, byte for byte.
    pub notes: Vec<Vec<u8>>,
    /// Another root of note 0's size, under note 1.
    pub alt_root: Option<Hash>,
    /// What the log promised.
    pub promise: Option<Promise>,
    /// The leaf hash that stands at the promised index.
    pub leaf: Option<Hash>,
    /// Consistency from `alt_root` to note 1, or inclusion at the promised index in note 0.
    pub proof: Option<Vec<Hash>>,
    /// Where and when it was seen: not authenticated.
    pub seen: String,
}

/// A SignedEntryTimestamp of Rekor v1 and what it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Promise {
    /// The signature of the log's v1 key, DER.
    pub set: Vec<u8>,
    /// The canonical bytes of the entry.
    pub entry: Vec<u8>,
    /// When it was logged, in Unix seconds.
    pub time: u64,
    /// Where it was logged.
    pub index: LeafIndex,
}

/// The keys that a judge believes to be those of one log and of its witnesses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustedKeys {
    /// The log's, of all kinds.
    pub log: Vec<NoteKey>,
    /// The witnesses'.
    pub witnesses: Vec<NoteKey>,
}

impl EvidenceKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::ForkSize,
        Self::ForkPrefix,
        Self::Rollback,
        Self::BrokenPromise,
        Self::WrongTime,
        Self::RollbackSuspected,
        Self::InconsistentUnproven,
        Self::ForeignKey,
    ];

    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::ForkSize => "fork-size",
            Self::ForkPrefix => "fork-prefix",
            Self::Rollback => "rollback",
            Self::BrokenPromise => "broken-promise",
            Self::WrongTime => "wrong-time",
            Self::RollbackSuspected => "rollback-suspected",
            Self::InconsistentUnproven => "inconsistent-unproven",
            Self::ForeignKey => "foreign-key",
        }
    }

    /// Whether such a file alone convicts somebody.
    pub fn is_proof(self) -> bool {
        match self {
            Self::ForkSize
            | Self::ForkPrefix
            | Self::Rollback
            | Self::BrokenPromise
            | Self::WrongTime => true,
            Self::RollbackSuspected | Self::InconsistentUnproven | Self::ForeignKey => false,
        }
    }

    /// Whether the kind is about a promise, with one note instead of two.
    fn is_about_promise(self) -> bool {
        matches!(self, Self::BrokenPromise | Self::WrongTime)
    }
}

impl EvidenceFile {
    /// Reads a file strictly.
    ///
    /// # Errors
    /// [`EvidenceError`], with the number of the line at fault; every byte string but the one that
    /// [`EvidenceFile::format`] writes is refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, EvidenceError> {
        parse::parse(bytes)
    }

    /// Whether the file proves what it says, by signatures and hashes alone.
    ///
    /// Signatures count by the keys in the file; an ML-DSA-44 key with the name of the log, which
    /// anybody can have, then convicts nobody. With `trusted` only those of them count that are
    /// trusted; then all trusted keys of the log are one log, whichever of them signed.
    pub fn judge(&self, trusted: Option<&TrustedKeys>) -> Judgement {
        judge::judge(self, trusted)
    }

    /// The text of the file. Its kind says which fields are written.
    pub fn format(&self) -> String {
        let mut text = self.lines_above_sum();
        let sum = sha256(text.as_bytes());
        text.push_str(&format!("sum {}\nseen {}\n", to_base64(sum.as_bytes()), self.seen));
        text
    }

    fn lines_above_sum(&self) -> String {
        let mut text = format!("{MAGIC}\nkind {}\norigin {}\n", self.kind.name(), self.origin);
        let mut line = |name: &str, value: &str| text.push_str(&format!("{name} {value}\n"));
        for key in &self.keys {
            line("key", &key.to_vkey());
        }
        if let Some(identity) = &self.identity {
            line("identity", &to_base64(identity));
        }
        for (number, note) in self.notes.iter().enumerate() {
            line(&format!("note {number}"), &to_base64(note));
        }
        if let Some(root) = &self.alt_root {
            line("altroot", &to_base64(root.as_bytes()));
        }
        if let Some(promise) = &self.promise {
            line("set", &to_base64(&promise.set));
            line("promised", &to_base64(&promise.entry));
            line("time", &promise.time.to_string());
            line("index", &promise.index.to_string());
        }
        if let Some(leaf) = &self.leaf {
            line("leaf", &to_base64(leaf.as_bytes()));
        }
        if let Some(proof) = &self.proof {
            let word = if self.kind.is_about_promise() { "inclusion" } else { "consistency" };
            text.push_str(&format!("proof {word}"));
            for hash in proof {
                text.push_str(&format!(" {}", to_base64(hash.as_bytes())));
            }
            text.push('\n');
        }
        text
    }

    fn new(kind: EvidenceKind, origin: &str, keys: Vec<NoteKey>) -> Self {
        Self {
            kind,
            origin: origin.to_owned(),
            keys,
            identity: None,
            notes: Vec::new(),
            alt_root: None,
            promise: None,
            leaf: None,
            proof: None,
            seen: String::new(),
        }
    }
}

impl TrustedKeys {
    /// Those of a trust file.
    pub fn of(trust: &TrustFile) -> Self {
        let mut log = trust.log.keys.clone();
        log.extend(trust.log.identity.iter().map(|document| document.identity.v1_note_key()));
        let policy = trust.witness_policy.as_ref().map(|witnesses| &witnesses.policy);
        Self { log, witnesses: policy.map(|policy| policy.witness_keys()).unwrap_or_default() }
    }

    fn contains(&self, key: &NoteKey) -> bool {
        self.log.contains(key) || self.witnesses.contains(key)
    }
}

const MAGIC: &str = "tlog-evidence@v1";

#[cfg(test)]
mod tests;
