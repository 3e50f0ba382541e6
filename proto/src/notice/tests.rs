use serde_json::{Value, json};

use super::*;
use crate::facts::{FactSources, ReadStatement, Tag, extract};

fn entry(index: u64, byte: u8) -> EntryRef {
    EntryRef { index: LeafIndex::new(index).unwrap(), leaf: Hash([byte; 32]) }
}

fn notice(kind: NoticeKind) -> Notice {
    Notice {
        kind,
        log: "log.example".to_owned(),
        about: entry(17, 1),
        model_id: Hash([2; 32]),
        root: Hash([3; 32]),
        name: Some("llm-7b".to_owned()),
        reason: Some("it leaks what it was trained on".to_owned()),
    }
}

fn all() -> [Notice; 4] {
    let by = Successor { entry: entry(18, 4), model_id: Hash([5; 32]) };
    [
        NoticeKind::Revoke,
        NoticeKind::Supersede { by },
        NoticeKind::ApproveRollback { instead_of: entry(18, 4) },
        NoticeKind::Approve { role: "security".to_owned() },
    ]
    .map(notice)
}

fn value(notice: &Notice) -> Value {
    serde_json::from_slice(&notice.to_payload().unwrap()).unwrap()
}

fn parse(value: &Value) -> Result<Option<Notice>, NoticeError> {
    Notice::parse(&Statement::parse(value.to_string().as_bytes()).unwrap())
}

/// Every object of a notice.
const OBJECTS: [&str; 4] =
    ["/predicate", "/predicate/entry", "/predicate/by", "/predicate/insteadOf"];

#[test]
fn every_kind_survives_writing_and_reading() {
    for mut notice in all() {
        assert_eq!(parse(&value(&notice)), Ok(Some(notice.clone())));
        assert!(is_notice(notice.kind.predicate_type()));
        assert_eq!(
            notice.kind.predicate_type(),
            format!("urn:treering:predicate:{}:v1", notice.kind.name())
        );
        notice.name = None;
        assert_eq!(parse(&value(&notice)), Ok(Some(notice)));
    }
}

#[test]
fn a_notice_has_this_shape() {
    let [_, supersede, ..] = all();
    let expected = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "llm-7b", "digest": {
            "sha256": "03".repeat(32), "treering-model-id": "02".repeat(32)}}],
        "predicateType": "urn:treering:predicate:supersede:v1",
        "predicate": {
            "log": "log.example",
            "entry": {"index": 17, "leaf": "01".repeat(32)},
            "reason": "it leaks what it was trained on",
            "by": {"index": 18, "leaf": "04".repeat(32), "modelId": "05".repeat(32)},
        },
    });
    assert_eq!(value(&supersede), expected);
}

#[test]
fn other_predicates_are_no_notices() {
    let mut other = value(&all()[0]);
    for kind in ["urn:treering:predicate:revoke:v2", "https://example.com/p"] {
        other["predicateType"] = json!(kind);
        assert_eq!(parse(&other), Ok(None));
    }
}

#[test]
fn every_member_is_required_and_no_other_is_taken() {
    for notice in all() {
        let whole = value(&notice);
        for object in OBJECTS {
            let Some(members) = whole.pointer(object).and_then(Value::as_object) else { continue };
            for member in members.keys() {
                let optional = member == "reason" && notice.kind.name() == "approve";
                let mut without = whole.clone();
                without.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(member);
                let read = parse(&without);
                assert_eq!(read.is_ok(), optional, "{object} {member}: {read:?}");
                let mut with = whole.clone();
                for wrong in [json!(null), json!([1]), json!({}), json!(-1), json!(0.5)] {
                    with.pointer_mut(object).unwrap()[member] = wrong;
                    assert!(matches!(parse(&with), Err(Error::Member(_))), "{object} {member}");
                }
            }
            let mut more = whole.clone();
            more.pointer_mut(object).unwrap()["later"] = json!(1);
            assert!(matches!(parse(&more), Err(Error::UnknownMember(_))), "{object}");
        }
    }
}

#[test]
fn a_member_of_another_kind_is_not_taken() {
    for notice in all() {
        for other in all() {
            let mut mixed = value(&notice);
            mixed["predicateType"] = json!(other.kind.predicate_type());
            let same = notice.kind.name() == other.kind.name();
            assert_eq!(parse(&mixed).is_ok(), same, "{:?} as {:?}", notice.kind, other.kind);
        }
    }
}

