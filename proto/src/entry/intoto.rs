//! `intoto`: a signed envelope around an in-toto statement, as Rekor v1 logged it before there was
//! `dsse`, and as some clients still do.
//!
//! Canonical bytes of 0.0.1 and 0.0.2:
//!
//! ```text
//! {"apiVersion":"0.0.1","kind":"intoto","spec":{"content":{
//!  "hash":{"algorithm":"sha256","value":"<hex>"},
//!  "payloadHash":{"algorithm":"sha256","value":"<hex>"}},"publicKey":"<base64 of PEM>"}}
//! {"apiVersion":"0.0.2","kind":"intoto","spec":{"content":{"envelope":{
//!  "payloadType":"...","signatures":[{"keyid":"...","publicKey":"<base64 of PEM as submitted>",
//!  "sig":"<base64 of the signature in base64>"}]},
//!  "hash":{"algorithm":"sha256","value":"<hex>"},
//!  "payloadHash":{"algorithm":"sha256","value":"<hex>"}}}}
//! ```
//!
//! (on one line; an empty `keyid` is left out). `hash` of 0.0.1 is over the envelope text as it was
//! submitted. That of 0.0.2 is the submitter's word: the log never sees that text. An entry of
//! 0.0.1 keeps no signature, so nobody can verify it again.
//!
//! Invariants: in 0.0.1 the one key verified a signature of the envelope; in 0.0.2 each key
//! verified one, and each signature was verified by one of them. The payload is no statement that
//! the log gives a meaning to.

use serde::Deserialize;
use serde_json::Value;

use super::envelope::{Signed, admit_intoto, signed_statement};
use super::hashedrekord::{
    HashV001, missing, sha256_value, submitted_verifier, verifier_from_base64_pem,
};
use super::{EntryError, EntryKind, VerifiedEntry, malformed};
use crate::canonical::to_canonical;
use crate::dsse_envelope::{self, Envelope, SIGNATURES_MAX, pae};
use crate::encoding::{from_base64_lines, to_base64};
use crate::facts::{self, Fact, FactSources, ReadStatement};
use crate::hash::{Hash, sha256};
use crate::key::PublicKey;
use crate::verifier::Verifier;

/// A signed envelope, as logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intoto {
    payload_hash: Hash,
    content: Content,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Content {
    V001 {
        /// SHA-256 of the envelope text.
        envelope_hash: Hash,
        verifier: Verifier,
    },
    V002 {
        payload_type: String,
        /// What the submitter calls the SHA-256 of the envelope: 64 hexadecimal digits.
        hash: String,
        signatures: Vec<Signature>,
    },
}

/// One signature of 0.0.2, and a key.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Signature {
    /// A hint of the signer; often empty.
    keyid: String,
    /// PEM as it was submitted: this kind does not spell it anew.
    pem: Vec<u8>,
    /// What is in there.
    verifier: Verifier,
    /// The signature in base64, as it was submitted.
    text: Vec<u8>,
    /// The signature.
    signature: Vec<u8>,
}

impl Intoto {
    /// Kind and version.
    pub fn kind(&self) -> EntryKind {
        match &self.content {
            Content::V001 { .. } => EntryKind::IntotoV001,
            Content::V002 { .. } => EntryKind::IntotoV002,
        }
    }

    /// SHA-256 of the payload.
    pub fn payload_hash(&self) -> Hash {
        self.payload_hash
    }

    /// SHA-256 of the envelope text, in 0.0.1.
    pub fn envelope_hash(&self) -> Option<Hash> {
        match &self.content {
            Content::V001 { envelope_hash, .. } => Some(*envelope_hash),
            Content::V002 { .. } => None,
        }
    }

    /// What the envelope calls its payload, in 0.0.2.
    pub fn payload_type(&self) -> Option<&str> {
        match &self.content {
            Content::V001 { .. } => None,
            Content::V002 { payload_type, .. } => Some(payload_type),
        }
    }

    /// What signatures of the envelope verify under.
    pub fn verifiers(&self) -> Vec<&Verifier> {
        match &self.content {
            Content::V001 { verifier, .. } => vec![verifier],
            Content::V002 { signatures, .. } => {
                signatures.iter().map(|signature| &signature.verifier).collect()
            }
        }
    }

