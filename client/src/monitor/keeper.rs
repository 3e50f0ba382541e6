//! The keeper of one log's directory: it alone moves the state, and in this order.
//!
//! ```text
//! 1 compare the chunk with the rules, and with what the log had before
//! 2 write what was found to findings.jsonl, sync, tell
//! 3 one transaction: tiles, records, postings, relations, ids of what was told, the new edge
//! ```
//!
//! What is true if the process dies: before 2, nothing happened; between 2 and 3, the lines are on
//! disk and their ids are found again when the directory is opened, so that the same chunk, read
//! again, tells nothing twice; after 3, the chunk is done.
//!
//! Invariants: no entry is behind the edge that was not compared; no finding is told without being
//! on disk. Out of scope: where entries come from (see [`super::read`]).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use redb::WriteTransaction;
use treering_proto::append::{Extension, RightEdge};
use treering_proto::checkpoint::SignedCheckpoint;
use treering_proto::hash::Hash;
use treering_proto::tree::TreeHead;

use super::findings::{Finding, FindingKind, Journal, Listener};
use super::read::{Run, Source, Tally};
use super::record::Record;
use super::relations::Terms;
use super::rows::{
    RelationTable, is_told, relate, write_chunk, write_learned, write_number, write_told,
};
use super::rules::{Hit, News, Rules};
use super::store::{Face, RELATIONS, State, Store, StoreError};
use crate::report::Exit;

/// Findings of one kind that one chunk tells one by one: a log of nothing but faults must not fill
/// a disk with them. Hits of rules are all told, because somebody asked for them.
const FINDINGS_MAX: usize = 1000;

/// Runs whose relations are made up for in one transaction.
const CATCH_UP_RUNS: usize = 64;

/// Consecutive entries to be kept together.
#[derive(Default)]
pub struct Chunk {
    /// What was read, in order, without gaps.
    pub runs: Vec<Run>,
    /// How many entries.
    pub entries: usize,
    /// Bytes of records and postings.
    pub bytes: usize,
}

/// Findings that are held in memory for those who ask how a round went; all stand in the file.
const TOLD_MAX: usize = 100;

/// What a chunk, or a look at the log, told.
#[derive(Clone, Default, Debug)]
pub struct Told {
    /// Findings that were told now; of those added up, the first ones.
    pub new: Vec<Finding>,
    /// Findings that hold and were told before; of those added up, the first ones.
    pub old: Vec<Finding>,
    /// How many more of both there were, new ones first.
    pub more: (u64, u64),
    /// How a monitor ends that found what is not held any more.
    pub exits: Vec<Exit>,
}

/// What the state is to know beside chunks.
#[derive(Clone, Default, Debug)]
pub struct Learned {
    /// A checkpoint that extends all before.
    pub latest: Option<SignedCheckpoint>,
    /// Notes that stated a head, on whatever face: face, size, root, note.
    pub seen: Vec<(Face, u64, Hash, Vec<u8>)>,
    /// When the round ended well: Unix seconds.
    pub success: Option<u64>,
    /// The newest time that the log itself signed.
    pub time: Option<u64>,
    /// Up to which size all heads that were seen are compared.
    pub compared: Option<u64>,
}

/// The directory of one log, open for writing.
pub struct Keeper {
    store: Store,
    journal: Journal,
    state: State,
    directory: PathBuf,
}

impl Chunk {
    /// Adds what was read next.
    pub fn add(&mut self, run: Run) {
        self.entries += run.leaves.len();
        self.bytes += run.records.len() + run.postings.len() * size_of::<(Hash, u64)>();
        self.runs.push(run);
    }
}

impl Told {
    /// Adds what else was told. What has no room is counted.
    pub fn add(&mut self, other: Self) {
        self.more.0 += other.more.0;
        self.more.1 += other.more.1;
        other.exits.into_iter().for_each(|exit| self.add_exit(exit));
        for finding in other.new {
            if self.new.len() < TOLD_MAX {
                self.new.push(finding);
            } else {
                self.more.0 += 1;
                self.add_exit(finding.kind.exit());
            }
        }
        for finding in other.old {
            if self.old.len() < TOLD_MAX {
                self.old.push(finding);
            } else {
                self.more.1 += 1;
                self.add_exit(finding.kind.exit());
            }
        }
    }

