use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;
use treering_proto::tile::{encode_entry, encode_hashes};

use super::*;
use crate::hammer::kind::Kind;
use crate::hammer::load::Load;
use crate::hammer::maker::{Recipe, make_all};
use crate::hammer::requests::Requests;
use crate::hammer::target::Target;
use crate::lying_log::{Lie, LyingLog, log_of};

const COUNT: usize = 6;

/// Requests of a face, and what `log` answers to them.
fn answered(log: &LyingLog, face: Face) -> (Vec<Bytes>, Vec<Kept>) {
    let requests = make_all(Recipe { kind: Kind::P256, face, per_key: 1 }, COUNT, 1);
    let submit = Requests::submit(face, Arc::new(requests.clone()));
    let load = Load::closed(Target::new(log.address()), 2, submit);
    let load = Load { kept_one_in: 1, time: Duration::from_secs(60), ..load };
    let measured = Runtime::new().unwrap().block_on(load.run()).unwrap().faultless().unwrap();
    (requests, measured.kept)
}

fn key(log: &LyingLog) -> LogKey {
    LogKey::Identity(Box::new(log.scene().branch.keys().identity().clone()))
}

#[test]
fn right_answers_are_right_and_those_to_other_requests_are_not() {
    let log = LyingLog::show(log_of(3).1);
    let stranger = key(&LyingLog::show(log_of(0).1));
    for face in [Face::RekorV2, Face::RekorV1] {
        let (requests, mut kept) = answered(&log, face);
        for key in [key(&log), LogKey::Unknown] {
            let verdict = check_kept(face, &key, &requests, &kept);
            let right = Verdict { verified: COUNT, wrong: 0, first_wrong: None };
            assert_eq!(verdict, right, "{face}");
        }
        let verdict = check_kept(face, &stranger, &requests, &kept);
        assert_eq!((verdict.verified, verdict.wrong), (0, COUNT), "{face}: another log's key");

        let first = kept[0].number;
        (kept[0].number, kept[1].number) = (kept[1].number, first);
        let verdict = check_kept(face, &LogKey::Unknown, &requests, &kept);
        assert_eq!((verdict.verified, verdict.wrong), (COUNT - 2, 2), "{face}: swapped");
        kept[0].number = COUNT;
        let verdict = check_kept(face, &LogKey::Unknown, &requests, &kept[..1]);
        assert!(verdict.first_wrong.unwrap().contains("nothing like it was sent"));
    }
}

/// Changes the value at `pointer`: a number by one, of a text its first character.
fn change(answer: &[u8], pointer: &str) -> Bytes {
    let mut json: Value = serde_json::from_slice(answer).unwrap();
    let value = json.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}"));
    *value = match (value.as_u64(), value.as_str()) {
        (Some(number), _) => (number + 1).into(),
        (None, Some(text)) => match text.parse::<u64>() {
            Ok(number) => (number + 1).to_string().into(),
            // Both are digits of hexadecimal and of base64.
            Err(_) => {
                let other = if text.starts_with('0') { '1' } else { '0' };
                format!("{other}{}", &text[1..]).into()
            }
        },
        (None, None) => panic!("{pointer} is neither"),
    };
    json.to_string().into()
}

#[test]
fn an_answer_that_was_changed_anywhere_is_refused() {
    let log = LyingLog::show(log_of(3).1);
    let of_v2 = [
        "/logIndex",
        "/canonicalizedBody",
        "/inclusionProof/logIndex",
        "/inclusionProof/treeSize",
        "/inclusionProof/rootHash",
        "/inclusionProof/hashes/0",
        "/inclusionProof/checkpoint/envelope",
    ];
    let of_v1 = [
        "/body",
        "/integratedTime",
        "/logID",
        "/logIndex",
        "/verification/signedEntryTimestamp",
        "/verification/inclusionProof/checkpoint",
        "/verification/inclusionProof/hashes/0",
        "/verification/inclusionProof/logIndex",
        "/verification/inclusionProof/rootHash",
        "/verification/inclusionProof/treeSize",
    ];
    for (face, pointers) in [(Face::RekorV2, &of_v2[..]), (Face::RekorV1, &of_v1[..])] {
        let (requests, kept) = answered(&log, face);
        let one = &kept[0];
        let members: Value = serde_json::from_slice(&one.body).unwrap();
        let id = members.as_object().unwrap().keys().next().unwrap();
        let below = if face == Face::RekorV1 { format!("/{id}") } else { String::new() };
        for pointer in pointers {
            let body = change(&one.body, &format!("{below}{pointer}"));
            let changed = [Kept { body, ..one.clone() }];
            let verdict = check_kept(face, &key(&log), &requests, &changed);
            assert_eq!((verdict.verified, verdict.wrong), (0, 1), "{face}: {pointer}");
        }
    }
}

