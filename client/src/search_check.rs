//! Holding a log's search answers against entries that were read: completeness is the log's word
//! until somebody has an index of his own.
//!
//! ```text
//! order newest:  page 1 covers (next, size)    page 2 covers (next, cursor]    ...
//! order oldest:  page 1 covers [0, next)       page 2 covers [cursor, next)    ...
//! ```
//!
//! Each page covers a range of indexes: within it, the log says, there is nothing else. A page that
//! brings nothing and goes on, or goes on to where no entry is, is no page: by such pages a log
//! could end a search that covered nothing.
//!
//! Invariant: what lies outside the covered ranges is not judged. Out of scope: where the own index
//! comes from (see [`crate::monitor`] and [`crate::audit_log`]).

use std::collections::{BTreeMap, BTreeSet};

use crate::log::{LogError, LogReader};
use crate::transport::TransportError;

/// Pages of one search: a million hits of a thousand each.
const PAGES_MAX: usize = 1000;

/// Hits of one page, as the log limits them.
const LIMIT_MAX: usize = 1000;

/// Which come first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SearchOrder {
    /// The largest index.
    Newest,
    /// The smallest.
    Oldest,
}

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Facts, as pairs of tag and value.
    pub facts: &'a [(&'a str, &'a str)],
    /// Which come first.
    pub order: SearchOrder,
    /// Where to start.
    pub cursor: Option<u64>,
    /// How many hits are enough, once `cover` is covered; `None` for all.
    pub enough: Option<usize>,
    /// What the pages must cover in any case: from the first index to before the last.
    pub cover: (u64, u64),
}

/// The log's answer over one or more pages.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Answered {
    /// What was found: the entry ids, by index.
    pub hits: BTreeMap<u64, String>,
    /// Ranges of indexes that the pages cover, each from its first to before its last.
    pub covered: Vec<(u64, u64)>,
    /// The smallest size that a page claims to have searched.
    pub searched: u64,
    /// Hits at or above the size that their page claims to have searched.
    pub beyond: BTreeSet<u64>,
}

/// What the log's answer has wrong.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// Entries that have the facts, and that the log hides.
    pub hidden: Vec<u64>,
    /// Entries that do not have the facts, or are not those that the log says.
    pub invented: Vec<u64>,
}

impl Mismatch {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.hidden.is_empty() && self.invented.is_empty()
    }
}

impl Answered {
    /// What the pages cover of the entries from `read.0` to before `read.1`; equal numbers if
    /// nothing.
    pub fn compared(&self, read: (u64, u64)) -> (u64, u64) {
        // Pages go on where the one before ended, so there are no gaps.
        let start = self.covered.iter().map(|(start, _)| *start).min().unwrap_or(u64::MAX);
        let end = self.covered.iter().map(|(_, end)| *end).max().unwrap_or(0);
        let (start, end) = (start.max(read.0), end.min(read.1));
        (start, end.max(start))
    }

    fn covers(&self, wanted: (u64, u64)) -> bool {
        wanted.0 >= wanted.1 || self.compared(wanted) == wanted
    }

    /// Takes a page that covers `covered`, of a tree of `size` entries; `None` if it is malformed.
    fn take(
        &mut self,
        hits: Vec<(u64, String)>,
        covered: (u64, u64),
        size: u64,
        goes_on: bool,
    ) -> Option<()> {
        if hits.is_empty() && goes_on {
            return None;
        }
        self.searched = self.searched.min(size);
        self.covered.push(covered);
        for (index, id) in hits {
            if index >= size {
                self.beyond.insert(index);
            } else if !(covered.0..covered.1).contains(&index) {
                return None;
            }
            if self.hits.insert(index, id).is_some() {
                return None;
            }
        }
        Some(())
    }
}

