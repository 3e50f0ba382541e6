//! The log entry message of the Rekor v2 API, which Sigstore bundles carry too
//! (`dev.sigstore.rekor.v1.TransparencyLogEntry`): an entry and the proof that the log has it.
//!
//! Invariants: an entry read here has an inclusion proof with a checkpoint (bundle v0.3 demands
//! both), positions that a tree can have, and hashes of 32 bytes. Whether the proof proves anything
//! is for the verifier.

use serde::Serialize;
use serde_json::Value;

use crate::hash::Hash;
use crate::protojson::{Base64, FieldError, Int64, Object};
use crate::tree::{LeafIndex, TreeSize};

/// Hashes of one inclusion proof: a tree of 2^53 leaves has 53 levels below its root.
pub const PROOF_HASHES_MAX: usize = 53;

/// An entry of a transparency log and its proof of inclusion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransparencyLogEntry {
    /// Position in the log. Where a log has shards this may differ from the proof's index.
    pub log_index: LeafIndex,
    /// The key id of the log, all 32 bytes.
    pub log_id: Hash,
    /// Kind of the entry, such as `dsse`.
    pub kind: String,
    /// Version of the kind, such as `0.0.1`.
    pub kind_version: String,
    /// Unix seconds; 0 when the log does not say.
    pub integrated_time: u64,
    /// The signed entry timestamp, where the log gives one (Rekor v1).
    pub inclusion_promise: Option<Vec<u8>>,
    /// The proof.
    pub inclusion_proof: InclusionProof,
    /// The entry itself, as it is hashed into the leaf.
    pub canonicalized_body: Vec<u8>,
}

/// An RFC 6962 inclusion proof and the checkpoint that it leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InclusionProof {
    /// Index of the leaf; below `tree_size`.
    pub log_index: LeafIndex,
    /// Size of the tree that the proof is for.
    pub tree_size: TreeSize,
    /// Root of that tree.
    pub root_hash: Hash,
    /// Siblings from the leaf to the root: at most [`PROOF_HASHES_MAX`].
    pub hashes: Vec<Hash>,
    /// The signed note that states size and root.
    pub checkpoint: String,
}

impl TransparencyLogEntry {
    /// Reads the JSON form. Unknown fields are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, FieldError> {
        Self::from_object(Object::parse(bytes)?)
    }

    /// The JSON form that the v2 API answers with: every field is present, an absent promise is
    /// null.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&EntryJson::new(self, Unset::Null))
            .expect("strings and lists always serialize")
    }

    pub(crate) fn from_value(value: Value) -> Result<Self, FieldError> {
        Self::from_object(Object::from_value(value, "tlogEntries")?)
    }

    fn from_object(mut object: Object) -> Result<Self, FieldError> {
        let mut log_id = object.object("logId")?;
        let mut kind_version = object.object("kindVersion")?;
        let promise = object.optional_object("inclusionPromise")?;
        let entry = Self {
            log_index: index(&mut object)?,
            log_id: log_id.hash("keyId")?,
            kind: kind_version.text("kind")?,
            kind_version: kind_version.text("version")?,
            integrated_time: object.int64("integratedTime")?,
            inclusion_promise: promise.map(read_promise).transpose()?,
            inclusion_proof: InclusionProof::from_object(object.object("inclusionProof")?)?,
            canonicalized_body: object.bytes("canonicalizedBody")?,
        };
        log_id.finish()?;
        kind_version.finish()?;
        object.finish()?;
        Ok(entry)
    }
}

impl InclusionProof {
    fn from_object(mut object: Object) -> Result<Self, FieldError> {
        let mut checkpoint = object.object("checkpoint")?;
        let proof = Self {
            log_index: index(&mut object)?,
            tree_size: TreeSize::new(object.int64("treeSize")?)
                .ok_or(FieldError::Malformed("treeSize"))?,
            root_hash: object.hash("rootHash")?,
            hashes: object
                .list("hashes", PROOF_HASHES_MAX)?
                .iter()
                .map(|value| value.as_str().and_then(hash).ok_or(FieldError::Malformed("hashes")))
                .collect::<Result<_, _>>()?,
            checkpoint: checkpoint.text("envelope")?,
        };
        checkpoint.finish()?;
        object.finish()?;
        if !proof.tree_size.contains(proof.log_index) {
            return Err(FieldError::Malformed("logIndex"));
        }
        Ok(proof)
    }
}

fn index(object: &mut Object) -> Result<LeafIndex, FieldError> {
    LeafIndex::new(object.int64("logIndex")?).ok_or(FieldError::Malformed("logIndex"))
}

fn hash(text: &str) -> Option<Hash> {
    Hash::from_slice(&crate::encoding::from_base64(text)?)
}

fn read_promise(mut object: Object) -> Result<Vec<u8>, FieldError> {
    let timestamp = object.bytes("signedEntryTimestamp")?;
    object.finish()?;
    Ok(timestamp)
}

/// How a promise that is not there is written.
#[derive(Clone, Copy)]
pub(crate) enum Unset {
    /// As `null`: what the API does.
    Null,
    /// Not at all: what every reader of bundles accepts.
    Omit,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EntryJson<'a> {
    log_index: Int64,
    log_id: LogIdJson<'a>,
    kind_version: KindVersionJson<'a>,
    integrated_time: Int64,
    #[serde(skip_serializing_if = "Option::is_none")]
    inclusion_promise: Option<Option<PromiseJson<'a>>>,
    inclusion_proof: ProofJson<'a>,
    canonicalized_body: Base64<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogIdJson<'a> {
    key_id: Base64<'a>,
}

