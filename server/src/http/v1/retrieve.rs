//! `POST /api/v1/log/entries/retrieve`: at most ten entries at once, by id, index, or what they
//! would be.
//!
//! Order, as in Rekor: full ids as they were asked for; then leaves, and then proposed entries;
//! then indexes. What is not there is left out, what is asked for twice is there twice. A proposed
//! entry of a kind or format that this log refuses is not there: it cannot have been logged.
//!
//! Invariants: all of an answer comes from one snapshot. Each id and index counts against the
//! reader's rate as a read, the first one with the request. A proposed entry costs a signature or
//! more, so it counts as [`READS_OF_A_PROPOSAL`] reads. All of it is done off the connection
//! threads.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use treering_proto::api::v1::query::{QueryError, SearchLogQuery};
use treering_proto::api::v1::{EntryId, LogEntries, TreeId, code, to_json};
use treering_proto::entry::{EntryError, leaf_of_v1_query};
use treering_proto::hash::Hash;

use super::entry::{find, shown};
use super::{refused, require_json, tree_id};
use crate::http::App;
use crate::http::accept::Peer;
use crate::http::reply::{Fault, Reply, json};
use crate::http::submit::read_body;
use crate::limits::{READS_OF_A_PROPOSAL, V1_BODY_BYTES_MAX};
use crate::publisher::Snapshot;

/// `POST /api/v1/log/entries/retrieve`.
pub async fn serve_retrieve(
    app: &Arc<App>,
    peer: &Peer,
    request: Request<Incoming>,
) -> Result<Reply, Fault> {
    require_json(&request)?;
    let body = read_body(app, peer, request, V1_BODY_BYTES_MAX).await?;
    let (reader, address) = (app.clone(), peer.address);
    let retrieve = move || {
        let query = SearchLogQuery::parse(&body.bytes).map_err(refused)?;
        retrieve(&reader, address, &query).map(|entries| to_json(&entries))
    };
    Ok(json(app.heavy.run(retrieve).await??))
}

fn retrieve(
    app: &App,
    address: IpAddr,
    query: &SearchLogQuery<'_>,
) -> Result<Vec<LogEntries>, Fault> {
    let (by_id, by_leaf) = leaves(&query.entry_uuids, tree_id(app))?;
    app.rates.reads(address, reads(query)).map_err(Fault::too_often)?;
    let proposed =
        (0..).zip(&query.entries).map(|(at, entry)| match leaf_of_v1_query(entry.as_bytes()) {
            Ok(leaf) => Ok(Some(leaf)),
            Err(EntryError::RefusedKind { .. } | EntryError::RefusedFormat(_)) => Ok(None),
            Err(error) => Err(not_an_entry(at, &error)),
        });
    let proposed = proposed.collect::<Result<Vec<Option<Hash>>, Fault>>()?;

    let snapshot = app.published.snapshot();
    let leaves = by_id.iter().chain(&by_leaf).chain(proposed.iter().flatten());
    let found = leaves.map(|leaf| by_hash(app, &snapshot, leaf));
    let by_index = query.log_indexes.iter().map(|index| by_number(app, &snapshot, *index));
    found.chain(by_index).filter_map(Result::transpose).collect()
}

/// How many reads a query counts as, beside its request.
fn reads(query: &SearchLogQuery<'_>) -> u32 {
    let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    let named = count(query.entry_uuids.len() + query.log_indexes.len());
    READS_OF_A_PROPOSAL
        .saturating_mul(count(query.entries.len()))
        .saturating_add(named.saturating_sub(1))
}

/// The leaves of our tree that are asked for, of full ids and of plain leaves. Other trees have
/// nothing here.
fn leaves(ids: &[String], tree_id: TreeId) -> Result<(Vec<Hash>, Vec<Hash>), Fault> {
    let (mut by_id, mut by_leaf) = (Vec::new(), Vec::new());
    for text in ids {
        let id = EntryId::parse(text, tree_id).map_err(|_| {
            Fault::bad_request("invalid-entry-id", format!("invalid entryID {text}"))
        })?;
        match text.len() {
            64 => by_leaf.push(id.leaf),
            _ if id.tree_id == tree_id => by_id.push(id.leaf),
            _ => {}
        }
    }
    Ok((by_id, by_leaf))
}

fn by_hash(app: &App, snapshot: &Snapshot, leaf: &Hash) -> Result<Option<LogEntries>, Fault> {
    match app.store.index_of(leaf).map_err(Fault::internal)? {
        Some(index) => by_number(app, snapshot, index.get()),
        None => Ok(None),
    }
}

fn by_number(app: &App, snapshot: &Snapshot, index: u64) -> Result<Option<LogEntries>, Fault> {
    let Some(index) = treering_proto::tree::LeafIndex::new(index) else { return Ok(None) };
    find(app, snapshot, index)?.map(|found| shown(app, snapshot, &found)).transpose()
}

/// What is wrong with the proposed entry at position `at`. Rekor reads kinds with the query, and
/// checks the outer fields before it looks at any entry.
fn not_an_entry(at: usize, error: &EntryError) -> Fault {
    let why = error.to_string();
    match error {
        EntryError::UnknownKind(_) | EntryError::Missing("kind") => {
            refused(QueryError::Malformed { name: "entry", why })
        }
        EntryError::Missing(_) => refused(QueryError::Invalid {
            code: code::REQUIRED,
            message: format!("entries.{at}.{why}"),
        }),
        EntryError::Malformed(why) => {
            refused(QueryError::Malformed { name: "entry", why: why.clone() })
        }
        _ => Fault::bad_request("invalid-entry", why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_counts_as_the_work_that_it_asks_for() {
        for (ids, entries, indexes, expected) in [
            (0, 0, 0, 0),
            (1, 0, 0, 0),
            (0, 0, 1, 0),
            (1, 0, 1, 1),
            (10, 0, 0, 9),
            (0, 0, 10, 9),
            (0, 1, 0, 10),
            (0, 10, 0, 100),
            (1, 9, 0, 90),
            (3, 4, 3, 45),
        ] {
            let query = SearchLogQuery {
                entry_uuids: vec![String::new(); ids],
                entries: vec!["{}"; entries],
                log_indexes: vec![0; indexes],
            };
            assert_eq!(reads(&query), expected, "{ids} ids, {entries} entries, {indexes} indexes");
        }
    }
}
