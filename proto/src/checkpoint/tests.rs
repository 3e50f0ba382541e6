use ed25519_dalek::SigningKey;

use super::*;
use crate::hash::EMPTY_ROOT;
use crate::note::{sign_cosignature_line, sign_ed25519_line};
use crate::tree::TREE_SIZE_MAX;

const ORIGIN: &str = "log.example/models";
const ROOT: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";

fn text_of(origin: &str, size: &str, root: &str, extensions: &str) -> String {
    format!("{origin}\n{size}\n{root}\n{extensions}")
}

fn seed(byte: u8) -> SigningKey {
    SigningKey::from_bytes(&[byte; 32])
}

fn log_key(name: &str, byte: u8) -> NoteKey {
    NoteKey::ed25519(name, seed(byte).verifying_key().as_bytes()).expect("a key")
}

fn witness_key() -> NoteKey {
    NoteKey::cosignature("witness.example", seed(9).verifying_key().as_bytes()).expect("a key")
}

/// A checkpoint of `origin` signed by log `name` with seed 1, and cosigned at time 5.
fn signed_note(origin: &str, name: &str) -> Vec<u8> {
    let text = text_of(origin, "0", ROOT, "");
    let signatures = vec![
        sign_ed25519_line(name, &seed(1), &text),
        sign_cosignature_line("witness.example", &seed(9), &text, 5),
    ];
    Note { text, signatures }.format().into_bytes()
}

#[test]
fn parses_and_formats_the_same_bytes() {
    for extensions in ["", "one\n", "one\n two \n"] {
        let text = text_of(ORIGIN, "0", ROOT, extensions);
        let checkpoint = Checkpoint::parse(&text).expect("a checkpoint");
        assert_eq!(checkpoint.origin, ORIGIN);
        assert_eq!(checkpoint.head, TreeHead::EMPTY);
        assert_eq!(checkpoint.extensions.len(), extensions.lines().count());
        assert_eq!(checkpoint.format(), text);
    }
}

#[test]
fn rejects_sizes_that_are_not_canonical_or_too_large() {
    let too_large = (TREE_SIZE_MAX + 1).to_string();
    for size in [
        "",
        "00",
        "01",
        "+5",
        "-1",
        "5 ",
        " 5",
        "0x5",
        "5_0",
        "\u{664}",
        &too_large,
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
    ] {
        let text = text_of(ORIGIN, size, ROOT, "");
        assert_eq!(Checkpoint::parse(&text), Err(CheckpointError::Size), "{size:?}");
    }
    let largest = text_of(ORIGIN, &TREE_SIZE_MAX.to_string(), ROOT, "");
    assert_eq!(Checkpoint::parse(&largest).map(|c| c.head.size.get()), Ok(TREE_SIZE_MAX));
}

#[test]
fn rejects_roots_that_are_not_canonical_base64_of_32_bytes() {
    let unpadded = ROOT.trim_end_matches('=');
    let dangling_bits = ROOT.replace("uFU=", "uFV=");
    for root in ["", unpadded, &dangling_bits, &to_base64(&[1; 31]), &to_base64(&[1; 33])] {
        let text = text_of(ORIGIN, "0", root, "");
        assert_eq!(Checkpoint::parse(&text), Err(CheckpointError::Root), "{root:?}");
    }
}

#[test]
fn rejects_checkpoints_with_blank_or_missing_lines() {
    for (text, error) in [
        (text_of("", "0", ROOT, ""), CheckpointError::Origin),
        (text_of(ORIGIN, "0", ROOT, "\n"), CheckpointError::Extension),
        (text_of(ORIGIN, "0", ROOT, "a\n\nb\n"), CheckpointError::Extension),
        (text_of(ORIGIN, "0", ROOT, "unfinished"), CheckpointError::TooFewLines),
        (format!("{ORIGIN}\n0\n{ROOT}"), CheckpointError::TooFewLines),
        (format!("{ORIGIN}\n0\n"), CheckpointError::TooFewLines),
        (String::new(), CheckpointError::TooFewLines),
    ] {
        assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
    }
}

