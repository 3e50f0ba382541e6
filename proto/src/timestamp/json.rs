//! The request in JSON, as Sigstore's timestamp authority takes it beside DER, and as sigstore-js
//! sends it:
//!
//! ```text
//! {"artifactHash": BASE64, "hashAlgorithm": "sha256",
//!  "certificates": false, "nonce": NUMBER, "tsaPolicyOID": "1.2.3"}      the last three optional
//! ```
//!
//! Unknown members are ignored, as they are there. A nonce is a decimal number without sign, point
//! or exponent, however large up to its bound.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::POLICY;
use super::request::{NONCE_LEN_MAX, TimestampRequest, TimestampRequestError};
use crate::encoding::from_base64;
use crate::key::HashAlgorithm;

/// Decimal digits of the largest nonce.
const NONCE_DIGITS_MAX: usize = NONCE_LEN_MAX * 8 * 302 / 1000;

/// Characters of an algorithm's name that a refusal repeats.
const NAME_SHOWN_MAX: usize = 40;

/// Characters of what the JSON parser says, which may repeat what it met.
const WHY_SHOWN_MAX: usize = 200;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonRequest<'a> {
    artifact_hash: String,
    hash_algorithm: String,
    #[serde(default)]
    certificates: Option<bool>,
    #[serde(borrow, default)]
    nonce: Option<&'a RawValue>,
    #[serde(default, rename = "tsaPolicyOID")]
    policy: Option<String>,
}

impl TimestampRequest {
    /// Reads a request in JSON.
    ///
    /// # Errors
    /// [`TimestampRequestError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, TimestampRequestError> {
        let malformed = |why: &str| {
            TimestampRequestError::MalformedJson(why.chars().take(WHY_SHOWN_MAX).collect())
        };
        let request: JsonRequest<'_> =
            serde_json::from_slice(bytes).map_err(|error| malformed(&error.to_string()))?;
        let digest = from_base64(&request.artifact_hash);
        let digest = digest.ok_or_else(|| malformed("artifactHash is not base64"))?;
        let algorithm = match request.hash_algorithm.to_ascii_lowercase().as_str() {
            "sha256" => HashAlgorithm::Sha256,
            "sha384" => HashAlgorithm::Sha384,
            "sha512" => HashAlgorithm::Sha512,
            other => {
                let shown = other.chars().take(NAME_SHOWN_MAX).flat_map(char::escape_debug);
                return Err(TimestampRequestError::Algorithm(shown.collect()));
            }
        };
        let policy = request.policy.filter(|policy| !policy.is_empty());
        if policy.is_some_and(|policy| policy != POLICY.to_string()) {
            return Err(TimestampRequestError::Policy);
        }
        let nonce = request.nonce.map(|nonce| integer(nonce.get())).transpose()?;
        let asked = Self::new(algorithm, digest)?.with_nonce(nonce.as_deref())?;
        Ok(asked.with_certificate(request.certificates.unwrap_or(false)))
    }
}

/// The shortest two's complement of a decimal number without a sign.
fn integer(text: &str) -> Result<Vec<u8>, TimestampRequestError> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || text.len() > NONCE_DIGITS_MAX {
        return Err(TimestampRequestError::Nonce);
    }
    // Least significant byte first; the digits are few, so that their square is nothing.
    let mut bytes: Vec<u8> = vec![0];
    for digit in text.bytes() {
        let mut carry = u16::from(digit - b'0');
        for byte in &mut bytes {
            carry += u16::from(*byte) * 10;
            *byte = (carry & 0xff) as u8;
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    if bytes.last().is_some_and(|most| *most >= 0x80) {
        bytes.push(0);
    }
    bytes.reverse();
    Ok(bytes)
}
