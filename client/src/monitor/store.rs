//! The index of one log: what was read, verified and compared with the rules, in one file.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | format, origin, start, edge, latest, and the numbers of [`State`] |
//! | `tiles` | level, index | full tile of hashes, as we computed it |
//! | `runs` | first index | records of consecutive entries (see `record`) |
//! | `postings` | first byte of the search key, first index | block (see `postings`) |
//! | `relations` | row (see `relations`) | |
//! | `seen` | face, size, root | the first note that stated this head |
//! | `told` | finding id | |
//! | `counts` | kind of finding | how many were told |
//!
//! Invariants: everything about a chunk of entries is written in one transaction, with the edge
//! that it leads to; `seen` and `told` only grow. One process writes; others may read meanwhile.
//! Out of scope: what may be written (see `keeper`).

use std::path::{Path, PathBuf};

use redb::{
    Builder, ConcurrencyMode, Database, DatabaseError, ReadOnlyDatabase, ReadTransaction,
    ReadableDatabase as _, ReadableTable as _, Table, TableDefinition, WriteTransaction,
};
use treering_proto::append::RightEdge;
use treering_proto::hash::Hash;
use treering_proto::tile::{
    TILE_LEVEL_MAX, TILE_WIDTH, Tile, TileKind, decode_hashes, hashes_at, node_in_tile,
};
use treering_proto::tree::{Node, TreeSize};

use super::postings;
use super::record::Record;

/// The file in the directory of a log.
pub const INDEX_FILE: &str = "index.redb";

/// The value of `format`.
const FORMAT: &[u8] = b"treering monitor index v1";

/// Memory for pages: a chunk of entries and what is looked up for it.
const CACHE_BYTES: usize = 256 << 20;

pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
pub(super) const TILES: TableDefinition<(u8, u64), &[u8]> = TableDefinition::new("tiles");
pub(super) const RUNS: TableDefinition<u64, &[u8]> = TableDefinition::new("runs");
pub(super) const POSTINGS: TableDefinition<(u8, u64), &[u8]> = TableDefinition::new("postings");
pub(super) const RELATIONS: TableDefinition<&[u8; 33], ()> = TableDefinition::new("relations");
pub(super) const SEEN: TableDefinition<(u8, u64, &[u8; 32]), &[u8]> = TableDefinition::new("seen");
pub(super) const TOLD: TableDefinition<&[u8; 16], ()> = TableDefinition::new("told");
pub(super) const COUNTS: TableDefinition<&str, u64> = TableDefinition::new("counts");

/// Which face of a log a note is from: the first member of the key of `seen`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Face {
    /// C2SP.
    C2sp = 0,
    /// Rekor v1.
    V1 = 1,
}

/// Why the index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or the system refused.
    #[error("the index {}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What was said.
        source: Box<redb::Error>,
    },
    /// Another monitor has it.
    #[error("the index {} is in use by another monitor", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// There is none.
    #[error("there is no index at {}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The index of another log, or of a later version.
    #[error("the index {} is {what}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// A row that no monitor wrote.
    #[error("the index is damaged: {0}. Move the directory away and let the monitor read again")]
    Damaged(&'static str),
    /// A file beside the index.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Where the monitor is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// The first entry that was read: 0, or the size of a pinned checkpoint.
    pub start: u64,
    /// The verified tree.
    pub edge: RightEdge,
    /// The largest checkpoint that was accepted, byte for byte; its tree may be larger than what is
    /// verified.
    pub latest: Option<Vec<u8>>,
    /// Bytes of `findings.jsonl` that the state knows.
    pub journal: u64,
    /// Entries whose relations are kept.
    pub relations: u64,
    /// When a round last ended well: Unix seconds, 0 for never.
    pub success: u64,
    /// The newest time that the log itself signed.
    pub time: u64,
    /// Up to which size every head that was seen was held against our own tree.
    pub compared: u64,
}

