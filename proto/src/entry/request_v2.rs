//! Rekor v2 submissions as they are read: `CreateEntryRequest` in protojson, with everything that
//! rekor-tiles' gateway accepts.
//!
//! | of | is taken |
//! |---|---|
//! | a name | its JSON name and its name in the `.proto` file; both at once are a duplicate |
//! | an enum | a known name, or any number of 32 bits |
//! | bytes | base64 of either alphabet, padded or not |
//! | `null` | as if the field were not there |
//! | no body | as the empty message |
//!
//! Refused are duplicates, unknown fields, two members of a oneof, anything after the message, and
//! arrays where a message belongs.
//!
//! Invariants: reading decides about shape alone and comes before any other check; what was read
//! has no second meaning. Out of scope: whether it is an entry ([`hashedrekord`], [`dsse`]).

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::hashedrekord::KeyDetails;
use super::{EntryError, VerifiedEntry, dsse, hashedrekord, malformed, require_object};
use crate::certificate::Certificate;
use crate::encoding::from_base64_protojson;
use crate::key::PublicKey;
use crate::verifier::{Verifier, VerifierError};

/// A submission that was read, and not verified.
pub struct RequestV2(Spec);

enum Spec {
    Nothing,
    Hashedrekord(hashedrekord::RequestV002),
    Dsse(dsse::RequestV002),
}

impl RequestV2 {
    /// Reads the body of a Rekor v2 submission. An empty body is the empty message.
    ///
    /// # Errors
    /// [`EntryError::Malformed`].
    pub fn parse(request: &[u8]) -> Result<Self, EntryError> {
        if request.trim_ascii().is_empty() {
            return Ok(Self(Spec::Nothing));
        }
        require_object(request)?;
        let request: Create = serde_json::from_slice(request).map_err(malformed)?;
        match (request.hashedrekord, request.dsse) {
            (Some(Message(hashedrekord)), None) => Ok(Self(Spec::Hashedrekord(hashedrekord))),
            (None, Some(Message(dsse))) => Ok(Self(Spec::Dsse(dsse))),
            (None, None) => Ok(Self(Spec::Nothing)),
            (Some(_), Some(_)) => {
                Err(EntryError::Malformed("oneof spec is already set".to_owned()))
            }
        }
    }

    /// The kind of entry that it asks for, `hashedrekord` or `dsse`; `None` if it names none.
    pub fn kind(&self) -> Option<&'static str> {
        match self.0 {
            Spec::Nothing => None,
            Spec::Hashedrekord(_) => Some("hashedrekord"),
            Spec::Dsse(_) => Some("dsse"),
        }
    }

    /// Verifies it.
    ///
    /// # Errors
    /// [`EntryError`]; [`EntryError::UnknownKind`] if it names no kind.
    pub fn verify(self) -> Result<VerifiedEntry, EntryError> {
        match self.0 {
            Spec::Nothing => Err(EntryError::UnknownKind(String::new())),
            Spec::Hashedrekord(request) => hashedrekord::verify_v002(request),
            Spec::Dsse(request) => dsse::verify_v002(request),
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    #[serde(rename = "hashedRekordRequestV002", alias = "hashed_rekord_request_v002", default)]
    hashedrekord: Option<Message<hashedrekord::RequestV002>>,
    #[serde(rename = "dsseRequestV002", alias = "dsse_request_v002", default)]
    dsse: Option<Message<dsse::RequestV002>>,
}

/// `Signature`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureV002 {
    #[serde(default)]
    pub(super) content: Option<Bytes>,
    #[serde(default)]
    pub(super) verifier: Option<Message<VerifierV002>>,
}

/// `Verifier`.
#[derive(serde::Deserialize)]
#[serde(try_from = "VerifierJson")]
pub(super) struct VerifierV002 {
    raw: Option<Raw>,
    details: Option<KeyDetails>,
}

