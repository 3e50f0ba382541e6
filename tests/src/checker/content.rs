//! The invariants of what is read: tiles, entries, search answers.

use std::collections::{HashMap, HashSet};

use treering_proto::hash::Hash;
use treering_proto::tile::{Tile, TileKind};

use super::event::Moment;
use super::{Case, Findings};

/// Every tile that was served holds the hashes of the entries below it, growing ones as prefixes;
/// every entry is the one at its index; what is beyond the rebuilt log is at least always the same.
pub(super) fn content(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    let mut served: HashMap<Tile, Hash> = HashMap::new();
    for seen in &case.history.tiles {
        let path = || seen.tile.path();
        let Some(digest) = seen.digest else {
            found.judge(false, || format!("{} is malformed", path()));
            continue;
        };
        if let Some(right) = case.rebuilt.tile_digest(seen.tile) {
            let of = match seen.tile.kind {
                TileKind::Entries => "entries that the log has",
                TileKind::Hashes(_) => "hashes of its entries",
            };
            found.judge(digest == right, || format!("{} does not hold the {of}", path()));
            continue;
        }
        let first = *served.entry(seen.tile).or_insert(digest);
        found.judge(digest == first, || format!("{} changed", path()));
        if seen.span.end <= case.rebuilt.at {
            found.judge(false, || format!("{} is beyond the log", path()));
        } else {
            found.leave_open("a tile is newer than the rebuilt log");
        }
    }
    for seen in &case.history.entries {
        let index = seen.bundle.index;
        match case.rebuilt.leaf(index) {
            Some(leaf) => found.judge(leaf == seen.bundle.leaf, || {
                format!("entry {index} was served as {}, and is {leaf}", seen.bundle.leaf)
            }),
            None if seen.span.end <= case.rebuilt.at => {
                found.judge(false, || format!("entry {index} was served and is beyond the log"));
            }
            None => found.leave_open("an entry is newer than the rebuilt log"),
        }
    }
    found
}

/// Every hit is the entry at its index, and a whole answer has every entry that was acknowledged
/// before the search began and has what was searched for. The index is written with the entry, so
/// there is no time in which it may lag.
pub(super) fn search(case: &Case<'_>) -> Findings {
    let mut found = Findings::default();
    if case.history.searches.is_empty() {
        return found;
    }
    let mut known: HashMap<Hash, Moment> = HashMap::new();
    for request in case.history.requests.iter().filter(|request| request.index().is_some()) {
        let end = known.entry(request.leaf).or_insert(request.span.end);
        *end = request.span.end.min(*end);
    }
    for seen in &case.history.searches {
        for (index, leaf) in &seen.found {
            match case.rebuilt.leaf(*index) {
                Some(right) => found.judge(right == *leaf, || {
                    format!("a search found {leaf} at {index}, where {right} is")
                }),
                None if seen.span.end <= case.rebuilt.at => {
                    found.judge(false, || format!("a search found {index}, beyond the log"));
                }
                None => found.leave_open("a hit is newer than the rebuilt log"),
            }
        }
        let hits: HashSet<Hash> = seen.found.iter().map(|(_, leaf)| *leaf).collect();
        for leaf in &seen.wanted {
            let is_due = known.get(leaf).is_some_and(|end| *end < seen.span.start);
            if hits.contains(leaf) {
                found.agree();
            } else if is_due && seen.is_whole {
                found.judge(false, || format!("a search did not find {leaf}, acknowledged before"));
            } else {
                found.leave_open("an entry was not acknowledged yet, or the answer was cut");
            }
        }
    }
    found
}
