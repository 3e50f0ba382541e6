//! Audit: rebuilding a log from its bytes. The one algorithm behind `fsck`, remote audits and the
//! test checker.
//!
//! Entries go in, in order; each is hashed again and the tree is grown again from nothing. Along
//! the way every tile is compared with the one that stands in the log, and every tree head that the
//! log ever signed with the head that the rebuilt tree has at that size. What does not agree comes
//! out as findings.
//!
//! [`Times`] does the same for the times that a log gave its entries.
//!
//! Invariants: no input is believed; a log without findings holds every entry that its signed heads
//! commit to. The number of findings kept is bounded; their count is not.
//! Out of scope: who signed the heads (the caller opens notes), where bytes come from, and derived
//! rows.

mod times;

use std::collections::BTreeMap;

use crate::append::RightEdge;
use crate::entry::{Entry, EntryKind};
use crate::hash::{Hash, hash_leaf};
use crate::tile::{TILE_LEVEL_MAX, TILE_WIDTH, Tile, TileKind, hashes_at};
use crate::tree::{LeafIndex, TreeHead};

pub use times::{Bounds, TimeFault, Times};

/// How many findings of each class are kept. More say nothing new, and a hostile log could fill
/// memory with them; those of one class must not keep out those of another.
pub const FINDINGS_MAX: usize = 1000;

/// Entries taken before the tree is grown by them: bounds memory, and makes hashing the only real
/// cost.
const BATCH: usize = 4096;

/// Something in a log that does not agree with the rest of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// The bytes at this index are not the canonical bytes of a known kind.
    EntryUnreadable {
        /// Where.
        index: LeafIndex,
    },
    /// A tile is missing or shorter than the tree demands.
    TileMissing {
        /// Which.
        tile: Tile,
    },
    /// A tile does not hold the hashes that the entries lead to.
    TileWrong {
        /// Which.
        tile: Tile,
    },
    /// A signed head has another root than the entries lead to: the log forked, or its entries
    /// changed.
    HeadWrong {
        /// What was signed.
        signed: TreeHead,
        /// The root of the entries at that size.
        rebuilt: Hash,
    },
    /// A signed head covers entries that are not there.
    HeadBeyondEntries {
        /// What was signed.
        signed: TreeHead,
    },
    /// Two heads of one size were signed with two roots. This needs no entries to be wrong.
    HeadsDisagree {
        /// One of them.
        one: TreeHead,
        /// The other.
        other: TreeHead,
    },
}

/// What a finding is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FindingClass {
    /// Entries that are not canonical bytes of a known kind.
    Entries,
    /// Tiles that are missing or wrong.
    Tiles,
    /// Signed heads that the entries do not lead to.
    Heads,
}

/// What an audit found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The head of the rebuilt tree.
    pub head: TreeHead,
    /// Entries by kind.
    pub kinds: BTreeMap<(&'static str, &'static str), u64>,
    /// How many signed heads were compared.
    pub heads_checked: usize,
    /// The first [`FINDINGS_MAX`] findings of each class.
    pub findings: Vec<Finding>,
    /// All findings, counted.
    pub findings_count: u64,
    /// The same by class.
    pub counts: BTreeMap<FindingClass, u64>,
}

impl Finding {
    /// What it is about.
    pub fn class(&self) -> FindingClass {
        match self {
            Self::EntryUnreadable { .. } => FindingClass::Entries,
            Self::TileMissing { .. } | Self::TileWrong { .. } => FindingClass::Tiles,
            Self::HeadWrong { .. }
            | Self::HeadBeyondEntries { .. }
            | Self::HeadsDisagree { .. } => FindingClass::Heads,
        }
    }
}

/// An audit under way.
pub struct Audit<'a> {
    edge: RightEdge,
    batch: Vec<Hash>,
    heads: BTreeMap<u64, Vec<TreeHead>>,
    tiles: Box<TileSource<'a>>,
    report: Report,
}

/// Gives the hashes of a tile as the log has them; `None` if it has no such tile. Asked for full
/// tiles only, but for those of [`Audit::compare_growing`].
pub type TileSource<'a> = dyn FnMut(Tile) -> Option<Vec<Hash>> + 'a;

