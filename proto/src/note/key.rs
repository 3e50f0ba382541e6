//! Keys that verify note signatures, and their text form, the vkey (c2sp.org/signed-note, "Verifier
//! keys").
//!
//! ```text
//! vkey     name + lower-case hexadecimal key id + base64 of (type byte, public key)
//! key id   first four bytes of SHA-256(name, 0x0A, type byte, public key);
//!          for ECDSA of SHA-256(SubjectPublicKeyInfo DER)
//! ```
//!
//! The example of the note module verifies with these two:
//!
//! ```text
//! log.example/models+3a87d6f1+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c
//! witness.example+3176bd45+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU
//! ```
//!
//! Invariant: a [`NoteKey`] holds a key under which no signature is valid for every message, in its
//! only spelling.
//! Out of scope: other kinds of key. They are refused as unsupported, not as malformed.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ML_DSA_44, ParsedPublicKey};
use ed25519_dalek::{Signature, VerifyingKey};
use thiserror::Error;

use crate::cosignature::{self, ml_dsa_44};
use crate::encoding::{from_base64, from_hex_lower, to_base64};
use crate::hash::{Hash, sha256};
use crate::note::is_key_name;

/// The longest vkey in bytes: twice what an ML-DSA-44 key with the longest name takes.
pub const VKEY_LEN_MAX: usize = 4096;

/// The kinds of key that sign notes here; the discriminant is the type byte of the vkey.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NoteKeyKind {
    /// A log: Ed25519 over the text.
    Ed25519 = 0x01,
    /// A log: ECDSA with P-256 over SHA-256 of the text, ASN.1 DER; this is how Rekor v1 signs.
    EcdsaP256Sha256 = 0x02,
    /// A witness: Ed25519 over a time and the text, see [`crate::cosignature`].
    Cosignature = 0x04,
    /// A witness, or a log that cosigns its own tree: ML-DSA-44 over a time and the tree head, see
    /// [`ml_dsa_44`].
    MlDsa44 = 0x06,
}

/// A key that verifies note signatures, with the name of its owner.
#[derive(Clone)]
pub struct NoteKey {
    name: String,
    key_id_full: Hash,
    material: Material,
}

/// Why bytes or a text are not a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum NoteKeyError {
    /// Not name, `+`, eight lower-case hexadecimal digits, `+`, canonical base64; or longer than
    /// [`VKEY_LEN_MAX`].
    #[error("the verifier key is malformed")]
    Malformed,
    /// See [`is_key_name`].
    #[error("the key name is empty, too long, or has a space, a plus or a control byte")]
    KeyName,
    /// The key id is not the hash of name and key.
    #[error("the key id does not belong to this name and key")]
    KeyId,
    /// Another length, another curve, or no point of the curve.
    #[error("the public key is malformed")]
    PublicKey,
    /// A point of small order, under which one signature fits many messages.
    #[error("the public key is weak")]
    WeakPublicKey,
    /// Well formed as far as we can tell, of a type that we cannot verify.
    #[error("keys of type {0:#04x} are not supported")]
    UnsupportedKeyType(u8),
}

/// A signature does not verify.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the signature does not verify")]
pub struct InvalidSignature;

/// The parts of a vkey, of any type, before its key is understood.
struct Vkey {
    name: String,
    key_id: [u8; 4],
    key_type: u8,
    public_key: Vec<u8>,
}

/// What comes before the uncompressed point in every DER SubjectPublicKeyInfo of a P-256 key (RFC
/// 5480): the algorithm id-ecPublicKey, the curve prime256v1, and the head of a bit string of 65
/// bytes.
const P256_SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

const P256_POINT_LEN: usize = 65;

/// Ed25519 keys are boxed: they hold their decompressed point, which is 200 bytes.
#[derive(Clone)]
enum Material {
    Ed25519(Box<VerifyingKey>),
    EcdsaP256Sha256 { spki: Vec<u8>, key: ParsedPublicKey },
    Cosignature(Box<VerifyingKey>),
    MlDsa44(ParsedPublicKey),
}

impl NoteKey {
    /// The Ed25519 log key `public_key` called `name`.
    ///
    /// # Errors
    /// [`NoteKeyError::KeyName`], [`NoteKeyError::PublicKey`], [`NoteKeyError::WeakPublicKey`].
    pub fn ed25519(name: &str, public_key: &[u8; 32]) -> Result<Self, NoteKeyError> {
        Self::new(name, Material::Ed25519(strong_key(public_key)?))
    }

