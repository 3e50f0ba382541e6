//! The workload of every scenario: signers who submit, search for what they have, and go on after a
//! refusal; and a reader who looks at checkpoints and growing tiles. It does not know what is done
//! to the log.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use treering_proto::hash::Hash;
use treering_proto::note::Note;
use treering_proto::tile::{TILE_WIDTH, Tile, TileKind};
use treering_tests::checker::History;
use treering_tests::checker::event::{Answer, Moment, SeenSearch, Source, Span, Told, Who, now};
use treering_tests::checker::wire;
use treering_tests::http::Connection;
use treering_tests::load::{any_submission, new_client};
use treering_tests::submission::{Signer, Submission};

/// How much is asked.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Signers at once.
    pub(crate) signers: u64,
    /// Submissions of each, at most.
    pub(crate) each: u64,
    /// Refusals after which a signer gives up.
    pub(crate) patience: u64,
}

/// What can be seen of a load while it runs.
pub(crate) struct Watch {
    /// Hears of each success.
    acknowledged: Sender<()>,
    /// Submissions that are sent and not answered.
    in_flight: AtomicU64,
}

/// What came of a load.
#[derive(Default)]
pub(crate) struct Gathered {
    /// By signer.
    pub(crate) signed: Vec<Signed>,
    /// Every submission with its answer.
    pub(crate) told: Vec<Told>,
    /// Everything that was read.
    pub(crate) read: Vec<Read>,
}

/// What one signer submitted.
pub(crate) struct Signed {
    /// The fingerprint of the key, as searches know it.
    pub(crate) key: String,
    /// In the order in which they were made.
    pub(crate) submissions: Vec<Submission>,
}

/// Something that was read.
pub(crate) enum Read {
    /// The newest checkpoint of a face, or that of a copy.
    Checkpoint(Who, Span, Source, String),
    /// A tile.
    Tile(Who, Span, Tile, Vec<u8>),
    /// A search.
    Search(SeenSearch),
}

/// Submissions of one signer between its searches.
const SEARCH_EACH: usize = 16;

impl Watch {
    /// A watch, and a receiver that hears of each success.
    pub(crate) fn new() -> (Self, Receiver<()>) {
        let (acknowledged, heard) = channel();
        (Self { acknowledged, in_flight: AtomicU64::new(0) }, heard)
    }

    /// How many submissions are sent and not answered.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::SeqCst)
    }
}

impl Load {
    /// Asks this process until every signer has enough, or the server is gone.
    pub(crate) fn run(self, address: SocketAddr, process: u32, watch: &Watch) -> Gathered {
        let is_over = AtomicBool::new(false);
        let who = || Who { client: new_client(), process };
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(address, who(), &is_over));
            let sign = || scope.spawn(move || self.sign(address, who(), watch));
            let signers: Vec<_> = (0..self.signers).map(|_| sign()).collect();
            let mut all = Gathered::default();
            for signer in signers {
                all.add(signer.join().expect("a signer ends"));
            }
            is_over.store(true, Ordering::SeqCst);
            all.read.extend(reader.join().expect("the reader ends"));
            all
        })
    }

    fn sign(self, address: SocketAddr, who: Who, watch: &Watch) -> Gathered {
        let signer = Signer::new();
        let key = signer.key.fingerprint().to_hex();
        let mut mine = Gathered::default();
        let mut submissions = Vec::new();
        let mut refused = 0;
        let mut connection = Connection::open(address).ok();
        while (submissions.len() as u64) < self.each && refused < self.patience {
            let Some(to) = &mut connection else { break };
            let submission = any_submission(&signer);
            watch.in_flight.fetch_add(1, Ordering::SeqCst);
            let told = wire::ask(to, &submission, who);
            watch.in_flight.fetch_sub(1, Ordering::SeqCst);
            match told.answer {
                Answer::Logged(_) => {
                    let _ = watch.acknowledged.send(());
                }
                _ => refused += 1,
            }
            let is_unknown = told.answer == Answer::Unknown;
            mine.told.push(told);
            submissions.push(submission);
            if !is_unknown && submissions.len().is_multiple_of(SEARCH_EACH) {
                let wanted = submissions.iter().map(|one| one.entry.leaf()).collect();
                mine.read.extend(wire::search(to, who, &key, wanted).map(Read::Search));
            }
            if is_unknown {
                connection = Connection::open(address).ok();
            }
        }
        mine.signed.push(Signed { key, submissions });
        mine
    }
}