    /// The canonical bytes.
    pub fn to_body(&self) -> Vec<u8> {
        let payload = self.payload_hash;
        match &self.content {
            Content::V001 { envelope_hash, verifier } => {
                body_v001(*envelope_hash, Some(payload), verifier)
            }
            Content::V002 { payload_type, hash, signatures } => {
                let payload_type = quoted(payload_type);
                let signatures: Vec<String> = signatures.iter().map(Signature::to_json).collect();
                let signatures = signatures.join(",");
                format!(
                    r#"{{"apiVersion":"0.0.2","kind":"intoto","spec":{{"content":{{"envelope":{{"payloadType":{payload_type},"signatures":[{signatures}]}},"hash":{{"algorithm":"sha256","value":"{hash}"}},"payloadHash":{{"algorithm":"sha256","value":"{payload}"}}}}}}}}"#
                )
                .into_bytes()
            }
        }
    }

    /// What the entry is found by; `payload` counts if it is the one that was signed.
    pub(super) fn facts(&self, payload: Option<&[u8]>) -> Vec<Fact> {
        self.facts_with(signed_statement(payload, self.payload_hash).as_ref())
    }

    fn facts_with(&self, statement: Option<&ReadStatement>) -> Vec<Fact> {
        let verifiers: Vec<Verifier> = self.verifiers().into_iter().cloned().collect();
        facts::extract(&FactSources {
            verifiers: &verifiers,
            payload_hash: Some(self.payload_hash),
            statement,
            envelope_sha256: self.envelope_hash(),
            ..FactSources::default()
        })
    }

    /// Reads the `spec` of 0.0.1 as it is logged.
    pub(super) fn parse_v001(spec: &str) -> Result<Self, EntryError> {
        let spec: SpecV001 = serde_json::from_str(spec).map_err(malformed)?;
        let payload_hash = spec.content.payload_hash.ok_or_else(|| missing("payloadHash"))?;
        Ok(Self {
            payload_hash: sha256_value(&payload_hash)?,
            content: Content::V001 {
                envelope_hash: sha256_value(&required_hash(spec.content.hash)?)?,
                verifier: verifier_from_base64_pem(&spec.public_key)?,
            },
        })
    }

    /// Reads the `spec` of 0.0.2 as it is logged.
    pub(super) fn parse_v002(spec: &str) -> Result<Self, EntryError> {
        let spec: SpecV002 = serde_json::from_str(spec).map_err(malformed)?;
        let payload_hash = spec.content.payload_hash.ok_or_else(|| missing("payloadHash"))?;
        let payload_hash = sha256_value(&payload_hash)?;
        let content = Content::read_v002(spec.content.envelope, spec.content.hash)?;
        Ok(Self { payload_hash, content })
    }

    /// Whether the signatures are over `payload`; `None` where the entry keeps none.
    pub(super) fn verifies(&self, payload: &[u8]) -> Option<bool> {
        match &self.content {
            Content::V001 { .. } => None,
            Content::V002 { payload_type, signatures, .. } => {
                let message = pae(payload_type, payload);
                Some(match_signatures(&message, signatures).is_ok())
            }
        }
    }

    fn into_verified(
        self,
        payload_type: &str,
        payload: Vec<u8>,
    ) -> Result<VerifiedEntry, EntryError> {
        let admitted = admit_intoto(payload_type, payload, self.payload_hash)?;
        let facts = self.facts_with(admitted.as_ref().map(|admitted| &admitted.read));
        let statement = admitted.map(|admitted| admitted.kept);
        let verifiers = self.verifiers().into_iter().cloned().collect();
        VerifiedEntry::new(self.kind(), self.to_body(), facts, verifiers, statement)
    }
}

impl Content {
    fn read_v002(envelope: EnvelopeV002, hash: Option<HashV001>) -> Result<Self, EntryError> {
        let payload_type = envelope.payload_type.filter(|payload_type| !payload_type.is_empty());
        let signatures = envelope.signatures.unwrap_or_default();
        if !(1..=SIGNATURES_MAX).contains(&signatures.len()) {
            return Err(EntryError::Count { what: "signatures", max: SIGNATURES_MAX });
        }
        let hash = required_hash(hash)?;
        let is_digest = hash.value.len() == 64 && hash.value.bytes().all(|b| b.is_ascii_hexdigit());
        if hash.algorithm != "sha256" || !is_digest {
            return Err(EntryError::BadDigest);
        }
        Ok(Self::V002 {
            payload_type: payload_type.ok_or_else(|| missing("payloadType"))?,
            hash: hash.value,
            signatures: signatures.into_iter().map(Signature::read).collect::<Result<_, _>>()?,
        })
    }
}

