//! Everything that was asked of a log and everything that it signed, kept outside of it.

use std::collections::{BTreeMap, HashSet};

use treering_proto::checkpoint::open_checkpoint;
use treering_proto::identity::LogIdentity;
use treering_proto::tree::TreeHead;

use crate::submission::Submission;

/// A submission, and where the log said it is. Without an index nobody knows what became of it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What was submitted.
    pub submission: Submission,
    /// Where the log said it is.
    pub index: Option<u64>,
}

/// What is remembered of one log.
pub struct History {
    identity: LogIdentity,
    /// Every submission.
    pub attempts: Vec<Attempt>,
    heads: BTreeMap<u64, TreeHead>,
    notes: HashSet<String>,
    size_seen: u64,
}

impl History {
    /// Nothing is remembered yet of the log with this identity.
    pub fn new(identity: &LogIdentity) -> Self {
        let identity = identity.clone();
        let (heads, notes) = (BTreeMap::new(), HashSet::new());
        Self { identity, attempts: Vec::new(), heads, notes, size_seen: 0 }
    }

    /// Remembers attempts.
    pub fn add(&mut self, attempts: Vec<Attempt>) {
        self.attempts.extend(attempts);
    }

    /// Remembers a checkpoint of either face.
    ///
    /// # Panics
    /// If the log did not sign it, or signed another root for the same size.
    pub fn saw(&mut self, note: &str) -> TreeHead {
        let head = self.open(note);
        if self.notes.insert(note.to_owned()) {
            let known = *self.heads.entry(head.size.get()).or_insert(head);
            assert_eq!(known, head, "two checkpoints of one size disagree");
        }
        head
    }

    /// Remembers a checkpoint that was fetched now: it is not smaller than the one fetched before.
    ///
    /// # Panics
    /// If it is smaller, or as in [`History::saw`].
    pub fn saw_newest(&mut self, note: &str) -> TreeHead {
        let head = self.saw(note);
        assert!(head.size.get() >= self.size_seen, "the log shrank below {}", self.size_seen);
        self.size_seen = head.size.get();
        head
    }

    /// Every head that the log is known to have signed.
    pub fn heads(&self) -> impl Iterator<Item = TreeHead> + '_ {
        self.heads.values().copied()
    }

    /// How many submissions were acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.index.is_some()).count()
    }

    fn open(&self, note: &str) -> TreeHead {
        let identity = &self.identity;
        let is_v1 = note.starts_with(&format!("{}\n", identity.v1_origin()));
        let opened = if is_v1 {
            open_checkpoint(note.as_bytes(), &identity.v1_origin(), &[identity.v1_note_key()])
        } else {
            open_checkpoint(note.as_bytes(), identity.origin(), &[identity.note_key().clone()])
        };
        opened.unwrap_or_else(|error| panic!("{error}: {note:?}")).head()
    }
}