impl Gathered {
    /// Takes in what another part of the load gathered.
    pub(crate) fn add(&mut self, other: Self) {
        self.signed.extend(other.signed);
        self.told.extend(other.told);
        self.read.extend(other.read);
    }

    /// Takes back whatever was heard at `cut` or later: a disk that is gone may have said it.
    pub(crate) fn forget_since(&mut self, cut: Moment) {
        for told in self.told.iter_mut().filter(|told| told.span.end >= cut) {
            told.answer = Answer::Unknown;
        }
        self.read.retain(|read| read.span().end < cut);
    }

    /// Says that a copy of the log was read, which may be old.
    pub(crate) fn of_a_copy(mut self) -> Self {
        for read in &mut self.read {
            if let Read::Checkpoint(_, _, source, _) = read {
                *source = Source::Kept;
            }
        }
        self
    }

    /// Puts everything into a history, but the submissions themselves.
    pub(crate) fn remember(self, history: &mut History) -> Vec<Signed> {
        self.told.into_iter().for_each(|told| history.request(told));
        for read in self.read {
            match read {
                Read::Checkpoint(who, span, source, note) => {
                    history.checkpoint(who, span, source, &note);
                }
                Read::Tile(who, span, tile, bytes) => history.tile(who, span, tile, &bytes),
                Read::Search(seen) => history.search(seen),
            }
        }
        self.signed
    }
}

impl Signed {
    /// The leaves of its submissions.
    pub(crate) fn leaves(&self) -> Vec<Hash> {
        self.submissions.iter().map(|submission| submission.entry.leaf()).collect()
    }
}

impl Read {
    fn span(&self) -> Span {
        match self {
            Self::Checkpoint(_, span, ..) | Self::Tile(_, span, ..) => *span,
            Self::Search(seen) => seen.span,
        }
    }
}

/// Looks at the newest checkpoints and the growing tiles under them, again and again; keeps what is
/// not what it saw a moment ago.
fn read(address: SocketAddr, who: Who, is_over: &AtomicBool) -> Vec<Read> {
    let mut kept = Vec::new();
    let Ok(mut connection) = Connection::open(address) else { return kept };
    let mut last = [String::new(), String::new()];
    let mut last_tile = (String::new(), Vec::new());
    for turn in 0.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let face = turn % 2;
        let start = now();
        let path = ["/checkpoint", "/api/v1/log"][face];
        let Ok(response) = connection.get(path) else { break };
        let span = Span { start, end: now() };
        let note = if face == 0 { Some(response.text()) } else { wire::v1_head(&response.body) };
        let Some(note) = note.filter(|_| response.status == 200) else { continue };
        let Some(size) = size_of(&note) else { continue };
        if last[face] != note {
            last[face].clone_from(&note);
            kept.push(Read::Checkpoint(who, span, Source::Newest, note));
        }
        let Some(tile) = growing(size) else { continue };
        let start = now();
        let path = tile.path();
        let Ok(response) = connection.get(&format!("/{path}")) else { break };
        let span = Span { start, end: now() };
        if response.status == 200 && (&last_tile.0, &last_tile.1) != (&path, &response.body) {
            last_tile = (path, response.body.clone());
            kept.push(Read::Tile(who, span, tile, response.body));
        }
    }
    kept
}

/// The last tile of leaves of a tree; `None` of the empty one.
fn growing(size: u64) -> Option<Tile> {
    let index = size.checked_sub(1)? / TILE_WIDTH;
    Some(Tile { kind: TileKind::Hashes(0), index, width: size - index * TILE_WIDTH })
}

/// The size in a checkpoint, whoever signed it.
pub(crate) fn size_of(note: &str) -> Option<u64> {
    Note::parse(note.as_bytes()).ok()?.text.lines().nth(1)?.parse().ok()
}
