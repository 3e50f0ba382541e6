//! `GET /api/v1/log/entries`: one entry by its index or its id, with its proof and its promise; and
//! how every answer of this face shows an entry.
//!
//! Invariant: an entry at or above the size of the snapshot does not exist.

use std::sync::Arc;

use hyper::HeaderMap;
use treering_proto::api::v1::{
    Attestation, ENTRY_ID_PATTERN, EntryId, InclusionProof, LogEntries, LogEntry, Verification,
    code, is_entry_id, to_json,
};
use treering_proto::encoding::to_base64;
use treering_proto::entry::{Entry, EntryKind};
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::proof::plan_inclusion;
use treering_proto::tree::LeafIndex;

use super::negotiate::{JSON_ONLY, negotiate};
use super::{no_entry, number, required, tree_id};
use crate::http::App;
use crate::http::query::Query;
use crate::http::reply::{Fault, Reply, json};
use crate::limits::ATTESTATION_BYTES_MAX;
use crate::publisher::Snapshot;
use crate::seeded_bug::{self, SeededBug};
use crate::store::{Store, StoreError};

/// An entry, and what was decided when it was logged.
pub struct Found {
    /// Where it is.
    pub index: LeafIndex,
    /// When it was sequenced, Unix seconds.
    pub time: u64,
    /// Kind and version.
    pub kind: EntryKind,
    /// Its canonical bytes.
    pub body: Vec<u8>,
    /// The log's promise.
    pub set: Vec<u8>,
}

