//! The Rekor v1 face. Contract: Rekor 1.5's OpenAPI document and what its clients rely on.
//!
//! Invariant: an answer's proof, root, size and note come from one snapshot; the note has one
//! signature line.

use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderValue, LOCATION};
use hyper::{Request, StatusCode};
use treering_proto::api::v1::{
    ConsistencyProof, EntryId, InclusionProof, LogEntries, LogEntry, LogInfo, TreeId, Verification,
    to_json,
};
use treering_proto::encoding::to_base64;
use treering_proto::entry::{EntryError, VerifiedEntry};
use treering_proto::hash::hash_leaf;
use treering_proto::proof::{plan_consistency, plan_inclusion};
use treering_proto::tree::{LeafIndex, TreeSize};

use super::App;
use super::gate::Visit;
use super::query::Query;
use super::reply::{Fault, JSON, NO_ENTRY, Reply, v1_read};
use super::submit::{NotSubmitted, Submitted, read_body, submit};
use crate::limits::V1_BODY_BYTES_MAX;
use crate::pool::{Logged, Outcome};
use crate::publisher::Snapshot;
use crate::seeded_bug::{self, SeededBug};

/// `POST /api/v1/log/entries`.
pub async fn serve_submit(visit: &mut Visit, request: Request<Incoming>) -> Result<Reply, Fault> {
    let app = visit.app();
    let app = app.as_ref();
    require_json(&request)?;
    let body = read_body(app, &visit.peer(), request, V1_BODY_BYTES_MAX).await?;
    let submitted = submit(visit, body, VerifiedEntry::from_v1_request).await;
    let Submitted { leaf, body, outcome, .. } = submitted.map_err(|error| match error {
        NotSubmitted::Fault(fault) => fault,
        NotSubmitted::Entry(error) => invalid(&error),
    })?;
    let id = EntryId { tree_id: tree_id(app), leaf }.to_string();
    let location = format!("{ENTRIES}/{id}");
    match outcome {
        Outcome::Logged(Logged { index, time, snapshot, set }) => {
            let set = set.expect("an entry of Rekor v1 gets a SET");
            let found = Found { index, time, body: &body, set };
            let entries = LogEntries::from([(id.clone(), log_entry(app, &snapshot, &found)?)]);
            let mut reply = super::reply::json(to_json(&entries));
            *reply.status_mut() = StatusCode::CREATED;
            let headers = reply.headers_mut();
            headers.insert(ETAG, ascii(&id));
            headers.insert(LOCATION, ascii(&location));
            Ok(reply)
        }
        Outcome::Duplicate(_) => {
            let message = format!(
                "an equivalent entry already exists in the transparency log with UUID {id}"
            );
            let fault = Fault::new(StatusCode::CONFLICT, "duplicate", message);
            Err(fault.with(LOCATION, &location))
        }
        Outcome::Refused(_) => unreachable!("refusals came back as faults"),
    }
}

/// `GET /api/v1/log/entries?logIndex=`.
pub fn serve_entry_by_index(app: &App, query: &Query) -> Result<Reply, Fault> {
    let text = query
        .one("logIndex")
        .ok_or_else(|| Fault::v1_invalid(602, "logIndex in query is required"))?;
    let number: i64 = text.parse().map_err(|_| {
        Fault::v1_invalid(601, format!("logIndex in query must be of type int64: {text:?}"))
    })?;
    let number = u64::try_from(number).map_err(|_| {
        Fault::v1_invalid(609, "logIndex in query should be greater than or equal to 0")
    })?;
    let index = LeafIndex::new(number).ok_or_else(no_entry)?;
    serve_entry(app, index)
}

/// `GET /api/v1/log/entries/{id}`.
pub fn serve_entry_by_id(app: &App, id: &str) -> Result<Reply, Fault> {
    let is_pattern = matches!(id.len(), 64 | 80) && id.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_pattern {
        let message = "entryUUID in path should match '^([0-9a-fA-F]{64}|[0-9a-fA-F]{80})$'";
        return Err(Fault::v1_invalid(605, message));
    }
    let parsed = EntryId::parse(id, tree_id(app))
        .map_err(|_| Fault::bad_request("invalid-entry-id", format!("invalid entryID {id}")))?;
    if parsed.tree_id != tree_id(app) {
        return Err(no_entry());
    }
    let index = app.store.index_of(&parsed.leaf).map_err(Fault::internal)?;
    serve_entry(app, index.ok_or_else(no_entry)?)
}

/// An operation that Rekor has and this log does not offer, refused as Rekor refuses it.
pub fn not_enabled(operation: &str) -> Fault {
    let message = format!("{operation} API not enabled in this Rekor instance");
    Fault::new(StatusCode::NOT_IMPLEMENTED, "not-enabled", message)
}

/// `GET /api/v1/log`.
pub fn serve_log_info(app: &App) -> Reply {
    let snapshot = app.published.snapshot();
    let info = LogInfo {
        inactive_shards: None,
        root_hash: snapshot.head.root.to_hex(),
        signed_tree_head: snapshot.v1_note.clone(),
        tree_id: tree_id(app).to_string(),
        tree_size: snapshot.head.size.get(),
    };
    v1_read(JSON, to_json(&info))
}

/// `GET /api/v1/log/publicKey`.
pub fn serve_public_key(
    app: &App,
    query: &Query,
    request: &Request<Incoming>,
) -> Result<Reply, Fault> {
    check_tree_id(app, query, || Fault::bad_request("unknown-tree", "Bad Request"))?;
    let pem = app.signer.identity().v1_key().to_pem();
    // sigstore-python's session asks for JSON everywhere, and takes the text as a JSON string.
    let wants_json = request
        .headers()
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("application/json") && !accept.contains("pem"));
    Ok(if wants_json {
        v1_read(JSON, to_json(&pem))
    } else {
        v1_read(HeaderValue::from_static("application/x-pem-file"), pem)
    })
}

