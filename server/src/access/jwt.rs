//! JSON Web Tokens (RFC 7519, RFC 8725) of workloads: reading one, and what must be true of it.
//!
//! ```text
//! text -> parse: length, dots, header, claims      -> Unverified
//!      -> issuer by `iss`, algorithm, keys by `kid` (jwks)
//!      -> verify: signature, audience, times       -> claims
//! ```
//!
//! Invariants: the length is looked at before anything else; the header names an algorithm of the
//! issuer's list and perhaps a key, and nothing else that is followed; a header or claims in which
//! one object says one thing twice, however deep inside, are refused; so is a token without end, or
//! good for more than a day. No error repeats a part of the token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};
use treering_proto::canonical;

use super::policy::Issuer;

/// The longest token in bytes: those of GitHub have about 1.5 KB.
pub const JWT_LEN_MAX: usize = 8 << 10;

/// By how much clocks may differ, in seconds.
pub const LEEWAY_S: u64 = 60;

/// The longest life of a token, in seconds.
pub const JWT_LIFETIME_MAX_S: u64 = 24 * 3600;

/// The longest `kid`, in bytes.
const KEY_ID_LEN_MAX: usize = 256;

/// Headers that bring their own key, change how the rest is read, or make it another thing.
const REFUSED_HEADERS: [&str; 9] = ["jku", "jwk", "x5u", "x5c", "crit", "b64", "zip", "enc", "epk"];

/// A token that was read and not verified.
pub struct Unverified<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Map<String, Value>,
    message: &'a [u8],
    signature: &'a str,
}

/// What is wrong with a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JwtRefusal {
    /// Longer than any.
    #[error("the token is longer than {JWT_LEN_MAX} bytes")]
    TooLong,
    /// Not the shape of a signed token.
    #[error("the token is not a signed JWT")]
    Malformed,
    /// A header that would be followed elsewhere.
    #[error("the token's header has {0:?}, which is never followed")]
    Header(&'static str),
    /// `none`, a shared secret, or not in the issuer's list.
    #[error("the token's algorithm is not accepted from this issuer")]
    Algorithm,
    /// No issuer of the policy.
    #[error("the token's issuer is not one that this log knows")]
    Issuer,
    /// The issuer has no such key.
    #[error("the token is signed by a key that its issuer does not show")]
    Key,
    /// Several keys, and the token does not say which.
    #[error("the token does not name its key, and its issuer has several")]
    KeyUnnamed,
    /// It does not verify.
    #[error("the token's signature does not verify")]
    Signature,
    /// Made for somebody else.
    #[error("the token's audience is not this log; ask for it with the audience of this log")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet; compare the clocks")]
    NotYet,
    /// Without end, or with a far one.
    #[error("the token has no exp, or is good for more than 24 hours")]
    Lifetime,
    /// Nobody's.
    #[error("the token has no sub")]
    Subject,
}

impl JwtRefusal {
    /// The label for machines.
    pub fn label(self) -> &'static str {
        match self {
            Self::TooLong => "jwt-too-long",
            Self::Malformed => "jwt-malformed",
            Self::Header(_) => "jwt-header",
            Self::Algorithm => "jwt-algorithm",
            Self::Issuer => "jwt-issuer",
            Self::Key | Self::KeyUnnamed => "jwt-key",
            Self::Signature => "jwt-signature",
            Self::Audience => "jwt-audience",
            Self::Expired => "jwt-expired",
            Self::NotYet => "jwt-not-yet-valid",
            Self::Lifetime => "jwt-lifetime",
            Self::Subject => "jwt-subject",
        }
    }
}

