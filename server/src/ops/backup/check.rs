//! Checks the rows of a log while they pass: nothing is believed but the log's own keys.
//!
//! The tree is grown again from the entries; each published note must state its head where the note
//! stands; a statement must be the one that its entry commits to; a SET must be the log's promise
//! of this entry, index and time; times never go back, and no note is older than what it covers.
//! Where rows come back from a copy, nothing may be from the future: a log goes on only when the
//! clock has reached its newest time.
//!
//! Out of scope: cosignatures, which only a policy can judge, and derived rows.

use treering_proto::api::v1::set_payload;
use treering_proto::append::RightEdge;
use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::encoding::to_base64;
use treering_proto::entry::Entry;
use treering_proto::hash::{Hash, hash_leaf, sha256};
use treering_proto::identity::{IdentityError, LogIdentity};
use treering_proto::note::NoteKey;
use treering_proto::tree::{TreeHead, TreeSize};

use super::format::{Counts, LogRecord};
use super::rows::Row;
use crate::clock;
use crate::data_directory::PublicFiles;
use crate::store::EntryRows;
use crate::store::format::NotePair;

/// How many problems are kept; a damaged log could have one for every entry.
const PROBLEMS_MAX: usize = 100;

/// Leaves that wait to be hashed into the tree together.
const LEAVES_AT_ONCE: usize = 4096;

/// How far ahead of this machine's clock a time may be, in seconds: clocks differ.
const AHEAD_S_MAX: u64 = 300;

/// What was seen so far.
pub struct Checker {
    identity: LogIdentity,
    log_id: String,
    note_keys: Vec<NoteKey>,
    edge: RightEdge,
    leaves: Vec<Hash>,
    time: u64,
    /// No time may be later, Unix seconds.
    latest: u64,
    notes_size: Option<TreeSize>,
    counts: Counts,
    v1_without_set: u64,
    problems: Vec<String>,
    problems_count: u64,
}

impl Checker {
    /// A checker of the log with these public files, that starts at a tree which is proved already,
    /// whose last entry has `time`.
    ///
    /// # Errors
    /// If the identity document does not say who the log is.
    pub fn new(public: &PublicFiles, start: RightEdge, time: u64) -> Result<Self, IdentityError> {
        let identity = LogIdentity::open(public.identity.as_bytes())?;
        let mut note_keys = vec![identity.note_key().clone()];
        let mut problems = Vec::new();
        if let Some(vkey) = &public.ml_dsa_vkey {
            match NoteKey::parse_vkey(vkey) {
                Ok(key) => note_keys.push(key),
                Err(error) => problems.push(format!("the ML-DSA-44 key: {error}")),
            }
        }
        Ok(Self {
            log_id: identity.v1_log_id().to_hex(),
            identity,
            note_keys,
            edge: start,
            leaves: Vec::new(),
            time,
            latest: u64::MAX,
            notes_size: None,
            counts: Counts::default(),
            v1_without_set: 0,
            problems_count: problems.len() as u64,
            problems,
        })
    }

    /// From now on times that are far ahead of the clock are wrong, those of `log` too.
    pub fn refuse_future(&mut self, log: &LogRecord) {
        self.latest = (clock::read().wall_ms / 1000).saturating_add(AHEAD_S_MAX);
        self.date("the log", log.time_ms / 1000);
        self.date("the log's latest date", log.date_ms / 1000);
    }

    /// Takes the next row; `place` says where it stands.
    pub fn take(&mut self, place: &str, row: &Row) {
        match row {
            Row::Entry(entry) => self.entry(place, entry),
            Row::Notes(size, notes) => self.notes(place, *size, notes),
        }
    }

    /// Compares the whole with what the log record says of it.
    pub fn end(&mut self, log: &LogRecord) {
        let head = self.head();
        if head != log.head {
            self.find(format!(
                "the entries lead to {head:?}; the backup says that {:?} was published",
                log.head
            ));
        }
        if self.notes_size.is_some_and(|size| size != log.head.size)
            || (self.notes_size.is_none() && log.head != TreeHead::EMPTY)
        {
            self.find("the note of the newest published head is missing".to_owned());
        }
        if log.time_ms / 1000 < self.time {
            self.find("the newest batch is dated before the newest entry".to_owned());
        }
    }

    /// Compares the numbers of records with those that the end says.
    pub fn count(&mut self, said: Counts) {
        if said != self.counts {
            self.find(format!("the end says {said:?}, and there are {:?}", self.counts));
        }
    }

