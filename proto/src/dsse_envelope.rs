//! DSSE envelopes (Dead Simple Signing Envelope, protocol v1.0.2): a payload, its type, signatures.
//!
//! What is signed is the pre-authentication encoding (PAE), never the JSON. Rekor logs the SHA-256
//! of the envelope text exactly as it was submitted, so callers hash their text, not
//! [`Envelope::to_json`].
//!
//! Out of scope: verifying (see `key`), and what the payload means (see `statement`).

use serde::Serialize;
use serde_json::Value;

use crate::canonical::{self, JsonError};
use crate::encoding::{from_base64_lines, to_base64};

/// The longest envelope text: a statement of the greatest length in base64, and room for
/// signatures.
pub const ENVELOPE_LEN_MAX: usize = 6 * 1024 * 1024;

/// Signatures of one envelope. Each costs a verification per verifier; no known signer makes more
/// than two.
pub const SIGNATURES_MAX: usize = 10;

/// The payload type of in-toto statements.
pub const IN_TOTO_PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A DSSE envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    /// What the payload is; a media type by convention.
    pub payload_type: String,
    /// The payload, decoded.
    pub payload: Vec<u8>,
    /// 1 to [`SIGNATURES_MAX`] signatures, in the order of the text.
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnvelopeSignature {
    /// The signature, decoded.
    pub signature: Vec<u8>,
    /// The base64 as it stood in the text: Rekor entries repeat it letter for letter.
    pub signature_text: String,
    /// An unauthenticated hint; often empty.
    pub keyid: Option<String>,
}

/// Why a text is not an envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Longer than any envelope that is read.
    #[error("envelope longer than {ENVELOPE_LEN_MAX} bytes")]
    TooLong,
    /// Not acceptable JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Not a JSON object.
    #[error("envelope is not a JSON object")]
    NotObject,
    /// `payloadType` is absent or empty.
    #[error("payloadType is missing")]
    PayloadType,
    /// `payload` is absent or not base64.
    #[error("payload is missing or not base64")]
    Payload,
    /// No signatures, or too many.
    #[error("an envelope has 1 to {SIGNATURES_MAX} signatures")]
    SignatureCount,
    /// A signature is empty, not base64, or not an object.
    #[error("signature {0} is malformed")]
    Signature(usize),
}

impl Envelope {
    /// An envelope with one signature and no key hint.
    pub fn new(payload_type: &str, payload: Vec<u8>, signature: Vec<u8>) -> Self {
        Self {
            payload_type: payload_type.to_owned(),
            payload,
            signatures: vec![EnvelopeSignature {
                signature_text: to_base64(&signature),
                signature,
                keyid: None,
            }],
        }
    }

    /// Reads the JSON form. Bytes may be in standard or URL-safe base64, as DSSE allows; fields
    /// that DSSE does not know are ignored, as Rekor ignores them.
    pub fn parse(text: &[u8]) -> Result<Self, EnvelopeError> {
        if text.len() > ENVELOPE_LEN_MAX {
            return Err(EnvelopeError::TooLong);
        }
        let value = canonical::parse(text)?;
        let members = value.as_object().ok_or(EnvelopeError::NotObject)?;
        let payload_type = members
            .get("payloadType")
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .ok_or(EnvelopeError::PayloadType)?;
        let payload = members
            .get("payload")
            .and_then(Value::as_str)
            .and_then(decode)
            .ok_or(EnvelopeError::Payload)?;
        let signatures = members
            .get("signatures")
            .and_then(Value::as_array)
            .filter(|list| (1..=SIGNATURES_MAX).contains(&list.len()))
            .ok_or(EnvelopeError::SignatureCount)?
            .iter()
            .enumerate()
            .map(|(at, value)| signature(value).ok_or(EnvelopeError::Signature(at)))
            .collect::<Result<_, _>>()?;
        Ok(Self { payload_type: payload_type.to_owned(), payload, signatures })
    }

    /// Compact JSON: `payload`, `payloadType`, `signatures`; each signature text as it was read.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&EnvelopeJson::new(self)).expect("strings and lists always serialize")
    }

    /// The bytes that the signatures sign.
    pub fn pae(&self) -> Vec<u8> {
        pae(&self.payload_type, &self.payload)
    }
}

/// The pre-authentication encoding:
/// `"DSSEv1" SP length(type) SP type SP length(payload) SP payload`, lengths in decimal bytes.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut encoded =
        format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    encoded.extend_from_slice(payload);
    encoded
}