#[test]
fn rejects_checkpoint_with_cr() {
    for text in [
        text_of("log.example\r", "0", ROOT, ""),
        text_of(ORIGIN, "0\r", ROOT, ""),
        text_of(ORIGIN, "0", ROOT, "extension\r\n"),
    ] {
        assert_eq!(Checkpoint::parse(&text), Err(CheckpointError::ControlByte));
    }
}

#[test]
fn opens_a_checkpoint_signed_by_its_log() {
    let note = signed_note(ORIGIN, ORIGIN);
    let signed = open_checkpoint(&note, ORIGIN, &[witness_key(), log_key(ORIGIN, 1)])
        .expect("a good checkpoint");
    assert_eq!(signed.head(), TreeHead { size: TreeSize::ZERO, root: EMPTY_ROOT });
    assert_eq!(signed.checkpoint().origin, ORIGIN);
    assert_eq!(signed.note_bytes(), note);
    let expected = [
        Verified { key: log_key(ORIGIN, 1), time: None },
        Verified { key: witness_key(), time: Some(5) },
    ];
    assert_eq!(signed.verified(), expected);
}

#[test]
fn opens_a_rekor_v1_checkpoint_signed_under_the_host_name() {
    let origin = "rekor.example - 1193050959916656506";
    let note = signed_note(origin, "rekor.example");
    assert!(open_checkpoint(&note, origin, &[log_key("rekor.example", 1)]).is_ok());
    let error = open_checkpoint(&note, "rekor.example", &[log_key("rekor.example", 1)]);
    assert_eq!(error, Err(OpenCheckpointError::WrongOrigin { found: origin.to_owned() }));
}

#[test]
fn rejects_the_checkpoint_of_another_log() {
    let note = signed_note("other.example", "other.example");
    let keys = [log_key(ORIGIN, 1), log_key("other.example", 1)];
    let error = open_checkpoint(&note, ORIGIN, &keys);
    assert_eq!(error, Err(OpenCheckpointError::WrongOrigin { found: "other.example".to_owned() }));
}

#[test]
fn rejects_a_checkpoint_that_only_witnesses_signed() {
    let note = signed_note(ORIGIN, ORIGIN);
    let error = open_checkpoint(&note, ORIGIN, &[witness_key()]);
    assert_eq!(error, Err(OpenCheckpointError::NoLogSignature));
}

#[test]
fn rejects_a_checkpoint_of_an_unknown_or_impersonated_key() {
    let note = signed_note(ORIGIN, ORIGIN);
    let error = open_checkpoint(&note, ORIGIN, &[log_key(ORIGIN, 2)]);
    assert_eq!(error, Err(OpenCheckpointError::Open(OpenError::NoKnownKey)));
    let text = text_of(ORIGIN, "0", ROOT, "");
    let mut forged = sign_ed25519_line(ORIGIN, &seed(2), &text);
    forged.key_id = log_key(ORIGIN, 1).key_id();
    let note = Note { text, signatures: vec![forged] }.format();
    let error = open_checkpoint(note.as_bytes(), ORIGIN, &[log_key(ORIGIN, 1)]);
    let invalid = OpenError::InvalidSignature { name: ORIGIN.to_owned() };
    assert_eq!(error, Err(OpenCheckpointError::Open(invalid)));
}

#[test]
fn a_note_that_is_no_checkpoint_is_told_from_bytes_that_are_no_note() {
    let line = sign_ed25519_line(ORIGIN, &seed(1), "hello\n");
    let note = Note { text: "hello\n".to_owned(), signatures: vec![line] }.format();
    let error = open_checkpoint(note.as_bytes(), ORIGIN, &[log_key(ORIGIN, 1)]);
    assert_eq!(error, Err(OpenCheckpointError::Checkpoint(CheckpointError::TooFewLines)));
    let error = open_checkpoint(b"hello\n", ORIGIN, &[log_key(ORIGIN, 1)]);
    assert_eq!(error, Err(OpenCheckpointError::Note(NoteError::NoBlankLine)));
}
