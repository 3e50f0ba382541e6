//! From the wire into a history: submissions with their answers, entries with their proofs,
//! searches, consistency proofs.
//!
//! Invariant: whatever the log answers, it becomes an event; nothing here panics on an answer.

use std::io;

use serde_json::Value;
use treering_proto::api::v1::{LogEntries, LogEntry, set_payload};
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::checkpoint::Checkpoint;
use treering_proto::encoding::{from_base64, from_hex_lower, to_base64};
use treering_proto::entry::EntryKind;
use treering_proto::hash::{Hash, hash_leaf, sha256};
use treering_proto::note::Note;
use treering_proto::proof::root_from_inclusion;
use treering_proto::tree::{LeafIndex, TreeHead, TreeSize};

use super::event::{Answer, Bundle, Kind, SeenConsistency, SeenSearch, Set, Span, Told, Who, now};
use crate::http::{Connection, Response};
use crate::submission::{Face, Submission};

/// The label of a success that could not be read.
const UNREADABLE: &str = "unreadable";

/// Submits, and tells what came of it. For a v1 duplicate the index is looked up under its
/// `Location`. After [`Answer::Unknown`] the connection is of no use.
pub fn ask(connection: &mut Connection, submission: &Submission, who: Who) -> Told {
    let start = now();
    let response = connection.post(submission.face.path(), &submission.request);
    let span = Span { start, end: now() };
    let answer = match response {
        Err(_) => Answer::Unknown,
        Ok(response) => read_answer(connection, submission.face, &response),
    };
    let (kind, leaf) = (kind_of(submission), submission.entry.leaf());
    Told { who, span, kind, leaf, answer }
}

/// What an answer says. A duplicate whose place cannot be learnt is a refusal with 409.
pub fn read_answer(connection: &mut Connection, face: Face, response: &Response) -> Answer<String> {
    let bundle = |response: &Response| match face {
        Face::V1 => v1_bundle(&response.body),
        Face::V2 => v2_bundle(&response.body),
    };
    let refused = |label: &str| {
        let label = response.header("treering-error").unwrap_or(label).to_owned();
        Answer::Refused { status: response.status, label }
    };
    match (response.status, face) {
        (200..300, _) => bundle(response).map_or_else(|| refused(UNREADABLE), Answer::Logged),
        (409, Face::V1) => match v1_duplicate(connection, response) {
            Ok(Some(index)) => Answer::Duplicate { index },
            Ok(None) | Err(_) => refused(UNREADABLE),
        },
        (409, Face::V2) => {
            let index = response.header("x-log-index").and_then(|text| text.parse().ok());
            index.map_or_else(|| refused(UNREADABLE), |index| Answer::Duplicate { index })
        }
        _ => refused(""),
    }
}

fn v1_duplicate(connection: &mut Connection, response: &Response) -> io::Result<Option<u64>> {
    let Some(location) = response.header("location") else { return Ok(None) };
    let found = connection.get(location)?;
    Ok(v1_bundle(&found.body).map(|bundle| bundle.index))
}

/// The entry in an answer of the Rekor v1 face; `None` if it is not exactly one.
pub fn v1_bundle(answer: &[u8]) -> Option<Bundle<String>> {
    let entries: LogEntries = serde_json::from_slice(answer).ok()?;
    let entries: Vec<LogEntry> = entries.into_values().collect();
    let [entry]: [LogEntry; 1] = entries.try_into().ok()?;
    let leaf = hash_leaf(&from_base64(&entry.body)?);
    let proof = &entry.verification.inclusion_proof;
    let head = TreeHead { size: TreeSize::new(proof.tree_size)?, root: hash(&proof.root_hash)? };
    let hashes: Option<Vec<Hash>> = proof.hashes.iter().map(|text| hash(text)).collect();
    let led_to = led_to(proof.log_index, head, leaf, &hashes?, &proof.checkpoint);
    let payload = set_payload(&entry.body, entry.integrated_time, &entry.log_id, entry.log_index);
    let signature = from_base64(&entry.verification.signed_entry_timestamp)?;
    let set = Set { digest: sha256(&payload), signature: signature.into() };
    Some(Bundle {
        index: entry.log_index,
        leaf,
        time: Some(entry.integrated_time),
        note: proof.checkpoint.clone(),
        led_to: led_to.filter(|_| proof.log_index == entry.log_index),
        set: Some(set),
    })
}

