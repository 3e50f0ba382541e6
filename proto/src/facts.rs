//! Facts: what an entry can be searched by, as pairs of a tag and a value (`docs/facts.md`).
//!
//! Pure and total: the same sources give the same facts for ever, and everybody who has the entry
//! and its statement can compute them again. A source that cannot be read gives no facts and harms
//! no other: an entry whose statement is malformed is still found by key, identity and digests.
//!
//! Invariants: facts are sorted, occur once, and are at most [`FACTS_MAX`]; no value is empty or
//! longer than [`FACT_VALUE_LEN_MAX`]. Each tag has its own limit, so that filling one cannot push
//! out another. Out of scope: where facts are stored, and who is allowed to state them.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::encoding::{from_hex_lower, to_hex};
use crate::hash::Hash;
use crate::key::HashAlgorithm;
use crate::model_statement::{
    Method, ModelHash, ModelStatement, ModelStatementError, RESOURCES_MAX,
};
use crate::statement::{SUBJECTS_MAX, Statement};
use crate::verifier::Verifier;

mod predicates;

/// The longest value, in bytes. Longer ones are left out: nobody types them, and every fact is kept
/// for ever.
pub const FACT_VALUE_LEN_MAX: usize = 1_024;

/// Facts of one entry: the sum of the limits of all tags. Subjects and files cannot both be many,
/// but nothing here relies on that.
pub const FACTS_MAX: usize = {
    let mut sum = 0;
    let mut at = 0;
    while at < Tag::ALL.len() {
        sum += Tag::ALL[at].count_max();
        at += 1;
    }
    sum
};

/// The first bytes of what a search key hashes.
pub const SEARCH_KEY_DOMAIN: &str = "treering search v1";

/// What kind of fact it is. The order is that of `docs/facts.md`; names are never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Tag {
    /// A digest of what was signed or is spoken about.
    ArtifactDigest,
    /// SHA-256 of the DSSE payload.
    PayloadDigest,
    /// SHA-256 of the DSSE envelope text.
    EnvelopeDigest,
    /// SHA-256 of the signer's public key.
    PublicKey,
    /// A subject alternative name of the signer's certificate.
    Identity,
    /// The OIDC issuer that vouched for the identity.
    Issuer,
    /// The name of a subject of the statement.
    SubjectName,
    /// The model id.
    ModelId,
    /// The root digest of an OMS statement.
    OmsRoot,
    /// The digest of a file of a model.
    FileDigest,
    /// The type of the predicate.
    PredicateType,
    /// The digest of something that the artifact was built from.
    ParentDigest,
    /// The package URL of a component.
    ComponentPurl,
    /// The URI of the workflow that signed.
    Workflow,
}

/// One thing that an entry can be found by.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fact {
    /// What kind of fact it is.
    pub tag: Tag,
    /// 1 to [`FACT_VALUE_LEN_MAX`] bytes, spelled as `docs/facts.md` says.
    pub value: Vec<u8>,
}

/// Where the facts of an entry come from.
#[derive(Clone, Copy, Default, Debug)]
pub struct FactSources<'a> {
    /// What the signatures were verified with.
    pub verifiers: &'a [Verifier],
    /// The digest that a `hashedrekord` entry is about.
    pub artifact: Option<(HashAlgorithm, &'a [u8])>,
    /// SHA-256 of the DSSE payload.
    pub payload_hash: Option<Hash>,
    /// The statement in the DSSE payload, if it is one.
    pub statement: Option<&'a ReadStatement>,
    /// SHA-256 of the envelope text as submitted.
    pub envelope_sha256: Option<Hash>,
}

/// A statement, and what it says of a model. Both are read once: a model of thousands of files
/// takes milliseconds.
#[derive(Clone, PartialEq, Debug)]
pub struct ReadStatement {
    statement: Statement,
    model: Result<ModelStatement, ModelStatementError>,
}

impl ReadStatement {
    /// Reads what `statement` says of a model.
    pub fn new(statement: Statement) -> Self {
        let model = ModelStatement::parse(&statement);
        Self { statement, model }
    }

    /// The statement.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// What it says of a model.
    ///
    /// # Errors
    /// Why it is not admitted as a statement about a model; most are about something else.
    pub fn model(&self) -> Result<&ModelStatement, &ModelStatementError> {
        self.model.as_ref()
    }
}

