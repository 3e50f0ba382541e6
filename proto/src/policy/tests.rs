use ed25519_dalek::SigningKey;

use super::*;
use crate::cosignature::ml_dsa_44::MlDsa44SigningKey;
use crate::note::NoteKeyError;

fn public_key(seed: u8) -> [u8; 32] {
    SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes()
}

fn log(name: &str, seed: u8) -> NoteKey {
    NoteKey::ed25519(name, &public_key(seed)).expect("a key")
}

fn witness(name: &str, seed: u8) -> NoteKey {
    NoteKey::cosignature(name, &public_key(seed)).expect("a key")
}

fn ml_dsa_44(name: &str, seed: u8) -> NoteKey {
    let key = MlDsa44SigningKey::from_seed(&[seed; 32]);
    NoteKey::ml_dsa_44(name, key.public_key()).expect("a key")
}

/// Six witness lines, x1 to x3 with seeds 1 to 3 and y1 to y3 with seeds 4 to 6.
fn six_witnesses() -> String {
    ["x1", "x2", "x3", "y1", "y2", "y3"]
        .iter()
        .zip(1..)
        .map(|(name, seed)| format!("witness {name} {}\n", witness("w.example", seed).to_vkey()))
        .collect()
}

/// Two of the x, one of the y: the example of the specification.
fn two_levels() -> Policy {
    let text = format!(
        "log {}\n\n{}group x 2 x1 x2 x3\ngroup y any y1 y2 y3\ngroup both all x y\nquorum both\n",
        log("log.example", 9).to_vkey(),
        six_witnesses(),
    );
    Policy::parse(text.as_bytes()).expect("a policy")
}

fn cosigned(seeds_and_times: &[(u8, u64)]) -> Vec<Verified> {
    seeds_and_times
        .iter()
        .map(|(seed, time)| Verified { key: witness("w.example", *seed), time: Some(*time) })
        .collect()
}

/// The fault of the policy of `lines` after the six witnesses, and the line relative to them.
fn fault(lines: &str) -> (usize, PolicyFault) {
    let text = format!("{}{lines}", six_witnesses());
    let error = Policy::parse(text.as_bytes()).expect_err("the policy must be refused");
    (error.line - 6, error.fault)
}

#[test]
fn a_quorum_of_two_levels_needs_both_groups() {
    let policy = two_levels();
    for (seeds, met) in [
        (&[1, 2, 4][..], true),
        (&[3, 1, 6], true),
        (&[1, 2, 3, 4, 5, 6], true),
        (&[1, 2, 3], false),
        (&[1, 4, 5, 6], false),
        (&[], false),
    ] {
        let verified: Vec<_> = seeds.iter().map(|seed| (*seed, 7)).collect();
        assert_eq!(policy.is_met(&cosigned(&verified)), met, "{seeds:?}");
    }
}

#[test]
fn one_witness_never_counts_twice() {
    let policy = two_levels();
    assert!(!policy.is_met(&cosigned(&[(1, 7), (1, 8), (4, 7)])));
}

#[test]
fn a_log_signature_or_another_name_of_the_key_is_no_cosignature() {
    let text = format!("witness w {}\nquorum w\n", witness("w.example", 1).to_vkey());
    let policy = Policy::parse(text.as_bytes()).expect("a policy");
    for key in [log("w.example", 1), witness("v.example", 1), witness("w.example", 2)] {
        assert!(!policy.is_met(&[Verified { key, time: Some(1) }]));
    }
    assert!(policy.is_met(&cosigned(&[(1, 0)])));
}

#[test]
fn quorum_time_is_the_kth_newest_not_the_newest() {
    let policy = two_levels();
    // Group x: second newest of 10, 20, 30; group y: newest of 25, 5; both: the older of the two.
    let verified = cosigned(&[(1, 10), (2, 30), (3, 20), (4, 5), (5, 25)]);
    assert_eq!(policy.quorum_time(&verified), Some(20));
    assert_eq!(policy.quorum_time(&cosigned(&[(1, 10), (2, 1 << 60), (4, 5)])), Some(5));
    assert_eq!(policy.quorum_time(&cosigned(&[(1, 10), (2, 30), (3, 20)])), None);
}

