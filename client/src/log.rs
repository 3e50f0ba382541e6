//! Reading one log: checkpoints, tiles, entries, search.
//!
//! Invariants: a checkpoint that is returned was signed by the trusted log; hashes from tiles are
//! returned as *claims*, which the caller checks against a checkpoint. Answers are bounded.
//! Out of scope: remembering (see [`crate::state`]), sending entries (see [`crate::submit`]).

pub mod whole;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::{Deserialize, Serialize};
use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::checkpoint::{OpenCheckpointError, SignedCheckpoint, open_checkpoint};
use treering_proto::hash::Hash;
use treering_proto::note::NOTE_LEN_MAX;
use treering_proto::proof::{ProofPlan, plan_consistency, plan_inclusion, plan_root};
use treering_proto::protojson::FieldError;
use treering_proto::statement::STATEMENT_LEN_MAX;
use treering_proto::tile::{TILE_WIDTH, Tile, decode_hashes, node_in_tile};
use treering_proto::tree::{LeafIndex, TreeSize, join_subtrees};
use treering_proto::trust::TrustFile;

use crate::transport::{Answer, Reading, Transport, TransportError};

/// The longest answer about one entry: a body of 64 KiB in base64, a proof, and a note.
pub const ENTRY_ANSWER_LEN_MAX: usize = 4 << 20;

/// The longest Rekor v1 answer about one entry: with its statement in base64.
pub const V1_ENTRY_ANSWER_LEN_MAX: usize = ENTRY_ANSWER_LEN_MAX + STATEMENT_LEN_MAX / 3 * 4 + 4;

/// The longest page of search results.
pub const SEARCH_ANSWER_LEN_MAX: usize = 4 << 20;

/// The longest answer about two kept checkpoints: four notes with the lines of a hundred witnesses.
pub const AROUND_ANSWER_LEN_MAX: usize = 4 << 20;

const TILE_LEN_MAX: usize = TILE_WIDTH as usize * Hash::LEN;

/// A log that is trusted, and the way to it.
pub struct LogReader<'a> {
    pub(crate) transport: &'a Transport,
    trust: &'a TrustFile,
}

/// How the tree of one checkpoint contains an older one, as the log's tiles say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimedPrefix {
    /// The root of the older size.
    pub root: Hash,
    /// The proof from that root to the newer checkpoint.
    pub proof: Vec<Hash>,
}

/// One page of search results. Nothing in it is proven.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchPage {
    /// The size of the tree that was searched.
    pub tree_size: String,
    /// What was found.
    pub entries: Vec<SearchHit>,
    /// Asks for the next page.
    pub next: Option<String>,
}

/// One entry that was found.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchHit {
    /// Its position, decimal.
    pub index: String,
    /// 80 hexadecimal digits.
    pub entry_id: String,
    /// Kind of the entry.
    pub kind: String,
    /// Version of the kind.
    pub version: String,
    /// When the log says it was logged: Unix seconds.
    pub time: u64,
}

/// The kept checkpoints nearest to an entry, opened with the keys of the trust file.
#[derive(Clone, Debug)]
pub struct Around {
    /// Of the largest kept tree that does not have the entry.
    pub before: Option<SignedCheckpoint>,
    /// Of the smallest kept tree that has it.
    pub after: Option<SignedCheckpoint>,
}

/// The log's answer about checkpoints that it kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AroundJson {
    #[serde(rename = "treeSize")]
    _tree_size: String,
    before: Option<KeptJson>,
    after: Option<KeptJson>,
}

/// One kept checkpoint. Size and time beside the notes are only the log's word.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeptJson {
    #[serde(rename = "size")]
    _size: String,
    #[serde(rename = "time")]
    _time: u64,
    note: String,
    #[serde(rename = "v1Note")]
    _v1_note: String,
}

/// What was served as a checkpoint and is not one of the trusted log.
#[derive(Debug)]
pub struct RefusedCheckpoint {
    /// What was served, byte for byte.
    pub note: Vec<u8>,
    /// Why it is refused.
    pub error: OpenCheckpointError,
}

