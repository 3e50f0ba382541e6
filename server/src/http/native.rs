//! Treering's own face: one entry with its proof, search, statements. Documented in
//! `docs/design.md`.
//!
//! Search answers are hints from the log: a client proves each hit by its inclusion, and
//! completeness only by reading the whole log.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};
use treering_proto::api::v1::EntryId;
use treering_proto::api::v2::{InclusionProof, TransparencyLogEntry};
use treering_proto::encoding::{from_hex_lower, to_base64};
use treering_proto::entry::EntryKind;
use treering_proto::facts::{Tag, search_key};
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::proof::plan_inclusion;
use treering_proto::tree::{LeafIndex, TreeSize};

use super::App;
use super::accept::Peer;
use super::query::Query;
use super::reply::{Fault, JSON, Reply, immutable, json, plain, with_body};
use super::submit::read_body;
use crate::limits::{
    BULK_BODY_BYTES_MAX, BULK_BYTES_MAX, BULK_STATEMENTS_MAX, SEARCH_LIMIT_MAX, SEARCH_READS_MAX,
    SEARCH_TERMS_MAX,
};
use crate::publisher::Snapshot;
use crate::seeded_bug::{self, SeededBug};
use crate::store::Order;

/// `GET /api/treering/v1/entries/{index}`: one `TransparencyLogEntry` with the C2SP checkpoint.
pub fn serve_entry(app: &App, index: &str) -> Result<Reply, Fault> {
    let number = index.parse().ok().filter(|number: &u64| number.to_string() == index);
    let index = number
        .and_then(LeafIndex::new)
        .ok_or_else(|| Fault::bad_request("malformed-index", "an index is a decimal number"))?;
    let snapshot = app.published.snapshot();
    if !snapshot.head.size.contains(index) {
        let message = format!("the log has {} entries, none at {index}", snapshot.head.size);
        return Err(Fault::not_found("no-entry-at-index", message));
    }
    let body = app.store.entry(index).map_err(Fault::internal)?;
    let body = body.ok_or_else(|| Fault::internal(format!("entry {index} is missing")))?;
    let kind = EntryKind::of_body(&body).map_err(Fault::internal)?;
    Ok(json(log_entry(app, &snapshot, index, &body, kind)?.to_json()))
}

/// The entry at `index` with its proof in the tree of `snapshot`.
pub fn log_entry(
    app: &App,
    snapshot: &Snapshot,
    index: LeafIndex,
    body: &[u8],
    kind: EntryKind,
) -> Result<TransparencyLogEntry, Fault> {
    let newer = seeded_bug::is(SeededBug::ProofFromNewerSize).then(|| app.published.snapshot());
    let proven = newer.as_deref().unwrap_or(snapshot);
    let plan = plan_inclusion(index, proven.head.size).map_err(Fault::internal)?;
    let hashes = app.store.build(&plan, &proven.edge).map_err(Fault::internal)?;
    Ok(TransparencyLogEntry {
        log_index: index,
        log_id: app.signer.identity().note_key().key_id_full(),
        kind: kind.kind().to_owned(),
        kind_version: kind.version().to_owned(),
        // The log's word about time is not covered by this proof; Rekor v2 says 0 for that reason.
        integrated_time: 0,
        inclusion_promise: None,
        inclusion_proof: InclusionProof {
            log_index: index,
            tree_size: snapshot.head.size,
            root_hash: snapshot.head.root,
            hashes,
            checkpoint: snapshot.note.clone(),
        },
        canonicalized_body: body.to_vec(),
    })
}

/// The answer to a search.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SearchAnswer {
    /// Size of the tree that was searched.
    tree_size: String,
    entries: Vec<Hit>,
    /// Where the next page starts; absent at the end.
    next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hit {
    index: String,
    entry_id: String,
    kind: &'static str,
    version: &'static str,
    /// Unix seconds, the log's word.
    time: u64,
}

/// What a search asks for.
struct Search {
    keys: Vec<Hash>,
    cursor: Option<u64>,
    limit: usize,
    order: Order,
}

