//! Sigstore bundles, version 0.3 (`dev.sigstore.bundle.v1.Bundle`): a signature, what to verify it
//! with, and proofs that logs have it, in one JSON document.
//!
//! Read strictly: the one media type of version 0.3, no unknown fields, no duplicate keys,
//! canonical base64, one signature per envelope (the bundle specification demands that). Written as
//! Sigstore's Python tools do: same order of fields, `tlogEntries` always present, nothing null.
//!
//! Invariant: [`Bundle::parse`] of [`Bundle::to_json`] gives the same bundle. Out of scope: earlier
//! versions, and verifying anything.

use serde::Serialize;

use crate::api::v2::{EntryJson, TransparencyLogEntry, Unset};
use crate::dsse_envelope::{Envelope, EnvelopeJson, EnvelopeSignature};
use crate::encoding::to_base64;
use crate::key::HashAlgorithm;
use crate::protojson::{Base64, FieldError, Object};

/// The longest bundle read: an envelope of the greatest length (6 MiB), and log entries, which
/// repeat the envelope where their kind keeps it.
pub const BUNDLE_LEN_MAX: usize = 16 * 1024 * 1024;

/// The media type of version 0.3.
pub const BUNDLE_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// Log entries of one bundle; verifiers use one, sigstore-python stops at 32.
pub const LOG_ENTRIES_MAX: usize = 32;

/// RFC 3161 timestamps of one bundle: what sigstore-python accepts.
pub const TIMESTAMPS_MAX: usize = 32;

/// Certificates of one chain; deeper hierarchies do not sign models.
pub const CHAIN_MAX: usize = 10;

/// A signature with its verification material.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle {
    /// What to verify the signature with.
    pub material: Material,
    /// Proofs of inclusion in logs, at most [`LOG_ENTRIES_MAX`].
    pub log_entries: Vec<TransparencyLogEntry>,
    /// RFC 3161 responses in DER, at most [`TIMESTAMPS_MAX`].
    pub timestamps: Vec<Vec<u8>>,
    /// What was signed, and the signature.
    pub content: Content,
}

/// What a signature is verified with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Material {
    /// A key that is not in the bundle.
    PublicKey {
        /// Which key; OpenSSF Model Signing puts the hexadecimal SHA-256 of its PEM text here.
        hint: Option<String>,
    },
    /// A leaf certificate in DER.
    Certificate(Vec<u8>),
    /// Certificates in DER, leaf first: 1 to [`CHAIN_MAX`].
    CertificateChain(Vec<Vec<u8>>),
}

/// What was signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// A DSSE envelope with one signature.
    Envelope(Envelope),
    /// A signature over an artifact that is not in the bundle.
    MessageSignature {
        /// Digest of the artifact: which artifact is meant, not proof of it.
        digest: Option<(HashAlgorithm, Vec<u8>)>,
        /// The signature.
        signature: Vec<u8>,
    },
}

/// Why a text is not a bundle of version 0.3.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Longer than any bundle that is read.
    #[error("bundle longer than {BUNDLE_LEN_MAX} bytes")]
    TooLong,
    /// A field is missing, malformed or unknown.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Another version, or not a bundle.
    #[error("media type {0:?} is not that of a Sigstore bundle v0.3")]
    MediaType(String),
    /// Not exactly one of `publicKey`, `certificate`, `x509CertificateChain`.
    #[error("verification material is not one of publicKey, certificate, x509CertificateChain")]
    Material,
    /// Not exactly one of `dsseEnvelope`, `messageSignature`.
    #[error("content is not one of dsseEnvelope, messageSignature")]
    Content,
    /// The envelope does not have exactly one signature.
    #[error("the envelope of a bundle has exactly one signature")]
    SignatureCount,
}

