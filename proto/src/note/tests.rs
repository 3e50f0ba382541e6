use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use hex::FromHex as _;

use super::*;
use crate::hash::sha256;

/// The example of the module documentation, byte for byte.
const GOLDEN: &str = "\
log.example/models
1
iipcm3aIJ95alVLDigRMZpWcaPbS8htSYK9U0vh9uCc=

— log.example/models OofW8XaaUdLR8CRdmZZWhz0HDZeGNeJ75qNRQ7ykQKGyrKdEleWT0Ur+0LtSZs9rKqY/N\
    54CV92qq18751uX6g7acgI=
— witness.example MXa9RQAAAABlU/EAIlrWdoT+XByg32hDBZTTS1fwOORaqqoig0GK3rIhihlSWb35leVvflmc\
    d9dT6X3vHAp2SjuONxywQ0nqbjuFAg==
";

const LOG_VKEY: &str = "log.example/models+3a87d6f1+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
const WITNESS_VKEY: &str = "witness.example+3176bd45+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";

const TEXT: &str = "\
log.example/models
1
iipcm3aIJ95alVLDigRMZpWcaPbS8htSYK9U0vh9uCc=
";
const TIME: u64 = 1_700_000_000;

fn log_seed() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn witness_seed() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

fn log_key() -> NoteKey {
    NoteKey::ed25519("log.example/models", log_seed().verifying_key().as_bytes())
        .expect("a valid key")
}

fn witness_key() -> NoteKey {
    NoteKey::cosignature("witness.example", witness_seed().verifying_key().as_bytes())
        .expect("a valid key")
}

fn log_line() -> SignatureLine {
    sign_ed25519_line("log.example/models", &log_seed(), TEXT)
}

fn witness_line(time: u64) -> SignatureLine {
    sign_cosignature_line("witness.example", &witness_seed(), TEXT, time)
}

fn note_of(signatures: Vec<SignatureLine>) -> Note {
    Note { text: TEXT.to_owned(), signatures }
}

/// A well-formed line that no key of these tests made.
fn foreign_line(name: &str, key_id: [u8; 4]) -> SignatureLine {
    SignatureLine { name: name.to_owned(), key_id, signature: vec![0xff; 9] }
}

fn parse_error(bytes: impl AsRef<[u8]>) -> NoteError {
    Note::parse(bytes.as_ref()).expect_err("the note must be refused")
}

#[test]
fn signing_writes_the_golden_note() {
    let note = note_of(vec![log_line(), witness_line(TIME)]);
    assert_eq!(note.format(), GOLDEN);
    assert_eq!(Note::parse(GOLDEN.as_bytes()), Ok(note));
}

#[test]
fn the_golden_note_opens_with_the_golden_keys() {
    let keys = [LOG_VKEY, WITNESS_VKEY].map(|vkey| NoteKey::parse_vkey(vkey).expect("a vkey"));
    assert_eq!(keys, [log_key(), witness_key()]);
    assert_eq!(keys.each_ref().map(NoteKey::to_vkey), [LOG_VKEY, WITNESS_VKEY]);
    let note = Note::parse(GOLDEN.as_bytes()).expect("the golden note");
    let [log, witness] = keys;
    let expected = vec![
        Verified { key: log.clone(), time: None },
        Verified { key: witness.clone(), time: Some(TIME) },
    ];
    assert_eq!(open(&note, &[witness, log]), Ok(expected));
}

#[test]
fn the_golden_note_has_one_spelling() {
    let golden = GOLDEN.as_bytes();
    for at in 0..golden.len() {
        for replacement in [b"".as_slice(), b"\n", b"A", b"=", b"\xff", b"\r"] {
            let changed = [&golden[..at], replacement, &golden[at + 1..]].concat();
            if let Ok(note) = Note::parse(&changed) {
                assert_eq!(note.format().as_bytes(), changed);
            }
        }
    }
}

#[test]
fn no_changed_byte_of_the_golden_note_still_opens_fully() {
    let full = open(&Note::parse(GOLDEN.as_bytes()).expect("a note"), &[log_key(), witness_key()]);
    for at in 0..GOLDEN.len() {
        let mut changed = GOLDEN.as_bytes().to_vec();
        changed[at] ^= 1;
        if let Ok(note) = Note::parse(&changed) {
            assert_ne!(open(&note, &[log_key(), witness_key()]), full, "byte {at}");
        }
    }
}