impl RefusedCheckpoint {
    /// Whether it is a checkpoint of the log's origin, which no trusted key of the log signed, or
    /// with a line of such a key that does not verify: somebody speaks in the log's name. Anything
    /// else, such as the page of a captive portal, says nothing about the log.
    pub fn is_foreign(&self) -> bool {
        matches!(self.error, OpenCheckpointError::Open(_) | OpenCheckpointError::NoLogSignature)
    }
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No answer.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The log has no such thing.
    #[error("the log has no {path}")]
    NotFound {
        /// What was asked.
        path: String,
    },
    /// An answer that no call expects.
    #[error("the log answered {path} with HTTP {status}: {message}")]
    Refused {
        /// What was asked.
        path: String,
        /// HTTP status.
        status: u16,
        /// The log's words.
        message: String,
    },
    /// The checkpoint is not the trusted log's.
    #[error("the log's checkpoint is not acceptable: {}", .0.error)]
    Checkpoint(Box<RefusedCheckpoint>),
    /// An answer that cannot be read.
    #[error("the log's answer to {path} cannot be read")]
    Malformed {
        /// What was asked.
        path: String,
    },
    /// An entry that cannot be read.
    #[error("the log's entry cannot be read: {0}")]
    Entry(#[from] FieldError),
}

impl<'a> LogReader<'a> {
    /// A reader of the log in `trust`.
    pub fn new(transport: &'a Transport, trust: &'a TrustFile) -> Self {
        Self { transport, trust }
    }

    /// The newest checkpoint.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn checkpoint(&self, reading: Reading) -> Result<SignedCheckpoint, LogError> {
        let note = self.checkpoint_note(reading).await?;
        self.open(&note)
    }

