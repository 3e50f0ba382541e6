//! `rekord`: a signature over content that the submitter showed, and of which the log keeps the
//! digest. Rekor v1's oldest kind. Of its four formats of signatures the log takes `x509`.
//!
//! Canonical bytes of 0.0.1:
//!
//! ```text
//! {"apiVersion":"0.0.1","kind":"rekord","spec":{
//!  "data":{"hash":{"algorithm":"sha256","value":"<hex>"}},
//!  "signature":{"content":"<base64>","format":"x509","publicKey":{"content":"<base64 of PEM>"}}}}
//! ```
//!
//! (on one line). Every value is hexadecimal, base64 or a fixed word, so RFC 8785 is a template.
//!
//! Signatures are over SHA-256 whatever the curve, and pure Ed25519. So an Ed25519 signature cannot
//! be verified again from the entry: the digest is not what was signed.

use serde::Deserialize;

use super::hashedrekord::{
    HashV001, PublicKeyV001, missing, sha256_value, verifier_from_base64_pem,
};
use super::{EntryError, EntryKind, VerifiedEntry, malformed};
use crate::encoding::{from_base64_lines, to_base64};
use crate::facts::{self, Fact, FactSources};
use crate::hash::{Hash, sha256};
use crate::key::{HashAlgorithm, KeyKind};
use crate::verifier::Verifier;

/// A signature over content, as logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rekord {
    digest: Hash,
    signature: Vec<u8>,
    verifier: Verifier,
}

impl Rekord {
    /// SHA-256 of the content.
    pub fn digest(&self) -> Hash {
        self.digest
    }

    /// The signature, as it was submitted.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The key or certificate that it verifies under.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The canonical bytes.
    pub fn to_body(&self) -> Vec<u8> {
        let digest = self.digest;
        let signature = to_base64(&self.signature);
        let key = to_base64(self.verifier.to_pem().as_bytes());
        format!(
            r#"{{"apiVersion":"0.0.1","kind":"rekord","spec":{{"data":{{"hash":{{"algorithm":"sha256","value":"{digest}"}}}},"signature":{{"content":"{signature}","format":"x509","publicKey":{{"content":"{key}"}}}}}}}}"#
        )
        .into_bytes()
    }

    /// What the entry is found by.
    pub(super) fn facts(&self) -> Vec<Fact> {
        facts::extract(&FactSources {
            verifiers: std::slice::from_ref(&self.verifier),
            artifact: Some((HashAlgorithm::Sha256, self.digest.as_bytes())),
            ..FactSources::default()
        })
    }

    /// Reads the `spec` as it is logged.
    pub(super) fn parse(spec: &str) -> Result<Self, EntryError> {
        let spec: Spec = serde_json::from_str(spec).map_err(malformed)?;
        let hash = spec.data.hash.ok_or_else(|| missing("data.hash"))?;
        Self::new(sha256_value(&hash)?, spec.signature)
    }

    fn new(digest: Hash, signature: Signature) -> Result<Self, EntryError> {
        require_x509(&signature.format)?;
        let verifier = verifier_from_base64_pem(&signature.public_key.content)?;
        let signature = from_base64_lines(&signature.content)
            .filter(|signature| !signature.is_empty())
            .ok_or(EntryError::BadBase64("signature.content"))?;
        Ok(Self { digest, signature, verifier })
    }

    /// Whether what was signed is the digest.
    pub(super) fn is_over_digest(&self) -> bool {
        self.verifier.key().kind() != KeyKind::Ed25519
    }

    /// Whether the signature is over content with the digest; `None` if only the content can tell.
    pub(super) fn verifies(&self) -> Option<bool> {
        let (key, digest) = (self.verifier.key(), self.digest.as_bytes());
        let verify = || key.verify_digest(HashAlgorithm::Sha256, digest, &self.signature).is_ok();
        self.is_over_digest().then(verify)
    }
}

/// Reads and verifies the `spec` of a submission; what comes out is not admitted yet.
pub(super) fn read(spec: &str) -> Result<Rekord, EntryError> {
    let spec: Spec = serde_json::from_str(spec).map_err(malformed)?;
    // First of all: whoever has a signature of another format must not hear of its other parts.
    require_x509(&spec.signature.format)?;
    let content = spec.data.content.as_deref().filter(|content| !content.is_empty());
    let content = from_base64_lines(content.ok_or_else(|| missing("data.content"))?)
        .ok_or(EntryError::BadBase64("data.content"))?;
    let digest = sha256(&content);
    if spec.data.hash.is_some_and(|hash| sha256_value(&hash).ok() != Some(digest)) {
        return Err(EntryError::HashMismatch);
    }
    let rekord = Rekord::new(digest, spec.signature)?;
    rekord.verifier.check()?;
    let key = rekord.verifier.key();
    key.verify_sha256(&content, &rekord.signature).map_err(|_| EntryError::SignatureInvalid)?;
    Ok(rekord)
}

/// Reads and verifies the `spec` of a Rekor v1 submission.
pub(super) fn verify(spec: &str) -> Result<VerifiedEntry, EntryError> {
    let rekord = read(spec)?;
    let (body, facts) = (rekord.to_body(), rekord.facts());
    VerifiedEntry::new(EntryKind::RekordV001, body, facts, vec![rekord.verifier], None)
}

fn require_x509(format: &str) -> Result<(), EntryError> {
    match REFUSED_FORMATS.iter().find(|refused| **refused == format) {
        _ if format == "x509" => Ok(()),
        Some(format) => Err(EntryError::RefusedFormat(format)),
        None => Err(EntryError::Malformed("unknown signature.format".to_owned())),
    }
}

/// Formats of Rekor that are known and not taken.
const REFUSED_FORMATS: [&str; 3] = ["minisign", "pgp", "ssh"];

// Rekor v1 ignores fields that it does not know, and its Go clients send nulls; so unknown fields
// pass.
#[derive(Deserialize)]
struct Spec {
    data: Data,
    signature: Signature,
}

#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    hash: Option<HashV001>,
    #[serde(default)]
    content: Option<String>,
}

#[derive(Deserialize)]
struct Signature {
    format: String,
    content: String,
    #[serde(rename = "publicKey")]
    public_key: PublicKeyV001,
}