enum Raw {
    PublicKey(Vec<u8>),
    Certificate(Vec<u8>),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifierJson {
    #[serde(rename = "publicKey", alias = "public_key", default)]
    public_key: Option<Message<RawBytes>>,
    #[serde(rename = "x509Certificate", alias = "x509_certificate", default)]
    certificate: Option<Message<RawBytes>>,
    #[serde(rename = "keyDetails", alias = "key_details", default)]
    details: Option<Details>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBytes {
    #[serde(rename = "rawBytes", alias = "raw_bytes", default)]
    raw_bytes: Option<Bytes>,
}

impl TryFrom<VerifierJson> for VerifierV002 {
    type Error = &'static str;

    fn try_from(json: VerifierJson) -> Result<Self, Self::Error> {
        let bytes = |Message(raw): Message<RawBytes>| Bytes::or_empty(raw.raw_bytes);
        let raw = match (json.public_key, json.certificate) {
            (Some(_), Some(_)) => return Err("oneof verifier is already set"),
            (Some(key), None) => Some(Raw::PublicKey(bytes(key))),
            (None, Some(certificate)) => Some(Raw::Certificate(bytes(certificate))),
            (None, None) => None,
        };
        Ok(Self { raw, details: json.details.and_then(|Details(details)| details) })
    }
}

impl VerifierV002 {
    /// Whether it names something that can verify.
    ///
    /// # Errors
    /// [`EntryError::Incomplete`].
    pub(super) fn check(&self) -> Result<(), EntryError> {
        let (raw, what) = match &self.raw {
            None => return Err(EntryError::Incomplete("publicKey or x509Certificate")),
            Some(Raw::PublicKey(raw)) => (raw, "publicKey.rawBytes"),
            Some(Raw::Certificate(raw)) => (raw, "x509Certificate.rawBytes"),
        };
        if raw.is_empty() { Err(EntryError::Incomplete(what)) } else { Ok(()) }
    }

    /// The key or certificate, and the label it was submitted under.
    pub(super) fn read(self) -> Result<(Verifier, KeyDetails), EntryError> {
        self.check()?;
        let verifier = match self.raw {
            Some(Raw::PublicKey(spki)) => {
                let key = PublicKey::from_spki_der(&spki).map_err(VerifierError::Key)?;
                Verifier::PublicKey(Box::new(key))
            }
            Some(Raw::Certificate(der)) => {
                let certificate =
                    Certificate::from_der(&der).map_err(VerifierError::Certificate)?;
                Verifier::Certificate(Box::new(certificate))
            }
            None => unreachable!("what names nothing was refused above"),
        };
        Ok((verifier, self.details.ok_or(EntryError::AlgorithmNotAllowed)?))
    }
}

/// A message, which is a JSON object: the JSON reader alone would take an array for one, its items
/// for the fields in order.
pub(super) struct Message<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Message<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        reader.deserialize_map(Object(PhantomData)).map(Self)
    }
}

/// Bytes.
#[derive(Default)]
pub(super) struct Bytes(Vec<u8>);

impl Bytes {
    /// The bytes of a field; one that is not there is empty.
    pub(super) fn or_empty(field: Option<Self>) -> Vec<u8> {
        field.unwrap_or_default().0
    }

    /// The bytes of a field that must have some.
    ///
    /// # Errors
    /// [`EntryError::Incomplete`].
    pub(super) fn required(field: Option<Self>, name: &'static str) -> Result<Vec<u8>, EntryError> {
        let bytes = Self::or_empty(field);
        if bytes.is_empty() { Err(EntryError::Incomplete(name)) } else { Ok(bytes) }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Base64;

        impl Visitor<'_> for Base64 {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
                from_base64_protojson(text).ok_or_else(|| E::custom("this is not base64"))
            }
        }

        reader.deserialize_str(Base64).map(Self)
    }
}

/// `PublicKeyDetails`; `None` for a value that this log does not permit.
struct Details(Option<KeyDetails>);

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Enum;

        impl Visitor<'_> for Enum {
            type Value = Details;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name or the number of a PublicKeyDetails")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Details, E> {
                match KeyDetails::from_name(name) {
                    Some(details) => Ok(Details(Some(details))),
                    None if NOT_PERMITTED.contains(&name) => Ok(Details(None)),
                    None => Err(E::custom("no PublicKeyDetails has this name")),
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Details, E> {
                match i32::try_from(number) {
                    Ok(number) => Ok(Details(KeyDetails::from_number(number))),
                    Err(_) => Err(E::custom("an enum has 32 bits")),
                }
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Details, E> {
                self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Details, E> {
                match number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX) {
                    true => self.visit_i64(number as i64),
                    false => Err(E::custom("an enum is a whole number of 32 bits")),
                }
            }
        }

        reader.deserialize_any(Enum)
    }
}

/// The names in `PublicKeyDetails` of Sigstore's common protobuf that this log knows and does not
/// permit.
const NOT_PERMITTED: [&str; 16] = [
    "PUBLIC_KEY_DETAILS_UNSPECIFIED",
    "PKCS1_RSA_PKCS1V5",
    "PKCS1_RSA_PSS",
    "PKIX_RSA_PKCS1V5",
    "PKIX_RSA_PSS",
    "PKIX_RSA_PSS_2048_SHA256",
    "PKIX_RSA_PSS_3072_SHA256",
    "PKIX_RSA_PSS_4096_SHA256",
    "PKIX_ECDSA_P256_HMAC_SHA_256",
    "PKIX_ECDSA_P384_SHA_256",
    "PKIX_ECDSA_P521_SHA_256",
    "LMS_SHA256",
    "LMOTS_SHA256",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
];

#[cfg(test)]
mod tests;
