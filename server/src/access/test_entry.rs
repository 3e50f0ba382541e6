//! For tests: real signed entries with the names that a test wants.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use treering_proto::dsse_envelope::{IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::encoding::to_base64;
use treering_proto::entry::VerifiedEntry;

/// The body of a Rekor v2 submission: an envelope over a statement about `subjects`.
pub fn dsse_request(subjects: &[Value]) -> Vec<u8> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let payload = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://example.com/test/v1",
        "subject": subjects,
    })
    .to_string();
    let message = pae(IN_TOTO_PAYLOAD_TYPE, payload.as_bytes());
    let signature = pair.sign(&SystemRandom::new(), &message).unwrap();
    let request = json!({"dsseRequestV002": {
        "envelope": {
            "payload": to_base64(payload.as_bytes()),
            "payloadType": IN_TOTO_PAYLOAD_TYPE,
            "signatures": [{"sig": to_base64(signature.as_ref())}],
        },
        "verifiers": [{
            "publicKey": {"rawBytes": to_base64(spki.as_ref())},
            "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        }],
    }});
    request.to_string().into_bytes()
}

/// A subject, with a name or without.
pub fn subject(name: Option<&str>) -> Value {
    let digest = json!({"sha256": "ab".repeat(32)});
    match name {
        Some(name) => json!({"name": name, "digest": digest}),
        None => json!({ "digest": digest }),
    }
}

/// An entry about these names.
pub fn dsse(names: &[&str]) -> VerifiedEntry {
    let subjects: Vec<Value> = names.iter().map(|name| subject(Some(name))).collect();
    VerifiedEntry::from_v2_request(&dsse_request(&subjects)).unwrap()
}

/// An entry without a statement.
pub fn hashedrekord() -> VerifiedEntry {
    crate::test_log::entries(1).remove(0)
}
