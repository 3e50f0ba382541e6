//! What one test remembers of a log: submissions whole, so that they can be made again, heads that
//! the log signed, and the record from which the checker decides.

use std::collections::{BTreeMap, HashSet};

use treering_proto::checkpoint::open_checkpoint;
use treering_proto::identity::LogIdentity;
use treering_proto::tree::TreeHead;

use crate::checker;
use crate::checker::event::{Answer, Source, Span, Told, Who, now};
use crate::load::Outcome;
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
    /// What the checker decides from; `check_log` adds what it reads, and judges all of it.
    pub record: checker::History,
    /// The number of the server process that is asked now.
    pub process: u32,
    heads: BTreeMap<u64, TreeHead>,
    notes: HashSet<String>,
    size_seen: u64,
}

impl History {
    /// Nothing is remembered yet of the log with this identity.
    pub fn new(identity: &LogIdentity) -> Self {
        Self {
            identity: identity.clone(),
            attempts: Vec::new(),
            record: checker::History::new(identity),
            process: 0,
            heads: BTreeMap::new(),
            notes: HashSet::new(),
            size_seen: 0,
        }
    }

    /// Whoever asks for this history: one client, of the process that is asked now.
    pub fn who(&self) -> Who {
        Who { client: 0, process: self.process }
    }

    /// Remembers what came of a load: attempts, answers, notes.
    ///
    /// # Panics
    /// As [`History::saw`].
    pub fn take(&mut self, outcome: Outcome) {
        outcome.notes.iter().for_each(|note| {
            self.saw(note);
        });
        self.add(outcome.attempts);
        outcome.told.into_iter().for_each(|told| self.record.request(told));
    }

    /// Remembers one answer.
    ///
    /// # Panics
    /// As [`History::saw`].
    pub fn heard(&mut self, told: Told) {
        if let Answer::Logged(bundle) = &told.answer {
            self.saw(&bundle.note);
        }
        self.record.request(told);
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
            let at = now();
            self.record.checkpoint(self.who(), Span { start: at, end: at }, Source::Kept, note);
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

    /// The same of one that was fetched in `span`.
    ///
    /// # Panics
    /// As [`History::saw_newest`].
    pub fn fetched(&mut self, note: &str, span: Span) -> TreeHead {
        self.record.checkpoint(self.who(), span, Source::Newest, note);
        self.saw_newest(note)
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