#[test]
fn the_text_may_hold_blank_lines_because_the_last_one_splits() {
    for text in ["a\n\nb\n", "\n", "a\n\n", "a\n\n\n\nb\n\n"] {
        let line = sign_ed25519_line("k", &log_seed(), text);
        let note = Note { text: text.to_owned(), signatures: vec![line] };
        assert_eq!(Note::parse(note.format().as_bytes()), Ok(note));
    }
}

#[test]
fn rejects_notes_that_break_off() {
    let whole = note_of(vec![log_line()]).format();
    assert_eq!(parse_error(&whole[..whole.len() - 1]), NoteError::UnfinishedLine);
    assert_eq!(parse_error(format!("{TEXT}\n")), NoteError::NoSignature);
    assert_eq!(parse_error(TEXT), NoteError::NoBlankLine);
    assert_eq!(parse_error(""), NoteError::NoBlankLine);
    assert_eq!(parse_error(format!("{TEXT}{}", log_line().format())), NoteError::NoBlankLine);
}

#[test]
fn rejects_a_note_with_cr_tab_or_nul() {
    for control in ["\r\n", "\t", "\0", "\x1f"] {
        let note = format!("text{control}\n\n{}", log_line().format());
        assert_eq!(parse_error(note), NoteError::ControlByte, "{control:?}");
    }
    let with_delete = format!("text\x7f\n\n{}", log_line().format());
    assert!(Note::parse(with_delete.as_bytes()).is_ok());
}

#[test]
fn rejects_invalid_utf8() {
    let note = [b"\xc3\x28\n\n", log_line().format().as_bytes()].concat();
    assert_eq!(parse_error(note), NoteError::NotUtf8);
}

#[test]
fn accepts_the_most_signatures_and_not_one_more() {
    for (count, fits) in
        [(16, true), (17, true), (SIGNATURES_MAX, true), (SIGNATURES_MAX + 1, false)]
    {
        let note = note_of(vec![log_line(); count]).format();
        assert_eq!(Note::parse(note.as_bytes()).is_ok(), fits, "{count} lines");
    }
    let note = note_of(vec![log_line(); SIGNATURES_MAX + 1]).format();
    assert_eq!(parse_error(note), NoteError::TooManySignatures);
}

#[test]
fn accepts_the_longest_note_and_not_a_byte_more() {
    let rest = format!("\n\n{}", log_line().format());
    let text = "x".repeat(NOTE_LEN_MAX - rest.len());
    assert!(Note::parse(format!("{text}{rest}").as_bytes()).is_ok());
    assert_eq!(parse_error(format!("x{text}{rest}")), NoteError::TooLong);
}

#[test]
fn rejects_malformed_signature_lines() {
    for line in [
        "- name AAAAAAA=",
        "\u{2014}name AAAAAAA=",
        "\u{2014} name",
        "\u{2014} name ",
        "\u{2014} name AAAAAA==",
        "\u{2014} name AAAAAAA",
        "\u{2014} name AAAAAAB=",
        "\u{2014} name AAAA_AA=",
        "\u{2014} name AAAAAAA= ",
        "\u{2014} two names AAAAAAA=",
        "\u{2014} name AAAA\nAAA=",
        "",
    ] {
        let lines = format!("{}{line}\n", log_line().format());
        let error = parse_signature_lines(lines.as_bytes());
        assert_eq!(error, Err(NoteError::SignatureLine), "{line:?}");
    }
    assert!(parse_signature_lines("\u{2014} name AAAAAAA=\n".as_bytes()).is_ok());
}

