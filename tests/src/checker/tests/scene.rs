//! Honest histories, made without any server: batch after batch of submissions, with everything
//! that a log would have served of them.

use treering_proto::api::v1::set_payload;
use treering_proto::append::RightEdge;
use treering_proto::encoding::to_base64;
use treering_proto::hash::{Hash, hash_leaf, sha256};
use treering_proto::proof::plan_consistency;
use treering_proto::tile::{TILE_WIDTH, Tile, TileKind, encode_entry, encode_hashes, perfect_root};
use treering_proto::tree::{TreeHead, TreeSize};

use super::super::Rebuilt;
use super::super::event::{
    Answer, Bundle, Kind, Mark, Moment, Request, SeenConsistency, SeenSearch, Set, Source, Span,
    Told, Who,
};
use super::super::history::History;
use crate::lying_log::{Cosigning, Dates, Keys};

/// Unix seconds at moment 0.
pub const UNIX: u64 = 1_800_000_000;

/// From one batch to the next.
pub const SECOND: Moment = 1_000_000;

/// The process that serves, the one after it, and one that is fenced off.
pub const FIRST: u32 = 1;
pub const SECOND_PROCESS: u32 = 2;
pub const FENCED: u32 = 3;

/// A log that exists in its history only.
pub struct Scene {
    pub keys: Keys,
    pub history: History,
    pub leaves: Vec<Hash>,
    pub heads: Vec<TreeHead>,
    /// Every how many entries there is a signed timestamp.
    set_every: u64,
    edge: RightEdge,
    bodies: Vec<Vec<u8>>,
}

impl Scene {
    pub fn new(set_every: u64) -> Self {
        let keys = Keys::generate_dated(2);
        let mut history = History::new(keys.identity());
        history.unix_at_zero = UNIX * SECOND;
        history.set_time_key(keys.time_key().unwrap());
        history.add_witness(keys.witness_key(0));
        history.add_witness(keys.witness_key(1));
        history.set_whole();
        let (leaves, heads, bodies) = (Vec::new(), Vec::new(), Vec::new());
        let edge = RightEdge::EMPTY;
        Self { keys, history, leaves, heads, set_every, edge, bodies }
    }

    /// The moment at which batch `heads.len()` begins.
    pub fn start(&self) -> Moment {
        SECOND * (self.heads.len() as u64 + 1)
    }

    /// Unix seconds of the batch that begins at `start`.
    fn time(start: Moment) -> u64 {
        UNIX + start / SECOND
    }

    /// The note of `head`, cosigned, dated at the end of the batch that begins at `start`.
    pub fn note(&self, head: TreeHead, start: Moment) -> String {
        let time = Self::time(start);
        let dates = Dates { log: time + 1, witnesses: time };
        self.keys.note(head, dates, &Cosigning::All)
    }

    /// Logs these entries at once: each has a client of its own, half of them use Rekor v1.
    pub fn batch(&mut self, bodies: &[Vec<u8>], process: u32) {
        let start = self.start();
        let leaves: Vec<Hash> = bodies.iter().map(|body| hash_leaf(body)).collect();
        let first = self.leaves.len() as u64;
        let grown = self.edge.extend(&leaves).unwrap();
        self.edge = grown.edge;
        self.leaves.extend(&leaves);
        self.bodies.extend(bodies.iter().cloned());
        let notes = [self.note(grown.head, start), self.keys.v1_note(grown.head)];
        for (number, (index, leaf)) in (0..).zip((first..).zip(&leaves)) {
            let is_v1 = index % 2 == 0;
            let time = Self::time(start);
            let set = (is_v1 && index % self.set_every == 0)
                .then(|| self.set(&bodies[number as usize], time, index));
            let note = notes[usize::from(is_v1)].clone();
            let (time, led_to) = (is_v1.then_some(time), Some(grown.head.root));
            let bundle = Bundle { index, leaf: *leaf, time, note, led_to, set };
            let span = Span { start: start + number, end: start + SECOND / 2 + number };
            let who = Who { client: number as u32 + 1, process };
            let kind = if is_v1 { Kind::DsseV1 } else { Kind::HashedRekordV2 };
            self.history.request(Told {
                who,
                span,
                kind,
                leaf: *leaf,
                answer: Answer::Logged(bundle),
            });
        }
        self.heads.push(grown.head);
        let span = Span { start: start + 900_000, end: start + 900_100 };
        let who = Who { client: 0, process };
        notes.iter().for_each(|note| self.history.checkpoint(who, span, Source::Newest, note));
        ["w0", "w1"].iter().for_each(|witness| self.history.holds(witness, grown.head));
    }