/// The index, for the one that writes.
pub struct Store {
    db: Database,
    path: PathBuf,
}

/// The index, for those who look.
pub struct Index {
    db: ReadOnlyDatabase,
    path: PathBuf,
}

/// A snapshot of the index.
pub struct Snapshot {
    pub(super) transaction: ReadTransaction,
    path: PathBuf,
}

impl Store {
    /// Opens or makes the index of `origin` in `directory`. A new one starts with `edge`, which is
    /// that of the checkpoint `latest` if it is pinned to one: both stand in one transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(
        directory: &Path,
        origin: &str,
        edge: &RightEdge,
        latest: Option<&[u8]>,
    ) -> Result<Self, StoreError> {
        let path = directory.join(INDEX_FILE);
        let is_new = !path.exists();
        let db = builder().create(&path).map_err(|error| open_error(&path, error))?;
        let store = Self { db, path };
        if is_new || store.snapshot()?.is_empty()? {
            store.make(origin, edge, latest)?;
        }
        let found = store.snapshot()?.origin()?;
        if found != origin {
            let what = format!("of the log {found}, not of {origin}");
            return Err(StoreError::Foreign { path: store.path, what });
        }
        Ok(store)
    }

    /// What is committed now.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let transaction = self.db.begin_read().map_err(|error| self.failed(error))?;
        Ok(Snapshot { transaction, path: self.path.clone() })
    }

    /// Starts the one transaction that may write. What is not committed is undone.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.db.begin_write().map_err(|error| self.failed(error))?;
        // After a crash the file need not be walked from end to end.
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    /// Wraps what the database says.
    pub fn failed(&self, error: impl Into<redb::Error>) -> StoreError {
        StoreError::Database { path: self.path.clone(), source: Box::new(error.into()) }
    }

    fn make(
        &self,
        origin: &str,
        edge: &RightEdge,
        latest: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let transaction = self.begin()?;
        let made = (|| {
            let mut meta = transaction.open_table(META)?;
            meta.insert("format", FORMAT)?;
            meta.insert("origin", origin.as_bytes())?;
            meta.insert("start", &edge.size().get().to_be_bytes()[..])?;
            meta.insert("relations", &edge.size().get().to_be_bytes()[..])?;
            write_edge(&mut meta, edge)?;
            if let Some(note) = latest {
                meta.insert("latest", note)?;
            }
            transaction.open_table(TILES)?;
            transaction.open_table(RUNS)?;
            transaction.open_table(POSTINGS)?;
            transaction.open_table(RELATIONS)?;
            transaction.open_table(SEEN)?;
            transaction.open_table(TOLD)?;
            transaction.open_table(COUNTS)?;
            Ok::<(), redb::Error>(())
        })();
        made.map_err(|error| self.failed(error))?;
        transaction.commit().map_err(|error| self.failed(error))
    }
}

impl Index {
    /// Opens the index in `directory`, which another process may be writing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(INDEX_FILE);
        if !path.exists() {
            return Err(StoreError::Missing { path });
        }
        let db = builder().open_read_only(&path).map_err(|error| open_error(&path, error))?;
        Ok(Self { db, path })
    }

    /// What is committed now.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let failed = |error: redb::TransactionError| StoreError::Database {
            path: self.path.clone(),
            source: Box::new(error.into()),
        };
        let transaction = self.db.begin_read().map_err(failed)?;
        Ok(Snapshot { transaction, path: self.path.clone() })
    }
}