    /// The head of the tree so far.
    pub fn head(&mut self) -> TreeHead {
        self.grow();
        self.edge.head()
    }

    /// Who the log is.
    pub fn identity(&self) -> &LogIdentity {
        &self.identity
    }

    /// What was counted.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Rekor v1 entries that have no SET: whoever may write a backup can take one away.
    pub fn v1_without_set(&self) -> u64 {
        self.v1_without_set
    }

    /// The time of the newest entry, Unix seconds.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// What is wrong; at most 100 of them.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// How much is wrong.
    pub fn problems_count(&self) -> u64 {
        self.problems_count
    }

    /// Remembers a problem.
    pub fn find(&mut self, problem: String) {
        self.problems_count += 1;
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    fn entry(&mut self, place: &str, rows: &EntryRows) {
        let index = self.edge.size().get() + self.leaves.len() as u64;
        let entry = Entry::parse(&rows.body);
        let committed = match &entry {
            Ok(entry) => entry.payload_hash(),
            Err(error) => {
                self.find(format!("{place}: entry {index}: {error}"));
                None
            }
        };
        if let Some(payload) = &rows.statement {
            self.counts.statements += 1;
            if committed != Some(sha256(payload)) {
                self.find(format!("{place}: entry {index} does not commit to its statement"));
            }
        }
        if rows.time < self.time {
            let (time, before) = (rows.time, self.time);
            self.find(format!("{place}: entry {index} is dated {time}, after one of {before}"));
        }
        self.date(&format!("{place}: entry {index}"), rows.time);
        self.time = rows.time.max(self.time);
        if rows.set.is_none() && entry.is_ok_and(|entry| entry.kind().is_rekor_v1()) {
            self.v1_without_set += 1;
        }
        if let Some(set) = &rows.set {
            self.counts.sets += 1;
            let promise = set_payload(&to_base64(&rows.body), rows.time, &self.log_id, index);
            if self.identity.v1_key().verify(&promise, set).is_err() {
                self.find(format!("{place}: the SET of entry {index} does not verify"));
            }
        }
        self.counts.entries += 1;
        self.leaves.push(hash_leaf(&rows.body));
        if self.leaves.len() == LEAVES_AT_ONCE {
            self.grow();
        }
    }

    fn notes(&mut self, place: &str, size: TreeSize, notes: &NotePair) {
        self.counts.notes += 1;
        let head = self.head();
        if self.notes_size.is_some_and(|before| before >= size) {
            self.find(format!("{place}: a second pair of notes for one size"));
        }
        self.notes_size = Some(size);
        self.date(&format!("{place}: size {size}"), notes.time_ms / 1000);
        let v1_key = [self.identity.v1_note_key()];
        let v1_origin = self.identity.v1_origin();
        let origin = self.identity.origin();
        let is_ours = |note: &SignedCheckpoint| {
            note.verified().iter().any(|signed| signed.key == *self.identity.note_key())
        };
        let note = open_checkpoint(notes.note.as_bytes(), origin, &self.note_keys);
        let v1_note = open_checkpoint(notes.v1_note.as_bytes(), &v1_origin, &v1_key);
        let problem = match (note, v1_note) {
            (Err(error), _) => Some(format!("the note: {error}")),
            (_, Err(error)) => Some(format!("the Rekor v1 note: {error}")),
            (Ok(note), _) if !is_ours(&note) => {
                Some("the note lacks the log's own line".to_owned())
            }
            (Ok(note), Ok(v1_note)) if note.head() != v1_note.head() => {
                Some("the two notes state two heads".to_owned())
            }
            (Ok(note), _) if note.head() != head || size != head.size => {
                let (signed, read) = (note.head(), head);
                Some(format!("the note states {signed:?}, the entries lead to {read:?}"))
            }
            _ if notes.time_ms / 1000 < self.time => {
                Some("the notes are dated before an entry that they cover".to_owned())
            }
            _ => None,
        };
        if let Some(problem) = problem {
            self.find(format!("{place}: size {size}: {problem}"));
        }
    }

    fn date(&mut self, what: &str, time: u64) {
        if time > self.latest {
            self.find(format!(
                "{what} is dated {time}, more than {AHEAD_S_MAX} s ahead of this machine's clock; \
                 if the clock is wrong, set it right"
            ));
        }
    }

    fn grow(&mut self) {
        let leaves = std::mem::take(&mut self.leaves);
        if !leaves.is_empty() {
            let grown = self.edge.extend(&leaves);
            self.edge = grown.expect("no file has as many entries as the largest tree").edge;
        }
    }
}
