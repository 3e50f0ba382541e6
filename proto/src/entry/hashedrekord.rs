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

use super::{EntryError, EntryKind, VerifiedEntry, malformed};
use crate::certificate::Certificate;
use crate::encoding::{from_base64_lenient, from_base64_lines, to_base64};
use crate::facts::{self, Fact, FactSources};
use crate::key::{HashAlgorithm, KeyKind, PublicKey};
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
        let request =
            RequestV002 { digest: Some(logged.data.digest), signature: Some(logged.signature) };
        let entry = Self::from_request(request)?;
        if name_v002(entry.hash) == logged.data.algorithm {
            Ok(entry)
        } else {
            Err(EntryError::NotCanonical)
        }
    }

    fn from_request(request: RequestV002) -> Result<Self, EntryError> {
        let signature = request.signature.ok_or_else(|| missing("signature"))?;
        let (verifier, details) = signature.verifier.ok_or_else(|| missing("verifier"))?.read()?;
        if details != KeyDetails::prehashed(verifier.key().kind()) {
            return Err(EntryError::AlgorithmNotAllowed);
        }
        let digest = bytes_v002(request.digest, "digest")?;
        Ok(Self {
            kind: EntryKind::HashedrekordV002,
            hash: verifier.key().kind().hash(),
            digest_text: hex::encode(&digest),
            digest,
            signature: bytes_v002(signature.content, "signature.content")?,
            verifier,
        })
    }

    /// Whether the signature is over the digest, under the hash that goes with the key.
    pub(super) fn verifies(&self) -> bool {
        let key = self.verifier.key();
        key.kind().hash() == self.hash
            && key.verify_digest(self.hash, &self.digest, &self.signature).is_ok()
    }

    fn verify(self) -> Result<VerifiedEntry, EntryError> {
        if self.digest.len() != self.hash.len() {
            return Err(EntryError::BadDigest);
        }
        let key = self.verifier.key();
        if key.kind().hash() != self.hash {
            return Err(EntryError::AlgorithmNotAllowed);
        }
        key.verify_digest(self.hash, &self.digest, &self.signature)
            .map_err(|_| EntryError::SignatureInvalid)?;
        VerifiedEntry::new(self.kind, self.to_body(), self.facts(), None)
    }
}

/// Reads and verifies the `spec` of a Rekor v1 submission.
pub(super) fn verify_v001(spec: &str) -> Result<VerifiedEntry, EntryError> {
    Hashedrekord::parse_v001(spec)?.verify()
}

/// Verifies a Rekor v2 submission.
pub(super) fn verify_v002(request: RequestV002) -> Result<VerifiedEntry, EntryError> {
    Hashedrekord::from_request(request)?.verify()
}

/// The public key or certificate inside base64 of PEM, as Rekor v1 carries it.
pub(super) fn verifier_from_base64_pem(content: &str) -> Result<Verifier, EntryError> {
    let pem = from_base64_lines(content).ok_or(EntryError::BadBase64("publicKey.content"))?;
    let pem = std::str::from_utf8(&pem).map_err(|_| VerifierError::NotPem)?;
    Ok(Verifier::from_pem(pem)?)
}

/// The bytes of a required protojson field, which must not be empty.
pub(super) fn bytes_v002(text: Option<String>, field: &'static str) -> Result<Vec<u8>, EntryError> {
    let bytes = from_base64_lenient(&text.ok_or_else(|| missing(field))?)
        .ok_or(EntryError::BadBase64(field))?;
    if bytes.is_empty() { Err(missing(field)) } else { Ok(bytes) }
}

pub(super) fn missing(field: &str) -> EntryError {
    EntryError::Malformed(format!("missing {field}"))
}

/// A verifier in protojson, canonical: keys sorted, standard base64.
pub(super) fn verifier_v002(verifier: &Verifier, details: KeyDetails) -> String {
    let (field, raw) = match verifier {
        Verifier::PublicKey(key) => ("publicKey", key.spki_der()),
        Verifier::Certificate(certificate) => ("x509Certificate", certificate.der()),
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
    const ALL: [(Self, &'static str, i64); 8] = [
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

/// A verifier in protojson, as submitted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VerifierV002 {
    #[serde(rename = "publicKey", alias = "public_key", default)]
    public_key: Option<RawBytes>,
    #[serde(rename = "x509Certificate", alias = "x509_certificate", default)]
    certificate: Option<RawBytes>,
    #[serde(rename = "keyDetails", alias = "key_details", default)]
    details: Option<EnumValue>,
}

impl VerifierV002 {
    /// The verifier, and the label it was submitted under.
    pub(super) fn read(self) -> Result<(Verifier, KeyDetails), EntryError> {
        let verifier = match (self.public_key, self.certificate) {
            (Some(key), None) => {
                let spki = bytes_v002(key.raw_bytes, "publicKey.rawBytes")?;
                let key = PublicKey::from_spki_der(&spki).map_err(VerifierError::Key)?;
                Verifier::PublicKey(Box::new(key))
            }
            (None, Some(certificate)) => {
                let der = bytes_v002(certificate.raw_bytes, "x509Certificate.rawBytes")?;
                let certificate =
                    Certificate::from_der(&der).map_err(VerifierError::Certificate)?;
                Verifier::Certificate(Box::new(certificate))
            }
            (None, None) => return Err(missing("publicKey or x509Certificate")),
            (Some(_), Some(_)) => {
                let both = "publicKey and x509Certificate are both set";
                return Err(EntryError::Malformed(both.to_owned()));
            }
        };
        let details = self.details.ok_or(EntryError::AlgorithmNotAllowed)?;
        let row = KeyDetails::ALL.iter().find(|(_, name, number)| match &details {
            EnumValue::Name(given) => given == name,
            EnumValue::Number(given) => given == number,
        });
        let (details, ..) = *row.ok_or(EntryError::AlgorithmNotAllowed)?;
        Ok((verifier, details))
    }
}

/// A protojson enum: by name or by number.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum EnumValue {
    Name(String),
    Number(i64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBytes {
    #[serde(rename = "rawBytes", alias = "raw_bytes", default)]
    raw_bytes: Option<String>,
}

/// `HashedRekordRequestV002` in protojson.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestV002 {
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    signature: Option<SignatureV002>,
}

/// `Signature` in protojson.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureV002 {
    #[serde(default)]
    pub(super) content: Option<String>,
    #[serde(default)]
    pub(super) verifier: Option<VerifierV002>,
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
    digest: String,
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
struct PublicKeyV001 {
    content: String,
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
