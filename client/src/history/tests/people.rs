//! Who counts as whom.

use treering_proto::trust::ModelPolicy;
use treering_proto::trust::model_policy::{Action, ApprovalsRule, Rule};

use super::super::*;
use super::world::{Person, World, model};

#[test]
fn two_accepted_keys_that_use_one_name_are_one_line() {
    let (old, new) = (Person::new("old key"), Person::new("new key"));
    let mut world = World::default();
    let first = world.sign(&old, &model("llm", "v1").version("1"));
    let second = world.sign(&new, &model("llm", "v2").version("2"));
    world.recommended(&[&old, &new], second).is_fine();
    world.recommended(&[&old, &new], first).is_refused_by(Rule::NotNewest);
    let low = world.sign(&new, &model("llm", "v3").version("1.5.0"));
    world.recommended(&[&old, &new], low).is_refused_by(Rule::VersionNotRising);
    // Who accepts one of them only, sees the other as a stranger.
    assert_eq!(world.recommended(&[&new], second).warning(), [Rule::NewSigner]);
    world.recommended(&[&old], first).is_fine();
}

#[test]
fn strangers_under_the_same_name_are_in_no_line() {
    let (alice, mallory) = (Person::new("alice"), Person::new("mallory"));
    let mut world = World::default();
    let entry = world.sign(&alice, &model("llm", "v1").version("1"));
    world.sign(&mallory, &model("llm", "evil").version("9"));
    world.recommended(&[&alice], entry).is_fine();
    let second = world.sign(&alice, &model("llm", "v2").version("2"));
    world.recommended(&[&alice], second).is_fine();
}

#[test]
fn a_renewal_does_not_make_its_new_signer_one_who_may_speak_for_the_old() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    let mut world = World::default();
    let entry = world.sign(&alice, &model("llm", "v1"));
    let renewed = world.sign(&bob, &model("llm", "v1").renews(entry));
    world.say(&bob, entry, treering_proto::notice::NoticeKind::Revoke);
    world.recommended(&[&alice, &bob], entry).is_fine();
    // Of his own signature he may: it is about the same bytes.
    world.say(&bob, renewed, treering_proto::notice::NoticeKind::Revoke);
    world.recommended(&[&alice, &bob], entry).is_refused_by(Rule::Revoked);
}

#[test]
fn a_person_with_two_certificates_or_two_rules_counts_once() {
    let kim = Person::certified("kim@corp.example", 1);
    let again = Person::certified("kim@corp.example", 2);
    let mut key_of_kim = Person::new("kim's key");
    key_of_kim.rule.name = kim.rule.name.clone();
    let sam = Person::new("sam");
    let list = |people: &[&Person]| people.iter().map(|person| person.rule.clone()).collect();
    let roles = [("qa", list(&[&kim, &sam])), ("security", list(&[&key_of_kim]))];
    let roles = roles.into_iter().map(|(role, rules)| (role.to_owned(), rules)).collect();
    let approvals = Some(ApprovalsRule { action: Action::Refuse, count: 2, roles });
    let policy = ModelPolicy { approvals, ..ModelPolicy::default() };
    let alice = Person::new("alice");
    let mut world = World::default();
    let entry = world.sign(&alice, &model("llm", "v1"));
    world.approve(&kim, entry, "qa");
    world.approve(&again, entry, "qa");
    // By key, under a rule of the same name.
    world.approve(&key_of_kim, entry, "security");
    world.judge(&policy, &[&alice], entry).is_refused_by(Rule::Approvals);
    world.approve(&sam, entry, "qa");
    world.judge(&policy, &[&alice], entry).is_fine();
}

#[test]
fn a_name_in_a_certificate_that_nobody_certifies_is_no_name() {
    let certified = Person::certified("ci@corp.example", 1);
    let mut forged = Person::certified("ci@corp.example", 2).who;
    assert!(forged.is_same_as(&certified.who) && forged.is_accepted_by(&certified.rule));
    forged.issuer = Some("https://other.example".to_owned());
    assert!(!forged.is_same_as(&certified.who) && !forged.is_accepted_by(&certified.rule));
    (forged.identities, forged.issuer) = (Vec::new(), None);
    let bare = Person::new("somebody").who;
    assert!(!forged.is_same_as(&bare) && bare.is_same_as(&bare.clone()));
    assert_eq!(forged.by(), [By::Key(forged.key)]);
    assert!(!bare.is_accepted_by(&certified.rule));
}

#[test]
fn a_new_name_survives_a_change_of_keys_if_it_was_announced_before() {
    let (old_key, new_key) = (Person::new("old key"), Person::new("new key"));
    let mut world = World::default();
    let first = world.sign(&old_key, &model("llm", "v1"));
    let renamed = world.on_day(90.0).sign(&old_key, &model("llm-next", "v1"));
    let early = world.sign(&new_key, &model("llm-next", "v1").renews(renamed));
    // Whoever renewed it did not know of the announcement, and the old key is nobody's any more.
    world.supersede(&old_key, first, renamed);
    world.recommended(&[&new_key], early).is_refused_by(Rule::FirstSeen);
    let late = world.sign(&new_key, &model("llm-next", "v1").renews(renamed));
    world.recommended(&[&new_key], late).is_fine();
    // The old name is superseded, and the new one is not, whoever renewed it.
    world.recommended(&[&old_key, &new_key], late).is_fine();
    let judged = world.recommended(&[&old_key], first);
    assert_eq!((judged.refusing(), judged.warning()), (vec![], vec![Rule::Superseded]));
}

#[test]
fn a_roll_back_is_of_one_name() {
    let alice = Person::new("alice");
    let mut world = World::default();
    let here = world.sign(&alice, &model("llm", "v1"));
    let there = world.sign(&alice, &model("other", "v1"));
    let newer = world.sign(&alice, &model("llm", "v2"));
    world.roll_back(&alice, there, newer);
    let judged = world.recommended(&[&alice], here);
    judged.is_refused_by(Rule::NotNewest);
    assert!(judged.text(Rule::NotNewest).contains("about another name"), "{judged:?}");
    world.recommended(&[&alice], there).is_fine();
}