#[test]
fn rejects_key_names_with_space_plus_or_nothing() {
    for name in ["", "a\u{a0}b", "a\u{2003}b", "a\u{85}b", "a+b", &"x".repeat(256)] {
        let note = format!("text\n\n\u{2014} {name} AAAAAAA=\n");
        assert_eq!(parse_error(note), NoteError::KeyName, "{name:?}");
        let key = NoteKey::ed25519(name, log_seed().verifying_key().as_bytes());
        assert_eq!(key, Err(NoteKeyError::KeyName), "{name:?}");
    }
    assert!(is_key_name(&"x".repeat(255)));
    assert!(is_key_name("log.ünï.example/~a-b_c:8080"));
    assert!(!is_key_name("a b") && !is_key_name("a\tb") && !is_key_name("a\x01b"));
}

#[test]
fn ignores_lines_of_unknown_name_or_id() {
    let key = log_key();
    let other_id = foreign_line(key.name(), [0; 4]);
    let other_name = foreign_line("other.example", key.key_id());
    let note = note_of(vec![other_id.clone(), other_name.clone(), log_line()]);
    assert_eq!(open(&note, &[key]), Ok(vec![Verified { key: log_key(), time: None }]));
    let note = note_of(vec![other_id, other_name]);
    assert_eq!(open(&note, &[log_key()]), Err(OpenError::NoKnownKey));
    assert_eq!(open(&note_of(vec![log_line()]), &[]), Err(OpenError::NoKnownKey));
}

#[test]
fn a_bad_line_of_a_known_key_rejects_the_note_among_good_ones() {
    let mut bad = witness_line(TIME);
    bad.signature[71] ^= 1;
    let keys = [log_key(), witness_key()];
    let expected = OpenError::InvalidSignature { name: "witness.example".to_owned() };
    assert_eq!(open(&note_of(vec![log_line(), bad.clone()]), &keys), Err(expected));
    assert!(open(&note_of(vec![log_line(), bad]), &keys[..1]).is_ok());
}

#[test]
fn of_duplicate_lines_of_one_key_the_first_counts() {
    let keys = [log_key(), witness_key()];
    let mut bad = witness_line(TIME + 1);
    bad.signature[71] ^= 1;
    let first = vec![Verified { key: witness_key(), time: Some(TIME) }];
    assert_eq!(
        open(&note_of(vec![witness_line(TIME), witness_line(TIME + 1)]), &keys),
        Ok(first.clone())
    );
    assert_eq!(open(&note_of(vec![witness_line(TIME), bad.clone()]), &keys), Ok(first));
    assert!(open(&note_of(vec![bad, witness_line(TIME)]), &keys).is_err());
}

#[test]
fn a_signature_of_one_kind_is_none_of_another() {
    let public_key = *log_seed().verifying_key().as_bytes();
    let as_log = NoteKey::ed25519("same", &public_key).expect("a key");
    let as_witness = NoteKey::cosignature("same", &public_key).expect("a key");
    assert_ne!(as_log.key_id(), as_witness.key_id());
    assert_ne!(as_log, as_witness);
    let mut crossed = sign_ed25519_line("same", &log_seed(), TEXT);
    crossed.key_id = as_witness.key_id();
    assert!(open(&note_of(vec![crossed]), &[as_log.clone(), as_witness.clone()]).is_err());
    let mut crossed = sign_cosignature_line("same", &log_seed(), TEXT, TIME);
    crossed.key_id = as_log.key_id();
    assert!(open(&note_of(vec![crossed]), &[as_log, as_witness]).is_err());
}

/// The P-256 key pair whose private key is 32 bytes of 0x07, and its SubjectPublicKeyInfo.
fn rekor_key() -> (EcdsaKeyPair, Vec<u8>) {
    let spki = <Vec<u8>>::from_hex(concat!(
        "3059301306072a8648ce3d020106082a8648ce3d03010703420004",
        "1e18532fd4754c02f3041d9c75ceb33b83ffd81ac7ce4fe882ccb1c98bc5896e",
        "a46c311c4e2ff40dd96a3653e6e45445d32dfe486eced75c7a90c6a18881c0a3",
    ))
    .expect("hexadecimal");
    let alg = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let pair = EcdsaKeyPair::from_private_key_and_public_key(alg, &[7; 32], &spki[26..]);
    (pair.expect("a key pair"), spki)
}