/// Asks the log, page after page.
///
/// # Errors
/// [`LogError`]; an answer whose pages do not go on, name an entry twice or outside of what they
/// cover, or have no number where one belongs, is malformed. One that has no end is unavailable.
pub async fn ask(log: &LogReader<'_>, asked: Asked<'_>) -> Result<Answered, LogError> {
    let malformed = || LogError::Malformed { path: "/api/treering/v1/search".to_owned() };
    let mut answered = Answered { searched: u64::MAX, ..Answered::default() };
    let mut cursor = asked.cursor;
    let order = match asked.order {
        SearchOrder::Newest => "newest",
        SearchOrder::Oldest => "oldest",
    };
    for _ in 0..PAGES_MAX {
        let at = cursor.map(|cursor| cursor.to_string());
        let left = asked.enough.map_or(0, |enough| enough.saturating_sub(answered.hits.len()));
        let limit = if left == 0 { LIMIT_MAX } else { left.min(LIMIT_MAX) }.to_string();
        let mut page = vec![("limit", limit.as_str()), ("order", order)];
        page.extend(at.as_deref().map(|at| ("cursor", at)));
        let found = log.search(asked.facts, &page).await?;
        let size: u64 = found.tree_size.parse().map_err(|_| malformed())?;
        let next: Option<u64> =
            found.next.map(|next| next.parse()).transpose().map_err(|_| malformed())?;
        let covered = range(asked.order, cursor, next, size).ok_or_else(malformed)?;
        let hits =
            found.entries.into_iter().map(|hit| Some((hit.index.parse().ok()?, hit.entry_id)));
        let hits = hits.collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
        answered.take(hits, covered, size, next.is_some()).ok_or_else(malformed)?;
        let is_enough = asked.enough.is_some_and(|enough| answered.hits.len() >= enough);
        cursor = next;
        if next.is_none() || (is_enough && answered.covers(asked.cover)) {
            return Ok(answered);
        }
    }
    let why = format!("the search has more than {PAGES_MAX} pages, and was not compared");
    Err(TransportError::Unavailable { why }.into())
}

/// What one page covers; `None` if the pages do not go on, or go on where no entry is.
fn range(
    order: SearchOrder,
    cursor: Option<u64>,
    next: Option<u64>,
    size: u64,
) -> Option<(u64, u64)> {
    if next.is_some_and(|next| next >= size) {
        return None;
    }
    match order {
        SearchOrder::Newest => {
            let end = cursor.map_or(size, |cursor| size.min(cursor.saturating_add(1)));
            match next {
                None => Some((0, end)),
                Some(next) if cursor.is_none_or(|cursor| next < cursor) => {
                    Some((next.saturating_add(1).min(end), end))
                }
                Some(_) => None,
            }
        }
        SearchOrder::Oldest => {
            let start = cursor.unwrap_or(0);
            match next {
                None => Some((start, size.max(start))),
                Some(next) if next > start => Some((start, next)),
                Some(_) => None,
            }
        }
    }
}

