//! `POST /api/v1/index/retrieve`: ids of entries, by what they were signed with, by whom, and what
//! they are about.
//!
//! Search answers are hints from the log: a client proves each entry by its inclusion, and
//! completeness only by reading the whole log.
//!
//! Invariants: each id once, the newest entry first, none that is not published. An answer that
//! leaves older entries out says so in the header [`CUT`], with the number that it has. A search
//! counts against the reader's rate as [`READS_OF_AN_INDEX_SEARCH`] reads more than its request.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use treering_proto::api::v1::index::{CRITERIA_MAX, KEYS_OF_ONE_MAX, Operator, SearchIndex};
use treering_proto::api::v1::{EntryId, to_json};
use treering_proto::hash::Hash;

use super::newest::{Bounds, newest};
use super::{refused, require_json, tree_id};
use crate::http::App;
use crate::http::accept::Peer;
use crate::http::reply::{Fault, Reply, json};
use crate::http::submit::read_body;
use crate::limits::{
    INDEX_BODY_BYTES_MAX, INDEX_HITS_MAX, INDEX_READS_MAX, READS_OF_AN_INDEX_SEARCH,
};

/// How many entries an answer has that is not complete.
pub const CUT: HeaderName = HeaderName::from_static("treering-cut");

const _: () = assert!(
    INDEX_READS_MAX > 2 * CRITERIA_MAX * KEYS_OF_ONE_MAX,
    "every search key of a query can be looked at"
);

/// `POST /api/v1/index/retrieve`.
pub async fn serve_index(
    app: &Arc<App>,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Reply, Fault> {
    require_json(&request)?;
    let body = read_body(app, peer, request, INDEX_BODY_BYTES_MAX).await?;
    let query = SearchIndex::parse(&body.bytes).map_err(refused)?;
    let criteria = query.criteria().map_err(refused)?;
    let criteria = match query.operator() {
        Operator::And => criteria,
        Operator::Or => vec![criteria.concat()],
    };
    app.rates.reads(peer.address, READS_OF_AN_INDEX_SEARCH).map_err(Fault::too_often)?;
    let searched = app.clone();
    app.heavy.run(move || search(&searched, &criteria)).await?
}

fn search(app: &App, criteria: &[Vec<Hash>]) -> Result<Reply, Fault> {
    let snapshot = app.published.snapshot();
    let bounds = Bounds { hits: INDEX_HITS_MAX, reads: INDEX_READS_MAX };
    let found = newest(&app.store, criteria, snapshot.head.size, bounds);
    let found = found.map_err(Fault::internal)?;
    let leaves = app.store.leaves(&found.indexes, &snapshot.edge).map_err(Fault::internal)?;
    let tree_id = tree_id(app);
    let id = |leaf: &Hash| EntryId { tree_id, leaf: *leaf }.to_string();
    let mut reply = json(to_json(&leaves.iter().map(id).collect::<Vec<String>>()));
    if found.is_cut {
        reply.headers_mut().insert(CUT, HeaderValue::from(leaves.len()));
    }
    Ok(reply)
}
