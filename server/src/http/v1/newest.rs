//! The newest entries that are found by all of some criteria, with a bound on what is read.
//!
//! A criterion is a list of search keys of which an entry needs one. The postings of each key are
//! walked from the newest down; where criteria differ, each is taken to the oldest position that
//! any of them stands at, until all stand at the same entry.
//!
//! Invariants: what is found is complete down to its last entry, and beyond if it is not cut; no
//! entry at or above the given size is looked at.

use std::collections::VecDeque;

use treering_proto::hash::Hash;
use treering_proto::tree::{LeafIndex, TreeSize};

use crate::store::{Order, Store, StoreError};

/// What was found, the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Each index once.
    pub indexes: Vec<LeafIndex>,
    /// Whether there may be older ones.
    pub is_cut: bool,
}

/// How much one search may find, and read.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Entries.
    pub hits: usize,
    /// Postings; a look that finds none counts as one.
    pub reads: usize,
}

/// The newest entries below `size` that every criterion finds. No criterion finds nothing.
///
/// # Errors
/// [`StoreError`].
pub fn newest(
    store: &Store,
    criteria: &[Vec<Hash>],
    size: TreeSize,
    bounds: Bounds,
) -> Result<Found, StoreError> {
    let walk = |key: &Hash| Walk::new(*key);
    let walks = criteria.iter().map(|keys| keys.iter().map(walk).collect());
    let walks: Vec<Vec<Walk>> = walks.collect();
    let mut search = Search { store, size, walks, reads: bounds.reads };
    let mut found = Found::default();
    let mut max = size.get().checked_sub(1).filter(|_| !criteria.is_empty());
    while let Some(below) = max {
        let index = match search.next(below) {
            Ok(Some(index)) => index,
            Ok(None) => break,
            Err(Stop::NoReads) => {
                found.is_cut = true;
                break;
            }
            Err(Stop::Store(error)) => return Err(error),
        };
        if found.indexes.len() == bounds.hits {
            found.is_cut = true;
            break;
        }
        found.indexes.push(index);
        max = index.get().checked_sub(1);
    }
    Ok(found)
}

struct Search<'a> {
    store: &'a Store,
    size: TreeSize,
    walks: Vec<Vec<Walk>>,
    /// How many are left.
    reads: usize,
}

/// Why a search ends early.
enum Stop {
    NoReads,
    Store(StoreError),
}

impl Search<'_> {
    /// The newest entry at or below `max` that every criterion finds.
    fn next(&mut self, max: u64) -> Result<Option<LeafIndex>, Stop> {
        let mut position = max;
        loop {
            let before = position;
            let mut at = None;
            for criterion in 0..self.walks.len() {
                at = self.next_of(criterion, position)?;
                let Some(index) = at else { return Ok(None) };
                position = index.get();
            }
            // A whole round without a step down: all of them stand here.
            if position == before {
                return Ok(at);
            }
        }
    }

    /// The newest entry at or below `max` that one of the criterion's keys finds.
    fn next_of(&mut self, criterion: usize, max: u64) -> Result<Option<LeafIndex>, Stop> {
        let mut newest = None;
        for walk in &mut self.walks[criterion] {
            let at = walk.at_most(max, self.store, self.size, &mut self.reads)?;
            newest = newest.max(at);
        }
        Ok(newest)
    }
}

/// A walk down the postings of one key.
struct Walk {
    key: Hash,
    /// What was read and not yet passed.
    ahead: VecDeque<LeafIndex>,
    /// Nothing is left below `ahead`.
    is_at_end: bool,
    /// How many are read next.
    step: usize,
}

impl Walk {
    fn new(key: Hash) -> Self {
        Self { key, ahead: VecDeque::new(), is_at_end: false, step: STEP_MIN }
    }

    /// The newest posting at or below `max`, which is never above that of an earlier call.
    fn at_most(
        &mut self,
        max: u64,
        store: &Store,
        size: TreeSize,
        reads: &mut usize,
    ) -> Result<Option<LeafIndex>, Stop> {
        let mut passed = 0;
        while self.ahead.front().is_some_and(|index| index.get() > max) {
            self.ahead.pop_front();
            passed += 1;
        }
        if self.ahead.is_empty() && !self.is_at_end {
            // Whoever takes one after the other will take more; whoever leaps needs only the next.
            self.step = if passed > 1 { STEP_MIN } else { (2 * self.step).min(STEP_MAX) };
            let count = self.step.min(*reads);
            if count == 0 {
                return Err(Stop::NoReads);
            }
            let read = store.postings(&self.key, Some(max), size, Order::Newest, count);
            let read = read.map_err(Stop::Store)?;
            *reads -= read.len().max(1);
            self.is_at_end = read.len() < count;
            self.ahead.extend(read);
        }
        Ok(self.ahead.front().copied())
    }
}