    fn set(&self, body: &[u8], time: u64, index: u64) -> Set {
        let log_id = self.keys.identity().v1_log_id().to_hex();
        let payload = set_payload(&to_base64(body), time, &log_id, index);
        let signature = self.keys.set(body, time, index).into();
        Set { digest: sha256(&payload), signature }
    }

    /// Reads every tile as it is now, and an entry with its proof.
    pub fn read(&mut self, process: u32) {
        let at = self.start();
        let (span, who) =
            (Span { start: at - 50_000, end: at - 40_000 }, Who { client: 0, process });
        for (number, chunk) in (0..).zip(self.bodies.chunks(TILE_WIDTH as usize)) {
            let mut bytes = Vec::new();
            chunk.iter().for_each(|body| encode_entry(body, &mut bytes));
            let width = chunk.len() as u64;
            let tile = Tile { kind: TileKind::Entries, index: number, width };
            self.history.tile(who, span, tile, &bytes);
        }
        let mut row = self.leaves.clone();
        for level in 0.. {
            for (index, hashes) in (0..).zip(row.chunks(TILE_WIDTH as usize)) {
                let width = hashes.len() as u64;
                let tile = Tile { kind: TileKind::Hashes(level), index, width };
                self.history.tile(who, span, tile, &encode_hashes(hashes));
            }
            row = row.chunks_exact(TILE_WIDTH as usize).map(perfect_root).collect();
            if row.is_empty() {
                break;
            }
        }
        let Some(head) = self.heads.last().copied() else { return };
        let (index, note) = (3, self.note(head, at - SECOND));
        let (leaf, led_to) = (self.leaves[3], Some(head.root));
        let bundle = Bundle { index, leaf, time: None, note, led_to, set: None };
        self.history.entry(who, span, bundle);
    }

    /// A consistency proof between two heads, and a search for one entry.
    pub fn prove_and_search(&mut self, process: u32) {
        let (old, new) = (self.heads[0], *self.heads.last().unwrap());
        let plan = plan_consistency(old.size, new.size).unwrap();
        let nodes: Vec<Hash> = plan
            .nodes()
            .map(|node| {
                let width = 1 << node.level;
                let from = (node.index << node.level) as usize;
                perfect_root(&self.leaves[from..from + width])
            })
            .collect();
        let at = self.start();
        let (span, who) =
            (Span { start: at - 30_000, end: at - 20_000 }, Who { client: 0, process });
        let hashes = plan.build(&nodes);
        self.history.consistency(SeenConsistency { who, span, old, new, hashes });
        let (wanted, found) = (vec![self.leaves[7]], vec![(7, self.leaves[7])]);
        self.history.search(SeenSearch { who, span, wanted, found, is_whole: true });
    }

    /// A submission whose answer is no bundle.
    pub fn told(&mut self, start: Moment, process: u32, leaf: Hash, answer: Answer) {
        let (who, span) = (Who { client: 99, process }, Span { start, end: start + 10 });
        let kind = Kind::HashedRekordV2;
        self.history.requests.push(Request { who, span, kind, leaf, answer });
    }

    pub fn mark(&mut self, at: Moment, mark: Mark) {
        self.history.mark_at(at, mark);
    }

    /// The log as its entries make it, after everything else.
    pub fn rebuilt(&self) -> Rebuilt {
        Rebuilt::new(self.start() + SECOND, self.leaves.clone())
    }

    /// The head of the first `size` entries.
    pub fn head_at(&self, size: u64) -> TreeHead {
        let head = RightEdge::EMPTY.extend(&self.leaves[..size as usize]).unwrap().head;
        assert_eq!(head.size, TreeSize::new(size).unwrap());
        head
    }
}

/// The bytes of an entry that nobody parses.
pub fn body(number: u64) -> Vec<u8> {
    format!("entry {number}").into_bytes()
}
