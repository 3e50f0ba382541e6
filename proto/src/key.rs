//! Public keys of signers, and the verification of their signatures: the only file that names
//! algorithms.
//!
//! Keys: ECDSA on P-256, P-384, P-521; Ed25519; RSA of 2048, 3072 or 4096 bits (PKCS#1 v1.5). Read
//! from SPKI DER (RFC 5280) or PEM (RFC 7468).
//!
//! Invariants: a key that exists here is on its curve, is not weak (under a weak Ed25519 key other
//! libraries accept any message), and has exactly one DER spelling. Ed25519 is verified strictly
//! (RFC 8032 with the checks of "Taming the many EdDSAs"). Out of scope: private keys; certificate
//! chains.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{self, ParsedPublicKey, VerificationAlgorithm};
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode, Encode};
use ed25519_dalek::VerifyingKey;
use sha2::Digest as _;
use spki::SubjectPublicKeyInfoRef;

use crate::hash::{Hash, sha256};
use crate::pem;

/// The longest SPKI read: an RSA-4096 key needs 550 bytes.
pub const SPKI_LEN_MAX: usize = 1024;

/// What kind of key it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum KeyKind {
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// ECDSA on NIST P-521.
    EcdsaP521,
    /// Edwards curve 25519; signs messages (Ed25519) or SHA-512 digests (Ed25519ph).
    Ed25519,
    /// RSA PKCS#1 v1.5, 2048-bit modulus.
    Rsa2048,
    /// RSA PKCS#1 v1.5, 3072-bit modulus.
    Rsa3072,
    /// RSA PKCS#1 v1.5, 4096-bit modulus.
    Rsa4096,
}

/// A hash function that a signature is made over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum HashAlgorithm {
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

/// Why bytes are not a usable public key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a PEM block labelled `PUBLIC KEY`, or text around it.
    #[error("not one PEM block of a public key")]
    NotPem,
    /// Not a SubjectPublicKeyInfo in DER.
    #[error("not a public key in DER (SubjectPublicKeyInfo)")]
    Malformed,
    /// An algorithm, curve or RSA size that Treering does not verify.
    #[error(
        "unsupported key: ECDSA P-256, P-384, P-521, Ed25519 and RSA of 2048, 3072 or 4096 bits are supported"
    )]
    Unsupported,
    /// A key under which forged signatures verify.
    #[error("weak key: signatures under it prove nothing")]
    Weak,
}

/// The signature does not verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("signature does not verify")]
pub struct BadSignature;

/// A public key that signatures can be verified with.
#[derive(Clone)]
pub struct PublicKey {
    spki: Vec<u8>,
    kind: KeyKind,
    parsed: Parsed,
}

/// The key as its library holds it. For the others it comes with the hash of [`KeyKind::hash`].
#[derive(Clone)]
enum Parsed {
    Ed25519(Box<VerifyingKey>),
    Other(ParsedPublicKey),
}