/// Postings read at once, at first and at most.
const STEP_MIN: usize = 4;
const STEP_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use treering_proto::facts::search_key;

    use super::*;
    use crate::test_log::{TestLog, entries};

    /// A log of `count` entries by one key, and for each entry a search key of its own.
    fn log(count: usize) -> (TestLog, Vec<Hash>, Hash) {
        use treering_proto::facts::Tag;
        let mut log = TestLog::new();
        let logged = entries(count);
        let of = |tag: Tag| {
            let facts = logged.iter().flat_map(|entry| entry.facts());
            let facts = facts.filter(move |fact| fact.tag == tag);
            facts.map(|fact| search_key(fact.tag, &fact.value)).collect::<Vec<Hash>>()
        };
        let (own, key) = (of(Tag::ArtifactDigest), of(Tag::PublicKey)[0]);
        log.append(&logged);
        (log, own, key)
    }

    fn indexes(found: &Found) -> Vec<u64> {
        found.indexes.iter().map(|index| index.get()).collect()
    }

    const WIDE: Bounds = Bounds { hits: 10_000, reads: 50_000 };

    #[test]
    fn one_of_several_keys_is_enough_and_each_entry_is_found_once() {
        let (log, own, key) = log(30);
        let size = log.edge.size();
        let search = |criteria: &[Vec<Hash>]| newest(&log.store, criteria, size, WIDE).unwrap();
        let all: Vec<u64> = (0..30).rev().collect();
        assert_eq!(indexes(&search(&[vec![key]])), all);
        assert_eq!(indexes(&search(&[vec![own[7], key, own[3], key]])), all);
        assert_eq!(indexes(&search(&[vec![own[0], own[29], own[11]]])), [29, 11, 0]);
        for nothing in [vec![], vec![vec![]], vec![vec![Hash([7; 32])]]] {
            assert_eq!(search(&nothing), Found::default(), "{nothing:?}");
        }
    }

    #[test]
    fn every_criterion_must_find_an_entry() {
        let (log, own, key) = log(40);
        let size = log.edge.size();
        let search = |criteria: &[Vec<Hash>]| newest(&log.store, criteria, size, WIDE).unwrap();
        let some: Vec<Hash> = (0..40).step_by(3).map(|at| own[at]).collect();
        let others: Vec<Hash> = (0..40).step_by(4).map(|at| own[at]).collect();
        let both = [36, 24, 12, 0];
        for criteria in [[some.clone(), others.clone()], [others.clone(), some.clone()]] {
            assert_eq!(indexes(&search(&criteria)), both);
        }
        assert_eq!(indexes(&search(&[some, vec![key], others])), both);
        assert_eq!(search(&[vec![own[1]], vec![own[2]]]), Found::default());
        assert_eq!(search(&[vec![key], vec![Hash([7; 32])]]), Found::default());
    }

    #[test]
    fn what_is_not_published_is_not_found() {
        let (log, own, key) = log(20);
        for size in [0, 1, 7, 20] {
            let size = TreeSize::new(size).unwrap();
            let found = newest(&log.store, &[vec![key]], size, WIDE).unwrap();
            assert_eq!(indexes(&found), (0..size.get()).rev().collect::<Vec<u64>>());
        }
        let size = TreeSize::new(19).unwrap();
        let found = newest(&log.store, &[vec![own[19]], vec![key]], size, WIDE).unwrap();
        assert_eq!(found, Found::default());
    }

    #[test]
    fn what_is_cut_is_the_newest_part_and_says_so() {
        let (log, own, key) = log(30);
        let size = log.edge.size();
        let search =
            |criteria: &[Vec<Hash>], bounds| newest(&log.store, criteria, size, bounds).unwrap();
        for hits in [1, 29, 30, 31] {
            let found = search(&[vec![key]], Bounds { hits, reads: 1_000 });
            let expected: Vec<u64> = (0..30).rev().take(hits).collect();
            assert_eq!((indexes(&found), found.is_cut), (expected, hits < 30));
        }
        for reads in 0..40 {
            let found = search(&[vec![key]], Bounds { hits: 1_000, reads });
            let count = indexes(&found).len();
            assert_eq!(indexes(&found), (0..30).rev().take(count).collect::<Vec<u64>>());
            assert!(count <= reads && found.is_cut == (reads < 30), "{reads}: {found:?}");
        }
        // Two criteria that never meet: nothing is found, and after so many reads nobody knows.
        let even: Vec<Hash> = (0..30).step_by(2).map(|at| own[at]).collect();
        let odd: Vec<Hash> = (1..30).step_by(2).map(|at| own[at]).collect();
        let found = search(&[even.clone(), odd.clone()], WIDE);
        assert_eq!(found, Found::default());
        let found = search(&[even, odd], Bounds { hits: 10, reads: 12 });
        assert_eq!((found.indexes.len(), found.is_cut), (0, true));
    }

    #[test]
    fn a_rare_criterion_leaps_over_a_common_one() {
        let (log, own, key) = log(2_000);
        let rare = vec![own[3], own[1_000], own[1_990]];
        let bounds = Bounds { hits: 10, reads: 60 };
        for criteria in [[vec![key], rare.clone()], [rare, vec![key]]] {
            let found = newest(&log.store, &criteria, log.edge.size(), bounds).unwrap();
            assert_eq!((indexes(&found), found.is_cut), (vec![1_990, 1_000, 3], false));
        }
    }
}