#[test]
fn opens_a_rekor_v1_note_whose_signer_is_the_bare_host() {
    let text =
        "rekor.example - 1193050959916656506\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let (pair, spki) = rekor_key();
    let key = NoteKey::ecdsa_p256("rekor.example", &spki).expect("a key");
    assert_eq!(key.key_id_full(), sha256(&spki));
    let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature");
    let mut line = SignatureLine {
        name: "rekor.example".to_owned(),
        key_id: key.key_id(),
        signature: signature.as_ref().to_vec(),
    };
    let note = Note { text: text.to_owned(), signatures: vec![line.clone()] };
    let verified = vec![Verified { key: key.clone(), time: None }];
    assert_eq!(open(&note, std::slice::from_ref(&key)), Ok(verified));

    line.signature[10] ^= 1;
    let note = Note { text: text.to_owned(), signatures: vec![line] };
    assert!(open(&note, &[key]).is_err());
}

#[test]
fn an_ecdsa_key_has_one_encoding() {
    let (_, spki) = rekor_key();
    let key = NoteKey::ecdsa_p256("rekor.example", &spki).expect("a key");
    assert_eq!(NoteKey::parse_vkey(&key.to_vkey()), Ok(key));
    let mut off_curve = spki.clone();
    off_curve[90] ^= 1;
    let mut other_curve = spki.clone();
    other_curve[22] ^= 1;
    let longer = [&spki[..], &[0]].concat();
    for wrong in [&off_curve[..], &other_curve, &longer, &spki[..90], &spki[26..], &[]] {
        let key = NoteKey::ecdsa_p256("rekor.example", wrong);
        assert_eq!(key, Err(NoteKeyError::PublicKey), "{}", hex::encode(wrong));
    }
}

#[test]
fn a_key_id_is_the_start_of_the_hash_that_the_specification_gives() {
    let public_key = log_seed().verifying_key().to_bytes();
    let log = sha256(&[b"log.example/models\n\x01", &public_key[..]].concat());
    assert_eq!(log_key().key_id_full(), log);
    assert_eq!(log_key().key_id(), log.0[..4]);
    let public_key = witness_seed().verifying_key().to_bytes();
    let witness = sha256(&[b"witness.example\n\x04", &public_key[..]].concat());
    assert_eq!(witness_key().key_id_full(), witness);
}

/// A vkey with these parts, whose key id is right for types 0x01, 0x04 and 0x06.
fn vkey(name: &str, key_type: u8, public_key: &[u8]) -> String {
    let typed = [&[key_type], public_key].concat();
    let id = sha256(&[name.as_bytes(), b"\n", &typed].concat());
    format!("{name}+{}+{}", hex::encode(&id.0[..4]), to_base64(&typed))
}

#[test]
fn rejects_malformed_vkeys() {
    let public_key = log_seed().verifying_key().to_bytes();
    let good = vkey("log.example", 1, &public_key);
    let (name_and_id, encoded) = good.rsplit_once('+').expect("a vkey");
    let id = name_and_id.strip_prefix("log.example+").expect("a vkey");
    assert!(NoteKey::parse_vkey(&good).is_ok());
    for (wrong, error) in [
        (format!("log.example+{}+{encoded}", id.to_uppercase()), NoteKeyError::Malformed),
        (format!("log.example+{}+{encoded}", &id[..6]), NoteKeyError::Malformed),
        (format!("log.example+{id}00+{encoded}"), NoteKeyError::Malformed),
        (format!("{name_and_id}+{encoded} "), NoteKeyError::Malformed),
        (format!("{good}\n"), NoteKeyError::Malformed),
        (format!("{name_and_id}+"), NoteKeyError::Malformed),
        (name_and_id.to_owned(), NoteKeyError::Malformed),
        (String::new(), NoteKeyError::Malformed),
        (vkey("log.example", 0xff, &[0; VKEY_LEN_MAX]), NoteKeyError::Malformed),
        (format!("+{id}+{encoded}"), NoteKeyError::KeyName),
        (format!("log example+{id}+{encoded}"), NoteKeyError::KeyName),
        (format!("log.example+00000000+{encoded}"), NoteKeyError::KeyId),
        (format!("log.other+{id}+{encoded}"), NoteKeyError::KeyId),
        (vkey("log.example", 1, &public_key[..31]), NoteKeyError::PublicKey),
        (vkey("log.example", 4, &[&public_key[..], &[0]].concat()), NoteKeyError::PublicKey),
    ] {
        assert_eq!(NoteKey::parse_vkey(&wrong), Err(error), "{wrong:?}");
    }
}

