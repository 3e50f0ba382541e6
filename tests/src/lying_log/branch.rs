//! One tree that a log claims to have, whole in memory: entries, kept notes, tiles, proofs.
//!
//! A branch is honest in itself: its notes, tiles and proofs belong to its entries. A log lies by
//! showing more than one, or by what it does with them ([`super::Lie`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

use treering_proto::entry::{EntryError, EntryKind, Statement, VerifiedEntry};
use treering_proto::facts::search_key;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::proof::{ProofPlan, plan_consistency, plan_inclusion};
use treering_proto::tile::{TILE_HEIGHT, TILE_WIDTH, Tile, TileKind, perfect_root};
use treering_proto::tree::{LeafIndex, Node, TreeHead, TreeSize, join_subtrees, perfect_subtrees};

use super::keys::{Cosigning, Dates, Keys};

/// What time it is for a log or its witnesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clock {
    /// What it is for everybody.
    System,
    /// That, and so many seconds more.
    Shifted(i64),
    /// Always this, in Unix seconds.
    At(u64),
}

/// One entry, with what the log knows about it.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Kind and version.
    pub kind: EntryKind,
    /// The canonical bytes.
    pub body: Vec<u8>,
    /// Their leaf hash.
    pub leaf: Hash,
    /// When it was logged, Unix seconds.
    pub time: u64,
    /// The search keys of its facts.
    pub search_keys: BTreeSet<Hash>,
    /// What came with it.
    pub statement: Option<Statement>,
}

/// Both checkpoints of one published size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The tree.
    pub head: TreeHead,
    /// When it was published, Unix seconds.
    pub time: u64,
    /// The C2SP checkpoint.
    pub note: String,
    /// The Rekor v1 checkpoint.
    pub v1_note: String,
}

/// A tree, and every checkpoint that was published of it.
#[derive(Clone)]
pub struct Branch {
    keys: Arc<Keys>,
    logged: Vec<Logged>,
    kept: BTreeMap<u64, Kept>,
    /// Who cosigns what is published from now on.
    pub cosigning: Cosigning,
    /// When the log says that entries are logged from now on.
    pub clock: Clock,
    /// When witnesses say that they cosign from now on.
    pub witness_clock: Clock,
}

impl Clock {
    /// Unix seconds.
    ///
    /// # Panics
    /// If the time is before 1970.
    pub fn now(self) -> u64 {
        let system = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let system = system.expect("the system's clock is right").as_secs();
        match self {
            Self::System => system,
            Self::Shifted(seconds) => {
                system.checked_add_signed(seconds).expect("a shift within the century")
            }
            Self::At(time) => time,
        }
    }
}

impl Branch {
    /// The empty tree of the log with these keys, published.
    pub fn new(keys: &Arc<Keys>) -> Self {
        let mut branch = Self {
            keys: keys.clone(),
            logged: Vec::new(),
            kept: BTreeMap::new(),
            cosigning: Cosigning::All,
            clock: Clock::System,
            witness_clock: Clock::System,
        };
        branch.publish();
        branch
    }

