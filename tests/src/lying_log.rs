//! A log that lies: it holds real keys, listens on a real socket, and answers as the server does,
//! except where a test has it lie.
//!
//! ```text
//! Keys      what can sign: the log's two keys, and those of witnesses
//! Branch    one tree, honest in itself: entries, notes, tiles, proofs
//! Scene     what one address shows: a branch, and lies about it
//! LyingLog  an address that shows a scene
//! ```
//!
//! Two clients that are shown different trees are two addresses with the same keys. Without a lie a
//! scene is an honest log: `check_served` finds nothing in it, and its answers are those of the
//! server, byte for byte, where neither time nor randomness is in them. Beside that it takes raw
//! leaves (`POST /add`), as test servers of other logs do.
//!
//! Out of scope: durability, limits, and requests that no client of ours makes.

mod branch;
mod keys;
mod native;
mod v1;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use treering_proto::entry::VerifiedEntry;
use treering_proto::hash::Hash;

pub use branch::{Branch, Clock, Kept, Logged};
pub use keys::{Cosigning, Dates, Keys, ORIGIN};
pub use wire::{Answer, Request};

use wire::Listening;

use crate::load::any_submission;
use crate::submission::Signer;

/// Something that an honest log does not do.
#[derive(Clone)]
pub enum Lie {
    /// The checkpoint is this note, whatever the tree is; so is that of every proof.
    Checkpoint(String),
    /// The Rekor v1 face shows another tree, and the notes of that face are those of the other.
    V1Face(Box<Branch>),
    /// Submissions are answered as logged, with SET and proof, and forgotten. If there is an entry
    /// here, it is logged in their place.
    Promise(Option<Box<VerifiedEntry>>),
    /// The entry at this index has these bytes, by itself on the log's own face and in tiles.
    Entry(u64, Vec<u8>),
    /// Entry tiles have other bytes at this index; the entry by itself is shown as it is.
    EntryTile(u64, Vec<u8>),
    /// The first hash of this tile of hashes is another, in every width of it.
    HashTile {
        /// Tile level.
        level: u8,
        /// Position among the tiles of the level.
        index: u64,
    },
    /// The first hash of every partial tile is another.
    PartialTiles,
    /// Searches do not find the entry at this index.
    Hide(u64),
    /// There is no statement with this hash.
    Withhold(Hash),
    /// The Rekor v1 face says that entries were logged so many seconds later, and promises that.
    PromisedTime(i64),
    /// This answer, to every `GET` of this path.
    Instead(String, Answer),
}

/// What one address shows.
pub struct Scene {
    /// The tree.
    pub branch: Branch,
    /// What is not true of it.
    pub lies: Vec<Lie>,
}

/// A log that listens until it is dropped.
pub struct LyingLog {
    scene: Arc<Mutex<Scene>>,
    asked: Arc<Mutex<Vec<String>>>,
    listening: Listening,
}

impl LyingLog {
    /// Shows `branch`, honestly for now.
    pub fn show(branch: Branch) -> Self {
        let scene = Arc::new(Mutex::new(Scene { branch, lies: Vec::new() }));
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (shown, heard) = (scene.clone(), asked.clone());
        let listening = Listening::start(move |request| {
            lock(&heard).push(format!("{} {}", request.method, request.path));
            lock(&shown).answer(request)
        });
        Self { scene, asked, listening }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// The URL of the log.
    pub fn url(&self) -> String {
        format!("http://{}", self.listening.address)
    }

    /// What it shows; requests wait meanwhile.
    pub fn scene(&self) -> MutexGuard<'_, Scene> {
        lock(&self.scene)
    }

    /// What it shows now is this branch, honestly.
    pub fn now_shows(&self, branch: Branch) {
        *self.scene() = Scene { branch, lies: Vec::new() };
    }

    /// It tells one more lie.
    pub fn tell(&self, lie: Lie) {
        self.scene().lies.push(lie);
    }

    /// It tells the truth again.
    pub fn repent(&self) {
        self.scene().lies.clear();
    }

