//! Whose notices count, for people who ask.

use std::collections::BTreeMap;

use treering_proto::notice::EntryRef;
use treering_proto::tree::{LeafIndex, TreeSize};
use treering_proto::trust::model_policy::{Action, ApprovalsRule};

use super::*;
use crate::history::{SeenModel, Source};
use crate::test_author::Author;
use crate::test_log::{ORIGIN, TestLog};

const MODEL: Hash = Hash([1; 32]);

fn at(index: u64) -> EntryRef {
    EntryRef { index: LeafIndex::new(index).unwrap(), leaf: Hash([index as u8; 32]) }
}

fn who(author: &Author) -> Who {
    match author.rule("x").who {
        treering_proto::trust::Signer::Key(key) => {
            let (identities, may_be) = (Vec::new(), Vec::new());
            Who { key: key.fingerprint(), identities, issuer: None, in_time: true, may_be }
        }
        _ => unreachable!("an author has a key"),
    }
}

fn seen(index: u64, by: &Author, what: What) -> Seen {
    Seen { entry: at(index), time: None, signed_by: vec![who(by)], what }
}

fn signature(index: u64, by: &Author, name: &str) -> Seen {
    let model = SeenModel { model_id: MODEL, name: Some(name.to_owned()), said: None };
    seen(index, by, What::Model(model))
}

fn notice(kind: NoticeKind, about: u64) -> Notice {
    let reason = Some("why".to_owned());
    let (log, root) = (ORIGIN.to_owned(), Hash([3; 32]));
    Notice { kind, log, about: at(about), model_id: MODEL, root, name: None, reason }
}

fn history(seen: Vec<Seen>) -> History {
    let mut history = History::new(Source::Log, TreeSize::new(100).unwrap(), None);
    history.seen = seen.into_iter().map(|seen| (seen.entry.index, seen)).collect();
    history
}

#[test]
fn a_notice_counts_by_an_accepted_signer_of_its_entry_or_a_recovery_key() {
    let [alice, bob, safe] = [(); 3].map(|()| Author::new());
    let mut trust = TestLog::new(1).trust("https://log.example", vec![alice.rule("alice")], &[]);
    trust.model_policy.recovery = vec![safe.rule("safe")];
    let history = history(vec![signature(3, &alice, "llama"), signature(4, &bob, "llama")]);
    let counts = |by: &Author, notice: Notice| {
        let spoken = seen(9, by, What::Notice(Box::new(notice.clone())));
        standing(&trust, &history, &spoken, &notice)
    };
    let revoke = |about| notice(NoticeKind::Revoke, about);
    let yes = |why: &str| Standing::Counts(why.to_owned());
    assert_eq!(counts(&alice, revoke(3)), yes("\"alice\" signed entry 3"));
    assert_eq!(counts(&safe, revoke(3)), yes("with the recovery key \"safe\""));
    assert_eq!(counts(&safe, revoke(70)), yes("with the recovery key \"safe\""), "no entry");
    let depends = |standing: Standing, part: &str| match standing {
        Standing::Depends(why) => assert!(why.contains(part), "{why}"),
        other => panic!("{other:?}"),
    };
    // Verifying alice's own signature, her word counts whatever entry she speaks of.
    depends(counts(&alice, revoke(4)), "they did not sign entry 4, which it is about");
    depends(counts(&bob, revoke(4)), "they signed entry 4, and the trust file does not accept");
    depends(counts(&alice, revoke(70)), "is not known");
    let other = Notice { about: EntryRef { leaf: Hash([9; 32]), ..at(3) }, ..revoke(3) };
    depends(counts(&alice, other), "is not known");
    let other = Notice { log: "other.example".to_owned(), ..revoke(3) };
    depends(counts(&safe, other), "other.example");
    let ignored = |standing: Standing, part: &str| match standing {
        Standing::Ignored(why) => assert!(why.ends_with(part), "{why}"),
        other => panic!("{other:?}"),
    };
    let other = Notice { model_id: Hash([9; 32]), ..revoke(3) };
    ignored(counts(&alice, other), "is not of this model");
    ignored(counts(&Author::new(), revoke(3)), "they did not sign entry 3, which it is about");
    let back = |about| notice(NoticeKind::ApproveRollback { instead_of: at(5) }, about);
    assert_eq!(counts(&alice, back(3)), yes("\"alice\" signed entry 3"));
    ignored(counts(&alice, back(4)), "they did not sign entry 4, which it is about");
    let mut late = seen(9, &alice, What::Other);
    late.signed_by[0].in_time = false;
    ignored(standing(&trust, &history, &late, &back(3)), "was not valid then");
}

