//! The history: an append-only record of what was asked of one log, what it served, and what was
//! done to it.
//!
//! Invariants: nothing is taken out again; a million submissions fit in memory; whoever appends
//! need not append in the order of time.

use std::collections::HashMap;

use treering_proto::hash::{Hash, hash_leaf, sha256};
use treering_proto::identity::LogIdentity;
use treering_proto::note::NoteKey;
use treering_proto::tile::{Tile, TileKind, decode_entries, decode_hashes, encode_hashes};
use treering_proto::tree::TreeHead;

use super::event::{
    Answer, Bundle, Held, Mark, Marked, Moment, NoteId, Request, SeenCheckpoint, SeenConsistency,
    SeenEntry, SeenSearch, SeenTile, Source, Span, Told, Who, now, unix_at_zero,
};

/// What is remembered of one log. Fields are read by the checker; what appends are the methods.
#[derive(Clone, Debug)]
pub struct History {
    /// Who the log is.
    pub(super) identity: LogIdentity,
    /// The key of the log's own dated line, if it has one.
    pub(super) time_key: Option<NoteKey>,
    /// Whose cosignatures must verify.
    pub(super) witnesses: Vec<NoteKey>,
    /// Unix microseconds at moment 0.
    pub(super) unix_at_zero: u64,
    /// Whether every submission that the log ever got is here.
    pub(super) is_whole: bool,
    pub(super) notes: Vec<String>,
    ids: HashMap<Hash, NoteId>,
    pub(super) requests: Vec<Request>,
    pub(super) checkpoints: Vec<SeenCheckpoint>,
    pub(super) tiles: Vec<SeenTile>,
    pub(super) entries: Vec<SeenEntry>,
    pub(super) consistencies: Vec<SeenConsistency>,
    pub(super) searches: Vec<SeenSearch>,
    pub(super) held: Vec<Held>,
    pub(super) marks: Vec<Marked>,
}

impl History {
    /// Nothing is remembered yet of the log with this identity.
    pub fn new(identity: &LogIdentity) -> Self {
        Self {
            identity: identity.clone(),
            time_key: None,
            witnesses: Vec::new(),
            unix_at_zero: unix_at_zero(),
            is_whole: false,
            notes: Vec::new(),
            ids: HashMap::new(),
            requests: Vec::new(),
            checkpoints: Vec::new(),
            tiles: Vec::new(),
            entries: Vec::new(),
            consistencies: Vec::new(),
            searches: Vec::new(),
            held: Vec::new(),
            marks: Vec::new(),
        }
    }

    /// The key of the log's own dated line (ML-DSA-44): entries may not be younger than it says.
    pub fn set_time_key(&mut self, key: NoteKey) {
        self.time_key = Some(key);
    }

    /// A witness whose cosignatures must verify.
    pub fn add_witness(&mut self, key: NoteKey) {
        self.witnesses.push(key);
    }

    /// Promises that every submission that the log ever got is, or will be, in this history: then
    /// an entry that nobody submitted is a violation.
    pub fn set_whole(&mut self) {
        self.is_whole = true;
    }

    /// Remembers a submission and its answer.
    pub fn request(&mut self, told: Told) {
        let answer = match told.answer {
            Answer::Logged(bundle) => Answer::Logged(self.intern(bundle)),
            Answer::Duplicate { index } => Answer::Duplicate { index },
            Answer::Refused { status, label } => Answer::Refused { status, label },
            Answer::Unknown => Answer::Unknown,
        };
        let Told { who, span, kind, leaf, .. } = told;
        self.requests.push(Request { who, span, kind, leaf, answer });
    }

    /// Remembers a checkpoint of either face.
    pub fn checkpoint(&mut self, who: Who, span: Span, source: Source, note: &str) {
        let note = self.note(note);
        self.checkpoints.push(SeenCheckpoint { who, span, source, note });
    }

    /// Remembers a tile of hashes or entries, as the bytes that were served.
    pub fn tile(&mut self, who: Who, span: Span, tile: Tile, bytes: &[u8]) {
        self.tiles.push(SeenTile { who, span, tile, digest: digest_of(tile, bytes) });
    }

    /// Remembers an entry that was read with its proof.
    pub fn entry(&mut self, who: Who, span: Span, bundle: Bundle<String>) {
        let bundle = self.intern(bundle);
        self.entries.push(SeenEntry { who, span, bundle });
    }

    /// Remembers a consistency proof.
    pub fn consistency(&mut self, seen: SeenConsistency) {
        self.consistencies.push(seen);
    }

    /// Remembers a search.
    pub fn search(&mut self, seen: SeenSearch) {
        self.searches.push(seen);
    }

    /// Remembers that a witness holds `head` now.
    pub fn holds(&mut self, witness: &str, head: TreeHead) {
        let held = Held { at: now(), witness: witness.to_owned(), head };
        if !self.held.iter().rev().take(64).any(|h| h.head == head && h.witness == witness) {
            self.held.push(held);
        }
    }

    /// Remembers that something was done or said now.
    pub fn mark(&mut self, mark: Mark) {
        self.mark_at(now(), mark);
    }

    /// The same of a moment that is over.
    pub fn mark_at(&mut self, at: Moment, mark: Mark) {
        self.marks.push(Marked { at, mark });
    }

    /// Every submission with its answer.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Every mark.
    pub fn marks(&self) -> &[Marked] {
        &self.marks
    }

    /// How many submissions were answered with an index.
    pub fn acknowledged(&self) -> usize {
        self.requests.iter().filter(|request| request.index().is_some()).count()
    }

    /// The number of a note, whose text is kept once.
    pub(super) fn note(&mut self, note: &str) -> NoteId {
        let next = NoteId(u32::try_from(self.notes.len()).expect("fewer notes than memory holds"));
        let id = *self.ids.entry(sha256(note.as_bytes())).or_insert(next);
        if id == next {
            self.notes.push(note.to_owned());
        }
        id
    }

    fn intern(&mut self, bundle: Bundle<String>) -> Bundle {
        let note = self.note(&bundle.note);
        let Bundle { index, leaf, time, led_to, set, .. } = bundle;
        Bundle { index, leaf, time, note, led_to, set }
    }
}

/// SHA-256 over the hashes of a tile; those of an entry tile are the leaves of its entries.
fn digest_of(tile: Tile, bytes: &[u8]) -> Option<Hash> {
    let hashes = match tile.kind {
        TileKind::Hashes(_) => decode_hashes(bytes)?,
        TileKind::Entries => {
            let entries = decode_entries(bytes, tile.width).ok()?;
            entries.into_iter().map(hash_leaf).collect()
        }
    };
    let is_whole = hashes.len() as u64 == tile.width;
    is_whole.then(|| sha256(&encode_hashes(&hashes)))
}
