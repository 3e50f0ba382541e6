use aws_lc_rs::signature::ML_DSA_44;

use super::*;
use crate::hash::sha256;

const ORIGIN: &str = "log.example";
const NAME: &str = "witness.example";
const TIME: u64 = 1_700_000_000;

fn key() -> MlDsa44SigningKey {
    MlDsa44SigningKey::from_seed(&[5; SEED_LEN])
}

fn public() -> ParsedPublicKey {
    ParsedPublicKey::new(&ML_DSA_44, key().public_key()).unwrap()
}

fn head(size: u64) -> TreeHead {
    TreeHead { size: TreeSize::new(size).unwrap(), root: sha256(b"root") }
}

fn text_of(origin: &str, head: TreeHead) -> String {
    Checkpoint { origin: origin.to_owned(), head, extensions: Vec::new() }.format()
}

fn payload(time: u64) -> Vec<u8> {
    sign(&key(), NAME, ORIGIN, head(42), time).unwrap()
}

#[test]
fn the_message_has_exactly_these_bytes() {
    let message = message("w", "log", head(0x0102), 7).unwrap();
    let expected = [
        b"subtree/v1\n\0\x01w\0\0\0\0\0\0\0\x07\x03log".as_slice(),
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02",
        &sha256(b"root").0,
    ];
    assert_eq!(message, expected.concat());
}

#[test]
fn a_cosignature_verifies_and_gives_its_time() {
    for time in [0, 1, TIME, TIME_MAX] {
        let payload = payload(time);
        assert_eq!(payload.len(), 2428);
        assert_eq!(verify(&public(), NAME, &text_of(ORIGIN, head(42)), &payload), Some(time));
    }
}

#[test]
fn rejects_another_name_origin_size_root_or_time() {
    let payload = payload(TIME);
    let text = text_of(ORIGIN, head(42));
    let refused = |name: &str, text: &str, payload: &[u8]| {
        assert_eq!(verify(&public(), name, text, payload), None, "{name} {text}");
    };
    refused("vitness.example", &text, &payload);
    refused("", &text, &payload);
    refused(NAME, &text_of("log.exampl", head(42)), &payload);
    refused(NAME, &text_of(ORIGIN, head(43)), &payload);
    let other_root = TreeHead { root: sha256(b"other"), ..head(42) };
    refused(NAME, &text_of(ORIGIN, other_root), &payload);
    for at in 0..TIME_LEN {
        let mut later = payload.clone();
        later[at] ^= 1;
        refused(NAME, &text, &later);
    }
    let other = MlDsa44SigningKey::from_seed(&[6; SEED_LEN]);
    refused(NAME, &text, &sign(&other, NAME, ORIGIN, head(42), TIME).unwrap());
}

#[test]
fn the_lengths_of_name_and_origin_cannot_move_bytes_between_them() {
    // Without the length bytes, these two would be one message when the times fit.
    assert_ne!(message("ab", "c", head(1), 0), message("a", "bc", head(1), 0));
}

#[test]
fn rejects_other_lengths_and_every_flipped_byte() {
    let payload = payload(TIME);
    let text = text_of(ORIGIN, head(42));
    let longer = [&payload[..], &[0]].concat();
    for wrong in [&payload[..0], &payload[..7], &payload[..8], &payload[..2427], &longer] {
        assert_eq!(verify(&public(), NAME, &text, wrong), None, "{} bytes", wrong.len());
    }
    for at in 0..PAYLOAD_LEN {
        let mut wrong = payload.clone();
        wrong[at] ^= 1;
        assert_eq!(verify(&public(), NAME, &text, &wrong), None, "byte {at}");
    }
}

#[test]
fn names_and_origins_have_1_to_255_bytes() {
    let longest = "x".repeat(255);
    let payload = sign(&key(), &longest, &longest, head(42), TIME).unwrap();
    let text = text_of(&longest, head(42));
    assert_eq!(verify(&public(), &longest, &text, &payload), Some(TIME));
    for wrong in ["", &"x".repeat(256), &"x".repeat(511)] {
        assert_eq!(message(wrong, ORIGIN, head(42), TIME), None, "{} bytes", wrong.len());
        assert_eq!(message(NAME, wrong, head(42), TIME), None, "{} bytes", wrong.len());
    }
    let text = text_of(&"x".repeat(256), head(42));
    assert_eq!(verify(&public(), &longest, &text, &payload), None);
}

#[test]
fn extension_lines_are_not_signed_and_so_refused() {
    let text = format!("{}extension\n", text_of(ORIGIN, head(42)));
    assert_eq!(verify(&public(), NAME, &text, &payload(TIME)), None);
    assert_eq!(verify(&public(), NAME, "no checkpoint\n", &payload(TIME)), None);
}

#[test]
fn an_empty_tree_has_the_root_of_no_leaves_even_when_signed() {
    let payload = sign(&key(), NAME, ORIGIN, TreeHead::EMPTY, TIME).unwrap();
    let text = text_of(ORIGIN, TreeHead::EMPTY);
    assert_eq!(verify(&public(), NAME, &text, &payload), Some(TIME));
    assert_eq!(sign(&key(), NAME, ORIGIN, head(0), TIME), None);
    // Signed by somebody who does not check.
    let mut signed = message(NAME, ORIGIN, head(1), TIME).unwrap();
    let at = signed.len() - 33;
    signed[at] = 0;
    let mut payload = vec![0; PAYLOAD_LEN];
    payload[..TIME_LEN].copy_from_slice(&TIME.to_be_bytes());
    key().pair.sign(&signed, &mut payload[TIME_LEN..]).unwrap();
    public().verify_sig(&signed, &payload[TIME_LEN..]).expect("the signature itself is good");
    assert_eq!(verify(&public(), NAME, &text_of(ORIGIN, head(0)), &payload), None);
}

#[test]
fn rejects_a_time_above_the_maximum_even_when_signed() {
    assert_eq!(sign(&key(), NAME, ORIGIN, head(42), TIME_MAX + 1), None);
    let mut signed = message(NAME, ORIGIN, head(42), 0).unwrap();
    let time = (TIME_MAX + 1).to_be_bytes();
    signed[13 + NAME.len()..][..TIME_LEN].copy_from_slice(&time);
    let mut payload = vec![0; PAYLOAD_LEN];
    payload[..TIME_LEN].copy_from_slice(&time);
    key().pair.sign(&signed, &mut payload[TIME_LEN..]).unwrap();
    public().verify_sig(&signed, &payload[TIME_LEN..]).expect("the signature itself is good");
    assert_eq!(verify(&public(), NAME, &text_of(ORIGIN, head(42)), &payload), None);
}

#[test]
fn a_key_survives_pkcs8_with_its_seed() {
    let der = key().to_pkcs8().unwrap();
    // RFC 9881: version 0, id-ml-dsa-44, and the seed as [0].
    let expected =
        [&hex::decode("3034020100300b060960864801650304031104228020").unwrap()[..], &[5; SEED_LEN]];
    assert_eq!(der.as_ref(), expected.concat());
    let read = MlDsa44SigningKey::from_pkcs8(der.as_ref()).unwrap();
    assert_eq!(read.public_key(), key().public_key());
    assert!(MlDsa44SigningKey::from_pkcs8(&der.as_ref()[1..]).is_none());
}