impl Signature {
    fn read(given: SignatureV002) -> Result<Self, EntryError> {
        let key = given.public_key.ok_or_else(|| missing("publicKey"))?;
        let verifier = verifier_from_base64_pem(&key)?;
        let text = given.sig.ok_or_else(|| missing("sig"))?;
        let text = from_base64_lines(&text).ok_or(EntryError::BadBase64("sig"))?;
        let signature = std::str::from_utf8(&text)
            .ok()
            .and_then(dsse_envelope::decode)
            .filter(|signature| !signature.is_empty())
            .ok_or(EntryError::BadBase64("sig, decoded once,"))?;
        let pem = from_base64_lines(&key).ok_or(EntryError::BadBase64("publicKey"))?;
        Ok(Self { keyid: given.keyid.unwrap_or_default(), pem, verifier, text, signature })
    }

    fn to_json(&self) -> String {
        let keyid = match self.keyid.as_str() {
            "" => String::new(),
            keyid => format!(r#""keyid":{},"#, quoted(keyid)),
        };
        let (key, sig) = (to_base64(&self.pem), to_base64(&self.text));
        format!(r#"{{{keyid}"publicKey":"{key}","sig":"{sig}"}}"#)
    }
}

/// Reads and verifies the `spec` of a 0.0.1 submission: the entry, what the envelope calls its
/// payload, and the payload. Nothing is admitted yet.
fn read_v001(spec: SpecV001) -> Result<(Intoto, Envelope), EntryError> {
    let text = spec.content.envelope.filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| missing("envelope"))?;
    let envelope = Envelope::parse(text.as_bytes())?;
    let verifier = submitted_verifier(&spec.public_key)?;
    let message = envelope.pae();
    let message = Signed::new(&message);
    let mut signatures = envelope.signatures.iter();
    if !signatures.any(|one| message.verifies_sha256(verifier.key(), &one.signature)) {
        return Err(EntryError::SignatureInvalid);
    }
    let content = Content::V001 { envelope_hash: sha256(text.as_bytes()), verifier };
    Ok((Intoto { payload_hash: sha256(&envelope.payload), content }, envelope))
}

/// The same for 0.0.2.
fn read_v002(spec: SpecV002) -> Result<(Intoto, Vec<u8>), EntryError> {
    let mut envelope = spec.content.envelope;
    let payload = envelope.payload.take().filter(|payload| !payload.is_empty());
    let payload = from_base64_lines(&payload.ok_or_else(|| missing("payload"))?)
        .ok_or(EntryError::BadBase64("payload"))?;
    let payload = std::str::from_utf8(&payload)
        .ok()
        .and_then(from_base64_lines)
        .ok_or(EntryError::BadBase64("payload, decoded once,"))?;
    let content = Content::read_v002(envelope, spec.content.hash)?;
    let intoto = Intoto { payload_hash: sha256(&payload), content };
    if let Content::V002 { payload_type, signatures, .. } = &intoto.content {
        signatures.iter().try_for_each(|signature| signature.verifier.check())?;
        match_signatures(&pae(payload_type, &payload), signatures)?;
    }
    Ok((intoto, payload))
}

/// As in Rekor, each key must verify some signature and each signature some key: not necessarily
/// the one beside it. A key is tried once, however often it stands there, and only on signatures
/// that no other verified; so ten of each are 55 tries at most.
fn match_signatures(message: &[u8], signatures: &[Signature]) -> Result<(), EntryError> {
    if !(1..=SIGNATURES_MAX).contains(&signatures.len()) {
        return Err(EntryError::Count { what: "signatures", max: SIGNATURES_MAX });
    }
    let message = Signed::new(message);
    let mut verified_by: Vec<Option<&PublicKey>> = vec![None; signatures.len()];
    for Signature { verifier, .. } in signatures {
        let key = verifier.key();
        if verified_by.contains(&Some(key)) {
            continue;
        }
        let mut verifies_one = false;
        for (other, verified_by) in signatures.iter().zip(&mut verified_by) {
            if verified_by.is_none() && message.verifies_sha256(key, &other.signature) {
                *verified_by = Some(key);
                verifies_one = true;
            }
        }
        if !verifies_one {
            return Err(EntryError::SignatureInvalid);
        }
    }
    match verified_by.contains(&None) {
        false => Ok(()),
        true => Err(EntryError::VerifierUnused),
    }
}

/// Reads and verifies the `spec` of a 0.0.1 submission.
pub(super) fn verify_v001(spec: &str) -> Result<VerifiedEntry, EntryError> {
    let (intoto, envelope) = read_v001(serde_json::from_str(spec).map_err(malformed)?)?;
    intoto.into_verified(&envelope.payload_type, envelope.payload)
}

/// Reads and verifies the `spec` of a 0.0.2 submission.
pub(super) fn verify_v002(spec: &str) -> Result<VerifiedEntry, EntryError> {
    let (intoto, payload) = read_v002(serde_json::from_str(spec).map_err(malformed)?)?;
    let payload_type = intoto.payload_type().unwrap_or_default().to_owned();
    intoto.into_verified(&payload_type, payload)
}

/// The canonical bytes of what is searched for: a submission, or without an envelope what is
/// logged. Old entries of Rekor have no hash of the payload.
pub(super) fn query_v001(spec: &str) -> Result<Vec<u8>, EntryError> {
    let proposed: SpecV001 = serde_json::from_str(spec).map_err(malformed)?;
    if proposed.content.envelope.as_ref().is_some_and(|text| !text.is_empty()) {
        return Ok(read_v001(proposed)?.0.to_body());
    }
    let envelope_hash = sha256_value(&required_hash(proposed.content.hash)?)?;
    let payload_hash = proposed.content.payload_hash.as_ref().map(sha256_value).transpose()?;
    let verifier = verifier_from_base64_pem(&proposed.public_key)?;
    Ok(body_v001(envelope_hash, payload_hash, &verifier))
}

/// The same for 0.0.2.
pub(super) fn query_v002(spec: &str) -> Result<Vec<u8>, EntryError> {
    let proposed: SpecV002 = serde_json::from_str(spec).map_err(malformed)?;
    if proposed.content.envelope.payload.as_ref().is_some_and(|payload| !payload.is_empty()) {
        return Ok(read_v002(proposed)?.0.to_body());
    }
    Ok(Intoto::parse_v002(spec)?.to_body())
}

fn body_v001(envelope: Hash, payload: Option<Hash>, verifier: &Verifier) -> Vec<u8> {
    let key = to_base64(verifier.to_pem().as_bytes());
    let payload = payload.map_or_else(String::new, |payload| {
        format!(r#","payloadHash":{{"algorithm":"sha256","value":"{payload}"}}"#)
    });
    format!(
        r#"{{"apiVersion":"0.0.1","kind":"intoto","spec":{{"content":{{"hash":{{"algorithm":"sha256","value":"{envelope}"}}{payload}}},"publicKey":"{key}"}}}}"#
    )
    .into_bytes()
}

fn required_hash(hash: Option<HashV001>) -> Result<HashV001, EntryError> {
    hash.ok_or_else(|| missing("hash"))
}

/// A text as RFC 8785 writes it.
fn quoted(text: &str) -> String {
    let bytes = to_canonical(&Value::String(text.to_owned()));
    String::from_utf8(bytes).expect("canonical JSON is UTF-8")
}

// Rekor v1 ignores fields that it does not know, and its Go clients send nulls and hashes of their
// own; so unknown fields pass.
#[derive(Deserialize)]
struct SpecV001 {
    content: ContentV001,
    #[serde(rename = "publicKey")]
    public_key: String,
}

#[derive(Deserialize)]
struct ContentV001 {
    #[serde(default)]
    envelope: Option<String>,
    #[serde(default)]
    hash: Option<HashV001>,
    #[serde(rename = "payloadHash", default)]
    payload_hash: Option<HashV001>,
}

#[derive(Deserialize)]
struct SpecV002 {
    content: ContentV002,
}

#[derive(Deserialize)]
struct ContentV002 {
    envelope: EnvelopeV002,
    #[serde(default)]
    hash: Option<HashV001>,
    #[serde(rename = "payloadHash", default)]
    payload_hash: Option<HashV001>,
}

#[derive(Deserialize)]
struct EnvelopeV002 {
    #[serde(default)]
    payload: Option<String>,
    #[serde(rename = "payloadType", default)]
    payload_type: Option<String>,
    #[serde(default)]
    signatures: Option<Vec<SignatureV002>>,
}

#[derive(Deserialize)]
struct SignatureV002 {
    #[serde(default)]
    keyid: Option<String>,
    #[serde(default)]
    sig: Option<String>,
    #[serde(rename = "publicKey", default)]
    public_key: Option<String>,
}