/// The entry in an answer of the Rekor v2 face, or of the log's own; `None` if it is not one.
pub fn v2_bundle(answer: &[u8]) -> Option<Bundle<String>> {
    let entry = TransparencyLogEntry::parse(answer).ok()?;
    let leaf = hash_leaf(&entry.canonicalized_body);
    let (index, proof) = (entry.log_index.get(), &entry.inclusion_proof);
    let head = TreeHead { size: proof.tree_size, root: proof.root_hash };
    let led_to = led_to(proof.log_index.get(), head, leaf, &proof.hashes, &proof.checkpoint);
    let set = entry.inclusion_promise.map(|signature| {
        let body = to_base64(&entry.canonicalized_body);
        let payload = set_payload(&body, entry.integrated_time, &entry.log_id.to_hex(), index);
        Set { digest: sha256(&payload), signature: signature.into() }
    });
    Some(Bundle {
        index,
        leaf,
        time: Some(entry.integrated_time).filter(|time| *time != 0),
        note: proof.checkpoint.clone(),
        led_to: led_to.filter(|_| proof.log_index == entry.log_index),
        set,
    })
}

/// The checkpoint in an answer of the Rekor v1 face about the log.
pub fn v1_head(answer: &[u8]) -> Option<String> {
    let info: Value = serde_json::from_slice(answer).ok()?;
    Some(info["signedTreeHead"].as_str()?.to_owned())
}

/// Searches for the entries of a key, of which those with the leaves `wanted` are known; `None` if
/// the log does not answer, or refuses.
pub fn search(
    connection: &mut Connection,
    who: Who,
    key: &str,
    wanted: Vec<Hash>,
) -> Option<SeenSearch> {
    let start = now();
    let path = format!("/api/treering/v1/search?public-key={key}&limit=1000&order=newest");
    let response = connection.get(&path).ok().filter(|response| response.status == 200)?;
    let span = Span { start, end: now() };
    let answer: Value = serde_json::from_slice(&response.body).ok()?;
    let hit = |hit: &Value| {
        let index = hit["index"].as_str()?.parse().ok()?;
        // The id of an entry is the tree's in 16 digits and the leaf.
        Some((index, hash(hit["entryId"].as_str()?.get(16..)?)?))
    };
    let found = answer["entries"].as_array()?.iter().map(hit).collect::<Option<Vec<_>>>()?;
    let is_whole = answer["next"].is_null();
    Some(SeenSearch { who, span, wanted, found, is_whole })
}

/// Asks the Rekor v1 face for the proof between two heads; `None` if it does not give one.
pub fn consistency(
    connection: &mut Connection,
    who: Who,
    old: TreeHead,
    new: TreeHead,
) -> Option<SeenConsistency> {
    let start = now();
    let path = format!("/api/v1/log/proof?firstSize={}&lastSize={}", old.size, new.size);
    let response = connection.get(&path).ok().filter(|response| response.status == 200)?;
    let span = Span { start, end: now() };
    let answer: Value = serde_json::from_slice(&response.body).ok()?;
    let hashes = answer["hashes"].as_array()?.iter().map(|text| hash(text.as_str()?));
    let hashes = hashes.collect::<Option<Vec<_>>>()?;
    Some(SeenConsistency { who, span, old, new, hashes })
}

/// The root that a proof leads to, if proof, answer and checkpoint are of one size and root.
fn led_to(index: u64, head: TreeHead, leaf: Hash, proof: &[Hash], note: &str) -> Option<Hash> {
    let signed = Checkpoint::parse(&Note::parse(note.as_bytes()).ok()?.text).ok()?;
    let root = root_from_inclusion(LeafIndex::new(index)?, head.size, leaf, proof).ok()?;
    (signed.head.size == head.size && root == head.root).then_some(root)
}

fn hash(hex: &str) -> Option<Hash> {
    Hash::from_slice(&from_hex_lower(hex)?)
}

/// Which kind of entry through which face.
pub fn kind_of(submission: &Submission) -> Kind {
    let is_dsse = matches!(submission.entry.kind(), EntryKind::DsseV001 | EntryKind::DsseV002);
    match (submission.face, is_dsse) {
        (Face::V1, false) => Kind::HashedRekordV1,
        (Face::V2, false) => Kind::HashedRekordV2,
        (Face::V1, true) => Kind::DsseV1,
        (Face::V2, true) => Kind::DsseV2,
    }
}