#[test]
fn a_vkey_with_plus_signs_in_its_base64_parses() {
    let plus = (0..=255u8)
        .map(|seed| SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes())
        .map(|public_key| vkey("log.example", 1, &public_key))
        .find(|vkey| vkey.matches('+').count() > 2)
        .expect("a third of all keys have a plus sign");
    assert_eq!(NoteKey::parse_vkey(&plus).map(|key| key.to_vkey()), Ok(plus));
}

#[test]
fn rejects_weak_and_misspelt_ed25519_keys() {
    let identity = {
        let mut point = [0; 32];
        point[0] = 1;
        point
    };
    let order_four = [0; 32];
    for weak in [identity, order_four] {
        for key_type in [1, 4] {
            let key = NoteKey::parse_vkey(&vkey("log.example", key_type, &weak));
            assert_eq!(key, Err(NoteKeyError::WeakPublicKey));
        }
    }
    // y = p + 3 spells the point with y = 3 a second time.
    let mut three = [0; 32];
    three[0] = 3;
    let mut second_spelling = [0xff; 32];
    (second_spelling[0], second_spelling[31]) = (0xed + 3, 0x7f);
    assert!(NoteKey::ed25519("log.example", &three).is_ok());
    let key = NoteKey::ed25519("log.example", &second_spelling);
    assert_eq!(key, Err(NoteKeyError::PublicKey));
}

/// Names and seeds of the ML-DSA-44 keys of the note below, their key ids, and SHA-256 of their
/// vkeys. Another implementation of ML-DSA and of the formats wrote all of it.
const ML_DSA_44_KEYS: [(&str, u8, &str, &str); 2] = [
    (
        "log.example/models",
        4,
        "826f1082",
        "741a76e267dcacbb8aa9406e41b6699364557c27ad41aa8eaaa42be83e90114b",
    ),
    (
        "witness.example",
        3,
        "3daca83e",
        "1dc84458d00b2c942e4a6fe80d9984a50887730e44c71332f6f6a690f9b96be6",
    ),
];

/// The text of the golden note with its log's Ed25519 line, cosigned by the log one second after
/// [`TIME`] and by the witness at it.
const ML_DSA_44_NOTE: &str = include_str!("ml_dsa_44.note");

fn ml_dsa_44(name: &str, seed: u8) -> NoteKey {
    let signing = MlDsa44SigningKey::from_seed(&[seed; 32]);
    NoteKey::ml_dsa_44(name, signing.public_key()).expect("a valid key")
}

fn head_of_text() -> TreeHead {
    crate::checkpoint::Checkpoint::parse(TEXT).expect("a checkpoint").head
}

#[test]
fn ml_dsa_44_vkeys_are_those_that_others_write() {
    for (name, seed, key_id, vkey_hash) in ML_DSA_44_KEYS {
        let key = ml_dsa_44(name, seed);
        assert_eq!(hex::encode(key.key_id()), key_id);
        let vkey = key.to_vkey();
        assert_eq!(sha256(vkey.as_bytes()).to_hex(), vkey_hash);
        assert!(vkey.len() < VKEY_LEN_MAX / 2);
        assert_eq!(NoteKey::parse_vkey(&vkey), Ok(key.clone()));
        assert_eq!((key.kind(), key.is_log_key()), (NoteKeyKind::MlDsa44, false));
    }
}

#[test]
fn ml_dsa_44_lines_that_others_signed_open() {
    let note = Note::parse(ML_DSA_44_NOTE.as_bytes()).expect("a note");
    assert_eq!(note.format(), ML_DSA_44_NOTE);
    assert_eq!((&note.text, &note.signatures[0]), (&TEXT.to_owned(), &log_line()));
    let [log, witness] = ML_DSA_44_KEYS.map(|(name, seed, ..)| ml_dsa_44(name, seed));
    let expected = vec![
        Verified { key: log_key(), time: None },
        Verified { key: log.clone(), time: Some(TIME + 1) },
        Verified { key: witness.clone(), time: Some(TIME) },
    ];
    assert_eq!(open(&note, &[witness, log, log_key()]), Ok(expected));
}

