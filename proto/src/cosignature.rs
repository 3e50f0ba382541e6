//! The Ed25519 timestamped cosignature, signature type 0x04 (C2SP tlog-cosignature,
//! "cosignature/v1").
//!
//! ```text
//! signed bytes   "cosignature/v1" LF "time " decimal LF, then the whole checkpoint text
//! payload        u64 seconds, big endian, then 64 bytes of Ed25519: 72 bytes
//! ```
//!
//! A cosignature says: at `time`, this was the largest consistent tree of this origin that the
//! cosigner had seen. The signed bytes do not name the cosigner, so one key belongs to one cosigner
//! and serves nothing else.
//!
//! Invariant: no time above 2^63 - 1 is signed or accepted. Out of scope: whether a time is
//! plausible, which needs a clock. The ML-DSA-44 cosignature (type 0x06) is in [`ml_dsa_44`].

pub mod ml_dsa_44;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

/// Length of a payload in bytes: the time and the signature.
pub const PAYLOAD_LEN: usize = TIME_LEN + Signature::BYTE_SIZE;

/// The largest time in seconds: the specification wants it to fit a signed 64-bit integer.
pub const TIME_MAX: u64 = i64::MAX as u64;

const TIME_LEN: usize = 8;

/// The bytes that a cosigner signs for the checkpoint `text` at `time`, in seconds since 1970.
pub fn message(text: &str, time: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// The payload that `key` gives the checkpoint `text` at `time`, at most [`TIME_MAX`].
pub fn sign(key: &SigningKey, text: &str, time: u64) -> [u8; PAYLOAD_LEN] {
    assert!(time <= TIME_MAX, "our own clock gives seconds that fit a signed integer");
    let mut payload = [0; PAYLOAD_LEN];
    payload[..TIME_LEN].copy_from_slice(&time.to_be_bytes());
    payload[TIME_LEN..].copy_from_slice(&key.sign(&message(text, time)).to_bytes());
    payload
}

/// The time in seconds at which `key` cosigned `text`; `None` when `payload` is no such
/// cosignature.
pub fn verify(key: &VerifyingKey, text: &str, payload: &[u8]) -> Option<u64> {
    let (time, signature) = payload.split_first_chunk::<TIME_LEN>()?;
    let time = u64::from_be_bytes(*time);
    if time > TIME_MAX {
        return None;
    }
    let signature = Signature::from_slice(signature).ok()?;
    key.verify_strict(&message(text, time), &signature).ok()?;
    Some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\nextension\n";

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[4; 32])
    }

    #[test]
    fn the_message_has_a_decimal_time_and_the_whole_text() {
        let expected = format!("cosignature/v1\ntime 1700000000\n{TEXT}");
        assert_eq!(message(TEXT, 1_700_000_000), expected.as_bytes());
        assert!(message(TEXT, 0).starts_with(b"cosignature/v1\ntime 0\nlog.example\n"));
    }

    #[test]
    fn a_cosignature_verifies_and_gives_its_time() {
        for time in [0, 1, 1_700_000_000, TIME_MAX] {
            let payload = sign(&key(), TEXT, time);
            assert_eq!(verify(&key().verifying_key(), TEXT, &payload), Some(time));
        }
    }

    #[test]
    fn rejects_other_lengths() {
        let payload = sign(&key(), TEXT, 7);
        let longer = [&payload[..], &[0]].concat();
        for wrong in [&payload[..0], &payload[..7], &payload[..71], &longer] {
            assert_eq!(verify(&key().verifying_key(), TEXT, wrong), None, "{} bytes", wrong.len());
        }
    }

    #[test]
    fn rejects_every_flipped_byte_and_every_other_text() {
        let payload = sign(&key(), TEXT, 7);
        for at in 0..PAYLOAD_LEN {
            let mut wrong = payload;
            wrong[at] ^= 1;
            assert_eq!(verify(&key().verifying_key(), TEXT, &wrong), None, "byte {at}");
        }
        let shorter = TEXT.strip_suffix("extension\n").expect("the text ends so");
        assert_eq!(verify(&key().verifying_key(), shorter, &payload), None);
    }

    #[test]
    fn rejects_a_time_above_the_maximum_even_when_signed() {
        let time = TIME_MAX + 1;
        let signature = key().sign(&message(TEXT, time)).to_bytes();
        let payload = [&time.to_be_bytes()[..], &signature].concat();
        assert_eq!(verify(&key().verifying_key(), TEXT, &payload), None);
    }
}