    /// The ECDSA P-256 log key called `name`, from its DER SubjectPublicKeyInfo with an
    /// uncompressed point.
    ///
    /// A Rekor v1 log signs under its bare host name, not under its origin.
    ///
    /// # Errors
    /// [`NoteKeyError::KeyName`], [`NoteKeyError::PublicKey`].
    pub fn ecdsa_p256(name: &str, spki_der: &[u8]) -> Result<Self, NoteKeyError> {
        let point = spki_der.strip_prefix(&P256_SPKI_PREFIX).ok_or(NoteKeyError::PublicKey)?;
        if point.len() != P256_POINT_LEN {
            return Err(NoteKeyError::PublicKey);
        }
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)
            .map_err(|_| NoteKeyError::PublicKey)?;
        Self::new(name, Material::EcdsaP256Sha256 { spki: spki_der.to_vec(), key })
    }

    /// The Ed25519 witness key `public_key` called `name`.
    ///
    /// # Errors
    /// [`NoteKeyError::KeyName`], [`NoteKeyError::PublicKey`], [`NoteKeyError::WeakPublicKey`].
    pub fn cosignature(name: &str, public_key: &[u8; 32]) -> Result<Self, NoteKeyError> {
        Self::new(name, Material::Cosignature(strong_key(public_key)?))
    }

    /// The ML-DSA-44 key `public_key` of the cosigner called `name`, a witness or a log.
    ///
    /// # Errors
    /// [`NoteKeyError::KeyName`], [`NoteKeyError::PublicKey`].
    pub fn ml_dsa_44(
        name: &str,
        public_key: &[u8; ml_dsa_44::PUBLIC_KEY_LEN],
    ) -> Result<Self, NoteKeyError> {
        let key =
            ParsedPublicKey::new(&ML_DSA_44, public_key).map_err(|_| NoteKeyError::PublicKey)?;
        Self::new(name, Material::MlDsa44(key))
    }

    /// Reads a vkey.
    ///
    /// # Errors
    /// Any [`NoteKeyError`].
    pub fn parse_vkey(text: &str) -> Result<Self, NoteKeyError> {
        let vkey = Vkey::parse(text)?;
        let key = match vkey.key_type {
            0x01 => Self::ed25519(&vkey.name, vkey.fixed()?)?,
            0x02 => Self::ecdsa_p256(&vkey.name, &vkey.public_key)?,
            0x04 => Self::cosignature(&vkey.name, vkey.fixed()?)?,
            0x06 => Self::ml_dsa_44(&vkey.name, vkey.fixed()?)?,
            other => return Err(NoteKeyError::UnsupportedKeyType(other)),
        };
        if key.key_id() == vkey.key_id { Ok(key) } else { Err(NoteKeyError::KeyId) }
    }

    /// The vkey.
    pub fn to_vkey(&self) -> String {
        let typed = [&[self.kind() as u8], self.public_key()].concat();
        format!("{}+{}+{}", self.name, hex::encode(self.key_id()), to_base64(&typed))
    }

    /// The name of the owner: for a log its origin, except for Rekor v1.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the key signs, and how.
    pub fn kind(&self) -> NoteKeyKind {
        match self.material {
            Material::Ed25519(_) => NoteKeyKind::Ed25519,
            Material::EcdsaP256Sha256 { .. } => NoteKeyKind::EcdsaP256Sha256,
            Material::Cosignature(_) => NoteKeyKind::Cosignature,
            Material::MlDsa44(_) => NoteKeyKind::MlDsa44,
        }
    }

    /// Whether the key signs the text of a note, as logs do, and does not cosign. An ML-DSA-44 key
    /// cosigns, even that of a log.
    pub fn is_log_key(&self) -> bool {
        matches!(self.kind(), NoteKeyKind::Ed25519 | NoteKeyKind::EcdsaP256Sha256)
    }

    /// The public key: 32 bytes for Ed25519, 1312 for ML-DSA-44, the DER SubjectPublicKeyInfo for
    /// ECDSA.
    pub fn public_key(&self) -> &[u8] {
        match &self.material {
            Material::Ed25519(key) | Material::Cosignature(key) => key.as_bytes(),
            Material::EcdsaP256Sha256 { spki, .. } => spki,
            Material::MlDsa44(key) => key.as_ref(),
        }
    }

    /// The 32 bytes whose first four are the key id. Of a log key this is what Sigstore calls the
    /// log id.
    pub fn key_id_full(&self) -> Hash {
        self.key_id_full
    }

    /// The key id that stands in signature lines.
    pub fn key_id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.key_id_full.0;
        [a, b, c, d]
    }

    /// Verifies the bytes after the key id of a signature line; returns the time in seconds if the
    /// signature has one.
    ///
    /// # Errors
    /// [`InvalidSignature`].
    pub fn verify(&self, text: &str, signature: &[u8]) -> Result<Option<u64>, InvalidSignature> {
        match &self.material {
            Material::Ed25519(key) => {
                let signature = Signature::from_slice(signature).map_err(|_| InvalidSignature)?;
                key.verify_strict(text.as_bytes(), &signature).map_err(|_| InvalidSignature)?;
                Ok(None)
            }
            Material::EcdsaP256Sha256 { key, .. } => {
                key.verify_sig(text.as_bytes(), signature).map_err(|_| InvalidSignature)?;
                Ok(None)
            }
            Material::Cosignature(key) => {
                cosignature::verify(key, text, signature).map(Some).ok_or(InvalidSignature)
            }
            Material::MlDsa44(key) => {
                let time = ml_dsa_44::verify(key, &self.name, text, signature);
                // Zero is how this kind says that it gives no time.
                time.map(|time| (time != 0).then_some(time)).ok_or(InvalidSignature)
            }
        }
    }

    fn new(name: &str, material: Material) -> Result<Self, NoteKeyError> {
        if !is_key_name(name) {
            return Err(NoteKeyError::KeyName);
        }
        let key_id_full = match &material {
            Material::Ed25519(key) => named_key_id(name, 0x01, key.as_bytes()),
            Material::EcdsaP256Sha256 { spki, .. } => sha256(spki),
            Material::Cosignature(key) => named_key_id(name, 0x04, key.as_bytes()),
            Material::MlDsa44(key) => named_key_id(name, 0x06, key.as_ref()),
        };
        Ok(Self { name: name.to_owned(), key_id_full, material })
    }
}

