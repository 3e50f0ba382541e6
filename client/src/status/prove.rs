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

use super::undated::witnessed;
use super::{Evident, Proven, Reply, Status, StatusError, question_text};
use crate::history::{Answer, History, Question, Seen, SeenTime, Source, What, Word};

/// Remarks of one history.
const REMARKS_MAX: usize = 50;

/// The questions that each entry is an answer to.
type AskedBy<'a> = BTreeMap<LeafIndex, Vec<&'a Question>>;

/// An entry that was proven, whatever was asked.
struct Read {
    seen: Seen,
    /// In ascending order; `None` where they are not all known.
    facts: Option<Vec<Fact>>,
    /// Why it is not known what it says.
    flaw: Option<String>,
    remark: Option<String>,
    /// Whether its statement was there.
    has_statement: bool,
}

/// What certifies signers.
struct Certified<'a> {
    intermediates: &'a [Vec<u8>],
    authorities: &'a [Certificate],
    /// Where the times of entries are nobody's word that counts: by when they were logged.
    bound: Option<Option<SeenTime>>,
}

/// What was proven and read already, of one checkpoint, with one trust file: each round of
/// gathering adds to a status, and reads only what it added.
#[derive(Default)]
pub(super) struct Known(BTreeMap<LeafIndex, Read>);

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
        self.prove_more(trust, intermediates, source, &mut Known::default())
    }

    /// The same, but for what is `known` from before the last entries were added.
    pub(super) fn prove_more(
        &self,
        trust: &TrustFile,
        intermediates: &[Vec<u8>],
        source: Source,
        known: &mut Known,
    ) -> Result<Proven, StatusError> {
        known.0.retain(|index, _| self.entries.contains_key(index));
        let head = self.open(trust)?;
        let size = head.head().size;
        let asked_by = self.asked_by()?;
        self.require_statements_are_needed()?;
        let mut history = History::new(source, size, head_time(trust, &head));
        let bound = match &history.source {
            Source::StatusProof => Some(witnessed(trust, &head)),
            _ => None,
        };
        let mut flaws = BTreeMap::new();
        for (index, evident) in &self.entries {
            let asked = asked_by.get(index).ok_or(StatusError::Surplus { what: "an entry" })?;
            let has_statement = self.statement_of(evident).is_some();
            let before = known.0.remove(index).filter(|read| read.has_statement == has_statement);
            let read = match before {
                Some(read) => read,
                None => {
                    let leaf = prove_entry(*index, evident, head.head())?;
                    let at = EntryRef { index: *index, leaf };
                    let authorities = &trust.certificate_authorities;
                    self.read(at, evident, &Certified { intermediates, authorities, bound })
                }
            };
            let read = known.0.entry(*index).or_insert(read);
            read.require_answers(asked)?;
            history.remarks.extend(read.remark.clone());
            flaws.extend(read.flaw.clone().map(|why| (*index, why)));
            history.seen.insert(*index, read.seen.clone());
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
        let entries = self.entries.values();
        let needed: BTreeSet<Hash> = entries.filter_map(|entry| entry.payload_hash).collect();
        match self.statements.keys().all(|hash| needed.contains(hash)) {
            true => Ok(()),
            false => Err(StatusError::Surplus { what: "a statement" }),
        }
    }

    /// Reads a proven entry.
    fn read(&self, at: EntryRef, evident: &Evident, certified: &Certified<'_>) -> Read {
        let index = at.index;
        let time = evident.time.map(|seconds| SeenTime { seconds, word: Word::Log });
        let Ok(entry) = Entry::parse(&evident.body) else {
            let seen = Seen { entry: at, time, signed_by: Vec::new(), what: What::Opaque };
            let flaw = format!("entry {index} cannot be read by this version");
            return Read::flawed(seen, flaw);
        };
        let payload = self.statement_of(evident).map(Vec::as_slice);
        let Certified { intermediates, authorities, bound } = *certified;
        let dated = bound.unwrap_or(time);
        let mut seen = Seen::read(at, &entry, payload, dated, intermediates, authorities);
        seen.time = time;
        if evident.payload_hash.is_some() && payload.is_none() {
            return Read::flawed(seen, format!("the statement of entry {index} is not there"));
        }
        let mut facts = entry.facts(payload);
        facts.sort_unstable();
        let mut remark = None;
        if payload.is_some() && entry.recheck(payload) != Recheck::Valid {
            // Signed as something else than a statement, if at all: then nobody says what it says,
            // and nobody can make it be taken for a notice that is hidden.
            seen.what = What::Other;
            remark = Some(format!("nobody signed the statement of entry {index} as a statement"));
        }
        let has_statement = payload.is_some();
        Read { seen, facts: Some(facts), flaw: None, remark, has_statement }
    }
}

impl Read {
    /// An entry of which it is not known what it says.
    fn flawed(seen: Seen, flaw: String) -> Self {
        let (facts, remark, has_statement) = (None, None, false);
        Self { seen, facts, flaw: Some(flaw), remark, has_statement }
    }

    /// Compares the entry with the questions that it is an answer to.
    fn require_answers(&self, asked: &[&Question]) -> Result<(), StatusError> {
        let Some(facts) = &self.facts else { return Ok(()) };
        match asked.iter().find(|question| !matches(question, facts)) {
            None => Ok(()),
            Some(question) => {
                let (index, asked) = (self.seen.entry.index, question_text(question));
                Err(StatusError::NoMatch { index, asked })
            }
        }
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
    question.facts().into_iter().all(|(tag, value)| {
        let fact = Fact { tag, value: value.into_bytes() };
        facts.binary_search(&fact).is_ok()
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
