//! Entries: what may be logged, in a closed set of kinds, and how a submission becomes one.
//!
//! ```text
//! request -> parse -> verify signatures -> canonical bytes (RFC 8785) -> leaf, facts
//!                                                                     = VerifiedEntry
//! canonical bytes -> parse -> the same fields again                   = Entry
//! ```
//!
//! Kinds: `hashedrekord` and `dsse`, each as Rekor v1 (0.0.1) and Rekor v2 (0.0.2) write them;
//! `intoto` 0.0.1 and 0.0.2 and `rekord` 0.0.1 of Rekor v1. Kinds that would need an archive to be
//! parsed (jar, rpm, alpine, helm) are refused by name.
//!
//! Invariants: a `VerifiedEntry` cannot be made without its signatures verifying; its canonical
//! bytes are a function of what was verified, so the same submission has the same leaf for ever;
//! facts are fixed here, from the entry and the statement that came with it.

pub mod dsse;
mod envelope;
pub mod hashedrekord;
pub mod intoto;
mod query;
mod recheck;
pub mod rekord;
mod request_v2;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::facts::Fact;
use crate::hash::{Hash, hash_leaf};
use crate::notice::EntryRef;
use crate::tile::ENTRY_LEN_MAX;
use crate::verifier::{Verifier, VerifierError};
use dsse::Dsse;
use hashedrekord::Hashedrekord;
use intoto::Intoto;
use rekord::Rekord;

pub use query::leaf_of_v1_query;
pub use recheck::Recheck;
pub use request_v2::RequestV2;

/// Kind and version, as they stand in the canonical bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum EntryKind {
    /// `hashedrekord` 0.0.1: Rekor v1, a signature over a digest.
    HashedrekordV001,
    /// `hashedrekord` 0.0.2: the same in Rekor v2.
    HashedrekordV002,
    /// `dsse` 0.0.1: Rekor v1, a signed envelope of which the log keeps digests.
    DsseV001,
    /// `dsse` 0.0.2: the same in Rekor v2.
    DsseV002,
    /// `intoto` 0.0.1: Rekor v1, a signed envelope of which the log keeps digests and a key.
    IntotoV001,
    /// `intoto` 0.0.2: Rekor v1, the same with payload type and signatures.
    IntotoV002,
    /// `rekord` 0.0.1: Rekor v1, a signature over content that the log saw.
    RekordV001,
}

/// An entry as it stands in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A signature over a digest.
    Hashedrekord(Hashedrekord),
    /// A signed envelope.
    Dsse(Dsse),
    /// A signed envelope around an in-toto statement.
    Intoto(Intoto),
    /// A signature over content.
    Rekord(Rekord),
}

/// An entry whose signatures verified: the only thing that can be logged.
#[derive(Clone, Debug)]
pub struct VerifiedEntry {
    kind: EntryKind,
    body: Vec<u8>,
    leaf: Hash,
    facts: Vec<Fact>,
    verifiers: Vec<Verifier>,
    statement: Option<Statement>,
}

/// The payload of an envelope, kept beside the log under its hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statement {
    /// SHA-256 of the payload.
    pub payload_hash: Hash,
    /// The payload, byte for byte as it was signed.
    pub payload: Vec<u8>,
    /// Whether the envelope calls it an in-toto statement. No entry commits to what it is called.
    pub is_in_toto: bool,
    /// What it says of entries that are logged already.
    pub claim: Option<Claim>,
}

/// What a statement says of entries that are logged already, as far as admission read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// It has a type below [`NOTICE_TYPES`](crate::notice::NOTICE_TYPES), known or not.
    Notice,
    /// It is a model statement that takes the place of another.
    Renews(EntryRef),
}

