//! `dsse`: a signed DSSE envelope, of which the log keeps the digests, the signatures and who made
//! them.
//!
//! Canonical bytes of 0.0.1 (Rekor v1) and 0.0.2 (Rekor v2):
//!
//! ```text
//! {"apiVersion":"0.0.1","kind":"dsse","spec":{
//!  "envelopeHash":{"algorithm":"sha256","value":"<hex>"},
//!  "payloadHash":{"algorithm":"sha256","value":"<hex>"},
//!  "signatures":[{"signature":"<as in the envelope>","verifier":"<base64 of PEM>"}]}}
//! {"apiVersion":"0.0.2","kind":"dsse","spec":{"dsseV002":{
//!  "payloadHash":{"algorithm":"SHA2_256","digest":"<base64>"},
//!  "signatures":[{"content":"<base64>","verifier":{...}}]}}}
//! ```
//!
//! (on one line). `envelopeHash` is over the envelope text exactly as submitted: writing it again
//! would change it.
//!
//! Invariants: every signature in the envelope verified under a verifier that is named beside it.
//! If the payload is an OpenSSF Model Signing statement, strict admission passed.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::envelope::{Signed, admit, signed_statement};
use super::hashedrekord::{
    HashV001, KeyDetails, missing, sha256_value, submitted_verifier, verifier_from_base64_pem,
    verifier_v002,
};
use super::request_v2::{Bytes, Message, SignatureV002, VerifierV002};
use super::{EntryError, EntryKind, VerifiedEntry, malformed};
use crate::dsse_envelope::{Envelope, EnvelopeSignature, pae};
use crate::encoding::{from_base64, from_base64_lenient, to_base64};
use crate::facts::{self, Fact, FactSources, ReadStatement};
use crate::hash::{Hash, sha256};
use crate::key::{HashAlgorithm, KeyKind, PublicKey};
use crate::verifier::Verifier;

/// How many signatures and verifiers one envelope may have, as in Rekor v2.
pub const SIGNATURES_MAX: usize = 10;

/// A signed envelope, as logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dsse {
    kind: EntryKind,
    /// SHA-256 of the envelope text; 0.0.1 only.
    envelope_hash: Option<Hash>,
    payload_hash: Hash,
    signatures: Vec<DsseSignature>,
}

/// One signature of an envelope, and what it verifies under.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DsseSignature {
    /// The base64 text, as in the envelope.
    pub text: String,
    /// The signature.
    pub signature: Vec<u8>,
    /// The key or certificate that it verifies under.
    pub verifier: Verifier,
    details: Option<KeyDetails>,
}

impl Dsse {
    /// SHA-256 of the envelope text, in 0.0.1.
    pub fn envelope_hash(&self) -> Option<Hash> {
        self.envelope_hash
    }

    /// SHA-256 of the payload.
    pub fn payload_hash(&self) -> Hash {
        self.payload_hash
    }

    /// The signatures, sorted as the kind demands.
    pub fn signatures(&self) -> &[DsseSignature] {
        &self.signatures
    }

    /// Kind and version.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    /// The canonical bytes.
    pub fn to_body(&self) -> Vec<u8> {
        let signatures: Vec<String> = self.signatures.iter().map(DsseSignature::to_json).collect();
        let signatures = signatures.join(",");
        let payload = self.payload_hash;
        match self.envelope_hash {
            Some(envelope) => format!(
                r#"{{"apiVersion":"0.0.1","kind":"dsse","spec":{{"envelopeHash":{{"algorithm":"sha256","value":"{envelope}"}},"payloadHash":{{"algorithm":"sha256","value":"{payload}"}},"signatures":[{signatures}]}}}}"#
            ),
            None => {
                let payload = to_base64(payload.as_bytes());
                format!(
                    r#"{{"apiVersion":"0.0.2","kind":"dsse","spec":{{"dsseV002":{{"payloadHash":{{"algorithm":"SHA2_256","digest":"{payload}"}},"signatures":[{signatures}]}}}}}}"#
                )
            }
        }
        .into_bytes()
    }

    /// What the entry is found by; `payload` counts if it is the one that was signed.
    pub(super) fn facts(&self, payload: Option<&[u8]>) -> Vec<Fact> {
        self.facts_with(signed_statement(payload, self.payload_hash).as_ref())
    }

    fn facts_with(&self, statement: Option<&ReadStatement>) -> Vec<Fact> {
        let verifiers: Vec<Verifier> =
            self.signatures.iter().map(|signature| signature.verifier.clone()).collect();
        facts::extract(&FactSources {
            verifiers: &verifiers,
            payload_hash: Some(self.payload_hash),
            statement,
            envelope_sha256: self.envelope_hash,
            ..FactSources::default()
        })
    }

