//! Search terms: every fact that the entries have, or a sample of them, asked of the log and held
//! against the entries.
//!
//! The sample is the terms with the smallest hashes under the seed. A term is taken or left when it
//! is met first, and a term that was taken is never left for one with a larger hash; so every term
//! in the sample has all its entries, however many terms there are. Whoever does not know the seed
//! cannot choose terms that stay out of it.
//!
//! Invariant: terms and the entries of each are bounded. Out of scope: searches for several facts
//! at once.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use treering_proto::facts::{Fact, Tag};
use treering_proto::hash::{Hash, sha256};

use super::faults::Faults;
use super::read::exit;
use crate::log::LogReader;
use crate::monitor::read::{Run, Source};
use crate::monitor::record::Record;
use crate::report::Report;
use crate::search_check::{Asked, SearchOrder, ask, compare};

/// Entries of one term that are compared: a predicate type may be that of all of them.
const ENTRIES_MAX: usize = 1_000_000;

/// Terms that are being collected.
pub struct Terms {
    max: usize,
    seed: u64,
    /// By their hash under the seed.
    terms: BTreeMap<Hash, Term>,
    /// How many different terms were left, at least.
    left: bool,
    /// Entries whose facts are not all known.
    incomplete: HashSet<u64>,
}

struct Term {
    tag: Tag,
    value: String,
    /// Leaves by index.
    entries: BTreeMap<u64, Hash>,
    /// Where the entries end that are kept.
    end: u64,
}

impl Terms {
    /// Collects up to `max` terms.
    pub fn new(max: usize, seed: u64) -> Self {
        Self { max, seed, terms: BTreeMap::new(), left: false, incomplete: HashSet::new() }
    }

    /// Takes the facts of entries.
    pub fn take(&mut self, run: &Run) {
        if self.max == 0 {
            return;
        }
        let records = Record::decode_run(&run.records);
        for ((index, leaf), record) in (run.first..).zip(&run.leaves).zip(records) {
            let record = record.expect("a run that was just read is whole");
            if record.is_incomplete {
                self.incomplete.insert(index);
            }
            for fact in &record.facts {
                self.add(index, *leaf, fact);
            }
        }
    }

    fn add(&mut self, index: u64, leaf: Hash, fact: &Fact) {
        let text = [&self.seed.to_be_bytes(), fact.tag.name().as_bytes(), &[0], &fact.value];
        let rank = sha256(&text.concat());
        if let Some(term) = self.terms.get_mut(&rank) {
            if term.entries.len() < ENTRIES_MAX {
                term.entries.insert(index, leaf);
            } else {
                term.end = term.end.min(index);
            }
            return;
        }
        if self.terms.len() == self.max {
            self.left = true;
            match self.terms.last_entry() {
                Some(last) if *last.key() > rank => drop(last.remove()),
                _ => return,
            }
        }
        // Facts are text wherever they come from.
        let value = String::from_utf8_lossy(&fact.value).into_owned();
        let entries = BTreeMap::from([(index, leaf)]);
        self.terms.insert(rank, Term { tag: fact.tag, value, entries, end: u64::MAX });
    }

    /// Asks the log for each term, and reports.
    pub async fn check(self, source: &Source, size: u64, report: &mut Report) {
        if self.max == 0 {
            return report.not_checked("search", "no search terms were asked for");
        }
        let mut faults = Faults::default();
        for term in self.terms.values() {
            let transport = source.renewed();
            let log = LogReader::new(&transport, &source.trust);
            let facts = [(term.tag.name(), term.value.as_str())];
            let asked = Asked {
                facts: &facts,
                order: SearchOrder::Oldest,
                cursor: None,
                enough: Some(ENTRIES_MAX),
                cover: (0, size.min(term.end)),
            };
            let answered = match ask(&log, asked).await {
                Ok(answered) => answered,
                Err(error) => {
                    let why = format!("{}={}: {error}", term.tag, term.value);
                    return report.could_not_check("search", why, exit(&error));
                }
            };
            if answered.searched < size {
                faults.add(format!(
                    "{}={}: the log searched {} of {size} entries",
                    term.tag, term.value, answered.searched
                ));
            }
            let known: BTreeSet<u64> = term.entries.keys().copied().collect();
            let mismatch = compare(&answered, &known, (0, size.min(term.end)), |index| {
                let leaf = term.entries.get(&index).map(Hash::to_hex);
                (!self.incomplete.contains(&index)).then(|| leaf.unwrap_or_default())
            });
            for (indexes, what) in [(mismatch.hidden, "hides"), (mismatch.invented, "invents")] {
                for index in indexes {
                    faults.add(format!("{}={}: {what} entry {index}", term.tag, term.value));
                }
            }
        }
        let some =
            if self.left { format!(", a sample under seed {}", self.seed) } else { String::new() };
        let text = format!("all pages of {} terms agree{some}", self.terms.len());
        faults.report(report, "search", &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, values: &[&str]) -> Run {
        let mut run = Run { first, ..Run::default() };
        for value in values {
            let fact = Fact { tag: Tag::SubjectName, value: value.as_bytes().to_vec() };
            let kind = Some(treering_proto::entry::EntryKind::DsseV001);
            Record { kind, is_incomplete: false, signers: Vec::new(), facts: vec![fact] }
                .encode(&mut run.records);
            run.leaves.push(Hash([7; 32]));
        }
        run
    }

    #[test]
    fn every_term_of_a_sample_has_all_its_entries_and_a_seed_makes_one_sample() {
        let names: Vec<String> = (0..400).map(|at| format!("n{}", at * 7 % 40)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let sample = |max, seed| {
            let mut terms = Terms::new(max, seed);
            names.chunks(9).zip((0..).step_by(9)).for_each(|(part, at)| terms.take(&run(at, part)));
            let all: Vec<(String, usize)> =
                terms.terms.into_values().map(|term| (term.value, term.entries.len())).collect();
            (all, terms.left)
        };
        for seed in 0..20 {
            let (some, left) = sample(10, seed);
            assert!(some.len() == 10 && some.iter().all(|(_, count)| *count == 10) && left);
            assert_eq!(sample(10, seed).0, some);
        }
        assert_ne!(sample(10, 1).0, sample(10, 2).0);
        assert_eq!((sample(40, 1).0.len(), sample(40, 1).1), (40, false));
    }
}