#[test]
fn the_bound_of_age_is_the_kth_oldest_whichever_way_one_lies() {
    let policy = two_levels();
    let bound = |times: &[(u8, u64)]| policy.quorum_not_after(&cosigned(times));
    // Group x: second oldest of 10, 20, 30; group y: oldest of 25, 5; both: the newer of the two.
    assert_eq!(bound(&[(1, 10), (2, 30), (3, 20), (4, 5), (5, 25)]), Some(20));
    // One liar of x, in the past or the future: an honest one said 30, and two said 31 at most.
    assert_eq!(bound(&[(1, 1), (2, 30), (3, 31), (4, 6)]), Some(30));
    assert_eq!(bound(&[(1, 1 << 60), (2, 30), (3, 31), (4, 6)]), Some(31));
    // Where only as many cosigned as are needed, the future cannot be told from the truth.
    assert_eq!(bound(&[(1, 1 << 60), (2, 30), (4, 6)]), Some(1 << 60));
    // Two liars of x forge the quorum, and nothing below the quorum is said.
    assert_eq!(bound(&[(1, 10), (2, 30), (3, 20)]), None);
    // No time is not an old one: the liar of x does not get a second voice.
    assert_eq!(bound(&[(1, 0), (2, 1), (3, 30), (4, 6)]), Some(30));
    assert_eq!(bound(&[(1, 0), (2, 0), (3, 30), (4, 6)]), None);
    assert_eq!(Policy::none().quorum_not_after(&cosigned(&[(1, 7)])), None);
}

#[test]
fn quorum_none_is_always_met_and_vouches_for_no_time() {
    let named = Policy::parse(format!("{}quorum none\n", six_witnesses()).as_bytes());
    let named = named.expect("a policy");
    for policy in [&named, &Policy::none()] {
        assert!(policy.needs_no_witness());
        assert!(policy.is_met(&[]));
        assert_eq!(policy.quorum_time(&cosigned(&[(1, 7)])), None);
    }
    assert_eq!(Policy::parse(b"quorum none\n"), Ok(Policy::none()));
    assert_eq!(named.witness_keys().len(), 6);
}

