//! `TimeStampReq` (RFC 3161, 2.4.1) in DER.
//!
//! Invariant: bytes are taken only if writing what was read gives the same bytes, so nothing that
//! is not DER passes: no default that is spelled out, no long form of a short length, nothing
//! behind the end.

use der::asn1::{Int, ObjectIdentifier, OctetStringRef};
use der::{Decode as _, Encode as _, Sequence};
use x509_cert::ext::Extensions;

use super::{MessageImprint, POLICY, SHA_256, SHA_384, SHA_512, VERSION, algorithm};
use crate::key::HashAlgorithm;

/// The longest nonce, in bytes: RFC 3161 asks for a large random number, and clients send 8 to 20.
pub const NONCE_LEN_MAX: usize = 64;

/// Why a request gets no token. The names in brackets are those of `PKIFailureInfo`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TimestampRequestError {
    /// Not a request (badDataFormat).
    #[error("not a timestamp request in DER (RFC 3161)")]
    Malformed,
    /// Not a request in Sigstore's JSON (badDataFormat).
    #[error("not a timestamp request in JSON: {0}")]
    MalformedJson(String),
    /// Another version of the protocol (badRequest).
    #[error("version {0} of timestamp requests is not known; there is version 1")]
    Version(u8),
    /// A digest of another algorithm (badAlg).
    #[error("timestamps are given for SHA-256, SHA-384 and SHA-512 digests, not for {0}")]
    Algorithm(String),
    /// A digest of another length than its algorithm makes (badDataFormat).
    #[error("the digest has {found} bytes, and its algorithm makes {expected}")]
    DigestLength {
        /// What the algorithm makes.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// A nonce that is too long (badDataFormat).
    #[error("the nonce is a whole number of at most {NONCE_LEN_MAX} bytes")]
    Nonce,
    /// A policy that is not ours (unacceptedPolicy).
    #[error("timestamps are given under the policy {POLICY} only")]
    Policy,
    /// An extension, whatever it is (unacceptedExtension).
    #[error("extensions of timestamp requests are not supported")]
    Extensions,
}

impl TimestampRequestError {
    /// The stable label, in answers and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Malformed | Self::MalformedJson(_) => "timestamp-malformed",
            Self::Version(_) => "timestamp-version",
            Self::Algorithm(_) => "timestamp-algorithm",
            Self::DigestLength { .. } => "timestamp-digest",
            Self::Nonce => "timestamp-nonce",
            Self::Policy => "timestamp-policy",
            Self::Extensions => "timestamp-extension",
        }
    }
}

/// What somebody wants a time for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TimestampRequest {
    algorithm: HashAlgorithm,
    /// Whether the algorithm came with a NULL: the token says what the request said.
    has_null: bool,
    digest: Vec<u8>,
    names_policy: bool,
    nonce: Option<Int>,
    wants_certificate: bool,
}

#[derive(Sequence)]
struct TimeStampReq<'a> {
    version: u8,
    message_imprint: MessageImprint<'a>,
    #[asn1(optional = "true")]
    req_policy: Option<ObjectIdentifier>,
    #[asn1(optional = "true")]
    nonce: Option<Int>,
    #[asn1(default = "no")]
    cert_req: bool,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true", optional = "true")]
    extensions: Option<Extensions>,
}

fn no() -> bool {
    false
}

impl TimestampRequest {
    /// A request for `digest`; the parts that most clients leave out are left out.
    ///
    /// # Errors
    /// [`TimestampRequestError::DigestLength`].
    pub fn new(algorithm: HashAlgorithm, digest: Vec<u8>) -> Result<Self, TimestampRequestError> {
        let expected = algorithm.len();
        if digest.len() != expected {
            return Err(TimestampRequestError::DigestLength { expected, found: digest.len() });
        }
        let (has_null, names_policy, nonce, wants_certificate) = (true, false, None, false);
        Ok(Self { algorithm, has_null, digest, names_policy, nonce, wants_certificate })
    }