    /// How many findings were told now.
    pub fn new_count(&self) -> u64 {
        self.new.len() as u64 + self.more.0
    }

    /// How many findings hold and were told before.
    pub fn old_count(&self) -> u64 {
        self.old.len() as u64 + self.more.1
    }

    /// How a monitor may end that found all this.
    pub fn exits(&self) -> Vec<Exit> {
        let held = self.new.iter().chain(&self.old).map(|finding| finding.kind.exit());
        held.chain(self.exits.iter().copied()).collect()
    }

    fn add_exit(&mut self, exit: Exit) {
        if !self.exits.contains(&exit) {
            self.exits.push(exit);
        }
    }
}

impl Keeper {
    /// Opens the directory of the log `origin`, or makes it; a new one starts with `edge`, that of
    /// the checkpoint `latest` if it is pinned to one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(
        directory: &Path,
        origin: &str,
        edge: &RightEdge,
        latest: Option<&SignedCheckpoint>,
        listener: Listener,
    ) -> Result<Self, StoreError> {
        let failed = |path: &Path, source| StoreError::File { path: path.to_owned(), source };
        crate::state::make_private(directory).map_err(|error| failed(directory, error))?;
        let latest = latest.map(SignedCheckpoint::note_bytes);
        let store = Store::open(directory, origin, edge, latest)?;
        let state = store.snapshot()?.state()?;
        let journal = Journal::open(directory, origin, state.journal, listener)
            .map_err(|error| failed(&directory.join("findings.jsonl"), error))?;
        Ok(Self { store, journal, state, directory: directory.to_owned() })
    }

    /// Where the monitor is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The index.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Keeps the note of a head that was seen, whatever becomes of it: on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn note(&mut self, face: Face, checkpoint: &SignedCheckpoint) -> Result<(), StoreError> {
        let head = checkpoint.head();
        if self.store.snapshot()?.is_seen(face, head.size, head.root)? {
            return Ok(());
        }
        let note = checkpoint.note_bytes().to_vec();
        let seen = vec![(face, head.size.get(), head.root, note)];
        self.learn(Vec::new(), &Learned { seen, ..Learned::default() }).map(|_| ())
    }

    /// Tells what was found about the log as a whole, and keeps what was learned.
    ///
    /// # Errors
    /// [`StoreError`]; then the state did not move.
    pub fn learn(&mut self, found: Vec<Finding>, learned: &Learned) -> Result<Told, StoreError> {
        let transaction = self.store.begin()?;
        let told = self.tell(&transaction, found)?;
        let written = write_learned(&transaction, learned);
        written.map_err(|error| self.store.failed(error))?;
        self.commit(transaction)?;
        if let Some(latest) = &learned.latest {
            // For those who compare checkpoints, and do not read the index.
            let path = self.directory.join("checkpoint");
            crate::state::write_private(&path, latest.note_bytes())
                .map_err(|source| StoreError::File { path, source })?;
        }
        Ok(told)
    }

    /// Compares a chunk with the rules, tells what was found, and moves the state past it. `signed`
    /// is the head of the tree that the entries were read from.
    ///
    /// # Errors
    /// [`StoreError`]; then the state did not move.
    pub fn take(
        &mut self,
        mut chunk: Chunk,
        signed: TreeHead,
        source: &Source,
    ) -> Result<(Told, Tally), StoreError> {
        let extension = self.extend(&chunk, signed)?;
        let transaction = self.store.begin()?;
        let mut found = Vec::new();
        let mut tally = Tally::default();
        for run in &mut chunk.runs {
            tally.add(run.tally);
            found.append(&mut run.findings);
        }
        let (mut found, more) = capped(found);
        found.extend(more);
        let hits = self.hits(&transaction, &chunk, source);
        found.extend(hits.map_err(|error| self.store.failed(error))?);
        let told = self.tell(&transaction, found)?;
        let end = extension.edge.size().get();
        let related = source.rules.need_relations().then_some(end);
        let written = write_chunk(&transaction, chunk, &extension, related);
        written.map_err(|error| self.store.failed(error))?;
        self.commit(transaction)?;
        Ok((told, tally))
    }

    /// Makes up for the relations of entries that were read while no rule needed them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn catch_up(&mut self) -> Result<(), StoreError> {
        while self.state.relations < self.state.edge.size().get() {
            let snapshot = self.store.snapshot()?;
            let transaction = self.store.begin()?;
            let mut at = self.state.relations;
            for _ in 0..CATCH_UP_RUNS {
                let Some((first, run)) = snapshot.run_from(at)? else { break };
                at = first;
                for record in Record::decode_run(&run) {
                    let record = record.ok_or(StoreError::Damaged("a record is none"))?;
                    let related = relate(&transaction, &record);
                    related.map_err(|error| self.store.failed(error))?;
                    at += 1;
                }
            }
            if at == self.state.relations {
                return Err(StoreError::Damaged("records are missing"));
            }
            let written = write_number(&transaction, "relations", at);
            written.map_err(|error| self.store.failed(error))?;
            self.commit(transaction)?;
        }
        Ok(())
    }

    /// Grows our own tree by the chunk. When it is as large as the signed one it is the same, or
    /// what we had is not what we computed once.
    fn extend(&self, chunk: &Chunk, signed: TreeHead) -> Result<Extension, StoreError> {
        let leaves: Vec<Hash> =
            chunk.runs.iter().flat_map(|run| run.leaves.iter().copied()).collect();
        let first = chunk.runs.first().map(|run| run.first);
        assert!(
            first.is_none_or(|first| first == self.state.edge.size().get()),
            "chunks follow each other without gaps"
        );
        let extension = self.state.edge.extend(&leaves);
        let extension = extension.ok_or(StoreError::Damaged("its tree is larger than any log"))?;
        if extension.head.size == signed.size && extension.head != signed {
            return Err(StoreError::Damaged("its tree does not lead to the signed one"));
        }
        Ok(extension)
    }

    /// The findings of rules. While no rule asks for the past, none of it is looked up.
    fn hits(
        &self,
        transaction: &WriteTransaction,
        chunk: &Chunk,
        source: &Source,
    ) -> Result<Vec<Finding>, redb::Error> {
        let rules = &source.rules;
        let mut found = Vec::new();
        for run in &chunk.runs {
            let mut hits: HashMap<u64, (Hash, &[Hit])> =
                run.hits.iter().map(|(index, leaf, hits)| (*index, (*leaf, &hits[..]))).collect();
            if !rules.need_relations() {
                for (index, leaf, hits) in &run.hits {
                    let entry = (*index, source.entry_id(*leaf));
                    found.extend(hits.iter().map(|hit| rule_finding(rules, hit, &entry, &[])));
                }
                continue;
            }
            for (index, record) in (run.first..).zip(Record::decode_run(&run.records)) {
                let record = record.expect("a run that was just read is whole");
                if let Some((leaf, hits)) = hits.remove(&index) {
                    let entry = (index, source.entry_id(leaf));
                    found.extend(new_hits(transaction, rules, hits, &record, &entry)?);
                }
                relate(transaction, &record)?;
            }
        }
        Ok(found)
    }

    /// Tells those of `found` that were never told.
    fn tell(
        &mut self,
        transaction: &WriteTransaction,
        found: Vec<Finding>,
    ) -> Result<Told, StoreError> {
        let mut told = Told::default();
        for finding in found {
            let id = finding.id(self.journal.origin());
            let known = is_told(transaction, &id).map_err(|error| self.store.failed(error))?;
            if known || self.journal.is_ahead(&id) {
                told.old.push(finding);
            } else {
                told.new.push(finding);
            }
        }
        let mut ids = std::collections::HashSet::new();
        told.new.retain(|finding| ids.insert(finding.id(self.journal.origin())));
        self.journal.tell(&told.new, &jiff::Timestamp::now().to_string()).map_err(|source| {
            StoreError::File { path: self.directory.join("findings.jsonl"), source }
        })?;
        let written = write_told(transaction, &self.journal, &told.new);
        written.map_err(|error| self.store.failed(error))?;
        Ok(told)
    }

    fn commit(&mut self, transaction: WriteTransaction) -> Result<(), StoreError> {
        transaction.commit().map_err(|error| self.store.failed(error))?;
        self.journal.settled();
        self.state = self.store.snapshot()?.state()?;
        Ok(())
    }
}

