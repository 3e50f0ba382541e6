//! Proving a status: from what somebody brought to what is known.
//!
//! Invariants: no entry is in a history that is not in the tree of the checkpoint; no answer holds
//! an entry that does not match the question, or that cannot be read. An answer that is not about
//! the whole tree, or of which a part cannot be read, is [`Answer::Unknown`].
//! Out of scope: ages, and what is remembered of the log.

use std::collections::{BTreeMap, BTreeSet};

use treering_proto::certificate::Certificate;
use treering_proto::checkpoint::{SignedCheckpoint, open_checkpoint};
use treering_proto::entry::{Entry, Recheck};
use treering_proto::evidence::Evidence;
use treering_proto::facts::Fact;
use treering_proto::freshness::head_time;
use treering_proto::hash::{Hash, hash_leaf};
use treering_proto::notice::EntryRef;
use treering_proto::proof::check_inclusion;
use treering_proto::tree::{LeafIndex, TreeHead};
use treering_proto::trust::TrustFile;

use super::{Evident, Proven, Reply, Status, StatusError, question_text};
use crate::history::{Answer, History, Question, Seen, SeenTime, Source, What, Word};

/// Remarks of one history.
const REMARKS_MAX: usize = 50;

/// The questions that each entry is an answer to.
type AskedBy<'a> = BTreeMap<LeafIndex, Vec<&'a Question>>;

/// An entry that was proven, and why it is not known what it says, if so.
struct Read {
    seen: Seen,
    flaw: Option<String>,
    remark: Option<String>,
}

impl Status {
    /// Checks everything, and makes a history of it. `intermediates` (DER) may certify signers.
    ///
    /// # Errors
    /// [`StatusError`]; the first thing that does not hold makes the whole worthless.
    pub fn prove(
        &self,
        trust: &TrustFile,
        intermediates: &[Vec<u8>],
        source: Source,
    ) -> Result<Proven, StatusError> {
        let head = self.open(trust)?;
        let size = head.head().size;
        let asked_by = self.asked_by()?;
        self.require_statements_are_needed()?;
        let mut history = History::new(source, size, head_time(trust, &head));
        let mut flaws = BTreeMap::new();
        for (index, evident) in &self.entries {
            let asked = asked_by.get(index).ok_or(StatusError::Surplus { what: "an entry" })?;
            let leaf = prove_entry(*index, evident, head.head())?;
            let at = EntryRef { index: *index, leaf };
            let authorities = &trust.certificate_authorities;
            let read = self.read(at, evident, asked, intermediates, authorities)?;
            history.remarks.extend(read.remark);
            flaws.extend(read.flaw.map(|why| (*index, why)));
            history.seen.insert(*index, read.seen);
        }
        for (question, reply) in &self.replies {
            let answer = settle(reply, size.get(), &flaws);
            history.answers.insert(question.clone(), answer);
        }
        history.remarks.extend(flaws.into_values());
        history.remarks.truncate(REMARKS_MAX);
        Ok(Proven { history, head })
    }

    /// The checkpoint, if it can be believed.
    fn open(&self, trust: &TrustFile) -> Result<SignedCheckpoint, StatusError> {
        let note = self.note.as_bytes();
        let head = open_checkpoint(note, &trust.log.origin, &trust.note_keys())?;
        let size = head.head().size.get();
        if !trust.has_quorum(&head) {
            return Err(StatusError::NoQuorum { size });
        }
        if let Some(floor) = &trust.floor {
            if let Some(fork) = Evidence::fork_size(floor, &head) {
                return Err(StatusError::Fork(Box::new(fork)));
            }
            let floor = floor.head().size.get();
            if size < floor {
                return Err(StatusError::BelowFloor { size, floor });
            }
        }
        Ok(head)
    }