#[test]
fn a_member_that_stands_twice_is_refused() {
    for notice in all() {
        let text = String::from_utf8(notice.to_payload().unwrap()).unwrap();
        for twice in ["\"log\":", "\"entry\":", "\"reason\":", "\"digest\":", "\"predicate\":"] {
            let doubled = text.replacen(twice, &format!("{twice}0,{twice}"), 1);
            assert_ne!(doubled, text);
            assert!(Statement::parse(doubled.as_bytes()).is_err(), "{twice}");
        }
    }
}

#[test]
fn the_subject_is_one_model_with_its_two_digests() {
    for notice in all() {
        let mut twice = value(&notice);
        let subject = twice["subject"][0].clone();
        twice["subject"].as_array_mut().unwrap().push(subject);
        assert_eq!(parse(&twice), Err(Error::SubjectCount));
        let hash = "00".repeat(32);
        for digests in [
            json!({"sha256": hash}),
            json!({"treering-model-id": hash}),
            json!({"sha256": hash, "treering-model-id": hash, "sha512": "00"}),
            json!({"sha256": hash, "sha512": hash}),
            json!({"sha256": hash, "treering-model-id": "00"}),
            json!({"sha256": "AB".repeat(32), "treering-model-id": hash}),
        ] {
            let mut other = value(&notice);
            other["subject"][0]["digest"] = digests;
            assert_eq!(parse(&other), Err(Error::Subject));
        }
        let mut annotated = value(&notice);
        annotated["subject"][0]["annotations"] = json!({"a": 1});
        assert_eq!(parse(&annotated), Err(Error::Subject));
        let mut old = value(&notice);
        old["_type"] = json!(crate::statement::STATEMENT_TYPE_V0_1);
        assert_eq!(parse(&old), Err(Error::Version));
    }
}

#[test]
fn texts_have_limits_when_read_and_when_written() {
    let fits = |edit: &dyn Fn(&mut Notice)| {
        let mut notice = all()[3].clone();
        edit(&mut notice);
        notice.to_payload().is_ok()
    };
    for (len_max, set) in [
        (TRUST_TEXT_LEN_MAX, (|n, text| n.log = text) as fn(&mut Notice, String)),
        (LABEL_LEN_MAX, |n, text| n.name = Some(text)),
        (REASON_LEN_MAX, |n, text| n.reason = Some(text)),
        (ROLE_LEN_MAX, |n, role| n.kind = NoticeKind::Approve { role }),
    ] {
        assert!(fits(&|n| set(n, "a".repeat(len_max))), "{len_max}");
        for text in ["a".repeat(len_max + 1), String::new(), "a\u{1b}[2J".to_owned()] {
            assert!(!fits(&|n| set(n, text.clone())), "{len_max} {text:?}");
        }
    }
    for role in ["QA", "q a", "\u{e9}", "a/b"] {
        assert!(!is_role(role), "{role}");
    }
    let mut long = value(&all()[0]);
    long["predicate"]["reason"] = json!("a".repeat(REASON_LEN_MAX + 1));
    assert_eq!(parse(&long), Err(Error::Member("predicate.reason")));
    long["predicate"]["reason"] = json!("a\nb");
    assert_eq!(parse(&long), Err(Error::Member("predicate.reason")));
}

#[test]
fn an_entry_neither_takes_its_own_place_nor_is_rolled_back_to_from_itself() {
    for (notice, member) in all().into_iter().zip([None, Some("by"), Some("insteadOf"), None]) {
        let Some(member) = member else { continue };
        let mut same = value(&notice);
        same["predicate"][member]["index"] = json!(17);
        assert!(matches!(parse(&same), Err(Error::SameEntry(_))), "{member}");
    }
}

#[test]
fn no_index_is_beyond_the_largest_tree() {
    let mut far = value(&all()[0]);
    far["predicate"]["entry"]["index"] = json!(1u64 << 53);
    assert_eq!(parse(&far), Err(Error::Member("predicate.entry")));
}

#[test]
fn notices_are_found_by_the_model_id() {
    let payload = all()[0].to_payload().unwrap();
    let statement = Statement::parse(&payload).ok().map(ReadStatement::new);
    let facts = extract(&FactSources { statement: statement.as_ref(), ..FactSources::default() });
    let value = format!("{MODEL_ID_ALGORITHM}:{}", "02".repeat(32)).into_bytes();
    assert!(facts.iter().any(|fact| fact.tag == Tag::ArtifactDigest && fact.value == value));
    assert!(facts.iter().all(|fact| fact.tag != Tag::ModelId));
}