/// The JSON shape of an envelope, with fields in the order that Sigstore's tools write.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnvelopeJson<'a> {
    payload: String,
    payload_type: &'a str,
    signatures: Vec<SignatureJson<'a>>,
}

#[derive(Serialize)]
struct SignatureJson<'a> {
    sig: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyid: Option<&'a str>,
}

impl<'a> EnvelopeJson<'a> {
    pub(crate) fn new(envelope: &'a Envelope) -> Self {
        let signatures = &envelope.signatures;
        Self {
            payload: to_base64(&envelope.payload),
            payload_type: &envelope.payload_type,
            signatures: signatures
                .iter()
                .map(|signature| SignatureJson {
                    sig: &signature.signature_text,
                    keyid: signature.keyid.as_deref(),
                })
                .collect(),
        }
    }
}

fn signature(value: &Value) -> Option<EnvelopeSignature> {
    let members = value.as_object()?;
    let signature_text = members.get("sig")?.as_str()?;
    // This text is repeated letter for letter in leaves, where a line break would not be JSON.
    if signature_text.contains(['\r', '\n']) {
        return None;
    }
    let signature = decode(signature_text).filter(|bytes| !bytes.is_empty())?;
    let keyid = match members.get("keyid") {
        None | Some(Value::Null) => None,
        Some(keyid) => Some(keyid.as_str()?.to_owned()),
    };
    Some(EnvelopeSignature { signature, signature_text: signature_text.to_owned(), keyid })
}

/// Standard base64 or URL-safe base64, padded, not a mixture: the two that Go's DSSE library tries.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    from_base64_lines(text).or_else(|| {
        let url_safe = !text.contains(['+', '/']);
        url_safe
            .then(|| text.replace('-', "+").replace('_', "/"))
            .and_then(|standard| from_base64_lines(&standard))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Envelope, EnvelopeError> {
        Envelope::parse(text.as_bytes())
    }

    fn with(payload: &str, signatures: &str) -> String {
        format!(r#"{{"payloadType":"t","payload":"{payload}","signatures":{signatures}}}"#)
    }

    #[test]
    fn pae_is_that_of_the_dsse_protocol() {
        // The worked example of the protocol document.
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
        assert_eq!(pae("\u{e9}", b""), "DSSEv1 2 \u{e9} 0 ".as_bytes());
    }

    #[test]
    fn both_alphabets_are_read_and_the_signature_text_is_kept() {
        let envelope = parse(&with("-_8=", r#"[{"sig":"-_8=","keyid":"k"}]"#)).unwrap();
        assert_eq!(envelope.payload, [0xfb, 0xff]);
        assert_eq!(envelope.signatures[0].signature, [0xfb, 0xff]);
        assert_eq!(envelope.signatures[0].signature_text, "-_8=");
        assert_eq!(parse(&with("+/8=", r#"[{"sig":"+/8="}]"#)).unwrap().payload, [0xfb, 0xff]);
    }

    #[test]
    fn json_survives_reading_and_writing() {
        let signatures = r#"[{"sig":"AA==","keyid":""},{"sig":"-_8="}]"#;
        let text = format!(r#"{{"payload":"aGk=","payloadType":"t","signatures":{signatures}}}"#);
        assert_eq!(parse(&text).unwrap().to_json(), text.as_bytes());
        let made = Envelope::new("t", b"hi".to_vec(), vec![0]);
        assert_eq!(Envelope::parse(&made.to_json()).unwrap(), made);
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        let duplicate = r#"{"payload":"","payload":"aGk=","payloadType":"t","signatures":[]}"#;
        assert!(matches!(parse(duplicate), Err(EnvelopeError::Json(_))));
        for payload in ["aGk", "aGl=", "+_8=", "a Gk="] {
            let refused = parse(&with(payload, r#"[{"sig":"AA=="}]"#));
            assert!(matches!(refused, Err(EnvelopeError::Payload)), "{payload}");
        }
    }

    #[test]
    fn refuses_no_signature_too_many_and_malformed_ones() {
        let many = format!("[{}]", [r#"{"sig":"AA=="}"#; SIGNATURES_MAX + 1].join(","));
        for list in ["[]", "null", "{}", &many] {
            assert!(matches!(parse(&with("", list)), Err(EnvelopeError::SignatureCount)), "{list}");
        }
        for list in [r#"[{"sig":""}]"#, r#"[{}]"#, r#"["AA=="]"#, r#"[{"sig":"AA==","keyid":1}]"#] {
            assert!(matches!(parse(&with("", list)), Err(EnvelopeError::Signature(0))), "{list}");
        }
    }
}