    /// Reads the `spec` of 0.0.1 as it is logged.
    pub(super) fn parse_v001(spec: &str) -> Result<Self, EntryError> {
        let spec: LoggedV001 = serde_json::from_str(spec).map_err(malformed)?;
        let signatures = spec.signatures.into_iter().map(|logged| {
            let signature = from_base64_lenient(&logged.signature)
                .ok_or(EntryError::BadBase64("signatures.signature"))?;
            let verifier = verifier_from_base64_pem(&logged.verifier)?;
            Ok(DsseSignature { text: logged.signature, signature, verifier, details: None })
        });
        Ok(Self {
            kind: EntryKind::DsseV001,
            envelope_hash: Some(sha256_value(&spec.envelope_hash)?),
            payload_hash: sha256_value(&spec.payload_hash)?,
            signatures: signatures.collect::<Result<_, EntryError>>()?,
        })
    }

    /// Reads the `spec` of 0.0.2 as it is logged.
    pub(super) fn parse_v002(spec: &str) -> Result<Self, EntryError> {
        let spec: SpecV002 = serde_json::from_str(spec).map_err(malformed)?;
        let payload_hash = from_base64(&spec.dsse.payload_hash.digest)
            .and_then(|bytes| Hash::from_slice(&bytes))
            .filter(|_| spec.dsse.payload_hash.algorithm == "SHA2_256")
            .ok_or(EntryError::BadDigest)?;
        let signatures = spec.dsse.signatures.into_iter().map(|logged| {
            let signature = Bytes::required(logged.content, "signatures.content")?;
            let verifier = logged.verifier.ok_or(EntryError::Incomplete("signatures.verifier"))?;
            let (verifier, details) = verifier.0.read()?;
            let text = to_base64(&signature);
            Ok(DsseSignature { text, signature, verifier, details: Some(details) })
        });
        Ok(Self {
            kind: EntryKind::DsseV002,
            envelope_hash: None,
            payload_hash,
            signatures: signatures.collect::<Result<_, EntryError>>()?,
        })
    }

    fn into_verified(self, envelope: Envelope) -> Result<VerifiedEntry, EntryError> {
        let Envelope { payload_type, payload, .. } = envelope;
        let admitted = admit(&payload_type, payload, self.payload_hash)?;
        let facts = self.facts_with(admitted.as_ref().map(|admitted| &admitted.read));
        let statement = admitted.map(|admitted| admitted.kept);
        let (kind, body) = (self.kind, self.to_body());
        let verifiers = self.signatures.into_iter().map(|signature| signature.verifier).collect();
        VerifiedEntry::new(kind, body, facts, verifiers, statement)
    }
}

impl DsseSignature {
    /// Whether this signature is over `message`.
    pub(super) fn verifies(&self, message: &Signed<'_>) -> bool {
        verifies(message, self.verifier.key(), self.details, &self.signature)
    }