impl PublicKey {
    /// Reads SubjectPublicKeyInfo DER.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, KeyError> {
        if spki.len() > SPKI_LEN_MAX {
            return Err(KeyError::Malformed);
        }
        let parsed = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| KeyError::Malformed)?;
        if parsed.to_der().ok().as_deref() != Some(spki) {
            return Err(KeyError::Malformed);
        }
        let key_bytes = parsed.subject_public_key.as_bytes().ok_or(KeyError::Malformed)?;
        let kind = kind_of(&parsed, key_bytes)?;
        let parsed = match kind.digest_algorithm(kind.hash()) {
            Some(algorithm) => {
                let key = ParsedPublicKey::new(algorithm, spki);
                Parsed::Other(key.map_err(|_| KeyError::Malformed)?)
            }
            None => {
                let bytes = key_bytes.try_into().map_err(|_| KeyError::Malformed)?;
                let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Malformed)?;
                if key.is_weak() {
                    return Err(KeyError::Weak);
                }
                Parsed::Ed25519(Box::new(key))
            }
        };
        Ok(Self { spki: spki.to_vec(), kind, parsed })
    }

    /// Reads exactly one `PUBLIC KEY` PEM block; white space around it is ignored.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = pem::decode(text, PEM_LABEL).ok_or(KeyError::NotPem)?;
        Self::from_spki_der(&der)
    }

    /// SubjectPublicKeyInfo DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// PEM as Go and OpenSSL write it: 64 columns, LF, a trailing LF.
    pub fn to_pem(&self) -> String {
        pem::encode(&self.spki, PEM_LABEL)
    }

    /// SHA-256 of the SPKI DER: the name of this key in search keys and policies.
    pub fn fingerprint(&self) -> Hash {
        sha256(&self.spki)
    }

    /// SHA-256 of the PEM text: the `hint` of OpenSSF Model Signing bundles.
    pub fn pem_fingerprint(&self) -> Hash {
        sha256(self.to_pem().as_bytes())
    }

    /// What kind of key it is.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Verifies `signature` over `message` with the hash that goes with the key: SHA-256 for P-256
    /// and RSA, SHA-384 for P-384, SHA-512 for P-521; pure Ed25519. ECDSA signatures are ASN.1
    /// DER, or r || s.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match &self.parsed {
            Parsed::Ed25519(key) => {
                let signature =
                    ed25519_dalek::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                key.verify_strict(message, &signature).map_err(|_| BadSignature)
            }
            Parsed::Other(_) => {
                let hash = self.kind.hash();
                self.verify_digest(hash, &hash.digest(message), signature)
            }
        }
    }

    /// Verifies a DSSE signature over `pae`. Signers disagree about the hash for the larger curves:
    /// OpenSSF Model Signing takes the curve's own, Rekor takes SHA-256. Either proves that the
    /// key signed.
    pub fn verify_dsse(&self, pae: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.verify(pae, signature).or_else(|bad| match self.kind {
            KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => self.verify_sha256(pae, signature),
            _ => Err(bad),
        })
    }

    /// Verifies `signature` over `message` as Rekor v1 does where a format has no hash: SHA-256 for
    /// ECDSA on every curve and for RSA; pure Ed25519.
    pub fn verify_sha256(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        if self.kind == KeyKind::Ed25519 {
            return self.verify(message, signature);
        }
        let hash = HashAlgorithm::Sha256;
        self.verify_digest(hash, &hash.digest(message), signature)
    }

    /// Verifies `signature` over a message of which only the digest is known. For Ed25519 keys this
    /// is Ed25519ph with an empty context, which takes a SHA-512 digest; pure Ed25519 cannot be
    /// verified from a digest.
    pub fn verify_digest(
        &self,
        hash: HashAlgorithm,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        if digest.len() != hash.len() {
            return Err(BadSignature);
        }
        let other;
        let key = match &self.parsed {
            Parsed::Ed25519(key) => {
                let prehashed: [u8; 64] = digest.try_into().map_err(|_| BadSignature)?;
                let signature =
                    ed25519_dalek::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                return key
                    .verify_prehashed_strict(Prehashed(prehashed), None, &signature)
                    .map_err(|_| BadSignature);
            }
            Parsed::Other(key) if hash == self.kind.hash() => key,
            Parsed::Other(_) => {
                let algorithm = self.kind.digest_algorithm(hash).ok_or(BadSignature)?;
                other = ParsedPublicKey::new(algorithm, &self.spki).map_err(|_| BadSignature)?;
                &other
            }
        };
        let imported = Digest::import_less_safe(digest, hash.aws()).map_err(|_| BadSignature)?;
        key.verify_digest_sig(&imported, signature).or_else(|_| {
            let signature = self.kind.asn1_signature(signature).ok_or(BadSignature)?;
            key.verify_digest_sig(&imported, &signature).map_err(|_| BadSignature)
        })
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for PublicKey {}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.kind, self.fingerprint())
    }
}

impl KeyKind {
    /// The hash that goes with the key when a format does not say: SHA-512 for Ed25519 (that is,
    /// Ed25519ph).
    pub fn hash(self) -> HashAlgorithm {
        match self {
            Self::EcdsaP384 => HashAlgorithm::Sha384,
            Self::EcdsaP521 | Self::Ed25519 => HashAlgorithm::Sha512,
            Self::EcdsaP256 | Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => {
                HashAlgorithm::Sha256
            }
        }
    }

    /// `None` for pairs of key and hash that are not verified.
    fn digest_algorithm(self, hash: HashAlgorithm) -> Option<&'static dyn VerificationAlgorithm> {
        use HashAlgorithm::{Sha256, Sha384, Sha512};
        use KeyKind::{EcdsaP256, EcdsaP384, EcdsaP521, Ed25519, Rsa2048, Rsa3072, Rsa4096};
        match (self, hash) {
            (EcdsaP256, Sha256) => Some(&signature::ECDSA_P256_SHA256_ASN1),
            (EcdsaP384, Sha384) => Some(&signature::ECDSA_P384_SHA384_ASN1),
            (EcdsaP521, Sha512) => Some(&signature::ECDSA_P521_SHA512_ASN1),
            (EcdsaP384, Sha256) => Some(&signature::ECDSA_P384_SHA256_ASN1),
            (EcdsaP521, Sha256) => Some(&signature::ECDSA_P521_SHA256_ASN1),
            (Rsa2048 | Rsa3072 | Rsa4096, Sha256) => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            (EcdsaP256, Sha384 | Sha512)
            | (EcdsaP384, Sha512)
            | (EcdsaP521, Sha384)
            | (Rsa2048 | Rsa3072 | Rsa4096, Sha384 | Sha512)
            | (Ed25519, _) => None,
        }
    }

    /// A signature that was written as r || s (IEEE P1363) in ASN.1 DER (RFC 3279, section 2.2.3);
    /// `None` unless it has the length that goes with the curve.
    fn asn1_signature(self, fixed: &[u8]) -> Option<Vec<u8>> {
        #[derive(der::Sequence)]
        struct EcdsaSigValue<'a> {
            r: UintRef<'a>,
            s: UintRef<'a>,
        }
        let len = match self {
            Self::EcdsaP256 => 32,
            Self::EcdsaP384 => 48,
            Self::EcdsaP521 => 66,
            Self::Ed25519 | Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => return None,
        };
        let (r, s) = (fixed.len() == 2 * len).then(|| fixed.split_at(len))?;
        let value = EcdsaSigValue { r: UintRef::new(r).ok()?, s: UintRef::new(s).ok()? };
        value.to_der().ok()
    }
}

