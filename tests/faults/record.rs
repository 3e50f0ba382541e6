//! What the harness remembers of one log: every submission with what was said to it, every
//! checkpoint, and every tile that a reader saw.

use std::collections::BTreeMap;

use treering_proto::hash::Hash;
use treering_tests::submission::Submission;

/// A submission.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// What was sent.
    pub(crate) submission: Submission,
    /// When, Unix milliseconds on the clock of the harness.
    pub(crate) from_ms: u64,
    /// When the answer was there, or waiting ended.
    pub(crate) to_ms: u64,
    /// What was said.
    pub(crate) said: Said,
}

/// What the log said to a submission.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// 201, with what came along.
    Logged(Ack),
    /// 409.
    Duplicate(u64),
    /// Another answer: its status and label.
    Refused(u16, String),
    /// No answer.
    Unknown,
}

/// An acknowledgement.
#[derive(Clone, Debug)]
pub(crate) struct Ack {
    /// Where the entry is.
    pub(crate) index: u64,
    /// When it was sequenced, Unix seconds, if the face says.
    pub(crate) time: Option<u64>,
    /// The checkpoint.
    pub(crate) note: String,
    /// Of the inclusion proof: the size of its tree, the root, the hashes.
    pub(crate) proof: (u64, Hash, Vec<Hash>),
}

/// Everything that is remembered of one log.
#[derive(Default)]
pub(crate) struct Record {
    /// Every submission.
    pub(crate) asked: Vec<Asked>,
    /// Every checkpoint.
    pub(crate) notes: Vec<String>,
    /// Every tile, by its path.
    pub(crate) tiles: BTreeMap<String, Vec<u8>>,
    /// Two answers for one path.
    pub(crate) changed_tiles: Vec<String>,
    /// Where the log said that each leaf is.
    pub(crate) index_of: BTreeMap<Hash, u64>,
    /// The largest size that it published.
    pub(crate) size_seen: u64,
    /// Submissions that were retried already.
    pub(crate) retried: usize,
}

impl Record {
    /// How many submissions were acknowledged.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.index_of.len() as u64
    }

    /// Remembers a tile that was served.
    pub(crate) fn tile(&mut self, path: String, bytes: Vec<u8>) {
        match self.tiles.get(&path) {
            Some(known) if *known != bytes => self.changed_tiles.push(path),
            Some(_) => {}
            None => {
                self.tiles.insert(path, bytes);
            }
        }
    }

    /// Takes in what another part of the harness remembered.
    pub(crate) fn add(&mut self, other: Record) {
        self.asked.extend(other.asked);
        self.notes.extend(other.notes);
        self.changed_tiles.extend(other.changed_tiles);
        for (path, bytes) in other.tiles {
            self.tile(path, bytes);
        }
    }
}