impl PartialEq for NoteKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.kind(), self.public_key())
            == (&other.name, other.kind(), other.public_key())
    }
}

impl Eq for NoteKey {}

impl fmt::Debug for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoteKey({})", self.to_vkey())
    }
}

impl Vkey {
    /// Splits at the first two `+`: base64 may hold more of them.
    fn parse(text: &str) -> Result<Self, NoteKeyError> {
        if text.len() > VKEY_LEN_MAX {
            return Err(NoteKeyError::Malformed);
        }
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(key_id), Some(encoded)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(NoteKeyError::Malformed);
        };
        if !is_key_name(name) {
            return Err(NoteKeyError::KeyName);
        }
        let key_id = from_hex_lower(key_id)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(NoteKeyError::Malformed)?;
        let typed = from_base64(encoded).ok_or(NoteKeyError::Malformed)?;
        let (key_type, public_key) = typed.split_first().ok_or(NoteKeyError::Malformed)?;
        Ok(Self {
            name: name.to_owned(),
            key_id,
            key_type: *key_type,
            public_key: public_key.to_vec(),
        })
    }

    fn fixed<const N: usize>(&self) -> Result<&[u8; N], NoteKeyError> {
        self.public_key.as_slice().try_into().map_err(|_| NoteKeyError::PublicKey)
    }
}

fn strong_key(bytes: &[u8; 32]) -> Result<Box<VerifyingKey>, NoteKeyError> {
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| NoteKeyError::PublicKey)?;
    if key.is_weak() {
        return Err(NoteKeyError::WeakPublicKey);
    }
    // The curve library reduces coordinates, so a few points have a second encoding. Two spellings
    // of one key would count as two witnesses.
    if key.to_edwards().compress().as_bytes() != bytes {
        return Err(NoteKeyError::PublicKey);
    }
    Ok(Box::new(key))
}

fn named_key_id(name: &str, key_type: u8, public_key: &[u8]) -> Hash {
    sha256(&[name.as_bytes(), &[b'\n', key_type], public_key].concat())
}