/// All facts of an entry, sorted by tag and value.
pub fn extract(sources: &FactSources<'_>) -> Vec<Fact> {
    let mut facts = Facts::default();
    for verifier in sources.verifiers {
        facts.add_verifier(verifier);
    }
    if let Some((algorithm, digest)) = sources.artifact {
        facts.add_digest(Tag::ArtifactDigest, algorithm_name(algorithm), &to_hex(digest));
    }
    if let Some(hash) = sources.envelope_sha256 {
        facts.add_digest(Tag::EnvelopeDigest, "sha256", &hash.to_hex());
    }
    if let Some(hash) = sources.payload_hash {
        facts.add_digest(Tag::PayloadDigest, "sha256", &hash.to_hex());
    }
    // No entry commits to its payload's type, so facts must not depend on it: anybody must be able
    // to compute them from the entry and the payload.
    if let Some(statement) = sources.statement {
        facts.add_statement(statement);
    }
    facts.finish()
}

/// The key that a fact is looked up by:
/// SHA-256("treering search v1" || 0x0A || name of the tag || 0x00 || value).
pub fn search_key(tag: Tag, value: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update(SEARCH_KEY_DOMAIN);
    hasher.update([0x0a]);
    hasher.update(tag.name());
    hasher.update([0x00]);
    hasher.update(value);
    Hash(hasher.finalize().into())
}

/// The value of a digest: `algorithm:hex` in lower case. `None` unless the algorithm is ASCII
/// letters, digits, `-`, `_`, `.` or `/`, and the digest is hexadecimal.
pub fn digest_value(algorithm: &str, digest: &str) -> Option<Vec<u8>> {
    let named = !algorithm.is_empty()
        && algorithm.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    let hexadecimal = !digest.is_empty()
        && digest.len().is_multiple_of(2)
        && digest.bytes().all(|b| b.is_ascii_hexdigit());
    (named && hexadecimal).then(|| {
        let mut value = joined(algorithm, digest);
        value.make_ascii_lowercase();
        value
    })
}

fn joined(algorithm: &str, digest: &str) -> Vec<u8> {
    [algorithm.as_bytes(), b":", digest.as_bytes()].concat()
}

impl Tag {
    /// All tags in order.
    pub const ALL: [Self; 14] = [
        Self::ArtifactDigest,
        Self::PayloadDigest,
        Self::EnvelopeDigest,
        Self::PublicKey,
        Self::Identity,
        Self::Issuer,
        Self::SubjectName,
        Self::ModelId,
        Self::OmsRoot,
        Self::FileDigest,
        Self::PredicateType,
        Self::ParentDigest,
        Self::ComponentPurl,
        Self::Workflow,
    ];

    /// The name in search keys and interfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ArtifactDigest => "artifact-digest",
            Self::PayloadDigest => "payload-digest",
            Self::EnvelopeDigest => "envelope-digest",
            Self::PublicKey => "public-key",
            Self::Identity => "identity",
            Self::Issuer => "issuer",
            Self::SubjectName => "subject-name",
            Self::ModelId => "model-id",
            Self::OmsRoot => "oms-root",
            Self::FileDigest => "file-digest",
            Self::PredicateType => "predicate-type",
            Self::ParentDigest => "parent-digest",
            Self::ComponentPurl => "component-purl",
            Self::Workflow => "workflow",
        }
    }

    /// The tag called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tag| tag.name() == name)
    }

    /// How many facts of this tag one entry has at most. Beyond that, the first ones met in the
    /// sources count.
    pub const fn count_max(self) -> usize {
        match self {
            Self::ArtifactDigest => SUBJECTS_MAX,
            Self::FileDigest => RESOURCES_MAX,
            Self::SubjectName | Self::ParentDigest | Self::ComponentPurl => 1_000,
            // Ten verifiers of one signature each, with as many names as a certificate may have.
            Self::Identity => 320,
            Self::PublicKey | Self::Issuer | Self::Workflow => 10,
            Self::PayloadDigest
            | Self::EnvelopeDigest
            | Self::ModelId
            | Self::OmsRoot
            | Self::PredicateType => 1,
        }
    }
}

