use ed25519_dalek::SigningKey;
use treering_proto::api::v1::TreeId;
use treering_proto::hash::Hash;
use treering_proto::note::{SignatureLine, sign_cosignature_line, sign_ed25519_line};
use treering_proto::tree::TreeSize;

use super::*;
use crate::submission::Signer;

fn text(origin: &str) -> String {
    let head = TreeHead { size: TreeSize::new(3).unwrap(), root: Hash([5; 32]) };
    Checkpoint { origin: origin.to_owned(), head, extensions: Vec::new() }.format()
}

fn note(text: String, line: SignatureLine) -> Vec<u8> {
    Note { text, signatures: vec![line] }.format().into_bytes()
}

fn ed25519() -> (SigningKey, NoteKey) {
    let key = SigningKey::from_bytes(&[7; 32]);
    let note_key = NoteKey::ed25519("log.example", key.verifying_key().as_bytes()).unwrap();
    (key, note_key)
}

fn ed25519_note(origin: &str) -> Vec<u8> {
    let text = text(origin);
    let line = sign_ed25519_line("log.example", &ed25519().0, &text);
    note(text, line)
}

/// A note as Rekor v1 signs it, under the host.
fn v1_note(origin: &str, signer: &Signer) -> Vec<u8> {
    let text = text(origin);
    let key = NoteKey::ecdsa_p256(host(origin), signer.key.spki_der()).unwrap();
    let (name, key_id) = (key.name().to_owned(), key.key_id());
    let line = SignatureLine { name, key_id, signature: signer.sign(text.as_bytes()) };
    note(text, line)
}

#[test]
fn a_vkey_opens_the_checkpoints_of_its_log_alone() {
    let key = LogKey::read(&format!("{}\n", ed25519().1.to_vkey())).unwrap();
    assert_eq!(key.open(&ed25519_note("log.example")).unwrap().size.get(), 3);
    let other = key.open(&ed25519_note("other.example")).unwrap_err();
    assert!(other.to_string().contains("other.example"), "{other}");
    let mut changed = ed25519_note("log.example");
    let size = "log.example\n".len();
    changed[size] = b'4';
    assert!(key.open(&changed).is_err());
    assert!(key.is_known() && key.timestamp_key().is_none());
}

#[test]
fn pem_opens_what_its_key_signed_whatever_the_origin() {
    let signer = Signer::new();
    let key = LogKey::read(&signer.key.to_pem()).unwrap();
    for origin in ["log.example", "log.example - 4711"] {
        assert!(key.open(&v1_note(origin, &signer)).is_ok(), "{origin}");
        assert!(key.open(&v1_note(origin, &Signer::new())).is_err(), "{origin}");
    }
    assert_eq!(key.timestamp_key(), Some(signer.key.clone()));
    let vkey = NoteKey::ecdsa_p256("log.example", signer.key.spki_der()).unwrap().to_vkey();
    let key = LogKey::read(&vkey).unwrap();
    assert!(key.open(&v1_note("log.example - 4711", &signer)).is_ok());
    assert!(key.open(&v1_note("other.example - 4711", &signer)).is_err());
    assert_eq!(key.timestamp_key(), Some(signer.key));
}

#[test]
fn an_identity_opens_both_kinds_of_checkpoint() {
    let signer = Signer::new();
    let tree = TreeId::new(4711).unwrap();
    let identity = LogIdentity::new("log.example", tree, ed25519().1, signer.key.clone()).unwrap();
    let key = LogKey::Identity(Box::new(identity));
    assert!(key.open(&ed25519_note("log.example")).is_ok());
    assert!(key.open(&v1_note("log.example - 4711", &signer)).is_ok());
    assert!(key.open(&v1_note("log.example - 4712", &signer)).is_err());
    assert!(key.open(&v1_note("log.example", &signer)).is_err(), "each face has its key");
}

#[test]
fn without_a_key_the_head_is_the_servers_word() {
    assert_eq!(LogKey::Unknown.open(&ed25519_note("log.example")).unwrap().size.get(), 3);
    assert!(!LogKey::Unknown.is_known());
    assert!(LogKey::Unknown.open(b"no note").is_err());
}

#[test]
fn what_is_no_key_of_a_log_is_refused() {
    let (key, _) = ed25519();
    let witness = NoteKey::cosignature("witness.example", key.verifying_key().as_bytes()).unwrap();
    let line = sign_cosignature_line("witness.example", &key, &text("log.example"), 1);
    assert!(LogKey::Unknown.open(&note(text("log.example"), line)).is_ok());
    for bad in ["", "log.example", &witness.to_vkey(), "-----BEGIN PUBLIC KEY-----\nAA==\n"] {
        assert!(LogKey::read(bad).is_err(), "{bad}");
    }
}
