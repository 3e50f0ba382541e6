//! Where a model stands that the log knows badly: as a digest alone, by a key that was given up, or
//! by a certificate that nobody could look at.

use treering_proto::notice::NoticeKind;
use treering_proto::trust::ModelPolicy;
use treering_proto::trust::model_policy::Rule;

use super::super::*;
use super::world::{Judged, Person, World, model};

fn alice() -> Person {
    Person::new("alice")
}

/// `person`, but nobody could look at the certificate.
fn uncertified(person: &Person) -> Person {
    let mut person = person.clone();
    person.who.may_be = person.who.by();
    (person.who.identities, person.who.issuer) = (Vec::new(), None);
    person.who.in_time = false;
    person
}

#[test]
fn a_digest_that_is_logged_again_is_no_newer_model() {
    let mut world = World::default();
    let v1 = model("llm", "v1").version("1");
    let first = world.sign_digest(&alice(), &v1);
    world.on_day(40.0).sign(&alice(), &model("llm", "v2").version("2"));
    // Anybody posts the old signature once more, as a digest or as a whole.
    for copy in [world.sign_digest(&alice(), &v1), world.sign(&alice(), &v1)] {
        let judged = world.recommended(&[&alice()], copy);
        assert_eq!(judged.verdict(Rule::NotNewest), Verdict::Against, "{judged:?}");
        assert_eq!(judged.verdict(Rule::FirstSeen), Verdict::Against, "{judged:?}");
        let text = judged.text(Rule::FirstSeen);
        assert!(text.contains("logged as entry 0, 40 days before"), "{text}");
    }
    world.recommended(&[&alice()], first).is_refused_by(Rule::NotNewest);
}

#[test]
fn a_strangers_digest_of_the_same_statement_makes_nothing_old() {
    let mut world = World::default();
    let bytes = model("llm", "v1");
    world.sign_digest(&Person::new("mallory"), &bytes);
    world.sign(&alice(), &model("llm", "v0"));
    let entry = world.on_day(50.0).sign(&alice(), &bytes);
    world.recommended(&[&alice()], entry).is_fine();
}

#[test]
fn a_stranger_who_signs_the_bytes_first_is_a_remark() {
    let mut world = World::default();
    world.sign(&Person::new("mallory"), &model("mine", "v1"));
    let entry = world.on_day(50.0).sign(&alice(), &model("llm", "v1"));
    let judged = world.recommended(&[&alice()], entry);
    assert_eq!((judged.refusing(), judged.warning()), (vec![], vec![Rule::OtherSigner]));
    assert!(judged.text(Rule::FirstSeen).contains("entry 0 has the same bytes"), "{judged:?}");
    // So many that nobody can tell who was first.
    let mut world = World::default();
    for _ in 0..=HITS_MAX {
        world.sign(&Person::new("mallory"), &model("mine", "v1"));
    }
    let entry = world.on_day(50.0).sign(&alice(), &model("llm", "v1"));
    assert_eq!(world.recommended(&[&alice()], entry).verdict(Rule::FirstSeen), Verdict::Unknown);
}

#[test]
fn a_renewal_that_a_crowd_hides_is_not_known_to_be_none() {
    let mut world = World::default();
    let first = world.sign(&alice(), &model("llm", "v1"));
    for _ in 0..=HITS_MAX {
        world.sign(&Person::new("mallory"), &model("mine", "v1"));
    }
    let again = world.on_day(50.0).sign(&alice(), &model("llm", "v1").renews(first));
    assert!(world.recommended(&[&alice()], again).refusing().is_empty());
    let last = world.on_day(99.0).sign(&alice(), &model("llm", "v1").renews(again));
    // What was signed under the name shows it.
    assert!(world.recommended(&[&alice()], last).refusing().is_empty());
    // Whoever does not ask for that cannot look at it.
    let first_seen = ModelPolicy::recommended().first_seen;
    let policy = ModelPolicy { first_seen, ..ModelPolicy::default() };
    let judged = world.judge(&policy, &[&alice()], last);
    assert_eq!(judged.verdict(Rule::FirstSeen), Verdict::Unknown, "{judged:?}");
}

