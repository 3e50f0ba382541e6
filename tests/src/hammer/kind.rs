//! What is submitted.

use std::fmt;

use treering_proto::entry::hashedrekord::KeyDetails;

/// What an entry is about, and the key that signs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A signature over a digest, ECDSA P-256.
    P256,
    /// A signature over a digest, RSA 2048 (PKCS#1 v1.5).
    Rsa2048,
    /// A signature over a digest, Ed25519ph.
    Ed25519ph,
    /// An envelope around a model statement (OMS v1.0), signed with ECDSA P-256.
    Dsse {
        /// Files of the model.
        files: usize,
    },
}

impl Kind {
    /// How many requests are signed with one key unless it is said. Keys are cheap and a signer
    /// with every entry is the hardest case, except RSA keys, which take a tenth of a second each.
    pub fn requests_per_key(self) -> u64 {
        match self {
            Self::P256 | Self::Ed25519ph | Self::Dsse { .. } => 1,
            Self::Rsa2048 => 5_000,
        }
    }

    /// The label of its key and hash in Rekor v2.
    pub fn key_details(self) -> KeyDetails {
        match self {
            Self::P256 | Self::Dsse { .. } => KeyDetails::EcdsaP256,
            Self::Rsa2048 => KeyDetails::Rsa2048,
            Self::Ed25519ph => KeyDetails::Ed25519ph,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::P256 => f.write_str("hashedrekord P-256"),
            Self::Rsa2048 => f.write_str("hashedrekord RSA-2048"),
            Self::Ed25519ph => f.write_str("hashedrekord Ed25519ph"),
            Self::Dsse { files } => write!(f, "dsse P-256, model of {files} files"),
        }
    }
}