impl Bundle {
    /// Reads the JSON form.
    pub fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        if bytes.len() > BUNDLE_LEN_MAX {
            return Err(BundleError::TooLong);
        }
        let mut bundle = Object::parse(bytes)?;
        let media_type = bundle.text("mediaType")?;
        if media_type != BUNDLE_MEDIA_TYPE {
            return Err(BundleError::MediaType(media_type));
        }
        let mut verification = bundle.object("verificationMaterial")?;
        let parsed = Self {
            material: read_material(&mut verification)?,
            log_entries: verification
                .list("tlogEntries", LOG_ENTRIES_MAX)?
                .into_iter()
                .map(TransparencyLogEntry::from_value)
                .collect::<Result<_, _>>()?,
            timestamps: read_timestamps(&mut verification)?,
            content: read_content(&mut bundle)?,
        };
        verification.finish()?;
        bundle.finish()?;
        Ok(parsed)
    }

    /// The JSON form, compact.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&BundleJson::new(self)).expect("strings and lists always serialize")
    }

    /// The DSSE envelope, if that is what was signed.
    pub fn envelope(&self) -> Option<&Envelope> {
        match &self.content {
            Content::Envelope(envelope) => Some(envelope),
            Content::MessageSignature { .. } => None,
        }
    }

    /// This bundle with `entry` as its only log entry. Sigstore's Python verifier refuses bundles
    /// with more than one.
    pub fn with_log_entry(self, entry: TransparencyLogEntry) -> Self {
        Self { log_entries: vec![entry], ..self }
    }
}

fn read_material(object: &mut Object) -> Result<Material, BundleError> {
    let key = object.optional_object("publicKey")?;
    let certificate = object.optional_object("certificate")?;
    let chain = object.optional_object("x509CertificateChain")?;
    match (key, certificate, chain) {
        (Some(mut key), None, None) => {
            let hint = key.optional_text("hint")?;
            key.finish()?;
            Ok(Material::PublicKey { hint })
        }
        (None, Some(certificate), None) => {
            Ok(Material::Certificate(only_bytes(certificate, "rawBytes")?))
        }
        (None, None, Some(mut chain)) => {
            let certificates = read_bytes_list(&mut chain, "certificates", CHAIN_MAX, "rawBytes")?;
            chain.finish()?;
            if certificates.is_empty() {
                return Err(BundleError::Material);
            }
            Ok(Material::CertificateChain(certificates))
        }
        _ => Err(BundleError::Material),
    }
}

fn read_timestamps(object: &mut Object) -> Result<Vec<Vec<u8>>, FieldError> {
    let Some(mut data) = object.optional_object("timestampVerificationData")? else {
        return Ok(Vec::new());
    };
    let timestamps =
        read_bytes_list(&mut data, "rfc3161Timestamps", TIMESTAMPS_MAX, "signedTimestamp")?;
    data.finish()?;
    Ok(timestamps)
}

fn read_content(bundle: &mut Object) -> Result<Content, BundleError> {
    let envelope = bundle.optional_object("dsseEnvelope")?;
    let message = bundle.optional_object("messageSignature")?;
    match (envelope, message) {
        (Some(envelope), None) => Ok(Content::Envelope(read_envelope(envelope)?)),
        (None, Some(message)) => Ok(read_message_signature(message)?),
        _ => Err(BundleError::Content),
    }
}

fn read_envelope(mut object: Object) -> Result<Envelope, BundleError> {
    let payload_type = object.text("payloadType")?;
    let payload = object.bytes("payload")?;
    let mut signatures = object.list("signatures", usize::MAX)?;
    object.finish()?;
    let (Some(value), true) = (signatures.pop(), signatures.is_empty()) else {
        return Err(BundleError::SignatureCount);
    };
    let mut object = Object::from_value(value, "signatures")?;
    let signature = object.bytes("sig")?;
    let keyid = object.optional_text("keyid")?;
    object.finish()?;
    let signature_text = to_base64(&signature);
    let signatures = vec![EnvelopeSignature { signature, signature_text, keyid }];
    Ok(Envelope { payload_type, payload, signatures })
}

fn read_message_signature(mut object: Object) -> Result<Content, FieldError> {
    let digest = object.optional_object("messageDigest")?.map(read_digest).transpose()?;
    let signature = object.bytes("signature")?;
    object.finish()?;
    Ok(Content::MessageSignature { digest, signature })
}

fn read_digest(mut object: Object) -> Result<(HashAlgorithm, Vec<u8>), FieldError> {
    let name = object.text("algorithm")?;
    let digest = object.bytes("digest")?;
    object.finish()?;
    let algorithm = HASH_NAMES
        .iter()
        .find(|(_, known)| *known == name)
        .map(|(algorithm, _)| *algorithm)
        .ok_or(FieldError::Malformed("algorithm"))?;
    if digest.len() != algorithm.len() {
        return Err(FieldError::Malformed("digest"));
    }
    Ok((algorithm, digest))
}

