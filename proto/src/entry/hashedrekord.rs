//! `hashedrekord`: a signature over a digest of something that the log never sees.
//!
//! Canonical bytes of 0.0.1 (Rekor v1) and 0.0.2 (Rekor v2, `HashedRekordLogEntryV002` in
//! protojson):
//!
//! ```text
//! {"apiVersion":"0.0.1","kind":"hashedrekord","spec":{
//!  "data":{"hash":{"algorithm":"sha256","value":"<hex>"}},
//!  "signature":{"content":"<base64>","publicKey":{"content":"<base64 of PEM>"}}}}
//! {"apiVersion":"0.0.2","kind":"hashedrekord","spec":{"hashedRekordV002":{
//!  "data":{"algorithm":"SHA2_256","digest":"<base64>"},
//!  "signature":{"content":"<base64>","verifier":{"keyDetails":"PKIX_ECDSA_P256_SHA_256",
//!  "publicKey":{"rawBytes":"<base64 of SPKI>"}}}}}}
//! ```
//!
//! (on one line). Every value is hexadecimal, base64 or a fixed word, so RFC 8785 is a template.
//!
//! Invariant: the hash is the one that goes with the key; Ed25519 keys sign SHA-512 digests as
//! Ed25519ph.

use serde::Deserialize;

use super::request_v2::{Bytes, Message, SignatureV002};
use super::{EntryError, EntryKind, VerifiedEntry, malformed};
use crate::encoding::{from_base64_lines, from_hex_lower, to_base64};
use crate::facts::{self, Fact, FactSources};
use crate::hash::Hash;
use crate::key::{HashAlgorithm, KeyKind};
use crate::verifier::{Verifier, VerifierError};

/// A signature over a digest, as logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hashedrekord {
    kind: EntryKind,
    hash: HashAlgorithm,
    /// The digest as it was submitted: 0.0.1 keeps the case of its hexadecimal.
    digest_text: String,
    digest: Vec<u8>,
    signature: Vec<u8>,
    verifier: Verifier,
}

impl Hashedrekord {
    /// The hash that the signature is over.
    pub fn hash(&self) -> HashAlgorithm {
        self.hash
    }

    /// The digest that the signature is over.
    pub fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// The signature, as it was submitted.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The key or certificate that it verifies under.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Kind and version.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// The canonical bytes.
    pub fn to_body(&self) -> Vec<u8> {
        let signature = to_base64(&self.signature);
        if self.kind == EntryKind::HashedrekordV001 {
            let algorithm = name_v001(self.hash);
            let value = &self.digest_text;
            let key = to_base64(self.verifier.to_pem().as_bytes());
            return format!(
                r#"{{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{{"data":{{"hash":{{"algorithm":"{algorithm}","value":"{value}"}}}},"signature":{{"content":"{signature}","publicKey":{{"content":"{key}"}}}}}}}}"#
            )
            .into_bytes();
        }
        let algorithm = name_v002(self.hash);
        let digest = to_base64(&self.digest);
        let verifier =
            verifier_v002(&self.verifier, KeyDetails::prehashed(self.verifier.key().kind()));
        format!(
            r#"{{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{{"hashedRekordV002":{{"data":{{"algorithm":"{algorithm}","digest":"{digest}"}},"signature":{{"content":"{signature}","verifier":{verifier}}}}}}}}}"#
        )
        .into_bytes()
    }

    /// What the entry is found by.
    pub(super) fn facts(&self) -> Vec<Fact> {
        facts::extract(&FactSources {
            verifiers: std::slice::from_ref(&self.verifier),
            artifact: Some((self.hash, &self.digest)),
            ..FactSources::default()
        })
    }

    /// Reads the `spec` of 0.0.1, which is logged in the shape it is submitted in.
    pub(super) fn parse_v001(spec: &str) -> Result<Self, EntryError> {
        let spec: SpecV001 = serde_json::from_str(spec).map_err(malformed)?;
        let hash = match spec.data.hash.algorithm.as_str() {
            "sha256" => HashAlgorithm::Sha256,
            "sha384" => HashAlgorithm::Sha384,
            "sha512" => HashAlgorithm::Sha512,
            _ => return Err(EntryError::AlgorithmNotAllowed),
        };
        let digest = hex::decode(&spec.data.hash.value).map_err(|_| EntryError::BadDigest)?;
        let signature = from_base64_lines(&spec.signature.content)
            .filter(|signature| !signature.is_empty())
            .ok_or(EntryError::BadBase64("signature.content"))?;
        let verifier = verifier_from_base64_pem(&spec.signature.public_key.content)?;
        Ok(Self {
            kind: EntryKind::HashedrekordV001,
            hash,
            digest_text: spec.data.hash.value,
            digest,
            signature,
            verifier,
        })
    }