/// `GET /api/treering/v1/search?TAG=VALUE&...`: entries that have every one of the facts.
pub async fn serve_search(app: &Arc<App>, query: &Query) -> Result<Reply, Fault> {
    let search = Search::parse(query)?;
    let searched = app.clone();
    let answer = app.heavy.run(move || search.answer(&searched)).await??;
    let body = serde_json::to_vec(&answer).map_err(Fault::internal)?;
    Ok(with_body(JSON, body.into()))
}

impl Search {
    fn parse(query: &Query) -> Result<Self, Fault> {
        let mut search = Self {
            keys: Vec::new(),
            cursor: None,
            limit: SEARCH_LIMIT_DEFAULT,
            order: Order::Newest,
        };
        for (name, value) in query.all() {
            let number = || {
                let message = format!("{name} must be a decimal number");
                value.parse::<u64>().map_err(|_| Fault::bad_request("malformed-parameter", message))
            };
            match name.as_str() {
                "cursor" => search.cursor = Some(number()?),
                "limit" => search.limit = (number()? as usize).clamp(1, SEARCH_LIMIT_MAX),
                "order" if value == "newest" => search.order = Order::Newest,
                "order" if value == "oldest" => search.order = Order::Oldest,
                "order" => {
                    let message = "order must be newest or oldest";
                    return Err(Fault::bad_request("malformed-parameter", message));
                }
                name => {
                    let tag = Tag::from_name(name).ok_or_else(|| unknown_tag(name))?;
                    search.keys.push(search_key(tag, value.as_bytes()));
                }
            }
        }
        if (1..=SEARCH_TERMS_MAX).contains(&search.keys.len()) {
            search.keys.sort();
            search.keys.dedup();
            return Ok(search);
        }
        let message = format!("give 1 to {SEARCH_TERMS_MAX} of: {}", tag_names());
        Err(Fault::bad_request("search-terms", message))
    }

    fn answer(&self, app: &App) -> Result<SearchAnswer, Fault> {
        let size = app.published.snapshot().head.size;
        let (found, next) = self.run(app, size)?;
        let entries = found.into_iter().map(|index| hit(app, index)).collect::<Result<_, _>>()?;
        let next = next.map(|next| next.to_string());
        Ok(SearchAnswer { tree_size: size.to_string(), entries, next })
    }

    /// Walks the postings of the first term and keeps those that every other term has, too.
    ///
    /// Bounded by what it reads: a page may come back short, or empty, with a cursor to go on from.
    fn run(&self, app: &App, size: TreeSize) -> Result<(Vec<LeafIndex>, Option<u64>), Fault> {
        let (first, others) = self.keys.split_first().expect("parsing left at least one term");
        let candidates_max = match others.len() {
            0 => self.limit + 1,
            others => SEARCH_READS_MAX / (1 + others),
        };
        let candidates = app.store.postings(first, self.cursor, size, self.order, candidates_max);
        let candidates = candidates.map_err(Fault::internal)?;
        let is_cut = candidates.len() == candidates_max;
        let mut found = Vec::new();
        let mut last = None;
        for index in candidates {
            if found.len() == self.limit {
                return Ok((found, Some(index.get())));
            }
            if has_all(app, index, others)? {
                found.push(index);
            }
            last = Some(index.get());
        }
        let next = last.filter(|_| is_cut).and_then(|last| match self.order {
            Order::Oldest => Some(last + 1),
            Order::Newest => last.checked_sub(1),
        });
        Ok((found, next))
    }
}

