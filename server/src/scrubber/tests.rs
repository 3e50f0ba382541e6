use treering_proto::append::RightEdge;

use super::*;
use crate::test_log::{TestLog, entries, leaves};

#[test]
fn a_sound_log_is_sound_at_every_tile() {
    let mut log = TestLog::new();
    log.append(&entries(700));
    let snapshot = log.snapshot();
    for index in 0..2 {
        assert!(check_tile(&log.store, &snapshot, index).is_ok(), "tile {index}");
    }
}

#[test]
fn a_tile_that_no_longer_matches_its_entries_is_found() {
    let entries = entries(256);
    let mut log = TestLog::new();
    let mut extension = log.edge.extend(&leaves(&entries)).unwrap();
    extension.full_tiles[0].1[9].0[0] ^= 1;
    log.commit(&entries, extension);
    let found = check_tile(&log.store, &log.snapshot(), 0);
    assert!(matches!(found, Err(ScrubError::Mismatch { with: "its entries", .. })), "{found:?}");
}

#[test]
fn entries_that_lead_to_another_root_are_found() {
    let mut log = TestLog::new();
    log.append(&entries(256));
    let mut other = log.snapshot();
    other.edge = RightEdge::EMPTY.extend(&leaves(&entries(256))).unwrap().edge;
    let found = check_tile(&log.store, &other, 0);
    assert!(matches!(found, Err(ScrubError::Mismatch { with: "the level above", .. })));
}