    /// Reads the `spec` of 0.0.2 as it is logged.
    pub(super) fn parse_v002(spec: &str) -> Result<Self, EntryError> {
        let spec: SpecV002 = serde_json::from_str(spec).map_err(malformed)?;
        let logged = spec.hashedrekord;
        let (digest, signature) = (Some(logged.data.digest), Some(Message(logged.signature)));
        let entry = Self::from_request(RequestV002 { digest, signature })?;
        if name_v002(entry.hash) == logged.data.algorithm {
            Ok(entry)
        } else {
            Err(EntryError::NotCanonical)
        }
    }

    /// In the order of rekor-tiles: what is missing, what cannot be read, what does not fit.
    fn from_request(request: RequestV002) -> Result<Self, EntryError> {
        let Message(signature) = request.signature.ok_or(EntryError::Incomplete("signature"))?;
        let content = Bytes::required(signature.content, "signature.content")?;
        let verifier = signature.verifier.ok_or(EntryError::Incomplete("signature.verifier"))?;
        let digest = Bytes::required(request.digest, "digest")?;
        let (verifier, details) = verifier.0.read()?;
        if details != KeyDetails::prehashed(verifier.key().kind()) {
            return Err(EntryError::AlgorithmNotAllowed);
        }
        Ok(Self {
            kind: EntryKind::HashedrekordV002,
            hash: verifier.key().kind().hash(),
            digest_text: hex::encode(&digest),
            digest,
            signature: content,
            verifier,
        })
    }

    /// Whether the signature is over the digest, under the hash that goes with the key.
    pub(super) fn verifies(&self) -> bool {
        let key = self.verifier.key();
        key.kind().hash() == self.hash
            && key.verify_digest(self.hash, &self.digest, &self.signature).is_ok()
    }

    /// Checks everything but whether hash and key are a pair that the log takes.
    fn check(&self) -> Result<(), EntryError> {
        if self.digest.len() != self.hash.len() {
            return Err(EntryError::BadDigest);
        }
        self.verifier.check()?;
        let key = self.verifier.key();
        key.verify_digest(self.hash, &self.digest, &self.signature)
            .map_err(|_| EntryError::SignatureInvalid)
    }

    fn verify(self) -> Result<VerifiedEntry, EntryError> {
        if self.digest.len() == self.hash.len() && self.verifier.key().kind().hash() != self.hash {
            return Err(EntryError::AlgorithmNotAllowed);
        }
        self.check()?;
        let (body, facts) = (self.to_body(), self.facts());
        VerifiedEntry::new(self.kind, body, facts, vec![self.verifier], None)
    }
}

/// Reads and verifies the `spec` of a Rekor v1 submission.
pub(super) fn verify_v001(spec: &str) -> Result<VerifiedEntry, EntryError> {
    Hashedrekord::parse_v001(spec)?.verify()
}

/// The canonical bytes of what is searched for, which must verify.
pub(super) fn query_v001(spec: &str) -> Result<Vec<u8>, EntryError> {
    let hashedrekord = Hashedrekord::parse_v001(spec)?;
    hashedrekord.check()?;
    Ok(hashedrekord.to_body())
}

/// Verifies a Rekor v2 submission.
pub(super) fn verify_v002(request: RequestV002) -> Result<VerifiedEntry, EntryError> {
    Hashedrekord::from_request(request)?.verify()
}

/// The public key, certificate or chain inside base64 of PEM, as a Rekor v1 submission has it:
/// a chain must hold.
pub(super) fn submitted_verifier(content: &str) -> Result<Verifier, EntryError> {
    let verifier = verifier_from_base64_pem(content)?;
    verifier.check()?;
    Ok(verifier)
}

/// The same as it is logged: what was checked once is not checked again, so that what is logged
/// stays readable.
pub(super) fn verifier_from_base64_pem(content: &str) -> Result<Verifier, EntryError> {
    let pem = from_base64_lines(content).ok_or(EntryError::BadBase64("publicKey.content"))?;
    let pem = std::str::from_utf8(&pem).map_err(|_| VerifierError::NotPem)?;
    Ok(Verifier::from_pem(pem)?)
}

pub(super) fn missing(field: &str) -> EntryError {
    EntryError::Malformed(format!("missing {field}"))
}

/// A verifier in protojson, canonical: keys sorted, standard base64.
pub(super) fn verifier_v002(verifier: &Verifier, details: KeyDetails) -> String {
    let (field, raw) = match verifier.certificate() {
        None => ("publicKey", verifier.key().spki_der()),
        Some(certificate) => ("x509Certificate", certificate.der()),
    };
    let details = details.name();
    let raw = to_base64(raw);
    format!(r#"{{"keyDetails":"{details}","{field}":{{"rawBytes":"{raw}"}}}}"#)
}

/// `PublicKeyDetails` of Sigstore's common protobuf: key, size or curve, and hash in one label.
/// Only those that Rekor v2 permits, and pure Ed25519 for envelopes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyDetails {
    /// RSA 2048, PKCS#1 v1.5, SHA-256.
    Rsa2048,
    /// RSA 3072, PKCS#1 v1.5, SHA-256.
    Rsa3072,
    /// RSA 4096, PKCS#1 v1.5, SHA-256.
    Rsa4096,
    /// ECDSA P-256 with SHA-256.
    EcdsaP256,
    /// ECDSA P-384 with SHA-384.
    EcdsaP384,
    /// ECDSA P-521 with SHA-512.
    EcdsaP521,
    /// Ed25519 over the message.
    Ed25519,
    /// Ed25519 over the SHA-512 digest of the message.
    Ed25519ph,
}