fn has_all(app: &App, index: LeafIndex, keys: &[Hash]) -> Result<bool, Fault> {
    for key in keys {
        if !app.store.is_posted(key, index).map_err(Fault::internal)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn hit(app: &App, index: LeafIndex) -> Result<Hit, Fault> {
    let missing = || Fault::internal(format!("entry {index} is missing"));
    let body = app.store.entry(index).map_err(Fault::internal)?.ok_or_else(missing)?;
    let time = app.store.time(index).map_err(Fault::internal)?.ok_or_else(missing)?;
    let kind = EntryKind::of_body(&body).map_err(Fault::internal)?;
    let tree_id = app.signer.identity().tree_id();
    Ok(Hit {
        index: index.to_string(),
        entry_id: EntryId { tree_id, leaf: hash_leaf(&body) }.to_string(),
        kind: kind.kind(),
        version: kind.version(),
        time,
    })
}

/// `GET /api/treering/v1/statements/{payload hash}`: the payload, byte for byte.
pub async fn serve_statement(app: &Arc<App>, hash: &str) -> Result<Reply, Fault> {
    let hash = parse_payload_hash(hash)?;
    let reader = app.clone();
    let statement = app.heavy.run(move || visible_statement(&reader, &hash)).await??;
    let statement = statement.ok_or_else(|| {
        let message = "no published entry came with this statement";
        Fault::not_found("no-statement", message)
    })?;
    Ok(immutable(IN_TOTO, statement.into()))
}

/// A bulk request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BulkRequest {
    hashes: Vec<String>,
}

/// What a bulk request found.
#[derive(Serialize)]
struct BulkAnswer {
    /// Payloads in base64, by hash.
    statements: BTreeMap<String, String>,
    /// Hashes without a statement.
    missing: Vec<String>,
    /// Hashes that this answer had no more room for: ask again.
    left_out: Vec<String>,
}

/// `POST /api/treering/v1/statements` with `{"hashes":["..."]}`: many payloads at once.
pub async fn serve_statements(
    app: &Arc<App>,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Reply, Fault> {
    let body = read_body(app, peer, request, BULK_BODY_BYTES_MAX).await?;
    let request: BulkRequest = serde_json::from_slice(&body.bytes)
        .map_err(|error| Fault::bad_request("malformed", error.to_string()))?;
    if request.hashes.len() > BULK_STATEMENTS_MAX {
        let message = format!("at most {BULK_STATEMENTS_MAX} hashes in one request");
        return Err(Fault::bad_request("too-many-hashes", message));
    }
    let reader = app.clone();
    let answer = app.heavy.run(move || bulk(&reader, request)).await??;
    let body = serde_json::to_vec(&answer).map_err(Fault::internal)?;
    Ok(with_body(JSON, body.into()))
}

fn bulk(app: &App, request: BulkRequest) -> Result<BulkAnswer, Fault> {
    let mut answer =
        BulkAnswer { statements: BTreeMap::new(), missing: Vec::new(), left_out: Vec::new() };
    let mut bytes = 0;
    for text in request.hashes {
        let hash = parse_payload_hash(&text)?;
        if bytes > BULK_BYTES_MAX {
            answer.left_out.push(text);
            continue;
        }
        match visible_statement(app, &hash)? {
            Some(statement) => {
                bytes += statement.len();
                answer.statements.insert(text, to_base64(&statement));
            }
            None => answer.missing.push(text),
        }
    }
    Ok(answer)
}

/// `GET /api/treering/v1/identity`.
pub fn serve_identity(app: &App) -> Reply {
    plain(super::reply::TEXT, app.identity_document.clone())
}

/// The statement with this hash, if a published entry came with it. One that is committed and not
/// yet published is not shown.
fn visible_statement(app: &App, hash: &Hash) -> Result<Option<Vec<u8>>, Fault> {
    let size = app.published.snapshot().head.size;
    let key = search_key(Tag::PayloadDigest, format!("sha256:{hash}").as_bytes());
    let posted = app.store.postings(&key, None, size, Order::Oldest, 1).map_err(Fault::internal)?;
    if posted.is_empty() {
        return Ok(None);
    }
    app.store.statement(hash).map_err(Fault::internal)
}

fn parse_payload_hash(text: &str) -> Result<Hash, Fault> {
    let hash = from_hex_lower(text).and_then(|bytes| Hash::from_slice(&bytes));
    hash.ok_or_else(|| {
        let message = "a payload hash is 64 lower-case hexadecimal digits";
        Fault::bad_request("malformed-hash", message)
    })
}

fn unknown_tag(name: &str) -> Fault {
    let name: String = name.chars().take(64).collect();
    let message = format!("{name:?} is nothing to search by; there are: {}", tag_names());
    Fault::bad_request("unknown-tag", message)
}

fn tag_names() -> String {
    Tag::ALL.map(Tag::name).join(", ")
}

const SEARCH_LIMIT_DEFAULT: usize = 100;
const IN_TOTO: HeaderValue = HeaderValue::from_static("application/vnd.in-toto+json");