/// A list of messages that hold one bytes field each.
fn read_bytes_list(
    object: &mut Object,
    list: &'static str,
    max: usize,
    field: &'static str,
) -> Result<Vec<Vec<u8>>, FieldError> {
    object
        .list(list, max)?
        .into_iter()
        .map(|value| only_bytes(Object::from_value(value, list)?, field))
        .collect()
}

/// A message that holds one bytes field.
fn only_bytes(mut object: Object, field: &'static str) -> Result<Vec<u8>, FieldError> {
    let bytes = object.bytes(field)?;
    object.finish()?;
    Ok(bytes)
}

/// Names of `dev.sigstore.common.v1.HashAlgorithm`.
const HASH_NAMES: [(HashAlgorithm, &str); 3] = [
    (HashAlgorithm::Sha256, "SHA2_256"),
    (HashAlgorithm::Sha384, "SHA2_384"),
    (HashAlgorithm::Sha512, "SHA2_512"),
];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BundleJson<'a> {
    media_type: &'static str,
    verification_material: VerificationJson<'a>,
    #[serde(flatten)]
    content: ContentJson<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerificationJson<'a> {
    #[serde(flatten)]
    material: MaterialJson<'a>,
    tlog_entries: Vec<EntryJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_verification_data: Option<TimestampsJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum MaterialJson<'a> {
    PublicKey {
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<&'a str>,
    },
    Certificate(CertificateJson<'a>),
    #[serde(rename = "x509CertificateChain")]
    Chain {
        certificates: Vec<CertificateJson<'a>>,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateJson<'a> {
    raw_bytes: Base64<'a>,
}

#[derive(Serialize)]
struct TimestampsJson<'a> {
    #[serde(rename = "rfc3161Timestamps")]
    timestamps: Vec<TimestampJson<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TimestampJson<'a> {
    signed_timestamp: Base64<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum ContentJson<'a> {
    DsseEnvelope(EnvelopeJson<'a>),
    #[serde(rename_all = "camelCase")]
    MessageSignature {
        #[serde(skip_serializing_if = "Option::is_none")]
        message_digest: Option<DigestJson<'a>>,
        signature: Base64<'a>,
    },
}

#[derive(Serialize)]
struct DigestJson<'a> {
    algorithm: &'static str,
    digest: Base64<'a>,
}

impl<'a> BundleJson<'a> {
    fn new(bundle: &'a Bundle) -> Self {
        let entries = bundle.log_entries.iter();
        let timestamps = bundle.timestamps.iter();
        Self {
            media_type: BUNDLE_MEDIA_TYPE,
            verification_material: VerificationJson {
                material: MaterialJson::new(&bundle.material),
                tlog_entries: entries.map(|entry| EntryJson::new(entry, Unset::Omit)).collect(),
                timestamp_verification_data: (!bundle.timestamps.is_empty()).then(|| {
                    TimestampsJson {
                        timestamps: timestamps
                            .map(|der| TimestampJson { signed_timestamp: Base64(der) })
                            .collect(),
                    }
                }),
            },
            content: ContentJson::new(&bundle.content),
        }
    }
}

impl<'a> MaterialJson<'a> {
    fn new(material: &'a Material) -> Self {
        let certificate = |der: &'a Vec<u8>| CertificateJson { raw_bytes: Base64(der) };
        match material {
            Material::PublicKey { hint } => Self::PublicKey { hint: hint.as_deref() },
            Material::Certificate(der) => Self::Certificate(certificate(der)),
            Material::CertificateChain(chain) => {
                Self::Chain { certificates: chain.iter().map(certificate).collect() }
            }
        }
    }
}

impl<'a> ContentJson<'a> {
    fn new(content: &'a Content) -> Self {
        match content {
            Content::Envelope(envelope) => Self::DsseEnvelope(EnvelopeJson::new(envelope)),
            Content::MessageSignature { digest, signature } => Self::MessageSignature {
                message_digest: digest.as_ref().map(|(algorithm, digest)| DigestJson {
                    algorithm: hash_name(*algorithm),
                    digest: Base64(digest),
                }),
                signature: Base64(signature),
            },
        }
    }
}

fn hash_name(algorithm: HashAlgorithm) -> &'static str {
    HASH_NAMES
        .iter()
        .find(|(known, _)| *known == algorithm)
        .map(|(_, name)| *name)
        .expect("the table above names every hash algorithm")
}

#[cfg(test)]
mod tests;