#[test]
fn an_approval_counts_in_the_role_that_the_policy_lists() {
    let [alice, qa] = [(); 2].map(|()| Author::new());
    let mut trust = TestLog::new(1).trust("https://log.example", vec![alice.rule("alice")], &[]);
    let history = history(vec![signature(3, &alice, "llama")]);
    let approve = |role: &str| notice(NoticeKind::Approve { role: role.to_owned() }, 3);
    let counts = |trust: &TrustFile, by: &Author, notice: Notice| {
        let spoken = seen(9, by, What::Notice(Box::new(notice.clone())));
        standing(trust, &history, &spoken, &notice)
    };
    let ignored = |standing| matches!(standing, Standing::Ignored(_));
    assert!(ignored(counts(&trust, &qa, approve("qa"))), "no policy lists anybody");
    let roles = BTreeMap::from([("qa".to_owned(), vec![qa.rule("kim")])]);
    trust.model_policy.approvals = Some(ApprovalsRule { action: Action::Warn, count: 1, roles });
    let kim = Standing::Counts("\"kim\" may approve as \"qa\"".to_owned());
    assert_eq!(counts(&trust, &qa, approve("qa")), kim);
    assert!(ignored(counts(&trust, &qa, approve("security"))));
    assert!(ignored(counts(&trust, &alice, approve("qa"))), "signers are no approvers");
}

#[test]
fn what_is_asked_follows_from_what_was_found() {
    let [alice, bob] = [(); 2].map(|()| Author::new());
    let trust = TestLog::new(1).trust("https://log.example", vec![alice.rule("alice")], &[]);
    let mut history = history(vec![signature(3, &alice, "llama"), signature(4, &bob, "lama")]);
    let questions = |target: &Target, history: &History| -> Vec<Question> {
        let asked = target.questions(&trust, history).into_iter();
        asked.map(|asked| asked.question).collect()
    };
    let notices = |by| Question::Notices { model_id: MODEL, by };
    let key = |author: &Author| By::Key(who(author).key);
    let named = |name: &str, by| Question::Named { name: name.to_owned(), by };
    let model = Target::Model(MODEL);
    let expected = [
        Question::Model(MODEL),
        notices(None),
        named("lama", Some(key(&bob))),
        named("llama", Some(key(&alice))),
    ];
    assert_eq!(questions(&model, &history), expected);
    history.answers.insert(notices(None), Answer::Oldest(Vec::new()));
    let asked = questions(&model, &history);
    assert!(
        asked.contains(&notices(Some(key(&alice)))) && asked.contains(&notices(Some(key(&bob))))
    );
    let name = Target::Name("llama".to_owned());
    assert_eq!(questions(&name, &History::new(Source::Log, TreeSize::ZERO, None)).len(), 1);
    let too_many = Answer::Oldest(vec![at(3).index]);
    history.answers = BTreeMap::from([(named("llama", None), too_many)]);
    let expected = [named("llama", None), notices(None), named("llama", Some(key(&alice)))];
    assert_eq!(questions(&name, &history), expected);
    let file = Target::File("sha256:00".to_owned());
    history.answers.insert(file.question(), Answer::All(vec![at(4).index]));
    assert_eq!(questions(&file, &history), [file.question(), notices(None)]);
}
