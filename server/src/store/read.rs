//! Reading rows. Callers bound what they show by the published size; rows above it may be here
//! already.

use rocksdb::{Direction, IteratorMode};
use treering_proto::append::RightEdge;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::proof::ProofPlan;
use treering_proto::tile::{
    TILE_WIDTH, Tile, TileKind, decode_hashes, encode_hashes, hashes_at, node_in_tile, perfect_root,
};
use treering_proto::tree::{LeafIndex, Node, TreeHead, TreeSize};

use super::columns::{
    ENTRY_BY_INDEX, INDEX_BY_LEAF, META, NOTE_BY_SIZE, POSTING_BY_SEARCH_KEY, SET_BY_INDEX,
    STATEMENT_BY_PAYLOAD_HASH, TILE_BY_COORDINATE, TIME_BY_INDEX,
};
use super::format::{
    ACCESS_POLICY_KEY, CommittedHead, DATED_KEY, FROZEN_KEY, HEAD_KEY, IDENTITY_KEY, NotePair,
    Remembered, WITNESSED_KEY, number_key, posting_key, read_index, read_number, read_posting,
    tile_key,
};
use super::{Durable, Store, StoreError};

/// Which end of a list comes first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Highest index first.
    Newest,
    /// Lowest index first.
    Oldest,
}

/// What start-up read back: the committed head, and the edge rebuilt from rows.
pub struct Recovered {
    /// The right edge, rebuilt from entries and full tiles.
    pub edge: RightEdge,
    /// When the last batch was sequenced, Unix milliseconds.
    pub time_ms: u64,
}