#[test]
fn a_renewal_of_a_renewal_stands_where_the_first_stands() {
    let (old, new) = (Person::new("old key"), Person::new("new key"));
    let mut world = World::default();
    let first = world.sign(&old, &model("llm", "v1"));
    let second = world.sign(&old, &model("llm", "v1").renews(first));
    let middle = world.sign(&new, &model("llm", "v2"));
    let third = world.sign(&new, &model("llm", "v1").renews(second));
    world.recommended(&[&new], third).is_refused_by(Rule::NotNewest);
    assert!(world.recommended(&[&new], middle).refusing().is_empty());
    // And between the first and its renewal there is something newer, too.
    let mut world = World::default();
    let first = world.sign(&old, &model("llm", "v1"));
    let middle = world.sign(&new, &model("llm", "v2"));
    let second = world.sign(&old, &model("llm", "v1").renews(first));
    world.sign(&new, &model("llm", "v1").renews(second));
    assert!(world.recommended(&[&new], middle).refusing().is_empty());
}

#[test]
fn a_key_that_was_given_up_makes_nothing_newer_and_still_revokes_what_it_signed() {
    let (old, new) = (Person::new("old key"), Person::new("new key"));
    let mut world = World::default();
    let first = world.sign(&old, &model("llm", "v1").version("1"));
    let between = world.sign(&old, &model("llm", "v2").version("2"));
    let renewed = world.sign(&new, &model("llm", "v2").version("2").renews(between));
    let next = world.sign(&new, &model("llm", "v3").version("3").renews(first));
    assert!(world.recommended(&[&new], next).refusing().contains(&Rule::NotNewest));
    // Whoever has it now.
    world.sign(&old, &model("llm", "evil").version("9"));
    let judged = world.recommended(&[&new], renewed);
    // v3 is newer; the old key's is not counted.
    assert!(!judged.text(Rule::NotNewest).contains("version \"9\""), "{judged:?}");
    let last = world.sign(&new, &model("llm", "v4").version("4"));
    world.recommended(&[&new], last).is_fine();

    world.say(&old, between, NoticeKind::Revoke);
    let judged = world.recommended(&[&new], renewed);
    assert_eq!(judged.verdict(Rule::Revoked), Verdict::Against, "{judged:?}");
    world.recommended(&[&new], last).is_fine();
}

#[test]
fn a_roll_back_that_has_ended_waives_no_version() {
    let mut world = World::default();
    world.sign(&alice(), &model("llm", "v1").version("5"));
    let back = world.sign(&alice(), &model("llm", "v2").version("2"));
    let third = world.sign(&alice(), &model("llm", "v3").version("6"));
    world.roll_back(&alice(), back, third);
    world.recommended(&[&alice()], back).is_fine();
    world.sign(&alice(), &model("llm", "v4").version("7"));
    let judged = world.recommended(&[&alice()], back);
    assert_eq!(judged.refusing(), [Rule::NotNewest, Rule::VersionNotRising], "{judged:?}");
    assert_eq!(judged.verdict(Rule::VersionNotRising), Verdict::Against);
}

/// What becomes of the entry when somebody whose certificate nobody could look at has said more.
fn judged(by: &Person, then: impl Fn(&mut World, &Person, EntryRef)) -> Judged {
    let ci = Person::certified("ci@corp.example", 1);
    let mut world = World::default();
    let entry = world.sign(&ci, &model("llm", "v1").version("1"));
    then(&mut world, by, entry);
    world.recommended(&[&ci], entry)
}