impl KeyDetails {
    const ALL: [(Self, &'static str, i32); 8] = [
        (Self::Ed25519, "PKIX_ED25519", 7),
        (Self::Ed25519ph, "PKIX_ED25519_PH", 8),
        (Self::EcdsaP256, "PKIX_ECDSA_P256_SHA_256", 5),
        (Self::EcdsaP384, "PKIX_ECDSA_P384_SHA_384", 12),
        (Self::EcdsaP521, "PKIX_ECDSA_P521_SHA_512", 13),
        (Self::Rsa2048, "PKIX_RSA_PKCS1V15_2048_SHA256", 9),
        (Self::Rsa3072, "PKIX_RSA_PKCS1V15_3072_SHA256", 10),
        (Self::Rsa4096, "PKIX_RSA_PKCS1V15_4096_SHA256", 11),
    ];

    /// The label in JSON.
    pub fn name(self) -> &'static str {
        let row = Self::ALL.iter().find(|(details, ..)| *details == self);
        row.expect("the table has a row for every label").1
    }

    /// The permitted label with this name in JSON.
    pub fn from_name(name: &str) -> Option<Self> {
        let row = Self::ALL.iter().find(|(_, known, _)| *known == name);
        row.map(|(details, ..)| *details)
    }

    /// The permitted label with this number in the protobuf.
    pub fn from_number(number: i32) -> Option<Self> {
        let row = Self::ALL.iter().find(|(.., known)| *known == number);
        row.map(|(details, ..)| *details)
    }

    /// The label of a signature over a digest under a key of `kind`.
    pub fn prehashed(kind: KeyKind) -> Self {
        match kind {
            KeyKind::EcdsaP256 => Self::EcdsaP256,
            KeyKind::EcdsaP384 => Self::EcdsaP384,
            KeyKind::EcdsaP521 => Self::EcdsaP521,
            KeyKind::Ed25519 => Self::Ed25519ph,
            KeyKind::Rsa2048 => Self::Rsa2048,
            KeyKind::Rsa3072 => Self::Rsa3072,
            KeyKind::Rsa4096 => Self::Rsa4096,
        }
    }
}

/// `HashedRekordRequestV002`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestV002 {
    #[serde(default)]
    digest: Option<Bytes>,
    #[serde(default)]
    signature: Option<Message<SignatureV002>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecV002 {
    #[serde(rename = "hashedRekordV002")]
    hashedrekord: LoggedV002,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoggedV002 {
    data: DataV002,
    signature: SignatureV002,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DataV002 {
    algorithm: String,
    digest: Bytes,
}

// Rekor v1 ignores fields that it does not know, and its Go clients send nulls and extra hashes; so
// unknown fields pass.
#[derive(Deserialize)]
struct SpecV001 {
    data: DataV001,
    signature: SignatureV001,
}

#[derive(Deserialize)]
struct DataV001 {
    hash: HashV001,
}

/// An algorithm and a hexadecimal value.
#[derive(Deserialize)]
pub(super) struct HashV001 {
    pub(super) algorithm: String,
    pub(super) value: String,
}

#[derive(Deserialize)]
struct SignatureV001 {
    content: String,
    #[serde(rename = "publicKey")]
    public_key: PublicKeyV001,
}

#[derive(Deserialize)]
pub(super) struct PublicKeyV001 {
    pub(super) content: String,
}

/// The digest in a field where only SHA-256 may stand, in lower case.
pub(super) fn sha256_value(hash: &HashV001) -> Result<Hash, EntryError> {
    from_hex_lower(&hash.value)
        .and_then(|bytes| Hash::from_slice(&bytes))
        .filter(|_| hash.algorithm == "sha256")
        .ok_or(EntryError::BadDigest)
}

fn name_v001(hash: HashAlgorithm) -> &'static str {
    match hash {
        HashAlgorithm::Sha256 => "sha256",
        HashAlgorithm::Sha384 => "sha384",
        HashAlgorithm::Sha512 => "sha512",
    }
}

fn name_v002(hash: HashAlgorithm) -> &'static str {
    match hash {
        HashAlgorithm::Sha256 => "SHA2_256",
        HashAlgorithm::Sha384 => "SHA2_384",
        HashAlgorithm::Sha512 => "SHA2_512",
    }
}
