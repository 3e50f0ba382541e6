//! Submissions, signed for real: what signers send to the log, and the entry that it must become.

use std::io;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use treering_proto::dsse_envelope::{IN_TOTO_PAYLOAD_TYPE, pae};
use treering_proto::encoding::to_base64;
use treering_proto::entry::VerifiedEntry;
use treering_proto::hash::sha256;
use treering_proto::key::PublicKey;

use crate::http::{Connection, Response};

/// A signer with an ECDSA P-256 key.
pub struct Signer {
    pair: EcdsaKeyPair,
    /// The public key.
    pub key: PublicKey,
}

/// The two ways to submit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Face {
    /// Rekor v1.
    V1,
    /// Rekor v2.
    V2,
}

/// A request, and the entry that it must become.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Where it goes.
    pub face: Face,
    /// The body of the request.
    pub request: Vec<u8>,
    /// What it must become.
    pub entry: VerifiedEntry,
}

/// What the log said to a submission.
#[derive(Clone, Debug)]
pub enum Answer {
    /// 201.
    Logged {
        /// Where.
        index: u64,
        /// The checkpoint of the answer.
        note: String,
    },
    /// 409.
    Duplicate {
        /// Where it was.
        index: u64,
    },
    /// Anything else.
    Refused(Response),
}

impl Default for Signer {
    fn default() -> Self {
        Self::new()
    }
}

impl Signer {
    /// A signer with a new key.
    ///
    /// # Panics
    /// If the system has no randomness.
    pub fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("randomness");
        let spki = pair.public_key();
        let spki: PublicKeyX509Der<'_> = spki.as_der().expect("a key has an encoding");
        let key = PublicKey::from_spki_der(spki.as_ref()).expect("a P-256 key is accepted");
        Self { pair, key }
    }

    /// Signs SHA-256 of `message`.
    ///
    /// # Panics
    /// If the system has no randomness.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signed = self.pair.sign(&SystemRandom::new(), message);
        signed.expect("randomness").as_ref().to_vec()
    }

    /// The public key as Rekor v1 carries it: base64 of PEM.
    pub fn pem_base64(&self) -> String {
        to_base64(self.key.to_pem().as_bytes())
    }

    /// The private key in PKCS#8 PEM.
    ///
    /// # Panics
    /// If the key has no encoding.
    pub fn to_pkcs8_pem(&self) -> String {
        let der = self.pair.to_pkcs8v1().expect("a key has an encoding");
        let text = to_base64(der.as_ref());
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
            .collect();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
    }
}

impl Face {
    /// Where submissions go.
    pub fn path(self) -> &'static str {
        match self {
            Self::V1 => "/api/v1/log/entries",
            Self::V2 => "/api/v2/log/entries",
        }
    }
}

impl Submission {
    /// A signature over the digest of `artifact`.
    pub fn hashedrekord(face: Face, signer: &Signer, artifact: &[u8]) -> Self {
        let signature = signer.sign(artifact);
        let digest = sha256(artifact);
        let request = match face {
            Face::V1 => {
                hashedrekord_v1(&digest.to_hex(), "sha256", &signature, &signer.pem_base64())
            }
            Face::V2 => hashedrekord_v2(digest.as_bytes(), &signature, &signer.key),
        };
        Self::of(face, &request)
    }

    /// An envelope with `payload`, signed once.
    pub fn dsse(face: Face, signer: &Signer, payload: &[u8]) -> Self {
        let envelope = envelope(signer, payload);
        let request = match face {
            Face::V1 => dsse_v1(&envelope.to_string(), &[signer.pem_base64()]),
            Face::V2 => json!({ "dsseRequestV002": {
                "envelope": envelope,
                "verifiers": [verifier_v2(&signer.key)],
            }}),
        };
        Self::of(face, &request)
    }

