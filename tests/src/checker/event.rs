//! What can be remembered of a log: requests, everything served, what witnesses hold, and marks of
//! what the harness did. Numbers and hashes, not bodies.
//!
//! Invariant: what was reduced when it was recorded can still be judged: a proof is kept as the
//! root that it leads to, a signed timestamp as the digest that it signs.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use treering_proto::hash::Hash;
use treering_proto::tile::Tile;
use treering_proto::tree::TreeHead;

/// Microseconds on a clock outside of the server that never goes back.
pub type Moment = u64;

/// Who asked whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Who {
    /// A client: it sends its next request after the answer to the one before.
    pub client: u32,
    /// A process of the server; each start has a number of its own.
    pub process: u32,
}

/// From when a request was sent to when its answer was there, or waiting for it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    /// Before the first byte was sent.
    pub start: Moment,
    /// After the last byte was received.
    pub end: Moment,
}

/// The number of a note in a history.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NoteId(pub u32);

/// A submission. `N` is how the note of an answer is kept: as text, or as its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request<N = NoteId> {
    /// Who asked whom.
    pub who: Who,
    /// When.
    pub span: Span,
    /// Face and kind, such as `v1 dsse`.
    pub kind: Kind,
    /// The leaf of the entry that it must become.
    pub leaf: Hash,
    /// What the log said.
    pub answer: Answer<N>,
}

/// A submission with the note of its answer as text: what a client hands over to a history.
pub type Told = Request<String>;

/// Which kind of entry through which face.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Rekor v1, `hashedrekord`.
    HashedRekordV1,
    /// Rekor v2, `hashedrekord`.
    HashedRekordV2,
    /// Rekor v1, `dsse`.
    DsseV1,
    /// Rekor v2, `dsse`.
    DsseV2,
}

/// What the log said to a submission.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<N = NoteId> {
    /// Success, with everything that came with it.
    Logged(Bundle<N>),
    /// It was logged before.
    Duplicate {
        /// Where.
        index: u64,
    },
    /// Anything else that was an answer.
    Refused {
        /// The status.
        status: u16,
        /// The stable label of the reason.
        label: String,
    },
    /// No answer: nobody knows what became of it.
    Unknown,
}

/// An entry as it was served, with its proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bundle<N = NoteId> {
    /// Where the log says it is.
    pub index: u64,
    /// The leaf of the entry that was served.
    pub leaf: Hash,
    /// When it was logged, in Unix seconds, if the log says.
    pub time: Option<u64>,
    /// The checkpoint.
    pub note: N,
    /// The root that the proof leads to; `None` if it has another length or is for another size
    /// than the checkpoint says.
    pub led_to: Option<Hash>,
    /// The signed entry timestamp, if there is one.
    pub set: Option<Set>,
}

/// A signed entry timestamp.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Set {
    /// SHA-256 of what must be signed: of the entry, time, index and log id that were served.
    pub digest: Hash,
    /// The signature.
    pub signature: Box<[u8]>,
}

/// Where a checkpoint was seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Asked for as the newest.
    Newest,
    /// In the list of those that the log kept, or in a copy that may be old.
    Kept,
}

/// A checkpoint that was served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenCheckpoint {
    /// Who asked whom.
    pub who: Who,
    /// When.
    pub span: Span,
    /// As what.
    pub source: Source,
    /// Which.
    pub note: NoteId,
}

/// A tile that was served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenTile {
    /// Who asked whom.
    pub who: Who,
    /// When.
    pub span: Span,
    /// Which.
    pub tile: Tile,
    /// SHA-256 over its hashes, or over the leaves of its entries; `None` if it is malformed.
    pub digest: Option<Hash>,
}

/// An entry that was read with its proof.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenEntry {
    /// Who asked whom.
    pub who: Who,
    /// When.
    pub span: Span,
    /// What was served.
    pub bundle: Bundle,
}

/// A consistency proof that was served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenConsistency {
    /// Who asked whom.
    pub who: Who,
    /// When.
    pub span: Span,
    /// The head that the client held.
    pub old: TreeHead,
    /// The head that the proof must lead to.
    pub new: TreeHead,
    /// The proof.
    pub hashes: Vec<Hash>,
}

/// A search, and what it found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeenSearch {
    /// Who asked whom.
    pub who: Who,
    /// When.
    pub span: Span,
    /// Leaves of submissions that have what was searched for.
    pub wanted: Vec<Hash>,
    /// Index and leaf of each hit.
    pub found: Vec<(u64, Hash)>,
    /// Whether the hits are all that the log has.
    pub is_whole: bool,
}

/// A tree that a witness holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    /// When it was known to hold it.
    pub at: Moment,
    /// Whose.
    pub witness: String,
    /// Which.
    pub head: TreeHead,
}

/// Something that the harness did or read elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Mark {
    /// A process was started on this data directory.
    Started {
        /// Which.
        process: u32,
        /// Where.
        data: String,
    },
    /// It listens.
    Ready {
        /// Which.
        process: u32,
    },
    /// The harness asked it to end, killed it, or cut its power.
    Stopped {
        /// Which.
        process: u32,
    },
    /// It has ended.
    Ended {
        /// Which.
        process: u32,
        /// Its exit code; `None` if a signal ended it.
        code: Option<i32>,
        /// What it wrote for people.
        said: String,
    },
    /// It is known to be latched or read-only: from now on it may log nothing.
    Latched {
        /// Which.
        process: u32,
        /// What it said about it.
        said: String,
    },
    /// It may log again.
    Writable {
        /// Which.
        process: u32,
    },
    /// The clock of the server is wrong from now on, by the harness's doing.
    ClockMoved,
    /// The clock of the server is right again.
    ClockRight,
    /// The harness changed this file; a report must have this name in it.
    Corrupted {
        /// As a report must name it.
        file: String,
    },
    /// Something that reports damage said so: a health check, `fsck`, the server's log, an answer.
    Complained {
        /// Its words.
        said: String,
    },
    /// The file is as it was, or gone with its log.
    Repaired {
        /// The name in the mark of its corruption.
        file: String,
    },
}

/// A mark, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marked {
    /// When.
    pub at: Moment,
    /// What.
    pub mark: Mark,
}

impl<N> Request<N> {
    /// Where the log said that the entry is.
    pub fn index(&self) -> Option<u64> {
        match &self.answer {
            Answer::Logged(bundle) => Some(bundle.index),
            Answer::Duplicate { index } => Some(*index),
            Answer::Refused { .. } | Answer::Unknown => None,
        }
    }
}

impl Mark {
    /// What was said in it.
    pub fn said(&self) -> Option<&str> {
        match self {
            Self::Ended { said, .. } | Self::Latched { said, .. } | Self::Complained { said } => {
                Some(said)
            }
            _ => None,
        }
    }
}

/// Now.
pub fn now() -> Moment {
    zero().0.elapsed().as_micros() as u64
}

/// Unix time, in microseconds, of the moment 0.
pub fn unix_at_zero() -> u64 {
    zero().1
}

fn zero() -> &'static (Instant, u64) {
    static ZERO: OnceLock<(Instant, u64)> = OnceLock::new();
    ZERO.get_or_init(|| {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (Instant::now(), unix.as_micros() as u64)
    })
}
