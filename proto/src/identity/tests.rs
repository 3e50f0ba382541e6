use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use ed25519_dalek::SigningKey;

use super::*;
use crate::note::{SignatureLine, sign_ed25519_line};

struct Keys {
    note: SigningKey,
    v1: EcdsaKeyPair,
}

fn keys() -> (Keys, LogIdentity) {
    let note = SigningKey::from_bytes(&[1; 32]);
    let v1 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(v1.public_key()).unwrap();
    let identity = LogIdentity::new(
        "log.corp",
        TreeId::new(4711).unwrap(),
        NoteKey::ed25519("log.corp", note.verifying_key().as_bytes()).unwrap(),
        PublicKey::from_spki_der(spki.as_ref()).unwrap(),
    )
    .unwrap();
    (Keys { note, v1 }, identity)
}

fn ecdsa_line(keys: &Keys, identity: &LogIdentity, text: &str) -> SignatureLine {
    let signature = keys.v1.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
    SignatureLine {
        name: identity.origin().to_owned(),
        key_id: identity.v1_note_key().key_id(),
        signature: signature.as_ref().to_vec(),
    }
}

#[test]
fn a_document_signed_by_both_keys_opens() {
    let (keys, identity) = keys();
    let text = identity.text();
    assert!(
        text.starts_with("treering identity v1\norigin log.corp\ntree 4711\nnote-key log.corp+")
    );
    let ed25519 = sign_ed25519_line("log.corp", &keys.note, &text);
    let ecdsa = ecdsa_line(&keys, &identity, &text);
    let document = Note { text, signatures: vec![ed25519, ecdsa] }.format();
    assert_eq!(LogIdentity::open(document.as_bytes()), Ok(identity));
}

#[test]
fn a_document_that_one_key_did_not_sign_is_refused() {
    let (keys, identity) = keys();
    let text = identity.text();
    let ed25519 = sign_ed25519_line("log.corp", &keys.note, &text);
    let ecdsa = ecdsa_line(&keys, &identity, &text);
    for line in [ed25519.clone(), ecdsa] {
        let document = Note { text: text.clone(), signatures: vec![line] }.format();
        assert_eq!(LogIdentity::open(document.as_bytes()), Err(IdentityError::Unsigned));
    }
    let forged = ecdsa_line(&keys, &identity, "another text\n");
    let document = Note { text, signatures: vec![ed25519, forged] }.format();
    assert!(matches!(LogIdentity::open(document.as_bytes()), Err(IdentityError::Open(_))));
}

#[test]
fn a_changed_line_is_refused() {
    let (keys, identity) = keys();
    for (from, to) in [
        ("tree 4711", "tree 04711"),
        ("tree 4711", "tree 0"),
        ("origin log.corp", "origin other.corp"),
        ("v1-key ", "v1-key  "),
        ("treering identity v1", "treering identity v2"),
    ] {
        let text = identity.text().replace(from, to);
        let signatures = vec![
            sign_ed25519_line("log.corp", &keys.note, &text),
            ecdsa_line(&keys, &identity, &text),
        ];
        let document = Note { text, signatures }.format();
        assert!(LogIdentity::open(document.as_bytes()).is_err(), "{from} to {to}");
    }
}