impl std::fmt::Display for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of facts that grows.
#[derive(Default)]
struct Facts {
    found: [BTreeSet<Vec<u8>>; Tag::ALL.len()],
}

impl Facts {
    fn add(&mut self, tag: Tag, value: impl Into<Vec<u8>>) {
        let value = value.into();
        let found = &mut self.found[tag as usize];
        if !value.is_empty() && value.len() <= FACT_VALUE_LEN_MAX && found.len() < tag.count_max() {
            found.insert(value);
        }
    }

    fn add_digest(&mut self, tag: Tag, algorithm: &str, digest: &str) {
        if let Some(value) = digest_value(algorithm, digest) {
            self.add(tag, value);
        }
    }

    fn add_verifier(&mut self, verifier: &Verifier) {
        self.add(Tag::PublicKey, verifier.key().fingerprint().to_hex());
        let Some(certificate) = verifier.certificate() else { return };
        for identity in certificate.identities() {
            self.add(Tag::Identity, identity.as_str());
        }
        if let Some(issuer) = certificate.issuer() {
            self.add(Tag::Issuer, issuer);
        }
        if let Some(workflow) = certificate.workflow() {
            self.add(Tag::Workflow, workflow);
        }
    }

    fn add_statement(&mut self, read: &ReadStatement) {
        let statement = read.statement();
        self.add(Tag::PredicateType, statement.predicate_type.as_str());
        for subject in &statement.subjects {
            if let Some(name) = &subject.name {
                self.add(Tag::SubjectName, name.as_str());
            }
            for (algorithm, digest) in &subject.digests {
                self.add_digest(Tag::ArtifactDigest, algorithm, digest);
            }
        }
        if let Ok(model) = read.model() {
            self.add_model(model);
        }
        for (algorithm, digest) in predicates::parents(statement) {
            self.add_digest(Tag::ParentDigest, &algorithm, &digest);
        }
        for purl in predicates::purls(statement) {
            self.add(Tag::ComponentPurl, purl);
        }
    }

    fn add_model(&mut self, model: &ModelStatement) {
        self.add(Tag::ModelId, crate::model_id::model_id(model).to_hex());
        self.add_digest(Tag::OmsRoot, "sha256", &model.root().to_hex());
        // The digest of a shard is not the digest of a file that somebody could hold.
        if model.method() != Method::Files {
            return;
        }
        let empty = from_hex_lower(empty_digest(model.hash())).expect("these are hexadecimal");
        let digests = model.resources().iter().map(|resource| &resource.digest);
        let mut digests: Vec<&Vec<u8>> = digests.filter(|digest| **digest != empty).collect();
        // They are equally long, so their texts sort as they do, and a set of what is sorted is
        // made at once. There are no more of them than there may be facts of this tag.
        digests.sort_unstable();
        digests.dedup();
        let values = digests.into_iter().map(|digest| joined(model.hash().name(), &to_hex(digest)));
        self.found[Tag::FileDigest as usize] = values.collect();
    }

    fn finish(self) -> Vec<Fact> {
        let facts: Vec<Fact> = Tag::ALL
            .into_iter()
            .zip(self.found)
            .flat_map(|(tag, values)| values.into_iter().map(move |value| Fact { tag, value }))
            .collect();
        assert!(facts.len() <= FACTS_MAX, "each tag keeps to its limit, and this is their sum");
        facts
    }
}

fn algorithm_name(algorithm: HashAlgorithm) -> &'static str {
    match algorithm {
        HashAlgorithm::Sha256 => "sha256",
        HashAlgorithm::Sha384 => "sha384",
        HashAlgorithm::Sha512 => "sha512",
    }
}

/// The digest of no bytes. Every other model has an empty file, so it finds nothing.
fn empty_digest(hash: ModelHash) -> &'static str {
    match hash {
        ModelHash::Sha256 => "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ModelHash::Blake2b => {
            "786a02f742015903c6c6fd852552d272912f4740e15847618a86e217f71f5419\
             d25e1031afee585313896444934eb04b903a685b1448b755d56f701afe9be2ce"
        }
        ModelHash::Blake3 => "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    }
}

#[cfg(test)]
mod tests;