#[test]
fn what_a_certificate_says_that_nobody_could_look_at_is_a_doubt_and_no_more() {
    let newer = |world: &mut World, by: &Person, _: EntryRef| {
        world.sign(by, &model("llm", "v2").version("2"));
    };
    let revoked = |world: &mut World, by: &Person, entry: EntryRef| {
        world.say(by, entry, NoticeKind::Revoke);
    };
    let certified = Person::certified("ci@corp.example", 2);
    let (perhaps, other) = (uncertified(&certified), Person::certified("eve@corp.example", 3));
    judged(&certified, newer).is_refused_by(Rule::NotNewest);
    judged(&certified, revoked).is_refused_by(Rule::Revoked);
    let judgement = judged(&perhaps, newer);
    assert_eq!(judgement.refusing(), [Rule::NotNewest, Rule::VersionNotRising]);
    assert_eq!(judgement.verdict(Rule::NotNewest), Verdict::Unknown);
    let text = judgement.text(Rule::NotNewest);
    assert!(text.contains("list its intermediate authorities"), "{text}");
    let judgement = judged(&perhaps, revoked);
    assert_eq!(judgement.refusing(), [Rule::Revoked]);
    assert_eq!(judgement.verdict(Rule::Revoked), Verdict::Unknown);
    for stranger in [&other, &uncertified(&other)] {
        judged(stranger, newer).is_fine();
        judged(stranger, revoked).is_fine();
    }
    // They let nothing pass: a roll-back by them is none.
    let ci = Person::certified("ci@corp.example", 1);
    let mut world = World::default();
    let old = world.sign(&ci, &model("llm", "v1"));
    let new = world.sign(&ci, &model("llm", "v2"));
    world.roll_back(&perhaps, old, new);
    world.recommended(&[&ci], old).is_refused_by(Rule::NotNewest);
}

#[test]
fn a_notice_of_a_later_version_is_no_silence() {
    let later = |kind: &str, id: &str| {
        let payload = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"name":"llm","digest":
            {{"treering-model-id":"{id}"}}}}],"predicateType":"{kind}","predicate":{{"new":1}}}}"#
        );
        What::read(payload.as_bytes())
    };
    let id = "ab".repeat(32);
    for kind in ["urn:treering:predicate:revoke:v2", "urn:treering:predicate:unheard-of:v1"] {
        let What::UnreadableNotice { models, predicate_type, why } = later(kind, &id) else {
            panic!("{kind} is a notice")
        };
        assert_eq!((models, predicate_type.as_str()), (vec![Hash([0xab; 32])], kind));
        assert!(why.contains("later version"), "{why}");
    }
    assert_eq!(later("https://example.com/p", &id), What::Other);

    let mut world = World::default();
    let entry = world.sign(&alice(), &model("llm", "v1"));
    let models = vec![world.subject(entry).model.model_id];
    let notice = |kind: &str| What::UnreadableNotice {
        models: models.clone(),
        predicate_type: kind.to_owned(),
        why: "its text is not there".to_owned(),
    };
    world.add(&alice(), notice("urn:treering:predicate:approve:v1"));
    world.recommended(&[&alice()], entry).is_fine();
    world.add(&alice(), notice("urn:treering:predicate:unheard-of:v1"));
    let judged = world.recommended(&[&alice()], entry);
    assert_eq!(judged.verdict(Rule::Revoked), Verdict::Unknown);
    assert_eq!(judged.verdict(Rule::Superseded), Verdict::Unknown);
}

#[test]
fn remarks_about_people_who_have_a_word_come_before_those_about_strangers() {
    let (mut world, bob) = (World::default(), Person::new("bob"));
    let entry = world.sign(&alice(), &model("llm", "v1"));
    for _ in 0..30 {
        world.say(&Person::new("mallory"), entry, NoticeKind::Revoke);
    }
    let last = world.say(&bob, entry, NoticeKind::Revoke);
    let judged = world.recommended(&[&alice(), &bob], entry);
    judged.is_fine();
    let told = format!("the revocation in entry {} does not count", last.index);
    assert!(judged.text(Rule::Revoked).contains(&told), "{judged:?}");
}