impl Snapshot {
    /// The origin of the log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn origin(&self) -> Result<String, StoreError> {
        if self.meta("format")?.as_deref() != Some(FORMAT) {
            let what = "not an index of this version of treering".to_owned();
            return Err(StoreError::Foreign { path: self.path.clone(), what });
        }
        let origin = self.meta("origin")?.ok_or(StoreError::Damaged("it has no origin"))?;
        String::from_utf8(origin).map_err(|_| StoreError::Damaged("its origin is no text"))
    }

    /// Where the monitor is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn state(&self) -> Result<State, StoreError> {
        let edge = self.meta("edge")?.and_then(|bytes| read_edge(&bytes));
        Ok(State {
            start: self.number("start")?,
            edge: edge.ok_or(StoreError::Damaged("its edge is no edge"))?,
            latest: self.meta("latest")?,
            journal: self.number("journal")?,
            relations: self.number("relations")?,
            success: self.number("success")?,
            time: self.number("time")?,
            compared: self.number("compared")?,
        })
    }

    /// The full tile of hashes that we computed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<Hash>>, StoreError> {
        let read = || {
            let table = self.transaction.open_table(TILES)?;
            let row = table.get((level, index))?;
            Ok::<_, redb::Error>(row.map(|row| decode_hashes(row.value())))
        };
        match read().map_err(|error| self.failed(error))? {
            None => Ok(None),
            Some(hashes) => hashes.map(Some).ok_or(StoreError::Damaged("a tile is no tile")),
        }
    }

    /// The hash of `node` in our tree, whose edge is `edge`; `None` for what lies before the start.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn node(&self, edge: &RightEdge, node: Node) -> Result<Option<Hash>, StoreError> {
        if let Some(hash) = edge.node(node) {
            return Ok(Some(hash));
        }
        match Tile::holding(node, edge.size()) {
            Some(Tile { kind: TileKind::Hashes(level), index, .. }) => {
                Ok(self.tile(level, index)?.and_then(|hashes| node_in_tile(node, &hashes)))
            }
            _ => Ok(None),
        }
    }

    /// The leaf at `index`; `None` if it was not read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn leaf(&self, edge: &RightEdge, index: u64) -> Result<Option<Hash>, StoreError> {
        if index >= edge.size().get() {
            return Ok(None);
        }
        self.node(edge, Node { level: 0, index })
    }

    /// What is kept of the entry at `index`; `None` if it was not read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn record(&self, index: u64) -> Result<Option<Record>, StoreError> {
        let read = || {
            let table = self.transaction.open_table(RUNS)?;
            let Some(row) = table.range(..=index)?.next_back() else { return Ok(None) };
            let (first, run) = row?;
            let position = usize::try_from(index - first.value()).unwrap_or(usize::MAX);
            Ok::<_, redb::Error>(Record::at(run.value(), position))
        };
        read().map_err(|error| self.failed(error))
    }

    /// The first run that starts at `from` or later: its first index, and its bytes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn run_from(&self, from: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let read = || {
            let table = self.transaction.open_table(RUNS)?;
            let Some(row) = table.range(from..)?.next() else { return Ok(None) };
            let (first, run) = row?;
            Ok::<_, redb::Error>(Some((first.value(), run.value().to_vec())))
        };
        read().map_err(|error| self.failed(error))
    }

    /// The entries that have the fact of `key`, ascending.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn postings(&self, key: &Hash) -> Result<Vec<u64>, StoreError> {
        let read = || {
            let table = self.transaction.open_table(POSTINGS)?;
            let bucket = postings::bucket(key);
            let mut found = Vec::new();
            for row in table.range((bucket, 0)..=(bucket, u64::MAX))? {
                match postings::find(row?.1.value(), key) {
                    Some(indexes) => found.extend(indexes),
                    None => return Ok(None),
                }
            }
            Ok::<_, redb::Error>(Some(found))
        };
        let found = read().map_err(|error| self.failed(error))?;
        found.ok_or(StoreError::Damaged("a block of postings is none"))
    }

    /// How many findings of each kind were told.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn counts(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let read = || {
            let table = self.transaction.open_table(COUNTS)?;
            let mut counts = Vec::new();
            for row in table.iter()? {
                let (kind, count) = row?;
                counts.push((kind.value().to_owned(), count.value()));
            }
            Ok::<_, redb::Error>(counts)
        };
        read().map_err(|error| self.failed(error))
    }

    fn is_empty(&self) -> Result<bool, StoreError> {
        let mut tables = self.transaction.list_tables().map_err(|error| self.failed(error))?;
        Ok(tables.next().is_none())
    }

    fn number(&self, name: &str) -> Result<u64, StoreError> {
        match self.meta(name)? {
            None => Ok(0),
            Some(bytes) => match bytes.try_into() {
                Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
                Err(_) => Err(StoreError::Damaged("a number is none")),
            },
        }
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = || {
            let table = self.transaction.open_table(META)?;
            let row = table.get(name)?;
            Ok::<_, redb::Error>(row.map(|row| row.value().to_vec()))
        };
        read().map_err(|error| self.failed(error))
    }

    pub(super) fn failed(&self, error: impl Into<redb::Error>) -> StoreError {
        StoreError::Database { path: self.path.clone(), source: Box::new(error.into()) }
    }
}

