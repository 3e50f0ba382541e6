//! `GET /api/treering/v1/checkpoints`: the notes that were published and are kept, for those who
//! want to date an entry or hold the log to every head that it ever showed.
//!
//! ```text
//! ?around=INDEX       {"treeSize": "9", "before": CP or null, "after": CP or null}
//! ?from=SIZE&limit=N  {"treeSize": "9", "checkpoints": [CP, ...], "next": "SIZE" or null}
//! CP                  {"size": "5", "time": 1700000000, "note": "...", "v1Note": "..."}
//! ```
//!
//! `before` does not cover the entry and is the largest such, `after` covers it and is the
//! smallest. `time` is the log's word.
//!
//! Invariant: no note above the published size is shown. Old notes are thinned (`docs/design.md`),
//! so the two around an entry may lie far apart.

use std::sync::Arc;

use serde::Serialize;
use treering_proto::tree::{LeafIndex, TreeSize};

use super::App;
use super::query::Query;
use super::reply::{Fault, JSON, Reply, with_body};
use crate::limits::{CHECKPOINTS_BYTES_MAX, CHECKPOINTS_LIMIT_MAX};
use crate::store::StoreError;
use crate::store::format::NotePair;

/// One page when nothing else is asked for.
const LIMIT_DEFAULT: usize = 100;

/// Notes read from storage at once.
const PAGE: usize = 64;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckpointJson {
    size: String,
    time: u64,
    note: String,
    v1_note: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AroundAnswer {
    tree_size: String,
    before: Option<CheckpointJson>,
    after: Option<CheckpointJson>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListAnswer {
    tree_size: String,
    checkpoints: Vec<CheckpointJson>,
    next: Option<String>,
}

/// What is asked for.
enum Asked {
    Around(LeafIndex),
    From { size: u64, limit: usize },
}

/// `GET /api/treering/v1/checkpoints`.
///
/// # Errors
/// 400 for other parameters than the ones above, 404 for an entry that is not published.
pub async fn serve_checkpoints(app: &Arc<App>, query: &Query) -> Result<Reply, Fault> {
    let asked = Asked::parse(query)?;
    let published = app.published.snapshot().head.size;
    if let Asked::Around(index) = asked
        && !published.contains(index)
    {
        let message = format!("the log has {published} entries, none at {index}");
        return Err(Fault::not_found("no-entry-at-index", message));
    }
    let reader = app.clone();
    let read = move || match asked {
        Asked::Around(index) => around(&reader, index, published),
        Asked::From { size, limit } => list(&reader, size, limit, published),
    };
    let body = app.heavy.run(read).await?.map_err(Fault::internal)?;
    Ok(with_body(JSON, body.into()))
}

impl Asked {
    fn parse(query: &Query) -> Result<Self, Fault> {
        let known = ["around", "from", "limit"];
        if let Some((name, _)) = query.all().iter().find(|(name, _)| !known.contains(&&**name)) {
            let name: String = name.chars().take(64).collect();
            return Err(malformed(format!("{name:?} is none of around, from and limit")));
        }
        let around = number(query, "around")?;
        let from = number(query, "from")?;
        let limit = number(query, "limit")?;
        match (around, from, limit) {
            (Some(index), None, None) => {
                let index = LeafIndex::new(index);
                index.map(Self::Around).ok_or_else(|| malformed("around is above every index"))
            }
            (None, Some(size), limit) => {
                let limit = limit.map_or(LIMIT_DEFAULT, |limit| limit as usize);
                Ok(Self::From { size, limit: limit.clamp(1, CHECKPOINTS_LIMIT_MAX) })
            }
            _ => Err(malformed("give around=INDEX, or from=SIZE with or without limit")),
        }
    }
}

fn number(query: &Query, name: &str) -> Result<Option<u64>, Fault> {
    let parse = |text: &str| {
        let parsed = text.parse().ok().filter(|number: &u64| number.to_string() == text);
        parsed.ok_or_else(|| malformed(format!("{name} must be a decimal number")))
    };
    query.one(name).map(parse).transpose()
}

fn malformed(message: impl Into<String>) -> Fault {
    Fault::bad_request("malformed-parameter", message)
}

fn around(app: &App, index: LeafIndex, published: TreeSize) -> Result<Vec<u8>, StoreError> {
    let before = TreeSize::new(index.get()).expect("an index is a size, too");
    let before = app.store.notes_up_to(before)?;
    let after = app.store.notes_from(index.get() + 1, 1)?.into_iter().next();
    let after = after.filter(|(size, _)| *size <= published.get());
    Ok(to_bytes(&AroundAnswer {
        tree_size: published.to_string(),
        before: before.map(|(size, notes)| checkpoint(size.get(), notes)),
        after: after.map(|(size, notes)| checkpoint(size, notes)),
    }))
}

fn list(app: &App, from: u64, limit: usize, published: TreeSize) -> Result<Vec<u8>, StoreError> {
    let (mut checkpoints, mut next, mut bytes) = (Vec::new(), None, 0);
    let mut position = from;
    'pages: loop {
        let page = app.store.notes_from(position, PAGE)?;
        let is_last = page.len() < PAGE;
        for (size, notes) in page {
            if size > published.get() {
                break 'pages;
            }
            if checkpoints.len() == limit || bytes > CHECKPOINTS_BYTES_MAX {
                next = Some(size.to_string());
                break 'pages;
            }
            bytes += notes.note.len() + notes.v1_note.len();
            checkpoints.push(checkpoint(size, notes));
            position = size + 1;
        }
        if is_last {
            break;
        }
    }
    Ok(to_bytes(&ListAnswer { tree_size: published.to_string(), checkpoints, next }))
}

fn checkpoint(size: u64, notes: NotePair) -> CheckpointJson {
    let NotePair { time_ms, note, v1_note } = notes;
    CheckpointJson { size: size.to_string(), time: time_ms / 1000, note, v1_note }
}

fn to_bytes(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("texts and numbers always serialize")
}