#[derive(Serialize)]
struct KindVersionJson<'a> {
    kind: &'a str,
    version: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PromiseJson<'a> {
    signed_entry_timestamp: Base64<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProofJson<'a> {
    log_index: Int64,
    root_hash: Base64<'a>,
    tree_size: Int64,
    hashes: Vec<Base64<'a>>,
    checkpoint: CheckpointJson<'a>,
}

#[derive(Serialize)]
struct CheckpointJson<'a> {
    envelope: &'a str,
}

impl<'a> EntryJson<'a> {
    pub(crate) fn new(entry: &'a TransparencyLogEntry, unset: Unset) -> Self {
        let proof = &entry.inclusion_proof;
        let promise = entry
            .inclusion_promise
            .as_deref()
            .map(|bytes| PromiseJson { signed_entry_timestamp: Base64(bytes) });
        Self {
            log_index: Int64(entry.log_index.get()),
            log_id: LogIdJson { key_id: Base64(entry.log_id.as_bytes()) },
            kind_version: KindVersionJson { kind: &entry.kind, version: &entry.kind_version },
            integrated_time: Int64(entry.integrated_time),
            inclusion_promise: match unset {
                Unset::Null => Some(promise),
                Unset::Omit => promise.map(Some),
            },
            inclusion_proof: ProofJson {
                log_index: Int64(proof.log_index.get()),
                root_hash: Base64(proof.root_hash.as_bytes()),
                tree_size: Int64(proof.tree_size.get()),
                hashes: proof.hashes.iter().map(|hash| Base64(hash.as_bytes())).collect(),
                checkpoint: CheckpointJson { envelope: &proof.checkpoint },
            },
            canonicalized_body: Base64(&entry.canonicalized_body),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample_entry() -> TransparencyLogEntry {
        TransparencyLogEntry {
            log_index: LeafIndex::new(0).unwrap(),
            log_id: Hash([1; 32]),
            kind: "dsse".into(),
            kind_version: "0.0.1".into(),
            integrated_time: 0,
            inclusion_promise: None,
            inclusion_proof: InclusionProof {
                log_index: LeafIndex::new(0).unwrap(),
                tree_size: TreeSize::new(1).unwrap(),
                root_hash: Hash([2; 32]),
                hashes: vec![],
                checkpoint: "log.example\n1\nroot\n\n\u{2014} log.example sig\n".into(),
            },
            canonicalized_body: b"{}".to_vec(),
        }
    }

    #[test]
    fn writes_every_field_with_integers_as_strings_and_a_null_promise() {
        let id = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        let root = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
        let expected = format!(
            "{{\"logIndex\":\"0\",\"logId\":{{\"keyId\":\"{id}\"}},\
             \"kindVersion\":{{\"kind\":\"dsse\",\"version\":\"0.0.1\"}},\"integratedTime\":\"0\",\
             \"inclusionPromise\":null,\"inclusionProof\":{{\"logIndex\":\"0\",\
             \"rootHash\":\"{root}\",\"treeSize\":\"1\",\"hashes\":[],\"checkpoint\":{{\
             \"envelope\":\"log.example\\n1\\nroot\\n\\n\u{2014} log.example sig\\n\"}}}},\
             \"canonicalizedBody\":\"e30=\"}}"
        );
        assert_eq!(String::from_utf8(sample_entry().to_json()).unwrap(), expected);
    }

    #[test]
    fn survives_writing_and_reading_with_and_without_a_promise() {
        let mut entry = sample_entry();
        assert_eq!(TransparencyLogEntry::parse(&entry.to_json()).unwrap(), entry);
        entry.inclusion_promise = Some(vec![7; 70]);
        entry.inclusion_proof.hashes = vec![Hash([3; 32]); PROOF_HASHES_MAX];
        entry.integrated_time = 1_700_000_000;
        assert_eq!(TransparencyLogEntry::parse(&entry.to_json()).unwrap(), entry);
    }

    #[test]
    fn reads_integers_that_are_numbers_and_absent_zeros() {
        let text = String::from_utf8(sample_entry().to_json()).unwrap();
        let numbers = text
            .replace(r#""treeSize":"1""#, r#""treeSize":1"#)
            .replace(r#""integratedTime":"0","#, "")
            .replace(r#""inclusionPromise":null,"#, "");
        assert_eq!(TransparencyLogEntry::parse(numbers.as_bytes()).unwrap(), sample_entry());
    }

    #[test]
    fn refuses_unknown_fields_bad_hashes_and_an_index_outside_the_tree() {
        let text = String::from_utf8(sample_entry().to_json()).unwrap();
        for (from, to) in [
            (r#"{"logIndex""#, r#"{"extra":1,"logIndex""#),
            (r#""hashes":[]"#, r#""hashes":["AA=="]"#),
            (r#""treeSize":"1""#, r#""treeSize":"0""#),
            (r#""kind":"dsse""#, r#""kind":"dsse","kind":"dsse""#),
            (r#""envelope":"#, r#""text":"#),
            (r#""integratedTime":"0""#, r#""integratedTime":"-1""#),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert!(TransparencyLogEntry::parse(changed.as_bytes()).is_err(), "{to}");
        }
    }
}
