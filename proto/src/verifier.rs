//! A verifier, in Sigstore's word: what a signature is checked with, a bare public key or the leaf
//! certificate of one.

use crate::certificate::{CHAIN_LEN_MAX, Certificate, CertificateChain, CertificateError};
use crate::key::{KeyError, PublicKey};
use crate::pem::{self, Block};

/// A public key, or a certificate around one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verifier {
    /// A bare key.
    PublicKey(Box<PublicKey>),
    /// A leaf certificate. Only its key verifies; its names become facts.
    Certificate(Box<Certificate>),
    /// A leaf certificate with those that lead from it to a root. Only the key of the leaf
    /// verifies, and only its names become facts.
    Chain(Box<CertificateChain>),
}

/// Why bytes are none of these.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VerifierError {
    /// Neither one `PUBLIC KEY` nor one or more `CERTIFICATE`.
    #[error("not PEM of a public key, a certificate, or a chain of certificates")]
    NotPem,
    /// A public key that cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate that cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Verifier {
    /// Reads what Rekor v1 takes for a public key: one PEM block of a key or a certificate, or the
    /// blocks of a chain, the leaf first and the root last. White space around them, text before
    /// each and headers are ignored, as in Go. Whether a chain holds is for [`Self::check`].
    pub fn from_pem(text: &str) -> Result<Self, VerifierError> {
        let blocks = pem::blocks(text, CHAIN_LEN_MAX + 1).ok_or(VerifierError::NotPem)?;
        match blocks.as_slice() {
            [Block { label: "PUBLIC KEY", der }] => {
                Ok(Self::PublicKey(Box::new(PublicKey::from_spki_der(der)?)))
            }
            [Block { label: "CERTIFICATE", der }] => {
                Ok(Self::Certificate(Box::new(Certificate::from_der(der)?)))
            }
            chain @ [_, _, ..] if chain.iter().all(|block| block.label == "CERTIFICATE") => {
                let ders: Vec<Vec<u8>> = blocks.into_iter().map(|block| block.der).collect();
                Ok(Self::Chain(Box::new(CertificateChain::from_ders(&ders)?)))
            }
            _ => Err(VerifierError::NotPem),
        }
    }

    /// Checks that a chain leads from its leaf to its root. A bare key and a single certificate are
    /// taken as they are.
    ///
    /// # Errors
    /// [`VerifierError::Certificate`].
    pub fn check(&self) -> Result<(), VerifierError> {
        match self {
            Self::PublicKey(_) | Self::Certificate(_) => Ok(()),
            Self::Chain(chain) => Ok(chain.check()?),
        }
    }

    /// The canonical PEM: what Rekor v1 entries carry.
    pub fn to_pem(&self) -> String {
        match self {
            Self::PublicKey(key) => key.to_pem(),
            Self::Certificate(certificate) => certificate.to_pem(),
            Self::Chain(chain) => chain.to_pem(),
        }
    }

    /// The key that signatures are checked with.
    pub fn key(&self) -> &PublicKey {
        match self {
            Self::PublicKey(key) => key,
            Self::Certificate(certificate) => certificate.key(),
            Self::Chain(chain) => chain.leaf().key(),
        }
    }

    /// The certificate of the signer, if there is one.
    pub fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::PublicKey(_) => None,
            Self::Certificate(certificate) => Some(certificate),
            Self::Chain(chain) => Some(chain.leaf()),
        }
    }
}
