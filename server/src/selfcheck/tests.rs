use treering_proto::append::Extension;

use super::*;
use crate::test_log::{TestLog, entries, leaves};

#[test]
fn what_was_appended_right_passes_in_batches_of_every_kind() {
    let entries = entries(700);
    let mut log = TestLog::new();
    let mut selfcheck = SelfCheck::new(&RightEdge::EMPTY);
    for batch in [1, 2, 253, 1, 255, 188].iter().scan(0, |at, count| {
        *at += count;
        Some(&entries[*at - count..*at])
    }) {
        let durable = log.append(batch);
        let head = durable.head();
        assert_eq!(selfcheck.check(&log.store, durable).unwrap().head(), head);
    }
    assert_eq!(log.edge.size().get(), 700);
}

#[test]
fn a_gap_larger_than_what_is_read_at_once_passes() {
    let entries = entries(2 * READ_AT_ONCE as usize + 700);
    let mut log = TestLog::new();
    let durable = log.append(&entries);
    let head = durable.head();
    let checked = SelfCheck::new(&RightEdge::EMPTY).check(&log.store, durable).unwrap();
    assert_eq!(checked.head(), head);
}

#[test]
fn a_leaf_that_changed_before_it_entered_the_tree_is_never_signed() {
    let entries = entries(300);
    let mut flipped = leaves(&entries);
    flipped[17].0[3] ^= 0x10;
    let mut log = TestLog::new();
    let extension = log.edge.extend(&flipped).unwrap();
    let durable = log.commit(&entries, extension);
    let refused = SelfCheck::new(&RightEdge::EMPTY).check(&log.store, durable);
    assert!(matches!(refused, Err(SelfCheckError::RootMismatch { from: 0, to: 300, .. })));
}

#[test]
fn a_tile_that_was_written_wrong_is_never_signed() {
    let entries = entries(256);
    let mut log = TestLog::new();
    let mut extension = log.edge.extend(&leaves(&entries)).unwrap();
    extension.full_tiles[0].1[200].0[0] ^= 1;
    let durable = log.commit(&entries, extension);
    let refused = SelfCheck::new(&RightEdge::EMPTY).check(&log.store, durable);
    assert!(matches!(refused, Err(SelfCheckError::TileMismatch { path }) if path == "tile/0/000"));
}

#[test]
fn growing_tiles_that_are_not_those_of_the_head_are_never_signed() {
    let entries = entries(3);
    let mut other = leaves(&entries);
    other[0].0[0] ^= 1;
    let mut log = TestLog::new();
    let edge = log.edge.extend(&other).unwrap().edge;
    let extension = Extension { edge, ..log.edge.extend(&leaves(&entries)).unwrap() };
    let durable = log.commit(&entries, extension);
    let refused = SelfCheck::new(&RightEdge::EMPTY).check(&log.store, durable);
    assert!(matches!(refused, Err(SelfCheckError::EdgeMismatch)), "{refused:?}");
}

#[test]
fn a_batch_that_skips_one_is_never_signed() {
    let entries = entries(3);
    let mut log = TestLog::new();
    log.append(&entries[..1]);
    let durable = log.append(&entries[1..]);
    let refused = SelfCheck::new(&RightEdge::EMPTY).check(&log.store, durable);
    assert!(matches!(refused, Err(SelfCheckError::Discontinuous { batch: 1, checked: 0 })));
}