    fn of(face: Face, request: &Value) -> Self {
        let request = request.to_string().into_bytes();
        let entry = match face {
            Face::V1 => VerifiedEntry::from_v1_request(&request),
            Face::V2 => VerifiedEntry::from_v2_request(&request),
        };
        Self { face, entry: entry.expect("a good submission is admitted"), request }
    }
}

/// The JSON of a Rekor v1 `hashedrekord`.
pub fn hashedrekord_v1(digest: &str, algorithm: &str, signature: &[u8], key: &str) -> Value {
    json!({
        "kind": "hashedrekord", "apiVersion": "0.0.1",
        "spec": {
            "data": { "hash": { "algorithm": algorithm, "value": digest } },
            "signature": { "content": to_base64(signature), "publicKey": { "content": key } },
        },
    })
}

/// The JSON of a Rekor v2 `hashedRekordRequestV002`.
pub fn hashedrekord_v2(digest: &[u8], signature: &[u8], key: &PublicKey) -> Value {
    json!({ "hashedRekordRequestV002": {
        "digest": to_base64(digest),
        "signature": { "content": to_base64(signature), "verifier": verifier_v2(key) },
    }})
}

/// The JSON of a Rekor v1 `dsse`.
pub fn dsse_v1(envelope: &str, verifiers: &[String]) -> Value {
    json!({
        "kind": "dsse", "apiVersion": "0.0.1",
        "spec": { "proposedContent": { "envelope": envelope, "verifiers": verifiers } },
    })
}

/// The JSON of a Rekor v2 verifier.
pub fn verifier_v2(key: &PublicKey) -> Value {
    json!({
        "publicKey": { "rawBytes": to_base64(key.spki_der()) },
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
    })
}

/// An in-toto envelope with `payload`, signed once.
pub fn envelope(signer: &Signer, payload: &[u8]) -> Value {
    let signature = signer.sign(&pae(IN_TOTO_PAYLOAD_TYPE, payload));
    json!({
        "payload": to_base64(payload),
        "payloadType": IN_TOTO_PAYLOAD_TYPE,
        "signatures": [{ "sig": to_base64(&signature) }],
    })
}

/// Submits, and reads the answer. For a v1 duplicate the index is looked up under its `Location`.
///
/// # Errors
/// Those of the socket: then nobody knows whether the entry is logged.
pub fn submit(connection: &mut Connection, submission: &Submission) -> io::Result<Answer> {
    let response = connection.post(submission.face.path(), &submission.request)?;
    Ok(match (response.status, submission.face) {
        (201, Face::V1) => {
            let (index, note) = v1_entry(&response);
            Answer::Logged { index, note }
        }
        (201, Face::V2) => {
            let answer = response.json();
            let index = answer["logIndex"].as_str().and_then(|text| text.parse().ok());
            let note = answer.pointer("/inclusionProof/checkpoint/envelope");
            Answer::Logged {
                index: index.expect("a v2 answer has its index as text"),
                note: note.and_then(Value::as_str).expect("and a checkpoint").to_owned(),
            }
        }
        (409, Face::V1) => {
            let location = response.header("location").expect("a v1 duplicate has a location");
            let found = connection.get(&location.to_owned())?;
            Answer::Duplicate { index: v1_entry(&found).0 }
        }
        (409, Face::V2) => {
            let index = response.header("x-log-index").and_then(|text| text.parse().ok());
            Answer::Duplicate { index: index.expect("a v2 duplicate has its index") }
        }
        _ => Answer::Refused(response),
    })
}

fn v1_entry(response: &Response) -> (u64, String) {
    let answer = response.json();
    let entry = answer.as_object().and_then(|entries| entries.values().next());
    let entry = entry.unwrap_or_else(|| panic!("no entry in {:?}", response.text()));
    let note = entry.pointer("/verification/inclusionProof/checkpoint").and_then(Value::as_str);
    let index = entry["logIndex"].as_u64().expect("a v1 answer has its index as a number");
    (index, note.expect("and a checkpoint").to_owned())
}