/// Why a submission is not an entry. Each says what the submitter must change.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The JSON does not have the shape of the kind.
    #[error("malformed entry: {0}")]
    Malformed(String),
    /// A field that every submission has.
    #[error("{0} in body is required")]
    Missing(&'static str),
    /// A field that a Rekor v2 submission must have is absent or empty.
    #[error("missing {0}")]
    Incomplete(&'static str),
    /// Not a kind that this log takes.
    #[error("invalid kind value: {0:?}")]
    UnknownKind(String),
    /// A kind that exists in Rekor and is refused here, with the reason.
    #[error("entry kind '{kind}' is not enabled for submission on this server: {reason}")]
    RefusedKind {
        /// The kind.
        kind: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// Not a version of that kind.
    #[error("{kind} implementation for version '{version}' not found")]
    UnknownVersion {
        /// The kind.
        kind: &'static str,
        /// The version asked for.
        version: String,
    },
    /// A field is not base64.
    #[error("{0} is not base64")]
    BadBase64(&'static str),
    /// The public key or certificate cannot be used.
    #[error("public key: {0}")]
    Verifier(#[from] VerifierError),
    /// The digest is not as long as its algorithm makes it, or not hexadecimal.
    #[error("the digest does not fit its hash algorithm")]
    BadDigest,
    /// The key and the hash do not go together.
    #[error("entry algorithms are not allowed")]
    AlgorithmNotAllowed,
    /// A signature does not verify.
    #[error("verifying signature: the signature does not verify under the given public key")]
    SignatureInvalid,
    /// A verifier that verified nothing, or a signature that nothing verified.
    #[error("every signature needs a verifier, and every verifier a signature")]
    VerifierUnused,
    /// Too many signatures or verifiers, or none.
    #[error("between 1 and {max} {what} are needed")]
    Count {
        /// What there are too many of.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// The DSSE envelope cannot be read.
    #[error("could not parse envelope: {0}")]
    Envelope(#[from] crate::dsse_envelope::EnvelopeError),
    /// The envelope holds a model signature that strict admission refuses.
    #[error("model statement refused: {0}")]
    ModelStatement(#[from] crate::model_statement::ModelStatementError),
    /// The envelope says it holds an in-toto statement, and does not.
    #[error("in-toto statement refused: {0}")]
    Statement(#[from] crate::statement::StatementError),
    /// A statement that the log gives a meaning to, and looks for in `dsse` entries only.
    #[error("statements of type {0:?} are taken as kind dsse only: submit the envelope as dsse")]
    OnlyAsDsse(String),
    /// The content has another hash than the one that was given with it.
    #[error("the content has another hash than the one that was given with it")]
    HashMismatch,
    /// A format of signatures that exists in Rekor and is refused here.
    #[error(
        "signature format '{0}' is not supported by this server: x509 is; submit a signature under \
         a PEM public key or certificate"
    )]
    RefusedFormat(&'static str),
    /// The canonical bytes do not fit an entry tile.
    #[error("the entry has {len} bytes; at most {ENTRY_LEN_MAX} can be logged")]
    TooLong {
        /// Length of the canonical bytes.
        len: usize,
    },
    /// The bytes are not what this kind looks like in a log.
    #[error("not the canonical bytes of an entry")]
    NotCanonical,
}

impl EntryKind {
    /// All kinds, in the order in which they came.
    pub const ALL: [Self; 7] = [
        Self::HashedrekordV001,
        Self::HashedrekordV002,
        Self::DsseV001,
        Self::DsseV002,
        Self::IntotoV001,
        Self::IntotoV002,
        Self::RekordV001,
    ];

    /// The kind's name.
    pub fn kind(self) -> &'static str {
        match self {
            Self::HashedrekordV001 | Self::HashedrekordV002 => "hashedrekord",
            Self::DsseV001 | Self::DsseV002 => "dsse",
            Self::IntotoV001 | Self::IntotoV002 => "intoto",
            Self::RekordV001 => "rekord",
        }
    }

    /// The kind's version.
    pub fn version(self) -> &'static str {
        match self {
            Self::HashedrekordV001 | Self::DsseV001 | Self::IntotoV001 | Self::RekordV001 => {
                "0.0.1"
            }
            Self::HashedrekordV002 | Self::DsseV002 | Self::IntotoV002 => "0.0.2",
        }
    }

    /// Whether Rekor v1 defines it; such entries get a SignedEntryTimestamp.
    pub fn is_rekor_v1(self) -> bool {
        !matches!(self, Self::HashedrekordV002 | Self::DsseV002)
    }

    /// Whether Rekor v1 keeps the statement and shows it with the entry, as its attestation.
    pub fn keeps_attestation(self) -> bool {
        matches!(self, Self::IntotoV001 | Self::IntotoV002)
    }

    /// The kind of an entry, from its canonical bytes and without reading the rest of them.
    pub fn of_body(body: &[u8]) -> Result<Self, EntryError> {
        let head: Proposal<'_> = serde_json::from_slice(body).map_err(malformed)?;
        Self::from_name(&head.kind, &head.api_version)
    }

    /// The kind of that name and version.
    pub fn from_name(kind: &str, version: &str) -> Result<Self, EntryError> {
        let of_name = |known: &&Self| known.kind() == kind;
        if let Some(known) = Self::ALL.iter().filter(of_name).find(|k| k.version() == version) {
            return Ok(*known);
        }
        Err(match Self::ALL.iter().find(of_name) {
            Some(known) => unknown_version(known.kind(), version),
            None => match REFUSED_KINDS.iter().find(|(name, _)| *name == kind) {
                Some((kind, reason)) => EntryError::RefusedKind { kind, reason },
                None => EntryError::UnknownKind(kind.chars().take(64).collect()),
            },
        })
    }
}

impl VerifiedEntry {
    /// Reads and verifies the body of a Rekor v1 submission: `{"kind", "apiVersion", "spec"}`.
    pub fn from_v1_request(request: &[u8]) -> Result<Self, EntryError> {
        let (kind, spec) = read_v1(request)?;
        match kind {
            EntryKind::HashedrekordV001 => hashedrekord::verify_v001(spec),
            EntryKind::DsseV001 => dsse::verify_v001(spec),
            EntryKind::IntotoV001 => intoto::verify_v001(spec),
            EntryKind::IntotoV002 => intoto::verify_v002(spec),
            EntryKind::RekordV001 => rekord::verify(spec),
            EntryKind::HashedrekordV002 | EntryKind::DsseV002 => {
                Err(unknown_version(kind.kind(), kind.version()))
            }
        }
    }

    /// Reads and verifies the body of a Rekor v2 submission, a `CreateEntryRequest` in protojson.
    pub fn from_v2_request(request: &[u8]) -> Result<Self, EntryError> {
        RequestV2::parse(request)?.verify()
    }

    /// The entry with its canonical bytes, or [`EntryError::TooLong`].
    fn new(
        kind: EntryKind,
        body: Vec<u8>,
        facts: Vec<Fact>,
        verifiers: Vec<Verifier>,
        statement: Option<Statement>,
    ) -> Result<Self, EntryError> {
        if body.len() > ENTRY_LEN_MAX {
            return Err(EntryError::TooLong { len: body.len() });
        }
        Ok(Self { kind, leaf: hash_leaf(&body), body, facts, verifiers, statement })
    }

    /// Kind and version.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// The canonical bytes.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// RFC 6962 leaf hash of the canonical bytes.
    pub fn leaf(&self) -> Hash {
        self.leaf
    }

    /// What the entry can be found by.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// The keys and certificates that are named in it, as [`Entry::verifiers`] reads them; none
    /// once they are forgotten.
    pub fn verifiers(&self) -> &[Verifier] {
        &self.verifiers
    }

    /// Frees the memory of [`VerifiedEntry::verifiers`].
    pub fn forget_verifiers(&mut self) {
        self.verifiers = Vec::new();
    }

    /// The in-toto statement that came with the entry.
    pub fn statement(&self) -> Option<&Statement> {
        self.statement.as_ref()
    }
}

impl Entry {
    /// Reads the canonical bytes of an entry. Signatures over digests are not verified again here.
    pub fn parse(body: &[u8]) -> Result<Self, EntryError> {
        let head: Proposal<'_> = serde_json::from_slice(body).map_err(malformed)?;
        let spec = head.spec.get();
        let entry = match EntryKind::from_name(&head.kind, &head.api_version)? {
            EntryKind::HashedrekordV001 => Self::Hashedrekord(Hashedrekord::parse_v001(spec)?),
            EntryKind::HashedrekordV002 => Self::Hashedrekord(Hashedrekord::parse_v002(spec)?),
            EntryKind::DsseV001 => Self::Dsse(Dsse::parse_v001(spec)?),
            EntryKind::DsseV002 => Self::Dsse(Dsse::parse_v002(spec)?),
            EntryKind::IntotoV001 => Self::Intoto(Intoto::parse_v001(spec)?),
            EntryKind::IntotoV002 => Self::Intoto(Intoto::parse_v002(spec)?),
            EntryKind::RekordV001 => Self::Rekord(Rekord::parse(spec)?),
        };
        if entry.to_body() == body { Ok(entry) } else { Err(EntryError::NotCanonical) }
    }

    /// The canonical bytes.
    pub fn to_body(&self) -> Vec<u8> {
        match self {
            Self::Hashedrekord(entry) => entry.to_body(),
            Self::Dsse(entry) => entry.to_body(),
            Self::Intoto(entry) => entry.to_body(),
            Self::Rekord(entry) => entry.to_body(),
        }
    }

    /// SHA-256 of the payload, for an envelope.
    pub fn payload_hash(&self) -> Option<Hash> {
        match self {
            Self::Hashedrekord(_) | Self::Rekord(_) => None,
            Self::Dsse(entry) => Some(entry.payload_hash()),
            Self::Intoto(entry) => Some(entry.payload_hash()),
        }
    }

    /// What the envelope calls its payload, where the entry says it.
    pub fn payload_type(&self) -> Option<&str> {
        match self {
            Self::Hashedrekord(_) | Self::Dsse(_) | Self::Rekord(_) => None,
            Self::Intoto(entry) => entry.payload_type(),
        }
    }

    /// The keys and certificates that are named in it: at least one in all that a log takes. The
    /// log verified a signature under each of them.
    pub fn verifiers(&self) -> Vec<&Verifier> {
        match self {
            Self::Hashedrekord(entry) => vec![entry.verifier()],
            Self::Dsse(entry) => entry.signatures().iter().map(|one| &one.verifier).collect(),
            Self::Intoto(entry) => entry.verifiers(),
            Self::Rekord(entry) => vec![entry.verifier()],
        }
    }

    /// What the entry can be found by: follows from its canonical bytes and, for an envelope, from
    /// the payload. A payload that is not the one that was signed is not looked at.
    pub fn facts(&self, payload: Option<&[u8]>) -> Vec<Fact> {
        match self {
            Self::Hashedrekord(entry) => entry.facts(),
            Self::Dsse(entry) => entry.facts(payload),
            Self::Intoto(entry) => entry.facts(payload),
            Self::Rekord(entry) => entry.facts(),
        }
    }

    /// Kind and version.
    pub fn kind(&self) -> EntryKind {
        match self {
            Self::Hashedrekord(entry) => entry.kind(),
            Self::Dsse(entry) => entry.kind(),
            Self::Intoto(entry) => entry.kind(),
            Self::Rekord(_) => EntryKind::RekordV001,
        }
    }
}

/// Kind and `spec` of a Rekor v1 submission.
fn read_v1(request: &[u8]) -> Result<(EntryKind, &str), EntryError> {
    if request.trim_ascii().is_empty() {
        return Err(EntryError::Missing("proposedEntry"));
    }
    require_object(request)?;
    let proposal: Proposed<'_> = serde_json::from_slice(request).map_err(malformed)?;
    let kind = proposal.kind.ok_or(EntryError::Missing("kind"))?;
    let version = proposal.api_version.ok_or(EntryError::Missing("apiVersion"))?;
    let spec = proposal.spec.ok_or(EntryError::Missing("spec"))?.get();
    Ok((EntryKind::from_name(&kind, &version)?, spec))
}

/// The outer shape of a Rekor v1 submission; Go clients send null for what they leave out.
#[derive(Deserialize)]
struct Proposed<'a> {
    #[serde(default)]
    kind: Option<String>,
    #[serde(rename = "apiVersion", default)]
    api_version: Option<String>,
    #[serde(borrow, default)]
    spec: Option<&'a RawValue>,
}

/// The outer shape of every entry's canonical bytes.
#[derive(Deserialize)]
struct Proposal<'a> {
    kind: String,
    #[serde(rename = "apiVersion")]
    api_version: String,
    #[serde(borrow)]
    spec: &'a RawValue,
}

/// The JSON reader would take an array for an object, its items for the fields in order.
fn require_object(request: &[u8]) -> Result<(), EntryError> {
    if request.trim_ascii_start().starts_with(b"{") {
        return Ok(());
    }
    Err(EntryError::Malformed("a JSON object is expected".to_owned()))
}

fn malformed(error: serde_json::Error) -> EntryError {
    EntryError::Malformed(words_about(&error))
}

/// The JSON reader's words repeat what it read, which may be megabytes, and belongs in no log.
pub(crate) fn words_about(error: &serde_json::Error) -> String {
    let words = error.to_string();
    if words.len() <= MALFORMED_LEN_MAX {
        return words;
    }
    let start: String = words.chars().take(MALFORMED_LEN_MAX / 4).collect();
    let (line, column) = (error.line(), error.column());
    format!("{start}... at line {line} column {column}")
}

fn unknown_version(kind: &'static str, version: &str) -> EntryError {
    EntryError::UnknownVersion { kind, version: version.chars().take(64).collect() }
}

/// The longest text about malformed JSON, in bytes.
const MALFORMED_LEN_MAX: usize = 512;

/// Rekor kinds that are known and not taken.
const REFUSED_KINDS: [(&str, &str); 7] = [
    ("alpine", "archives are not parsed"),
    ("cose", "not supported"),
    ("helm", "archives are not parsed"),
    ("jar", "archives are not parsed"),
    ("rfc3161", "not supported"),
    ("rpm", "archives are not parsed"),
    ("tuf", "not supported"),
];

#[cfg(test)]
mod tests;
