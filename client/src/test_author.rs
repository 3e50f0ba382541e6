//! A signer for tests, whose entries pass the admission of a log.

use serde_json::json;
use treering_proto::dsse_envelope::{Envelope, IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::encoding::to_base64;
use treering_proto::entry::VerifiedEntry;
use treering_proto::hash::sha256;
use treering_proto::trust::{Signer, SignerRule};
use treering_proto::verifier::Verifier;

use crate::private_key::{Curve, PrivateKey};
use crate::submit::request_json;
use crate::test_log::TestLog;

pub struct Author {
    key: PrivateKey,
}

impl Author {
    pub fn new() -> Self {
        Self { key: PrivateKey::generate(Curve::P256).unwrap() }
    }

    /// A rule that accepts this signer.
    pub fn rule(&self, name: &str) -> SignerRule {
        let who = Signer::Key(self.key.public_key().clone());
        SignerRule { name: name.to_owned(), who }
    }

    /// A statement that says that `text` is called `name`.
    pub fn statement(name: &str, text: &str) -> Vec<u8> {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": name, "digest": {"sha256": sha256(text.as_bytes()).to_hex()}}],
            "predicateType": "https://example.com/claim",
        })
        .to_string()
        .into_bytes()
    }

    /// A signed statement.
    pub fn claim(&self, name: &str, text: &str) -> VerifiedEntry {
        self.envelope(IN_TOTO_PAYLOAD_TYPE, Self::statement(name, text))
    }

    /// A signed payload of any type.
    pub fn envelope(&self, payload_type: &str, payload: Vec<u8>) -> VerifiedEntry {
        let signature = self.key.sign(&pae(payload_type, &payload)).unwrap();
        let envelope = Envelope::new(payload_type, payload, signature);
        let verifier = Verifier::PublicKey(Box::new(self.key.public_key().clone()));
        VerifiedEntry::from_v1_request(&request_json(&envelope, &verifier)).unwrap()
    }

    /// A signed digest.
    pub fn digest(&self, text: &str) -> VerifiedEntry {
        let signature = to_base64(&self.key.sign(text.as_bytes()).unwrap());
        let digest = sha256(text.as_bytes()).to_hex();
        let key = to_base64(self.key.public_key().to_pem().as_bytes());
        let request = json!({"kind": "hashedrekord", "apiVersion": "0.0.1", "spec": {
            "signature": {"content": signature, "publicKey": {"content": key}},
            "data": {"hash": {"value": digest, "algorithm": "sha256"}}}});
        VerifiedEntry::from_v1_request(request.to_string().as_bytes()).unwrap()
    }

    /// A signed statement in an `intoto` entry.
    pub fn intoto(&self, version: &str, payload_type: &str, payload: &[u8]) -> VerifiedEntry {
        let again = |text: &str| to_base64(text.as_bytes());
        let signature = to_base64(&self.key.sign(&pae(payload_type, payload)).unwrap());
        let key = again(&self.key.public_key().to_pem());
        let hash = json!({"algorithm": "sha256", "value": "00".repeat(32)});
        let text = json!({"payload": to_base64(payload), "payloadType": payload_type,
            "signatures": [{"sig": signature}]})
        .to_string();
        let content = match version {
            "0.0.1" => json!({"envelope": text}),
            _ => json!({"hash": hash, "envelope": {
                "payload": again(&to_base64(payload)), "payloadType": payload_type,
                "signatures": [{"sig": again(&signature), "publicKey": key}]}}),
        };
        let spec = json!({"content": content, "publicKey": key});
        let request = json!({"kind": "intoto", "apiVersion": version, "spec": spec});
        VerifiedEntry::from_v1_request(request.to_string().as_bytes()).unwrap()
    }

    /// Signed content, in a `rekord` entry.
    pub fn rekord(&self, content: &str) -> VerifiedEntry {
        let signature = to_base64(&self.key.sign(content.as_bytes()).unwrap());
        let key = to_base64(self.key.public_key().to_pem().as_bytes());
        let request = json!({"kind": "rekord", "apiVersion": "0.0.1", "spec": {
            "signature": {"content": signature, "format": "x509", "publicKey": {"content": key}},
            "data": {"content": to_base64(content.as_bytes())}}});
        VerifiedEntry::from_v1_request(request.to_string().as_bytes()).unwrap()
    }

    /// Logs `count` entries, every third with a statement.
    pub fn fill(&self, log: &mut TestLog, count: usize) {
        for _ in 0..count {
            let at = log.bodies.len();
            match at % 3 {
                0 => log.admit(&self.claim("model", &format!("bytes {at}"))),
                _ => log.admit(&self.digest(&format!("bytes {at}"))),
            };
        }
    }
}
