//! Reading all of a log: entry tiles, statements in bulk, the Rekor v1 face, and the checkpoints
//! that the log kept. What `monitor` and `audit` read, beside what every client reads.
//!
//! Invariants: a tile that is returned has the width that was asked for; every statement that is
//! returned has the hash that was asked for. Nothing else is verified here.
//! Out of scope: comparing (see [`crate::monitor`] and [`crate::audit_log`]).

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use treering_proto::api::v1::{LogEntries, LogEntry, LogInfo};
use treering_proto::encoding::from_base64;
use treering_proto::hash::{Hash, sha256};
use treering_proto::note::NOTE_LEN_MAX;
use treering_proto::tile::{ENTRY_LEN_MAX, TILE_WIDTH, Tile, decode_entries};
use treering_proto::tree::LeafIndex;

use super::{LogError, LogReader, V1_ENTRY_ANSWER_LEN_MAX, refused};
use crate::transport::{Reading, Sent, TransportError};

/// The longest entry tile: 256 of the longest entries, each with its length.
pub const ENTRY_TILE_LEN_MAX: usize = TILE_WIDTH as usize * (2 + ENTRY_LEN_MAX);

/// Hashes in one request for statements, as the log limits them.
pub const STATEMENTS_AT_ONCE: usize = 256;

/// The longest answer with statements: the log stops after 16 MiB, so it has at most 20 MiB, in
/// base64, and the hashes.
pub const STATEMENTS_ANSWER_LEN_MAX: usize = 32 << 20;

/// Tries for one request for many statements: a log that cannot answer those may answer others.
const BULK_TRIES_MAX: u32 = 3;

/// Checkpoints in one answer, as the log limits them.
pub const KEPT_AT_ONCE: usize = 1000;

/// The longest answer with kept checkpoints: notes with a few ML-DSA cosignatures have 10 KB.
const KEPT_ANSWER_LEN_MAX: usize = 64 << 20;

/// An entry tile as it was served.
#[derive(Clone, Debug)]
pub struct EntryTile {
    bytes: Vec<u8>,
    /// How many entries the bytes hold; `width` of them were asked for.
    served: u64,
    width: u64,
}

/// What a request for statements came to.
#[derive(Clone, Default, Debug)]
pub struct Statements {
    /// The statements, by hash.
    pub found: HashMap<Hash, Vec<u8>>,
    /// Those that the answer had no room for: to be asked for again.
    pub left_out: HashSet<Hash>,
}

/// Checkpoints that the log kept, in ascending order of their sizes.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptPage {
    /// The size of the tree when the log answered, decimal.
    pub tree_size: String,
    /// The checkpoints.
    pub checkpoints: Vec<KeptCheckpoint>,
    /// Where the next page starts, decimal; `None` at the end.
    pub next: Option<String>,
}

/// One checkpoint on both faces.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptCheckpoint {
    /// Size of the tree, decimal.
    pub size: String,
    /// The C2SP note.
    pub note: String,
    /// The Rekor v1 note.
    pub v1_note: String,
}

impl EntryTile {
    /// The entries; `None` if the bytes are not an entry tile.
    pub fn entries(&self) -> Option<Vec<&[u8]>> {
        let mut entries = decode_entries(&self.bytes, self.served).ok()?;
        entries.truncate(self.width as usize);
        Some(entries)
    }
}

impl Statements {
    /// Reads the answer about `asked`; `None` if it is malformed, or leaves out the first. A
    /// statement with another hash than it stands under counts as missing, as one that the log does
    /// not have.
    pub fn parse(answer: &[u8], asked: &[Hash]) -> Option<Self> {
        let answer: StatementsAnswer<'_> = serde_json::from_slice(answer).ok()?;
        let mut statements = Self::default();
        for hash in asked {
            let name = hash.to_hex();
            if let Some(text) = answer.statements.get(name.as_str()) {
                let payload = from_base64(text).filter(|payload| sha256(payload) == *hash);
                statements.found.extend(payload.map(|payload| (*hash, payload)));
            } else if answer.left_out.contains(name.as_str()) {
                statements.left_out.insert(*hash);
            }
        }
        // An honest log always has room for the first. Entries are taken in order, so an answer
        // without it brings nothing further, and would be asked for again for ever.
        let is_stuck = asked.first().is_some_and(|first| statements.left_out.contains(first));
        (!is_stuck).then_some(statements)
    }
}