/// Compares an answer with what is known of the entries from `read.0` to before `read.1`: `known`
/// have the facts. `leaf` gives the leaf of an entry whose facts are all known, in hexadecimal.
pub fn compare(
    answered: &Answered,
    known: &BTreeSet<u64>,
    read: (u64, u64),
    mut leaf: impl FnMut(u64) -> Option<String>,
) -> Mismatch {
    let mut mismatch = Mismatch::default();
    for (start, end) in &answered.covered {
        let (start, end) = ((*start).max(read.0), (*end).min(read.1));
        if start < end {
            let hidden = known.range(start..end).filter(|at| !answered.hits.contains_key(at));
            mismatch.hidden.extend(hidden);
        }
    }
    mismatch.hidden.sort_unstable();
    mismatch.hidden.dedup();
    for (index, id) in &answered.hits {
        let was_read = (read.0..read.1).contains(index);
        let is_wrong = was_read
            && leaf(*index).is_some_and(|leaf| !known.contains(index) || !id.ends_with(&leaf));
        // No answer shows what is not published.
        if is_wrong || answered.beyond.contains(index) {
            mismatch.invented.push(*index);
        }
    }
    mismatch
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(hits: &[u64], covered: &[(u64, u64)], searched: u64) -> Answered {
        let hits: BTreeMap<u64, String> =
            hits.iter().map(|at| (*at, format!("tree{at}"))).collect();
        let beyond = hits.keys().copied().filter(|at| *at >= searched).collect();
        Answered { hits, covered: covered.to_vec(), searched, beyond }
    }

    fn compared(answered: &Answered, known: &[u64]) -> Mismatch {
        let leaf = |at: u64| (at != 6).then(|| at.to_string());
        compare(answered, &known.iter().copied().collect(), (2, 9), leaf)
    }

    #[test]
    fn pages_cover_what_lies_between_their_cursors() {
        use SearchOrder::{Newest, Oldest};
        assert_eq!(range(Newest, None, None, 9), Some((0, 9)));
        assert_eq!(range(Newest, None, Some(4), 9), Some((5, 9)));
        assert_eq!(range(Newest, Some(4), Some(2), 9), Some((3, 5)));
        assert_eq!(range(Newest, Some(4), None, 9), Some((0, 5)));
        assert_eq!(range(Newest, Some(4), None, 2), Some((0, 2)));
        assert_eq!(range(Newest, Some(4), Some(4), 9), None);
        assert_eq!(range(Newest, None, Some(40), 9), None);
        assert_eq!(range(Oldest, None, Some(9), 9), None);
        assert_eq!(range(Oldest, None, None, 9), Some((0, 9)));
        assert_eq!(range(Oldest, None, Some(4), 9), Some((0, 4)));
        assert_eq!(range(Oldest, Some(4), None, 9), Some((4, 9)));
        assert_eq!(range(Oldest, Some(4), Some(4), 9), None);
        assert_eq!(range(Oldest, Some(40), None, 9), Some((40, 40)));
    }

    #[test]
    fn a_page_brings_hits_that_it_covers_each_once() {
        let take = |hits: &[u64], goes_on| {
            let mut answered = Answered { searched: u64::MAX, ..Answered::default() };
            answered.take(vec![(4, String::new())], (4, 6), 9, true)?;
            let hits = hits.iter().map(|at| (*at, String::new())).collect();
            answered.take(hits, (2, 4), 9, goes_on)?;
            Some(answered)
        };
        assert_eq!(take(&[3, 2], true).unwrap().compared((0, 9)), (2, 6));
        assert_eq!(take(&[], false).unwrap().compared((3, 5)), (3, 5));
        assert_eq!(take(&[], false).unwrap().compared((7, 9)), (7, 7));
        assert!(
            take(&[], false).unwrap().covers((2, 6)) && take(&[], false).unwrap().covers((8, 8))
        );
        assert!(
            !take(&[], false).unwrap().covers((1, 6)) && !take(&[], false).unwrap().covers((2, 7))
        );
        assert!(take(&[], true).is_none(), "nothing, and so on for ever");
        assert!(take(&[3, 3], true).is_none() && take(&[4], true).is_none(), "twice");
        assert!(take(&[1], true).is_none() && take(&[7], true).is_none(), "elsewhere");
        assert_eq!(take(&[20], false).unwrap().beyond, BTreeSet::from([20]));
    }

    #[test]
    fn only_what_was_read_and_covered_is_judged() {
        let right = answered(&[3, 5], &[(0, 9)], 9);
        assert!(compared(&right, &[1, 3, 5]).is_empty());
        assert_eq!(compared(&right, &[3, 4, 5]).hidden, [4]);
        assert!(compared(&answered(&[5], &[(5, 9)], 9), &[3, 4, 5]).is_empty());
        assert!(compared(&answered(&[], &[(0, 5)], 5), &[5, 7]).is_empty());
        assert_eq!(compared(&answered(&[], &[(0, 100)], 100), &[8, 9]).hidden, [8]);
    }

    #[test]
    fn what_does_not_have_the_facts_or_is_another_entry_is_invented() {
        assert_eq!(compared(&answered(&[3, 4], &[(0, 9)], 9), &[3]).invented, [4]);
        assert!(compared(&answered(&[3, 6], &[(0, 9)], 9), &[3]).is_empty(), "6 is not known well");
        assert!(compared(&answered(&[1], &[(0, 9)], 9), &[]).is_empty(), "1 was not read");
        assert_eq!(compared(&answered(&[20], &[(0, 9)], 9), &[]).invented, [20]);
        let mut other = answered(&[3], &[(0, 9)], 9);
        other.hits.insert(3, "tree4".to_owned());
        assert_eq!(compared(&other, &[3]).invented, [3]);
    }
}