    /// Whose tree it is.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.keys
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.logged.len() as u64
    }

    /// The entry at `index`, if there is one.
    pub fn logged(&self, index: u64) -> Option<&Logged> {
        self.logged.get(usize::try_from(index).ok()?)
    }

    /// Every entry.
    pub fn entries(&self) -> &[Logged] {
        &self.logged
    }

    /// Where the entry with this leaf is.
    pub fn index_of(&self, leaf: Hash) -> Option<u64> {
        self.logged.iter().position(|logged| logged.leaf == leaf).map(|at| at as u64)
    }

    /// Logs an entry and publishes the new tree.
    pub fn append(&mut self, entry: &VerifiedEntry) -> u64 {
        let facts = entry.facts().iter();
        self.logged.push(Logged {
            kind: entry.kind(),
            body: entry.body().to_vec(),
            leaf: entry.leaf(),
            time: self.clock.now(),
            search_keys: facts.map(|fact| search_key(fact.tag, &fact.value)).collect(),
            statement: entry.statement().cloned(),
        });
        self.publish();
        self.size() - 1
    }

    /// Logs canonical bytes that nobody verified, and publishes the new tree.
    ///
    /// # Errors
    /// If they name no kind of entry.
    pub fn append_raw(&mut self, body: &[u8]) -> Result<u64, EntryError> {
        self.logged.push(Logged {
            kind: EntryKind::of_body(body)?,
            body: body.to_vec(),
            leaf: hash_leaf(body),
            time: self.clock.now(),
            search_keys: BTreeSet::new(),
            statement: None,
        });
        self.publish();
        Ok(self.size() - 1)
    }

    /// Logs entries of another branch as they stand there, and publishes the new tree once.
    pub fn append_from(&mut self, other: &Self, range: Range<u64>) {
        let range = range.start as usize..range.end as usize;
        self.logged.extend_from_slice(&other.logged[range]);
        self.publish();
    }

    /// Signs the newest tree and has it cosigned, again if it was before.
    pub fn publish(&mut self) {
        let head = self.head(self.size());
        let time = self.clock.now();
        let dates = Dates { log: time, witnesses: self.witness_clock.now() };
        let note = self.keys.note(head, dates, &self.cosigning);
        let v1_note = self.keys.v1_note(head);
        self.kept.insert(self.size(), Kept { head, time, note, v1_note });
    }

    /// Lists a checkpoint of another branch among its own, in the place of that of its size.
    ///
    /// # Panics
    /// If the other published no such tree.
    pub fn also_keeps(&mut self, other: &Self, size: u64) {
        self.kept.insert(size, other.kept[&size].clone());
    }

    /// The branch as it was when it had `size` entries.
    pub fn truncated(&self, size: u64) -> Self {
        let mut branch = self.clone();
        branch.logged.truncate(size as usize);
        branch.kept.retain(|kept, _| *kept <= size);
        if !branch.kept.contains_key(&size) {
            branch.publish();
        }
        branch
    }

    /// The branch with another entry at `index`, published at its old size only.
    pub fn with_entry_changed(&self, index: u64, entry: &VerifiedEntry) -> Self {
        let mut branch = self.truncated(index);
        branch.append(entry);
        branch.append_from(self, index + 1..self.size());
        branch
    }

    /// The branch without the entry at `index`.
    pub fn with_entry_removed(&self, index: u64) -> Self {
        let mut branch = self.truncated(index);
        branch.append_from(self, index + 1..self.size());
        branch
    }

    /// What was published of the newest tree.
    ///
    /// # Panics
    /// Never: a branch is published when it changes.
    pub fn newest(&self) -> &Kept {
        &self.kept[&self.size()]
    }

    /// What was published of the tree of `size`.
    pub fn kept(&self, size: u64) -> Option<&Kept> {
        self.kept.get(&size)
    }

    /// Everything that was published, by size.
    pub fn all_kept(&self) -> &BTreeMap<u64, Kept> {
        &self.kept
    }

    /// Size and root of the first `size` entries.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn head(&self, size: u64) -> TreeHead {
        let roots: Vec<Hash> = perfect_subtrees(0, size).map(|node| self.node(node)).collect();
        TreeHead { size: tree_size(size), root: join_subtrees(&roots) }
    }

    /// The proof that the entry at `index` is in the tree of `size`.
    ///
    /// # Panics
    /// If it is not.
    pub fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        let index = LeafIndex::new(index).expect("a small index");
        self.build(&plan_inclusion(index, tree_size(size)).expect("an index in the tree"))
    }

    /// The proof that the tree of `new` starts with that of `old`.
    ///
    /// # Panics
    /// If `old` is larger.
    pub fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        let plan = plan_consistency(tree_size(old), tree_size(new));
        self.build(&plan.expect("sizes in order"))
    }

    /// The hashes of a tile of hashes; `None` for tiles that the tree does not have.
    pub fn hash_tile(&self, tile: Tile) -> Option<Vec<Hash>> {
        let TileKind::Hashes(level) = tile.kind else { return None };
        if !tile.is_within(tree_size(self.size())) {
            return None;
        }
        let first = tile.index * TILE_WIDTH;
        let node = |index| self.node(Node { level: level * TILE_HEIGHT, index });
        Some((first..first + tile.width).map(node).collect())
    }

    fn build(&self, plan: &ProofPlan) -> Vec<Hash> {
        let hashes: Vec<Hash> = plan.nodes().map(|node| self.node(node)).collect();
        plan.build(&hashes)
    }

    fn node(&self, node: Node) -> Hash {
        let first = (node.index << node.level) as usize;
        let logged = &self.logged[first..first + (1 << node.level)];
        let leaves: Vec<Hash> = logged.iter().map(|logged| logged.leaf).collect();
        perfect_root(&leaves)
    }
}

fn tree_size(size: u64) -> TreeSize {
    TreeSize::new(size).expect("a test's tree is small")
}