impl LogReader<'_> {
    /// An entry tile of exactly the width asked for. A log may drop a partial tile once it is full.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn entry_tile(&self, tile: Tile, reading: Reading) -> Result<EntryTile, LogError> {
        let (bytes, served) = self.tile_bytes(tile, ENTRY_TILE_LEN_MAX, reading).await?;
        Ok(EntryTile { bytes, served: served.width, width: tile.width })
    }

    /// The log's answer about up to [`STATEMENTS_AT_ONCE`] statements, for [`Statements::parse`].
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn statements_answer(&self, hashes: &[Hash]) -> Result<Vec<u8>, LogError> {
        let path = "/api/treering/v1/statements";
        let names: Vec<String> = hashes.iter().map(Hash::to_hex).collect();
        let body = serde_json::json!({ "hashes": names }).to_string().into_bytes();
        let mut tries = 0;
        loop {
            let limit = STATEMENTS_ANSWER_LEN_MAX;
            // Only a question: it may be asked again whatever became of it.
            let trouble = match self.transport.post_once(path, body.clone(), limit).await? {
                Sent::Answered(answer) if answer.status == 200 => return Ok(answer.body),
                Sent::Answered(answer) => return Err(refused(path, &answer)),
                Sent::NotTaken(trouble) | Sent::Unknown(trouble) => trouble,
            };
            if tries + 1 == BULK_TRIES_MAX {
                let why = format!("{path} is not answered");
                return Err(TransportError::Unavailable { why }.into());
            }
            self.transport.wait(&mut tries, &trouble).await?;
        }
    }

    /// One statement; `None` for what the log does not have, or has with another hash.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn statement_or_none(&self, hash: Hash) -> Result<Option<Vec<u8>>, LogError> {
        match self.statement(hash).await {
            Err(LogError::NotFound { .. } | LogError::Malformed { .. }) => Ok(None),
            Err(LogError::Transport(TransportError::TooLong { .. })) => Ok(None),
            // It will not say otherwise tomorrow.
            Err(LogError::Refused { status: 400..500, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// What the Rekor v1 face says about the log; `None` if the log has no such face.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn v1_info(&self, reading: Reading) -> Result<Option<LogInfo>, LogError> {
        let path = "/api/v1/log";
        let answer = match self.bytes(path, &[], 2 * NOTE_LEN_MAX, reading).await {
            Err(LogError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let malformed = |_| LogError::Malformed { path: path.to_owned() };
        serde_json::from_slice(&answer).map(Some).map_err(malformed)
    }

    /// The entry at `index` as the Rekor v1 face shows it; `None` if it shows none.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn v1_entry_at(&self, index: LeafIndex) -> Result<Option<LogEntry>, LogError> {
        let path = "/api/v1/log/entries";
        let query = [("logIndex", index.to_string())];
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.bytes(path, &query, V1_ENTRY_ANSWER_LEN_MAX, Reading::Fresh).await;
        let answer = match answer {
            Err(LogError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let malformed = || LogError::Malformed { path: format!("{path}?logIndex={index}") };
        let entries: LogEntries = serde_json::from_slice(&answer).map_err(|_| malformed())?;
        let mut entries = entries.into_values();
        match (entries.next(), entries.next()) {
            (Some(entry), None) => Ok(Some(entry)),
            _ => Err(malformed()),
        }
    }

    /// The checkpoints that the log kept, from `size` on; `None` if the log does not list them.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn kept_checkpoints(&self, from: u64) -> Result<Option<KeptPage>, LogError> {
        let path = "/api/treering/v1/checkpoints";
        let (from, limit) = (from.to_string(), KEPT_AT_ONCE.to_string());
        let query = [("from", from.as_str()), ("limit", limit.as_str())];
        let answer = match self.bytes(path, &query, KEPT_ANSWER_LEN_MAX, Reading::Fresh).await {
            Err(LogError::NotFound { .. }) => return Ok(None),
            other => other?,
        };
        let malformed = |_| LogError::Malformed { path: path.to_owned() };
        serde_json::from_slice(&answer).map(Some).map_err(malformed)
    }
}

/// Base64 and hexadecimal need no escapes, so that nothing is copied.
#[derive(Deserialize)]
struct StatementsAnswer<'a> {
    #[serde(borrow)]
    statements: HashMap<&'a str, Cow<'a, str>>,
    #[serde(borrow)]
    left_out: HashSet<&'a str>,
}

#[cfg(test)]
mod tests {
    use treering_proto::encoding::to_base64;

    use super::*;

    #[test]
    fn statements_are_hashed_and_what_is_left_out_is_asked_for_again() {
        let [one, two, three, four] = [b"1", b"2", b"3", b"4"].map(|text| sha256(text));
        let answer = serde_json::json!({
            "statements": { one.to_hex(): to_base64(b"1"), two.to_hex(): to_base64(b"x") },
            "missing": [three.to_hex()],
            "left_out": [four.to_hex()],
        });
        let answer = answer.to_string().into_bytes();
        let statements = Statements::parse(&answer, &[one, two, three, four]).unwrap();
        assert_eq!(statements.found, HashMap::from([(one, b"1".to_vec())]));
        assert_eq!(statements.left_out, HashSet::from([four]));
        assert!(Statements::parse(&answer, &[four]).is_none(), "this would never end");
        assert!(Statements::parse(&answer, &[four, one]).is_none(), "nor would this");
        assert!(Statements::parse(b"{}", &[one]).is_none());
    }
}