#[test]
fn a_time_that_the_log_did_not_sign_is_refused() {
    let log = LyingLog::show(log_of(0).1);
    let (requests, kept) = answered(&log, Face::RekorV1);
    let text = String::from_utf8(kept[0].body.to_vec()).unwrap();
    let changed = text.replacen("\"integratedTime\":", "\"integratedTime\":1", 1);
    let kept = [Kept { body: changed.into(), ..kept[0].clone() }];
    let verdict = check_kept(Face::RekorV1, &key(&log), &requests, &kept);
    assert!(verdict.first_wrong.unwrap().contains("timestamp"));
    // Nobody can tell without the key.
    let verdict = check_kept(Face::RekorV1, &LogKey::Unknown, &requests, &kept);
    assert_eq!(verdict.verified, 1);
}

#[test]
fn promises_that_are_not_kept_are_wrong_by_the_next_proof() {
    let (_, branch) = log_of(2);
    let note = branch.newest().note.clone();
    let log = LyingLog::show(branch);
    log.tell(Lie::Checkpoint(note));
    let (requests, kept) = answered(&log, Face::RekorV2);
    let verdict = check_kept(Face::RekorV2, &key(&log), &requests, &kept);
    assert_eq!((verdict.verified, verdict.wrong), (0, COUNT), "the checkpoint is an old one");
}

/// A check of tiles, each with its place, against the hashes above.
type Check = fn(&[(usize, Bytes)], &[Hash]) -> anyhow::Result<()>;

#[test]
fn a_tile_must_be_full_and_lead_to_the_hash_above_it() {
    let entries: Vec<Vec<u8>> = (0..TILE_WIDTH).map(|n| n.to_be_bytes().to_vec()).collect();
    let leaves: Vec<Hash> = entries.iter().map(|entry| hash_leaf(entry)).collect();
    let above = [hash_leaf(b"another tile"), perfect_root(&leaves)];
    let entry_tile = |entries: &[Vec<u8>]| {
        let mut bytes = Vec::new();
        entries.iter().for_each(|entry| encode_entry(entry, &mut bytes));
        Bytes::from(bytes)
    };
    let hash_tile = |leaves: &[Hash]| Bytes::from(encode_hashes(leaves));
    let cases: [(Check, Bytes, Bytes); 2] = [
        (check_tiles, hash_tile(&leaves), hash_tile(&leaves[1..])),
        (check_entry_tiles, entry_tile(&entries), entry_tile(&entries[1..])),
    ];
    for (check, whole, short) in cases {
        check(&[(1, whole.clone())], &above).unwrap();
        assert!(check(&[(0, whole.clone())], &above).is_err(), "it belongs elsewhere");
        assert!(check(&[(2, whole.clone())], &above).is_err(), "nothing vouches for it");
        assert!(check(&[(1, short)], &above).is_err(), "it is not full");
        let mut changed = whole.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        assert!(check(&[(1, changed.into())], &above).is_err(), "it was changed");
    }
}

#[test]
fn an_index_is_a_decimal_number_that_a_tree_can_have() {
    assert_eq!(read_index(b"0").unwrap().get(), 0);
    assert_eq!(read_index(b"4711\n").unwrap().get(), 4711);
    for bad in ["", "-1", "+1", "01", "1.0", "1 2", "x", "9007199254740991", "\u{661}"] {
        assert!(read_index(bad.as_bytes()).is_err(), "{bad:?}");
    }
}
