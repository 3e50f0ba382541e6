use super::*;
use crate::cosignature::ml_dsa_44::MlDsa44SigningKey;

/// The example of the note module.
const KEY: &str = "log.example/models+3a87d6f1+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
const WITNESS: &str = "witness.example+3176bd45+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU";

fn fault(text: &str) -> (usize, LogListFault) {
    let error = LogList::parse(text.as_bytes()).unwrap_err();
    (error.line, error.fault)
}

/// How many keys are used, and which are not.
fn skipped(text: &str) -> (usize, Vec<(usize, LogListFault)>) {
    let list = LogList::parse(text.as_bytes()).unwrap();
    let skipped = list.skipped().iter().map(|error| (error.line, error.fault)).collect();
    (list.logs().len(), skipped)
}

fn other_key(name: &str, seed: u8) -> String {
    let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    NoteKey::ed25519(name, key.verifying_key().as_bytes()).unwrap().to_vkey()
}

#[test]
fn reads_the_public_format_and_what_people_write_by_hand() {
    let other = other_key("go.example", 3);
    let text = format!(
        "# a list\n\nlogs/v0\n\n  vkey {KEY} \nqpd 86400\ncontact a (at) b.example\r\n\n# next\n\
         vkey {other}\norigin go.sum database tree\nvkey {KEY}\norigin again\ncontact x\n"
    );
    let list = LogList::parse(text.as_bytes()).unwrap();
    let [one, two, three] = list.logs() else { panic!("three logs") };
    assert_eq!((&*one.origin, one.requests_per_day), ("log.example/models", Some(86_400)));
    assert_eq!(one.contact.as_deref(), Some("a (at) b.example"));
    assert_eq!((&*two.origin, two.key.name()), ("go.sum database tree", "go.example"));
    assert_eq!((&*three.origin, three.requests_per_day), ("again", None));
    assert_eq!(LogList::parse(b"logs/v0").unwrap().logs(), []);
}

#[test]
fn an_origin_may_have_several_keys() {
    let (one, two) = (other_key("log.example", 1), other_key("log.example", 2));
    let text = format!("logs/v0\nvkey {one}\nvkey {two}\nvkey {KEY}\n");
    let list = LogList::parse(text.as_bytes()).unwrap();
    let keys = list.keys_by_origin();
    assert_eq!(keys.len(), 2);
    let vkeys: Vec<String> = keys["log.example"].iter().map(NoteKey::to_vkey).collect();
    assert_eq!(vkeys, [one, two]);
}

#[test]
fn an_origin_has_a_key_that_signs_alone_and_no_more_than_fit_a_note() {
    let ml_dsa = MlDsa44SigningKey::from_seed(&[1; 32]);
    let ml_dsa = NoteKey::ml_dsa_44("log.example", ml_dsa.public_key()).unwrap().to_vkey();
    let ed25519 = other_key("log.example", 1);
    let both = format!("logs/v0\nvkey {ml_dsa}\nvkey {ed25519}\n");
    assert_eq!(LogList::parse(both.as_bytes()).unwrap().keys_by_origin()["log.example"].len(), 2);
    let alone = format!("logs/v0\nvkey {ed25519}\norigin x\nvkey {ml_dsa}\n");
    assert_eq!(skipped(&alone), (1, vec![(4, LogListFault::NoSigningKey)]));
    let mut many = "logs/v0\n".to_owned();
    for seed in 1..=LOG_KEYS_MAX {
        many.push_str(&format!("vkey {}\n", other_key("log.example", seed as u8)));
    }
    assert_eq!(skipped(&many), (LOG_KEYS_MAX, Vec::new()));
    many.push_str(&format!("vkey {}\n", other_key("log.example", 99)));
    let surplus = (LOG_KEYS_MAX + 2, LogListFault::TooManyKeys);
    assert_eq!(skipped(&many), (LOG_KEYS_MAX, vec![surplus]));
}

#[test]
fn each_fault_is_named_with_its_line() {
    for (text, line, expected) in [
        (String::new(), 0, LogListFault::Header),
        (format!("vkey {KEY}\n"), 1, LogListFault::Header),
        ("# logs/v0\n".to_owned(), 1, LogListFault::Header),
        ("logs/v1\n".to_owned(), 1, LogListFault::Header),
        ("logs/v0\nlogs/v0\n".to_owned(), 2, LogListFault::Line),
        ("logs/v0\nqpd 1\n".to_owned(), 2, LogListFault::Line),
        (format!("logs/v0\nvkey {KEY}\nqpd 1\norigin x\n"), 4, LogListFault::Line),
        (format!("logs/v0\nvkey {KEY}\nqpd 1\nqpd 1\n"), 4, LogListFault::Line),
        (format!("logs/v0\nvkey {KEY}\ncontact x\ncontact y\n"), 4, LogListFault::Line),
        (format!("logs/v0\nvkey {KEY}\nbastion none\n"), 3, LogListFault::Line),
        (format!("logs/v0\nvkey {KEY}\ncontact\n"), 3, LogListFault::Line),
        (format!("logs/v0\nvkey {KEY}\ncontact a\tb\n"), 3, LogListFault::ControlCharacter),
        (format!("logs/v0\nvkey {KEY}\nqpd 0\n"), 3, LogListFault::Qpd),
        (format!("logs/v0\nvkey {KEY}\nqpd 01\n"), 3, LogListFault::Qpd),
        (format!("logs/v0\nvkey {KEY}\nqpd 2147483648\n"), 3, LogListFault::Qpd),
        (format!("logs/v0\nvkey {WITNESS}\nqpd 0\n"), 3, LogListFault::Qpd),
        ("logs/v0\n\nvkey x\n".to_owned(), 3, LogListFault::Key(NoteKeyError::Malformed)),
    ] {
        assert_eq!(fault(&text), (line, expected), "{text:?}");
    }
    let longest = vec![b'\n'; LOG_LIST_LEN_MAX + 1];
    assert_eq!(LogList::parse(&longest).unwrap_err().fault, LogListFault::TooLong);
    assert_eq!(LogList::parse(b"\xff").unwrap_err().fault, LogListFault::NotUtf8);
}

#[test]
fn a_key_that_cannot_be_used_is_skipped_with_its_lines_and_the_others_stay() {
    let (other, body) = (other_key("z.example", 3), [&[0x77][..], &[1; 40]].concat());
    let text = [b"new.example\n", &body[..]].concat();
    let key_id = hex::encode(&crate::hash::sha256(&text).0[..4]);
    let unknown = format!("new.example+{key_id}+{}", crate::encoding::to_base64(&body));
    for (vkey, fault) in [
        (&*unknown, LogListFault::Key(NoteKeyError::UnsupportedKeyType(0x77))),
        (WITNESS, LogListFault::KeyType),
        (KEY, LogListFault::DuplicateKey),
    ] {
        let text = format!(
            "logs/v0\nvkey {KEY}\nvkey {vkey}\norigin log.example/models\nqpd 7\ncontact x\n\
             vkey {other}\n"
        );
        assert_eq!(skipped(&text), (2, vec![(3, fault)]), "{vkey}");
    }
}