impl HashAlgorithm {
    /// Length of its digests, in bytes.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of `message`.
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => sha2::Sha256::digest(message).to_vec(),
            Self::Sha384 => sha2::Sha384::digest(message).to_vec(),
            Self::Sha512 => sha2::Sha512::digest(message).to_vec(),
        }
    }

    fn aws(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        }
    }
}

/// A SHA-512 digest that was computed elsewhere, in the shape that Ed25519ph wants.
#[derive(Clone)]
struct Prehashed([u8; 64]);

impl Default for Prehashed {
    fn default() -> Self {
        Self([0; 64])
    }
}

impl sha2::digest::HashMarker for Prehashed {}

impl sha2::digest::OutputSizeUser for Prehashed {
    type OutputSize = sha2::digest::consts::U64;
}

impl sha2::digest::Update for Prehashed {
    fn update(&mut self, _: &[u8]) {
        unreachable!("a digest that was computed elsewhere takes no more data");
    }
}

impl sha2::digest::FixedOutput for Prehashed {
    fn finalize_into(self, out: &mut sha2::digest::Output<Self>) {
        out.copy_from_slice(&self.0);
    }
}

fn kind_of(spki: &SubjectPublicKeyInfoRef<'_>, key: &[u8]) -> Result<KeyKind, KeyError> {
    let parameters = spki.algorithm.parameters;
    match spki.algorithm.oid {
        OID_EC => {
            let curve: ObjectIdentifier =
                parameters.and_then(|any| any.decode_as().ok()).ok_or(KeyError::Malformed)?;
            let (kind, coordinate_len) = match curve {
                OID_P256 => (KeyKind::EcdsaP256, 32),
                OID_P384 => (KeyKind::EcdsaP384, 48),
                OID_P521 => (KeyKind::EcdsaP521, 66),
                _ => return Err(KeyError::Unsupported),
            };
            // Only the uncompressed form, so that one key has one spelling.
            if key.first() != Some(&0x04) || key.len() != 1 + 2 * coordinate_len {
                return Err(KeyError::Malformed);
            }
            Ok(kind)
        }
        OID_ED25519 if parameters.is_none() => Ok(KeyKind::Ed25519),
        OID_RSA if parameters.is_some_and(|any| any.is_null()) => match rsa_modulus_bits(key) {
            Some(2048) => Ok(KeyKind::Rsa2048),
            Some(3072) => Ok(KeyKind::Rsa3072),
            Some(4096) => Ok(KeyKind::Rsa4096),
            Some(_) => Err(KeyError::Unsupported),
            None => Err(KeyError::Malformed),
        },
        OID_ED25519 | OID_RSA => Err(KeyError::Malformed),
        _ => Err(KeyError::Unsupported),
    }
}

/// The size of the modulus in an RSAPublicKey (RFC 8017 appendix A.1.1).
fn rsa_modulus_bits(key: &[u8]) -> Option<u32> {
    #[derive(der::Sequence)]
    struct RsaPublicKey<'a> {
        modulus: UintRef<'a>,
        exponent: UintRef<'a>,
    }
    let parsed = RsaPublicKey::from_der(key).ok()?;
    let exponent = parsed.exponent.as_bytes();
    let odd_and_above_one = exponent.last().is_some_and(|last| last & 1 == 1) && exponent != [1];
    let top = parsed.modulus.as_bytes().first()?;
    odd_and_above_one.then(|| parsed.modulus.as_bytes().len() as u32 * 8 - top.leading_zeros())
}

const PEM_LABEL: &str = "PUBLIC KEY";
const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const OID_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const OID_P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const OID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

#[cfg(test)]
mod tests;
