//! A verifier, in Sigstore's word: what a signature is checked with, a bare public key or the leaf
//! certificate of one.

use crate::certificate::{Certificate, CertificateError};
use crate::key::{KeyError, PublicKey};

/// A public key, or a certificate around one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verifier {
    /// A bare key.
    PublicKey(Box<PublicKey>),
    /// A leaf certificate. Only its key verifies; its names become facts.
    Certificate(Box<Certificate>),
}

/// Why bytes are neither.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifierError {
    /// Neither `PUBLIC KEY` nor `CERTIFICATE`, or more than one block.
    #[error("not one PEM block of a public key or certificate")]
    NotPem,
    /// A public key that cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate that cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Verifier {
    /// Reads exactly one PEM block of either kind.
    pub fn from_pem(text: &str) -> Result<Self, VerifierError> {
        if text.trim_start().starts_with("-----BEGIN CERTIFICATE-----") {
            return Ok(Self::Certificate(Box::new(Certificate::from_pem(text)?)));
        }
        match PublicKey::from_pem(text) {
            Ok(key) => Ok(Self::PublicKey(Box::new(key))),
            Err(KeyError::NotPem) => Err(VerifierError::NotPem),
            Err(error) => Err(error.into()),
        }
    }

    /// The canonical PEM: what Rekor v1 entries carry.
    pub fn to_pem(&self) -> String {
        match self {
            Self::PublicKey(key) => key.to_pem(),
            Self::Certificate(certificate) => certificate.to_pem(),
        }
    }

    /// The key that signatures are checked with.
    pub fn key(&self) -> &PublicKey {
        match self {
            Self::PublicKey(key) => key,
            Self::Certificate(certificate) => certificate.key(),
        }
    }

    /// The certificate, if there is one.
    pub fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::PublicKey(_) => None,
            Self::Certificate(certificate) => Some(certificate),
        }
    }
}