    /// The same request with a nonce, a positive or negative number in two's complement, as short
    /// as it can be; or without one.
    ///
    /// # Errors
    /// [`TimestampRequestError::Nonce`].
    pub fn with_nonce(self, nonce: Option<&[u8]>) -> Result<Self, TimestampRequestError> {
        let nonce = nonce.map(|bytes| match bytes {
            [] | [0, ..0x80, ..] | [0xff, 0x80..=0xff, ..] => Err(TimestampRequestError::Nonce),
            bytes if bytes.len() > NONCE_LEN_MAX => Err(TimestampRequestError::Nonce),
            bytes => Int::new(bytes).map_err(|_| TimestampRequestError::Nonce),
        });
        Ok(Self { nonce: nonce.transpose()?, ..self })
    }

    /// The same request, with the signer's certificate wanted in the token or not.
    pub fn with_certificate(self, wants_certificate: bool) -> Self {
        Self { wants_certificate, ..self }
    }

    /// Reads a request in DER.
    ///
    /// # Errors
    /// [`TimestampRequestError`].
    pub fn from_der(bytes: &[u8]) -> Result<Self, TimestampRequestError> {
        let malformed = |_| TimestampRequestError::Malformed;
        let request = TimeStampReq::from_der(bytes).map_err(malformed)?;
        if request.to_der().map_err(malformed)? != bytes {
            return Err(TimestampRequestError::Malformed);
        }
        if request.version != VERSION {
            return Err(TimestampRequestError::Version(request.version));
        }
        let MessageImprint { hash_algorithm, hashed_message } = request.message_imprint;
        let has_null = match hash_algorithm.parameters {
            None => false,
            Some(parameters) if parameters.is_null() => true,
            Some(_) => return Err(TimestampRequestError::Malformed),
        };
        let algorithm = algorithm_of(hash_algorithm.oid)?;
        if request.req_policy.is_some_and(|policy| policy != POLICY) {
            return Err(TimestampRequestError::Policy);
        }
        if request.extensions.is_some() {
            return Err(TimestampRequestError::Extensions);
        }
        let asked = Self::new(algorithm, hashed_message.as_bytes().to_vec())?;
        let asked = asked.with_nonce(request.nonce.as_ref().map(Int::as_bytes))?;
        let names_policy = request.req_policy.is_some();
        Ok(Self { has_null, names_policy, ..asked.with_certificate(request.cert_req) })
    }

    /// The request in DER.
    pub fn to_der(&self) -> Vec<u8> {
        let request = TimeStampReq {
            version: VERSION,
            message_imprint: self.imprint(),
            req_policy: self.names_policy.then_some(POLICY),
            nonce: self.nonce.clone(),
            cert_req: self.wants_certificate,
            extensions: None,
        };
        request.to_der().expect("what fits a request has a DER form")
    }

    /// Whether the token shall carry the signer's certificate.
    pub fn wants_certificate(&self) -> bool {
        self.wants_certificate
    }

    pub(super) fn nonce(&self) -> Option<&Int> {
        self.nonce.as_ref()
    }

    pub(super) fn imprint(&self) -> MessageImprint<'_> {
        let message = OctetStringRef::new(&self.digest).expect("a digest is short");
        let hash_algorithm = algorithm(oid_of(self.algorithm), self.has_null);
        MessageImprint { hash_algorithm, hashed_message: message }
    }
}

fn oid_of(algorithm: HashAlgorithm) -> ObjectIdentifier {
    match algorithm {
        HashAlgorithm::Sha256 => SHA_256,
        HashAlgorithm::Sha384 => SHA_384,
        HashAlgorithm::Sha512 => SHA_512,
    }
}

fn algorithm_of(oid: ObjectIdentifier) -> Result<HashAlgorithm, TimestampRequestError> {
    match oid {
        SHA_256 => Ok(HashAlgorithm::Sha256),
        SHA_384 => Ok(HashAlgorithm::Sha384),
        SHA_512 => Ok(HashAlgorithm::Sha512),
        other => Err(TimestampRequestError::Algorithm(other.to_string())),
    }
}