    fn to_json(&self) -> String {
        match self.details {
            None => {
                let verifier = to_base64(self.verifier.to_pem().as_bytes());
                format!(r#"{{"signature":"{}","verifier":"{verifier}"}}"#, self.text)
            }
            Some(details) => {
                let content = to_base64(&self.signature);
                let verifier = verifier_v002(&self.verifier, details);
                format!(r#"{{"content":"{content}","verifier":{verifier}}}"#)
            }
        }
    }
}

/// Reads and verifies the `spec` of a Rekor v1 submission.
pub(super) fn verify_v001(spec: &str) -> Result<VerifiedEntry, EntryError> {
    let proposal: ProposalV001 = serde_json::from_str(spec).map_err(malformed)?;
    let (dsse, envelope) = read_v001(proposal)?;
    dsse.into_verified(envelope)
}

/// The canonical bytes of what is searched for: a submission, or what is logged.
pub(super) fn query_v001(spec: &str) -> Result<Vec<u8>, EntryError> {
    let proposal: ProposalV001 = serde_json::from_str(spec).map_err(malformed)?;
    if proposal.proposed_content.is_some() {
        return Ok(read_v001(proposal)?.0.to_body());
    }
    let mut dsse = Dsse::parse_v001(spec)?;
    if !(1..=SIGNATURES_MAX).contains(&dsse.signatures.len()) {
        return Err(EntryError::Count { what: "signatures", max: SIGNATURES_MAX });
    }
    dsse.signatures.sort_by(|a, b| a.text.cmp(&b.text));
    Ok(dsse.to_body())
}

/// Reads and verifies a Rekor v1 submission; what comes out is not admitted yet.
fn read_v001(proposal: ProposalV001) -> Result<(Dsse, Envelope), EntryError> {
    let has_signatures = proposal.signatures.is_some_and(|signatures| !signatures.is_empty());
    let is_logged =
        proposal.envelope_hash.is_some() || proposal.payload_hash.is_some() || has_signatures;
    let proposed = proposal.proposed_content.ok_or_else(|| missing("proposedContent"))?;
    if is_logged {
        let both = "proposedContent is there, so envelopeHash, payloadHash and signatures must \
                    not be: they are what the log makes of it";
        return Err(EntryError::Malformed(both.to_owned()));
    }
    if proposed.verifiers.is_empty() || proposed.verifiers.len() > SIGNATURES_MAX {
        return Err(EntryError::Count { what: "verifiers", max: SIGNATURES_MAX });
    }
    let envelope = Envelope::parse(proposed.envelope.as_bytes())?;
    let mut signatures = match_v001(&envelope, &proposed.verifiers)?;
    signatures.sort_by(|a, b| a.text.cmp(&b.text));
    // Rekor knows signatures by their text, so the same one counts once.
    signatures.dedup_by(|a, b| a.text == b.text);
    let dsse = Dsse {
        kind: EntryKind::DsseV001,
        envelope_hash: Some(sha256(proposed.envelope.as_bytes())),
        payload_hash: sha256(&envelope.payload),
        signatures,
    };
    Ok((dsse, envelope))
}

/// Gives every signature of the envelope a verifier as Rekor v1 does: verifiers are read and tried
/// in order until each signature has one, and each that is tried must verify some signature. Those
/// that are left over are not looked at.
///
/// In Rekor the last verifier that fits has the signature. Here that takes the same key, once bare
/// and once in a certificate, which needs no second try; another key is tried only on signatures
/// that have no verifier yet. So ten verifiers and ten signatures are 55 tries at most.
fn match_v001(envelope: &Envelope, verifiers: &[String]) -> Result<Vec<DsseSignature>, EntryError> {
    let message = envelope.pae();
    let message = Signed::new(&message);
    let mut found: Vec<Option<Verifier>> = vec![None; envelope.signatures.len()];
    for content in verifiers {
        if found.iter().all(Option::is_some) {
            break;
        }
        let verifier = submitted_verifier(content)?;
        let mut verifies_one = false;
        for known in found.iter_mut().flatten().filter(|known| known.key() == verifier.key()) {
            *known = verifier.clone();
            verifies_one = true;
        }
        if verifies_one {
            // The key was tried on all the others when it came first.
            continue;
        }
        for (signature, found) in envelope.signatures.iter().zip(&mut found) {
            let is_open = found.is_none();
            if is_open && verifies(&message, verifier.key(), None, &signature.signature) {
                *found = Some(verifier.clone());
                verifies_one = true;
            }
        }
        if !verifies_one {
            return Err(EntryError::SignatureInvalid);
        }
    }
    let matched = envelope.signatures.iter().zip(found).map(|(signature, verifier)| {
        let (text, signature) = (signature.signature_text.clone(), signature.signature.clone());
        Some(DsseSignature { text, signature, verifier: verifier?, details: None })
    });
    matched.collect::<Option<_>>().ok_or(EntryError::VerifierUnused)
}

/// Verifies a Rekor v2 submission, in the order of rekor-tiles: what is missing, what cannot be
/// read, what does not fit.
pub(super) fn verify_v002(request: RequestV002) -> Result<VerifiedEntry, EntryError> {
    let Message(envelope) = request.envelope.ok_or(EntryError::Incomplete("envelope"))?;
    let verifiers = request.verifiers.unwrap_or_default();
    if verifiers.is_empty() || verifiers.len() > SIGNATURES_MAX {
        return Err(EntryError::Count { what: "verifiers", max: SIGNATURES_MAX });
    }
    verifiers.iter().try_for_each(|Message(verifier)| verifier.check())?;
    let envelope = envelope.read()?;
    let mut read: Vec<(Verifier, Option<KeyDetails>)> = Vec::new();
    for Message(verifier) in verifiers {
        let (verifier, details) = verifier.read()?;
        if !fits(details, verifier.key().kind()) {
            return Err(EntryError::AlgorithmNotAllowed);
        }
        if read.iter().any(|(earlier, _)| *earlier == verifier) {
            return Err(EntryError::VerifierUnused);
        }
        read.push((verifier, Some(details)));
    }
    let mut signatures = match_signatures(&envelope, read)?;
    signatures.sort_by(|a, b| a.signature.cmp(&b.signature));
    let payload_hash = sha256(&envelope.payload);
    let dsse = Dsse { kind: EntryKind::DsseV002, envelope_hash: None, payload_hash, signatures };
    dsse.into_verified(envelope)
}

/// Gives every signature of the envelope the verifier that it verifies under.
///
/// As in Rekor v2, verifiers are tried in order until no signature is left, and each one tried must
/// verify something.
fn match_signatures(
    envelope: &Envelope,
    verifiers: Vec<(Verifier, Option<KeyDetails>)>,
) -> Result<Vec<DsseSignature>, EntryError> {
    let message = pae(&envelope.payload_type, &envelope.payload);
    let message = Signed::new(&message);
    let mut waiting: Vec<_> = envelope.signatures.iter().collect();
    let mut matched = Vec::new();
    for (verifier, details) in verifiers {
        if waiting.is_empty() {
            break;
        }
        let before = matched.len();
        waiting.retain(|signature| {
            let verified = verifies(&message, verifier.key(), details, &signature.signature);
            if verified {
                matched.push(DsseSignature {
                    text: signature.signature_text.clone(),
                    signature: signature.signature.clone(),
                    verifier: verifier.clone(),
                    details,
                });
            }
            !verified
        });
        if matched.len() == before {
            return Err(EntryError::SignatureInvalid);
        }
    }
    if waiting.is_empty() { Ok(matched) } else { Err(EntryError::VerifierUnused) }
}

fn verifies(
    message: &Signed<'_>,
    key: &PublicKey,
    details: Option<KeyDetails>,
    signature: &[u8],
) -> bool {
    match details {
        None => message.verifies_dsse(key, signature),
        Some(KeyDetails::Ed25519ph) => message.verifies_hash(key, HashAlgorithm::Sha512, signature),
        Some(_) => message.verifies(key, signature),
    }
}

fn fits(details: KeyDetails, kind: KeyKind) -> bool {
    details == KeyDetails::prehashed(kind)
        || (details == KeyDetails::Ed25519 && kind == KeyKind::Ed25519)
}

// Rekor v1 ignores fields that it does not know, and its Go clients send nulls and extra hashes; so
// unknown fields pass.
#[derive(Deserialize)]
struct ProposalV001 {
    #[serde(rename = "proposedContent", default)]
    proposed_content: Option<ProposedContent>,
    #[serde(rename = "envelopeHash", default)]
    envelope_hash: Option<IgnoredAny>,
    #[serde(rename = "payloadHash", default)]
    payload_hash: Option<IgnoredAny>,
    #[serde(default)]
    signatures: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct ProposedContent {
    envelope: String,
    verifiers: Vec<String>,
}

#[derive(Deserialize)]
struct LoggedV001 {
    #[serde(rename = "envelopeHash")]
    envelope_hash: HashV001,
    #[serde(rename = "payloadHash")]
    payload_hash: HashV001,
    signatures: Vec<LoggedSignatureV001>,
}

#[derive(Deserialize)]
struct LoggedSignatureV001 {
    signature: String,
    verifier: String,
}

/// `DSSERequestV002`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestV002 {
    #[serde(default)]
    envelope: Option<Message<EnvelopeV002>>,
    #[serde(default)]
    verifiers: Option<Vec<Message<VerifierV002>>>,
}

/// An envelope in protojson, which is read by other rules than the text of one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeV002 {
    #[serde(default)]
    payload: Option<Bytes>,
    #[serde(rename = "payloadType", alias = "payload_type", default)]
    payload_type: Option<String>,
    #[serde(default)]
    signatures: Option<Vec<Message<EnvelopeSignatureV002>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EnvelopeSignatureV002 {
    #[serde(default)]
    sig: Option<Bytes>,
    #[serde(default)]
    keyid: Option<String>,
}

impl EnvelopeV002 {
    /// A payload and a type that are not there are empty, as for rekor-tiles.
    fn read(self) -> Result<Envelope, EntryError> {
        let signatures = self.signatures.unwrap_or_default();
        if signatures.is_empty() || signatures.len() > SIGNATURES_MAX {
            return Err(EntryError::Count { what: "signatures", max: SIGNATURES_MAX });
        }
        let signatures = signatures.into_iter().map(|Message(given)| {
            let signature = Bytes::required(given.sig, "signatures.sig")?;
            let signature_text = to_base64(&signature);
            Ok(EnvelopeSignature { signature, signature_text, keyid: given.keyid })
        });
        let signatures = signatures.collect::<Result<_, EntryError>>()?;
        let payload_type = self.payload_type.unwrap_or_default();
        Ok(Envelope { payload_type, payload: Bytes::or_empty(self.payload), signatures })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SpecV002 {
    #[serde(rename = "dsseV002")]
    dsse: LoggedV002,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoggedV002 {
    #[serde(rename = "payloadHash")]
    payload_hash: PayloadHashV002,
    signatures: Vec<SignatureV002>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayloadHashV002 {
    algorithm: String,
    digest: String,
}