#[test]
fn the_report_says_what_each_component_has_and_needs() {
    let report = two_levels().report(&cosigned(&[(1, 7), (4, 7)]));
    assert!(!report.met);
    assert_eq!(report.quorum.as_deref(), Some("both"));
    let rows: Vec<_> = report.components.iter().map(|c| (&*c.name, c.have, c.need, c.of)).collect();
    let expected = [
        ("x1", 1, 1, 1),
        ("x2", 0, 1, 1),
        ("x3", 0, 1, 1),
        ("y1", 1, 1, 1),
        ("y2", 0, 1, 1),
        ("y3", 0, 1, 1),
        ("x", 1, 2, 3),
        ("y", 1, 1, 3),
        ("both", 1, 2, 2),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn logs_have_origins_and_urls() {
    let text = format!(
        "log {} https://a.example/\nlog {}\nlog {}\nquorum none\n",
        log("a.example", 1).to_vkey(),
        log("b.example", 2).to_vkey(),
        ml_dsa_44("a.example", 1).to_vkey(),
    );
    let policy = Policy::parse(text.as_bytes()).expect("a policy");
    assert_eq!(policy.logs().len(), 3);
    assert_eq!(policy.logs()[0].url.as_deref(), Some("https://a.example/"));
    assert_eq!(policy.log_keys("a.example"), [log("a.example", 1), ml_dsa_44("a.example", 1)]);
    assert_eq!(policy.log_keys("c.example"), []);
}

#[test]
fn an_ml_dsa_44_witness_counts_when_its_cosignature_has_a_time() {
    let new = ml_dsa_44("w.example", 1);
    let text = format!(
        "witness new {}\nwitness old {} https://w.example/\ngroup g all new old\nquorum g\n",
        new.to_vkey(),
        witness("w.example", 1).to_vkey(),
    );
    let policy = Policy::parse(text.as_bytes()).expect("a policy");
    assert_eq!(policy.witnesses().map(|w| &*w.name).collect::<Vec<_>>(), ["new", "old"]);
    assert_eq!(policy.witness_keys(), [new.clone(), witness("w.example", 1)]);
    let mut verified = cosigned(&[(1, 7)]);
    assert!(!policy.is_met(&verified));
    verified.push(Verified { key: new.clone(), time: Some(9) });
    assert!(policy.is_met(&verified));
    assert_eq!(policy.quorum_time(&verified), Some(7));
    // Without a time it does not say that the tree was the newest.
    verified[1].time = None;
    assert!(!policy.is_met(&verified));
    assert_eq!(policy.report(&verified).components[0].have, 0);
}

#[test]
fn only_space_and_tab_separate() {
    let spaced = format!("{}\t quorum\t  x1 \t\n", six_witnesses().replace(' ', " \t "));
    assert!(Policy::parse(spaced.as_bytes()).is_ok());
    for (line, expected) in [
        ("quorum x1\r\n", PolicyFault::ControlByte),
        ("quorum\x0bx1\n", PolicyFault::ControlByte),
        ("quorum\x0cx1\n", PolicyFault::ControlByte),
        ("# \x7f\n", PolicyFault::ControlByte),
        ("quorum\u{a0}x1\n", PolicyFault::UnknownWord),
        ("quorum x1\u{a0}\n", PolicyFault::UnknownName),
    ] {
        assert_eq!(fault(line), (1, expected), "{line:?}");
    }
}

#[test]
fn names_are_octets() {
    let vkeys = [1, 2].map(|seed| witness("w.example", seed).to_vkey());
    let mut text = format!("witness K {}\nwitness \u{212a} {}\n", vkeys[0], vkeys[1]).into_bytes();
    text.extend_from_slice(b"group \xff all \xe2\x84\xaa K\nquorum \xff\n");
    let policy = Policy::parse(&text).expect("a policy");
    assert!(policy.is_met(&cosigned(&[(1, 7), (2, 7)])));
    assert!(!policy.is_met(&cosigned(&[(1, 7)])));
}

#[test]
fn comments_are_whole_lines_only() {
    let policy = format!("# note\n \t# quorum x1\n#\n\n \t\n{}quorum x1\n", six_witnesses());
    assert!(Policy::parse(policy.as_bytes()).is_ok());
    assert_eq!(fault("quorum x1 # why\n"), (1, PolicyFault::ItemCount));
    assert_eq!(fault("group g any x1 # why\nquorum g\n"), (1, PolicyFault::UnknownName));
    assert_eq!(fault("group g any x1 #\nquorum g\n"), (1, PolicyFault::UnknownName));
}

#[test]
fn rejects_groups_and_quorums_that_break_the_rules() {
    for (lines, line, expected) in [
        ("group g any x1 later\n", 1, PolicyFault::UnknownName),
        ("group g any g\n", 1, PolicyFault::UnknownName),
        ("group g any none\n", 1, PolicyFault::UnknownName),
        ("group none any x1\n", 1, PolicyFault::DuplicateName),
        ("group x1 any x2\n", 1, PolicyFault::DuplicateName),
        ("group g any x1\ngroup g any x2\n", 2, PolicyFault::DuplicateName),
        ("group g all x1 x1\n", 1, PolicyFault::DuplicateMember),
        ("group g all x1\ngroup h all x1\n", 2, PolicyFault::DuplicateMember),
        ("group g 0 x1\n", 1, PolicyFault::Threshold),
        ("group g 3 x1 x2\n", 1, PolicyFault::Threshold),
        ("group g 01 x1\n", 1, PolicyFault::Threshold),
        ("group g +1 x1\n", 1, PolicyFault::Threshold),
        ("group g most x1\n", 1, PolicyFault::Threshold),
        ("group g 18446744073709551617 x1\n", 1, PolicyFault::Threshold),
        ("group g any\n", 1, PolicyFault::ItemCount),
        ("group g\n", 1, PolicyFault::ItemCount),
        ("quorum\n", 1, PolicyFault::ItemCount),
        ("quorum later\n", 1, PolicyFault::UnknownName),
        ("quorum none\nquorum none\n", 2, PolicyFault::DuplicateQuorum),
        ("quorum x1\nquorum none\n", 2, PolicyFault::DuplicateQuorum),
        ("Quorum x1\n", 1, PolicyFault::UnknownWord),
        ("quorum x1", 1, PolicyFault::UnfinishedLine),
        ("", 0, PolicyFault::NoQuorum),
    ] {
        assert_eq!(fault(lines), (line, expected), "{lines:?}");
    }
    let empty = Policy::parse(b"").expect_err("no quorum");
    assert_eq!(empty, PolicyError { line: 0, fault: PolicyFault::NoQuorum });
}

#[test]
fn rejects_keys_that_break_the_rules() {
    let log_key = |seed| log("log.example", seed).to_vkey();
    let witness_key = |seed| witness("other.example", seed).to_vkey();
    for (lines, line, expected) in [
        (format!("witness z {}\n", witness_key(1)), 1, PolicyFault::DuplicateKey),
        (
            format!("log {}\nlog {}\n", log_key(1), log("other.example", 1).to_vkey()),
            2,
            PolicyFault::DuplicateKey,
        ),
        (format!("witness z {}\n", log_key(7)), 1, PolicyFault::KeyType),
        (format!("log {}\n", witness_key(7)), 1, PolicyFault::KeyType),
        (format!("witness none {}\n", witness_key(7)), 1, PolicyFault::DuplicateName),
        (format!("witness x1 {}\n", witness_key(7)), 1, PolicyFault::DuplicateName),
        (format!("witness z {} a b\n", witness_key(7)), 1, PolicyFault::ItemCount),
        (format!("log {} a b\n", log_key(7)), 1, PolicyFault::ItemCount),
        (format!("witness {}\n", witness_key(7)), 1, PolicyFault::ItemCount),
        ("log\n".to_owned(), 1, PolicyFault::ItemCount),
        ("log x\n".to_owned(), 1, PolicyFault::Key(NoteKeyError::Malformed)),
        (format!("log x{}\n", log_key(7)), 1, PolicyFault::Key(NoteKeyError::KeyId)),
    ] {
        assert_eq!(fault(&lines), (line, expected), "{lines:?}");
    }
    let twice = format!(
        "witness a {}\nwitness b {}\n",
        ml_dsa_44("w.example", 1).to_vkey(),
        ml_dsa_44("v.example", 1).to_vkey()
    );
    assert_eq!(fault(&twice), (2, PolicyFault::DuplicateKey));
    // One key may serve a log and a witness; the specification forbids doubles only within a kind.
    let both = format!("{}log {}\nquorum x1\n", six_witnesses(), log_key(1));
    assert!(Policy::parse(both.as_bytes()).is_ok());
}

#[test]
fn accepts_the_bounds_and_nothing_above() {
    let groups = |count: usize| -> String {
        let mut text = six_witnesses();
        for number in 0..count - 6 {
            let member = if number == 0 { "x1".to_owned() } else { format!("g{}", number - 1) };
            text.push_str(&format!("group g{number} any {member}\n"));
        }
        text + &format!("quorum g{}\n", count - 7)
    };
    let deepest = Policy::parse(groups(POLICY_ITEMS_MAX).as_bytes()).expect("a policy");
    assert!(deepest.is_met(&cosigned(&[(1, 7)])) && !deepest.is_met(&cosigned(&[(2, 7)])));
    let error = Policy::parse(groups(POLICY_ITEMS_MAX + 1).as_bytes()).expect_err("too many");
    assert_eq!(error.fault, PolicyFault::TooManyItems);
    let mut longest = b"quorum none\n".to_vec();
    longest.resize(POLICY_LEN_MAX, b'\n');
    assert!(Policy::parse(&longest).is_ok());
    longest.push(b'\n');
    assert_eq!(Policy::parse(&longest).map_err(|e| e.fault), Err(PolicyFault::TooLong));
}
