//! `GET /api/v1/log`, its public key, and proofs that it only grows.

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use treering_proto::api::v1::{ConsistencyProof, LogInfo, code, to_json};
use treering_proto::proof::plan_consistency;
use treering_proto::tree::TreeSize;

use super::negotiate::{JSON_ONLY, PEM_OR_JSON, negotiate};
use super::{number, required, tree_id};
use crate::http::App;
use crate::http::query::Query;
use crate::http::reply::{Fault, Reply, json, plain};

/// `GET /api/v1/log`.
pub fn serve_log_info(app: &App, headers: &HeaderMap) -> Result<Reply, Fault> {
    negotiate(headers, JSON_ONLY)?;
    let snapshot = app.published.snapshot();
    let info = LogInfo {
        inactive_shards: None,
        root_hash: snapshot.head.root.to_hex(),
        signed_tree_head: snapshot.v1_note.clone(),
        tree_id: tree_id(app).to_string(),
        tree_size: snapshot.head.size.get(),
    };
    Ok(json(to_json(&info)))
}

/// `GET /api/v1/log/publicKey`. Whoever asks for JSON alone, as sigstore-python's session does for
/// everything, gets the text as a JSON string.
pub fn serve_public_key(app: &App, query: &Query, headers: &HeaderMap) -> Result<Reply, Fault> {
    let media_type = negotiate(headers, PEM_OR_JSON)?;
    let is_ours = match tree_parameter(query)? {
        None => true,
        Some(text) => parse_tree(text) == Some(tree_id(app).get()),
    };
    if !is_ours {
        return Err(Fault::bad_request("unknown-tree", "Bad Request"));
    }
    let pem = app.signer.identity().v1_key().to_pem();
    let is_json = JSON_ONLY.contains(&media_type);
    Ok(if is_json { json(to_json(&pem)) } else { plain(HeaderValue::from_static(media_type), pem) })
}

/// `GET /api/v1/log/proof?firstSize=&lastSize=`.
pub fn serve_proof(app: &App, query: &Query, headers: &HeaderMap) -> Result<Reply, Fault> {
    negotiate(headers, JSON_ONLY)?;
    let first = number(query, "firstSize", 1)?.unwrap_or(1).unsigned_abs();
    let last = number(query, "lastSize", 1)?.ok_or_else(|| required("lastSize"))?.unsigned_abs();
    let tree = tree_parameter(query)?;
    if first > last {
        let message = format!("firstSize({first}) must be less than lastSize({last})");
        return Err(Fault::bad_request("sizes-reversed", message));
    }
    if let Some(text) = tree {
        check_tree(app, text)?;
    }
    let snapshot = app.published.snapshot();
    let current = snapshot.head.size;
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
    Ok(json(to_json(&proof)))
}

/// The parameter `treeID`, which must be digits.
fn tree_parameter(query: &Query) -> Result<Option<&str>, Fault> {
    let Some(text) = query.last("treeID").filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Some(text));
    }
    Err(Fault::v1_invalid(code::PATTERN, "treeID in query should match '^[0-9]+$'"))
}

/// The number, if it is one that Rekor reads: 64 bits with a sign.
fn parse_tree(text: &str) -> Option<u64> {
    text.parse().ok().map(i64::unsigned_abs)
}

fn check_tree(app: &App, text: &str) -> Result<(), Fault> {
    let message = match parse_tree(text) {
        Some(id) if id == tree_id(app).get() => return Ok(()),
        Some(id) => format!("no log range found for tree ID {id}"),
        None => {
            let text: String = text.chars().take(64).collect();
            format!("invalid tree ID specified: {text}")
        }
    };
    Err(Fault::bad_request("unknown-tree", message))
}
