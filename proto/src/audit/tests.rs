use std::collections::HashMap;

use super::*;
use crate::append::Extension;
use crate::tree::TreeSize;

/// A log in memory whose entries are not of any known kind, so that each is one finding of its own.
struct Log {
    entries: Vec<Vec<u8>>,
    tiles: HashMap<Tile, Vec<Hash>>,
    heads: Vec<TreeHead>,
}

impl Log {
    fn of(count: u64, step: usize) -> Self {
        let entries: Vec<Vec<u8>> = (0..count).map(|i| i.to_be_bytes().to_vec()).collect();
        let mut log =
            Self { entries: entries.clone(), tiles: HashMap::new(), heads: vec![TreeHead::EMPTY] };
        let mut edge = RightEdge::EMPTY;
        for batch in entries.chunks(step) {
            let leaves: Vec<Hash> = batch.iter().map(|entry| hash_leaf(entry)).collect();
            let Extension { edge: grown, head, full_tiles } = edge.extend(&leaves).unwrap();
            log.tiles.extend(full_tiles);
            log.heads.push(head);
            edge = grown;
        }
        log
    }

    fn audit(&self) -> Report {
        let tiles = Box::new(|tile: Tile| self.tiles.get(&tile).cloned());
        let mut audit = Audit::new(self.heads.iter().copied(), tiles);
        for entry in &self.entries {
            audit.entry(entry);
        }
        audit.finish()
    }

    /// Findings other than that the test's entries are of no kind.
    fn findings(&self) -> Vec<Finding> {
        let mut findings = self.audit().findings;
        findings.retain(|finding| !matches!(finding, Finding::EntryUnreadable { .. }));
        findings
    }
}

#[test]
fn an_honest_log_has_no_findings_and_every_head_was_compared() {
    let log = Log::of(700, 13);
    assert_eq!(log.findings(), []);
    assert_eq!(log.audit().heads_checked, log.heads.len());
    assert_eq!(log.audit().head, *log.heads.last().unwrap());
}

#[test]
fn entries_of_no_kind_are_counted_beyond_the_bound_and_kept_up_to_it() {
    let report = Log::of(1500, 100).audit();
    assert_eq!(report.findings_count, 1500);
    assert_eq!(report.findings.len(), FINDINGS_MAX);
}

#[test]
fn one_changed_bit_in_an_entry_is_found_at_every_later_head_and_in_its_tiles() {
    let mut log = Log::of(700, 100);
    log.entries[150][7] ^= 1;
    let findings = log.findings();
    let wrong_heads = findings.iter().filter(|f| matches!(f, Finding::HeadWrong { .. })).count();
    assert_eq!(wrong_heads, 6, "heads at 200, 300, ... 700");
    assert!(findings.iter().any(|f| matches!(f, Finding::TileWrong { tile } if tile.index == 0)));
}

#[test]
fn missing_entries_tiles_and_forked_heads_are_named() {
    let mut log = Log::of(700, 100);
    log.entries.truncate(650);
    let last = *log.heads.last().unwrap();
    assert_eq!(log.findings(), [Finding::HeadBeyondEntries { signed: last }]);

    let mut log = Log::of(700, 100);
    let tile = *log.tiles.keys().find(|tile| tile.index == 1).unwrap();
    log.tiles.remove(&tile);
    assert_eq!(log.findings(), [Finding::TileMissing { tile }]);

    let mut log = Log::of(700, 100);
    let fork = TreeHead { size: TreeSize::new(300).unwrap(), root: Hash([9; 32]) };
    log.heads.push(fork);
    let findings = log.findings();
    assert!(matches!(findings[..], [Finding::HeadWrong { signed, .. }] if signed == fork));
}

#[test]
fn growing_tiles_are_compared_when_asked_for() {
    let log = Log::of(700, 700);
    let right = |tile: Tile| match tile.width {
        TILE_WIDTH => log.tiles.get(&tile).cloned(),
        _ => {
            let leaves: Vec<Hash> = log.entries.iter().map(|entry| hash_leaf(entry)).collect();
            let edge = RightEdge::EMPTY.extend(&leaves).unwrap().edge;
            let TileKind::Hashes(level) = tile.kind else { return None };
            Some(edge.growing(level).to_vec())
        }
    };
    let wrong = |tile: Tile| {
        let mut hashes = right(tile)?;
        if tile.width != TILE_WIDTH {
            hashes.swap(0, 1);
        }
        Some(hashes)
    };
    let found = |tiles: Box<TileSource<'_>>| {
        let mut audit = Audit::new(log.heads.iter().copied(), tiles);
        log.entries.iter().for_each(|entry| audit.entry(entry));
        audit.compare_growing();
        let mut paths = Vec::new();
        for finding in audit.finish().findings {
            if let Finding::TileWrong { tile } = finding {
                paths.push(tile.path());
            }
        }
        paths
    };
    assert_eq!(found(Box::new(right)), Vec::<String>::new());
    assert_eq!(found(Box::new(wrong)), ["tile/0/002.p/188", "tile/1/000.p/2"]);
}

#[test]
fn an_audit_that_ended_early_does_not_miss_what_it_did_not_read() {
    let mut log = Log::of(3000, 1);
    log.entries.truncate(500);
    let tiles = |tile: Tile| log.tiles.get(&tile).cloned();
    let audited = || {
        let mut audit = Audit::new(log.heads.iter().copied(), Box::new(tiles));
        log.entries.iter().for_each(|entry| audit.entry(entry));
        audit
    };
    let early = audited().finish_early();
    assert_eq!(early.counts, BTreeMap::from([(FindingClass::Entries, 500)]));
    assert_eq!(early.head, log.heads[500]);
    let whole = audited().finish();
    assert_eq!(whole.counts[&FindingClass::Heads], 2500);
    // Heads that are missing leave room for what else was found.
    assert_eq!(whole.findings.len(), 500 + FINDINGS_MAX);
}

#[test]
fn heads_beyond_the_entries_that_disagree_are_a_fork_though_nothing_was_read() {
    let mut log = Log::of(700, 100);
    let last = *log.heads.last().unwrap();
    let fork = TreeHead { size: last.size, root: Hash([9; 32]) };
    log.heads.push(fork);
    log.entries.truncate(650);
    let tiles = |tile: Tile| log.tiles.get(&tile).cloned();
    let mut audit = Audit::new(log.heads.iter().copied(), Box::new(tiles));
    log.entries.iter().for_each(|entry| audit.entry(entry));
    let early = audit.finish_early();
    let expected = Finding::HeadsDisagree { one: last, other: fork };
    assert_eq!(early.counts.get(&FindingClass::Heads), Some(&1));
    assert!(early.findings.contains(&expected), "{:?}", early.findings);
    let whole = log.findings();
    assert!(whole.contains(&expected), "{whole:?}");
    assert!(whole.contains(&Finding::HeadBeyondEntries { signed: fork }), "{whole:?}");
}

#[test]
fn leaves_lead_to_the_same_tree_as_their_entries() {
    let log = Log::of(700, 100);
    let tiles = |tile: Tile| log.tiles.get(&tile).cloned();
    let mut audit = Audit::new(log.heads.iter().copied(), Box::new(tiles));
    log.entries.iter().for_each(|entry| audit.leaf(hash_leaf(entry)));
    let report = audit.finish();
    assert_eq!((report.findings, report.heads_checked), (vec![], log.heads.len()));
    assert_eq!(Some(&report.head), log.heads.last());
    assert!(report.kinds.is_empty(), "nobody read the entries");
}