impl Store {
    /// The canonical bytes at `index`.
    pub fn entry(&self, index: LeafIndex) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(ENTRY_BY_INDEX, &number_key(index.get()))
    }

    /// The entries from `first` on, exactly `count` of them.
    pub fn entries(&self, first: u64, count: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let mode_key = number_key(first);
        let mode = IteratorMode::From(&mode_key, Direction::Forward);
        let mut entries = Vec::new();
        for row in self.db.iterator_cf(self.column(ENTRY_BY_INDEX), mode).take(count as usize) {
            let (key, entry) = row.map_err(|source| self.failed("read entries", source))?;
            let expected = first + entries.len() as u64;
            if read_number(&key) != Some(expected) {
                return Err(self.damaged(ENTRY_BY_INDEX, expected));
            }
            entries.push(entry.into_vec());
        }
        if (entries.len() as u64) < count {
            return Err(self.damaged(ENTRY_BY_INDEX, first + entries.len() as u64));
        }
        Ok(entries)
    }

    /// When the entry at `index` was sequenced, Unix seconds.
    pub fn time(&self, index: LeafIndex) -> Result<Option<u64>, StoreError> {
        let bytes = self.read(TIME_BY_INDEX, &number_key(index.get()))?;
        bytes.map(|b| read_number(&b).ok_or_else(|| self.damaged(TIME_BY_INDEX, index))).transpose()
    }

    /// The SET kept for `index`.
    pub fn set(&self, index: LeafIndex) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(SET_BY_INDEX, &number_key(index.get()))
    }

    /// Where the entry with this leaf is.
    pub fn index_of(&self, leaf: &Hash) -> Result<Option<LeafIndex>, StoreError> {
        let bytes = self.read(INDEX_BY_LEAF, leaf.as_bytes())?;
        bytes.map(|b| read_index(&b).ok_or_else(|| self.damaged(INDEX_BY_LEAF, leaf))).transpose()
    }

    /// The statement with this payload hash.
    pub fn statement(&self, payload_hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(STATEMENT_BY_PAYLOAD_HASH, payload_hash.as_bytes())
    }

    /// The identity document.
    pub fn identity(&self) -> Result<Vec<u8>, StoreError> {
        self.read_meta(IDENTITY_KEY)?.ok_or_else(|| self.damaged(META, "identity"))
    }

    /// How far the log is committed.
    pub fn committed(&self) -> Result<CommittedHead, StoreError> {
        let bytes = self.read_meta(HEAD_KEY)?;
        bytes.and_then(|b| CommittedHead::from_bytes(&b)).ok_or_else(|| self.damaged(META, "head"))
    }

    /// The time that [`Store::put_date`] remembered last; 0 if none.
    pub fn date(&self) -> Result<u64, StoreError> {
        let Some(bytes) = self.read_meta(DATED_KEY)? else { return Ok(0) };
        read_number(&bytes).ok_or_else(|| self.damaged(META, "dated"))
    }

    /// Whether the log waits for witnesses, as [`Store::put_witnessed`] remembered.
    pub fn is_witnessed(&self) -> Result<bool, StoreError> {
        self.read_flag(WITNESSED_KEY, "witnessed")
    }

    /// Whether an access policy says who may write, as [`Store::put_access_policy`] remembered.
    pub fn has_access_policy(&self) -> Result<bool, StoreError> {
        self.read_flag(ACCESS_POLICY_KEY, "access-policy")
    }

    /// Whether the log takes no entries any more, as [`Store::freeze`] remembered.
    pub fn is_frozen(&self) -> Result<bool, StoreError> {
        self.read_flag(FROZEN_KEY, "frozen")
    }

    /// All settings that are remembered.
    pub fn remembered(&self) -> Result<Remembered, StoreError> {
        let (access_policy, frozen) = (self.has_access_policy()?, self.is_frozen()?);
        Ok(Remembered { witnesses: self.is_witnessed()?, access_policy, frozen })
    }

    fn read_flag(&self, key: &[u8], name: &'static str) -> Result<bool, StoreError> {
        match self.read_meta(key)?.as_deref() {
            None | Some([0]) => Ok(false),
            Some([1]) => Ok(true),
            Some(_) => Err(self.damaged(META, name)),
        }
    }

    /// A full tile of hashes.
    pub fn full_tile(&self, level: u8, index: u64) -> Result<Vec<Hash>, StoreError> {
        self.tile_if_present(level, index)?.ok_or_else(|| {
            let tile = Tile { kind: TileKind::Hashes(level), index, width: TILE_WIDTH };
            self.damaged(TILE_BY_COORDINATE, tile.path())
        })
    }

    /// A full tile of hashes, if it is stored and whole.
    pub fn tile_if_present(&self, level: u8, index: u64) -> Result<Option<Vec<Hash>>, StoreError> {
        let bytes = self.read(TILE_BY_COORDINATE, &tile_key(level, index))?;
        let hashes = bytes.and_then(|bytes| decode_hashes(&bytes));
        Ok(hashes.filter(|hashes| hashes.len() as u64 == TILE_WIDTH))
    }

    /// The hashes of `tile` in the tree that ends at `edge`; the caller has checked that the tree
    /// has it.
    fn tile(&self, level: u8, tile: Tile, edge: &RightEdge) -> Result<Vec<Hash>, StoreError> {
        let width = tile.width as usize;
        if tile.index == hashes_at(level, edge.size()) / TILE_WIDTH {
            return Ok(edge.growing(level)[..width].to_vec());
        }
        let mut hashes = self.full_tile(level, tile.index)?;
        hashes.truncate(width);
        Ok(hashes)
    }

    /// The same as the bytes of the tile: those of a full one are stored as they are served.
    pub fn tile_bytes(
        &self,
        level: u8,
        tile: Tile,
        edge: &RightEdge,
    ) -> Result<Vec<u8>, StoreError> {
        let width = tile.width as usize;
        if tile.index == hashes_at(level, edge.size()) / TILE_WIDTH {
            return Ok(encode_hashes(&edge.growing(level)[..width]));
        }
        let stored = self.read(TILE_BY_COORDINATE, &tile_key(level, tile.index))?;
        let whole = stored.filter(|bytes| bytes.len() as u64 == TILE_WIDTH * Hash::LEN as u64);
        let mut bytes = whole.ok_or_else(|| self.damaged(TILE_BY_COORDINATE, tile.path()))?;
        bytes.truncate(width * Hash::LEN);
        Ok(bytes)
    }

    /// The hashes of a proof over the tree that ends at `edge`.
    pub fn build(&self, plan: &ProofPlan, edge: &RightEdge) -> Result<Vec<Hash>, StoreError> {
        let mut last: Option<(Tile, Vec<Hash>)> = None;
        let mut hashes = Vec::new();
        for node in plan.nodes() {
            if let Some(hash) = edge.node(node) {
                hashes.push(hash);
                continue;
            }
            let tile = Tile::holding(node, edge.size())
                .expect("a plan within the size names only nodes that the tree has");
            // Neighbouring nodes of a proof mostly lie in one tile.
            if last.as_ref().is_none_or(|(held, _)| *held != tile) {
                last = Some((tile, self.tile_of(node, tile)?));
            }
            let held = last.as_ref().and_then(|(_, held)| node_in_tile(node, held));
            hashes.push(held.expect("a full tile holds every node below it"));
        }
        Ok(plan.build(&hashes))
    }

    /// The leaves at `indexes`, in their order, in the tree that ends at `edge`; the caller has
    /// checked that the tree has them. Neighbours cost one read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn leaves(&self, indexes: &[LeafIndex], edge: &RightEdge) -> Result<Vec<Hash>, StoreError> {
        let mut last: Option<(u64, Vec<Hash>)> = None;
        let mut leaves = Vec::with_capacity(indexes.len());
        for index in indexes {
            let (tile, at) = (index.get() / TILE_WIDTH, (index.get() % TILE_WIDTH) as usize);
            if last.as_ref().is_none_or(|(held, _)| *held != tile) {
                let width = (edge.size().get() - tile * TILE_WIDTH).min(TILE_WIDTH);
                let hashes = Tile { kind: TileKind::Hashes(0), index: tile, width };
                last = Some((tile, self.tile(0, hashes, edge)?));
            }
            leaves.extend(last.as_ref().map(|(_, held)| held[at]));
        }
        Ok(leaves)
    }

    /// The notes published for `size`.
    pub fn notes(&self, size: TreeSize) -> Result<Option<NotePair>, StoreError> {
        let bytes = self.read(NOTE_BY_SIZE, &number_key(size.get()))?;
        bytes
            .map(|b| NotePair::from_bytes(&b).ok_or_else(|| self.damaged(NOTE_BY_SIZE, size)))
            .transpose()
    }

    /// Published notes from `first` on, by size, at most `count`.
    pub fn notes_from(&self, first: u64, count: usize) -> Result<Vec<(u64, NotePair)>, StoreError> {
        let mode_key = number_key(first);
        let mode = IteratorMode::From(&mode_key, Direction::Forward);
        let rows = self.db.iterator_cf(self.column(NOTE_BY_SIZE), mode).take(count);
        rows.map(|row| {
            let (key, value) = row.map_err(|source| self.failed("read notes", source))?;
            let pair = read_number(&key).zip(NotePair::from_bytes(&value));
            pair.ok_or_else(|| self.damaged(NOTE_BY_SIZE, hex::encode(key)))
        })
        .collect()
    }

    /// The newest notes for a size of at most `size_max`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn notes_up_to(
        &self,
        size_max: TreeSize,
    ) -> Result<Option<(TreeSize, NotePair)>, StoreError> {
        let mode_key = number_key(size_max.get());
        let mode = IteratorMode::From(&mode_key, Direction::Reverse);
        let row = self.db.iterator_cf(self.column(NOTE_BY_SIZE), mode).next().transpose();
        let row = row.map_err(|source| self.failed("read notes", source))?;
        let read = |(key, value): (Box<[u8]>, Box<[u8]>)| {
            let size = read_number(&key).and_then(TreeSize::new);
            size.zip(NotePair::from_bytes(&value)).ok_or_else(|| self.damaged_notes(size_max))
        };
        row.map(read).transpose()
    }

    /// The error for notes that are not those of the log.
    pub fn damaged_notes(&self, size: TreeSize) -> StoreError {
        self.damaged(NOTE_BY_SIZE, size)
    }

    /// Indexes below `end` that were posted under `key`, starting at `from` inclusive, at most
    /// `count`.
    pub fn postings(
        &self,
        key: &Hash,
        from: Option<u64>,
        end: TreeSize,
        order: Order,
        count: usize,
    ) -> Result<Vec<LeafIndex>, StoreError> {
        let (start, direction) = match order {
            Order::Oldest => (from.unwrap_or(0), Direction::Forward),
            Order::Newest => {
                let Some(last) = end.get().checked_sub(1) else { return Ok(Vec::new()) };
                (from.unwrap_or(last).min(last), Direction::Reverse)
            }
        };
        let start = posting_key(key, start);
        let mode = IteratorMode::From(&start, direction);
        let mut found = Vec::new();
        for row in self.db.iterator_cf(self.column(POSTING_BY_SEARCH_KEY), mode) {
            let (posting, _) = row.map_err(|source| self.failed("search", source))?;
            match read_posting(&posting, key) {
                Some(index) if end.contains(index) && found.len() < count => found.push(index),
                _ => break,
            }
        }
        Ok(found)
    }

    /// Whether the entry at `index` was posted under `key`.
    pub fn is_posted(&self, key: &Hash, index: LeafIndex) -> Result<bool, StoreError> {
        Ok(self.read(POSTING_BY_SEARCH_KEY, &posting_key(key, index.get()))?.is_some())
    }

    /// Rebuilds the right edge from rows: leaves from entries, higher levels from the full tiles
    /// below them.
    ///
    /// The root of the result is thereby computed from stored bytes, not believed.
    pub fn recover(&self) -> Result<Recovered, StoreError> {
        let committed = self.committed()?;
        let edge = self.edge_at(committed.head.size)?;
        if edge.head() != committed.head {
            return Err(self.damaged(META, "head (its root is not that of the stored entries)"));
        }
        Ok(Recovered { edge, time_ms: committed.time_ms })
    }

    /// The right edge that the tree had at `size`, from rows.
    pub fn edge_at(&self, size: TreeSize) -> Result<RightEdge, StoreError> {
        let growing = size.get() % TILE_WIDTH;
        let leaves = self.entries(size.get() - growing, growing)?;
        let mut levels: Vec<Vec<Hash>> =
            vec![leaves.iter().map(|entry| hash_leaf(entry)).collect()];
        for level in 1..=treering_proto::tile::TILE_LEVEL_MAX {
            let end = hashes_at(level, size);
            let below = (end - end % TILE_WIDTH)..end;
            let roots = below.map(|index| Ok(perfect_root(&self.full_tile(level - 1, index)?)));
            levels.push(roots.collect::<Result<_, StoreError>>()?);
        }
        Ok(RightEdge::from_levels(size, levels)
            .expect("each level was read as long as the size demands"))
    }

    /// A head that start-up found on disk above `before`, to take through the same steps as a fresh
    /// commit.
    pub fn found_durable(&self, before: TreeHead, recovered: &Recovered) -> Durable {
        Durable {
            before,
            edge: recovered.edge.clone(),
            head: recovered.edge.head(),
            time_ms: recovered.time_ms,
        }
    }

    pub(super) fn read_meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(META, key)
    }

    fn tile_of(&self, node: Node, tile: Tile) -> Result<Vec<Hash>, StoreError> {
        let TileKind::Hashes(level) = tile.kind else {
            unreachable!("nodes such as {node:?} lie in hash tiles")
        };
        self.full_tile(level, tile.index)
    }

    fn read(&self, column: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf(self.column(column), key).map_err(|source| self.failed("read", source))
    }

    /// The head that the tree had at `size`, computed from rows.
    pub fn head_at(&self, size: TreeSize) -> Result<TreeHead, StoreError> {
        Ok(self.edge_at(size)?.head())
    }
}
