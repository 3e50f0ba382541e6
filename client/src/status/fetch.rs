//! Fetching what a search found: entries with proofs to one checkpoint, and their statements.
//!
//! Invariants: what is added is proven to be in the tree, and is what the search named; it fits the
//! bounds, oldest first. Out of scope: what the entries say.

use std::collections::{BTreeMap, BTreeSet};

use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::hash::Hash;
use treering_proto::tree::LeafIndex;

use super::prove::prove_entry;
use super::side_by_side::side_by_side;
use super::{CONTENT_BYTES_MAX, ENTRIES_MAX, Evident, Status, StatusError};
use crate::history::Answer;
use crate::log::whole::{STATEMENTS_AT_ONCE, Statements};
use crate::log::{LogError, LogReader};
use crate::transport::Reading;

/// Entries that are asked for at once: enough to hide the way to the log, and less than a browser.
const AT_ONCE: usize = 16;

/// What a search said about an entry.
pub(super) struct Found {
    /// Its id: ends with the leaf hash in hexadecimal digits.
    pub(super) id: String,
    /// When it was logged.
    pub(super) time: Option<u64>,
}

/// What became of the entries that were found.
#[derive(Default)]
pub(super) struct Fetched {
    /// So many of them are there now, the oldest.
    pub(super) added: usize,
    /// Why the log did not show the others; `None` where they do not fit.
    pub(super) trouble: Option<LogError>,
}

/// Why one entry was not fetched.
enum FetchError {
    Log(LogError),
    Wrong(StatusError),
}

impl From<LogError> for FetchError {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// Adds the entries that were `found` to `status`, with their statements: as many as fit into
/// `bytes_max`.
pub(super) async fn add(
    log: &LogReader<'_>,
    head: &SignedCheckpoint,
    status: &mut Status,
    found: &BTreeMap<LeafIndex, Found>,
    bytes_max: usize,
) -> Result<Fetched, StatusError> {
    let mut fetched = Fetched::default();
    let before = status.content_bytes();
    let mut bytes = before;
    let found: Vec<(&LeafIndex, &Found)> = found.iter().collect();
    for chunk in found.chunks(AT_ONCE) {
        let missing = chunk.iter().filter(|(index, _)| !status.entries.contains_key(index));
        let fetching = missing.map(|(index, found)| entry(log, head, **index, found));
        let mut entries = BTreeMap::new();
        for result in side_by_side(fetching).await {
            match result {
                Ok((index, evident)) => drop(entries.insert(index, evident)),
                Err(FetchError::Wrong(error)) => return Err(error),
                Err(FetchError::Log(error)) => {
                    fetched.trouble = Some(error);
                    return Ok(fetched);
                }
            }
        }
        let statements = match statements(log, status, entries.values(), bytes_max).await {
            Ok(statements) => statements,
            Err(error) => {
                fetched.trouble = Some(error);
                return Ok(fetched);
            }
        };
        for (index, _) in chunk {
            if let Some(evident) = entries.remove(index) {
                bytes += status.add(**index, evident, &statements);
            }
            let fits = bytes - before <= bytes_max
                && bytes <= CONTENT_BYTES_MAX
                && status.entries.len() <= ENTRIES_MAX;
            if !fits {
                return Ok(fetched);
            }
            fetched.added += 1;
        }
    }
    Ok(fetched)
}

/// One entry, proven to be in the tree of `head`.
async fn entry(
    log: &LogReader<'_>,
    head: &SignedCheckpoint,
    index: LeafIndex,
    found: &Found,
) -> Result<(LeafIndex, Evident), FetchError> {
    let tree = head.head();
    let answer = log.entry(index).await?;
    let (body, proof) = (answer.canonicalized_body, answer.inclusion_proof.hashes);
    let mut evident = Evident::new(body, proof, found.time);
    let mut proven = prove_entry(index, &evident, tree);
    // The log proves it to its newest tree, or a cache to an older one. Tiles prove it to ours.
    for reading in [Reading::Cached, Reading::Fresh] {
        if proven.is_ok() {
            break;
        }
        evident.proof = log.inclusion(index, tree.size, reading).await?;
        proven = prove_entry(index, &evident, tree);
    }
    let leaf = proven.map_err(FetchError::Wrong)?;
    if !found.id.ends_with(&leaf.to_hex()) {
        return Err(FetchError::Wrong(StatusError::OtherEntry { index }));
    }
    Ok((index, evident))
}

/// The statements of `entries` that are not known, as far as the log has them.
async fn statements(
    log: &LogReader<'_>,
    status: &Status,
    entries: impl Iterator<Item = &Evident>,
    bytes_max: usize,
) -> Result<BTreeMap<Hash, Vec<u8>>, LogError> {
    let hashes = entries.filter_map(|evident| evident.payload_hash);
    let mut wanted: Vec<Hash> = Vec::new();
    for hash in hashes.filter(|hash| !status.statements.contains_key(hash)) {
        if !wanted.contains(&hash) {
            wanted.push(hash);
        }
    }
    let mut known = BTreeMap::new();
    let (mut bytes, mut wanted) = (0, wanted);
    const _: () = assert!(AT_ONCE <= STATEMENTS_AT_ONCE, "one request is enough for a chunk");
    // What does not fit the question is not waited for.
    while !wanted.is_empty() && bytes <= bytes_max {
        let answer = log.statements_answer(&wanted).await?;
        let malformed = || LogError::Malformed { path: "/api/treering/v1/statements".to_owned() };
        let answer = Statements::parse(&answer, &wanted).ok_or_else(malformed)?;
        bytes += answer.found.values().map(Vec::len).sum::<usize>();
        known.extend(answer.found);
        wanted.retain(|hash| answer.left_out.contains(hash));
    }
    Ok(known)
}

impl Status {
    /// Adds an entry and its statement, and returns how many bytes they are charged for.
    fn add(
        &mut self,
        index: LeafIndex,
        evident: Evident,
        statements: &BTreeMap<Hash, Vec<u8>>,
    ) -> usize {
        let hash = evident.payload_hash;
        if let Some((hash, payload)) = hash.and_then(|hash| statements.get_key_value(&hash)) {
            self.statements.entry(*hash).or_insert_with(|| payload.clone());
        }
        let bytes = self.bytes_of(&evident);
        self.entries.insert(index, evident);
        bytes
    }

    /// Drops entries and statements that no answer needs: those that did not fit, or that were
    /// fetched before the log fell silent.
    pub(super) fn drop_surplus(&mut self) {
        let mut needed: BTreeSet<LeafIndex> = BTreeSet::new();
        for reply in self.replies.values() {
            if let Answer::All(hits) | Answer::Oldest(hits) = &reply.answer {
                needed.extend(hits);
            }
        }
        self.entries.retain(|index, _| needed.contains(index));
        let entries = self.entries.values();
        let kept: BTreeSet<Hash> = entries.filter_map(|entry| entry.payload_hash).collect();
        self.statements.retain(|hash, _| kept.contains(hash));
    }
}
