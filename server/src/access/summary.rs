//! What the policy looks at in an entry: kind, size, names, signers.
//!
//! From the entry and its statement, not from its facts: facts have limits, and a name that
//! was left out of them could not be refused.
//!
//! Out of scope: whether a certificate is anybody's word. The log verifies a signature under the
//! key in a certificate, and no chain; identities are what the certificate says.

use treering_proto::entry::{EntryKind, VerifiedEntry};
use treering_proto::statement::Statement;
use treering_proto::verifier::Verifier;

/// What the policy looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntrySummary {
    /// Kind and version.
    pub kind: EntryKind,
    /// Bytes that are kept: the entry and its statement.
    pub bytes: u64,
    /// The names of all subjects; `None` without a statement.
    pub names: Option<Vec<String>>,
    /// Whether a subject of the statement has no name.
    pub has_unnamed: bool,
    /// Who signed: at least one.
    pub signers: Vec<Signer>,
}

/// One signer of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signer {
    /// SHA-256 of the public key (SubjectPublicKeyInfo, DER), lower-case hexadecimal.
    pub key: String,
    /// The names in the certificate, if it came with one.
    pub identities: Vec<String>,
}

impl EntrySummary {
    /// Reads an entry. `with_names` says whether a rule asks for names: only then is the statement
    /// read again.
    pub fn of(entry: &VerifiedEntry, with_names: bool) -> Self {
        let payload = entry.statement().map(|statement| statement.payload.as_slice());
        let statement = payload.filter(|_| with_names).map(Statement::parse);
        let subjects = statement.map(|statement| match statement {
            Ok(statement) => statement.subjects,
            // It was read when the entry was admitted; were it not, it names nothing.
            Err(_) => Vec::new(),
        });
        let is_unnamed = |name: Option<&str>| name.is_none_or(str::is_empty);
        let has_unnamed = subjects.as_ref().is_some_and(|subjects| {
            subjects.is_empty() || subjects.iter().any(|s| is_unnamed(s.name.as_deref()))
        });
        let names = subjects.map(|subjects| {
            subjects.into_iter().filter_map(|s| s.name).filter(|name| !name.is_empty()).collect()
        });
        Self {
            kind: entry.kind(),
            bytes: (entry.body().len() + payload.map_or(0, <[u8]>::len)) as u64,
            names,
            has_unnamed,
            signers: entry.verifiers().iter().map(Signer::of).collect(),
        }
    }
}

impl Signer {
    fn of(verifier: &Verifier) -> Self {
        Self {
            key: verifier.key().fingerprint().to_hex(),
            identities: verifier.certificate().map_or(Vec::new(), |c| c.identities().to_vec()),
        }
    }
}