    /// The kept checkpoints nearest to the entry at `index`. Neither their sizes nor their quorum
    /// are checked, nor whether they go together with any other.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn checkpoints_around(&self, index: LeafIndex) -> Result<Around, LogError> {
        let path = "/api/treering/v1/checkpoints";
        let query = [("around", &*index.to_string())];
        let answer = self.bytes(path, &query, AROUND_ANSWER_LEN_MAX, Reading::Fresh).await?;
        let json: AroundJson = serde_json::from_slice(&answer)
            .map_err(|_| LogError::Malformed { path: path.to_owned() })?;
        let open =
            |kept: Option<KeptJson>| kept.map(|kept| self.open(kept.note.as_bytes())).transpose();
        Ok(Around { before: open(json.before)?, after: open(json.after)? })
    }

    /// The note of the newest checkpoint, whoever signed it.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn checkpoint_note(&self, reading: Reading) -> Result<Vec<u8>, LogError> {
        self.bytes("/checkpoint", &[], NOTE_LEN_MAX, reading).await
    }

    /// What the tiles say about the tree of `old` entries inside that of `new` entries.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn prefix(
        &self,
        old: TreeSize,
        new: TreeSize,
        reading: Reading,
    ) -> Result<ClaimedPrefix, LogError> {
        let malformed = || LogError::Malformed { path: "/checkpoint".to_owned() };
        let plan = plan_consistency(old, new).map_err(|_| malformed())?;
        let mut tiles = HashMap::new();
        let subtrees = self.nodes(&plan_root(old), new, &mut tiles, reading).await?;
        let hashes = self.nodes(&plan, new, &mut tiles, reading).await?;
        Ok(ClaimedPrefix { root: join_subtrees(&subtrees), proof: plan.build(&hashes) })
    }

    /// What the tiles say is the path from the entry at `index` to the root of `size` entries.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn inclusion(
        &self,
        index: LeafIndex,
        size: TreeSize,
        reading: Reading,
    ) -> Result<Vec<Hash>, LogError> {
        let malformed = || LogError::Malformed { path: "/checkpoint".to_owned() };
        let plan = plan_inclusion(index, size).map_err(|_| malformed())?;
        let hashes = self.nodes(&plan, size, &mut HashMap::new(), reading).await?;
        Ok(plan.build(&hashes))
    }

    /// The entry at `index` with its proof.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn entry(&self, index: LeafIndex) -> Result<TransparencyLogEntry, LogError> {
        let path = format!("/api/treering/v1/entries/{index}");
        let answer = self.bytes(&path, &[], ENTRY_ANSWER_LEN_MAX, Reading::Cached).await?;
        Ok(TransparencyLogEntry::parse(&answer)?)
    }

    /// The Rekor v1 answer about the entry named `id`, 64 or 80 hexadecimal digits; `None` when the
    /// log does not have it.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn rekor_v1_entry(&self, id: &str) -> Result<Option<Vec<u8>>, LogError> {
        let path = format!("/api/v1/log/entries/{id}");
        match self.bytes(&path, &[], V1_ENTRY_ANSWER_LEN_MAX, Reading::Fresh).await {
            Ok(answer) => Ok(Some(answer)),
            Err(LogError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The statement with this SHA-256, as the log keeps it; the digest is checked.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn statement(&self, payload_hash: Hash) -> Result<Vec<u8>, LogError> {
        let path = format!("/api/treering/v1/statements/{payload_hash}");
        let payload = self.bytes(&path, &[], STATEMENT_LEN_MAX, Reading::Cached).await?;
        if treering_proto::hash::sha256(&payload) != payload_hash {
            return Err(LogError::Malformed { path });
        }
        Ok(payload)
    }

    /// Entries that have all of `facts`, pairs of tag and value; `page` holds `limit`, `order` and
    /// `cursor`.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn search(
        &self,
        facts: &[(&str, &str)],
        page: &[(&str, &str)],
    ) -> Result<SearchPage, LogError> {
        let path = "/api/treering/v1/search";
        let query = [facts, page].concat();
        let answer = self.bytes(path, &query, SEARCH_ANSWER_LEN_MAX, Reading::Fresh).await?;
        serde_json::from_slice(&answer).map_err(|_| LogError::Malformed { path: path.to_owned() })
    }

    fn open(&self, note: &[u8]) -> Result<SignedCheckpoint, LogError> {
        open_checkpoint(note, &self.trust.log.origin, &self.trust.note_keys()).map_err(|error| {
            LogError::Checkpoint(Box::new(RefusedCheckpoint { note: note.to_vec(), error }))
        })
    }

    async fn nodes(
        &self,
        plan: &ProofPlan,
        size: TreeSize,
        tiles: &mut HashMap<Tile, Vec<Hash>>,
        reading: Reading,
    ) -> Result<Vec<Hash>, LogError> {
        let mut hashes = Vec::new();
        for node in plan.nodes() {
            let tile = Tile::holding(node, size)
                .expect("a plan for a tree names only nodes that the tree has");
            if let Entry::Vacant(missing) = tiles.entry(tile) {
                missing.insert(self.tile(tile, reading).await?);
            }
            let hash = node_in_tile(node, &tiles[&tile]);
            hashes.push(hash.ok_or_else(|| LogError::Malformed { path: tile.path() })?);
        }
        Ok(hashes)
    }

    /// A tile of hashes of exactly the width asked for.
    ///
    /// # Errors
    /// [`LogError`].
    pub async fn tile(&self, tile: Tile, reading: Reading) -> Result<Vec<Hash>, LogError> {
        let (bytes, _) = self.tile_bytes(tile, TILE_LEN_MAX, reading).await?;
        let malformed = || LogError::Malformed { path: tile.path() };
        let mut hashes = decode_hashes(&bytes).ok_or_else(malformed)?;
        if hashes.len() < tile.width as usize {
            return Err(malformed());
        }
        hashes.truncate(tile.width as usize);
        Ok(hashes)
    }

    /// The bytes of a tile, and which one they are of: a log may drop a partial tile once it is
    /// full, and then the full one is read.
    async fn tile_bytes(
        &self,
        tile: Tile,
        limit: usize,
        reading: Reading,
    ) -> Result<(Vec<u8>, Tile), LogError> {
        let path = |tile: Tile| format!("/{}", tile.path());
        match self.bytes(&path(tile), &[], limit, reading).await {
            Err(LogError::NotFound { .. }) if tile.width < TILE_WIDTH => {
                let full = Tile { width: TILE_WIDTH, ..tile };
                Ok((self.bytes(&path(full), &[], limit, reading).await?, full))
            }
            other => Ok((other?, tile)),
        }
    }

    async fn bytes(
        &self,
        path: &str,
        query: &[(&str, &str)],
        limit: usize,
        reading: Reading,
    ) -> Result<Vec<u8>, LogError> {
        let answer = self.transport.get(path, query, limit, reading).await?;
        match answer.status {
            200 => Ok(answer.body),
            404 => Err(LogError::NotFound { path: path.to_owned() }),
            _ => Err(refused(path, &answer)),
        }
    }
}

/// The error for an answer that the caller did not expect.
pub(crate) fn refused(path: &str, answer: &Answer) -> LogError {
    LogError::Refused { path: path.to_owned(), status: answer.status, message: answer.message() }
}