impl<'a> Audit<'a> {
    /// Starts at the empty log. `heads` are all those that the log is known to have signed, in any
    /// order.
    pub fn new(heads: impl IntoIterator<Item = TreeHead>, tiles: Box<TileSource<'a>>) -> Self {
        let mut by_size: BTreeMap<u64, Vec<TreeHead>> = BTreeMap::new();
        for head in heads {
            let same_size = by_size.entry(head.size.get()).or_default();
            if !same_size.contains(&head) {
                same_size.push(head);
            }
        }
        let report = Report {
            head: TreeHead::EMPTY,
            kinds: BTreeMap::new(),
            heads_checked: 0,
            findings: Vec::new(),
            findings_count: 0,
            counts: BTreeMap::new(),
        };
        let mut audit =
            Self { edge: RightEdge::EMPTY, batch: Vec::new(), heads: by_size, tiles, report };
        audit.compare_heads(TreeHead::EMPTY);
        audit
    }

    /// Takes the next entry.
    pub fn entry(&mut self, bytes: &[u8]) {
        let index = self.next_index();
        match Entry::parse(bytes) {
            Ok(entry) => *self.report.kinds.entry(kind_key(entry.kind())).or_default() += 1,
            Err(_) => {
                let index =
                    LeafIndex::new(index).expect("the tree is still smaller than the largest");
                self.find(Finding::EntryUnreadable { index });
            }
        }
        self.leaf(hash_leaf(bytes));
    }

    /// Takes the leaf of the next entry, whose bytes the caller read.
    pub fn leaf(&mut self, leaf: Hash) {
        self.batch.push(leaf);
        if self.batch.len() == BATCH || self.heads.contains_key(&self.next_index()) {
            self.grow();
        }
    }

    /// Compares the growing tiles, as wide as the entries so far make them. A log serves those of
    /// the sizes that it published, and may drop them later; so only the caller knows when to ask.
    pub fn compare_growing(&mut self) {
        self.grow();
        let size = self.edge.size();
        for level in 0..=TILE_LEVEL_MAX {
            let rebuilt = self.edge.growing(level).to_vec();
            if rebuilt.is_empty() {
                continue;
            }
            let index = hashes_at(level, size) / TILE_WIDTH;
            let width = rebuilt.len() as u64;
            self.compare_tile(Tile { kind: TileKind::Hashes(level), index, width }, &rebuilt);
        }
    }

    /// Ends the audit: what is still unmatched becomes a finding.
    pub fn finish(mut self) -> Report {
        self.grow();
        let heads = self.take_beyond();
        for signed in heads {
            self.find(Finding::HeadBeyondEntries { signed });
        }
        self.finish_early()
    }

    /// Ends an audit that did not read every entry: heads of larger trees say nothing, unless they
    /// disagree among themselves.
    pub fn finish_early(mut self) -> Report {
        self.grow();
        self.take_beyond();
        self.report.head = self.edge.head();
        self.report
    }

    /// The heads of larger trees. Two of one size are a fork, whatever the entries are.
    fn take_beyond(&mut self) -> Vec<TreeHead> {
        let beyond: Vec<Vec<TreeHead>> = std::mem::take(&mut self.heads).into_values().collect();
        for same_size in &beyond {
            for pair in same_size.windows(2) {
                self.find(Finding::HeadsDisagree { one: pair[0], other: pair[1] });
            }
        }
        beyond.into_iter().flatten().collect()
    }

    fn next_index(&self) -> u64 {
        self.edge.size().get() + self.batch.len() as u64
    }

    /// Grows the tree by the batch, and compares what became complete.
    fn grow(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return;
        }
        let grown =
            self.edge.extend(&batch).expect("an audited log is smaller than the largest tree");
        for (tile, rebuilt) in &grown.full_tiles {
            self.compare_tile(*tile, rebuilt);
        }
        self.edge = grown.edge;
        self.compare_heads(grown.head);
    }

    fn compare_tile(&mut self, tile: Tile, rebuilt: &[Hash]) {
        match (self.tiles)(tile) {
            None => self.find(Finding::TileMissing { tile }),
            Some(hashes) if hashes != *rebuilt => self.find(Finding::TileWrong { tile }),
            Some(_) => {}
        }
    }

    fn compare_heads(&mut self, rebuilt: TreeHead) {
        for signed in self.heads.remove(&rebuilt.size.get()).unwrap_or_default() {
            self.report.heads_checked += 1;
            if signed.root != rebuilt.root {
                self.find(Finding::HeadWrong { signed, rebuilt: rebuilt.root });
            }
        }
    }

    fn find(&mut self, finding: Finding) {
        self.report.findings_count += 1;
        let count = self.report.counts.entry(finding.class()).or_default();
        *count += 1;
        if *count <= FINDINGS_MAX as u64 {
            self.report.findings.push(finding);
        }
    }
}

fn kind_key(kind: EntryKind) -> (&'static str, &'static str) {
    (kind.kind(), kind.version())
}

#[cfg(test)]
mod tests;
