//! The trusted root: keys of logs, and chains of authorities (`TrustedRoot`).
//!
//! One log of ours stands in it twice, once for each of its keys. Clients find the instance by the
//! log id in the proof, so two of one address do not get in each other's way.

use serde::Serialize;

use super::{
    AuthorityChain, Bytes, DocumentError, Period, TRUSTED_ROOT_MEDIA_TYPE, add_new, items, pretty,
};
use crate::entry::hashedrekord::KeyDetails;
use crate::hash::Hash;
use crate::identity::LogIdentity;
use crate::key::{KeyKind, PublicKey};
use crate::note::NoteKey;
use crate::protojson::{FieldError, Object};

/// Certificates of one chain, as in a bundle.
const CHAIN_MAX: usize = crate::bundle::CHAIN_MAX;

/// What verifiers believe.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustedRoot {
    /// Transparency logs.
    pub tlogs: Vec<LogInstance>,
    /// Who certifies signers.
    pub certificate_authorities: Vec<Authority>,
    /// Logs of certificates.
    pub ctlogs: Vec<LogInstance>,
    /// Who certifies times.
    pub timestamp_authorities: Vec<Authority>,
}

/// A log and one of its keys (`TransparencyLogInstance`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogInstance {
    base_url: String,
    hash_algorithm: String,
    public_key: LogKey,
    log_id: KeyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_key_id: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LogKey {
    raw_bytes: Bytes,
    key_details: String,
    valid_for: Period,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyId {
    key_id: Bytes,
}

/// An authority that certifies signers, or times (`CertificateAuthority`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    subject: Subject,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    cert_chain: Chain,
    valid_for: Period,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Subject {
    organization: String,
    common_name: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Chain {
    certificates: Vec<RawCertificate>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RawCertificate {
    raw_bytes: Bytes,
}

/// How the document is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Json<'a> {
    media_type: &'static str,
    tlogs: &'a [LogInstance],
    certificate_authorities: &'a [Authority],
    ctlogs: &'a [LogInstance],
    timestamp_authorities: &'a [Authority],
}

impl TrustedRoot {
    /// Adds the authorities and the logs of certificates of `other` that are not there yet. Its
    /// transparency logs are left out.
    ///
    /// # Errors
    /// If a list gets too long.
    pub fn add_authorities(&mut self, other: Self) -> Result<(), DocumentError> {
        let Self { tlogs: _, certificate_authorities, ctlogs, timestamp_authorities } = other;
        let signers = &mut self.certificate_authorities;
        add_new(signers, certificate_authorities, "certificateAuthorities")?;
        add_new(&mut self.ctlogs, ctlogs, "ctlogs")?;
        let times = &mut self.timestamp_authorities;
        add_new(times, timestamp_authorities, "timestampAuthorities")
    }

    /// The text of the document, indented, with a trailing LF.
    pub fn format(&self) -> String {
        pretty(&self.to_json())
    }

    pub(super) fn to_json(&self) -> Json<'_> {
        Json {
            media_type: TRUSTED_ROOT_MEDIA_TYPE,
            tlogs: &self.tlogs,
            certificate_authorities: &self.certificate_authorities,
            ctlogs: &self.ctlogs,
            timestamp_authorities: &self.timestamp_authorities,
        }
    }

    /// Reads the message; its media type was taken.
    pub(super) fn from_untyped_object(mut object: Object) -> Result<Self, DocumentError> {
        let root = Self {
            tlogs: items(&mut object, "tlogs", LogInstance::from_object)?,
            certificate_authorities: items(
                &mut object,
                "certificateAuthorities",
                Authority::from_object,
            )?,
            ctlogs: items(&mut object, "ctlogs", LogInstance::from_object)?,
            timestamp_authorities: items(
                &mut object,
                "timestampAuthorities",
                Authority::from_object,
            )?,
        };
        object.finish()?;
        Ok(root)
    }
}

impl LogInstance {
    /// The Rekor v1 side of a log: ECDSA, and a log id that is the hash of the key.
    pub fn rekor_v1(base_url: &str, identity: &LogIdentity) -> Self {
        Self::new(base_url, identity.v1_key(), identity.v1_log_id())
    }

    /// The Rekor v2 side of a log: Ed25519, and a log id that is the key id of its notes.
    pub fn rekor_v2(base_url: &str, identity: &LogIdentity) -> Self {
        let key = identity.note_key();
        Self::new(base_url, &ed25519_key(key), key.key_id_full())
    }

    /// A log of certificates (RFC 6962): its log id is the hash of its key.
    pub fn of_certificates(base_url: &str, key: &PublicKey) -> Self {
        Self::new(base_url, key, key.fingerprint())
    }

    fn new(base_url: &str, key: &PublicKey, log_id: Hash) -> Self {
        let key_details = match key.kind() {
            KeyKind::Ed25519 => KeyDetails::Ed25519,
            kind => KeyDetails::prehashed(kind),
        };
        Self {
            base_url: base_url.to_owned(),
            hash_algorithm: SHA2_256.to_owned(),
            public_key: LogKey {
                raw_bytes: Bytes(key.spki_der().to_vec()),
                key_details: key_details.name().to_owned(),
                valid_for: Period::always(),
            },
            log_id: KeyId { key_id: Bytes(log_id.as_bytes().to_vec()) },
            checkpoint_key_id: None,
            operator: None,
        }
    }

    /// The log id by which proofs name the log.
    pub fn log_id(&self) -> &[u8] {
        &self.log_id.key_id.0
    }

    fn from_object(mut object: Object) -> Result<Self, FieldError> {
        let mut key = object.object("publicKey")?;
        let instance = Self {
            base_url: object.optional_text("baseUrl")?.unwrap_or_default(),
            hash_algorithm: object.text("hashAlgorithm")?,
            public_key: LogKey {
                raw_bytes: Bytes(key.bytes("rawBytes")?),
                key_details: key.text("keyDetails")?,
                valid_for: Period::take(&mut key)?,
            },
            log_id: KeyId::from_object(object.object("logId")?)?,
            checkpoint_key_id: object
                .optional_object("checkpointKeyId")?
                .map(KeyId::from_object)
                .transpose()?,
            operator: object.optional_text("operator")?,
        };
        key.finish()?;
        object.finish()?;
        // cosign refuses the whole document for any other.
        if instance.hash_algorithm == SHA2_256 {
            Ok(instance)
        } else {
            Err(FieldError::Malformed("hashAlgorithm"))
        }
    }
}

impl KeyId {
    fn from_object(mut object: Object) -> Result<Self, FieldError> {
        let key_id = Bytes(object.bytes("keyId")?);
        object.finish()?;
        Ok(Self { key_id })
    }
}

impl Authority {
    /// The authority at `uri`, from [`AuthorityChain::of_signers`] or
    /// [`AuthorityChain::of_timestamps`].
    pub fn new(uri: &str, chain: &AuthorityChain) -> Self {
        let certificate = |der: &Vec<u8>| RawCertificate { raw_bytes: Bytes(der.clone()) };
        let (start, end) = chain.valid();
        Self {
            subject: Subject {
                organization: chain.organization().to_owned(),
                common_name: chain.common_name().to_owned(),
            },
            uri: Some(uri.to_owned()),
            cert_chain: Chain { certificates: chain.ders().iter().map(certificate).collect() },
            valid_for: Period { start: start.to_owned(), end: Some(end.to_owned()) },
            operator: None,
        }
    }

    /// Where it is, if that is said.
    pub fn uri(&self) -> Option<&str> {
        self.uri.as_deref()
    }

    /// Whether these are its certificates.
    pub fn has_chain(&self, chain: &AuthorityChain) -> bool {
        let certificates = self.cert_chain.certificates.iter();
        certificates.map(|certificate| &certificate.raw_bytes.0).eq(chain.ders())
    }

    fn from_object(mut object: Object) -> Result<Self, FieldError> {
        let mut subject = object.object("subject")?;
        let mut chain = object.object("certChain")?;
        let certificates = chain.list("certificates", CHAIN_MAX)?;
        let certificate = |value| {
            let mut object = Object::from_value(value, "certificates")?;
            let raw_bytes = Bytes(object.bytes("rawBytes")?);
            object.finish()?;
            Ok::<_, FieldError>(RawCertificate { raw_bytes })
        };
        let authority = Self {
            subject: Subject {
                organization: subject.optional_text("organization")?.unwrap_or_default(),
                common_name: subject.optional_text("commonName")?.unwrap_or_default(),
            },
            uri: object.optional_text("uri")?,
            cert_chain: Chain {
                certificates: certificates
                    .into_iter()
                    .map(certificate)
                    .collect::<Result<_, FieldError>>()?,
            },
            valid_for: Period::take(&mut object)?,
            operator: object.optional_text("operator")?,
        };
        subject.finish()?;
        chain.finish()?;
        object.finish()?;
        if authority.cert_chain.certificates.is_empty() {
            return Err(FieldError::Missing("certificates"));
        }
        Ok(authority)
    }
}

/// The key of a C2SP log as SubjectPublicKeyInfo (RFC 8410).
fn ed25519_key(key: &NoteKey) -> PublicKey {
    let spki = [&ED25519_SPKI_PREFIX, key.public_key()].concat();
    PublicKey::from_spki_der(&spki).expect("a strong Ed25519 key is one in either form")
}

/// The DER of an Ed25519 key up to its 32 bytes.
const ED25519_SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// The hash of every tree of this kind.
const SHA2_256: &str = "SHA2_256";