/// Tells one finding without an index, which learns of it when it is made. Returns whether it was
/// told before.
///
/// # Errors
/// [`StoreError::File`].
pub fn tell_alone(
    directory: &Path,
    origin: &str,
    finding: &Finding,
    listener: Listener,
) -> Result<bool, StoreError> {
    let failed = |source| StoreError::File { path: directory.to_owned(), source };
    crate::state::make_private(directory).map_err(failed)?;
    let mut journal = Journal::open(directory, origin, 0, listener).map_err(failed)?;
    if journal.is_ahead(&finding.id(origin)) {
        return Ok(true);
    }
    let time = jiff::Timestamp::now().to_string();
    journal.tell(std::slice::from_ref(finding), &time).map_err(failed)?;
    Ok(false)
}

/// The first [`FINDINGS_MAX`] of each kind, and for each kind that has more one finding that counts
/// them.
fn capped(found: Vec<Finding>) -> (Vec<Finding>, Vec<Finding>) {
    let mut counts: HashMap<FindingKind, usize> = HashMap::new();
    let mut beyond: HashMap<FindingKind, (u64, u64, usize)> = HashMap::new();
    let mut kept = Vec::new();
    for finding in found {
        let count = counts.entry(finding.kind.clone()).or_default();
        *count += 1;
        if *count <= FINDINGS_MAX {
            kept.push(finding);
            continue;
        }
        let index = finding.index.unwrap_or_default();
        let (_, last, more) = beyond.entry(finding.kind).or_insert((index, index, 0));
        (*last, *more) = (index, *more + 1);
    }
    let more = beyond.into_iter().map(|(kind, (first, last, count))| {
        let why = format!("the same is true of {count} more entries from {first} to {last}");
        Finding { index: Some(first), ..Finding::of_log(kind, format!("more from {first}"), why) }
    });
    (kept, more.collect())
}