#[test]
fn an_ml_dsa_44_line_is_bound_to_name_text_and_kind() {
    let signing = MlDsa44SigningKey::from_seed(&[3; 32]);
    let (origin, head) = ("log.example/models", head_of_text());
    let sign = |name: &str, time| sign_ml_dsa_44_line(name, &signing, origin, head, time);
    let key = ml_dsa_44("w.example", 3);
    let good = sign("w.example", TIME);
    let verified = vec![Verified { key: key.clone(), time: Some(TIME) }];
    assert_eq!(open(&note_of(vec![good.clone()]), std::slice::from_ref(&key)), Ok(verified));

    let refused = |note: &Note| {
        let error = OpenError::InvalidSignature { name: "w.example".to_owned() };
        assert_eq!(open(note, std::slice::from_ref(&key)), Err(error));
    };
    let renamed = SignatureLine { signature: sign("v.example", TIME).signature, ..good.clone() };
    refused(&note_of(vec![log_line(), renamed]));
    let cut = good.signature[..2427].to_vec();
    refused(&note_of(vec![SignatureLine { signature: cut, ..good.clone() }]));
    let text = format!("{TEXT}extension\n");
    refused(&Note { text, signatures: vec![good.clone()] });
    refused(&Note { text: TEXT.replace("log.", "lag."), signatures: vec![good] });
    let name = "x".repeat(256);
    assert_eq!(NoteKey::ml_dsa_44(&name, signing.public_key()), Err(NoteKeyError::KeyName));
}

#[test]
fn an_ml_dsa_44_line_with_time_zero_verifies_and_gives_no_time() {
    let signing = MlDsa44SigningKey::from_seed(&[3; 32]);
    let origin = "log.example/models";
    let line = sign_ml_dsa_44_line("w.example", &signing, origin, head_of_text(), 0);
    let key = ml_dsa_44("w.example", 3);
    let note = note_of(vec![line]);
    assert_eq!(open(&note, std::slice::from_ref(&key)), Ok(vec![Verified { key, time: None }]));
}

#[test]
fn unsupported_key_types_are_told_from_malformed_keys() {
    for other in [0, 3, 5, 0xfa, 0xff] {
        let key = NoteKey::parse_vkey(&vkey("witness.example", other, &[7; 40]));
        assert_eq!(key, Err(NoteKeyError::UnsupportedKeyType(other)));
    }
    let ml_dsa = vkey("witness.example", 6, &[7; 1312]);
    assert!(NoteKey::parse_vkey(&ml_dsa).is_ok());
    for len in [0, 32, 1311, 1313] {
        let wrong = vkey("witness.example", 6, &vec![7; len]);
        assert_eq!(NoteKey::parse_vkey(&wrong), Err(NoteKeyError::PublicKey), "{len} bytes");
    }
    let renamed = ml_dsa.replace("witness.", "mitness.");
    assert_eq!(NoteKey::parse_vkey(&renamed), Err(NoteKeyError::KeyId));
}

#[test]
#[should_panic(expected = "ends with a line feed")]
fn refuses_to_sign_a_text_without_final_line_feed() {
    sign_ed25519_line("log.example", &log_seed(), "text");
}

#[test]
fn two_known_keys_with_one_name_and_key_id_are_ambiguous() {
    // Found by search: the key ids of these two seeds under this name are equal.
    let signing = [8575u32, 35865].map(|number| {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        SigningKey::from_bytes(&seed)
    });
    let keys = signing
        .each_ref()
        .map(|key| NoteKey::ed25519("log.example", key.verifying_key().as_bytes()).expect("a key"));
    assert_eq!(keys[0].key_id(), keys[1].key_id());
    let note = note_of(vec![sign_ed25519_line("log.example", &signing[0], TEXT)]);
    let ambiguous = OpenError::AmbiguousKey { name: "log.example".to_owned() };
    assert_eq!(open(&note, &keys), Err(ambiguous));
    assert!(open(&note, &[keys[0].clone(), keys[0].clone()]).is_ok());
}
