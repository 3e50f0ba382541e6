//! `check_log`: rebuilds a served log from its entry tiles and holds everything against it: tiles,
//! every checkpoint ever seen, every acknowledgement, and single entries with their proofs. What it
//! reads goes into the record of the history, and the checker judges all of that.
//!
//! Nothing that the server computes is believed: entries are hashed again, the tree is grown again
//! (`treering_proto::audit`), and only then compared.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use treering_proto::api::v2::TransparencyLogEntry;
use treering_proto::append::RightEdge;
use treering_proto::audit::Audit;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::proof::check_inclusion;
use treering_proto::tile::{
    TILE_LEVEL_MAX, TILE_WIDTH, Tile, TileKind, decode_entries, decode_hashes, hashes_at,
};
use treering_proto::tree::{LeafIndex, TreeHead, TreeSize};

use crate::checker::event::{Span, now};
use crate::checker::{self, wire};
use crate::history::{Attempt, History};
use crate::http::Connection;
use crate::server::Server;

/// Entries that are fetched one by one with their proofs; of more, every n-th is.
const SINGLES_MAX: u64 = 200;

/// What a log serves, rebuilt.
pub struct Rebuilt {
    /// The published head, equal to that of the entries.
    pub head: TreeHead,
    /// Every entry.
    pub entries: Vec<Vec<u8>>,
}

/// Checks that the log tells one story: its own bytes, and all that `history` remembers.
///
/// # Panics
/// With the first thing that does not agree.
pub fn check_log(server: &Server, history: &mut History) -> Rebuilt {
    check_served(server.address, history)
}

/// The same of whatever log listens at `address`.
///
/// # Panics
/// With the first thing that does not agree.
pub fn check_served(address: SocketAddr, history: &mut History) -> Rebuilt {
    let connection = Connection::open(address).expect("the log listens");
    let reader = Reader { connection: RefCell::new(connection), read: RefCell::default() };
    let get = |path: &str| reader.get(path).0;
    let at = now();
    let (note, span) = reader.get("/checkpoint");
    let head = history.fetched(&String::from_utf8_lossy(&note), span);
    let (info, span) = reader.get("/api/v1/log");
    let info: serde_json::Value = serde_json::from_slice(&info).expect("JSON");
    let v1_note = info["signedTreeHead"].as_str().expect("a v1 checkpoint");
    let v1_head = history.fetched(v1_note, span);
    assert!(v1_head.size >= head.size, "the v1 face was asked later and knows less");

    let entries = fetch_entries(&get, v1_head.size);
    let hash_tile = |tile: Tile| {
        assert_eq!(tile.width, TILE_WIDTH, "the audit asks for full tiles");
        decode_hashes(&get(&format!("/{}", tile.path())))
    };
    let mut audit = Audit::new(history.heads(), Box::new(hash_tile));
    entries.iter().for_each(|entry| audit.entry(entry));
    let report = audit.finish();
    assert_eq!(report.findings, [], "the audit found something");
    assert_eq!(report.head, v1_head, "the entries lead to the published head");
    check_growing_tiles(&get, &entries);
    check_attempts(&entries, &history.attempts);
    check_singles(&get, &entries, history);
    let rebuilt = checker::Rebuilt::new(at, entries.iter().map(|e| hash_leaf(e)).collect());
    reader.remember(history);
    let verdict = checker::check(&history.record, &rebuilt);
    assert!(verdict.violations.is_empty(), "{verdict}");
    Rebuilt { head: v1_head, entries }
}

/// A connection that remembers what it read.
struct Reader {
    connection: RefCell<Connection>,
    read: RefCell<Vec<(String, Span, Vec<u8>)>>,
}

impl Reader {
    /// The bytes at `path`, and when they were read.
    fn get(&self, path: &str) -> (Vec<u8>, Span) {
        let start = now();
        let bytes = fetch(&mut self.connection.borrow_mut(), path);
        let span = Span { start, end: now() };
        self.read.borrow_mut().push((path.to_owned(), span, bytes.clone()));
        (bytes, span)
    }