    /// Method and path of every request so far.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

impl Scene {
    /// The answer to one request.
    pub fn answer(&mut self, request: &Request) -> Answer {
        let path = request.path.trim_end_matches('/');
        let instead = self.lies.iter().find_map(|lie| match lie {
            Lie::Instead(lied, answer) if lied == path => Some(answer.clone()),
            _ => None,
        });
        match (request.method.as_str(), path) {
            ("POST", v1::ENTRIES) => v1::submit(self, request),
            ("POST", "/api/v2/log/entries") => native::submit(self, request),
            ("POST", "/add") => native::add(self, request),
            ("POST", "/api/treering/v1/statements") => native::statements(self, request),
            ("GET" | "HEAD", path) => instead.unwrap_or_else(|| self.read(path, request)),
            _ => Answer::error(405, "method-not-allowed", "this path does not take that method"),
        }
    }

    fn read(&self, path: &str, request: &Request) -> Answer {
        let under = |prefix: &str| path.strip_prefix(prefix).filter(|rest| !rest.contains('/'));
        match path {
            "/checkpoint" | "/api/v2/checkpoint" => return native::checkpoint(self),
            "/api/treering/v1/identity" => return native::identity(self),
            "/api/treering/v1/search" => return native::search(self, request),
            "/api/treering/v1/checkpoints" => return native::checkpoints(self, request),
            "/api/v1/log" => return v1::log_info(self),
            "/api/v1/log/publicKey" => return v1::public_key(self),
            "/api/v1/log/proof" => return v1::proof(self, request),
            v1::ENTRIES => return v1::entry_by_index(self, request),
            _ => {}
        }
        if let Some(id) = under("/api/v1/log/entries/") {
            return v1::entry_by_id(self, id);
        }
        if let Some(index) = under("/api/treering/v1/entries/") {
            return native::entry(self, index);
        }
        if let Some(hash) = under("/api/treering/v1/statements/") {
            return native::statement(self, hash);
        }
        let tile = path.strip_prefix("/api/v2/").unwrap_or_else(|| &path[1.min(path.len())..]);
        if tile.starts_with("tile/") {
            return native::tile(self, tile);
        }
        Answer::error(404, "no-path", &format!("path {path} was not found"))
    }

    /// The bytes that are shown as the entry at `index`, by itself or in a tile.
    fn shown_body(&self, index: u64, in_tile: bool) -> Option<&[u8]> {
        let lied = self.lies.iter().find_map(|lie| match lie {
            Lie::Entry(at, body) if *at == index => Some(body.as_slice()),
            Lie::EntryTile(at, body) if *at == index && in_tile => Some(body.as_slice()),
            _ => None,
        });
        Some(lied.unwrap_or(&self.branch.logged(index)?.body))
    }

    /// The note that is shown as the newest.
    fn shown_note(&self) -> &str {
        let lied = self.lies.iter().find_map(|lie| match lie {
            Lie::Checkpoint(note) => Some(note.as_str()),
            _ => None,
        });
        lied.unwrap_or(&self.branch.newest().note)
    }

    /// The tree of the Rekor v1 face.
    fn v1_branch(&self) -> &Branch {
        let lied = self.lies.iter().find_map(|lie| match lie {
            Lie::V1Face(branch) => Some(&**branch),
            _ => None,
        });
        lied.unwrap_or(&self.branch)
    }

    /// Goes on with `branch`, which has one more entry, or with what is shown in its place.
    fn settle(&mut self, branch: Branch) {
        let promised = self.lies.iter().find_map(|lie| match lie {
            Lie::Promise(instead) => Some(instead.clone()),
            _ => None,
        });
        match promised {
            None => self.branch = branch,
            Some(None) => {}
            Some(Some(instead)) => {
                self.branch.append(&instead);
            }
        }
    }

    fn promised_shift(&self) -> i64 {
        let shifts = self.lies.iter().map(|lie| match lie {
            Lie::PromisedTime(seconds) => *seconds,
            _ => 0,
        });
        shifts.sum()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that failed while it held the lock has said why.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// New keys of a log without witnesses, and its tree of `count` entries.
pub fn log_of(count: u64) -> (Arc<Keys>, Branch) {
    let keys = Arc::new(Keys::generate(0));
    let branch = grown(Branch::new(&keys), count);
    (keys, branch)
}

/// The branch with `count` more entries like no others.
pub fn grown(mut branch: Branch, count: u64) -> Branch {
    for _ in 0..count {
        branch.append(&any_entry());
    }
    branch
}

/// An entry like no other.
pub fn any_entry() -> VerifiedEntry {
    any_submission(&Signer::new()).entry
}