    fn asked_by(&self) -> Result<AskedBy<'_>, StatusError> {
        let mut asked_by = AskedBy::new();
        for (question, reply) in &self.replies {
            let (Answer::All(hits) | Answer::Oldest(hits)) = &reply.answer else { continue };
            for index in hits {
                if !self.entries.contains_key(index) {
                    return Err(StatusError::NoEntry { index: *index });
                }
                asked_by.entry(*index).or_default().push(question);
            }
        }
        Ok(asked_by)
    }

    fn require_statements_are_needed(&self) -> Result<(), StatusError> {
        let entries = self.entries.values().filter_map(|entry| Entry::parse(&entry.body).ok());
        let needed: BTreeSet<Hash> = entries.filter_map(|entry| entry.payload_hash()).collect();
        match self.statements.keys().all(|hash| needed.contains(hash)) {
            true => Ok(()),
            false => Err(StatusError::Surplus { what: "a statement" }),
        }
    }

    /// Reads a proven entry, and compares it with the questions that it is an answer to.
    fn read(
        &self,
        at: EntryRef,
        evident: &Evident,
        asked: &[&Question],
        intermediates: &[Vec<u8>],
        authorities: &[Certificate],
    ) -> Result<Read, StatusError> {
        let index = at.index;
        let time = evident.time.map(|seconds| SeenTime { seconds, word: Word::Log });
        let Ok(entry) = Entry::parse(&evident.body) else {
            let seen = Seen { entry: at, time, signed_by: Vec::new(), what: What::Opaque };
            let flaw = format!("entry {index} cannot be read by this version");
            return Ok(Read { seen, flaw: Some(flaw), remark: None });
        };
        let hash = entry.payload_hash();
        let payload = hash.and_then(|hash| self.statements.get(&hash)).map(Vec::as_slice);
        let mut seen = Seen::read(at, &entry, payload, time, intermediates, authorities);
        if hash.is_some() && payload.is_none() {
            let flaw = format!("the statement of entry {index} is not there");
            return Ok(Read { seen, flaw: Some(flaw), remark: None });
        }
        let facts = entry.facts(payload);
        if let Some(question) = asked.iter().find(|question| !matches(question, &facts)) {
            return Err(StatusError::NoMatch { index, asked: question_text(question) });
        }
        let mut remark = None;
        if payload.is_some() && entry.recheck(payload) != Recheck::Valid {
            // Signed as something else than a statement, if at all: then nobody says what it says,
            // and nobody can make it be taken for a notice that is hidden.
            seen.what = What::Other;
            remark = Some(format!("nobody signed the statement of entry {index} as a statement"));
        }
        Ok(Read { seen, flaw: None, remark })
    }
}

/// The leaf of an entry that is in the tree.
pub(super) fn prove_entry(
    index: LeafIndex,
    evident: &Evident,
    head: TreeHead,
) -> Result<Hash, StatusError> {
    let leaf = hash_leaf(&evident.body);
    match check_inclusion(index, head, leaf, &evident.proof) {
        Ok(()) => Ok(leaf),
        Err(error) => Err(StatusError::WrongProof { index, error }),
    }
}

fn matches(question: &Question, facts: &[Fact]) -> bool {
    question.facts().iter().all(|(tag, value)| {
        facts.iter().any(|fact| fact.tag == *tag && fact.value == value.as_bytes())
    })
}

/// What an answer is worth.
fn settle(reply: &Reply, size: u64, flaws: &BTreeMap<LeafIndex, String>) -> Answer {
    let (Answer::All(hits) | Answer::Oldest(hits)) = &reply.answer else {
        return reply.answer.clone();
    };
    if reply.searched < size {
        return Answer::Unknown(behind(reply.searched, size));
    }
    match hits.iter().find_map(|index| flaws.get(index)) {
        Some(flaw) => Answer::Unknown(flaw.clone()),
        None => reply.answer.clone(),
    }
}

/// The reason why a search of a smaller tree answers nothing.
pub(super) fn behind(searched: u64, size: u64) -> String {
    format!("the log searched only {searched} entries of {size}")
}