/// `GET /api/v1/log/proof?firstSize=&lastSize=`.
pub fn serve_proof(app: &App, query: &Query) -> Result<Reply, Fault> {
    let last = size_parameter(query, "lastSize")?
        .ok_or_else(|| Fault::v1_invalid(602, "lastSize in query is required"))?;
    let first = size_parameter(query, "firstSize")?.unwrap_or(1);
    check_tree_id(app, query, || {
        let tree = query.one("treeID").unwrap_or_default();
        let message = format!("no log range found for tree ID {tree}");
        Fault::bad_request("unknown-tree", message)
    })?;
    let snapshot = app.published.snapshot();
    let current = snapshot.head.size;
    if first > last {
        let message = format!("firstSize({first}) must be less than lastSize({last})");
        return Err(Fault::bad_request("sizes-reversed", message));
    }
    let beyond = || {
        let message = format!(
            "the tree size requested({last}) was greater than what is currently observable({current})"
        );
        Fault::bad_request("size-beyond-log", message)
    };
    let sizes = TreeSize::new(first).zip(TreeSize::new(last).filter(|last| *last <= current));
    let (old, new) = sizes.ok_or_else(beyond)?;
    let plan = plan_consistency(old, new).map_err(Fault::internal)?;
    let hashes = app.store.build(&plan, &snapshot.edge).map_err(Fault::internal)?;
    let proof = ConsistencyProof {
        hashes: hashes.iter().map(|hash| hash.to_hex()).collect(),
        root_hash: snapshot.head.root.to_hex(),
    };
    Ok(v1_read(JSON, to_json(&proof)))
}

fn serve_entry(app: &App, index: LeafIndex) -> Result<Reply, Fault> {
    let snapshot = app.published.snapshot();
    if !snapshot.head.size.contains(index) {
        return Err(no_entry());
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
    let id = EntryId { tree_id: tree_id(app), leaf: hash_leaf(&body) }.to_string();
    let found = Found { index, time, body: &body, set };
    let entries = LogEntries::from([(id, log_entry(app, &snapshot, &found)?)]);
    Ok(v1_read(JSON, to_json(&entries)))
}

struct Found<'a> {
    index: LeafIndex,
    time: u64,
    body: &'a [u8],
    set: Vec<u8>,
}

fn log_entry(app: &App, snapshot: &Snapshot, found: &Found<'_>) -> Result<LogEntry, Fault> {
    let newer = seeded_bug::is(SeededBug::ProofFromNewerSize).then(|| app.published.snapshot());
    let proven = newer.as_deref().unwrap_or(snapshot);
    let plan = plan_inclusion(found.index, proven.head.size).map_err(Fault::internal)?;
    let hashes = app.store.build(&plan, &proven.edge).map_err(Fault::internal)?;
    Ok(LogEntry {
        body: to_base64(found.body),
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

fn invalid(error: &EntryError) -> Fault {
    match error {
        EntryError::UnknownKind(_) => {
            let fault = Fault::v1_invalid(422, error.to_string());
            Fault { label: "unknown-kind", ..fault }
        }
        EntryError::Missing(_) => {
            let fault = Fault::v1_invalid(602, error.to_string());
            Fault { label: "missing-field", ..fault }
        }
        EntryError::Malformed(why) => Fault::bad_request("malformed", why.clone()),
        EntryError::RefusedKind { .. } => Fault::bad_request("refused-kind", error.to_string()),
        other => {
            let message = format!("error processing entry: {other}");
            Fault::bad_request("invalid-entry", message)
        }
    }
}

fn require_json(request: &Request<Incoming>) -> Result<(), Fault> {
    let value = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.unwrap_or("application/octet-stream").split(';').next().unwrap_or("");
    if media_type.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let media_type: String = media_type.chars().take(80).collect();
    let message =
        format!("unsupported media type {media_type:?}, only [application/json] are allowed");
    Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", message))
}

fn size_parameter(query: &Query, name: &str) -> Result<Option<u64>, Fault> {
    let Some(text) = query.one(name) else { return Ok(None) };
    let number: i64 = text.parse().map_err(|_| {
        Fault::v1_invalid(601, format!("{name} in query must be of type int64: {text:?}"))
    })?;
    match u64::try_from(number) {
        Ok(size) if size > 0 => Ok(Some(size)),
        _ => {
            let message = format!("{name} in query should be greater than or equal to 1");
            Err(Fault::v1_invalid(609, message))
        }
    }
}

/// A `treeID` must be digits, and name our tree.
fn check_tree_id(app: &App, query: &Query, unknown: impl Fn() -> Fault) -> Result<(), Fault> {
    let Some(text) = query.one("treeID").filter(|text| !text.is_empty()) else { return Ok(()) };
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = "treeID in query should match '^[0-9]+$'";
        return Err(Fault::v1_invalid(605, message));
    }
    if text.parse().ok().and_then(TreeId::new) == Some(tree_id(app)) {
        Ok(())
    } else {
        Err(unknown())
    }
}

fn tree_id(app: &App) -> TreeId {
    app.signer.identity().tree_id()
}

fn no_entry() -> Fault {
    Fault::not_found(NO_ENTRY, "")
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("entry ids and paths are ASCII")
}

const ENTRIES: &str = "/api/v1/log/entries";
