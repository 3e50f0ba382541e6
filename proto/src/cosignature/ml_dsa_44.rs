//! The ML-DSA-44 timestamped cosignature, signature type 0x06 (C2SP tlog-cosignature,
//! "subtree/v1").
//!
//! ```text
//! signed bytes   "subtree/v1" LF NUL                  12 bytes
//!                u8 length, name of the cosigner      1 to 255 bytes
//!                u64 time, seconds since 1970
//!                u8 length, origin of the log         1 to 255 bytes
//!                u64 start, u64 end                   0, and the size of the tree
//!                root                                 32 bytes
//! payload        u64 time, then 2420 bytes of ML-DSA-44 (FIPS 204, empty context): 2428 bytes
//! ```
//!
//! Integers are big endian. The signed bytes name the cosigner, so the same key may cosign under
//! two names, and a log cosigns its own tree under its origin. Time 0 is a signature that says
//! nothing about time: not that the tree was the newest, nor when.
//!
//! Invariants: what is signed or accepted is all that the checkpoint says, so a text with extension
//! lines is refused; the empty tree has the root of no leaves; no time above 2^63 - 1.
//! Out of scope: subtrees that do not start at the first leaf.

use aws_lc_rs::pkcs8::Document;
use aws_lc_rs::signature::{KeyPair as _, ML_DSA_44_SIGNING, ParsedPublicKey, PqdsaKeyPair};

use super::TIME_MAX;
use crate::checkpoint::Checkpoint;
use crate::tree::{TreeHead, TreeSize};

/// Length of a public key in bytes.
pub const PUBLIC_KEY_LEN: usize = 1312;

/// Length of the seed of a key in bytes.
pub const SEED_LEN: usize = 32;

/// Length of a payload in bytes: the time and the signature.
pub const PAYLOAD_LEN: usize = TIME_LEN + SIGNATURE_LEN;

const TIME_LEN: usize = 8;

const SIGNATURE_LEN: usize = 2420;

const LABEL: &[u8; 12] = b"subtree/v1\n\0";

/// An ML-DSA-44 key that cosigns.
#[derive(Clone, Debug)]
pub struct MlDsa44SigningKey {
    pair: PqdsaKeyPair,
}

impl MlDsa44SigningKey {
    /// The key that FIPS 204 makes of `seed`, which must be random and secret.
    pub fn from_seed(seed: &[u8; SEED_LEN]) -> Self {
        let pair = PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, seed);
        Self { pair: pair.expect("every seed of this length makes a key") }
    }

    /// Reads PKCS#8 DER (RFC 9881) that holds the seed, the expanded key or both; `None` when it is
    /// no ML-DSA-44 key.
    pub fn from_pkcs8(der: &[u8]) -> Option<Self> {
        PqdsaKeyPair::from_pkcs8(&ML_DSA_44_SIGNING, der).ok().map(|pair| Self { pair })
    }

    /// The key as PKCS#8 DER that holds the seed; `None` when it was read without its seed.
    pub fn to_pkcs8(&self) -> Option<Document> {
        self.pair.to_pkcs8v1().ok()
    }

    /// The public key.
    pub fn public_key(&self) -> &[u8; PUBLIC_KEY_LEN] {
        let bytes = self.pair.public_key().as_ref();
        bytes.try_into().expect("an ML-DSA-44 key pair has a public key of this length")
    }
}

/// The bytes that the cosigner called `cosigner` signs for the tree `head` of the log `origin` at
/// `time`, in seconds since 1970.
///
/// `None` when a name is empty or longer than 255 bytes, the time is above [`TIME_MAX`], or an
/// empty tree has a root.
pub fn message(cosigner: &str, origin: &str, head: TreeHead, time: u64) -> Option<Vec<u8>> {
    if time > TIME_MAX || (head.size == TreeSize::ZERO && head != TreeHead::EMPTY) {
        return None;
    }
    let mut message = LABEL.to_vec();
    push_name(&mut message, cosigner)?;
    message.extend_from_slice(&time.to_be_bytes());
    push_name(&mut message, origin)?;
    message.extend_from_slice(&0u64.to_be_bytes());
    message.extend_from_slice(&head.size.get().to_be_bytes());
    message.extend_from_slice(head.root.as_bytes());
    Some(message)
}

/// The payload that `key` gives; `None` as for [`message`]. Another one each time, since ML-DSA
/// signs with randomness.
pub fn sign(
    key: &MlDsa44SigningKey,
    cosigner: &str,
    origin: &str,
    head: TreeHead,
    time: u64,
) -> Option<Vec<u8>> {
    let message = message(cosigner, origin, head, time)?;
    let mut payload = vec![0; PAYLOAD_LEN];
    payload[..TIME_LEN].copy_from_slice(&time.to_be_bytes());
    let signed = key.pair.sign(&message, &mut payload[TIME_LEN..]);
    let len = signed.expect("a key pair signs every message");
    assert!(len == SIGNATURE_LEN, "an ML-DSA-44 signature has one length");
    Some(payload)
}

/// The time in seconds in the cosignature `payload` of the checkpoint `text`, 0 when it gives none;
/// `None` when `payload` is no such cosignature by `key` under the name `cosigner`.
pub(crate) fn verify(
    key: &ParsedPublicKey,
    cosigner: &str,
    text: &str,
    payload: &[u8],
) -> Option<u64> {
    if payload.len() != PAYLOAD_LEN {
        return None;
    }
    let (time, signature) = payload.split_first_chunk::<TIME_LEN>()?;
    let time = u64::from_be_bytes(*time);
    let checkpoint = Checkpoint::parse(text).ok()?;
    if !checkpoint.extensions.is_empty() {
        return None;
    }
    let message = message(cosigner, &checkpoint.origin, checkpoint.head, time)?;
    key.verify_sig(&message, signature).ok()?;
    Some(time)
}

fn push_name(message: &mut Vec<u8>, name: &str) -> Option<()> {
    let len = u8::try_from(name.len()).ok().filter(|len| *len > 0)?;
    message.push(len);
    message.extend_from_slice(name.as_bytes());
    Some(())
}

#[cfg(test)]
mod tests;
