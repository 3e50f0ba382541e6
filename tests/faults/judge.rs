//! Reads a served log from its first entry into the history, so that the checker can decide over
//! everything that was ever asked and served. It does not know what was done to the log, and
//! believes nothing that the server computed.

use std::net::SocketAddr;

use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::tile::{TILE_LEVEL_MAX, TILE_WIDTH, Tile, TileKind, decode_entries, hashes_at};
use treering_proto::tree::{TreeHead, TreeSize};
use treering_tests::checker::event::{Source, Span, Who, now};
use treering_tests::checker::{History, Invariant, Rebuilt, wire};
use treering_tests::http::Connection;

use crate::violation::{Checked, Promise, broken};
use crate::workload::{Signed, size_of};

/// Entries that are read with their proofs.
const SINGLES_MAX: u64 = 24;

/// Signers whose entries are searched for, the newest first.
const SEARCHED_MAX: usize = 24;

/// Earlier heads from which consistency is asked for.
const OLD_HEADS_MAX: usize = 4;

/// Reads of one log, on their way into its history.
pub(crate) struct Reader<'a> {
    /// Where the log is served.
    pub(crate) address: SocketAddr,
    /// Whoever reads, of which process.
    pub(crate) who: Who,
    /// Where everything goes.
    pub(crate) history: &'a mut History,
}

impl Reader<'_> {
    /// Reads everything, and searches for what these signers submitted. `old` are heads that were
    /// rebuilt before.
    pub(crate) fn read(mut self, signed: &[Signed], old: &[TreeHead]) -> Checked<Rebuilt> {
        let at = now();
        let (note, _) = self
            .checkpoint("/checkpoint", |body| Some(String::from_utf8_lossy(body).into_owned()))?;
        self.checkpoint("/api/v1/log", wire::v1_head)?;
        let Some(size) = size_of(&note) else {
            return broken(Invariant::Offline, format!("not a checkpoint: {note:?}"));
        };
        let rebuilt = Rebuilt::new(at, self.leaves(size)?);
        self.hash_tiles(size)?;
        let step = (size / SINGLES_MAX).max(1);
        for index in (0..size).step_by(step as usize) {
            self.single(index)?;
        }
        for signer in signed.iter().rev().take(SEARCHED_MAX) {
            self.search(signer)?;
        }
        let new = rebuilt.head();
        // Nothing is proven from the empty tree, and Rekor v1 refuses to be asked.
        let is_asked = |old: &&TreeHead| (1..new.size.get()).contains(&old.size.get());
        for old in old.iter().rev().filter(is_asked).take(OLD_HEADS_MAX) {
            self.consistency(*old, new)?;
        }
        Ok(rebuilt)
    }

    /// The bytes at `path`, of a log that must have them, and when they were read. On a connection
    /// of its own: between two requests the checker works for longer than a server keeps an idle
    /// one.
    fn get(&self, path: &str) -> Checked<(Vec<u8>, Span)> {
        let start = now();
        match Connection::open(self.address).and_then(|mut to| to.get(path)) {
            Ok(response) if response.status == 200 => {
                Ok((response.body, Span { start, end: now() }))
            }
            Ok(response) => {
                let what = format!("{path}: {} {}", response.status, response.text());
                match response.status {
                    500.. => broken(Promise::Available, what),
                    _ => broken(Invariant::Durable, what),
                }
            }
            Err(error) => broken(Promise::Available, format!("{path}: {error}")),
        }
    }

    fn checkpoint(
        &mut self,
        path: &str,
        read: impl Fn(&[u8]) -> Option<String>,
    ) -> Checked<(String, Span)> {
        let (body, span) = self.get(path)?;
        let Some(note) = read(&body) else {
            return broken(Invariant::Offline, format!("{path} has no checkpoint"));
        };
        self.history.checkpoint(self.who, span, Source::Newest, &note);
        Ok((note, span))
    }

    fn leaves(&mut self, size: u64) -> Checked<Vec<Hash>> {
        let mut leaves = Vec::new();
        while (leaves.len() as u64) < size {
            let first = leaves.len() as u64;
            let width = TILE_WIDTH.min(size - first);
            let tile = Tile { kind: TileKind::Entries, index: first / TILE_WIDTH, width };
            let bytes = self.tile(tile)?;
            match decode_entries(&bytes, width) {
                Ok(entries) => leaves.extend(entries.into_iter().map(hash_leaf)),
                Err(error) => {
                    return broken(Invariant::Content, format!("{}: {error:?}", tile.path()));
                }
            }
        }
        Ok(leaves)
    }

    fn tile(&mut self, tile: Tile) -> Checked<Vec<u8>> {
        let (bytes, span) = self.get(&format!("/{}", tile.path()))?;
        self.history.tile(self.who, span, tile, &bytes);
        Ok(bytes)
    }

    /// Every tile of hashes, the growing ones at their present width.
    fn hash_tiles(&mut self, size: u64) -> Checked {
        let Some(size) = TreeSize::new(size) else { return Ok(()) };
        for level in 0..=TILE_LEVEL_MAX {
            let hashes = hashes_at(level, size);
            let mut first = 0;
            while first < hashes {
                let width = TILE_WIDTH.min(hashes - first);
                let index = first / TILE_WIDTH;
                self.tile(Tile { kind: TileKind::Hashes(level), index, width })?;
                first += width;
            }
        }
        Ok(())
    }

    fn single(&mut self, index: u64) -> Checked {
        let path = format!("/api/treering/v1/entries/{index}");
        let (body, span) = self.get(&path)?;
        match wire::v2_bundle(&body) {
            Some(bundle) => self.history.entry(self.who, span, bundle),
            None => return broken(Invariant::Offline, format!("{path} is no entry")),
        }
        Ok(())
    }

    fn search(&mut self, signer: &Signed) -> Checked {
        let mut connection = self.connect()?;
        match wire::search(&mut connection, self.who, &signer.key, signer.leaves()) {
            Some(seen) => self.history.search(seen),
            None => return broken(Promise::Available, format!("no search for {}", signer.key)),
        }
        Ok(())
    }

    fn consistency(&mut self, old: TreeHead, new: TreeHead) -> Checked {
        let mut connection = self.connect()?;
        match wire::consistency(&mut connection, self.who, old, new) {
            Some(seen) => self.history.consistency(seen),
            None => {
                let what = format!("no consistency proof from {} to {}", old.size, new.size);
                return broken(Promise::Available, what);
            }
        }
        Ok(())
    }

    fn connect(&self) -> Checked<Connection> {
        Connection::open(self.address)
            .or_else(|error| broken(Promise::Available, format!("no connection: {error}")))
    }
}