/// Writes the edge: the size, and the hashes of each growing tile, low levels first.
pub(super) fn write_edge(
    meta: &mut Table<'_, &str, &[u8]>,
    edge: &RightEdge,
) -> Result<(), redb::Error> {
    let mut bytes = edge.size().get().to_be_bytes().to_vec();
    for level in 0..=TILE_LEVEL_MAX {
        edge.growing(level).iter().for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
    }
    meta.insert("edge", bytes.as_slice())?;
    Ok(())
}

fn read_edge(bytes: &[u8]) -> Option<RightEdge> {
    let (size, rest) = bytes.split_first_chunk::<8>()?;
    let size = TreeSize::new(u64::from_be_bytes(*size))?;
    let mut hashes = rest.chunks(Hash::LEN).map(Hash::from_slice);
    let mut levels = Vec::new();
    for level in 0..=TILE_LEVEL_MAX {
        let count = (hashes_at(level, size) % TILE_WIDTH) as usize;
        levels.push(hashes.by_ref().take(count).collect::<Option<Vec<_>>>()?);
    }
    match hashes.next() {
        None => RightEdge::from_levels(size, levels).ok(),
        Some(_) => None,
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_concurrency_mode(ConcurrencyMode::SingleWriter);
    builder
}

fn open_error(path: &Path, error: DatabaseError) -> StoreError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse { path },
        error => StoreError::Database { path, source: Box::new(error.into()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_reads_back_at_every_kind_of_size() {
        for size in [0, 1, 255, 256, 257, 65_535, 65_536, 65_800] {
            let leaves: Vec<Hash> = (0..size).map(|i: u64| Hash([i as u8; 32])).collect();
            let edge = RightEdge::EMPTY.extend(&leaves).unwrap().edge;
            let dir = tempfile::TempDir::new().unwrap();
            let store = Store::open(dir.path(), "a", &edge, None).unwrap();
            assert_eq!(store.snapshot().unwrap().state().unwrap().edge, edge, "{size}");
        }
        assert_eq!(read_edge(&[0; 7]), None);
        assert_eq!(read_edge(&[0; 40]), None);
    }

    #[test]
    fn one_writes_others_look_and_another_log_is_refused() {
        let dir = tempfile::TempDir::new().unwrap();
        assert!(matches!(Index::open(dir.path()), Err(StoreError::Missing { .. })));
        let store = Store::open(dir.path(), "a", &RightEdge::EMPTY, None).unwrap();
        let again = Store::open(dir.path(), "a", &RightEdge::EMPTY, None);
        assert!(matches!(again, Err(StoreError::InUse { .. })));
        let index = Index::open(dir.path()).unwrap();
        assert_eq!(index.snapshot().unwrap().origin().unwrap(), "a");
        drop((store, index));
        let other = Store::open(dir.path(), "b", &RightEdge::EMPTY, None);
        assert!(matches!(other, Err(StoreError::Foreign { .. })));
    }
}