impl<'a> Unverified<'a> {
    /// Reads a token.
    ///
    /// # Errors
    /// [`JwtRefusal`].
    pub fn parse(text: &'a str) -> Result<Self, JwtRefusal> {
        if text.len() > JWT_LEN_MAX {
            return Err(JwtRefusal::TooLong);
        }
        if text.bytes().filter(|b| *b == b'.').count() != 2 {
            return Err(JwtRefusal::Malformed);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(JwtRefusal::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(JwtRefusal::Malformed)?;
        let header = object(header)?;
        if let Some(refused) = REFUSED_HEADERS.iter().find(|name| header.contains_key(**name)) {
            return Err(JwtRefusal::Header(refused));
        }
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => algorithm(name).ok_or(JwtRefusal::Algorithm)?,
            _ => return Err(JwtRefusal::Malformed),
        };
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= KEY_ID_LEN_MAX => Some(kid.clone()),
            Some(_) => return Err(JwtRefusal::Malformed),
        };
        let claims = object(claims)?;
        Ok(Self { algorithm, key_id, claims, message: message.as_bytes(), signature })
    }

    /// The claim `iss`, which is only a claim.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Which key of the issuer signed, as the token says.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The algorithm, as the token says.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Verifies it under any of `keys`, which are the issuer's, at `now`, Unix seconds. Returns the
    /// claim `sub` and all claims.
    ///
    /// # Errors
    /// [`JwtRefusal`].
    pub fn verify(
        self,
        issuer: &Issuer,
        keys: &[&DecodingKey],
        now: u64,
    ) -> Result<(String, Map<String, Value>), JwtRefusal> {
        if self.issuer() != Some(&issuer.issuer) {
            return Err(JwtRefusal::Issuer);
        }
        if !issuer.algorithms.contains(&self.algorithm) {
            return Err(JwtRefusal::Algorithm);
        }
        let is_signed = keys.iter().any(|key| {
            let (signature, message) = (self.signature, self.message);
            jsonwebtoken::crypto::verify(signature, message, key, self.algorithm).unwrap_or(false)
        });
        if !is_signed {
            return Err(JwtRefusal::Signature);
        }
        self.check_audience(&issuer.audience)?;
        self.check_times(now)?;
        match self.claims.get("sub") {
            Some(Value::String(subject)) if !subject.is_empty() => {
                Ok((subject.clone(), self.claims))
            }
            _ => Err(JwtRefusal::Subject),
        }
    }

    fn check_audience(&self, audience: &str) -> Result<(), JwtRefusal> {
        let is_for_us = match self.claims.get("aud") {
            Some(Value::String(text)) => text == audience,
            Some(Value::Array(list)) => list.iter().any(|item| item.as_str() == Some(audience)),
            _ => false,
        };
        if is_for_us { Ok(()) } else { Err(JwtRefusal::Audience) }
    }

    fn check_times(&self, now: u64) -> Result<(), JwtRefusal> {
        let expires = self.time("exp")?.ok_or(JwtRefusal::Lifetime)?;
        let issued = self.time("iat")?;
        let not_before = self.time("nbf")?;
        if now >= expires.saturating_add(LEEWAY_S) {
            return Err(JwtRefusal::Expired);
        }
        let latest_start = issued.max(not_before).unwrap_or(0);
        if latest_start > now.saturating_add(LEEWAY_S) {
            return Err(JwtRefusal::NotYet);
        }
        let from = issued.or(not_before).unwrap_or(now);
        match expires.saturating_sub(from) > JWT_LIFETIME_MAX_S {
            true => Err(JwtRefusal::Lifetime),
            false => Ok(()),
        }
    }

    /// A time in Unix seconds, fractions cut off.
    fn time(&self, claim: &str) -> Result<Option<u64>, JwtRefusal> {
        match self.claims.get(claim) {
            None => Ok(None),
            Some(Value::Number(number)) => {
                let fraction = || number.as_f64().filter(|n| (0.0..1e15).contains(n));
                let whole = number.as_u64().or_else(|| fraction().map(|n| n as u64));
                whole.map(Some).ok_or(JwtRefusal::Malformed)
            }
            Some(_) => Err(JwtRefusal::Malformed),
        }
    }
}

/// The algorithms that are ever accepted: those in which nobody but the issuer can sign.
fn algorithm(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// A JSON object in base64url without padding, in which no object has a name twice: readers
/// disagree which one counts.
fn object(part: &str) -> Result<Map<String, Value>, JwtRefusal> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtRefusal::Malformed)?;
    match canonical::parse(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(JwtRefusal::Malformed),
    }
}

#[cfg(test)]
mod tests;