/// The hits of an entry whose conditions about the past hold, too.
fn new_hits(
    transaction: &WriteTransaction,
    rules: &Rules,
    hits: &[Hit],
    record: &Record,
    entry: &(u64, String),
) -> Result<Vec<Finding>, redb::Error> {
    let terms = Terms::of(record);
    let table = RelationTable(transaction.open_table(RELATIONS)?);
    let news = terms.news(&table)?;
    let known: Vec<String> = news.known.iter().map(|fact| super::rules::fact_text(fact)).collect();
    let hits = hits.iter().filter(|hit| news.news.covers(rules.named(hit.rule).1));
    Ok(hits
        .map(|hit| match rules.named(hit.rule).1 == News::default() {
            true => rule_finding(rules, hit, entry, &[]),
            false => rule_finding(rules, hit, entry, &known),
        })
        .collect())
}

fn rule_finding(rules: &Rules, hit: &Hit, entry: &(u64, String), known: &[String]) -> Finding {
    let (name, news) = rules.named(hit.rule);
    let mut facts = hit.facts.clone();
    facts.extend(known.iter().filter(|fact| !hit.facts.contains(fact)).cloned());
    let mut why = "the entry meets the rule".to_owned();
    if news.name_new_signer {
        why.push_str("; its name was signed before, by others only");
    }
    if news.bytes_new_name {
        why.push_str("; its bytes were logged before, under other names only");
    }
    if news.bytes_new_signer {
        why.push_str("; its bytes were signed before, by others only");
    }
    let kind = FindingKind::Rule(name.to_owned());
    let finding = Finding::of_entry(kind, entry.0, why);
    Finding { facts, entry_id: Some(entry.1.clone()), ..finding }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted_and_still_decides_how_a_monitor_ends() {
        let mut told = Told::default();
        let rule = || Finding::of_log(FindingKind::Rule("a".to_owned()), "", "");
        for _ in 0..5 {
            told.add(Told { new: vec![rule(); 60], old: vec![rule(); 10], ..Told::default() });
        }
        assert_eq!((told.new.len(), told.new_count(), told.old_count()), (TOLD_MAX, 300, 50));
        let bad = Finding::of_log(FindingKind::Fork, "", "");
        let mut all = Told::default();
        told.add(Told { new: vec![bad], ..Told::default() });
        all.add(told);
        assert_eq!((all.new_count(), all.new.len()), (301, TOLD_MAX));
        assert!(all.exits().contains(&Exit::Alarm) && all.exits().contains(&Exit::Policy));
    }
}