/// `GET /api/v1/log/entries?logIndex=`.
pub async fn serve_entry_by_index(
    app: &Arc<App>,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Reply, Fault> {
    negotiate(headers, JSON_ONLY)?;
    let number = number(query, "logIndex", 0)?.ok_or_else(|| required("logIndex"))?;
    let index = LeafIndex::new(number.unsigned_abs()).ok_or_else(no_entry)?;
    serve_entry(app, index).await
}

/// `GET /api/v1/log/entries/{id}`.
pub async fn serve_entry_by_id(
    app: &Arc<App>,
    id: &str,
    headers: &HeaderMap,
) -> Result<Reply, Fault> {
    negotiate(headers, JSON_ONLY)?;
    if !is_entry_id(id) {
        let message = format!("entryUUID in path should match '{ENTRY_ID_PATTERN}'");
        return Err(Fault::v1_invalid(code::PATTERN, message));
    }
    let parsed = match EntryId::parse(id, tree_id(app)) {
        Ok(parsed) if parsed.tree_id == tree_id(app) => parsed,
        // Another tree; or tree 0, which is none, and for which Rekor answers 500.
        Ok(_) => return Err(no_entry()),
        Err(_) if id.bytes().take(16).all(|digit| digit == b'0') => return Err(no_entry()),
        Err(_) => {
            let message = format!("validation error: {} is not a valid TreeID", &id[..16]);
            return Err(Fault::bad_request("invalid-entry-id", message));
        }
    };
    let index = app.store.index_of(&parsed.leaf).map_err(Fault::internal)?;
    serve_entry(app, index.ok_or_else(no_entry)?).await
}

async fn serve_entry(app: &Arc<App>, index: LeafIndex) -> Result<Reply, Fault> {
    let snapshot = app.published.snapshot();
    let found = find(app, &snapshot, index)?.ok_or_else(no_entry)?;
    if !found.kind.keeps_attestation() {
        return Ok(json(to_json(&shown(app, &snapshot, &found)?)));
    }
    // A payload may be megabytes.
    let reader = app.clone();
    let show = move || shown(&reader, &snapshot, &found).map(|entry| to_json(&entry));
    Ok(json(app.heavy.run(show).await??))
}

/// The entry at `index`, if it is in the tree of `snapshot`.
pub fn find(app: &App, snapshot: &Snapshot, index: LeafIndex) -> Result<Option<Found>, Fault> {
    if !snapshot.head.size.contains(index) {
        return Ok(None);
    }
    let body = app.store.entry(index).map_err(Fault::internal)?;
    let body = body.ok_or_else(|| Fault::internal(format!("entry {index} is missing")))?;
    let time = app.store.time(index).map_err(Fault::internal)?;
    let time = time.ok_or_else(|| Fault::internal(format!("time of {index} is missing")))?;
    // Entries that came through another face have no SET yet; one made now says the same.
    let set = app.store.set(index).map_err(Fault::internal)?;
    let set = match set {
        Some(set) => set,
        // A log that is behind what it signed signs nothing.
        None if app.health.is_behind() => {
            let message =
                "the log was restored and is behind; it promises nothing until it is whole";
            return Err(Fault::unavailable("restored-behind", message));
        }
        None => app.signer.set(&body, time, index),
    };
    let kind = EntryKind::of_body(&body).map_err(Fault::internal)?;
    Ok(Some(Found { index, time, kind, body, set }))
}

/// The entry as reads show it, under its id.
pub fn shown(app: &App, snapshot: &Snapshot, found: &Found) -> Result<LogEntries, Fault> {
    let id = EntryId { tree_id: tree_id(app), leaf: hash_leaf(&found.body) }.to_string();
    let entry = log_entry(app, snapshot, found)?;
    Ok(LogEntries::from([(id, LogEntry { attestation: attestation(app, found)?, ..entry })]))
}

/// The entry with its proof in the tree of `snapshot`.
pub fn log_entry(app: &App, snapshot: &Snapshot, found: &Found) -> Result<LogEntry, Fault> {
    let newer = seeded_bug::is(SeededBug::ProofFromNewerSize).then(|| app.published.snapshot());
    let proven = newer.as_deref().unwrap_or(snapshot);
    let plan = plan_inclusion(found.index, proven.head.size).map_err(Fault::internal)?;
    let hashes = app.store.build(&plan, &proven.edge).map_err(Fault::internal)?;
    Ok(LogEntry {
        attestation: None,
        body: to_base64(&found.body),
        integrated_time: found.time,
        log_id: app.signer.v1_log_id().to_owned(),
        log_index: found.index.get(),
        verification: Verification {
            inclusion_proof: InclusionProof {
                checkpoint: snapshot.v1_note.clone(),
                hashes: hashes.iter().map(|hash| hash.to_hex()).collect(),
                log_index: found.index.get(),
                root_hash: snapshot.head.root.to_hex(),
                tree_size: snapshot.head.size.get(),
            },
            signed_entry_timestamp: to_base64(&found.set),
        },
    })
}

/// The payload of the entry, for kinds that show it, if it is kept and not too long.
fn attestation(app: &App, found: &Found) -> Result<Option<Attestation>, Fault> {
    if !found.kind.keeps_attestation() {
        return Ok(None);
    }
    let entry = Entry::parse(&found.body).map_err(Fault::internal)?;
    let Some(payload_hash) = entry.payload_hash() else { return Ok(None) };
    kept(&app.store, &payload_hash).map_err(Fault::internal)
}

fn kept(store: &Store, payload_hash: &Hash) -> Result<Option<Attestation>, StoreError> {
    let payload = store.statement(payload_hash)?;
    let payload = payload.filter(|payload| payload.len() <= ATTESTATION_BYTES_MAX);
    Ok(payload.map(|payload| Attestation { data: to_base64(&payload) }))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::pkcs8::EncodePublicKey as _;
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::json;
    use treering_proto::dsse_envelope::{IN_TOTO_PAYLOAD_TYPE, pae};
    use treering_proto::entry::VerifiedEntry;
    use treering_proto::hash::sha256;
    use treering_proto::key::PublicKey;

    use super::*;
    use crate::test_log::TestLog;

    /// A statement of `len` bytes.
    fn statement(len: usize) -> Vec<u8> {
        let statement = |padding: usize| {
            json!({
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{ "digest": { "sha256": "ab".repeat(32) } }],
                "predicateType": "https://example.com/p",
                "predicate": { "padding": " ".repeat(padding) },
            })
            .to_string()
            .into_bytes()
        };
        statement(len - statement(0).len())
    }

    fn entry(payload: &[u8]) -> VerifiedEntry {
        let key = SigningKey::from_bytes(&[7; 32]);
        let spki = key.verifying_key().to_public_key_der().unwrap();
        let pem = PublicKey::from_spki_der(spki.as_bytes()).unwrap().to_pem();
        let signature = key.sign(&pae(IN_TOTO_PAYLOAD_TYPE, payload)).to_bytes();
        let envelope = json!({
            "payload": to_base64(payload), "payloadType": IN_TOTO_PAYLOAD_TYPE,
            "signatures": [{ "sig": to_base64(&signature) }],
        });
        let content = json!({
            "envelope": envelope.to_string(), "verifiers": [to_base64(pem.as_bytes())],
        });
        let request = json!({
            "kind": "dsse", "apiVersion": "0.0.1", "spec": { "proposedContent": content },
        });
        VerifiedEntry::from_v1_request(request.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_payload_is_shown_whole_or_not_at_all() {
        let (longest, too_long) =
            (statement(ATTESTATION_BYTES_MAX), statement(ATTESTATION_BYTES_MAX + 1));
        assert_eq!((longest.len(), too_long.len()), (100 << 10, (100 << 10) + 1));
        let mut log = TestLog::new();
        log.append(&[entry(&longest), entry(&too_long)]);
        let shown = |payload: &[u8]| kept(&log.store, &sha256(payload)).unwrap();
        assert_eq!(shown(&longest), Some(Attestation { data: to_base64(&longest) }));
        assert_eq!(shown(&too_long), None);
        assert_eq!(shown(b"no statement of this log"), None);
    }
}