    /// Puts tiles and entries into the record.
    fn remember(self, history: &mut History) {
        let who = history.who();
        for (path, span, bytes) in self.read.into_inner() {
            if let Ok(tile) = Tile::parse_path(path.trim_start_matches('/')) {
                history.record.tile(who, span, tile, &bytes);
            } else if path.starts_with(SINGLE) {
                let bundle = wire::v2_bundle(&bytes).expect("it was read before");
                history.record.entry(who, span, bundle);
            }
        }
    }
}

/// Where single entries are.
const SINGLE: &str = "/api/treering/v1/entries/";

/// The bytes at `path`.
///
/// # Panics
/// If the answer is not 200.
pub fn fetch(connection: &mut Connection, path: &str) -> Vec<u8> {
    let response = connection.get(path).expect("the server answers");
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    response.body
}

/// Every entry below `size`, from entry tiles.
fn fetch_entries(get: &impl Fn(&str) -> Vec<u8>, size: TreeSize) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    while (entries.len() as u64) < size.get() {
        let first = entries.len() as u64;
        let width = TILE_WIDTH.min(size.get() - first);
        let tile = Tile { kind: TileKind::Entries, index: first / TILE_WIDTH, width };
        let bytes = get(&format!("/{}", tile.path()));
        let decoded = decode_entries(&bytes, width).expect("an entry tile of its width");
        entries.extend(decoded.into_iter().map(<[u8]>::to_vec));
    }
    entries
}

/// The audit looks at full tiles; the growing ones are prefixes of what will be full.
fn check_growing_tiles(get: &impl Fn(&str) -> Vec<u8>, entries: &[Vec<u8>]) {
    let leaves: Vec<Hash> = entries.iter().map(|entry| hash_leaf(entry)).collect();
    let grown = RightEdge::EMPTY.extend(&leaves).expect("a test's log is small").edge;
    for level in 0..=TILE_LEVEL_MAX {
        let hashes = grown.growing(level);
        if hashes.is_empty() {
            continue;
        }
        let index = hashes_at(level, grown.size()) / TILE_WIDTH;
        let tile = Tile { kind: TileKind::Hashes(level), index, width: hashes.len() as u64 };
        let served = decode_hashes(&get(&format!("/{}", tile.path())));
        assert_eq!(served.as_deref(), Some(hashes), "{}", tile.path());
    }
}

/// Every acknowledged entry stands where it was said to be, and none stands twice.
fn check_attempts(entries: &[Vec<u8>], attempts: &[Attempt]) {
    let mut index_of = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let earlier = index_of.insert(hash_leaf(entry), index as u64);
        assert_eq!(earlier, None, "entry {index} stands in the log twice");
    }
    let mut submitted = HashSet::new();
    for attempt in attempts {
        let leaf = attempt.submission.entry.leaf();
        submitted.insert(leaf);
        if let Some(index) = attempt.index {
            assert_eq!(index_of.get(&leaf), Some(&index), "an acknowledged entry moved");
            assert_eq!(entries[index as usize], attempt.submission.entry.body());
        }
    }
    let strangers = index_of.keys().filter(|leaf| !submitted.contains(leaf)).count();
    assert_eq!(strangers, 0, "the log holds entries that nobody submitted");
}

/// Single entries as Treering's own face serves them, each with a proof to a signed head.
fn check_singles(get: &impl Fn(&str) -> Vec<u8>, entries: &[Vec<u8>], history: &mut History) {
    let step = (entries.len() as u64 / SINGLES_MAX).max(1);
    for index in (0..entries.len() as u64).step_by(step as usize) {
        let answer = get(&format!("{SINGLE}{index}"));
        let entry = TransparencyLogEntry::parse(&answer).expect("an entry with its proof");
        let proof = &entry.inclusion_proof;
        let at = LeafIndex::new(index).expect("a small index");
        assert_eq!((entry.log_index, proof.log_index), (at, at));
        assert_eq!(entry.canonicalized_body, entries[index as usize]);
        let signed = history.saw(&proof.checkpoint);
        assert_eq!(signed, TreeHead { size: proof.tree_size, root: proof.root_hash });
        let leaf = hash_leaf(&entry.canonicalized_body);
        assert_eq!(check_inclusion(at, signed, leaf, &proof.hashes), Ok(()), "index {index}");
    }
}
